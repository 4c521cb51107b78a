//! Warnings about a Dockerfile: BuildKit's rules, each found where it is broken.

mod file;
pub(super) mod rules;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::build::dockerfile::expand::Values;
use crate::build::dockerfile::lines::Logical;
use crate::build::dockerfile::source::Place;
use crate::build::dockerfile::source::Source;
use crate::failure::Spot;

pub(super) use file::check as check_file;
pub(super) use rules::Rule;

/// A rule that is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// `JSONArgsRecommended`.
    pub rule: &'static str,
    pub description: &'static str,
    /// The page that explains the rule; may be empty.
    pub url: String,
    pub detail: String,
    /// The lines it is about, the first and the last.
    pub lines: (usize, usize),
    pub spot: Spot,
}

/// Which rules count, as `# check=` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Config {
    skip_all: bool,
    skip: BTreeSet<String>,
    experimental_all: bool,
    experimental: BTreeSet<String>,
    /// A warning is a failure.
    pub is_strict: bool,
}

impl Config {
    /// Reads `skip=A,B;error=true`.
    ///
    /// # Errors
    /// Words that mean nothing.
    pub(super) fn read(text: &str) -> Result<Config, String> {
        let mut config = Config::default();
        for part in text.trim().splitn(3, ';').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').ok_or_else(|| format!("invalid check option {part:?}"))?;
            let value = value.trim();
            let names = || value.split(',').map(|name| name.trim().to_owned()).collect();
            match (key.trim(), value) {
                ("skip", "all") => config.skip_all = true,
                ("skip", _) => config.skip = names(),
                ("experimental", "all") => config.experimental_all = true,
                ("experimental", _) => config.experimental = names(),
                ("error", "1" | "t" | "T" | "TRUE" | "true" | "True") => config.is_strict = true,
                ("error", "0" | "f" | "F" | "FALSE" | "false" | "False") => config.is_strict = false,
                ("error", _) => return Err(format!("failed to parse check option {part:?}")),
                (key, _) => return Err(format!("invalid check option {key:?}")),
            }
        }
        Ok(config)
    }

    fn counts(&self, rule: &Rule) -> bool {
        if rule.experimental {
            return self.experimental_all || self.experimental.contains(rule.name);
        }
        !self.skip_all && !self.skip.contains(rule.name)
    }

    fn with(&self, other: Config) -> Config {
        let mut both = self.clone();
        both.skip_all |= other.skip_all;
        both.skip.extend(other.skip);
        both.experimental_all |= other.experimental_all;
        both.experimental.extend(other.experimental);
        both
    }

    /// With what a comment above an instruction says: `# check=skip=…`.
    fn with_comments(&self, comments: &[String]) -> Config {
        let said = comments.iter().find_map(|comment| {
            let (key, value) = comment.split_once('=')?;
            key.trim().eq_ignore_ascii_case("check").then(|| value.trim().split(' ').next().unwrap_or_default().to_owned())
        });
        match said.map(|said| Config::read(&said)) {
            Some(Ok(own)) => self.with(own),
            _ => self.clone(),
        }
    }
}

/// Collects the warnings about one Dockerfile.
#[derive(Debug)]
pub(super) struct Lint<'a> {
    source: &'a Source,
    pub config: Config,
    found: Mutex<Vec<Warning>>,
}

impl<'a> Lint<'a> {
    pub(super) fn new(source: &'a Source, config: Config) -> Lint<'a> {
        Lint { source, config, found: Mutex::default() }
    }

    /// Says that an instruction breaks a rule.
    pub(super) fn warn(&self, rule: &Rule, line: &Logical, detail: impl Into<String>) {
        self.warn_at(rule, line, (line.start(), line.last_line()), detail);
    }

    /// The same for a part of it.
    fn warn_at(&self, rule: &Rule, line: &Logical, (place, last): (Place, usize), detail: impl Into<String>) {
        if !self.config.with_comments(&line.comments).counts(rule) {
            return;
        }
        let warning = Warning {
            rule: rule.name,
            description: rule.description,
            url: rule.url(),
            detail: detail.into(),
            lines: (place.line, last.max(place.line)),
            spot: self.source.spot(place),
        };
        self.found.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
    }

    /// All warnings, from the top of the file to its end.
    pub(super) fn warnings(&self) -> Vec<Warning> {
        let mut warnings = self.found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        warnings.sort_by_key(|warning| warning.lines.0);
        // A stage that several others stand on is looked at once for each of them.
        let mut seen: Vec<Warning> = Vec::new();
        warnings.retain(|warning| {
            let new = !seen.contains(warning) || warning.rule == rules::UNDEFINED_VAR.name;
            if new {
                seen.push(warning.clone());
            }
            new
        });
        warnings
    }
}

/// Values that remember what was asked for.
pub(super) struct Recorded<'a> {
    values: &'a dyn Values,
    matched: RefCell<BTreeSet<String>>,
    unmatched: RefCell<BTreeSet<String>>,
}

impl<'a> Recorded<'a> {
    pub(super) fn new(values: &'a dyn Values) -> Recorded<'a> {
        Recorded { values, matched: RefCell::default(), unmatched: RefCell::default() }
    }

    /// The names that have a value.
    pub(super) fn matched(&self) -> BTreeSet<String> {
        self.matched.borrow().clone()
    }

    /// The names that have none.
    pub(super) fn unmatched(&self) -> BTreeSet<String> {
        self.unmatched.borrow().clone()
    }
}

impl Values for Recorded<'_> {
    fn value(&self, name: &str) -> Option<String> {
        let value = self.values.value(name);
        let names = if value.is_some() { &self.matched } else { &self.unmatched };
        names.borrow_mut().insert(name.to_owned());
        value
    }
}

/// The one of `known` that someone who wrote `word` may have meant: at most two letters are wrong.
pub(super) fn meant<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        if candidate == word {
            // Then the spelling was not what is wrong.
            return None;
        }
        let distance = distance(word, candidate);
        if distance < best.map_or(3, |(distance, _)| distance) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, c) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for j in 0..b.len() {
            let change = diagonal + usize::from(c != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_says_which_rules_count() {
        let config = Config::read("skip=StageNameCasing, MaintainerDeprecated;error=true").unwrap();
        assert!(config.is_strict && !config.counts(&rules::MAINTAINER_DEPRECATED) && config.counts(&rules::UNDEFINED_VAR));
        assert!(!config.counts(&rules::INVALID_DEFINITION_DESCRIPTION));
        assert!(Config::read("experimental=all").unwrap().counts(&rules::INVALID_DEFINITION_DESCRIPTION));
        let local = Config::default().with_comments(&["of no account".to_owned(), "check=skip=all for now".to_owned()]);
        assert!(!local.counts(&rules::UNDEFINED_VAR));
        assert_eq!(Config::read("foo").unwrap_err(), "invalid check option \"foo\"");
        assert_eq!(Config::read("foo=1").unwrap_err(), "invalid check option \"foo\"");
    }

    #[test]
    fn what_was_meant_is_near() {
        assert_eq!(meant("PTH", ["HOME", "PATH"]), Some("PATH"));
        assert_eq!(meant("BULIDPLATFORM", ["BUILDPLATFORM"]), Some("BUILDPLATFORM"));
        assert_eq!(meant("SOMETHING", ["PATH"]), None);
        assert_eq!((distance("kitten", "sitting"), distance("", "ab")), (3, 2));
    }
}
