//! What becomes of every attribute of the Compose Specification, so that none is ignored silently.
//!
//! A test walks the schema and fails at an attribute that stands in no table here; another one has a sample for each
//! that a container is made with, and sees that the container differs.

mod tables;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
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

/// What a table says of one attribute and of those below it.
#[derive(Default)]
struct Branch {
    /// None on the way to others.
    treatment: Option<Treatment>,
    /// Says something even if nothing stands in it.
    speaks: bool,
    below: BTreeMap<&'static str, Branch>,
}

/// The attributes of a service.
static SERVICE: LazyLock<Branch> = LazyLock::new(|| {
    let mut root = Branch::default();
    tables::SERVICE.iter().for_each(|(path, treatment)| root.reach(path).treatment = Some(*treatment));
    SPEAK_BY_BEING_THERE.iter().for_each(|path| root.reach(path).speaks = true);
    root
});

/// Mappings that say something even if nothing stands in them.
const SPEAK_BY_BEING_THERE: [&str; 3] = ["networks.*", "ulimits.*", "deploy.restart_policy"];

/// What stands behind the name of a list for each of its items.
const ITEM: &str = "[]";

impl Branch {
    fn reach(&mut self, path: &'static str) -> &mut Branch {
        let names = path.split('.').flat_map(|name| match name.strip_suffix(ITEM) {
            Some(list) => [Some(list), Some(ITEM)],
            None => [Some(name), None],
        });
        names.flatten().fold(self, |branch, name| branch.below.entry(name).or_default())
    }

    /// The branch of this key; None if the table knows nothing of it.
    fn at(&self, key: &str) -> Option<&Branch> {
        self.below.get(key).or_else(|| self.below.get("*"))
    }

    /// The branch of the items of this list, if the table has something for what stands in them.
    fn item(&self) -> Option<&Branch> {
        self.below.get(ITEM)
    }
}

/// The attributes of a service in normal form that have no effect, by name.
pub(super) fn without_effect(service: &Map<String, Value>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(service, (&SERVICE, ""), &mut found);
    found
}

/// `name` is what a person calls the mapping.
fn collect(map: &Map<String, Value>, (branch, name): (&Branch, &str), found: &mut BTreeSet<String>) {
    for (key, value) in map {
        let Some(branch) = branch.at(key) else { continue };
        let name = || if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
        match (branch.treatment, value) {
            (Some(Warned(usual)), _) if asks(value, usual) => drop(found.insert(name())),
            (None, Value::Object(map)) => collect(map, (branch, &name()), found),
            (None, Value::Array(items)) => {
                let Some(branch) = branch.item() else { continue };
                items.iter().filter_map(Value::as_object).for_each(|item| collect(item, (branch, &name()), found));
            }
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

/// What a container is made with of a service in normal form.
pub(super) fn what_is_made(service: &Map<String, Value>) -> Map<String, Value> {
    made(service, Some(&SERVICE))
}

fn made(map: &Map<String, Value>, branch: Option<&Branch>) -> Map<String, Value> {
    let kept = |(key, value): (&String, &Value)| {
        let value = match branch.and_then(|branch| branch.at(key)) {
            Some(branch) => of_branch(value, branch)?,
            None if key.starts_with("x-") => return None,
            None => value.clone(),
        };
        Some((key.clone(), value))
    };
    map.iter().filter_map(kept).collect()
}

fn of_branch(value: &Value, branch: &Branch) -> Option<Value> {
    let kept = match (branch.treatment, value) {
        (Some(Made | Judged | Refused), _) => return Some(value.clone()),
        (Some(Obeyed | Loaded | Warned(_)), _) => return None,
        (None, Value::Object(map)) => Value::Object(made(map, Some(branch))),
        (None, Value::Array(items)) => {
            let of_item = |item: &Value| item.as_object().map_or_else(|| item.clone(), |map| Value::Object(made(map, branch.item())));
            Value::Array(items.iter().map(of_item).collect())
        }
        (None, other) => other.clone(),
    };
    (branch.speaks || !is_empty(&kept)).then_some(kept)
}

/// Whether nothing stands in a mapping or list, nor in the mappings of a list.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.iter().all(|item| item.as_object().is_some_and(Map::is_empty)),
        _ => false,
    }
}
