//! Text to nodes.

use std::iter::Peekable;
use std::vec::IntoIter;

use serde_json::Value;

use super::Node;
use super::Pipe;
use super::Range;
use super::Term;
use super::functions::NAMES;

/// A stretch of text or what stands between `{{` and `}}`.
enum Piece {
    Text(String),
    Action(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// `.A.B`, with the dots; a lone `.` is the dot.
    Field(String),
    Variable(String),
    Text(String),
    Number(i64),
    Word(String),
    /// One of `|`, `(`, `)`, `,`, `:=`, `=`.
    Sign(&'static str),
}

type Reason = String;
type Pieces = Peekable<IntoIter<Piece>>;
type Tokens = Peekable<IntoIter<Token>>;

pub(super) fn parse(text: &str) -> Result<Vec<Node>, Reason> {
    let mut pieces = pieces(text)?.into_iter().peekable();
    let (nodes, ended_by) = block(&mut pieces)?;
    match ended_by {
        None => Ok(nodes),
        Some(_) => Err("unexpected {{end}} or {{else}}".into()),
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, Reason> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    while let Some(start) = rest.find("{{") {
        let after = &rest[start + 2..];
        let end = action_end(after).ok_or("unclosed action")?;
        let inside = &after[..end];
        let trims_before = inside.starts_with("- ");
        let trims_after = inside.ends_with(" -");
        found.push(Piece::Text(trimmed(&rest[..start], trim_next, trims_before)));
        let inside = inside.strip_prefix('-').filter(|_| trims_before).unwrap_or(inside);
        let inside = inside.strip_suffix('-').filter(|_| trims_after).unwrap_or(inside).trim();
        if !inside.starts_with("/*") {
            found.push(Piece::Action(tokens(inside)?));
        }
        trim_next = trims_after;
        rest = &after[end + 2..];
    }
    found.push(Piece::Text(trimmed(rest, trim_next, false)));
    Ok(found)
}

fn trimmed(text: &str, start: bool, end: bool) -> String {
    let text = if start { text.trim_start() } else { text };
    let text = if end { text.trim_end() } else { text };
    text.to_owned()
}

/// Where `}}` stands outside of quotes.
fn action_end(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, char) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"') if char == '\\' => escaped = true,
            Some(mark) if char == mark => quote = None,
            Some(_) => {}
            None if char == '"' || char == '`' => quote = Some(char),
            None if text[at..].starts_with("}}") => return Some(at),
            None => {}
        }
    }
    None
}

fn tokens(text: &str) -> Result<Vec<Token>, Reason> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '"' | '`' => quoted(rest, first)?,
            '.' => taken(rest, |char| is_name(char) || char == '.', Token::Field),
            '$' => taken(rest, |char| is_name(char) || char == '.' || char == '$', |text| Token::Variable(text[1..].to_owned())),
            '-' | '0'..='9' => number(rest)?,
            _ if is_name(first) => taken(rest, is_name, Token::Word),
            _ => sign(rest)?,
        };
        found.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(found)
}

fn is_name(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

fn taken(text: &str, belongs: impl Fn(char) -> bool, token: impl Fn(String) -> Token) -> (Token, usize) {
    let length = text.find(|char| !belongs(char)).unwrap_or(text.len());
    (token(text[..length].to_owned()), length)
}

fn number(text: &str) -> Result<(Token, usize), Reason> {
    let length = text[1..].find(|char: char| !char.is_ascii_digit()).map_or(text.len(), |end| end + 1);
    let number = text[..length].parse().map_err(|_| format!("bad number syntax: {:?}", &text[..length]))?;
    Ok((Token::Number(number), length))
}

fn quoted(text: &str, mark: char) -> Result<(Token, usize), Reason> {
    let mut content = String::new();
    let mut escaped = false;
    for (at, char) in text.char_indices().skip(1) {
        match char {
            _ if escaped => {
                content.push(match char {
                    'n' => '\n',
                    't' => '\t',
                    other => other,
                });
                escaped = false;
            }
            '\\' if mark == '"' => escaped = true,
            _ if char == mark => return Ok((Token::Text(content), at + 1)),
            _ => content.push(char),
        }
    }
    Err("unterminated quoted string".into())
}

fn sign(text: &str) -> Result<(Token, usize), Reason> {
    let signs = [":=", "=", "|", "(", ")", ","];
    let found = signs.into_iter().find(|sign| text.starts_with(sign));
    found.map(|sign| (Token::Sign(sign), sign.len())).ok_or_else(|| format!("unexpected {:?}", text.chars().next().unwrap_or(' ')))
}

/// What ended a block.
enum End {
    End,
    Else(Tokens),
}

fn block(pieces: &mut Pieces) -> Result<(Vec<Node>, Option<End>), Reason> {
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let tokens = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(tokens) => tokens,
        };
        let mut tokens = tokens.into_iter().peekable();
        let word = match tokens.peek() {
            Some(Token::Word(word)) => word.clone(),
            _ => String::new(),
        };
        match word.as_str() {
            "end" => return Ok((nodes, Some(End::End))),
            "else" => {
                tokens.next();
                return Ok((nodes, Some(End::Else(tokens))));
            }
            "if" | "with" | "range" => {
                tokens.next();
                nodes.push(control(&word, tokens, pieces)?);
            }
            _ => nodes.push(plain(tokens)?),
        }
    }
    Ok((nodes, None))
}

fn control(word: &str, mut tokens: Tokens, pieces: &mut Pieces) -> Result<Node, Reason> {
    let names = if word == "range" { names(&mut tokens)? } else { Vec::new() };
    let over = finished(tokens)?;
    let (body, end) = block(pieces)?;
    let otherwise = match end {
        None => return Err(format!("unexpected EOF: {{{{{word}}}}} has no {{{{end}}}}")),
        Some(End::End) => Vec::new(),
        Some(End::Else(mut tokens)) => match tokens.next() {
            None => closed(pieces)?,
            Some(Token::Word(next)) => vec![control(&next, tokens, pieces)?],
            Some(_) => return Err("unexpected token in {{else}}".into()),
        },
    };
    Ok(match word {
        "if" => Node::If(over, body, otherwise),
        "with" => Node::With(over, body, otherwise),
        "range" => {
            let mut names = names.into_iter().rev();
            let value = names.next();
            Node::Range(Range { key: names.next(), value, over }, body, otherwise)
        }
        other => return Err(format!("unexpected {other:?} in {{{{else}}}}")),
    })
}

fn closed(pieces: &mut Pieces) -> Result<Vec<Node>, Reason> {
    match block(pieces)? {
        (nodes, Some(End::End)) => Ok(nodes),
        _ => Err("{{else}} has no {{end}}".into()),
    }
}

/// `$a, $b :=`, if that is what comes next.
fn names(tokens: &mut Tokens) -> Result<Vec<String>, Reason> {
    let mut names = Vec::new();
    if !tokens.clone().any(|token| token == Token::Sign(":=")) {
        return Ok(names);
    }
    loop {
        match tokens.next() {
            Some(Token::Variable(name)) => names.push(name),
            Some(Token::Sign(",")) => {}
            Some(Token::Sign(":=")) => return Ok(names),
            _ => return Err("range can only assign to variables".into()),
        }
    }
}

fn plain(mut tokens: Tokens) -> Result<Node, Reason> {
    if let Some(Token::Variable(name)) = tokens.peek().cloned() {
        let mut ahead = tokens.clone();
        ahead.next();
        if matches!(ahead.peek(), Some(Token::Sign(":=" | "="))) {
            tokens.next();
            tokens.next();
            return Ok(Node::Set(name, finished(tokens)?));
        }
    }
    finished(tokens).map(Node::Print)
}

fn finished(mut tokens: Tokens) -> Result<Pipe, Reason> {
    let pipe = pipe(&mut tokens)?;
    match tokens.next() {
        None => Ok(pipe),
        Some(token) => Err(format!("unexpected {token:?}")),
    }
}

fn pipe(tokens: &mut Tokens) -> Result<Pipe, Reason> {
    let mut commands = vec![Vec::new()];
    while let Some(token) = tokens.peek() {
        match token {
            Token::Sign(")") => break,
            Token::Sign("|") => {
                tokens.next();
                commands.push(Vec::new());
            }
            _ => {
                let term = term(tokens)?;
                commands.last_mut().expect("the list begins with one command").push(term);
            }
        }
    }
    if commands.iter().any(Vec::is_empty) {
        return Err("missing value for command".into());
    }
    Ok(commands)
}

fn term(tokens: &mut Tokens) -> Result<Term, Reason> {
    Ok(match tokens.next() {
        Some(Token::Field(path)) => Term::Field(path_of(&path)),
        Some(Token::Variable(path)) => {
            let mut names = path.split('.').map(str::to_owned);
            Term::Variable(names.next().unwrap_or_default(), names.filter(|name| !name.is_empty()).collect())
        }
        Some(Token::Text(text)) => Term::Constant(Value::String(text)),
        Some(Token::Number(number)) => Term::Constant(number.into()),
        Some(Token::Word(word)) => match word.as_str() {
            "true" => Term::Constant(Value::Bool(true)),
            "false" => Term::Constant(Value::Bool(false)),
            "nil" => Term::Constant(Value::Null),
            name if NAMES.contains(&name) => Term::Word(word),
            _ => return Err(format!("function {word:?} not defined")),
        },
        Some(Token::Sign("(")) => {
            let inside = pipe(tokens)?;
            if tokens.next() != Some(Token::Sign(")")) {
                return Err("unclosed left paren".into());
            }
            match tokens.next_if(|token| matches!(token, Token::Field(path) if path.len() > 1)) {
                Some(Token::Field(path)) => Term::Group(inside, path_of(&path)),
                _ => Term::Group(inside, Vec::new()),
            }
        }
        other => return Err(format!("unexpected {other:?}")),
    })
}

fn path_of(text: &str) -> Vec<String> {
    text.split('.').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
