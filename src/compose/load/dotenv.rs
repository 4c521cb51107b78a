//! Files of variables: `.env`, `--env-file` and `env_file`, and the plain format of `docker run --env-file` (`raw`).

use std::collections::BTreeMap;

use super::template;
use super::template::Unfilled;
use super::template::Variables;

/// What is wrong with a file of variables, and on which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flaw {
    /// Counted from 1.
    pub line: u32,
    pub what: String,
}

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads a file of variables into `variables`. `lookup` is asked first where a value names a variable, then the
/// variables read so far are.
pub(super) fn parse(text: &str, variables: &mut BTreeMap<String, String>, lookup: Lookup<'_>) -> Result<(), Flaw> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { rest: text, line: 1 };
    let mut length = 0;
    while let Some((name, inherited)) = reader.name()? {
        if inherited {
            if let Some(value) = lookup(&name) {
                variables.insert(name, value);
            }
            continue;
        }
        let line = reader.line;
        let value = reader.value(&Scope { lookup, variables })?;
        length += value.len();
        if length > template::LONGEST {
            return Err(Flaw { line, what: too_long() });
        }
        variables.insert(name, value);
    }
    Ok(())
}

fn too_long() -> String {
    format!("the values are longer than {} MiB with their variables", template::LONGEST >> 20)
}

/// The line that says what a variable is, the last one if there are more.
pub(super) fn line_of(text: &str, name: &str) -> Option<u32> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { rest: text, line: 1 };
    let scope = Scope { lookup: &|_| Some("set".to_owned()), variables: &BTreeMap::new() };
    let mut line = None;
    while let Ok(Some((found, inherited))) = reader.name() {
        if found == name {
            line = Some(reader.line - u32::from(inherited));
        }
        if !inherited && reader.value(&scope).is_err() {
            break;
        }
    }
    line
}

/// Reads the plain format: a `NAME=value` per line, nothing in it has a meaning; a lone `NAME` is looked up.
pub(super) fn parse_raw(text: &str, variables: &mut BTreeMap<String, String>, lookup: Lookup<'_>) -> Result<(), Flaw> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // The last line may end in the first half of a line break.
    let text = text.strip_suffix('\r').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let flaw = |what: String| Flaw { line: index as u32 + 1, what };
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').map_or((line, None), |(name, value)| (name, Some(value)));
        if name.is_empty() {
            return Err(flaw(format!("no variable name on line `{line}`")));
        }
        if name.contains([' ', '\t', '\u{b}', '\u{c}', '\r', '\u{85}', '\u{a0}']) {
            return Err(flaw(format!("variable `{name}` has blanks in its name")));
        }
        if let Some(value) = value.map(str::to_owned).or_else(|| lookup(name)) {
            variables.insert(name.to_owned(), value);
        }
    }
    Ok(())
}

struct Scope<'a> {
    lookup: Lookup<'a>,
    variables: &'a BTreeMap<String, String>,
}

impl Variables for Scope<'_> {
    fn value(&self, name: &str) -> Option<String> {
        (self.lookup)(name).or_else(|| self.variables.get(name).cloned())
    }
}

struct Reader<'t> {
    rest: &'t str,
    line: u32,
}

impl<'t> Reader<'t> {
    fn flaw(&self, what: String) -> Flaw {
        Flaw { line: self.line, what }
    }

    /// Goes to the next statement: past blanks and comments.
    fn skip(&mut self) {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.line += self.rest[..blank].matches('\n').count() as u32;
            self.rest = &self.rest[blank..];
            if !self.rest.starts_with('#') {
                return;
            }
            self.rest = self.rest.find('\n').map_or("", |end| &self.rest[end..]);
        }
    }

    /// The next name, and whether it stands alone on its line; nothing at the end of the file.
    fn name(&mut self) -> Result<Option<(String, bool)>, Flaw> {
        self.skip();
        if self.rest.is_empty() {
            return Ok(None);
        }
        if let Some(after) = self.rest.strip_prefix("export").filter(|after| after.starts_with(char::is_whitespace)) {
            self.rest = after.trim_start_matches(is_blank);
        }
        let end = self.rest.char_indices().find(|(_, char)| !is_blank(*char) && !is_name(*char));
        let (name, next, alone) = match end {
            Some((end, '=' | ':')) => (&self.rest[..end], end + 1, false),
            Some((end, '\n')) => (&self.rest[..end], end + 1, true),
            Some((_, char)) => {
                let line = self.rest.lines().next().unwrap_or_default();
                return Err(self.flaw(format!("unexpected character `{char}` in the variable name `{line}`")));
            }
            // The last line without a line break: docker compose takes no name from it.
            None => ("", 0, false),
        };
        if alone && !name.contains(' ') {
            self.line += 1;
        }
        let name = name.trim_end();
        if name.contains(' ') {
            return Err(self.flaw(format!("the variable name `{name}` has a blank in it")));
        }
        self.rest = self.rest[next..].trim_start_matches(is_blank);
        Ok(Some((name.to_owned(), alone)))
    }

    fn value(&mut self, scope: &Scope<'_>) -> Result<String, Flaw> {
        match self.rest.bytes().next() {
            Some(quote @ (b'"' | b'\'')) => self.quoted(quote, scope),
            _ => {
                let (value, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
                self.rest = rest;
                self.line += 1;
                let value = value.split_once(" #").map_or(value, |(value, _)| value);
                self.fill(value.trim_end(), scope)
            }
        }
    }

    fn quoted(&mut self, quote: u8, scope: &Scope<'_>) -> Result<String, Flaw> {
        let source = self.rest;
        let mut value = Vec::new();
        let mut escaped = false;
        for (index, byte) in source.bytes().enumerate().skip(1) {
            self.line += u32::from(byte == b'\n');
            if byte == quote && !escaped {
                self.rest = &source[index + 1..];
                let value = String::from_utf8_lossy(&value).into_owned();
                return if quote == b'"' { self.fill(&expand_escapes(&value), scope) } else { Ok(value) };
            }
            if byte == b'\\' && !escaped {
                escaped = true;
                continue;
            }
            if escaped && byte != quote {
                value.push(b'\\');
            }
            escaped = false;
            value.push(byte);
        }
        let line = source.lines().next().unwrap_or_default();
        Err(self.flaw(format!("the quote of `{line}` is not closed")))
    }

    fn fill(&self, value: &str, scope: &Scope<'_>) -> Result<String, Flaw> {
        template::substitute(value, scope).map_err(|error| {
            self.flaw(match error {
                Unfilled::Malformed(text) => format!("`{text}` has a `$` that names no variable"),
                Unfilled::Required { name, reason } => format!("the variable `{name}` is not set: {reason}"),
                Unfilled::Long => too_long(),
            })
        })
    }
}

/// A blank that does not end the line.
fn is_blank(char: char) -> bool {
    matches!(char, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}')
}

fn is_name(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '_' | '.' | '-' | '[' | ']')
}

/// The escapes of a double-quoted value; `\$` becomes `$$`, which no variable follows.
fn expand_escapes(text: &str) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(place) = rest.find('\\') {
        expanded.push_str(&rest[..place]);
        let escape = &rest[place..];
        let (replacement, length) = match escape.as_bytes().get(1) {
            Some(b'a') => ("\u{7}", 2),
            Some(b'b') => ("\u{8}", 2),
            Some(b'f') => ("\u{c}", 2),
            Some(b'n') => ("\n", 2),
            Some(b'r') => ("\r", 2),
            Some(b't') => ("\t", 2),
            Some(b'v') => ("\u{b}", 2),
            Some(b'$') => ("$$", 2),
            Some(b'"') => ("\"", 2),
            Some(b'\\') => ("\\", 2),
            Some(b'0') => {
                let (text, length) = octal(escape);
                expanded.push_str(&text);
                ("", length)
            }
            _ => ("\\", 1),
        };
        expanded.push_str(replacement);
        rest = &escape[length..];
    }
    expanded.push_str(rest);
    expanded
}

/// `\0` and up to three digits, of which exactly three octal ones mean a byte.
fn octal(escape: &str) -> (String, usize) {
    let digits = escape[2..].bytes().take(3).take_while(u8::is_ascii_digit).count();
    let length = 2 + digits;
    let value = (digits == 3).then(|| u32::from_str_radix(&escape[2..length], 8).ok()).flatten().filter(|value| *value < 256);
    match value.and_then(char::from_u32) {
        Some(char) => (char.to_string(), length),
        None => (escape[..length].to_owned(), length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        let mut variables = BTreeMap::new();
        let lookup = |name: &str| (name == "OUT").then(|| "outer".to_owned());
        match parse(text, &mut variables, &lookup) {
            Ok(()) => variables.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("|"),
            Err(flaw) => format!("line {}: {}", flaw.line, flaw.what),
        }
    }

    #[test]
    fn files_of_variables_are_read_as_docker_compose_reads_them() {
        let cases = [
            ("A=1\nB=two\n", "A=1|B=two"),
            ("# c\n\nA=1 # trailing\nB=1#part\n", "A=1|B=1#part"),
            ("export A=1\nB: yaml\n", "A=1|B=yaml"),
            ("A='$X \\n'\n", "A=$X \\n"),
            ("A=\"a\\nb\" # c\n", "A=a\nb"),
            ("A=\"two\nlines\"\nB=1", "A=two\nlines|B=1"),
            ("A=1\nB=${A}2\nC=$OUT\nD=${NO:-d}\n", "A=1|B=12|C=outer|D=d"),
            ("OUT\nNO\nA=1\n", "A=1|OUT=outer"),
            ("A=\"\\$x\"", "A=$x"),
            ("A=\n", "A="),
            ("\u{feff}A=1", "A=1"),
            ("A=1\nB!=2\n", "line 2: unexpected character `!` in the variable name `B!=2`"),
            ("A='open\n", "line 2: the quote of `'open` is not closed"),
            ("A=\"\\0101\"", "A=A"),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }
}
