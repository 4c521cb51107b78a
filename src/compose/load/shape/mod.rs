//! Turns the tree of a project into the values that `config` prints: one type for every attribute, what is empty
//! left out, sizes in bytes, durations in one notation.

mod tables;

use serde_json::Map as JsonMap;
use serde_json::Number;
use serde_json::Value as Json;

use super::interpolate;
use super::measure;
use super::node::Map;
use super::node::Node;
use super::node::Path;
use super::node::Value;
use super::scalar;
use super::session::Fault;
use super::session::Session;

/// Attributes with the way each is printed.
type Fields = &'static [(&'static str, Kind)];

/// The notation that the values are for; docker compose leaves out different things in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::compose) enum Notation {
    Json,
    Yaml,
}

/// How an attribute is read and printed. What is empty or zero is left out unless said otherwise.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    /// Printed even when empty.
    TextAlways,
    /// Printed always, in JSON with a capital.
    TextTitled,
    Flag,
    FlagAlways,
    /// A boolean for which `false` is something else than nothing.
    Switch,
    Whole,
    WholeAlways,
    OptionalWhole,
    /// A whole number that is not negative.
    Count,
    /// The same, never written as text.
    PlainCount,
    PlainCountTitled,
    OptionalCount,
    Number,
    Bytes,
    BytesTitled,
    Duration,
    OptionalDuration,
    Texts,
    /// A command line or its words; in JSON nothing is printed as `null`.
    Command,
    /// A health check's command.
    Test,
    /// A mapping of text to text, or a list of `key=value`.
    Pairs,
    /// The same, but a key may have no value.
    Variables,
    /// A mapping of text to text or whole numbers.
    Words,
    ManyOptions,
    Hosts,
    /// Whether a number of devices or `all`.
    DeviceCount,
    /// A file's mode in octal.
    Mode,
    Ssh,
    Limits,
    /// A mapping; an empty one is printed in JSON.
    Always(Fields),
    Maybe(Fields),
    List(Fields),
    /// A mapping of names to mappings.
    Each(Fields),
}

/// What is shaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resource {
    Service,
    Network,
    Volume,
    FileObject,
    Model,
}

/// Reads values, one report for each that cannot be read.
pub(super) struct Shaper<'a, 'e> {
    pub session: &'a Session<'e>,
    pub notation: Notation,
}

impl Shaper<'_, '_> {
    /// The values of one resource.
    pub(super) fn resource(&self, resource: Resource, node: &Node, path: Path<'_>) -> JsonMap<String, Json> {
        let fields = match resource {
            Resource::Service => tables::SERVICE,
            Resource::Network => tables::NETWORK,
            Resource::Volume => tables::VOLUME,
            Resource::FileObject => tables::FILE_OBJECT,
            Resource::Model => tables::MODEL,
        };
        node.as_map().map(|map| self.fields(map, fields, path)).unwrap_or_else(|| self.fields(&Map::new(), fields, path))
    }

    fn fields(&self, map: &Map, fields: Fields, path: Path<'_>) -> JsonMap<String, Json> {
        let mut given: Vec<Option<&Node>> = vec![None; fields.len()];
        for (key, entry) in map.iter().filter(|(_, entry)| !entry.node.is_null()) {
            if let Some(place) = fields.iter().position(|(field, _)| **field == **key) {
                given[place] = Some(&entry.node);
            }
        }
        let mut shaped = JsonMap::new();
        for ((key, kind), node) in fields.iter().zip(given) {
            if let Some(value) = self.value(node, *kind, path.key(key)) {
                shaped.insert(self.title(key, *kind), value);
            }
        }
        if self.notation == Notation::Yaml {
            for (key, entry) in map.iter().filter(|(key, _)| key.starts_with("x-") && ***key != *super::CONTENT) {
                shaped.insert(key.to_string(), plain(&entry.node));
            }
        }
        shaped
    }

    fn title(&self, key: &str, kind: Kind) -> String {
        let titled = matches!(kind, Kind::TextTitled | Kind::PlainCountTitled | Kind::BytesTitled) && self.notation == Notation::Json;
        match (titled, key.get(..1)) {
            (true, Some(first)) => first.to_uppercase() + &key[1..],
            _ => key.to_owned(),
        }
    }

    fn value(&self, node: Option<&Node>, kind: Kind, path: Path<'_>) -> Option<Json> {
        match (kind, node) {
            (Kind::TextAlways | Kind::TextTitled, None) => Some(Json::from("")),
            (Kind::WholeAlways | Kind::PlainCountTitled, None) => Some(Json::from(0)),
            (Kind::BytesTitled, None) => Some(Json::from("0")),
            (Kind::FlagAlways, None) => Some(Json::from(false)),
            (Kind::Command, None) => (self.notation == Notation::Json).then_some(Json::Null),
            (Kind::Always(fields), None) => self.always(self.fields(&Map::new(), fields, path)),
            (_, None) => None,
            (Kind::Text | Kind::TextAlways | Kind::TextTitled | Kind::Flag | Kind::FlagAlways | Kind::Switch, Some(node)) => {
                self.simple(node, kind, path)
            }
            (Kind::Always(_) | Kind::Maybe(_) | Kind::List(_) | Kind::Each(_), Some(node)) => self.nested(node, kind, path),
            (Kind::Texts | Kind::Command | Kind::Test, Some(node)) => self.sequence(node, kind, path),
            (Kind::Pairs | Kind::Variables | Kind::Words | Kind::ManyOptions | Kind::Hosts | Kind::Ssh | Kind::Limits, Some(node)) => {
                self.mapping(node, kind, path)
            }
            (_, Some(node)) => self.measured(node, kind, path),
        }
    }

    fn always(&self, shaped: JsonMap<String, Json>) -> Option<Json> {
        (self.notation == Notation::Json || !shaped.is_empty()).then_some(Json::Object(shaped))
    }

    fn refuse(&self, node: &Node, path: Path<'_>, wanted: &str) -> Option<Json> {
        let shown = match &node.value {
            Value::Text(_) | Value::Int(_) | Value::Float(_) => format!("`{}`", node.value),
            other => other.kind().to_owned(),
        };
        self.session.report(Fault::new(node.at, format!("`{path}` must be {wanted}, not {shown}")));
        None
    }

    fn simple(&self, node: &Node, kind: Kind, path: Path<'_>) -> Option<Json> {
        if matches!(kind, Kind::Flag | Kind::FlagAlways | Kind::Switch) {
            let flag = match &node.value {
                Value::Bool(flag) => Some(*flag),
                Value::Text(text) => interpolate::boolean(text),
                _ => None,
            };
            let Some(flag) = flag else { return self.refuse(node, path, "`true` or `false`") };
            return (flag || !matches!(kind, Kind::Flag)).then_some(Json::Bool(flag));
        }
        let text = match &node.value {
            Value::Text(_) | Value::Int(_) => node.value.to_text(),
            _ => return self.refuse(node, path, "text"),
        };
        (!text.is_empty() || !matches!(kind, Kind::Text)).then_some(Json::String(text))
    }

    fn nested(&self, node: &Node, kind: Kind, path: Path<'_>) -> Option<Json> {
        match (kind, &node.value) {
            (Kind::Always(fields), Value::Map(map)) => self.always(self.fields(map, fields, path)),
            (Kind::Maybe(fields), Value::Map(map)) => Some(Json::Object(self.fields(map, fields, path))),
            (Kind::List(fields), Value::List(items)) => {
                let shape = |(index, item): (usize, &Node)| {
                    let Some(map) = item.as_map() else { return self.refuse(item, path.item(index), "a mapping") };
                    Some(Json::Object(self.fields(map, fields, path.item(index))))
                };
                let items: Vec<Json> = items.iter().enumerate().filter_map(shape).collect();
                (!items.is_empty()).then_some(Json::Array(items))
            }
            (Kind::Each(fields), Value::Map(map)) => {
                let shape = |node: &Node, path| node.as_map().map_or(Json::Null, |map| Json::Object(self.fields(map, fields, path)));
                let entries: JsonMap<String, Json> =
                    map.iter().map(|(key, entry)| (key.to_string(), shape(&entry.node, path.key(key)))).collect();
                (!entries.is_empty()).then_some(Json::Object(entries))
            }
            (Kind::List(_), _) => self.refuse(node, path, "a list"),
            _ => self.refuse(node, path, "a mapping"),
        }
    }

    fn sequence(&self, node: &Node, kind: Kind, path: Path<'_>) -> Option<Json> {
        let words = match (kind, &node.value) {
            (Kind::Command, Value::Text(line)) => match measure::words(line) {
                Some(words) => words,
                None => return self.refuse(node, path, "a command line with its quotes closed"),
            },
            (Kind::Test, Value::Text(line)) => vec!["CMD-SHELL".to_owned(), line.to_string()],
            (_, Value::Text(text)) => vec![text.to_string()],
            (_, Value::List(items)) => {
                let broken = items.iter().enumerate().find(|(_, item)| matches!(item.value, Value::Float(_)));
                if let Some((index, item)) = broken {
                    return self.refuse(item, path.item(index), "text or a whole number");
                }
                items.iter().map(|item| item.value.to_text()).collect()
            }
            _ => return self.refuse(node, path, "a list"),
        };
        (!words.is_empty() || matches!(kind, Kind::Command)).then(|| Json::from(words))
    }

    fn mapping(&self, node: &Node, kind: Kind, path: Path<'_>) -> Option<Json> {
        let mut shaped: Vec<(String, Json)> = match (kind, &node.value) {
            (Kind::Hosts, _) => return self.hosts(node, path),
            (Kind::Ssh, Value::Map(map)) => {
                let key = |(id, entry): (&_, &super::node::Entry)| {
                    if entry.node.is_null() { format!("{id}") } else { format!("{id}={}", entry.node.value) }
                };
                let keys: Vec<String> = map.iter().map(key).collect();
                return (!keys.is_empty()).then(|| Json::from(keys));
            }
            (_, Value::Map(map)) => {
                map.iter().filter_map(|(key, entry)| Some((key.to_string(), self.pair(&entry.node, kind, path.key(key))?))).collect()
            }
            (Kind::Pairs | Kind::Variables, Value::List(items)) => {
                items.iter().enumerate().filter_map(|(index, item)| self.listed_pair(item, kind, path.item(index))).collect()
            }
            _ => return self.refuse(node, path, "a mapping"),
        };
        // A later one of the same key wins; the sort keeps their order.
        shaped.sort_by(|one, two| one.0.cmp(&two.0));
        let shaped: JsonMap<String, Json> = shaped.into_iter().collect();
        (!shaped.is_empty()).then_some(Json::Object(shaped))
    }

    fn pair(&self, node: &Node, kind: Kind, path: Path<'_>) -> Option<Json> {
        match (kind, &node.value) {
            (Kind::Variables, Value::Null) => Some(Json::Null),
            (Kind::Pairs | Kind::Words, Value::Null) => Some(Json::from("")),
            (Kind::Words, Value::Bool(_) | Value::Float(_) | Value::List(_) | Value::Map(_) | Value::Date(_)) => {
                self.refuse(node, path, "text or a whole number")
            }
            (Kind::ManyOptions, Value::List(items)) => Some(Json::from(items.iter().map(|item| item.value.to_text()).collect::<Vec<_>>())),
            (Kind::ManyOptions, value) => Some(Json::from(vec![value.to_text()])),
            (Kind::Limits, _) => self.limit(node, path),
            (_, value) => Some(Json::String(value.to_text())),
        }
    }

    fn listed_pair(&self, item: &Node, kind: Kind, path: Path<'_>) -> Option<(String, Json)> {
        let text = item.value.to_text();
        let (key, value) = text.split_once('=').map_or((text.as_str(), None), |(key, value)| (key, Some(value)));
        if matches!(kind, Kind::Variables) && key.ends_with(char::is_whitespace) {
            self.session.report(
                Fault::new(item.at, format!("the name of the variable `{key}` in `{path}` ends with a blank"))
                    .hint("take the blank before `=` out"),
            );
            return None;
        }
        let value = match value {
            Some(value) => Json::from(value),
            None if matches!(kind, Kind::Variables) => Json::Null,
            None => Json::from(""),
        };
        Some((key.to_owned(), value))
    }

    fn limit(&self, node: &Node, path: Path<'_>) -> Option<Json> {
        let Some(map) = node.as_map() else {
            return match node.value {
                Value::Int(limit) if limit != 0 => Some(Json::from(limit)),
                Value::Int(_) => Some(Json::Object(JsonMap::new())),
                _ => self.refuse(node, path, "a whole number"),
            };
        };
        let mut limits = JsonMap::new();
        for key in ["soft", "hard"] {
            match map.get(key).map(|node| (&node.value, node)) {
                Some((Value::Int(0), _)) if self.notation == Notation::Json => {}
                Some((Value::Int(limit), _)) => {
                    limits.insert(key.to_owned(), Json::from(*limit));
                }
                Some((_, node)) => return self.refuse(node, path.key(key), "a whole number"),
                None => {}
            }
        }
        Some(Json::Object(limits))
    }

    /// `host=address` for every address of a host, sorted.
    fn hosts(&self, node: &Node, path: Path<'_>) -> Option<Json> {
        let mut hosts: Vec<(String, String)> = Vec::new();
        match &node.value {
            Value::Map(map) => {
                for (host, entry) in map.iter() {
                    match &entry.node.value {
                        Value::Null => hosts.push((host.to_string(), String::new())),
                        Value::List(items) => hosts.extend(items.iter().map(|item| (host.to_string(), item.value.to_text()))),
                        value => hosts.push((host.to_string(), value.to_text())),
                    }
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let text = item.value.to_text();
                    let Some((host, addresses)) = text.split_once('=').or_else(|| text.split_once(':')) else {
                        return self.refuse(item, path.item(index), "`host=address`");
                    };
                    hosts.extend(addresses.split(',').map(|address| (host.to_owned(), address.to_owned())));
                }
            }
            _ => return self.refuse(node, path, "a mapping or a list"),
        }
        if let Some((host, _)) = hosts.iter().find(|(host, _)| host.is_empty() || host.contains([':', '='])) {
            self.session.report(Fault::new(node.at, format!("`{host}` in `{path}` is no name of a host")));
        }
        let bare = |address: &str| match address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
            Some(inner) if !inner.is_empty() => inner.to_owned(),
            _ => address.to_owned(),
        };
        let mut lines: Vec<String> = hosts.iter().map(|(host, address)| format!("{host}={}", bare(address))).collect();
        lines.sort();
        let has_names = node.as_map().is_some_and(|map| !map.is_empty());
        (has_names || !lines.is_empty()).then(|| Json::from(lines))
    }

    fn measured(&self, node: &Node, kind: Kind, path: Path<'_>) -> Option<Json> {
        let text = || node.value.to_text();
        match kind {
            Kind::Number => match number(&node.value) {
                Some(value) => (value != 0.0).then(|| json_number(f64::from(value), Some(value))),
                None => self.refuse(node, path, "a number"),
            },
            Kind::Bytes | Kind::BytesTitled => {
                let size = match &node.value {
                    Value::Text(text) => measure::bytes(text),
                    Value::Int(size) => Some(*size),
                    _ => Some(0),
                };
                let Some(size) = size else { return self.refuse(node, path, "a size like `64m` or `1g`") };
                (size != 0 || matches!(kind, Kind::BytesTitled)).then(|| Json::String(size.to_string()))
            }
            Kind::Duration | Kind::OptionalDuration => match measure::nanoseconds(&text()) {
                Some(span) => (span != 0 || matches!(kind, Kind::OptionalDuration)).then(|| Json::String(measure::duration_text(span))),
                None => self.refuse(node, path, "a duration like `10s` or `1m30s`"),
            },
            Kind::Mode => {
                let mode = match &node.value {
                    Value::Text(text) => i64::from_str_radix(text, 8).ok(),
                    Value::Int(mode) => Some(*mode),
                    _ => None,
                };
                mode.map_or_else(|| self.refuse(node, path, "a file mode like `0440`"), |mode| Some(Json::String(octal(mode))))
            }
            Kind::DeviceCount if text().eq_ignore_ascii_case("all") => Some(Json::from(-1)),
            _ => self.whole(node, kind, path),
        }
    }

    fn whole(&self, node: &Node, kind: Kind, path: Path<'_>) -> Option<Json> {
        let value = match &node.value {
            Value::Int(value) => Some(*value),
            Value::Float(_) if matches!(kind, Kind::DeviceCount) => None,
            // A fraction is dropped; what is far too large is no whole number.
            Value::Float(value) => Some(*value as i64).filter(|_| value.abs() < 9e18),
            Value::Text(_) if matches!(kind, Kind::PlainCount | Kind::PlainCountTitled) => None,
            Value::Text(text) => text.parse().ok(),
            _ => None,
        };
        let wants_positive = matches!(kind, Kind::Count | Kind::OptionalCount | Kind::PlainCount | Kind::PlainCountTitled);
        let Some(value) = value.filter(|value| !wants_positive || *value >= 0) else {
            return self.refuse(node, path, if wants_positive { "a whole number of 0 or more" } else { "a whole number" });
        };
        let zero_counts = matches!(kind, Kind::OptionalWhole | Kind::OptionalCount | Kind::WholeAlways | Kind::PlainCountTitled);
        (value != 0 || zero_counts).then(|| Json::from(value))
    }
}

/// The mode in octal with a zero before it.
fn octal(mode: i64) -> String {
    let sign = if mode < 0 { "-" } else { "" };
    format!("0{sign}{:o}", mode.unsigned_abs())
}

fn number(value: &Value) -> Option<f32> {
    match value {
        Value::Int(value) => Some(*value as f32),
        Value::Float(value) => Some(*value as f32),
        Value::Text(text) => scalar::go_float(text).map(|value| value as f32),
        _ => None,
    }
}

/// A number as JSON has it: whole ones without a point, narrow ones with no more digits than they have.
fn json_number(value: f64, narrow: Option<f32>) -> Json {
    let value = narrow.and_then(|narrow| narrow.to_string().parse().ok()).unwrap_or(value);
    if value.fract() == 0.0 && value.abs() < 9e15 {
        return Json::from(value as i64);
    }
    Number::from_f64(value).map_or_else(|| Json::String(scalar::float_text(value)), Json::Number)
}

/// A value of no known meaning, but for the lists without items: docker compose prints `null` for one in JSON.
pub(super) fn free(node: &Node, notation: Notation) -> Json {
    let mut value = plain(node);
    if notation == Notation::Json {
        empty_lists_to_null(&mut value);
    }
    value
}

fn empty_lists_to_null(value: &mut Json) {
    match value {
        Json::Array(items) if items.is_empty() => *value = Json::Null,
        Json::Array(items) => items.iter_mut().for_each(empty_lists_to_null),
        Json::Object(map) => map.values_mut().for_each(empty_lists_to_null),
        _ => {}
    }
}

/// A value of no known meaning, as it is.
fn plain(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::from(*value),
        Value::Float(value) => json_number(*value, None),
        Value::Text(text) => Json::from(&**text),
        Value::Date(text) => Json::from(scalar::moment(text)),
        Value::List(items) => Json::Array(items.iter().map(plain).collect()),
        Value::Map(map) => Json::Object(map.iter().map(|(key, entry)| (key.to_string(), plain(&entry.node))).collect()),
    }
}
