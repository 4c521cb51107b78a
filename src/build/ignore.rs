//! `.dockerignore`: which files of a context are not there for the build.
//!
//! A port of moby/patternmatcher, <https://github.com/moby/patternmatcher/blob/v0.6.0/patternmatcher.go>, onto the
//! regex crate. It differs from gitignore: a pattern is anchored at the context, the last one that matches decides, a
//! file below an ignored directory can come back.

use std::iter::Peekable;
use std::str::Chars;

use regex::Regex;

use crate::build::glob;
use crate::paths;

/// The patterns of an ignore file, in order.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    patterns: Vec<Pattern>,
    exceptions: bool,
}

#[derive(Debug, Clone)]
struct Pattern {
    cleaned: String,
    exception: bool,
    how: How,
}

#[derive(Debug, Clone)]
enum How {
    Exact,
    /// `dir/**`
    Prefix,
    /// `**/name`
    Suffix,
    Regex(Regex),
}

/// Which patterns matched a directory: what is below it need not be matched with them again.
#[derive(Debug, Clone, Default)]
pub(super) struct Matched(Vec<bool>);

/// Reads the lines of an ignore file.
pub fn lines(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<String> {
    let trimmed = line.trim();
    if line.starts_with('#') || trimmed.is_empty() {
        return None;
    }
    let (mark, path) = match trimmed.strip_prefix('!') {
        Some(path) => ("!", path.trim()),
        None => ("", trimmed),
    };
    if path.is_empty() {
        return Some(mark.to_owned());
    }
    let cleaned = paths::clean(path);
    let path = if cleaned.len() > 1 { cleaned.strip_prefix('/').unwrap_or(&cleaned) } else { &cleaned };
    Some(format!("{mark}{path}"))
}

impl Patterns {
    /// Prepares patterns for matching.
    ///
    /// # Errors
    /// Names the pattern that cannot be understood.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Patterns, String> {
        let mut all = Patterns::default();
        for pattern in patterns {
            let pattern = pattern.as_ref().trim();
            if pattern.is_empty() {
                continue;
            }
            let cleaned = paths::clean(pattern);
            let (exception, cleaned) = match cleaned.strip_prefix('!') {
                Some("") => return Err("illegal exclusion pattern: \"!\"".to_owned()),
                Some(rest) => (true, rest.to_owned()),
                None => (false, cleaned),
            };
            glob::matches(&cleaned, ".").map_err(|_| format!("syntax error in pattern `{pattern}`"))?;
            let how = compile(&cleaned).ok_or_else(|| format!("syntax error in pattern `{pattern}`"))?;
            all.exceptions |= exception;
            all.patterns.push(Pattern { cleaned, exception, how });
        }
        Ok(all)
    }

    /// Whether nothing is ever matched.
    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether one of the patterns is for everything there is.
    pub(super) fn excludes_all(&self) -> bool {
        self.patterns.iter().any(|pattern| !pattern.exception && matches!(pattern.cleaned.as_str(), "*" | "**" | "**/*"))
    }

    /// Whether something below a matched directory may not match.
    pub fn has_exceptions(&self) -> bool {
        self.exceptions
    }

    /// Whether a path matches, given what matched its directory; and what its own children are given.
    pub(super) fn matches_below(&self, path: &str, parent: &Matched) -> (bool, Matched) {
        let mut matched = false;
        let mut own = vec![false; self.patterns.len()];
        for (index, pattern) in self.patterns.iter().enumerate() {
            let mut hit = parent.0.get(index).copied().unwrap_or(false);
            if !hit {
                // An exception matters only to what is matched, a pattern only to what is not.
                if pattern.exception != matched {
                    continue;
                }
                hit = pattern.matches(path) || (parent.0.is_empty() && parents(path).any(|parent| pattern.matches(parent)));
            }
            own[index] = hit;
            if hit {
                matched = !pattern.exception;
            }
        }
        (matched, Matched(own))
    }

    /// Whether a path, or a directory above it, matches.
    pub fn matches(&self, path: &str) -> bool {
        let mut matched = false;
        for pattern in &self.patterns {
            if pattern.exception != matched {
                continue;
            }
            if pattern.matches(path) || parents(path).any(|parent| pattern.matches(parent)) {
                matched = !pattern.exception;
            }
        }
        matched
    }
}

/// The directories above a path, the nearest to the root first.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

impl Pattern {
    fn matches(&self, path: &str) -> bool {
        match &self.how {
            How::Exact => path == self.cleaned,
            How::Prefix => path.starts_with(&self.cleaned[..self.cleaned.len() - 2]),
            How::Suffix => {
                let suffix = &self.cleaned[2..];
                path.ends_with(suffix) || suffix.strip_prefix('/') == Some(path)
            }
            How::Regex(regex) => regex.is_match(path),
        }
    }
}

/// Finds out how a pattern is matched; None if no regular expression can be made of it.
fn compile(pattern: &str) -> Option<How> {
    let mut how = How::Exact;
    let mut is_regex = false;
    let mut text = String::from("^");
    let mut rest = pattern.chars().peekable();
    let mut first = true;
    while let Some(c) = rest.next() {
        match c {
            '*' if rest.next_if_eq(&'*').is_some() => {
                rest.next_if_eq(&'/');
                if rest.peek().is_some() {
                    text.push_str("(.*/)?");
                    is_regex = true;
                } else if matches!(how, How::Exact) && !is_regex {
                    how = How::Prefix;
                } else {
                    text.push_str(".*");
                    is_regex = true;
                }
                if first {
                    how = How::Suffix;
                    is_regex = false;
                }
            }
            '*' | '?' => {
                text.push_str(if c == '*' { "[^/]*" } else { "[^/]" });
                is_regex = true;
            }
            // Not `|`, `{` and `}`: moby means to escape them, too, but its table of them has no room for theirs.
            '.' | '+' | '(' | ')' | '$' => text.extend(['\\', c]),
            '\\' => {
                text.push('\\');
                if let Some(escaped) = rest.next() {
                    text.push(escaped);
                    is_regex = true;
                }
            }
            '[' | ']' => {
                text.push(c);
                is_regex = true;
            }
            c => text.push(c),
        }
        first = false;
    }
    if !is_regex {
        return Some(how);
    }
    text.push('$');
    Regex::new(&from_go(&text)?).ok().map(How::Regex)
}

/// Writes one of Go's regular expressions so that the regex crate reads the same in it: classes do not nest, there are
/// no set operations, an escaped punctuation mark is that mark, a brace that begins no repetition is a brace.
///
/// None for an escape that Go knows none of.
fn from_go(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text.chars().peekable();
    let mut class = false;
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some(escaped) if escaped.is_ascii_alphanumeric() => out.extend(['\\', escaped]),
                Some(escaped) if escaped.is_ascii() => out.push_str(&regex::escape(escaped.encode_utf8(&mut [0; 4]))),
                _ => return None,
            },
            '[' if !class => {
                class = true;
                out.push('[');
                out.extend(rest.next_if_eq(&'^'));
                if rest.next_if_eq(&']').is_some() {
                    out.push_str("\\]");
                }
            }
            '[' | '&' | '~' if class => out.extend(['\\', c]),
            ']' if class => {
                class = false;
                out.push(']');
            }
            '{' if !class => match repetition(rest.clone()) {
                Some(counts) => {
                    out.extend(['{'].into_iter().chain(counts.chars()));
                    rest.nth(counts.len() - 1);
                }
                None => out.push_str("\\{"),
            },
            ']' | '}' if !class => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    Some(out)
}

/// What follows a `{` if it is `2}`, `2,}` or `2,3}`.
fn repetition(rest: Peekable<Chars<'_>>) -> Option<String> {
    let text: String = rest.take_while(|c| c.is_ascii_digit() || matches!(c, ',' | '}')).collect();
    let (counts, _) = text.split_once('}')?;
    let (least, most) = counts.split_once(',').unwrap_or((counts, ""));
    (!least.is_empty() && !most.contains(',')).then(|| format!("{counts}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::oracle;

    fn texts(value: &serde_json::Value) -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    }

    /// Every row of moby's own table.
    #[test]
    fn one_path_and_its_patterns() {
        let Some(rows) = oracle::table("ignore_rows") else { return };
        let mut wrong = Vec::new();
        for row in &rows {
            let ours =
                Patterns::new(texts(&row["patterns"])).map(|patterns| patterns.matches(&paths::clean(row["path"].as_str().unwrap())));
            let fits = match &ours {
                Ok(excluded) => row["error"].is_null() && row["excluded"] == *excluded,
                Err(_) => !row["error"].is_null(),
            };
            if !fits {
                wrong.push(format!("{row}: got {ours:?}"));
            }
        }
        assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    }

    /// Every ignore file of the table: the patterns read from it, and the paths it excludes, looked at from above
    /// as a walk does and one by one.
    #[test]
    fn whole_ignore_files() {
        let Some(rows) = oracle::table("ignore_files") else { return };
        let mut wrong = Vec::new();
        for row in &rows {
            let read = lines(row["text"].as_str().unwrap());
            let patterns = match Patterns::new(&read) {
                Ok(patterns) => patterns,
                Err(error) if row["error"].is_null() => {
                    wrong.push(format!("{}: {error}", row["text"]));
                    continue;
                }
                Err(_) => continue,
            };
            let mut excluded: Vec<String> = texts(&row["paths"]).into_iter().filter(|path| patterns.matches(path)).collect();
            excluded.sort();
            let walked = |path: &String| {
                let above = parents(path).fold(Matched::default(), |above, parent| patterns.matches_below(parent, &above).1);
                patterns.matches_below(path, &above).0
            };
            let mut from_above: Vec<String> = texts(&row["paths"]).into_iter().filter(walked).collect();
            from_above.sort();
            let mut expected = texts(&row["excluded"]);
            expected.sort();
            if read != texts(&row["patterns"]) || excluded != expected || from_above != expected || !row["error"].is_null() {
                wrong.push(format!("{}: {read:?} {excluded:?}\n want {row}", row["text"]));
            }
        }
        assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    }
}
