//! Values that the specification gives to what is not written, and checks that need no more than one value.

use super::node::Map;
use super::node::Node;
use super::node::Path;
use super::node::Span;
use super::node::Value;
use super::session::Fault;
use super::session::Session;
use super::short;

/// Sets the default values of a project in its long form.
pub(super) fn set(project: &mut Map) {
    let services = project.get_mut("services").and_then(Node::as_map_mut);
    for (_, entry) in services.into_iter().flat_map(Map::iter_mut) {
        let Some(service) = entry.node.as_map_mut() else { continue };
        if let Some(build) = service.get_mut("build") {
            let at = build.at;
            set_text(build, "context", at, || ".".to_owned());
        }
        for secret in items(service, "secrets") {
            let source = secret.as_map().and_then(|map| map.text("source")).unwrap_or_default().to_owned();
            let at = secret.at;
            set_text(secret, "target", at, || format!("/run/secrets/{source}"));
        }
        for port in items(service, "ports") {
            let at = port.at;
            set_text(port, "protocol", at, || "tcp".to_owned());
            set_text(port, "mode", at, || "ingress".to_owned());
        }
        items(service, "gpus").for_each(device_count);
        if let Some(reservations) = reach(service, &["deploy", "resources", "reservations"]) {
            items(reservations, "devices").for_each(device_count);
        }
    }
}

fn set_text(node: &mut Node, key: &str, at: Span, text: impl Fn() -> String) {
    if let Some(map) = node.as_map_mut().filter(|map| !map.has(key)) {
        map.put(key, Node::text(text(), at));
    }
}

fn device_count(device: &mut Node) {
    let at = device.at;
    if let Some(map) = device.as_map_mut().filter(|map| !map.has("count") && !map.has("device_ids")) {
        map.put("count", Node::text("all", at));
    }
}

/// The items of a list in `map`; none if there is no such list.
pub(super) fn items<'m>(map: &'m mut Map, key: &str) -> impl Iterator<Item = &'m mut Node> {
    map.get_mut(key).and_then(Node::as_list_mut).into_iter().flatten()
}

/// The mapping that these keys lead to.
pub(super) fn reach<'m>(map: &'m mut Map, keys: &[&str]) -> Option<&'m mut Map> {
    keys.iter().try_fold(map, |map, key| map.get_mut(key)?.as_map_mut())
}

/// Reports values that contradict themselves.
pub(super) fn check(session: &Session<'_>, project: &Map) {
    let checker = Checker { session };
    for section in ["volumes", "configs", "secrets", "services"] {
        let path = Path::ROOT.key(section);
        for (name, entry) in project.get(section).and_then(Node::as_map).into_iter().flat_map(Map::iter) {
            let (node, path) = (&entry.node, path.key(name));
            match section {
                "volumes" => checker.volume(node, path),
                "configs" => checker.source(node, path, &["file", "environment", "content"]),
                "secrets" => checker.source(node, path, &["file", "environment"]),
                _ => checker.service(node, path),
            }
        }
    }
}

struct Checker<'a, 'e> {
    session: &'a Session<'e>,
}

impl Checker<'_, '_> {
    fn volume(&self, node: &Node, path: Path<'_>) {
        let Some(volume) = node.as_map() else { return };
        if !matches!(volume.get("external").map(|external| &external.value), Some(Value::Bool(true))) {
            return;
        }
        for (key, entry) in volume.iter() {
            if !matches!(&**key, "name" | "external") && !key.starts_with("x-") {
                let fault = Fault::new(entry.key_at, format!("`{path}` is external, so it cannot have `{key}`"));
                self.session.report(fault.hint(format!("remove `{key}`, or `external`")));
            }
        }
    }

    fn source(&self, node: &Node, path: Path<'_>, keys: &[&str]) {
        let Some(object) = node.as_map() else { return };
        let given: Vec<_> = keys.iter().filter_map(|key| object.entry(key)).collect();
        let listed = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        match given[..] {
            [] if !object.has("driver") && !object.has("external") => {
                self.session.report(Fault::new(node.at, format!("`{path}` needs one of {listed}")));
            }
            [_, second, ..] => self.session.report(Fault::new(second.key_at, format!("`{path}` can have only one of {listed}"))),
            _ => {}
        }
    }

    fn service(&self, node: &Node, path: Path<'_>) {
        let Some(service) = node.as_map() else { return };
        let list = |map: &'_ Map, key: &str| map.get(key).and_then(Node::as_list).map(<[Node]>::to_vec).unwrap_or_default();
        for port in list(service, "ports") {
            let host = port.as_map().and_then(|port| port.get("host_ip"));
            if let Some(host) = host.filter(|host| !host.as_text().is_some_and(short::is_address)) {
                self.session.report(Fault::new(host.at, format!("`{}` is no IP address", host.value)));
            }
        }
        for volume in list(service, "volumes") {
            let bind = volume.as_map().filter(|volume| volume.text("type") == Some("bind"));
            if bind.is_some_and(|bind| !bind.has("source")) {
                self.session.report(Fault::new(volume.at, format!("a bind mount of `{path}` needs a `source`")));
            }
        }
        let develop = service.get("develop").and_then(Node::as_map).map(|develop| list(develop, "watch")).unwrap_or_default();
        for trigger in &develop {
            let watched = trigger.as_map().and_then(|trigger| trigger.get("path"));
            if let Some(watched) = watched.filter(|watched| watched.as_text() == Some("")) {
                self.session.report(Fault::new(watched.at, format!("`{path}.develop.watch` needs a path that is not empty")));
            }
        }
        let reserved = ["deploy", "resources", "reservations"].iter().try_fold(service, |map, key| map.get(key)?.as_map());
        let devices = reserved.map(|reserved| list(reserved, "devices")).unwrap_or_default();
        for device in devices.iter().chain(&list(service, "gpus")) {
            let both = device.as_map().is_some_and(|device| device.has("count") && device.has("device_ids"));
            if both {
                self.session
                    .report(Fault::new(device.at, format!("a device of `{path}` has `count` and `device_ids`")).hint("keep one of them"));
            }
        }
    }
}
