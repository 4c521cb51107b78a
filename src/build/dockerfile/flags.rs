//! Flags of instructions, `--name` and `--name=value`.

use crate::build::dockerfile::source::nearest;
use crate::build::dockerfile::words::Word;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// `--link`, `--link=false`.
    Bool,
    Value,
    /// A value, any number of times.
    Values,
}

/// A fault in a flag or argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub word: Word,
    pub what: String,
    pub hint: Option<String>,
}

impl Fault {
    pub fn new(word: &Word, what: impl Into<String>) -> Fault {
        Fault { word: word.clone(), what: what.into(), hint: None }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint = Some(hint.into());
        self
    }
}

/// The flags of one instruction, checked against those it knows.
#[derive(Debug, Default)]
pub struct Flags {
    values: Vec<(String, Word)>,
}

impl Flags {
    /// Checks the flags; every fault is reported.
    pub fn read(words: &[Word], known: &[(&str, Takes)], faults: &mut Vec<Fault>) -> Flags {
        let mut flags = Flags::default();
        for word in words {
            match flags.check(word, known) {
                Ok(value) => flags.values.push(value),
                Err(fault) => faults.push(fault),
            }
        }
        flags
    }

    fn check(&self, word: &Word, known: &[(&str, Takes)]) -> Result<(String, Word), Fault> {
        let (flag, value) = match word.text.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (word.text.as_str(), None),
        };
        let name = flag.trim_start_matches("--");
        let Some((_, takes)) = known.iter().find(|(known, _)| *known == name) else {
            let fault = Fault::new(word, format!("unknown flag: {flag}"));
            return Err(match nearest(name, known.iter().map(|(known, _)| *known)) {
                Some(meant) => fault.hint(format!("did you mean `--{meant}`?")),
                None if known.is_empty() => fault.hint("this instruction takes no flags"),
                None => fault.hint(format!("it takes {}", listed(known))),
            });
        };
        if *takes != Takes::Values && self.find(name).is_some() {
            return Err(Fault::new(word, format!("duplicate flag specified: {flag}")).hint("remove one of them"));
        }
        let value = match (takes, value) {
            (Takes::Bool, None) => "true".to_owned(),
            (Takes::Bool, Some(value)) if matches!(value.to_lowercase().as_str(), "true" | "false") => value.to_lowercase(),
            (Takes::Bool, Some("")) | (Takes::Value | Takes::Values, None) => {
                return Err(Fault::new(word, format!("missing a value on flag: {flag}")).hint(format!("write `{flag}=…`")));
            }
            (Takes::Bool, Some(value)) => {
                return Err(
                    Fault::new(word, format!("expecting boolean value for flag {flag}, not: {value}")).hint("write `true` or `false`")
                );
            }
            (_, Some(value)) => value.to_owned(),
        };
        Ok((name.to_owned(), Word { text: value, at: word.at, len: word.len }))
    }

    fn find(&self, name: &str) -> Option<&Word> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, word)| word)
    }

    /// The value of a flag, None if it is not there or empty.
    pub fn value(&self, name: &str) -> Option<Word> {
        self.find(name).filter(|word| !word.text.is_empty()).cloned()
    }

    /// The value of a flag that must not be empty, None if it is not there.
    pub fn said(&self, name: &str) -> Option<Word> {
        self.find(name).cloned()
    }

    /// All values of a flag.
    pub fn values(&self, name: &str) -> Vec<Word> {
        self.values.iter().filter(|(known, _)| known == name).map(|(_, word)| word.clone()).collect()
    }

    /// Whether a flag is there, and what it says.
    pub fn switch(&self, name: &str) -> Option<bool> {
        self.find(name).map(|word| word.text == "true")
    }
}

fn listed(known: &[(&str, Takes)]) -> String {
    known.iter().map(|(name, _)| format!("`--{name}`")).collect::<Vec<_>>().join(", ")
}
