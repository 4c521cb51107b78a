//! Short forms become long ones: after this every attribute has one shape.

use std::rc::Rc;

use super::merge;
use super::node::Entry;
use super::node::Map;
use super::node::Node;
use super::node::Path;
use super::node::Value;
use super::session::Fault;
use super::session::Session;
use super::short;

/// Whether a text that cannot be read stays as it is, since its variables are not filled in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    Refused,
    Kept,
}

/// Brings a document into its long form.
pub(super) fn lengthen(session: &Session<'_>, project: &mut Map, unread: Unread) {
    let shaper = Shaper { session, unread };
    let services = Path::ROOT.key("services");
    if let Some(map) = project.get_mut("services").and_then(Node::as_map_mut) {
        for (name, entry) in map.iter_mut() {
            if let Some(service) = entry.node.as_map_mut() {
                shaper.service(service, services.key(name));
            }
        }
    }
    for section in ["volumes", "networks", "secrets", "configs"] {
        let path = Path::ROOT.key(section);
        if let Some(map) = project.get_mut(section).and_then(Node::as_map_mut) {
            map.iter_mut().for_each(|(name, entry)| shaper.external(&mut entry.node, path.key(name)));
        }
    }
}

struct Shaper<'a, 'e> {
    session: &'a Session<'e>,
    unread: Unread,
}

impl Shaper<'_, '_> {
    fn service(&self, service: &mut Map, path: Path<'_>) {
        for (key, entry) in service.iter_mut() {
            let here = path.key(key);
            let node = &mut entry.node;
            match &**key {
                "build" => self.build(node, here),
                "depends_on" => self.depends_on(node, here),
                "env_file" => self.env_file(node, here),
                "label_file" | "dns" => list_of_one(node),
                "extends" => self.wrap(node, here, "service"),
                "gpus" => self.gpus(node, here),
                "networks" | "models" => names_to_map(node),
                "volumes" => self.each(node, here, Shaper::volume),
                "devices" => self.each(node, here, Shaper::device),
                "secrets" | "configs" => self.each(node, here, |shaper, item, path| shaper.wrap(item, path, "source")),
                "ports" => self.ports(node, here),
                "ulimits" => self.ulimits(node, here),
                "develop" => develop(node),
                _ => {}
            }
        }
    }

    fn refuse(&self, node: &Node, path: Path<'_>) {
        self.session.report(Fault::new(node.at, format!("`{path}` cannot be {}", node.value.kind())));
    }

    fn each(&self, node: &mut Node, path: Path<'_>, shape: fn(&Self, &mut Node, Path<'_>)) {
        if let Some(items) = node.as_list_mut() {
            items.iter_mut().enumerate().for_each(|(index, item)| shape(self, item, path.item(index)));
        }
    }

    /// A text alone becomes a mapping that holds it under `key`.
    fn wrap(&self, node: &mut Node, path: Path<'_>, key: &str) {
        match &node.value {
            Value::Map(_) => {}
            Value::Text(text) => {
                let mut map = Map::new();
                map.put(key, Node::text(text.clone(), node.at));
                node.value = Value::Map(map);
            }
            _ => self.refuse(node, path),
        }
    }

    fn build(&self, node: &mut Node, path: Path<'_>) {
        self.wrap(node, path, "context");
        let Some(build) = node.as_map_mut() else { return };
        for (key, entry) in build.iter_mut() {
            let here = path.key(key);
            let node = &mut entry.node;
            match &**key {
                "secrets" => self.each(node, here, |shaper, item, path| shaper.wrap(item, path, "source")),
                "provenance" | "sbom" => node.value = Value::Text(Rc::from(node.value.to_string())),
                "additional_contexts" => self.key_values(node, here),
                "ssh" => self.ssh(node, here),
                "ulimits" => self.ulimits(node, here),
                _ => {}
            }
        }
    }

    fn key_values(&self, node: &mut Node, path: Path<'_>) {
        let Some(items) = node.as_list() else {
            return if node.as_map().is_none() {
                self.refuse(node, path)
            };
        };
        let mut entries = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match item.as_text().and_then(|text| text.split_once('=')) {
                Some((key, value)) => entries.push((Rc::from(key), Entry { key_at: item.at, node: Node::text(value, item.at) })),
                None if self.unread == Unread::Kept => return,
                None => {
                    self.session.report(Fault::new(item.at, format!("`{}` must be `key=value`, not `{}`", path.item(index), item.value)))
                }
            }
        }
        node.value = Value::Map(entries.into_iter().collect());
    }

    fn ssh(&self, node: &mut Node, path: Path<'_>) {
        let Some(items) = node.as_list() else {
            return if node.as_map().is_none() {
                self.refuse(node, path)
            };
        };
        let mut entries = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let text = item.as_text().unwrap_or_default();
            match text.split_once('=') {
                Some((id, path)) => entries.push((Rc::from(id), Entry { key_at: item.at, node: Node::text(path, item.at) })),
                None if text == "default" => {
                    entries.push((Rc::from(text), Entry { key_at: item.at, node: Node::new(Value::Null, item.at) }))
                }
                None => {
                    let fault = Fault::new(item.at, format!("`{}` must be `default` or `id=path`, not `{}`", path.item(index), item.value));
                    self.session.report(fault);
                }
            }
        }
        node.value = Value::Map(entries.into_iter().collect());
    }

    fn depends_on(&self, node: &mut Node, path: Path<'_>) {
        match &mut node.value {
            Value::Map(map) => {
                for (name, entry) in map.iter_mut() {
                    let at = entry.node.at;
                    let Some(dependency) = entry.node.as_map_mut() else {
                        self.refuse(&entry.node, path.key(name));
                        continue;
                    };
                    if !dependency.has("condition") {
                        dependency.put("condition", Node::text("service_started", at));
                    }
                    if !dependency.has("required") {
                        dependency.put("required", Node::bool(true, at));
                    }
                }
            }
            Value::List(_) => node.value = Value::Map(merge::names(node.clone(), merge::started)),
            _ => self.refuse(node, path),
        }
    }

    fn env_file(&self, node: &mut Node, path: Path<'_>) {
        list_of_one(node);
        if node.as_list().is_none() {
            return self.refuse(node, path);
        }
        self.each(node, path, |shaper, item, path| {
            shaper.wrap(item, path, "path");
            let at = item.at;
            if let Some(map) = item.as_map_mut().filter(|map| !map.has("required")) {
                map.put("required", Node::bool(true, at));
            }
        });
    }

    fn gpus(&self, node: &mut Node, path: Path<'_>) {
        match &node.value {
            Value::List(_) => {}
            Value::Text(_) => {
                let mut all = Map::new();
                all.put("count", Node::text("all", node.at));
                node.value = Value::List(vec![Node::new(Value::Map(all), node.at)]);
            }
            _ => self.refuse(node, path),
        }
    }

    fn volume(&self, node: &mut Node, path: Path<'_>) {
        match &node.value {
            Value::Map(_) => {}
            Value::Text(text) => match short::volume(text) {
                Ok(volume) => *node = volume.long(node.at),
                Err(_) if self.unread == Unread::Kept => {}
                Err(error) => {
                    let fault = Fault::new(node.at, format!("`{path}` cannot be `{text}`")).because(error);
                    self.session.report(fault.hint("write `source:target` or `source:target:ro`"));
                }
            },
            _ => self.refuse(node, path),
        }
    }

    fn device(&self, node: &mut Node, path: Path<'_>) {
        match &node.value {
            Value::Map(_) => {}
            Value::Text(text) => match short::device(text, node.at) {
                Ok(device) => *node = device,
                Err(_) if self.unread == Unread::Kept => {}
                Err(error) => {
                    let fault = Fault::new(node.at, format!("`{path}` cannot be `{text}`")).because(error);
                    self.session.report(fault.hint("write it as a mapping of `source`, `target` and `permissions`"));
                }
            },
            _ => self.refuse(node, path),
        }
    }

    fn ports(&self, node: &mut Node, path: Path<'_>) {
        let Some(items) = node.as_list() else { return self.refuse(node, path) };
        let mut ports = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match &item.value {
                Value::Map(_) => ports.push(item.clone()),
                Value::Int(_) | Value::Text(_) => match short::ports(&item.value.to_string(), item.at) {
                    Ok(found) => ports.extend(found),
                    Err(_) if self.unread == Unread::Kept => return,
                    Err(error) => {
                        let fault = Fault::new(item.at, format!("`{}` cannot be `{}`", path.item(index), item.value)).because(error);
                        self.session.report(fault.hint("write `host:container`, as in \"8000:80\", in quotes"));
                    }
                },
                _ => self.refuse(item, path.item(index)),
            }
        }
        node.value = Value::List(ports);
    }

    fn ulimits(&self, node: &mut Node, path: Path<'_>) {
        for (name, entry) in node.as_map_mut().into_iter().flat_map(Map::iter_mut) {
            if !matches!(entry.node.value, Value::Map(_) | Value::Int(_)) && self.unread == Unread::Refused {
                self.refuse(&entry.node, path.key(name));
            }
        }
    }

    /// `external: {name: x}` is the old way to write `external: true` and `name: x`.
    fn external(&self, node: &mut Node, path: Path<'_>) {
        let Some(resource) = node.as_map_mut() else { return };
        let Some(external) = resource.get("external").filter(|external| external.as_map().is_some()).cloned() else { return };
        resource.put("external", Node::bool(true, external.at));
        let Some(name) = external.as_map().and_then(|map| map.get("name")) else { return };
        self.session.warn(format!("`{path}.external.name` is deprecated, write `external: true` and `name`"));
        match resource.get("name") {
            Some(known) if !known.same(name) => {
                self.session.report(Fault::new(name.at, format!("`{path}` has two names")).hint("keep `name`, and write `external: true`"));
            }
            Some(_) => {}
            None => resource.put("name", name.clone()),
        }
    }
}

fn list_of_one(node: &mut Node) {
    if node.as_text().is_some() {
        node.value = Value::List(vec![node.clone()]);
    }
}

fn names_to_map(node: &mut Node) {
    if let Some(items) = node.as_list() {
        let entries = items
            .iter()
            .filter_map(|item| Some((Rc::from(item.as_text()?), Entry { key_at: item.at, node: Node::new(Value::Null, item.at) })));
        node.value = Value::Map(entries.collect());
    }
}

fn develop(node: &mut Node) {
    let triggers = node.as_map_mut().and_then(|develop| develop.get_mut("watch")).and_then(Node::as_list_mut);
    for trigger in triggers.into_iter().flatten().filter_map(Node::as_map_mut) {
        for key in ["ignore", "include"] {
            trigger.get_mut(key).map(list_of_one);
        }
    }
}

/// Takes the empty entries out of the lists where they mean nothing.
pub(super) fn omit_empty(project: &mut Map) {
    let services = project.get_mut("services").and_then(Node::as_map_mut);
    for (_, entry) in services.into_iter().flat_map(Map::iter_mut) {
        let dns = entry.node.as_map_mut().and_then(|service| service.get_mut("dns")).and_then(Node::as_list_mut);
        if let Some(servers) = dns {
            servers.retain(|server| !server.is_null() && server.as_text() != Some(""));
        }
    }
}
