//! Variables in a Dockerfile: `$x`, `${x:-y}` and the rest, by the rules of BuildKit's `shell.Lex`.
//!
//! The rules are a subset of a POSIX shell's with differences of their own (escapes in patterns, names of one
//! digit run, `<<` that eats blanks), kept as
//! <https://github.com/moby/buildkit/blob/v0.26.0/frontend/dockerfile/shell/lex.go> has them.

use std::iter::Peekable;
use std::str::Chars;

use regex::Regex;

/// Where values of variables come from.
pub trait Values {
    /// The value of a variable, None if it is unset.
    fn value(&self, name: &str) -> Option<String>;
}

impl<F: Fn(&str) -> Option<String>> Values for F {
    fn value(&self, name: &str) -> Option<String> {
        self(name)
    }
}

/// No variable has a value.
pub struct NoValues;

impl Values for NoValues {
    fn value(&self, _name: &str) -> Option<String> {
        None
    }
}

/// What becomes of quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quotes {
    /// They group and are taken away.
    Process,
    /// They group and stay.
    Keep,
    /// They are characters like any other: the text of a heredoc.
    Ignore,
}

/// What becomes of variables that are not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unset {
    Empty,
    /// `$x` stays `$x`.
    Keep,
}

/// What becomes of escape characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escapes {
    Process,
    Keep,
}

/// How words are expanded.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// `\` or a backquote.
    pub escape: char,
    pub quotes: Quotes,
    pub unset: Unset,
    pub escapes: Escapes,
}

impl Rules {
    /// The rules for arguments of instructions.
    pub fn new(escape: char) -> Rules {
        Rules { escape, quotes: Quotes::Process, unset: Unset::Empty, escapes: Escapes::Process }
    }

    /// The rules for the text of a heredoc.
    pub fn heredoc() -> Rules {
        Rules { quotes: Quotes::Ignore, ..Rules::new('\\') }
    }
}

/// A word after expansion.
#[derive(Debug, PartialEq, Eq)]
pub struct Expanded {
    pub text: String,
    /// The same split at unquoted blanks, those that came out of variables included.
    pub words: Vec<String>,
}

/// Expands the variables in a word.
///
/// # Errors
/// A sentence that names the fault, as "unsupported modifier (:=) in substitution".
pub fn expand(word: &str, rules: Rules, values: &dyn Values) -> Result<Expanded, String> {
    let mut lexer = Lexer { rest: word.chars().peekable(), rules, values, word: String::new() };
    lexer.until(None, rules.escapes)
}

/// Like [`expand`], but without the words.
///
/// # Errors
/// As [`expand`].
pub fn expand_text(word: &str, rules: Rules, values: &dyn Values) -> Result<String, String> {
    // Most words have nothing to expand, and a build of many steps asks often.
    if !word.contains(['$', '\'', '"', '<', rules.escape]) {
        return Ok(word.to_owned());
    }
    expand(word, rules, values).map(|expanded| expanded.text)
}

struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
    rules: Rules,
    values: &'a dyn Values,
    /// The word being read. BuildKit has one for the text and what is nested in it, so a `${x:-y}` in the middle of
    /// a word cuts off the beginning of that word; who depends on words gets the same ones here.
    word: String,
}

/// The words that are complete.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    inside: bool,
}

impl Lexer<'_> {
    /// Reads up to `stop`, which is taken, or to the end if there is none.
    fn until(&mut self, stop: Option<char>, escapes: Escapes) -> Result<Expanded, String> {
        let outer = std::mem::replace(&mut self.rules.escapes, escapes);
        let outcome = self.read_until(stop);
        self.rules.escapes = outer;
        outcome
    }

    fn read_until(&mut self, stop: Option<char>) -> Result<Expanded, String> {
        let mut text = String::new();
        let mut words = Words::default();
        self.word.clear();
        while let Some(&c) = self.rest.peek() {
            if Some(c) == stop {
                self.rest.next();
                return Ok(Expanded { text, words: self.finish(words) });
            }
            if let Some(special) = self.special(c)? {
                text.push_str(&special);
                if c == '$' {
                    special.chars().for_each(|c| self.push(&mut words, c));
                } else {
                    self.word.push_str(&special);
                    words.inside = true;
                }
                continue;
            }
            self.rest.next();
            if c != self.rules.escape {
                self.push(&mut words, c);
                text.push(c);
                continue;
            }
            if self.rules.escapes == Escapes::Keep {
                self.push_raw(&mut words, c);
                text.push(c);
            }
            let Some(escaped) = self.rest.next() else { break };
            self.push_raw(&mut words, escaped);
            text.push(escaped);
        }
        match stop {
            Some(stop) => Err(format!("unexpected end of statement while looking for matching {stop}")),
            None => Ok(Expanded { text, words: self.finish(words) }),
        }
    }

    fn push(&mut self, words: &mut Words, c: char) {
        if !c.is_whitespace() {
            self.push_raw(words, c);
        } else if words.inside && !self.word.is_empty() {
            words.done.push(std::mem::take(&mut self.word));
            words.inside = false;
        }
    }

    fn push_raw(&mut self, words: &mut Words, c: char) {
        self.word.push(c);
        words.inside = true;
    }

    fn finish(&mut self, mut words: Words) -> Vec<String> {
        if !self.word.is_empty() {
            words.done.push(std::mem::take(&mut self.word));
        }
        words.done
    }

    /// Reads what begins with a character of special meaning; None if `c` is none.
    fn special(&mut self, c: char) -> Result<Option<String>, String> {
        match c {
            '$' => self.dollar().map(Some),
            '<' => Ok(Some(self.possible_heredoc())),
            '\'' if self.rules.quotes != Quotes::Ignore => self.single_quoted().map(Some),
            '"' if self.rules.quotes != Quotes::Ignore => self.double_quoted().map(Some),
            _ => Ok(None),
        }
    }

    fn possible_heredoc(&mut self) -> String {
        self.rest.next();
        if self.rest.next_if_eq(&'<').is_none() {
            return "<".to_owned();
        }
        let mut text = "<<".to_owned();
        while let Some(blank) = self.rest.next_if(|c| matches!(c, '\t' | '\r' | ' ')) {
            text.push(blank);
        }
        text
    }

    fn single_quoted(&mut self) -> Result<String, String> {
        self.rest.next();
        let mut text = String::new();
        let keep = self.rules.quotes == Quotes::Keep;
        if keep {
            text.push('\'');
        }
        loop {
            match self.rest.next() {
                None => return Err("unexpected end of statement while looking for matching single-quote".to_owned()),
                Some('\'') => break,
                Some(c) => text.push(c),
            }
        }
        if keep {
            text.push('\'');
        }
        Ok(text)
    }

    fn double_quoted(&mut self) -> Result<String, String> {
        self.rest.next();
        let mut text = String::new();
        let keep = self.rules.quotes == Quotes::Keep;
        if keep {
            text.push('"');
        }
        loop {
            match self.rest.peek().copied() {
                None => return Err("unexpected end of statement while looking for matching double-quote".to_owned()),
                Some('"') => break,
                Some('$') => text.push_str(&self.dollar()?),
                Some(c) if c == self.rules.escape => self.escape_in_quotes(&mut text),
                Some(c) => {
                    self.rest.next();
                    text.push(c);
                }
            }
        }
        self.rest.next();
        if keep {
            text.push('"');
        }
        Ok(text)
    }

    /// Between double quotes only `"`, `$` and the escape itself can be escaped.
    fn escape_in_quotes(&mut self, text: &mut String) {
        let escape = self.rules.escape;
        self.rest.next();
        if self.rules.escapes == Escapes::Keep {
            text.push(escape);
        }
        match self.rest.peek().copied() {
            None => {}
            Some(c) if c == '"' || c == '$' || c == escape => {
                self.rest.next();
                text.push(c);
            }
            Some(_) => text.push(escape),
        }
    }

    fn dollar(&mut self) -> Result<String, String> {
        self.rest.next();
        if self.rest.next_if_eq(&'{').is_none() {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match self.values.value(&name) {
                Some(value) => value,
                None if self.rules.unset == Unset::Keep => format!("${name}"),
                None => String::new(),
            });
        }
        match self.rest.peek() {
            None => return Err("syntax error: missing '}'".to_owned()),
            Some('{' | '}' | ':') => return Err("syntax error: bad substitution".to_owned()),
            Some(_) => {}
        }
        let name = self.name();
        self.substitution(&name)
    }

    /// Reads the rest of `${name…}`.
    fn substitution(&mut self, name: &str) -> Result<String, String> {
        let value = self.values.value(name);
        match self.rest.next() {
            Some('}') => Ok(match value {
                Some(value) => value,
                None if self.rules.unset == Unset::Keep => format!("${{{name}}}"),
                None => String::new(),
            }),
            Some(':') => {
                let operator = self.rest.next();
                match operator {
                    Some(c @ ('+' | '-' | '?')) => self.alternative(name, value, c, true),
                    Some(c @ ('#' | '%')) => Err(unsupported(&format!(":{c}"))),
                    other => {
                        let shown = format!(":{}", other.unwrap_or(char::REPLACEMENT_CHARACTER));
                        self.until(Some('}'), Escapes::Process).map_err(|error| self.unclosed(error))?;
                        Err(unsupported(&shown))
                    }
                }
            }
            Some(c @ ('+' | '-' | '?')) => self.alternative(name, value, c, false),
            Some(c @ ('#' | '%')) => self.trimmed(name, value, c),
            Some('/') => self.replaced(name, value),
            other => Err(unsupported(&other.unwrap_or(char::REPLACEMENT_CHARACTER).to_string())),
        }
    }

    fn unclosed(&mut self, error: String) -> String {
        if self.rest.peek().is_none() { "syntax error: missing '}'".to_owned() } else { error }
    }

    /// `${name-word}`, `${name+word}`, `${name?word}`, and with a colon, where an empty value counts as none.
    fn alternative(&mut self, name: &str, value: Option<String>, operator: char, colon: bool) -> Result<String, String> {
        let word = self.until(Some('}'), Escapes::Process).map_err(|error| self.unclosed(error))?.text;
        if value.is_none() && self.rules.unset == Unset::Keep {
            let colon = if colon { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{operator}{word}}}"));
        }
        let unset = value.is_none();
        let value = value.filter(|value| !(colon && value.is_empty()));
        match (operator, value) {
            ('-', value) => Ok(value.unwrap_or(word)),
            ('+', value) => Ok(value.map(|_| word).unwrap_or_default()),
            (_, Some(value)) => Ok(value),
            (_, None) if !word.is_empty() => Err(format!("{name}: {word}")),
            (_, None) if unset => Err(format!("{name}: is not allowed to be unset")),
            (_, None) => Err(format!("{name}: is not allowed to be empty")),
        }
    }

    /// `${name#pattern}` and `${name%pattern}`; doubled, the longest match goes.
    fn trimmed(&mut self, name: &str, value: Option<String>, operator: char) -> Result<String, String> {
        let word = self.until(Some('}'), Escapes::Keep).map_err(|error| self.unclosed(error))?.text;
        let value = match value {
            None if self.rules.unset == Unset::Keep => return Ok(format!("${{{name}{operator}{word}}}")),
            value => value.unwrap_or_default(),
        };
        let (pattern, reach) = match word.strip_prefix(operator) {
            Some(pattern) => (pattern, Reach::Longest),
            None => (word.as_str(), Reach::Shortest),
        };
        if operator == '#' { trim_prefix(pattern, &value, reach) } else { trim_suffix(pattern, &value, reach) }
    }

    /// `${name/pattern/replacement}`; with two slashes every match.
    fn replaced(&mut self, name: &str, value: Option<String>) -> Result<String, String> {
        let all = self.rest.next_if_eq(&'/').is_some();
        let pattern = self
            .until(Some('/'), Escapes::Keep)
            .map_err(|error| if self.rest.peek().is_none() { "syntax error: missing '/' in ${}".to_owned() } else { error })?;
        let replacement = self.until(Some('}'), Escapes::Keep).map_err(|error| self.unclosed(error))?.text;
        let pattern = pattern.text;
        let value = match value {
            None if self.rules.unset == Unset::Keep => return Ok(format!("${{{name}/{pattern}/{replacement}}}")),
            value => value.unwrap_or_default(),
        };
        let regex = shell_pattern(&pattern, Reach::Longest, "").map_err(|error| bad_pattern(&pattern, &error))?;
        if all {
            // Go's replacement text has the same `$1` notation as the regex crate's.
            return Ok(regex.replace_all(&value, replacement.as_str()).into_owned());
        }
        Ok(match regex.find(&value) {
            Some(found) => [&value[..found.start()], &replacement, &value[found.end()..]].concat(),
            None => value,
        })
    }

    /// A name: letters, digits and `_`, a run of digits, or one special parameter.
    fn name(&mut self) -> String {
        let mut name = String::new();
        if let Some(&c) = self.rest.peek() {
            if c.is_numeric() {
                while let Some(digit) = self.rest.next_if(|c| c.is_numeric()) {
                    name.push(digit);
                }
                return name;
            }
            if matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
                self.rest.next();
                return c.to_string();
            }
        }
        while let Some(c) = self.rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
            name.push(c);
        }
        name
    }
}

fn unsupported(modifier: &str) -> String {
    format!("unsupported modifier ({modifier}) in substitution")
}

fn bad_pattern(pattern: &str, error: &str) -> String {
    format!("invalid pattern ({pattern}) in substitution: {error}")
}

/// How much a `*` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Shortest,
    Longest,
}

/// Turns a shell pattern (`*`, `?`, no brackets) into a regular expression.
fn shell_pattern(pattern: &str, reach: Reach, anchor: &str) -> Result<Regex, String> {
    let mut out = anchor.to_owned();
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '*' => out.push_str(if reach == Reach::Longest { ".*" } else { ".*?" }),
            '?' => out.push('.'),
            // They are escaped for the sake of `${…}`, the escape is no part of the pattern.
            '\\' if matches!(rest.peek(), Some('}' | '/')) => {}
            '\\' => match rest.next() {
                Some(c @ ('*' | '?' | '\\')) => out.extend(['\\', c]),
                other => return Err(format!("invalid escape '\\{}'", other.unwrap_or(char::REPLACEMENT_CHARACTER))),
            },
            c => out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    Regex::new(&out).map_err(|error| error.to_string())
}

fn trim_prefix(pattern: &str, value: &str, reach: Reach) -> Result<String, String> {
    let regex = shell_pattern(pattern, reach, "^").map_err(|error| bad_pattern(pattern, &error))?;
    Ok(regex.find(value).map_or(value, |found| &value[found.end()..]).to_owned())
}

/// A regular expression finds the leftmost match, not the shortest rightmost one: so both are turned round.
fn trim_suffix(pattern: &str, value: &str, reach: Reach) -> Result<String, String> {
    let backwards: String = value.chars().rev().collect();
    trim_prefix(&reversed_pattern(pattern), &backwards, reach).map(|rest| rest.chars().rev().collect())
}

/// Turns a pattern round but keeps each escape before what it escapes.
fn reversed_pattern(pattern: &str) -> String {
    let mut pieces: Vec<String> = Vec::new();
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match (c, if c == '\\' { rest.next() } else { None }) {
            (c, Some(escaped)) => pieces.push([c, escaped].iter().collect()),
            (c, None) => pieces.push(c.to_string()),
        }
    }
    pieces.iter().rev().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;
    use crate::build::oracle;

    /// Every row of BuildKit's own table: the text, the words, and whether it is refused.
    #[test]
    fn expansion_follows_buildkit() {
        let Some(rows) = oracle::table("expansion") else { return };
        let mut wrong = Vec::new();
        for row in &rows {
            let source = row["src"].as_str().unwrap();
            let env: BTreeMap<String, String> = serde_json::from_value(row["env"].clone()).unwrap();
            let escape = row["escape"].as_str().and_then(|text| text.chars().next()).unwrap_or('\\');
            let got = expand(source, Rules::new(escape), &|name: &str| env.get(name).cloned());
            let words = if row["words"].is_null() { Value::Array(Vec::new()) } else { row["words"].clone() };
            let fits = match (&got, &row["word"]) {
                (Ok(got), Value::String(text)) => got.text == *text && Value::from(got.words.clone()) == words,
                (Err(error), Value::Null) => row["word_error"].as_str().unwrap().ends_with(error.as_str()),
                _ => false,
            };
            if !fits {
                wrong.push(format!("{source}: {got:?}, want {} {} {}", row["word"], row["words"], row["word_error"]));
            }
        }
        assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    }

    #[test]
    fn forms_of_substitution() {
        let values = |name: &str| match name {
            "full" => Some("a/b/c".to_owned()),
            "empty" => Some(String::new()),
            _ => None,
        };
        for (word, text) in [
            ("${full:-x}", "a/b/c"),
            ("${empty:-x}", "x"),
            ("${empty-x}", ""),
            ("${none:+x}", ""),
            ("${full##*/}", "c"),
            ("${full%/*}", "a/b"),
            ("${full//\\//-}", "a-b-c"),
            ("'$full'", "$full"),
        ] {
            assert_eq!(expand_text(word, Rules::new('\\'), &values).as_deref(), Ok(text), "{word}");
        }
    }
}
