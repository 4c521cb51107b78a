//! Rust source text as the rules see it: words without comments and literals.

use std::path::Path;
use std::path::PathBuf;

pub struct Word {
    pub text: String,
    pub line: usize,
    /// How many inline modules are open here.
    pub inner: usize,
}

/// A file as words: names, `::`, and single marks; comments and literals are left out.
pub struct Source {
    pub path: PathBuf,
    pub text: String,
    pub words: Vec<Word>,
    /// All of it is compiled for tests only.
    pub is_test: bool,
}

impl Source {
    pub fn parse(path: &Path, text: &str) -> Source {
        let mut words = Vec::new();
        let mut rest = text;
        let mut line = 1;
        while let Some(first) = rest.chars().next() {
            let length = skipped(rest).unwrap_or_else(|| {
                let length = word_length(rest);
                if !first.is_whitespace() {
                    words.push(Word { text: rest[..length].to_owned(), line, inner: 0 });
                }
                length
            });
            line += rest[..length].matches('\n').count();
            rest = &rest[length..];
        }
        mark_inner_modules(&mut words);
        Source { path: path.to_path_buf(), text: text.to_owned(), words, is_test: path.file_stem().is_some_and(|name| name == "tests") }
    }

    pub fn fault(&self, line: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path.display())
    }

    pub fn word_at(&self, at: usize) -> &str {
        self.words.get(at).map_or("", |word| word.text.as_str())
    }

    pub fn word_before(&self, at: usize) -> &str {
        at.checked_sub(1).map_or("", |at| self.word_at(at))
    }

    pub fn follows_super(&self, at: usize) -> bool {
        at >= 2 && self.word_at(at - 1) == "::" && self.word_at(at - 2) == "super"
    }

    /// The room that a chain of `super` beginning here reaches, if it leaves this one.
    pub fn reached_by_super(&self, at: usize) -> Option<String> {
        let supers = (0..).take_while(|step| self.word_at(at + 2 * step) == "super").count();
        let inside = self.path.strip_prefix("src").ok()?.with_extension("");
        let is_mod = inside.ends_with("mod");
        let depth = inside.components().count() - usize::from(is_mod) + self.words[at].inner;
        (supers >= depth).then(|| self.word_at(at + 2 * supers).to_owned())
    }

    /// The index of the first word of the unit tests, or the number of words.
    pub fn before_tests(&self) -> usize {
        if self.is_test { 0 } else { self.inline_tests() }
    }

    /// Modules in files of their own that only tests have: `#[cfg(test)] mod oracle;`, without the `.rs`.
    pub fn test_files(&self) -> Vec<PathBuf> {
        let is_mod = self.path.ends_with("mod.rs") || self.path.ends_with("lib.rs") || self.path.ends_with("main.rs");
        let directory = if is_mod { self.path.parent().map(Path::to_path_buf) } else { Some(self.path.with_extension("")) };
        let declared =
            (0..self.words.len()).filter(|at| self.is_for_tests(*at) && self.word_at(at + 7) == "mod" && self.word_at(at + 9) == ";");
        declared.filter_map(|at| Some(directory.as_ref()?.join(self.word_at(at + 8)))).collect()
    }

    fn is_for_tests(&self, at: usize) -> bool {
        (0..7).map(|step| self.word_at(at + step)).eq(["#", "[", "cfg", "(", "test", ")", "]"])
    }

    fn inline_tests(&self) -> usize {
        let opens = |at: usize| (7..10).any(|step| self.word_at(at + step) == "mod") && (9..12).any(|step| self.word_at(at + step) == "{");
        (0..self.words.len()).find(|at| self.is_for_tests(*at) && opens(*at)).unwrap_or(self.words.len())
    }

    /// First and last line of the function whose `fn` is here; None if it has no body.
    pub fn body_after(&self, at: usize) -> Option<(usize, usize)> {
        let mut depth = 0;
        for word in &self.words[at..] {
            match word.text.as_str() {
                ";" if depth == 0 => return None,
                "(" | "[" => depth += 1000,
                ")" | "]" => depth -= 1000,
                "{" => depth += 1,
                "}" if depth == 1 => return Some((self.words[at].line, word.line)),
                "}" => depth -= 1,
                _ => {}
            }
        }
        None
    }
}

/// The length of the comment or literal that the text begins with, if it does.
fn skipped(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment_length(text));
    }
    let after_prefix = text.trim_start_matches(['b', 'c', 'r']);
    let prefix = text.len() - after_prefix.len();
    if prefix <= 2 && text[..prefix].ends_with('r') && after_prefix.trim_start_matches('#').starts_with('"') {
        let hashes = after_prefix.len() - after_prefix.trim_start_matches('#').len();
        let end = format!("\"{}", "#".repeat(hashes));
        let body = prefix + hashes + 1;
        return Some(text[body..].find(&end).map_or(text.len(), |found| body + found + end.len()));
    }
    if prefix <= 1 && after_prefix.starts_with('"') {
        return Some(prefix + quoted_length(after_prefix, '"'));
    }
    if prefix <= 1 && after_prefix.starts_with('\'') {
        let mut inside = after_prefix[1..].chars();
        let is_character = match inside.next() {
            Some('\\') => true,
            Some(_) => inside.next() == Some('\''),
            None => false,
        };
        return is_character.then(|| prefix + quoted_length(after_prefix, '\''));
    }
    None
}

fn block_comment_length(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        match text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

fn quoted_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn word_length(text: &str) -> usize {
    let name: usize = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').map(char::len_utf8).sum();
    match name {
        0 if text.starts_with("::") => 2,
        0 => text.chars().next().map_or(0, char::len_utf8),
        _ => name,
    }
}

/// Notes at each word how many `mod name { … }` stand open around it.
fn mark_inner_modules(words: &mut [Word]) {
    let mut opened: Vec<usize> = Vec::new();
    let mut depth = 0;
    for at in 0..words.len() {
        words[at].inner = opened.len();
        match words[at].text.as_str() {
            "{" => {
                depth += 1;
                if at >= 2 && words[at - 2].text == "mod" {
                    opened.push(depth);
                }
            }
            "}" => {
                if opened.last() == Some(&depth) {
                    opened.pop();
                }
                depth -= 1;
            }
            _ => {}
        }
    }
}
