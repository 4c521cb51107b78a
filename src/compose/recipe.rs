//! What a container is made from, as far as a change of it calls for a new container; and what changed.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Map;
use serde_json::Value;
use sha2::Digest;
use sha2::Sha256;

use crate::compose::model::FileObject;
use crate::compose::model::Grant;
use crate::compose::model::Project;
use crate::compose::treatment;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;

/// What a service's containers are made from. Kept beside what was applied, to say later what changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The service in normal form, without what does not concern a container that is there.
    pub service: Map<String, Value>,
    /// Networks and volumes of the service, by key, to their real names.
    pub names: BTreeMap<String, String>,
    /// Granted configs and secrets (`config app`) to the digests of their contents.
    pub contents: BTreeMap<String, String>,
}

impl Recipe {
    /// The recipe of a service of this project.
    ///
    /// # Errors
    /// The file of a config or secret cannot be read.
    pub fn of(project: &Project, name: &str) -> Result<Recipe> {
        let service = project.normal_of(name).map(treatment::what_is_made).unwrap_or_default();
        let mut recipe = Recipe { service, ..Recipe::default() };
        let Some(model) = project.services.get(name) else { return Ok(recipe) };
        for key in model.networks.keys() {
            let name = project.networks.get(key).map_or(key, |network| &network.name);
            recipe.names.insert(format!("network {key}"), name.clone());
        }
        for key in model.volumes.iter().filter(|volume| volume.kind == "volume").filter_map(|volume| volume.source.as_ref()) {
            let name = project.volumes.get(key).map_or(key, |volume| &volume.name);
            recipe.names.insert(format!("volume {key}"), name.clone());
        }
        recipe.add_contents(project, ("config", &project.configs), &model.configs)?;
        recipe.add_contents(project, ("secret", &project.secrets), &model.secrets)?;
        Ok(recipe)
    }

    fn add_contents(&mut self, project: &Project, objects: (&str, &BTreeMap<String, FileObject>), grants: &[Grant]) -> Result<()> {
        let (kind, objects) = objects;
        for grant in grants {
            let Some(object) = objects.get(&grant.source) else { continue };
            // What is no plain file is shown as it is, and has no end to be read to.
            let other = object.file.as_ref().filter(|file| Path::new(file).metadata().is_ok_and(|found| !found.is_file()));
            let digest = match other {
                Some(file) => hex(file.as_bytes()),
                None => hex(&content(project, (kind, &grant.source), object)?),
            };
            self.contents.insert(format!("{kind} {}", grant.source), digest);
        }
        Ok(())
    }

    /// The `config-hash` label: one digest over everything.
    pub fn hash(&self) -> String {
        let mut text = Vec::new();
        write_sorted(&self.service, &mut text).expect("writing to memory does not fail, and all keys are text");
        text.extend(format!("\n{:?}\n{:?}", self.names, self.contents).into_bytes());
        hex(&text)
    }

    /// What differs from an older recipe, in the user's words: `environment.DEBUG, ports`, `config app`.
    pub fn difference(&self, old: &Recipe) -> String {
        let mut found = Vec::new();
        let (new, before) = (Value::Object(self.service.clone()), Value::Object(old.service.clone()));
        differences(&before, &new, String::new(), &mut found);
        found.extend(changed_keys(&old.names, &self.names));
        found.extend(changed_keys(&old.contents, &self.contents));
        match found.len() {
            0..=3 => found.join(", "),
            count => format!("{}, and {} more", found[..3].join(", "), count - 3),
        }
    }
}

/// The bytes of a config or secret.
///
/// # Errors
/// Its file cannot be read, its variable is not set, or it is external.
pub fn content(project: &Project, what: (&str, &str), object: &FileObject) -> Result<Vec<u8>> {
    let (kind, name) = what;
    if let Some(content) = &object.content {
        return Ok(content.clone().into_bytes());
    }
    if let Some(variable) = &object.environment {
        return match project.environment.get(variable) {
            Some(value) => Ok(value.clone().into_bytes()),
            None => {
                Err(Failure::new(format!("cannot make {kind} `{name}`"))
                    .because(format!("the environment variable `{variable}` is not set")))
            }
        };
    }
    if let Some(file) = &object.file {
        let what = || format!("cannot read `{file}`, the file of {kind} `{name}`");
        if !std::fs::metadata(file).doing(what)?.is_file() {
            return Err(Failure::new(what()).because("it is no plain file").hint("leave `uid`, `gid` and `mode` out to have it as it is"));
        }
        return std::fs::read(file).doing(what);
    }
    Err(Failure::new(format!("cannot use the external {kind} `{name}`"))
        .because(format!("nothing outside of this project keeps {kind}s here")))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or_default();
    Sha256::digest(bytes).iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Writes a map as JSON with all keys in order, at every depth: the hash must not depend on the order of the file.
fn write_sorted(map: &Map<String, Value>, text: &mut Vec<u8>) -> serde_json::Result<()> {
    let mut pairs: Vec<_> = map.iter().collect();
    pairs.sort_by_key(|(key, _)| *key);
    text.push(b'{');
    for (number, (key, value)) in pairs.into_iter().enumerate() {
        separate(number, text);
        serde_json::to_writer(&mut *text, key)?;
        text.push(b':');
        write_value(value, text)?;
    }
    text.push(b'}');
    Ok(())
}

fn write_value(value: &Value, text: &mut Vec<u8>) -> serde_json::Result<()> {
    match value {
        Value::Object(map) => write_sorted(map, text),
        Value::Array(items) => {
            text.push(b'[');
            for (number, item) in items.iter().enumerate() {
                separate(number, text);
                write_value(item, text)?;
            }
            text.push(b']');
            Ok(())
        }
        other => serde_json::to_writer(text, other),
    }
}

fn separate(number: usize, text: &mut Vec<u8>) {
    if number > 0 {
        text.push(b',');
    }
}

fn differences(old: &Value, new: &Value, path: String, found: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let mut keys: Vec<_> = old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))).collect();
            keys.sort();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match (old.get(key), new.get(key)) {
                    // A network without settings is there all the same.
                    (None, Some(Value::Null)) | (Some(Value::Null), None) => found.push(path),
                    (before, then) => differences(before.unwrap_or(&Value::Null), then.unwrap_or(&Value::Null), path, found),
                }
            }
        }
        // What is new is named by its parts too.
        (Value::Null, Value::Object(map)) if !map.is_empty() => differences(&Value::Object(Map::new()), new, path, found),
        (Value::Object(map), Value::Null) if !map.is_empty() => differences(old, &Value::Object(Map::new()), path, found),
        _ if old != new => found.push(path),
        _ => {}
    }
}

fn changed_keys(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<String> {
    let keys: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    keys.into_iter().filter(|key| old.get(*key) != new.get(*key)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn recipe(service: Value, contents: &[(&str, &str)]) -> Recipe {
        let contents = contents.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Recipe { service: service.as_object().cloned().unwrap_or_default(), names: BTreeMap::new(), contents }
    }

    #[test]
    fn a_difference_is_named_field_by_field() {
        let old = recipe(json!({"environment": {"DEBUG": "0", "A": "1"}, "ports": [1], "tty": true}), &[("config app", "x")]);
        let table = [
            (
                recipe(json!({"environment": {"DEBUG": "1", "A": "1"}, "ports": [1], "tty": true}), &[("config app", "x")]),
                "environment.DEBUG",
            ),
            (recipe(json!({"environment": {"DEBUG": "0", "A": "1"}, "ports": [1], "tty": true}), &[("config app", "y")]), "config app"),
            (recipe(json!({"environment": {"DEBUG": "0"}, "ports": [2], "image": "x"}), &[]), "environment.A, image, ports, and 2 more"),
        ];
        for (new, expected) in table {
            assert_eq!(new.difference(&old), expected);
            assert_ne!(new.hash(), old.hash());
        }
    }

    #[test]
    fn what_comes_or_goes_whole_is_named_by_its_parts() {
        let none = recipe(json!({}), &[]);
        let some = recipe(json!({"networks": {"front": null}, "labels": {"a": "b"}, "deploy": {}, "ports": [1]}), &[]);
        assert_eq!(some.difference(&none), "deploy, labels.a, networks.front, and 1 more");
        assert_eq!(none.difference(&some), "deploy, labels.a, networks.front, and 1 more");
    }

    /// Another digest for the same recipe would make every container anew.
    #[test]
    fn the_digest_is_that_of_the_sorted_json() {
        let recipe = recipe(json!({"b": [{"y": 1.5, "x": "a\"é\n"}, []], "a": {}, "c": null}), &[("config app", "x")]);
        let text = r#"{"a":{},"b":[{"x":"a\"é\n","y":1.5},[]],"c":null}"#.to_owned() + "\n{}\n{\"config app\": \"x\"}";
        assert_eq!(recipe.hash(), hex(text.as_bytes()));
    }

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let one = recipe(json!({"a": {"x": 1, "y": 2}, "b": 3}), &[]);
        let other = recipe(json!({"b": 3, "a": {"y": 2, "x": 1}}), &[]);
        assert_eq!(one.hash(), other.hash());
    }
}
