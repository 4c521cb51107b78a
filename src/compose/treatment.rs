//! What becomes of every attribute of the Compose Specification, so that none is ignored silently.
//!
//! A test walks the schema and fails at an attribute that stands in no table here; another one has a sample for each
//! that a container is made with, and sees that the container differs.

mod tables;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Map;
use serde_json::Value;

/// What becomes of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Treatment {
    /// The container, network or volume is made with it: a change calls for a new one.
    Made,
    /// A command obeys it (the plan of `up`, `build`, `pull`, `watch`, a provider): a container that is there may stay.
    Obeyed,
    /// The loader works it into other attributes.
    Loaded,
    /// As `Made`; what of it has no effect is found out by [`super::convert::uncarried`] or its like for networks.
    Judged,
    /// Has no effect here and is warned about by name; these values ask for nothing or for what is anyway.
    Warned(&'static [&'static str]),
    /// Whoever uses it is refused.
    Refused,
}

use Treatment::Judged;
use Treatment::Loaded;
use Treatment::Made;
use Treatment::Obeyed;
use Treatment::Refused;
use Treatment::Warned;

/// Attributes of one kind of thing to their treatment: `deploy.placement`, `ports[].mode`, `networks.*.priority`.
/// An entry is for all that is below it too.
type Table = &'static [(&'static str, Treatment)];

/// The paths of the attributes of a service, and the paths on the way to them, which have no treatment of their own.
static SERVICE: LazyLock<HashMap<&'static str, Option<Treatment>>> = LazyLock::new(|| {
    let mut paths = HashMap::new();
    for (path, treatment) in tables::SERVICE {
        for (end, _) in path.char_indices().filter(|(end, letter)| matches!(letter, '.' | '[') && *end > 0) {
            paths.entry(path[..end].trim_end_matches("[]")).or_insert(None);
            paths.entry(&path[..end]).or_insert(None);
        }
        paths.insert(path, Some(*treatment));
    }
    paths
});

/// Where a value stands: its path in the table, and what a person calls it.
struct Spot {
    path: String,
    name: String,
}

impl Spot {
    fn start() -> Spot {
        Spot { path: String::new(), name: String::new() }
    }

    /// The entry below this one; None if the table knows nothing of it.
    fn below(&self, key: &str) -> Option<(Spot, Option<Treatment>)> {
        let join = |text: &str, key: &str| if text.is_empty() { key.to_owned() } else { format!("{text}.{key}") };
        let exact = join(&self.path, key);
        let path = if SERVICE.contains_key(exact.as_str()) { exact } else { join(&self.path, "*") };
        let treatment = *SERVICE.get(path.as_str())?;
        Some((Spot { path, name: join(&self.name, key) }, treatment))
    }

    fn item(&self) -> Spot {
        Spot { path: format!("{}[]", self.path), name: self.name.clone() }
    }
}

/// The attributes of a service in normal form that have no effect, by name.
pub(super) fn without_effect(service: &Map<String, Value>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(service, &Spot::start(), &mut found);
    found
}

fn collect(map: &Map<String, Value>, at: &Spot, found: &mut BTreeSet<String>) {
    for (key, value) in map {
        match at.below(key) {
            Some((spot, Some(Warned(usual)))) if asks(value, usual) => drop(found.insert(spot.name)),
            Some((spot, None)) => match value {
                Value::Object(map) => collect(map, &spot, found),
                Value::Array(items) => {
                    items.iter().filter_map(Value::as_object).for_each(|item| collect(item, &spot.item(), found));
                }
                _ => {}
            },
            _ => {}
        }
    }
}

/// Whether a value asks for something that is not there anyway.
fn asks(value: &Value, usual: &[&str]) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty() && !usual.contains(&text.as_str()),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    }
}

/// Leaves of a service in normal form only what a container is made with.
pub(super) fn keep_what_is_made(service: &mut Map<String, Value>) {
    keep(service, &Spot::start());
}

fn keep(map: &mut Map<String, Value>, at: &Spot) {
    map.retain(|key, value| match at.below(key) {
        Some((_, Some(Made | Judged | Refused))) => true,
        Some((_, Some(Obeyed | Loaded | Warned(_)))) => false,
        Some((spot, None)) => {
            match value {
                Value::Object(map) => keep(map, &spot),
                Value::Array(items) => items.iter_mut().filter_map(Value::as_object_mut).for_each(|item| keep(item, &spot.item())),
                _ => {}
            }
            SPEAK_BY_BEING_THERE.contains(&spot.path.as_str()) || !is_empty(value)
        }
        None => !key.starts_with("x-"),
    });
}

/// Mappings that say something even if nothing stands in them.
const SPEAK_BY_BEING_THERE: [&str; 3] = ["networks.*", "ulimits.*", "deploy.restart_policy"];

/// Whether nothing stands in a mapping or list, nor in the mappings of a list.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.iter().all(|item| item.as_object().is_some_and(Map::is_empty)),
        _ => false,
    }
}
