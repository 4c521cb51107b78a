//! What the user is told when something cannot be done: what, where, because, and what to try.

use std::error::Error;
use std::fmt::{self, Display};
use std::io;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

/// A result whose error is meant for the person at the terminal.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Something that could not be done, in the user's words at the top and in the kernel's at the bottom.
///
/// Prints as
///
/// ```text
/// error: cannot load project `shop`
///   because: service `web` has no key `imagee`
///  --> compose.yaml:3:5
///   |
/// 3 |     imagee: nginx:1.27
///   |     ^^^^^^
/// hint: did you mean `image`?
/// ```
///
/// It can be sent from one of our processes to another, whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure(Box<Parts>);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Parts {
    what: String,
    because: Vec<String>,
    spot: Option<Spot>,
    hint: Option<String>,
    exit: u8,
    faults: Vec<Failure>,
}

/// A place in a text file that the user wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spot {
    /// The file as the user named it, or as we found it relative to where they stand.
    pub file: PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// How many characters to underline; at least 1.
    pub width: usize,
    /// How many characters of a very long line are left out before `text`.
    pub skipped: usize,
    /// The line, without its line break.
    pub text: String,
}

impl Failure {
    /// Makes a failure that says `what`: "cannot" + verb + object in backticks, lower case, no full stop.
    pub fn new(what: impl Into<String>) -> Failure {
        Failure(Box::new(Parts { what: what.into(), because: Vec::new(), spot: None, hint: None, exit: 1, faults: Vec::new() }))
    }

    /// Makes one failure of all the faults found in one go, printed one after the other under `what`.
    pub fn several(what: impl Into<String>, faults: Vec<Failure>) -> Failure {
        let mut failure = Failure::new(what);
        failure.0.faults = faults;
        failure
    }

    /// Adds a reason below those already given.
    pub fn because(mut self, reason: impl Display) -> Failure {
        self.0.because.push(reason.to_string());
        self
    }

    /// Puts a wider statement on top; what was on top becomes its first reason.
    pub fn within(mut self, what: impl Into<String>) -> Failure {
        let inner = std::mem::replace(&mut self.0.what, what.into());
        self.0.because.insert(0, inner);
        self
    }

    /// Says where in the user's file the cause stands.
    pub fn at(mut self, spot: Spot) -> Failure {
        self.0.spot = Some(spot);
        self
    }

    /// Says the one thing to try.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.0.hint = Some(hint.into());
        self
    }

    /// Sets the exit status the command ends with; 1 if never set. Docker's: 125 engine, 126 not executable, 127 not found.
    pub fn exit(mut self, status: u8) -> Failure {
        self.0.exit = status;
        self
    }

    /// The exit status the command ends with.
    pub fn status(&self) -> u8 {
        self.0.exit
    }

    /// The first line, without "error: ".
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// The faults that [`Failure::several`] was made of.
    pub fn faults(&self) -> &[Failure] {
        &self.0.faults
    }

    fn write_body(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for reason in &self.0.because {
            write!(f, "\n  because: {reason}")?;
        }
        if let Some(spot) = &self.0.spot {
            write!(f, "\n{spot}")?;
        }
        if let Some(hint) = &self.0.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.0.what)?;
        self.write_body(f)?;
        for fault in &self.0.faults {
            write!(f, "\n\n{fault}")?;
        }
        Ok(())
    }
}

/// Longer lines are shown in part.
const LONGEST_LINE: usize = 160;

/// How much of a long line is shown before its marks.
const BEFORE_MARKS: usize = 40;

impl Spot {
    /// What of the line is shown, and where in it the marks begin and how wide they are.
    fn shown(&self) -> (String, usize, usize) {
        // A tab would push the marks away from the text: show it as one blank, as the columns count it.
        let text = self.text.replace('\t', " ");
        let (start, width) = (self.column.saturating_sub(1 + self.skipped), self.width.max(1));
        if self.skipped == 0 && text.chars().nth(LONGEST_LINE).is_none() {
            return (text, start, width);
        }
        let skipped = if start + width.min(LONGEST_LINE) > LONGEST_LINE { start.saturating_sub(BEFORE_MARKS) } else { 0 };
        let mut part: String = text.chars().skip(skipped).take(LONGEST_LINE).collect();
        let more = text.chars().nth(skipped + LONGEST_LINE).is_some();
        let front = if skipped + self.skipped > 0 { "… " } else { "" };
        let start = start - skipped + front.chars().count();
        part.insert_str(0, front);
        if more {
            part.push('…');
        }
        let width = width.min(part.chars().count().saturating_sub(start)).max(1);
        (part, start, width)
    }
}

impl Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        let (text, start, width) = self.shown();
        writeln!(f, "{gutter}--> {}:{}:{}", self.file.display(), self.line, self.column)?;
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{number} | {text}")?;
        write!(f, "{gutter} | {}{}", " ".repeat(start), "^".repeat(width))
    }
}

impl Error for Failure {}

/// Turns the kernel's or a library's error into a [`Failure`] that says what we were doing.
pub trait Doing<T> {
    /// Says what could not be done; the error itself becomes the reason.
    ///
    /// # Errors
    /// The same error as a [`Failure`].
    fn doing<W: Into<String>>(self, what: impl FnOnce() -> W) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing<W: Into<String>>(self, what: impl FnOnce() -> W) -> Result<T> {
        self.map_err(|error| Failure::new(what()).because(error))
    }
}

impl<T> Doing<T> for std::result::Result<T, serde_json::Error> {
    fn doing<W: Into<String>>(self, what: impl FnOnce() -> W) -> Result<T> {
        self.map_err(|error| Failure::new(what()).because(error))
    }
}

impl<T> Doing<T> for Result<T> {
    fn doing<W: Into<String>>(self, what: impl FnOnce() -> W) -> Result<T> {
        self.map_err(|failure| failure.within(what()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_prints_what_where_because_and_a_hint() {
        let failure = Failure::new("cannot load project `shop`")
            .because("service `web` has no key `imagee`")
            .at(Spot { file: "compose.yaml".into(), line: 3, column: 5, width: 6, skipped: 0, text: "    imagee: nginx:1.27".into() })
            .hint("did you mean `image`?");
        let expected = [
            "error: cannot load project `shop`",
            "  because: service `web` has no key `imagee`",
            " --> compose.yaml:3:5",
            "  |",
            "3 |     imagee: nginx:1.27",
            "  |     ^^^^^^",
            "hint: did you mean `image`?",
        ];
        assert_eq!(failure.to_string(), expected.join("\n"));
    }

    #[test]
    fn a_long_line_is_shown_around_its_marks() {
        let line = "a".repeat(300) + "wrong" + &"b".repeat(300);
        let spot = Spot { file: "f".into(), line: 1, column: 301, width: 5, skipped: 0, text: line };
        let expected = format!(" --> f:1:301\n  |\n1 | … {}wrong{}…\n  | {}^^^^^", "a".repeat(40), "b".repeat(115), " ".repeat(42));
        assert_eq!(spot.to_string(), expected);
        let part = Spot { skipped: 50, text: spot.text[50..500].to_owned(), ..spot };
        assert_eq!(part.to_string(), expected);
    }
}
