//! Texts that docker compose's reader takes and a strict YAML parser does not.
//!
//! - The lines of a `[`, `{` or quoted value may stand as far left as they like. Blanks at their start mean nothing,
//!   so these lines are moved right.
//! - A tab may follow `:` and `-`. It becomes a blank.
//! - A comment may follow a closing quote or bracket at once. It becomes blanks.
//! - `-` alone may be an item of a list in brackets. It becomes a letter that [`restored`] turns back.
//!
//! No change but the first moves a column, and [`Mender::column`] knows of that.

use std::borrow::Cow;
use std::collections::BTreeSet;

use saphyr_parser::ScanError;

/// How far lines are moved that the parser finds too far left.
const MOVE: usize = 80;

/// No more than this is read again and again, in bytes.
const REREAD: usize = 12 << 20;

/// Stands for `-`; a letter for private use, which no file has a reason to hold.
const DASH: char = '\u{e02d}';

/// A text and what had to be changed in it so far.
pub(super) struct Mender<'t> {
    text: &'t str,
    /// The lines as they are read; none before the first change.
    lines: Vec<String>,
    moved: BTreeSet<usize>,
    left: usize,
}

impl<'t> Mender<'t> {
    pub(super) fn new(text: &'t str) -> Mender<'t> {
        Mender { text, lines: Vec::new(), moved: BTreeSet::new(), left: REREAD }
    }

    /// The text to read.
    pub(super) fn source(&self) -> Cow<'t, str> {
        if self.lines.is_empty() { Cow::Borrowed(self.text) } else { Cow::Owned(self.lines.concat()) }
    }

    /// The column in the file, counted from 1, of a column in the source, counted from 0.
    pub(super) fn column(&self, line: usize, column: usize) -> u32 {
        let moved = if self.moved.contains(&line) { MOVE } else { 0 };
        column.saturating_sub(moved) as u32 + 1
    }

    /// Changes the text so that the parser gets past the error; false if it is a real one.
    pub(super) fn mend(&mut self, error: &ScanError) -> bool {
        self.left = self.left.saturating_sub(self.text.len().max(4096) + self.moved.len() * MOVE);
        if self.left == 0 {
            return false;
        }
        let (line, column) = (error.marker().line(), error.marker().col());
        match error.info() {
            "invalid indentation" | "invalid indentation in flow construct" => self.shift(line),
            "invalid indentation in quoted scalar" => {
                let next = (line + 1..).find(|line| !self.moved.contains(line)).unwrap_or(line);
                self.shift(next)
            }
            "':' must be followed by a valid YAML whitespace" | "'-' must be followed by a valid YAML whitespace" => {
                self.change((line, column), |chars| blank_tabs(&mut chars[..column]))
            }
            "comments must be separated from other tokens by whitespace" => {
                self.change((line, column), |chars| blank_comment(&mut chars[column..]))
            }
            "plain scalar cannot start with '-' followed by ,[]{}" => {
                self.change((line, column), |chars| replace(&mut chars[column..], '-', DASH))
            }
            _ => false,
        }
    }

    fn line(&mut self, line: usize) -> Option<&mut String> {
        if self.lines.is_empty() {
            self.lines = self.text.split_inclusive('\n').map(str::to_owned).collect();
        }
        self.lines.get_mut(line.checked_sub(1)?)
    }

    fn shift(&mut self, line: usize) -> bool {
        let Some(text) = self.line(line) else { return false };
        text.insert_str(0, &" ".repeat(MOVE));
        self.moved.insert(line)
    }

    /// Changes the characters of a line; false if they stay as they are.
    fn change(&mut self, (line, column): (usize, usize), change: impl FnOnce(&mut [char]) -> bool) -> bool {
        let Some(text) = self.line(line) else { return false };
        let mut chars: Vec<char> = text.chars().collect();
        // A place behind the line's end cannot be mended.
        let done = column < chars.len() && change(&mut chars);
        *text = chars.into_iter().collect();
        done
    }
}

/// Makes blanks of the tabs right before the end.
fn blank_tabs(chars: &mut [char]) -> bool {
    let mut changed = false;
    for char in chars.iter_mut().rev().take_while(|char| matches!(char, ' ' | '\t')) {
        changed |= *char == '\t';
        *char = ' ';
    }
    changed
}

fn blank_comment(chars: &mut [char]) -> bool {
    if chars.first() != Some(&'#') {
        return false;
    }
    chars.iter_mut().filter(|char| !matches!(char, '\r' | '\n')).for_each(|char| *char = ' ');
    true
}

fn replace(chars: &mut [char], from: char, to: char) -> bool {
    match chars.first_mut().filter(|char| **char == from) {
        Some(char) => *char = to,
        None => return false,
    }
    true
}

/// A plain text as the file has it.
pub(super) fn restored(text: &str) -> Cow<'_, str> {
    if text.contains(DASH) { Cow::Owned(text.replace(DASH, "-")) } else { Cow::Borrowed(text) }
}
