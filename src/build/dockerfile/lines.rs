//! From physical lines to instructions: parser directives, comments, continuation, heredocs.
//!
//! The rules are those of
//! <https://github.com/moby/buildkit/blob/v0.26.0/frontend/dockerfile/parser/parser.go>.

use std::collections::BTreeSet;

use crate::build::dockerfile::expand::Escapes;
use crate::build::dockerfile::expand::NoValues;
use crate::build::dockerfile::expand::Quotes;
use crate::build::dockerfile::expand::Rules;
use crate::build::dockerfile::expand::Unset;
use crate::build::dockerfile::expand::expand;
use crate::build::dockerfile::source::Place;

/// One instruction's text, continuations joined, with the way back to where each character stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logical {
    pub text: String,
    pieces: Vec<Piece>,
    pub heredocs: Vec<Heredoc>,
    /// The comments right above it, without `#`.
    pub comments: Vec<String>,
    /// Its last physical line, its documents counted.
    last: usize,
    /// A line without anything in the middle of it.
    has_empty_line: bool,
}

/// The part of a logical line that came from one physical line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    /// Its first byte in the logical line.
    start: usize,
    line: usize,
    column: usize,
}

/// A document in the Dockerfile: `<<EOF` and the lines up to `EOF`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heredoc {
    pub name: String,
    /// Its name was not quoted: variables in it are replaced.
    pub expand: bool,
    /// `<<-`: leading tabs go.
    pub chomp: bool,
    pub content: String,
}

/// A fault in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineFault {
    pub place: Place,
    pub what: String,
    pub hint: Option<String>,
}

/// What the lines of a Dockerfile come to.
#[derive(Debug, Default)]
pub struct Lines {
    pub escape: char,
    /// The value of `# syntax=`, with its place.
    pub syntax: Option<(String, Place)>,
    /// The value of `# check=`, with its place.
    pub check: Option<(String, Place)>,
    pub logical: Vec<Logical>,
    pub faults: Vec<LineFault>,
}

impl Logical {
    /// A line that stands nowhere, as a trigger of a base image; all of it is said to be at `place`.
    pub fn of_text(text: &str, place: Place, heredocs: Vec<Heredoc>) -> Logical {
        let pieces = vec![Piece { start: 0, line: place.line, column: place.column }];
        Logical { text: text.to_owned(), pieces, heredocs, last: place.line, ..Logical::default() }
    }

    /// The last line of it.
    pub fn last_line(&self) -> usize {
        self.last
    }

    /// Where it goes on after an empty line, if it does.
    pub fn empty_line(&self) -> Option<Place> {
        let line = self.pieces.last().map_or(1, |piece| piece.line);
        self.has_empty_line.then_some(Place { line, column: 1, width: usize::MAX })
    }

    /// Where the byte `at` and the `width` bytes from it stand.
    pub fn place(&self, at: usize, width: usize) -> Place {
        let piece = self.pieces.iter().rev().find(|piece| piece.start <= at).or(self.pieces.first());
        let Some(piece) = piece else { return Place { line: 1, column: 1, width: 1 } };
        let before = self.text.get(piece.start..at).map_or(0, |text| text.chars().count());
        let end = (at + width).min(self.text.len());
        let width = self.text.get(at..end).map_or(1, |text| text.chars().count());
        Place { line: piece.line, column: piece.column + before, width: width.max(1) }
    }

    /// Where the whole begins.
    pub fn start(&self) -> Place {
        self.place(0, self.text.trim_end().len())
    }
}

/// No line may be longer, its break counted; one without a break must be shorter.
const LONGEST_LINE: usize = 65536;

/// Splits a Dockerfile into the lines that hold instructions.
pub fn split(text: &str) -> Lines {
    let bare = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut physical: Vec<&str> = bare.split_inclusive('\n').collect();
    let mark = text.len() - bare.len();
    let length = |number: usize, line: &str| line.len() + if number == 0 { mark } else { 0 } + usize::from(!line.ends_with('\n'));
    let too_long = physical.iter().enumerate().position(|(number, line)| length(number, line) > LONGEST_LINE);
    physical.truncate(too_long.unwrap_or(physical.len()));
    let mut splitter = Splitter {
        physical,
        next: 0,
        directives: Some(BTreeSet::new()),
        comments: Vec::new(),
        lines: Lines { escape: '\\', ..Lines::default() },
    };
    while splitter.next < splitter.physical.len() {
        splitter.take_one();
    }
    if let Some(number) = too_long {
        splitter.lines.faults.push(LineFault {
            place: Place { line: number + 1, column: 1, width: 1 },
            what: format!("dockerfile line greater than max allowed size of {}", LONGEST_LINE - 1),
            hint: Some("go on in the next line after a `\\`, or COPY the text from a file".to_owned()),
        });
    }
    splitter.lines
}

struct Splitter<'a> {
    physical: Vec<&'a str>,
    next: usize,
    /// The directives seen so far; None once a line was no directive.
    directives: Option<BTreeSet<String>>,
    /// The comments since the last instruction, or since an empty comment.
    comments: Vec<String>,
    lines: Lines,
}

impl Splitter<'_> {
    fn take_one(&mut self) {
        let number = self.next + 1;
        let line = without_break(self.physical[self.next]);
        self.next += 1;
        let text = line.trim_start();
        let place = Place { line: number, column: line.chars().count() - text.chars().count() + 1, width: text.chars().count() };
        let is_directive = self.directive(text, place);
        if text.starts_with('#') {
            // Only what stands before all the rest is taken off, so behind a blank the `#` is a part of the comment.
            match line.chars().skip(1).collect::<String>().trim() {
                "" => self.comments.clear(),
                comment if !is_directive => self.comments.push(comment.to_owned()),
                _ => {}
            }
            return;
        }
        let pieces = vec![Piece { start: 0, line: number, column: place.column }];
        let mut logical = Logical { pieces, ..Logical::default() };
        let (part, mut ended) = self.without_continuation(text);
        if ended && part.is_empty() {
            return;
        }
        logical.text.push_str(part);
        while !ended && self.next < self.physical.len() {
            let line = without_break(self.physical[self.next]);
            self.next += 1;
            self.directives = None;
            if line.trim_start().starts_with('#') {
                continue;
            }
            if line.trim().is_empty() {
                logical.has_empty_line = true;
                continue;
            }
            let (part, last) = self.without_continuation(line);
            logical.pieces.push(Piece { start: logical.text.len(), line: self.next, column: 1 });
            logical.text.push_str(part);
            ended = last;
        }
        if takes_heredocs(&logical.text) {
            self.heredocs(&mut logical);
        }
        logical.last = self.next;
        logical.comments = std::mem::take(&mut self.comments);
        self.lines.logical.push(logical);
    }

    /// Reads `# key=value` before the first line that is none; says whether it was one.
    fn directive(&mut self, text: &str, place: Place) -> bool {
        let Some(seen) = &mut self.directives else { return false };
        let parsed = text.strip_prefix('#').and_then(|comment| comment.trim_start().split_once('=')).and_then(|(key, value)| {
            let key = key.trim_end();
            let name = key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.chars().all(|c| c.is_ascii_alphanumeric());
            let value = value.trim();
            (name && !value.is_empty()).then(|| (key.to_ascii_lowercase(), value.to_owned()))
        });
        // A first line `#!…` is a comment, and the directives may come after it only in looking for `syntax`.
        let Some((key, value)) = parsed.filter(|(key, _)| matches!(key.as_str(), "syntax" | "escape" | "check")) else {
            self.directives = None;
            return false;
        };
        if !seen.insert(key.clone()) {
            let what = format!("only one {key} parser directive can be used");
            self.lines.faults.push(LineFault { place, what, hint: Some("remove this line".to_owned()) });
            return true;
        }
        match (key.as_str(), value.as_str()) {
            ("escape", "\\") => self.lines.escape = '\\',
            ("escape", "`") => self.lines.escape = '`',
            ("escape", other) => self.lines.faults.push(LineFault {
                place,
                what: format!("invalid escape token '{other}' does not match ` or \\"),
                hint: Some("write `# escape=\\`` or leave the line out".to_owned()),
            }),
            ("syntax", _) => self.lines.syntax = Some((value, place)),
            ("check", _) => self.lines.check = Some((value, place)),
            _ => {}
        }
        true
    }

    /// Takes the escape at the end of a line away; says whether the instruction ends with this line.
    fn without_continuation<'t>(&self, line: &'t str) -> (&'t str, bool) {
        let trimmed = line.trim_end_matches([' ', '\t']);
        let Some(rest) = trimmed.strip_suffix(self.lines.escape) else { return (line, true) };
        // An escape that is itself escaped does not continue the line.
        if rest.ends_with(self.lines.escape) { (line, true) } else { (rest, false) }
    }

    fn heredocs(&mut self, logical: &mut Logical) {
        let documents = match heredocs_of(&logical.text) {
            Ok(documents) => documents,
            Err(what) => {
                self.lines.faults.push(LineFault { place: logical.start(), what, hint: None });
                return;
            }
        };
        for mut document in documents {
            let mut terminated = false;
            while self.next < self.physical.len() && !terminated {
                let line = self.physical[self.next];
                self.next += 1;
                let bare = without_break(line);
                terminated = document.name == if document.chomp { bare.trim_start_matches('\t') } else { bare };
                if !terminated {
                    document.content.push_str(line);
                }
            }
            if !terminated {
                self.lines.faults.push(LineFault {
                    place: logical.start(),
                    what: format!("unterminated heredoc: no line `{}` ends it", document.name),
                    hint: Some(format!("add a line that is only `{}`", document.name)),
                });
            }
            logical.heredocs.push(document);
        }
    }
}

fn without_break(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

/// ADD, COPY and RUN may hold documents, and ONBUILD of these.
fn takes_heredocs(text: &str) -> bool {
    if !text.contains("<<") {
        return false;
    }
    let mut words = text.split_ascii_whitespace().map(str::to_ascii_lowercase);
    let mut word = words.next();
    if word.as_deref() == Some("onbuild") {
        word = words.next();
    }
    matches!(word.as_deref(), Some("add" | "copy" | "run"))
}

/// The documents that a line announces, in order.
fn heredocs_of(line: &str) -> Result<Vec<Heredoc>, String> {
    let rules = Rules { escape: '\\', quotes: Quotes::Keep, unset: Unset::Keep, escapes: Escapes::Keep };
    // A line that cannot be split into words announces none.
    let words = expand(line, rules, &NoValues).map(|expanded| expanded.words).unwrap_or_default();
    let mut documents = Vec::new();
    for word in words {
        documents.extend(heredoc_of(&word)?);
    }
    Ok(documents)
}

/// The document that a word announces: `<<EOF`, `<<-EOF`, `3<<"EOF"`; None if it announces none.
///
/// # Errors
/// A quote in the name that does not end.
pub fn heredoc_of(word: &str) -> Result<Option<Heredoc>, String> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let Some(rest) = rest.strip_prefix("<<") else { return Ok(None) };
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.trim_start();
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }
    let rules = Rules { escape: '\\', quotes: Quotes::Process, unset: Unset::Keep, escapes: Escapes::Process };
    let bare = expand(rest, rules, &NoValues)?.words;
    let [name] = bare.as_slice() else { return Ok(None) };
    let quoted = expand(rest, Rules { quotes: Quotes::Keep, ..rules }, &NoValues)?.words.concat();
    let quotes = |text: &str| text.matches(['\'', '"']).count();
    Ok(Some(Heredoc { name: name.clone(), expand: quotes(name) == quotes(&quoted), chomp, content: String::new() }))
}

/// Takes the leading tabs of each line away.
pub fn chomped(content: &str) -> String {
    content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(file: &str) -> Vec<String> {
        split(file).logical.into_iter().map(|logical| logical.text).collect()
    }

    #[test]
    fn a_line_goes_on_over_comments_and_empty_lines() {
        assert_eq!(texts("RUN a \\\n# c\n\n  b\nRUN c"), ["RUN a   b", "RUN c"]);
        assert_eq!(texts("# escape=`\nRUN a `\n b\nRUN c\\\n"), ["RUN a  b", "RUN c\\"]);
        assert_eq!(texts("RUN a \\\\\nRUN b"), ["RUN a \\\\", "RUN b"]);
    }

    #[test]
    fn a_character_after_a_continuation_knows_its_line() {
        let lines = split("FROM x\n  COPY a \\\n  --b c\n");
        let place = lines.logical[1].place(lines.logical[1].text.find("--b").unwrap(), 3);
        assert_eq!(place, Place { line: 3, column: 3, width: 3 });
    }

    #[test]
    fn a_line_has_its_limit() {
        let line = |length: usize| format!("FROM x\nRUN {}", "a".repeat(length - 4));
        let faults = |text: &str| split(text).faults.len();
        assert_eq!((faults(&line(65535)), faults(&(line(65535) + "\n")), faults(&line(65536))), (0, 0, 1));
    }

    #[test]
    fn heredocs_are_taken_from_the_following_lines() {
        let lines = split("COPY <<-'A' <<B /d/\n\tone\n\tA\ntwo\nB\nRUN x\n");
        let documents = &lines.logical[0].heredocs;
        assert_eq!((documents[0].content.as_str(), documents[0].expand, documents[0].chomp), ("\tone\n", false, true));
        assert_eq!((documents[1].content.as_str(), documents[1].expand), ("two\n", true));
        assert_eq!(lines.logical[1].text, "RUN x");
    }

    #[test]
    fn an_unfinished_heredoc_is_a_fault_at_its_instruction() {
        let faults = split("FROM x\nRUN <<EOF\na\n").faults;
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].place.line, 2);
        assert!(faults[0].what.contains("unterminated heredoc"), "{}", faults[0].what);
    }
}
