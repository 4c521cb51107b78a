//! What a later file says over an earlier one, and a service over the one it extends: rules per attribute.

use std::rc::Rc;
use std::sync::LazyLock;

use super::node::Entry;
use super::node::Map;
use super::node::Node;
use super::node::Path;
use super::node::Span;
use super::node::Value;
use super::rules::Rules;
use super::session::Fault;
use super::session::Session;

/// How an attribute is merged where the common rule (mappings join, lists append, the rest is replaced) is not it.
#[derive(Clone, Copy)]
enum How {
    /// Both as lists of `key=value`, the later behind the earlier.
    Listed,
    Replaced,
    Build,
    DependsOn,
    ExtraHosts,
    IpamConfig,
    Logging,
    /// Lists of names are mappings to nothing.
    Named,
}

static RULES: LazyLock<Rules<How>> = LazyLock::new(|| {
    Rules::new(&[
        ("networks.*.ipam.config", How::IpamConfig),
        ("networks.*.labels", How::Listed),
        ("volumes.*.labels", How::Listed),
        ("services.*.annotations", How::Listed),
        ("services.*.build", How::Build),
        ("services.*.build.args", How::Listed),
        ("services.*.build.additional_contexts", How::Listed),
        ("services.*.build.extra_hosts", How::ExtraHosts),
        ("services.*.build.labels", How::Listed),
        ("services.*.command", How::Replaced),
        ("services.*.depends_on", How::DependsOn),
        ("services.*.deploy.labels", How::Listed),
        ("services.*.dns", How::Listed),
        ("services.*.dns_opt", How::Listed),
        ("services.*.dns_search", How::Listed),
        ("services.*.entrypoint", How::Replaced),
        ("services.*.env_file", How::Listed),
        ("services.*.label_file", How::Listed),
        ("services.*.environment", How::Listed),
        ("services.*.extra_hosts", How::ExtraHosts),
        ("services.*.healthcheck.test", How::Replaced),
        ("services.*.labels", How::Listed),
        ("services.*.volumes.*.volume.labels", How::Listed),
        ("services.*.logging", How::Logging),
        ("services.*.models", How::Named),
        ("services.*.networks", How::Named),
        ("services.*.sysctls", How::Listed),
        ("services.*.tmpfs", How::Listed),
        ("services.*.ulimits.*", How::Replaced),
    ])
});

/// Merges `later` over `earlier`, both whole documents.
pub(super) fn documents(session: &Session<'_>, earlier: Map, later: Map) -> Map {
    Merger { session }.maps(earlier, later, Path::ROOT)
}

/// Merges a service over the one it extends.
pub(super) fn extend(session: &Session<'_>, base: Node, service: Node, name: &str) -> Node {
    let services = Path::ROOT.key("services");
    Merger { session }.merge(base, service, services.key(name))
}

struct Merger<'a, 'e> {
    session: &'a Session<'e>,
}

impl Merger<'_, '_> {
    fn merge(&self, earlier: Node, later: Node, path: Path<'_>) -> Node {
        if let Some(how) = RULES.of(path) {
            return self.merge_as(how, earlier, later, path);
        }
        if later.is_null() {
            return earlier;
        }
        let at = later.at;
        match (earlier.value, later.value) {
            (Value::Map(one), Value::Map(two)) => Node::new(Value::Map(self.maps(one, two, path)), at),
            (Value::List(mut one), Value::List(two)) => {
                one.extend(two);
                Node::new(Value::List(one), at)
            }
            (one @ (Value::Map(_) | Value::List(_)), two) => {
                let what = format!("`{path}` is {} here and {} in what it is merged with", two.kind(), one.kind());
                self.session.report(Fault::new(at, what).hint("write both alike, or replace the earlier one with `!override`"));
                Node::new(one, at)
            }
            (_, two) => Node::new(two, at),
        }
    }

    fn maps(&self, earlier: Map, later: Map, path: Path<'_>) -> Map {
        let merged = |key: &Rc<str>, known: Entry, entry: Entry| {
            let node = self.merge(known.node, entry.node, path.key(key));
            Entry { key_at: entry.key_at, node }
        };
        earlier.joined(later, merged)
    }

    fn merge_as(&self, how: How, earlier: Node, later: Node, path: Path<'_>) -> Node {
        let at = if later.is_null() { earlier.at } else { later.at };
        let value = match how {
            How::Replaced => return later,
            How::Listed => Value::List(sequence(earlier).into_iter().chain(sequence(later)).collect()),
            How::ExtraHosts => {
                let mut hosts = sequence(earlier);
                let more: Vec<Node> = sequence(later).into_iter().filter(|host| !hosts.iter().any(|known| known.same(host))).collect();
                hosts.extend(more);
                Value::List(hosts)
            }
            How::Build => Value::Map(self.maps(build(earlier), build(later), path)),
            How::DependsOn => Value::Map(self.maps(names(earlier, started), names(later, started), path)),
            How::Named => Value::Map(self.maps(names(earlier, nothing), names(later, nothing), path)),
            How::Logging => return self.logging(earlier, later, path),
            How::IpamConfig => return self.ipam(earlier, later, path),
        };
        Node::new(value, at)
    }

    /// Options are joined only where both speak of the same driver.
    fn logging(&self, earlier: Node, later: Node, path: Path<'_>) -> Node {
        let at = later.at;
        match (earlier.value, later.value) {
            (Value::Map(one), Value::Map(two)) => {
                let differ = matches!((one.get("driver"), two.get("driver")), (Some(one), Some(two)) if !one.same(two));
                Node::new(Value::Map(if differ { two } else { self.maps(one, two, path) }), at)
            }
            (one, Value::Null) => Node::new(one, at),
            (_, two) => Node::new(two, at),
        }
    }

    /// Pools of the same subnet are joined, others stand side by side.
    fn ipam(&self, earlier: Node, later: Node, path: Path<'_>) -> Node {
        let at = later.at;
        let (Value::List(earlier), Value::List(later)) = (earlier.value, later.value) else {
            self.session.report(Fault::new(at, format!("`{path}` must be a list")));
            return Node::new(Value::List(Vec::new()), at);
        };
        let subnet = |pool: &Map| pool.get("subnet").map(|subnet| subnet.value.to_string());
        let mut pools: Vec<Map> = Vec::new();
        for original in earlier {
            let mut known = names(original, nothing);
            // Where it stands among the pools: a later join changes it there too.
            let mut places: Vec<usize> = Vec::new();
            for other in &later {
                let other = names(other.clone(), nothing);
                if subnet(&other) != subnet(&known) && !pools.iter().any(|pool| subnet(pool) == subnet(&other)) {
                    pools.push(other);
                    continue;
                }
                known = self.maps(known, other, path);
                places.iter().for_each(|place| pools[*place] = known.clone());
                let place = pools.iter().position(|pool| subnet(pool) == subnet(&known)).unwrap_or(pools.len());
                pools.resize_with(pools.len().max(place + 1), Map::new);
                pools[place] = known.clone();
                places.push(place);
            }
        }
        Node::new(Value::List(pools.into_iter().map(|pool| Node::new(Value::Map(pool), at)).collect()), at)
    }
}

fn build(node: Node) -> Map {
    match node.value {
        Value::Map(map) => map,
        Value::Text(text) => {
            let mut map = Map::new();
            map.put("context", Node::text(text, node.at));
            map
        }
        _ => Map::new(),
    }
}

fn nothing(at: Span) -> Node {
    Node::new(Value::Null, at)
}

/// The dependency that a name alone stands for.
pub(super) fn started(at: Span) -> Node {
    let mut map = Map::new();
    map.put("condition", Node::text("service_started", at));
    map.put("required", Node::bool(true, at));
    Node::new(Value::Map(map), at)
}

/// A list of names as a mapping.
pub(super) fn names(node: Node, each: fn(Span) -> Node) -> Map {
    match node.value {
        Value::Map(map) => map,
        Value::List(items) => {
            items.into_iter().filter_map(|item| Some((Rc::from(item.as_text()?), Entry { key_at: item.at, node: each(item.at) }))).collect()
        }
        _ => Map::new(),
    }
}

/// A mapping as a sorted list of `key=value`; a lone text as a list of one.
fn sequence(node: Node) -> Vec<Node> {
    match node.value {
        Value::List(items) => items,
        Value::Text(_) => vec![node],
        Value::Map(map) => {
            let mut items = Vec::new();
            for (key, entry) in map {
                match entry.node.value {
                    Value::Null => items.push(Node::text(key, entry.key_at)),
                    Value::List(values) => items.extend(values.iter().map(|value| Node::text(format!("{key}={}", value.value), value.at))),
                    value => items.push(Node::text(format!("{key}={value}"), entry.key_at)),
                }
            }
            items.sort_by(|one, two| one.as_text().cmp(&two.as_text()));
            items
        }
        _ => Vec::new(),
    }
}
