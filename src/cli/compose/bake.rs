//! `coracle compose build --print`: what is built, as `docker buildx bake` reads it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::compose::labels;
use crate::compose::model::Build;
use crate::compose::model::Project;
use crate::compose::model::Service;

/// What the flags of `compose build` add to what the files say.
#[derive(Debug, Default)]
pub struct Extra<'a> {
    pub args: &'a [String],
    pub ssh: Vec<String>,
    pub pull: bool,
    pub no_cache: bool,
    pub push: bool,
    pub check: bool,
}

/// The file that builds these services; it has all targets, as one may take another for a context.
pub fn file(project: &Project, services: &[&str], extra: &Extra<'_>) -> Value {
    let names = target_names(project);
    let built = project.services.iter().filter_map(|(name, service)| Some((name, service, service.build.as_ref()?)));
    let targets: Map<String, Value> = built
        .map(|(name, service, build)| (names[name.as_str()].clone(), target(project, (name, service, build), (&names, extra))))
        .collect();
    let group: Vec<&String> = services.iter().map(|name| &names[name]).collect();
    json!({"group": {"default": {"targets": group}}, "target": targets})
}

/// The services' names without dots, which a target cannot have; each one once.
fn target_names(project: &Project) -> BTreeMap<&str, String> {
    let mut names: BTreeMap<&str, String> = BTreeMap::new();
    for service in project.services.keys() {
        let mut name = service.replace('.', "_");
        while names.values().any(|known| *known == name) {
            name.push('_');
        }
        names.insert(service, name);
    }
    names
}

type Of<'a> = (&'a String, &'a Service, &'a Build);

fn target(project: &Project, (name, service, build): Of<'_>, (names, extra): (&BTreeMap<&str, String>, &Extra<'_>)) -> Value {
    let tags: Vec<String> = build.tags.iter().cloned().chain([labels::image_name(project, (name, service))]).collect();
    let context = |place: &String| match place.strip_prefix("service:").and_then(|service| names.get(service)) {
        Some(target) => format!("target:{target}"),
        None => place.clone(),
    };
    let contexts: BTreeMap<_, _> = build.additional_contexts.iter().map(|(name, place)| (name, context(place))).collect();
    let ssh: Vec<String> = build.ssh.iter().chain(&extra.ssh).map(|word| named_agent(word)).collect();
    let hosts: BTreeMap<_, _> = build.extra_hosts.iter().filter_map(|word| word.split_once('=')).collect();
    let mut allow = build.entitlements.clone();
    allow.extend(build.privileged.then(|| "security.insecure".to_owned()));
    let place = build.context.clone().unwrap_or_default();
    let target = json!({
        "context": place,
        "contexts": contexts,
        "dockerfile": build.dockerfile.as_deref().map(|file| dockerfile(&place, file)),
        "dockerfile-inline": build.dockerfile_inline.as_deref().map(escaped),
        "args": args(build, extra.args),
        "labels": build.labels,
        "tags": tags,
        "cache-from": build.cache_from,
        "cache-to": build.cache_to,
        "target": build.target,
        "secret": secrets(project, build),
        "ssh": ssh,
        "platforms": build.platforms,
        "pull": build.pull || extra.pull,
        "no-cache": build.no_cache || extra.no_cache,
        "network": build.network,
        "no-cache-filter": build.no_cache_filter,
        "shm-size": build.shm_size,
        "ulimits": build.ulimits.iter().map(|(name, value)| ulimit(name, value)).collect::<Vec<_>>(),
        "call": extra.check.then_some("lint"),
        "entitlements": allow,
        "extra-hosts": hosts,
        "output": if extra.check { Vec::new() } else { vec![output(service, build, extra)] },
        "attest": attestations(build),
    });
    given(target)
}

/// Without what says nothing.
fn given(target: Value) -> Value {
    let Value::Object(mut target) = target else { return target };
    target.retain(|_, value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    });
    Value::Object(target)
}

/// bake has variables of its own.
fn escaped(text: &str) -> String {
    text.replace("${", "$${")
}

fn args(build: &Build, more: &[String]) -> BTreeMap<String, String> {
    let mut args = build.args.clone();
    args.extend(more.iter().map(|word| match word.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (word.clone(), std::env::var(word).ok()),
    }));
    args.into_iter().filter_map(|(name, value)| Some((name, escaped(&value?)))).collect()
}

fn dockerfile(context: &str, file: &str) -> String {
    if context.contains("://") || context.starts_with("git@") {
        file.to_owned()
    } else {
        Path::new(context).join(file).display().to_string()
    }
}

fn named_agent(word: &str) -> String {
    if word.contains('=') { word.to_owned() } else { format!("{word}=") }
}

fn secrets(project: &Project, build: &Build) -> Vec<String> {
    let one = |(source, target): (&String, Option<&String>)| {
        let from = project.secrets.get(source)?;
        let id = target.unwrap_or(source);
        match (&from.environment, &from.file) {
            (Some(variable), _) => Some(format!("id={id},type=env,env={variable}")),
            (None, Some(file)) => Some(format!("id={id},type=file,src={file}")),
            (None, None) => None,
        }
    };
    build.secrets.iter().filter_map(|secret| one((&secret.source, secret.target.as_ref()))).collect()
}

fn ulimit(name: &str, value: &Value) -> String {
    match value {
        Value::Object(both) => {
            let side = |key: &str| both.get(key).map(ToString::to_string).unwrap_or_default();
            format!("{name}={}:{}", side("soft"), side("hard"))
        }
        one => format!("{name}={one}"),
    }
}

fn output(service: &Service, build: &Build, extra: &Extra<'_>) -> String {
    let push = extra.push && service.image.is_some();
    match (build.platforms.len(), push) {
        (2.., _) => format!("type=image,push={push}"),
        (_, true) => "type=registry".to_owned(),
        _ => "type=docker".to_owned(),
    }
}

fn attestations(build: &Build) -> Vec<String> {
    let one = |kind: &str, mode: Option<&str>| match mode {
        None | Some("" | "false") => None,
        Some("true") => Some(format!("type={kind}")),
        Some(mode) => Some(format!("type={kind},{mode}")),
    };
    [one("provenance", build.provenance.as_deref()), one("sbom", build.sbom.as_deref())].into_iter().flatten().collect()
}
