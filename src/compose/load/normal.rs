//! What a project implies becomes explicit: the default network, dependencies, full names, values of the environment.

use std::rc::Rc;

use super::environment::Environment;
use super::node::Entry;
use super::node::Map;
use super::node::Node;
use super::node::Span;
use super::node::Value;
use super::paths;

/// Fills in what a project in its long form leaves to be understood.
pub(super) fn normalize(project: &mut Map, environment: &Environment) {
    default_network(project);
    for (_, entry) in project.get_mut("services").and_then(Node::as_map_mut).into_iter().flat_map(Map::iter_mut) {
        let at = entry.key_at;
        if let Some(service) = entry.node.as_map_mut() {
            normalize_service(service, environment, at);
        }
    }
    full_names(project);
}

fn default_network(project: &mut Map) {
    let mut used = false;
    for (_, entry) in project.get_mut("services").and_then(Node::as_map_mut).into_iter().flat_map(Map::iter_mut) {
        let at = entry.key_at;
        let Some(service) = entry.node.as_map_mut() else { continue };
        if service.has("provider") || service.has("network_mode") {
            continue;
        }
        let joined = service.get("networks").and_then(Node::as_map);
        if joined.is_none_or(Map::is_empty) {
            let mut networks = Map::new();
            networks.put("default", Node::new(Value::Null, at));
            service.put("networks", Node::new(Value::Map(networks), at));
            used = true;
        } else {
            used |= joined.is_some_and(|joined| joined.has("default"));
        }
    }
    if !used {
        return;
    }
    if project.get("networks").is_none_or(Node::is_null) {
        project.put("networks", Node::new(Value::Map(Map::new()), Span::default()));
    }
    if let Some(networks) = project.get_mut("networks").and_then(Node::as_map_mut).filter(|networks| !networks.has("default")) {
        networks.put("default", Node::new(Value::Null, Span::default()));
    }
}

fn normalize_service(service: &mut Map, environment: &Environment, at: Span) {
    if service.text("pull_policy") == Some("if_not_present") {
        let at = service.get("pull_policy").map_or(at, |policy| policy.at);
        service.put("pull_policy", Node::text("missing", at));
    }
    if let Some(build) = service.get_mut("build") {
        let at = build.at;
        if let Some(build) = build.as_map_mut() {
            normalize_build(build, environment, at);
        }
    }
    if let Some(variables) = service.get_mut("environment") {
        resolve(variables, environment, Unset::Kept);
    }
    implied_dependencies(service, at);
    for volume in super::defaults::items(service, "volumes").filter_map(Node::as_map_mut) {
        if let Some(target) = volume.text("target").map(paths::clean) {
            let at = volume.get("target").map_or(at, |target| target.at);
            volume.put("target", Node::text(if target.is_empty() { ".".to_owned() } else { target }, at));
        }
    }
    let image = service.get("image").filter(|image| image.as_text().is_some_and(|image| !image.is_empty())).cloned();
    for hook in super::defaults::items(service, "pre_start").filter_map(Node::as_map_mut) {
        if let Some(image) = image.as_ref().filter(|_| !hook.has("image")) {
            hook.put("image", image.clone());
        }
    }
}

fn normalize_build(build: &mut Map, environment: &Environment, at: Span) {
    if build.get("context").is_none_or(Node::is_null) {
        build.put("context", Node::text(".", at));
    }
    if build.get("dockerfile").is_none_or(Node::is_null) && build.get("dockerfile_inline").is_none_or(Node::is_null) {
        build.put("dockerfile", Node::text("Dockerfile", at));
    }
    if let Some(args) = build.get_mut("args") {
        resolve(args, environment, Unset::Dropped);
    }
}

/// What becomes of a name whose variable is not set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unset {
    Kept,
    Dropped,
}

/// Names without a value take it from the environment.
fn resolve(node: &mut Node, environment: &Environment, unset: Unset) {
    match &mut node.value {
        Value::List(items) => items.retain_mut(|item| {
            let Some(name) = item.as_text().filter(|text| !text.contains('=')) else { return item.as_text().is_some() };
            match environment.get(name) {
                Some(value) => item.value = Value::Text(Rc::from(format!("{name}={value}"))),
                None => return unset == Unset::Kept,
            }
            true
        }),
        Value::Map(map) => map.retain(|name, entry| {
            if !entry.node.is_null() {
                return true;
            }
            match environment.get(&**name) {
                Some(value) => entry.node.value = Value::Text(Rc::from(value.as_str())),
                None => return unset == Unset::Kept,
            }
            true
        }),
        _ => {}
    }
}

/// Links, shared namespaces and `volumes_from` make a service depend on another.
fn implied_dependencies(service: &mut Map, at: Span) {
    let mut implied: Vec<(String, Span, bool)> = Vec::new();
    for link in service.get("links").and_then(Node::as_list).into_iter().flatten() {
        let text = link.as_text().unwrap_or_default();
        let parts: Vec<&str> = text.split(':').collect();
        let name = if parts.len() == 2 { parts[0] } else { text };
        implied.push((name.to_owned(), link.at, true));
    }
    for namespace in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        let shared = service.get(namespace).and_then(|node| Some((node.as_text()?.strip_prefix("service:")?.to_owned(), node.at)));
        implied.extend(shared.map(|(name, at)| (name, at, true)));
    }
    for source in service.get("volumes_from").and_then(Node::as_list).into_iter().flatten() {
        let text = source.as_text().unwrap_or_default();
        if !text.starts_with("container:") {
            implied.push((text.split(':').next().unwrap_or_default().to_owned(), source.at, false));
        }
    }
    if implied.is_empty() {
        return;
    }
    if service.get("depends_on").and_then(Node::as_map).is_none() {
        service.put("depends_on", Node::new(Value::Map(Map::new()), at));
    }
    let Some(dependencies) = service.get_mut("depends_on").and_then(Node::as_map_mut) else { return };
    let dependency = |(name, at, restart): (String, Span, bool)| {
        let mut node = super::merge::started(at);
        if let Some(map) = node.as_map_mut() {
            map.put("restart", Node::bool(restart, at));
        }
        (Rc::from(name), Entry { key_at: at, node })
    };
    // The first of a name says what it is, and before it what is written.
    let implied: Map = implied.into_iter().rev().map(dependency).collect();
    *dependencies = std::mem::take(dependencies).joined(implied, |_, written, _| written);
}

/// What has no name of its own is named after the project and its key; what is external after its key.
fn full_names(project: &mut Map) {
    let prefix = project.text("name").unwrap_or_default().to_owned();
    for section in ["networks", "volumes", "configs", "secrets"] {
        for (key, entry) in project.get_mut(section).and_then(Node::as_map_mut).into_iter().flat_map(Map::iter_mut) {
            let at = entry.node.at;
            if entry.node.is_null() {
                entry.node.value = Value::Map(Map::new());
            }
            let Some(resource) = entry.node.as_map_mut() else { continue };
            if resource.get("name").is_some_and(|name| !name.is_null()) {
                continue;
            }
            let external = match resource.get("external").map(|external| &external.value) {
                Some(Value::Bool(external)) => *external,
                Some(Value::Text(text)) => matches!(&**text, "1" | "t" | "T" | "TRUE" | "true" | "True"),
                _ => false,
            };
            resource.put("name", Node::text(if external { key.to_string() } else { format!("{prefix}_{key}") }, at));
        }
    }
}
