//! Names of builders. There is one builder, this program; scripts make others and build with them by name, so the names are kept.

use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::state;
use crate::state::Lock;

/// The one that is always there.
pub const DEFAULT: &str = "default";

const VERSION: u32 = 1;

/// A name to build with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builder {
    pub name: String,
    /// What scripts ask for and look at, such as `docker-container`; it makes no difference.
    pub driver: String,
    /// Nanoseconds since 1970; 0 for the one that is always there.
    #[serde(default)]
    pub created: u64,
}

/// All of them, and the one that is used without a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builders {
    version: u32,
    names: Vec<Builder>,
    current: Option<String>,
}

/// Whether a builder is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    Refused,
    Kept,
}

fn path(home: &Home) -> PathBuf {
    home.build().join("builders.json")
}

fn absent(name: &str) -> Failure {
    Failure::new(format!("no builder {name:?} found")).hint("see `coracle buildx ls`, or make it: `coracle buildx create --name NAME`")
}

impl Builders {
    /// Reads them.
    ///
    /// # Errors
    /// The record cannot be read.
    pub fn load(home: &Home) -> Result<Builders> {
        Ok(state::find_json(&path(home))?.unwrap_or_default())
    }

    /// The one that is used without a name.
    pub fn current(&self) -> &str {
        self.current.as_deref().unwrap_or(DEFAULT)
    }

    /// All, the one that is always there first.
    pub fn all(&self) -> Vec<Builder> {
        let ours = Builder { name: DEFAULT.to_owned(), driver: "docker".to_owned(), created: 0 };
        std::iter::once(ours).chain(self.names.iter().cloned()).collect()
    }

    /// The one of that name, or the current one.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, name: Option<&str>) -> Result<Builder> {
        let name = name.filter(|name| !name.is_empty()).unwrap_or(self.current());
        self.all().into_iter().find(|builder| builder.name == name).ok_or_else(|| absent(name))
    }
}

/// Changes the record, alone.
fn change<T>(home: &Home, act: impl FnOnce(&mut Builders) -> Result<T>) -> Result<T> {
    let _lock = Lock::alone(home, "builders")?;
    let mut builders = Builders::load(home)?;
    let before = builders.clone();
    let outcome = act(&mut builders)?;
    if builders != before {
        builders.version = VERSION;
        state::write_json(&path(home), &builders)?;
    }
    Ok(outcome)
}

/// Makes a builder and returns its name.
///
/// # Errors
/// A name that cannot be, or that is taken.
pub fn create(home: &Home, wanted: Builder, existing: Existing) -> Result<String> {
    let name = wanted.name.clone();
    let is_word = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !is_word {
        let failure = Failure::new(format!("cannot create the builder `{name}`"));
        return Err(failure.because("a name begins with a letter and has letters, digits, `.`, `_` and `-`"));
    }
    change(home, |builders| {
        let is_there = builders.all().iter().any(|known| known.name == name);
        if is_there && (existing == Existing::Refused || name == DEFAULT) {
            let failure = Failure::new(format!("cannot create the builder `{name}`")).because(format!("existing instance for {name:?}"));
            return Err(failure.hint(format!("use it: `coracle buildx use {name}`")));
        }
        if !is_there {
            builders.names.push(wanted);
        }
        Ok(name)
    })
}

/// Makes a builder the one that is used without a name.
///
/// # Errors
/// There is no such builder.
pub fn prefer(home: &Home, name: &str) -> Result<()> {
    change(home, |builders| {
        builders.find(Some(name))?;
        builders.current = Some(name.to_owned()).filter(|name| name != DEFAULT);
        Ok(())
    })
}

/// Forgets a builder, or the current one; its name. What it has built stays.
///
/// # Errors
/// There is none of that name; it is the one that is always there.
pub fn remove(home: &Home, name: Option<&str>) -> Result<String> {
    change(home, |builders| {
        let found = builders.find(name)?.name;
        if found == DEFAULT {
            return Err(Failure::new("cannot remove the builder `default`").because("it is this program, and always there"));
        }
        builders.names.retain(|builder| builder.name != found);
        builders.current.take_if(|current| *current == found);
        Ok(found)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Builder {
        Builder { name: name.to_owned(), driver: "docker-container".to_owned(), created: 1 }
    }

    #[test]
    fn names_are_made_preferred_and_forgotten() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::at(place.path(), place.path().join("run"));
        let current = || Builders::load(&home).unwrap().current().to_owned();
        assert_eq!(current(), DEFAULT);
        create(&home, named("mine"), Existing::Refused).unwrap();
        assert!(create(&home, named("mine"), Existing::Refused).unwrap_err().to_string().contains("existing instance"));
        create(&home, named("mine"), Existing::Kept).unwrap();
        for wrong in ["", "default", "../x", "1a"] {
            assert!(create(&home, named(wrong), Existing::Refused).is_err(), "{wrong}");
        }
        prefer(&home, "mine").unwrap();
        assert_eq!(current(), "mine");
        assert!(prefer(&home, "other").unwrap_err().to_string().contains("no builder \"other\" found"));
        assert_eq!(Builders::load(&home).unwrap().all().len(), 2);
        assert!(remove(&home, Some("default")).is_err());
        assert_eq!(remove(&home, None).unwrap(), "mine", "the current one");
        assert_eq!(current(), DEFAULT);
        assert!(Builders::load(&home).unwrap().find(Some("mine")).is_err());
    }
}
