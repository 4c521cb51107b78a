//! A loaded project -> the typed one that planning works on.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::failure::Doing;
use crate::failure::Result;

use super::Sources;
use super::labels;
use super::load::Attributes;
use super::load::Loaded;
use super::model::FileObject;
use super::model::Project;
use super::model::Service;

/// Reads the values of a loaded project into types.
pub(super) fn typed(mut loaded: Loaded, sources: &Sources) -> Result<Project> {
    let services = |services: &BTreeMap<String, Attributes>| -> Result<BTreeMap<String, Service>> {
        let mut services = all("service", services)?;
        for (name, service) in &mut services {
            note_denials(&loaded, name, service);
            if !sources.env_files.is_empty() {
                service.labels.insert(labels::ENVIRONMENT_FILE.to_owned(), sources.env_files.join(","));
            }
        }
        Ok(services)
    };
    let (enabled, disabled) = (services(&loaded.services)?, services(&loaded.disabled)?);
    let (networks, volumes) = (all("network", &loaded.networks)?, all("volume", &loaded.volumes)?);
    let (configs, secrets) = (objects("config", &loaded)?, objects("secret", &loaded)?);
    Ok(Project {
        pins: BTreeMap::new(),
        separator: separator(sources, &loaded.environment),
        services: enabled,
        disabled,
        networks,
        volumes,
        configs,
        secrets,
        normal: loaded.take_values(),
        name: loaded.name,
        directory: loaded.directory,
        files: loaded.files,
        environment: loaded.environment,
        places: loaded.places,
        warnings: loaded.warnings,
    })
}

/// The normal form prints `create_host_path: false` no more than nothing at all, which stands for true.
fn note_denials(loaded: &Loaded, name: &str, service: &mut Service) {
    for (number, volume) in service.volumes.iter_mut().enumerate() {
        if loaded.denies(&["services", name, "volumes", &number.to_string(), "bind", "create_host_path"]) {
            volume.bind.get_or_insert_default().insert("create_host_path".to_owned(), false.into());
        }
    }
}

fn all<'a, T: Deserialize<'a>>(kind: &str, resources: &'a BTreeMap<String, Attributes>) -> Result<BTreeMap<String, T>> {
    let read = |(name, attributes): (&String, &'a Attributes)| {
        let value = T::deserialize(attributes).doing(|| format!("cannot take over {kind} `{name}`"))?;
        Ok((name.clone(), value))
    };
    resources.iter().map(read).collect()
}

/// What stands between the parts of a name that we give.
pub(super) fn separator(sources: &Sources, environment: &BTreeMap<String, String>) -> char {
    if sources.compatibility || is_on(environment, "COMPOSE_COMPATIBILITY") { '_' } else { '-' }
}

/// Whether a variable switches something on, as docker compose reads it.
pub fn is_on(environment: &BTreeMap<String, String>, name: &str) -> bool {
    environment.get(name).is_some_and(|value| matches!(value.to_lowercase().as_str(), "1" | "t" | "true" | "y" | "yes"))
}

/// Configs or secrets, with what their variables hold.
fn objects(kind: &str, loaded: &Loaded) -> Result<BTreeMap<String, FileObject>> {
    let mut objects: BTreeMap<String, FileObject> = all(kind, if kind == "config" { &loaded.configs } else { &loaded.secrets })?;
    for (name, object) in &mut objects {
        if let Some(content) = loaded.contents.get(&format!("{kind}s.{name}")) {
            object.content = Some(content.clone());
        }
    }
    Ok(objects)
}
