//! The tree that every phase of loading works on: YAML values, each with its place in the user's file.

use std::cmp::Ordering;
use std::fmt::{self, Display};
use std::rc::Rc;
use std::vec;

/// Where a value stands: a file of the session and a place in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Span {
    /// Index into the session's texts.
    pub file: u32,
    /// Counted from 1; 0 for a value that no file holds.
    pub line: u32,
    /// In characters, counted from 1.
    pub column: u32,
    /// How many characters to underline.
    pub width: u32,
}

/// What a tag asks of merging.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Mark {
    #[default]
    Plain,
    /// `!reset`: the value of earlier files goes, this one does not come.
    Reset,
    /// `!override`: this value replaces that of earlier files whole.
    Override,
}

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub value: Value,
    pub at: Span,
    pub(super) mark: Mark,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Shared, so that an alias of a long text costs nothing.
    Text(Rc<str>),
    /// A date or moment without quotes, which no attribute takes.
    Date(Rc<str>),
    List(Vec<Node>),
    Map(Map),
}

/// A mapping, sorted by key: what is printed must not depend on the order of the file.
///
/// A list, for nearly all mappings are small and are made once. Many entries are added by [`Map::joined`], not one by one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Map(Vec<(Rc<str>, Entry)>);

/// A key's place and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub key_at: Span,
    pub node: Node,
}

impl Node {
    pub(super) fn new(value: Value, at: Span) -> Node {
        Node { value, at, mark: Mark::Plain }
    }

    pub(super) fn text(text: impl Into<Rc<str>>, at: Span) -> Node {
        Node::new(Value::Text(text.into()), at)
    }

    pub(super) fn bool(value: bool, at: Span) -> Node {
        Node::new(Value::Bool(value), at)
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(super) fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn as_list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn as_list_mut(&mut self) -> Option<&mut Vec<Node>> {
        match &mut self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// Whether both hold the same, wherever they stand.
    pub(super) fn same(&self, other: &Node) -> bool {
        match (&self.value, &other.value) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(one), Value::Bool(two)) => one == two,
            (Value::Int(one), Value::Int(two)) => one == two,
            (Value::Float(one), Value::Float(two)) => one == two,
            (Value::Text(one), Value::Text(two)) | (Value::Date(one), Value::Date(two)) => one == two,
            (Value::List(one), Value::List(two)) => one.len() == two.len() && one.iter().zip(two).all(|(a, b)| a.same(b)),
            (Value::Map(one), Value::Map(two)) => one.same(two),
            _ => false,
        }
    }
}

impl Value {
    /// What [`Display`] writes; a text is copied without looking for what could be formatted in it.
    pub(super) fn to_text(&self) -> String {
        match self {
            Value::Text(text) => String::from(&**text),
            other => other.to_string(),
        }
    }

    /// What a person calls this kind of value.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::Date(_) => "a date",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// The scalar as docker compose writes it where it needs text.
impl Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => write!(f, "<nil>"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => f.write_str(&super::scalar::float_text(*value)),
            Value::Text(text) => f.write_str(text),
            Value::Date(text) => f.write_str(&super::scalar::moment(text).replace("T00:00:00Z", " 00:00:00 +0000 UTC")),
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(|item| item.value.to_string()).collect();
                write!(f, "[{}]", items.join(" "))
            }
            Value::Map(map) => {
                let entries: Vec<String> = map.iter().map(|(key, entry)| format!("{key}:{}", entry.node.value)).collect();
                write!(f, "map[{}]", entries.join(" "))
            }
        }
    }
}

impl Map {
    pub(super) fn new() -> Map {
        Map::default()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where the entry of `key` is, or where it would be.
    fn place(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(key))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        let place = self.place(key).ok()?;
        Some(&mut self.0[place].1.node)
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.place(key).ok().map(|place| &self.0[place].1)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.place(key).is_ok()
    }

    /// The text under `key`, if it is text.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Node::as_text)
    }

    /// Puts a value whose key stands nowhere in particular; its place stands for both.
    pub(super) fn put(&mut self, key: impl Into<Rc<str>>, node: Node) {
        let key = key.into();
        match self.place(&key) {
            Ok(place) => self.0[place].1.node = node,
            Err(place) => self.0.insert(place, (key, Entry { key_at: node.at, node })),
        }
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Entry> {
        let place = self.place(key).ok()?;
        Some(self.0.remove(place).1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Rc<str>, &Entry)> + Clone {
        self.0.iter().map(|(key, entry)| (key, entry))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Rc<str>, &mut Entry)> {
        self.0.iter_mut().map(|(key, entry)| (&*key, entry))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Rc<str>> {
        self.0.iter().map(|(key, _)| key)
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Rc<str>, &mut Entry) -> bool) {
        self.0.retain_mut(|(key, entry)| keep(key, entry));
    }

    /// All entries of both; `both` makes one of two that have the same key.
    pub(super) fn joined(self, other: Map, mut both: impl FnMut(&Rc<str>, Entry, Entry) -> Entry) -> Map {
        let mut all = Vec::with_capacity(self.len() + other.len());
        let (mut ours, mut theirs) = (self.0.into_iter().peekable(), other.0.into_iter().peekable());
        while let (Some((one, _)), Some((two, _))) = (ours.peek(), theirs.peek()) {
            match one.cmp(two) {
                Ordering::Less => all.extend(ours.next()),
                Ordering::Greater => all.extend(theirs.next()),
                Ordering::Equal => {
                    let pair = ours.next().zip(theirs.next());
                    all.extend(pair.map(|((key, one), (_, two))| (key.clone(), both(&key, one, two))));
                }
            }
        }
        all.extend(ours);
        all.extend(theirs);
        Map(all)
    }

    /// A mapping of these entries; `twice` is given the first and the second one of the same key, of which the second stays.
    pub(super) fn of(mut entries: Vec<(Rc<str>, Entry)>, mut twice: impl FnMut(&str, &Entry, &Entry)) -> Map {
        if !entries.is_sorted_by(|one, two| one.0 < two.0) {
            entries.sort_by(|one, two| one.0.cmp(&two.0));
            entries.dedup_by(|later, kept| {
                let same = later.0 == kept.0;
                if same {
                    twice(&later.0, &kept.1, &later.1);
                    std::mem::swap(&mut later.1, &mut kept.1);
                }
                same
            });
        }
        Map(entries)
    }

    fn same(&self, other: &Map) -> bool {
        self.len() == other.len()
            && self.0.iter().zip(&other.0).all(|((key, one), (other_key, two))| key == other_key && one.node.same(&two.node))
    }
}

impl IntoIterator for Map {
    type Item = (Rc<str>, Entry);
    type IntoIter = vec::IntoIter<(Rc<str>, Entry)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl FromIterator<(Rc<str>, Entry)> for Map {
    fn from_iter<I: IntoIterator<Item = (Rc<str>, Entry)>>(entries: I) -> Map {
        Map::of(entries.into_iter().collect(), |_, _, _| {})
    }
}

/// The keys that lead to a value, kept on the stack while a phase walks the tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'a> {
    up: Option<&'a Path<'a>>,
    name: &'a str,
    index: usize,
}

/// How an item of a list is called in a path and in a pattern.
pub(super) const ITEM: &str = "[]";

impl<'a> Path<'a> {
    /// The whole document.
    pub(super) const ROOT: Path<'static> = Path { up: None, name: "", index: 0 };

    pub(super) fn key(&'a self, name: &'a str) -> Path<'a> {
        Path { up: Some(self), name, index: 0 }
    }

    pub(super) fn item(&'a self, index: usize) -> Path<'a> {
        Path { up: Some(self), name: ITEM, index }
    }

    /// The last name.
    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    /// Whether the path has these names, given from the last one up; `*` stands for any one.
    pub(super) fn matches(&self, names: &[&str]) -> bool {
        let mut here = self;
        for name in names {
            let Some(up) = here.up else { return false };
            if *name != "*" && *name != here.name {
                return false;
            }
            here = up;
        }
        here.up.is_none()
    }

    /// Whether the path has these names, from the top down.
    pub(super) fn is(&self, names: &[String]) -> bool {
        match (self.up, names.split_last()) {
            (None, None) => true,
            (Some(up), Some((last, rest))) => self.name == last && up.is(rest),
            _ => false,
        }
    }

    /// The names from the top down.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names = self.up.map(Path::names).unwrap_or_default();
        if self.up.is_some() {
            names.push(self.name.to_owned());
        }
        names
    }
}

impl Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(up) = self.up else { return Ok(()) };
        up.fmt(f)?;
        match (self.name, up.up) {
            (ITEM, _) => write!(f, "[{}]", self.index),
            (name, None) => write!(f, "{name}"),
            (name, Some(_)) => write!(f, ".{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_joined_in_order() {
        let at = |line| Span { line, ..Span::default() };
        let entry = |key: &str, line| (Rc::from(key), Entry { key_at: at(line), node: Node::text(key, at(line)) });
        let map = |keys: &[&str], line| -> Map { keys.iter().map(|key| entry(key, line)).collect() };
        let mut joined = map(&["c", "a", "e"], 1).joined(map(&["b", "c", "d", "c"], 2), |_, one, _| one);
        let lines: Vec<_> = joined.iter().map(|(key, entry)| (&**key, entry.key_at.line)).collect();
        assert_eq!(lines, [("a", 1), ("b", 2), ("c", 1), ("d", 2), ("e", 1)]);
        joined.put("bb", Node::text("x", at(3)));
        assert_eq!(joined.keys().map(|key| &**key).collect::<Vec<_>>(), ["a", "b", "bb", "c", "d", "e"]);
        assert!(joined.remove("b").is_some() && !joined.has("b") && joined.text("bb") == Some("x"));
    }

    #[test]
    fn a_path_matches_names_of_the_same_depth_only() {
        let services = Path::ROOT.key("services");
        let web = services.key("web");
        let ports = web.key("ports");
        let first = ports.item(0);
        assert!(first.matches(&["[]", "ports", "*", "services"]));
        assert!(first.matches(&["*", "ports", "*", "services"]));
        assert!(!first.matches(&["ports", "*", "services"]));
        assert!(!ports.matches(&["*", "ports", "*", "services"]));
        assert!(!ports.matches(&["ports"]));
        assert_eq!(first.to_string(), "services.web.ports[0]");
    }
}
