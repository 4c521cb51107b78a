//! Lists whose later items replace earlier ones of the same meaning, as ports of one target or mounts of one place.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::node::Map;
use super::node::Node;
use super::node::Path;
use super::node::Value;
use super::rules::Rules;
use super::session::Fault;
use super::session::Session;
use super::short;

/// What tells an item of a list from the others.
#[derive(Clone, Copy)]
enum Identity {
    /// What stands before `=`.
    Key,
    Target,
    Device,
    /// The target, or the source below this directory.
    File(&'static str),
    Port,
    Expose,
    EnvFile,
}

static RULES: LazyLock<Rules<Identity>> = LazyLock::new(|| {
    Rules::new(&[
        ("networks.*.labels", Identity::Key),
        ("networks.*.ipam.options", Identity::Key),
        ("services.*.annotations", Identity::Key),
        ("services.*.build.args", Identity::Key),
        ("services.*.build.additional_contexts", Identity::Key),
        ("services.*.build.platform", Identity::Key),
        ("services.*.build.tags", Identity::Key),
        ("services.*.build.labels", Identity::Key),
        ("services.*.cap_add", Identity::Key),
        ("services.*.cap_drop", Identity::Key),
        ("services.*.configs", Identity::File("")),
        ("services.*.deploy.labels", Identity::Key),
        ("services.*.devices", Identity::Device),
        ("services.*.dns", Identity::Key),
        ("services.*.dns_opt", Identity::Key),
        ("services.*.dns_search", Identity::Key),
        ("services.*.environment", Identity::Key),
        ("services.*.env_file", Identity::EnvFile),
        ("services.*.expose", Identity::Expose),
        ("services.*.labels", Identity::Key),
        ("services.*.links", Identity::Key),
        ("services.*.networks.*.aliases", Identity::Key),
        ("services.*.networks.*.link_local_ips", Identity::Key),
        ("services.*.ports", Identity::Port),
        ("services.*.profiles", Identity::Key),
        ("services.*.secrets", Identity::File("/run/secrets")),
        ("services.*.sysctls", Identity::Key),
        ("services.*.tmpfs", Identity::Key),
        ("services.*.volumes", Identity::Target),
    ])
});

/// Leaves of every such list the last item of each meaning, at the place of the first.
pub(super) fn enforce(session: &Session<'_>, project: &mut Map) {
    visit_map(session, project, Path::ROOT);
}

fn visit_map(session: &Session<'_>, map: &mut Map, path: Path<'_>) {
    for (key, entry) in map.iter_mut() {
        let here = path.key(key);
        match &mut entry.node.value {
            Value::Map(map) => visit_map(session, map, here),
            Value::List(items) => {
                if let Some(identity) = RULES.of(here) {
                    thin(session, items, identity, here);
                }
            }
            _ => {}
        }
    }
}

fn thin(session: &Session<'_>, items: &mut Vec<Node>, identity: Identity, path: Path<'_>) {
    // Most lists are of one item, and one text is like no other.
    if matches!(&items[..], [] | [Node { value: Value::Text(_), .. }]) {
        return;
    }
    let mut kept: Vec<Node> = Vec::with_capacity(items.len());
    let mut places: HashMap<String, usize> = HashMap::new();
    for (index, item) in std::mem::take(items).into_iter().enumerate() {
        if matches!((identity, &item.value), (Identity::Expose, Value::Float(_))) {
            session.report(Fault::new(item.at, format!("`{}` must be a port, `{}` is none", path.item(index), item.value)));
        }
        match name(&item, identity) {
            Ok(Some(name)) => match places.get(&name) {
                Some(place) => kept[*place] = item,
                None => {
                    places.insert(name, kept.len());
                    kept.push(item);
                }
            },
            Ok(None) => kept.push(item),
            Err(missing) => {
                session.report(Fault::new(item.at, format!("`{}` needs the key `{missing}`", path.item(index))));
                kept.push(item);
            }
        }
    }
    *items = kept;
}

/// The item's identity; nothing if it is no such item at all, which the check of types says better.
fn name(item: &Node, identity: Identity) -> Result<Option<String>, &'static str> {
    let text = item.as_text();
    let map = item.as_map();
    Ok(match (identity, text, map) {
        (Identity::Key, Some(text), _) => Some(text.split('=').next().unwrap_or(text).to_owned()),
        (Identity::Target, Some(text), _) => short::volume(text).ok().map(|volume| volume.target),
        (Identity::Device, Some(text), _) => Some(text.split(':').nth(1).unwrap_or(text).to_owned()),
        (Identity::Target | Identity::Device, _, Some(map)) => Some(map.text("target").ok_or("target")?.to_owned()),
        (Identity::File(directory), Some(text), _) => Some(format!("{directory}/{text}")),
        (Identity::File(directory), _, Some(map)) => match map.text("target") {
            Some(target) => Some(target.to_owned()),
            None => Some(format!("{directory}/{}", map.text("source").unwrap_or("<nil>"))),
        },
        (Identity::Port, Some(text), _) => Some(text.to_owned()),
        (Identity::Port, _, Some(map)) => Some(port(map)?),
        (Identity::EnvFile, Some(text), _) => Some(text.to_owned()),
        (Identity::EnvFile, _, Some(map)) => Some(map.text("path").ok_or("path")?.to_owned()),
        (Identity::Expose, ..) if !matches!(item.value, Value::Float(_)) => Some(item.value.to_string()),
        (Identity::Port, ..) if matches!(item.value, Value::Int(_)) => Some(item.value.to_string()),
        _ => None,
    })
}

fn port(map: &Map) -> Result<String, &'static str> {
    let part = |key: &str, default: &str| map.get(key).map_or_else(|| default.to_owned(), |value| value.value.to_string());
    // Docker compose does not see that a published port is the same as text and as a number.
    let published = match map.get("published").map(|published| &published.value) {
        Some(Value::Int(port)) => format!("int={port}"),
        _ => part("published", "<nil>"),
    };
    let target = map.get("target").ok_or("target")?;
    Ok(format!("{}:{}:{}/{}", part("host_ip", "0.0.0.0"), published, target.value, part("protocol", "tcp")))
}
