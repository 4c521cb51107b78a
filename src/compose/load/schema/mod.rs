//! Whether a project is one by the Compose Specification: keys, types and words. Finds all faults, not the first.

mod data;
pub(super) mod nearest;
mod service;

use std::collections::HashSet;

use super::node::Map;
use super::node::Node;
use super::node::Path;
use super::node::Value;
use super::scalar;
use super::session::Fault;
use super::session::Session;

/// What a value may be.
enum Rule {
    Scalar(&'static [Type]),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Text of a form.
    Like(fn(&str) -> Result<(), &'static str>),
    /// A whole number from the first to the second.
    Range(i64, i64),
    List(&'static Rule, Repeats),
    Mapping(Mapping),
    OneOf(&'static [&'static Rule]),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Text,
    Whole,
    Number,
    Boolean,
    Nothing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeats {
    Allowed,
    Refused,
}

/// A mapping with known keys, free ones, or both.
struct Mapping {
    keys: &'static [(&'static str, &'static Rule)],
    required: &'static [&'static str],
    others: Others,
    extensions: Extensions,
}

/// What keys that are not named may hold.
#[derive(Clone, Copy)]
enum Others {
    Refused,
    Ignored,
    Each(&'static Rule),
    /// Keys of letters, digits, `.`, `_` and `-` only.
    Named(&'static Rule),
    /// As `Named`, but other keys are not looked at.
    NamedOrAny(&'static Rule),
    /// As `NamedOrAny`, but keys of lower-case letters only.
    LettersOrAny(&'static Rule),
}

/// Whether `x-` keys are welcome.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extensions {
    Allowed,
    Refused,
}

fn is_container_name(text: &str) -> Result<(), &'static str> {
    let follows = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let good = text.as_bytes().windows(2).any(|pair| pair[0].is_ascii_alphanumeric() && follows(pair[1]));
    if good { Ok(()) } else { Err("a name of at least two letters, digits, `_`, `.` or `-`, a letter or digit first") }
}

fn is_pull_policy(text: &str) -> Result<(), &'static str> {
    let words = ["always", "never", "build", "if_not_present", "missing", "refresh", "daily", "weekly"];
    let every = |rest: &str| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        digits > 0 && rest.as_bytes().get(digits).is_some_and(|unit| b"wdhms".contains(unit))
    };
    let good = words.iter().any(|word| text.contains(word))
        || text.match_indices("every_").any(|(place, found)| every(&text[place + found.len()..]));
    if good { Ok(()) } else { Err("`always`, `never`, `missing`, `build`, `daily`, `weekly` or `every_<duration>`") }
}

/// The paths of all attributes that a file may have, such as `services.*.ports[].mode`; one with parts stands there by them.
#[cfg(test)]
pub(in crate::compose) fn attributes() -> std::collections::BTreeSet<String> {
    let mut found = std::collections::BTreeSet::new();
    add_parts(&data::FILE, "", &mut found);
    found
}

/// Adds the parts that a value may have; says whether there are any.
#[cfg(test)]
fn add_parts(rule: &'static Rule, path: &str, found: &mut std::collections::BTreeSet<String>) -> bool {
    match rule {
        Rule::Scalar(_) | Rule::Word(_) | Rule::Like(_) | Rule::Range(..) => false,
        Rule::OneOf(rules) => rules.iter().filter(|rule| add_parts(rule, path, found)).count() > 0,
        Rule::List(rule, _) => add_parts(rule, &format!("{path}[]"), found),
        Rule::Mapping(mapping) => {
            for (key, rule) in mapping.keys {
                let below = if path.is_empty() { (*key).to_owned() } else { format!("{path}.{key}") };
                if !add_parts(rule, &below, found) {
                    found.insert(below);
                }
            }
            let others = match mapping.others {
                Others::Each(rule) | Others::Named(rule) | Others::NamedOrAny(rule) | Others::LettersOrAny(rule) => {
                    add_parts(rule, &format!("{path}.*"), found)
                }
                Others::Refused | Others::Ignored => false,
            };
            others || !mapping.keys.is_empty()
        }
    }
}

/// Reports every fault of a project's tree.
pub(super) fn check(session: &Session<'_>, project: &Node) {
    Checker { session }.check(project, &data::FILE, Path::ROOT);
}

struct Checker<'a, 'e> {
    session: &'a Session<'e>,
}

impl Checker<'_, '_> {
    fn check(&self, node: &Node, rule: &'static Rule, path: Path<'_>) {
        let branch = branch(&node.value, rule);
        let Some(branch) = branch else { return self.refuse(node, rule, path) };
        match (branch, &node.value) {
            (Rule::Word(words), Value::Text(text)) if !words.contains(&&**text) => {
                let fault = Fault::new(node.at, format!("`{path}` cannot be `{text}`"));
                let listed = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
                let hint = nearest::nearest(text, words.iter().copied())
                    .map_or_else(|| format!("it is one of {listed}"), |word| format!("did you mean `{word}`?"));
                self.session.report(fault.hint(hint));
            }
            (Rule::Like(form), Value::Text(text)) => {
                if let Err(wanted) = form(text) {
                    self.session.report(Fault::new(node.at, format!("`{path}` cannot be `{text}`")).hint(format!("it is {wanted}")));
                }
            }
            (Rule::Range(least, _), value) if whole(value).is_some_and(|value| value < *least) => {
                self.session.report(Fault::new(node.at, format!("`{path}` must be {least} or more, not {value}")));
            }
            (Rule::Range(_, most), value) if whole(value).is_some_and(|value| value > *most) => {
                self.session.report(Fault::new(node.at, format!("`{path}` must be {most} or less, not {value}")));
            }
            (Rule::List(rule, repeats), Value::List(items)) => self.check_list(items, (*rule, *repeats), path),
            (Rule::Mapping(mapping), Value::Map(map)) => self.check_map(node, map, mapping, path),
            _ => {}
        }
    }

    fn check_list(&self, items: &[Node], (rule, repeats): (&'static Rule, Repeats), path: Path<'_>) {
        let mut seen = HashSet::new();
        let numbers: HashSet<String> =
            items.iter().filter(|item| is_of(&item.value, Type::Number)).map(|item| fingerprint(&item.value)).collect();
        for (index, item) in items.iter().enumerate() {
            self.check(item, rule, path.item(index));
            // A text that reads as a number is the same as that number, but not as another text for it.
            let is_number =
                || item.as_text().and_then(scalar::go_float).is_some_and(|text| numbers.contains(&fingerprint(&Value::Float(text))));
            if repeats == Repeats::Refused && (!seen.insert(fingerprint(&item.value)) || !numbers.is_empty() && is_number()) {
                let fault = Fault::new(item.at, format!("`{path}` holds the same value twice"));
                self.session.report(fault.hint("remove one of the two"));
            }
        }
    }

    fn check_map(&self, node: &Node, map: &Map, mapping: &'static Mapping, path: Path<'_>) {
        for (key, entry) in map.iter() {
            let here = path.key(key);
            if let Some((_, rule)) = mapping.keys.iter().find(|(name, _)| **name == **key) {
                self.check(&entry.node, rule, here);
                continue;
            }
            if mapping.extensions == Extensions::Allowed && key.starts_with("x-") {
                continue;
            }
            match mapping.others {
                Others::Each(_) if key.is_empty() => {
                    self.session.report(Fault::new(entry.key_at, format!("a key in {} is empty", place(path))));
                }
                Others::Each(rule) => self.check(&entry.node, rule, here),
                Others::Named(rule) | Others::NamedOrAny(rule) if is_name(key) => self.check(&entry.node, rule, here),
                Others::LettersOrAny(rule) if !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase()) => {
                    self.check(&entry.node, rule, here);
                }
                Others::Named(_) => self.session.report(
                    Fault::new(entry.key_at, format!("`{key}` cannot be a name in {}", place(path)))
                        .hint("use letters, digits, `.`, `_` and `-` only"),
                ),
                Others::Refused => self.session.report(unknown(key, entry.key_at, mapping, path)),
                Others::Ignored | Others::NamedOrAny(_) | Others::LettersOrAny(_) => {}
            }
        }
        for key in mapping.required {
            if !map.has(key) {
                self.session.report(Fault::new(node.at, format!("{} needs the key `{key}`", place(path))));
            }
        }
    }

    fn refuse(&self, node: &Node, rule: &'static Rule, path: Path<'_>) {
        let mut wanted = Vec::new();
        kinds(rule, &mut wanted);
        // Text is welcome there only because a variable may stand in it, unless everything is that is no list and no mapping.
        let is_free = wanted.contains(&BOOLEAN) && wanted.contains(&"a number");
        if !is_free && wanted.iter().any(|kind| matches!(*kind, BOOLEAN | "a whole number")) {
            wanted.retain(|kind| *kind != "text");
        }
        let last = wanted.pop().unwrap_or("something else");
        let list = if wanted.is_empty() { last.to_owned() } else { format!("{} or {last}", wanted.join(", ")) };
        let fault = Fault::new(node.at, format!("{} must be {list}, not {}", place(path), node.value.kind()));
        self.session.report(match &node.value {
            Value::Int(number) if list == "text" && is_duration(path.name()) => fault.hint(format!("write its unit: `{number}s`")),
            Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::Date(_) if list.contains("text") => {
                fault.hint(format!("write it in quotes: \"{}\"", node.value))
            }
            _ => fault,
        });
    }
}

/// The rule, or the one of its branches, that is about values of this kind.
fn branch(value: &Value, rule: &'static Rule) -> Option<&'static Rule> {
    let fits = match (rule, value) {
        (Rule::OneOf(rules), _) => return rules.iter().find_map(|rule| branch(value, rule)),
        (Rule::Word(_) | Rule::Like(_), Value::Text(_)) => true,
        (Rule::Range(..), value) => whole(value).is_some(),
        (Rule::List(..), Value::List(_)) | (Rule::Mapping(_), Value::Map(_)) => true,
        (Rule::Scalar(types), value) => types.iter().any(|wanted| is_of(value, *wanted)),
        _ => false,
    };
    fits.then_some(rule)
}

/// A whole number, also one that is written with a point.
fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Float(number) if number.fract() == 0.0 => Some(*number as i64),
        _ => None,
    }
}

fn is_of(value: &Value, wanted: Type) -> bool {
    match wanted {
        Type::Text => matches!(value, Value::Text(_)),
        Type::Boolean => matches!(value, Value::Bool(_)),
        Type::Nothing => matches!(value, Value::Null),
        Type::Number => matches!(value, Value::Int(_) | Value::Float(_)),
        Type::Whole => whole(value).is_some(),
    }
}

const BOOLEAN: &str = "`true` or `false`";

/// Whether the attribute is a duration.
fn is_duration(key: &str) -> bool {
    ["period", "interval", "timeout", "delay", "window", "monitor"].iter().any(|ending| key.ends_with(ending))
}

/// What a person calls the kinds of value that a rule takes.
fn kinds(rule: &'static Rule, found: &mut Vec<&'static str>) {
    let mut add = |kind| {
        if !found.contains(&kind) {
            found.push(kind);
        }
    };
    match rule {
        Rule::Word(_) | Rule::Like(_) => add("text"),
        Rule::Range(..) => add("a whole number"),
        Rule::List(..) => add("a list"),
        Rule::Mapping(_) => add("a mapping"),
        Rule::OneOf(rules) => rules.iter().for_each(|rule| kinds(rule, found)),
        Rule::Scalar(types) => types.iter().for_each(|wanted| match wanted {
            Type::Text => add("text"),
            Type::Whole => add("a whole number"),
            Type::Number => add("a number"),
            Type::Boolean => add(BOOLEAN),
            Type::Nothing => {}
        }),
    }
}

fn is_name(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn unknown(key: &str, at: super::node::Span, mapping: &'static Mapping, path: Path<'_>) -> Fault {
    let fault = Fault::new(at, format!("{} has no key `{key}`", place(path)));
    let names = mapping.keys.iter().map(|(name, _)| *name);
    match nearest::nearest(key, names) {
        Some(name) => fault.hint(format!("did you mean `{name}`?")),
        None if mapping.extensions == Extensions::Allowed => fault.hint(format!("remove it, or call it `x-{key}` to have it ignored")),
        None => fault,
    }
}

/// What a person calls the place.
fn place(path: Path<'_>) -> String {
    let names = path.names();
    match names.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => "a Compose file".to_owned(),
        ["services", name] => format!("service `{name}`"),
        ["networks", name] => format!("network `{name}`"),
        ["volumes", name] => format!("volume `{name}`"),
        ["configs", name] => format!("config `{name}`"),
        ["secrets", name] => format!("secret `{name}`"),
        _ => format!("`{path}`"),
    }
}

/// A text that two values share exactly when they are the same.
fn fingerprint(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("{text:?}"),
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 9e15 => format!("{}", *number as i64),
        Value::List(items) => format!("[{}]", items.iter().map(|item| fingerprint(&item.value)).collect::<Vec<_>>().join(",")),
        Value::Map(map) => {
            let entries = map.iter().map(|(key, entry)| format!("{key:?}:{}", fingerprint(&entry.node.value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}
