//! What `compose config` prints.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::thread;

use serde_json::Value as Json;
use sha2::Digest;
use sha2::Sha256;

use crate::failure::Failure;
use crate::failure::Result;

use super::Sources;
use super::load;
use super::load::Attributes;
use super::load::Explained;
use super::load::Leave;
use super::load::Loaded;
use super::load::Notation;
use super::load::Surroundings;
use super::load::texts;
use super::yaml;

/// What `config` is asked for, as its flags say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigFlags {
    /// `--format`; empty for YAML.
    pub format: String,
    pub services: bool,
    pub volumes: bool,
    pub networks: bool,
    pub models: bool,
    pub images: bool,
    pub profiles: bool,
    pub environment: bool,
    pub variables: bool,
    /// `--hash`: a list of services, or `*`.
    pub hash: Option<String>,
    pub no_interpolate: bool,
    pub no_normalize: bool,
    pub no_path_resolution: bool,
    pub no_consistency: bool,
    pub no_env_resolution: bool,
    /// `--lock-image-digests`: only the images.
    pub images_only: bool,
    /// The services named on the command line; all if none is.
    pub only: Vec<String>,
}

/// What is printed, and what is to be said on standard error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Printed {
    pub text: String,
    pub warnings: Vec<String>,
}

/// Renders what `config` with these flags prints; `-q` prints nothing of it, `-o` puts it in a file.
///
/// # Errors
/// As [`super::load()`]; a service that does not exist; a format that is none.
pub fn config(sources: &Sources, flags: &ConfigFlags) -> Result<Printed> {
    config_in(&Surroundings::here(), sources, flags)
}

/// Says where the values of a variable come from.
///
/// # Errors
/// Nothing sets the variable and nothing names it.
pub fn explain(sources: &Sources, variable: &str) -> Result<Explained> {
    load::explain_in(&Surroundings::here(), sources, variable)
}

/// [`config`] in surroundings of the caller's choice.
///
/// # Errors
/// As [`config`].
pub fn config_in(surroundings: &Surroundings, sources: &Sources, flags: &ConfigFlags) -> Result<Printed> {
    config_pinned(surroundings, sources, (flags, None))
}

/// Says by which name an image is pinned: with its digest.
pub type Pin<'p> = &'p (dyn Fn(&str) -> Result<String> + Sync);

/// [`config_in`] with every image's name pinned.
///
/// # Errors
/// As [`config`]; what pinning says.
pub fn config_pinned(surroundings: &Surroundings, sources: &Sources, (flags, pin): (&ConfigFlags, Option<Pin<'_>>)) -> Result<Printed> {
    // A list is of the project even then, but for that of the services.
    let as_written = match (flags.services, is_list(flags), flags.variables) {
        (true, ..) => flags.no_interpolate,
        (_, true, _) => false,
        (.., true) => true,
        _ => flags.no_interpolate && !flags.environment,
    };
    let leave = Leave {
        interpolation: flags.no_interpolate || as_written,
        normal_form: flags.no_normalize,
        paths: flags.no_path_resolution,
        consistency: flags.no_consistency,
        // As in docker compose, `--no-env-resolution` spares only what is completed after loading.
        environment: is_list(flags),
    };
    if as_written {
        return uninterpolated(surroundings, sources, (flags, pin, leave));
    }
    let notation = notation(flags);
    let mut loaded = load::load_in(surroundings, sources, leave, notation)?;
    let only: &[String] =
        if flags.services || flags.volumes || flags.networks || flags.models || flags.hash.is_some() { &[] } else { &flags.only };
    loaded.enable(only);
    loaded.choose(only).map_err(|name| no_service(&name))?;
    if !sources.all_resources {
        loaded.prune();
    }
    if !leave.environment && !flags.no_env_resolution {
        load::complete_in(surroundings, &mut loaded)?;
    }
    let text = match list(&loaded, super::project::separator(sources, &loaded.environment), flags)? {
        Some(text) => text,
        None => {
            if !flags.no_consistency {
                container_names(&loaded)?;
            }
            rendered(&mut loaded, (flags, pin))?
        }
    };
    Ok(Printed { text, warnings: loaded.warnings })
}

fn notation(flags: &ConfigFlags) -> Notation {
    if flags.format == "json" { Notation::Json } else { Notation::Yaml }
}

fn is_list(flags: &ConfigFlags) -> bool {
    flags.services || flags.volumes || flags.networks || flags.models || flags.images || flags.profiles || flags.hash.is_some()
}

fn no_service(name: &str) -> Failure {
    Failure::new(format!("there is no service `{name}`")).hint("`config --services` lists those there are")
}

/// What `--services` and its like print; nothing if none of them is given.
fn list(loaded: &Loaded, separator: char, flags: &ConfigFlags) -> Result<Option<String>> {
    let lines: Vec<String> = if flags.services {
        in_order(loaded)
    } else if flags.volumes {
        loaded.volumes.keys().cloned().collect()
    } else if flags.networks {
        loaded.networks.keys().cloned().collect()
    } else if flags.models {
        loaded.models.values().filter_map(|model| model.get("model")?.as_str().map(str::to_owned)).collect()
    } else if let Some(wanted) = &flags.hash {
        return hashes(loaded, wanted).map(Some);
    } else if flags.profiles {
        let all = loaded.services.values().chain(loaded.disabled.values());
        all.flat_map(|service| texts(service, "profiles").map(str::to_owned).collect::<Vec<_>>())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    } else if flags.images {
        loaded.services.iter().map(|(name, service)| image(loaded, separator, (name, service))).collect()
    } else if flags.environment {
        loaded.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()
    } else {
        return Ok(None);
    };
    Ok(Some(lines.iter().fold(String::new(), |text, line| text + line + "\n")))
}

/// The services, each after those it depends on.
fn in_order(loaded: &Loaded) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    let mut open: Vec<String> = loaded.services.keys().rev().cloned().collect();
    let mut entered = BTreeSet::new();
    while let Some(name) = open.pop() {
        if order.contains(&name) {
            continue;
        }
        let Some(service) = loaded.services.get(&name) else { continue };
        let dependencies = service.get("depends_on").and_then(Json::as_object).into_iter().flat_map(|map| map.keys());
        let waiting: Vec<String> = dependencies.filter(|other| !order.contains(other) && !entered.contains(*other)).cloned().collect();
        if waiting.is_empty() || !entered.insert(name.clone()) {
            order.push(name);
        } else {
            open.push(name);
            open.extend(waiting);
        }
    }
    order
}

/// The image that a service runs: its own, or the one that its build makes.
fn image(loaded: &Loaded, separator: char, (name, service): (&str, &Attributes)) -> String {
    let own = service.get("image").and_then(Json::as_str).map(str::to_owned);
    own.unwrap_or_else(|| format!("{}{separator}{name}", loaded.name))
}

fn hashes(loaded: &Loaded, wanted: &str) -> Result<String> {
    let mut names: Vec<&str> =
        if wanted == "*" { loaded.services.keys().map(String::as_str).collect() } else { wanted.split(',').collect() };
    names.sort_unstable();
    let mut text = String::new();
    for name in names {
        let service = loaded.services.get(name).ok_or_else(|| no_service(name))?;
        let _ = writeln!(text, "{name} {}", hash(service));
    }
    Ok(text)
}

/// A digest of what a service's containers are made from: not of how many there are or what they wait for.
pub(super) fn hash(service: &Attributes) -> String {
    let mut service = service.clone();
    for key in ["build", "pull_policy", "scale", "depends_on", "profiles"] {
        service.shift_remove(key);
    }
    if let Some(deploy) = service.get_mut("deploy").and_then(Json::as_object_mut) {
        deploy.shift_remove("replicas");
    }
    let text = Json::Object(service).to_string();
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn container_names(loaded: &Loaded) -> Result<()> {
    let mut names = std::collections::BTreeMap::new();
    for (service, attributes) in &loaded.services {
        let Some(name) = attributes.get("container_name").and_then(Json::as_str) else { continue };
        if let Some(other) = names.insert(name, service) {
            let failure = Failure::new(format!("cannot load project `{}`", loaded.name))
                .because(format!("services `{other}` and `{service}` both have the container name `{name}`"));
            return Err(failure.hint("give each a `container_name` of its own, or none"));
        }
    }
    Ok(())
}

fn rendered(loaded: &mut Loaded, (flags, pin): (&ConfigFlags, Option<Pin<'_>>)) -> Result<String> {
    let mut values = loaded.take_values();
    if let Some(pin) = pin {
        pin_images(&mut values, pin)?;
    }
    if flags.images_only {
        only_images(&mut values);
    }
    Ok(written(&values, &flags.format)?.replace('$', "$$"))
}

/// Puts a digest behind every image's name, all that are asked for side by side.
fn pin_images(values: &mut Json, pin: Pin<'_>) -> Result<()> {
    let services = values.get_mut("services").and_then(Json::as_object_mut).into_iter().flatten();
    let images: Vec<&mut Json> = services.filter_map(|(_, service)| service.get_mut("image")).filter(|image| image.is_string()).collect();
    let names: BTreeSet<String> = images.iter().filter_map(|image| image.as_str().map(str::to_owned)).collect();
    let pinned: BTreeMap<String, Result<String>> = thread::scope(|scope| {
        let asked: Vec<_> = names.into_iter().map(|name| (name.clone(), scope.spawn(move || pin(&name)))).collect();
        asked.into_iter().map(|(name, answer)| (name, answer.join().expect("asking does not panic"))).collect()
    });
    let mut faults: Vec<Failure> = pinned.values().filter_map(|answer| answer.as_ref().err()).cloned().collect();
    match faults.len() {
        0 => {}
        1 => return Err(faults.remove(0)),
        _ => return Err(Failure::several("cannot pin all images", faults)),
    }
    for image in images {
        if let Some(Ok(name)) = image.as_str().and_then(|name| pinned.get(name)) {
            *image = Json::String(name.clone());
        }
    }
    Ok(())
}

fn only_images(values: &mut Json) {
    let Some(project) = values.as_object_mut() else { return };
    project.retain(|key, _| key == "services");
    for (_, service) in project.get_mut("services").and_then(Json::as_object_mut).into_iter().flatten() {
        if let Some(service) = service.as_object_mut() {
            service.retain(|key, _| key == "image");
        }
    }
}

fn written(values: &Json, format: &str) -> Result<String> {
    match format {
        "json" => Ok(format!("{values:#}\n")),
        "" | "yaml" => Ok(yaml::write(values)),
        _ => Err(Failure::new(format!("there is no format `{format}`")).hint("use `--format yaml` or `--format json`")),
    }
}

/// `--no-interpolate` and `--variables`: the tree as the files have it.
fn uninterpolated(
    surroundings: &Surroundings,
    sources: &Sources,
    (flags, pin, leave): (&ConfigFlags, Option<Pin<'_>>, Leave),
) -> Result<Printed> {
    let mut model = load::model_in(surroundings, sources, leave, notation(flags))?;
    let names = |section: &str| -> String {
        let keys = model.get(section).and_then(Json::as_object).into_iter().flat_map(|map| map.keys());
        keys.fold(String::new(), |text, name| text + name + "\n")
    };
    let text = if flags.services {
        names("services")
    } else if flags.variables {
        variables(&model, &flags.format)?
    } else {
        if let Some(pin) = pin {
            pin_images(&mut model, pin)?;
        }
        if flags.images_only {
            only_images(&mut model);
        }
        written(&model, &flags.format)?
    };
    Ok(Printed { text, warnings: Vec::new() })
}

fn variables(model: &Json, format: &str) -> Result<String> {
    let mut found = Vec::new();
    collect(model, &mut found);
    found.sort_by(|one, two| one.name.cmp(&two.name));
    found.dedup_by(|later, kept| later.name == kept.name && combine(kept, later));
    if !format.is_empty() && format != "table" {
        let values = found.iter().map(|variable| {
            let value = serde_json::json!({
                "Name": variable.name, "DefaultValue": variable.default, "PresenceValue": variable.alternative, "Required": variable.required,
            });
            (variable.name.clone(), value)
        });
        return written(&Json::Object(values.collect()), format);
    }
    let rows = found
        .iter()
        .map(|variable| [variable.name.clone(), variable.required.to_string(), variable.default.clone(), variable.alternative.clone()]);
    Ok(table(["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"].map(str::to_owned), rows.collect()))
}

/// A variable is required as soon as one of its uses requires it, and has the first default and alternative of all.
fn combine(kept: &mut load::Variable, later: &mut load::Variable) -> bool {
    kept.required |= later.required;
    for (kept, later) in [(&mut kept.default, &mut later.default), (&mut kept.alternative, &mut later.alternative)] {
        if kept.is_empty() {
            *kept = std::mem::take(later);
        }
    }
    true
}

/// Rows in columns, three blanks apart.
fn table(head: [String; 4], rows: Vec<[String; 4]>) -> String {
    let rows: Vec<[String; 4]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0) + 3;
    let mut text = String::new();
    for row in &rows {
        let line: String = (0..4).map(|column| format!("{:<width$}", row[column], width = width(column))).collect();
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn collect(value: &Json, found: &mut Vec<load::Variable>) {
    match value {
        Json::String(text) => load::variables_of(text, found),
        Json::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Json::Object(map) => map.values().for_each(|value| collect(value, found)),
        _ => {}
    }
}
