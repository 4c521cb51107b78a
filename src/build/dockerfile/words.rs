//! From an instruction's text to its words: command, flags, arguments, JSON form, `name=value` pairs.
//!
//! The rules are those of
//! <https://github.com/moby/buildkit/blob/v0.26.0/frontend/dockerfile/parser/line_parsers.go>. Nothing is expanded here.

use std::borrow::Cow;

use serde_json::Value;

/// A stretch of an instruction's text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Word {
    /// For flags without the quotes around them.
    pub text: String,
    /// Its first byte in the instruction's text.
    pub at: usize,
    /// How many bytes it takes there.
    pub len: usize,
}

impl Word {
    fn new(text: &str, at: usize) -> Word {
        Word { text: text.to_owned(), at, len: text.len() }
    }
}

/// An instruction cut into words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Raw {
    /// As written, in any case.
    pub command: Word,
    /// `--name` or `--name=value`.
    pub flags: Vec<Word>,
    /// For ENV and LABEL triples of name, value and `=` (or nothing, in the old form).
    pub args: Vec<Word>,
    /// The arguments were a JSON array.
    pub json: bool,
    /// The instruction inside ONBUILD.
    pub inner: Option<Box<Raw>>,
}

/// Why an instruction cannot be cut into words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordFault {
    pub at: usize,
    pub len: usize,
    pub what: String,
}

/// Cuts one instruction into words; what an unknown command's arguments mean nobody knows, so it has none.
///
/// # Errors
/// A JSON array of other things than strings; a pair without `=`.
pub fn cut(text: &str, escape: char) -> Result<Raw, WordFault> {
    cut_from(text, 0, escape)
}

fn cut_from(text: &str, offset: usize, escape: char) -> Result<Raw, WordFault> {
    let lead = text.len() - text.trim_start().len();
    let trimmed = text.trim();
    let end = trimmed.find(is_blank).unwrap_or(trimmed.len());
    let command = Word::new(&trimmed[..end], offset + lead);
    let after = trimmed[end..].trim_start_matches(is_blank);
    let after_at = lead + trimmed.len() - after.len();
    let (flags, used) = flags(after, offset + after_at, escape);
    let rest = Word::new(after[used..].trim(), offset + after_at + used + leading(&after[used..]));
    let mut raw = Raw { flags, ..Raw::default() };
    match command.text.to_ascii_lowercase().as_str() {
        "from" | "expose" => raw.args = blank_separated(&rest),
        "env" | "label" => raw.args = pairs(&rest, &command.text.to_ascii_uppercase(), escape)?,
        "arg" => raw.args = words(&rest, escape),
        "maintainer" | "stopsignal" | "user" | "workdir" => raw.args = whole(&rest),
        "run" | "cmd" | "entrypoint" | "shell" => maybe_json(&mut raw, &rest, whole)?,
        "add" | "copy" | "volume" => maybe_json(&mut raw, &rest, blank_separated)?,
        "healthcheck" => healthcheck(&mut raw, &rest)?,
        "onbuild" if !rest.text.is_empty() => raw.inner = Some(Box::new(cut_from(&rest.text, rest.at, escape)?)),
        _ => {}
    }
    raw.command = command;
    Ok(raw)
}

fn leading(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

/// Go's `[\t\v\f\r ]`.
fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\x0b' | '\x0c' | '\r' | ' ')
}

fn whole(rest: &Word) -> Vec<Word> {
    if rest.text.is_empty() { Vec::new() } else { vec![rest.clone()] }
}

fn blank_separated(rest: &Word) -> Vec<Word> {
    let mut words = Vec::new();
    let mut at = 0;
    while at < rest.text.len() {
        let left = &rest.text[at..];
        let end = left.find(is_blank).unwrap_or(left.len());
        words.push(Word::new(&left[..end], rest.at + at));
        at += left.len() - left[end..].trim_start_matches(is_blank).len();
    }
    words
}

fn maybe_json(raw: &mut Raw, rest: &Word, otherwise: fn(&Word) -> Vec<Word>) -> Result<(), WordFault> {
    match json_array(rest)? {
        Some(words) => {
            raw.json = true;
            raw.args = words;
        }
        None => raw.args = otherwise(rest),
    }
    Ok(())
}

/// Reads `["a", "b"]`; what is no JSON at all is None, as it is then taken for a shell's text.
fn json_array(rest: &Word) -> Result<Option<Vec<Word>>, WordFault> {
    if !rest.text.starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<Value>>(&without_halves(&rest.text)) else { return Ok(None) };
    let strings: Option<Vec<Word>> = values
        .into_iter()
        .map(|value| match value {
            Value::String(text) => Some(Word { text, at: rest.at, len: rest.len }),
            _ => None,
        })
        .collect();
    let what = "when using JSON array syntax, arrays must be comprised of strings only";
    strings.map(Some).ok_or(WordFault { at: rest.at, len: rest.len, what: what.to_owned() })
}

/// Puts U+FFFD in the place of every `\uD800` that is half a character, as Go does; for others that is no JSON.
fn without_halves(text: &str) -> Cow<'_, str> {
    if !text.contains("\\u") {
        return Cow::Borrowed(text);
    }
    let unit = |text: &str| text.strip_prefix("\\u")?.get(..4).and_then(|hex| u16::from_str_radix(hex, 16).ok());
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let (taken, shown) = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (12, &escape[..12]),
            (Some(0xd800..=0xdfff), _) => (6, "\\ufffd"),
            _ => {
                let taken = escape.chars().take(2).map(char::len_utf8).sum();
                (taken, &escape[..taken])
            }
        };
        out.push_str(shown);
        rest = &escape[taken..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn healthcheck(raw: &mut Raw, rest: &Word) -> Result<(), WordFault> {
    let is_space = |c: char| c.is_ascii_whitespace() || c == '\x0b';
    let end = rest.text.find(is_space).unwrap_or(rest.text.len());
    if end == 0 {
        return Ok(());
    }
    let command = rest.text[end..].trim_start_matches(is_space);
    maybe_json(raw, &Word::new(command, rest.at + rest.text.len() - command.len()), whole)?;
    raw.args.insert(0, Word::new(&rest.text[..end], rest.at));
    Ok(())
}

/// `NAME value` or `name=value name="value" …`, as triples.
fn pairs(rest: &Word, command: &str, escape: char) -> Result<Vec<Word>, WordFault> {
    let words = words(rest, escape);
    let Some(first) = words.first() else { return Ok(Vec::new()) };
    if !first.text.contains('=') {
        let Some(end) = rest.text.find(is_blank) else {
            return Err(WordFault { at: rest.at, len: rest.len, what: format!("{command} must have two arguments") });
        };
        let value = rest.text[end..].trim_start_matches(is_blank);
        let value_at = rest.at + rest.text.len() - value.len();
        return Ok(vec![Word::new(&rest.text[..end], rest.at), Word::new(value, value_at), Word::new("", value_at)]);
    }
    let mut triples = Vec::new();
    for word in words {
        let Some((name, value)) = word.text.split_once('=') else {
            let what = format!("Syntax error - can't find = in {:?}. Must be of the form: name=value", word.text);
            return Err(WordFault { at: word.at, len: word.len, what });
        };
        triples.push(Word::new(name, word.at));
        triples.push(Word::new(value, word.at + name.len() + 1));
        triples.push(Word::new("=", word.at + name.len()));
    }
    Ok(triples)
}

/// Words separated by blanks that no quote and no escape protects; quotes and escapes stay.
fn words(rest: &Word, escape: char) -> Vec<Word> {
    let mut words = Vec::new();
    let mut current: Option<Word> = None;
    let mut quote: Option<char> = None;
    let mut chars = rest.text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            words.extend(current.take());
            continue;
        }
        let word = current.get_or_insert_with(|| Word::new("", rest.at + at));
        match quote {
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        if c == escape && quote != Some('\'') {
            match chars.next() {
                // An escape at the very end is left out.
                None => break,
                Some((_, escaped)) => word.text.extend([c, escaped]),
            }
        } else {
            word.text.push(c);
        }
        word.len = word.text.len();
    }
    words.extend(current.filter(|word| !word.text.is_empty()));
    words
}

/// The flags at the beginning of the arguments, and how many bytes they take.
///
/// BuildKit reads them byte by byte and takes each for a character: what is beyond ASCII comes out as other letters, and
/// two bytes of it for blanks. A Dockerfile means the same here.
fn flags(line: &str, offset: usize, escape: char) -> (Vec<Word>, usize) {
    let bytes = line.as_bytes();
    let mut flags = Vec::new();
    let mut at = 0;
    loop {
        at += bytes[at..].iter().take_while(|byte| is_space(**byte)).count();
        let (text, len) = if bytes[at..].starts_with(b"--") { flag(&bytes[at..], escape) } else { (String::new(), 0) };
        at += len;
        if len == 0 || text == "--" {
            let end = (at..=line.len()).find(|at| line.is_char_boundary(*at));
            return (flags, end.unwrap_or(line.len()));
        }
        flags.push(Word { text, at: offset + at - len, len });
    }
}

/// Go's `unicode.IsSpace` of a byte.
fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ' | 0x85 | 0xa0)
}

/// One flag without quotes and escapes, and how many bytes it takes.
fn flag(line: &[u8], escape: char) -> (String, usize) {
    let mut text = String::new();
    let mut quote: Option<u8> = None;
    let mut bytes = line.iter().enumerate();
    while let Some((at, &byte)) = bytes.next() {
        match quote {
            None if is_space(byte) => return (text, at),
            None if byte == b'\'' || byte == b'"' => quote = Some(byte),
            Some(open) if byte == open => quote = None,
            _ if char::from(byte) == escape => text.extend(bytes.next().map(|(_, escaped)| char::from(*escaped))),
            _ => text.push(char::from(byte)),
        }
    }
    (text, line.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Vec<String> {
        cut(text, '\\').unwrap().args.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn pairs_keep_their_quotes() {
        assert_eq!(args("ENV a=b\\ c d=\"e f\""), ["a", "b\\ c", "=", "d", "\"e f\"", "="]);
        assert_eq!(args("ENV a  b c"), ["a", "b c", ""]);
        assert!(cut("ENV a=b c", '\\').is_err());
    }

    #[test]
    fn flags_end_where_the_first_argument_begins() {
        let raw = cut("COPY --chown=a:b  --from='x y' -- --z d", '\\').unwrap();
        let flags: Vec<_> = raw.flags.iter().map(|word| (word.text.as_str(), word.at, word.len)).collect();
        assert_eq!(flags, [("--chown=a:b", 5, 11), ("--from=x y", 18, 12)]);
        assert_eq!(raw.args.iter().map(|word| word.text.as_str()).collect::<Vec<_>>(), ["--z", "d"]);
    }

    #[test]
    fn what_is_no_json_is_a_shells_text() {
        assert!(cut("CMD [\"a\", \"b\"]", '\\').unwrap().json);
        assert_eq!(args("CMD ['a']"), ["['a']"]);
        assert!(cut("CMD [\"a\", 1]", '\\').is_err());
    }

    #[test]
    fn half_a_character_is_a_character_that_is_none() {
        assert_eq!(args(r#"CMD ["\ud800"]"#), ["\u{fffd}"]);
        assert_eq!(args(r#"CMD ["\ud83d\ude00\udc00\\ud800\n"]"#), ["\u{1f600}\u{fffd}\\ud800\n"]);
    }

    #[test]
    fn flags_are_read_byte_by_byte() {
        let raw = cut("COPY --from=é --chown=à x /", '\\').unwrap();
        assert_eq!(raw.flags.iter().map(|word| word.text.as_str()).collect::<Vec<_>>(), ["--from=Ã©", "--chown=Ã"]);
        assert_eq!(raw.args.iter().map(|word| word.text.as_str()).collect::<Vec<_>>(), ["x", "/"]);
        assert_eq!(args("HEALTHCHECK CMD \u{a0}x"), ["CMD", "\u{a0}x"]);
    }
}
