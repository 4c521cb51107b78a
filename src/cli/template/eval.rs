//! Nodes and a value to text.

use std::cmp::Ordering;

use serde_json::Value;

use super::Node;
use super::Pipe;
use super::Range;
use super::Term;

type Reason = String;

/// A value, or the absence of one, which prints differently from null.
type Maybe = Option<Value>;

struct Scope<'a> {
    dot: Value,
    root: &'a Value,
    variables: Vec<(String, Value)>,
}

pub(super) fn text(nodes: &[Node], dot: &Value) -> Result<String, Reason> {
    let mut scope = Scope { dot: dot.clone(), root: dot, variables: Vec::new() };
    let mut out = String::new();
    scope.nodes(nodes, &mut out)?;
    Ok(out)
}

impl Scope<'_> {
    fn nodes(&mut self, nodes: &[Node], out: &mut String) -> Result<(), Reason> {
        let depth = self.variables.len();
        for node in nodes {
            self.node(node, out)?;
        }
        self.variables.truncate(depth);
        Ok(())
    }

    fn node(&mut self, node: &Node, out: &mut String) -> Result<(), Reason> {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Print(pipe) => {
                let value = self.pipe(pipe)?.filter(|value| !value.is_null() || empty(pipe).is_none());
                out.push_str(&value.as_ref().map_or_else(|| empty(pipe).unwrap_or("<no value>").to_owned(), shown));
            }
            Node::Set(name, pipe) => {
                let value = self.pipe(pipe)?.unwrap_or(Value::Null);
                self.variables.push((name.clone(), value));
            }
            Node::If(pipe, then, otherwise) => {
                let chosen = if self.pipe(pipe)?.is_some_and(|value| is_true(&value)) { then } else { otherwise };
                self.nodes(chosen, out)?;
            }
            Node::With(pipe, then, otherwise) => match self.pipe(pipe)?.filter(is_true) {
                Some(value) => self.with_dot(value, then, out)?,
                None => self.nodes(otherwise, out)?,
            },
            Node::Range(range, body, otherwise) => self.range(range, (body, otherwise), out)?,
        }
        Ok(())
    }

    fn with_dot(&mut self, dot: Value, nodes: &[Node], out: &mut String) -> Result<(), Reason> {
        let before = std::mem::replace(&mut self.dot, dot);
        let outcome = self.nodes(nodes, out);
        self.dot = before;
        outcome
    }

    fn range(&mut self, range: &Range, (body, otherwise): (&[Node], &[Node]), out: &mut String) -> Result<(), Reason> {
        let pairs = pairs(self.pipe(&range.over)?)?;
        if pairs.is_empty() {
            return self.nodes(otherwise, out);
        }
        for (key, value) in pairs {
            let depth = self.variables.len();
            self.variables.extend(range.key.iter().map(|name| (name.clone(), key.clone())));
            self.variables.extend(range.value.iter().map(|name| (name.clone(), value.clone())));
            self.with_dot(value, body, out)?;
            self.variables.truncate(depth);
        }
        Ok(())
    }

    fn pipe(&mut self, pipe: &Pipe) -> Result<Maybe, Reason> {
        let mut result: Option<Maybe> = None;
        for command in pipe {
            let before = result.take();
            result = Some(self.command(command, before)?);
        }
        Ok(result.flatten())
    }

    fn command(&mut self, command: &[Term], before: Option<Maybe>) -> Result<Maybe, Reason> {
        let (first, rest) = command.split_first().ok_or("missing value for command")?;
        let mut arguments = Vec::new();
        for term in rest {
            arguments.push(self.term(term)?);
        }
        arguments.extend(before);
        match first {
            Term::Word(name) => call(name, &arguments),
            // `.Label "x"` and `.Foo "x"`: a lookup in the map of that name, as Docker's method does.
            Term::Field(path) if path.last().is_some_and(|name| name == "Label") && arguments.len() == 1 => {
                let labels = self.dot.get("Labels").cloned();
                Ok(Some(label(labels.as_ref(), &shown_or_none(arguments[0].as_ref()))))
            }
            other if arguments.is_empty() => self.term(other),
            _ => Err("can't give argument to non-function".into()),
        }
    }

    fn term(&mut self, term: &Term) -> Result<Maybe, Reason> {
        match term {
            Term::Field(path) => Ok(walk(Some(self.dot.clone()), path)),
            Term::Variable(name, path) if name.is_empty() => Ok(walk(Some(self.root.clone()), path)),
            Term::Variable(name, path) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                let value = found.map(|(_, value)| value.clone()).ok_or_else(|| format!("undefined variable \"${name}\""))?;
                Ok(walk(Some(value), path))
            }
            Term::Constant(value) => Ok(Some(value.clone())),
            Term::Word(name) => call(name, &[]),
            Term::Group(pipe, path) => self.pipe(pipe).map(|value| walk(value, path)),
        }
    }
}

fn walk(start: Maybe, path: &[String]) -> Maybe {
    path.iter().fold(start, |value, name| value.and_then(|value| named(&value, name)))
}

/// The field of that name: Go calls `MediaType` what is `mediaType` in JSON.
fn named(value: &Value, name: &str) -> Maybe {
    let map = value.as_object()?;
    let alike = |key: &str| key.starts_with(|first: char| first.is_ascii_lowercase()) && key.replace('_', "").eq_ignore_ascii_case(name);
    let by_case = || map.iter().find(|(key, _)| name.starts_with(|first: char| first.is_ascii_uppercase()) && alike(key));
    map.get(name).or_else(|| by_case().map(|(_, value)| value)).cloned()
}

/// One label of a map, or of Docker's `a=b,c=d`.
fn label(labels: Option<&Value>, name: &str) -> Value {
    let found = match labels {
        Some(Value::Object(map)) => map.get(name).cloned(),
        Some(Value::String(text)) => {
            let mut pairs = text.split(',').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value.into())
        }
        _ => None,
    };
    found.unwrap_or_else(|| "".into())
}

fn pairs(value: Maybe) -> Result<Vec<(Value, Value)>, Reason> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => Ok(list.into_iter().enumerate().map(|(at, value)| (at.into(), value)).collect()),
        Some(Value::Object(map)) => {
            let mut pairs: Vec<_> = map.into_iter().collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            Ok(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect())
        }
        Some(other) => Err(format!("range can't iterate over {}", shown(&other))),
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// How Go prints a field of an image or a container that nothing is said of, where it has a type that is not a pointer.
fn empty(pipe: &Pipe) -> Option<&'static str> {
    let [command] = &pipe[..] else { return None };
    let [Term::Field(path)] = &command[..] else { return None };
    match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [.., "Config", "Cmd" | "Entrypoint" | "Env" | "OnBuild" | "Shell"] => Some("[]"),
        [.., "Config", "ExposedPorts" | "Labels" | "Volumes"] => Some("map[]"),
        [.., "Config", "StopSignal" | "User" | "WorkingDir"] | ["OsVersion" | "Variant"] => Some(""),
        _ => None,
    }
}

fn shown_or_none(value: Option<&Value>) -> String {
    value.map_or_else(|| "<no value>".to_owned(), shown)
}

/// As Go's `fmt.Print` shows a value.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().map(|(key, value)| format!("{key}:{}", shown(value))).collect();
            pairs.sort();
            format!("map[{}]", pairs.join(" "))
        }
    }
}

fn call(name: &str, arguments: &[Maybe]) -> Result<Maybe, Reason> {
    let value = |at: usize| arguments.get(at).cloned().flatten().unwrap_or(Value::Null);
    let text = |at: usize| shown_or_none(arguments.get(at).and_then(Option::as_ref));
    let truth = |at: usize| is_true(&value(at));
    let result = match name {
        "json" => serde_json::to_string(&value(0)).map_err(|error| error.to_string())?.into(),
        "upper" => text(0).to_uppercase().into(),
        "lower" => text(0).to_lowercase().into(),
        "title" => title(&text(0)).into(),
        "join" => joined(&value(0), &text(1)).into(),
        "pad" => padded(&text(0), number(&value(1))?, number(&value(2))?).into(),
        "split" => text(0).split(&text(1)).map(str::to_owned).collect::<Vec<_>>().into(),
        "truncate" => text(0).chars().take(number(&value(1))?).collect::<String>().into(),
        "print" => arguments.iter().map(|one| shown_or_none(one.as_ref())).collect::<String>().into(),
        "println" => format!("{}\n", arguments.iter().map(|one| shown_or_none(one.as_ref())).collect::<Vec<_>>().join(" ")).into(),
        "printf" => printf(&text(0), &arguments[1.min(arguments.len())..]).into(),
        "len" => length(&value(0))?.into(),
        "index" => return index(value(0), &arguments[1.min(arguments.len())..]),
        "slice" => sliced(&value(0), &arguments[1.min(arguments.len())..])?,
        "not" => (!truth(0)).into(),
        "and" => chosen(arguments, |one| !is_true(one)),
        "or" => chosen(arguments, is_true),
        "eq" => (1..arguments.len()).any(|at| value(0) == value(at)).into(),
        "ne" => (value(0) != value(1)).into(),
        "lt" => (order(&value(0), &value(1)) == Ordering::Less).into(),
        "le" => (order(&value(0), &value(1)) != Ordering::Greater).into(),
        "gt" => (order(&value(0), &value(1)) == Ordering::Greater).into(),
        "ge" => (order(&value(0), &value(1)) != Ordering::Less).into(),
        _ => return Err(format!("function {name:?} not defined")),
    };
    Ok(Some(result))
}

/// The first argument that is wanted, else the last.
fn chosen(arguments: &[Maybe], wanted: impl Fn(&Value) -> bool) -> Value {
    let mut values = arguments.iter().map(|one| one.clone().unwrap_or(Value::Null));
    values.clone().find(wanted).or_else(|| values.next_back()).unwrap_or(Value::Null)
}

/// Go's `strings.Title`: what follows neither letter nor digit is made large.
fn title(text: &str) -> String {
    let mut before = ' ';
    let large = |letter: char| {
        let begins = !before.is_alphanumeric() && before != '_';
        before = letter;
        if begins { letter.to_uppercase().collect::<String>() } else { letter.to_string() }
    };
    text.chars().map(large).collect()
}

/// Docker's `pad`: blanks before and behind, if there is a text.
fn padded(text: &str, before: usize, behind: usize) -> String {
    const MOST: usize = 4096;
    if text.is_empty() { String::new() } else { format!("{}{text}{}", " ".repeat(before.min(MOST)), " ".repeat(behind.min(MOST))) }
}

fn joined(list: &Value, between: &str) -> String {
    let texts = list.as_array().map(|list| list.iter().map(shown).collect::<Vec<_>>());
    texts.map_or_else(|| shown(list), |texts| texts.join(between))
}

fn number(value: &Value) -> Result<usize, Reason> {
    let number = value.as_u64().ok_or_else(|| format!("{} is no index", shown(value)))?;
    usize::try_from(number).map_err(|_| "index out of range".to_owned())
}

fn length(value: &Value) -> Result<usize, Reason> {
    match value {
        Value::Null => Ok(0),
        Value::String(text) => Ok(text.len()),
        Value::Array(list) => Ok(list.len()),
        Value::Object(map) => Ok(map.len()),
        other => Err(format!("len of {}", shown(other))),
    }
}

fn index(start: Value, keys: &[Maybe]) -> Result<Maybe, Reason> {
    let mut value = Some(start);
    for key in keys {
        let key = key.clone().unwrap_or(Value::Null);
        value = match value {
            Some(Value::Array(list)) => {
                let at = number(&key)?;
                Some(list.get(at).cloned().ok_or_else(|| format!("index out of range: {at}"))?)
            }
            Some(Value::Object(map)) => map.get(&shown(&key)).cloned(),
            other => return Err(format!("can't index {}", shown_or_none(other.as_ref()))),
        };
    }
    Ok(value)
}

fn sliced(value: &Value, bounds: &[Maybe]) -> Result<Value, Reason> {
    let bound = |at: usize, otherwise: usize| match bounds.get(at).and_then(Option::as_ref) {
        Some(value) => number(value),
        None => Ok(otherwise),
    };
    let whole = length(value)?;
    let (start, end) = (bound(0, 0)?, bound(1, whole)?);
    if start > end || end > whole {
        return Err(format!("slice bounds out of range: {start}:{end}"));
    }
    match value {
        Value::Array(list) => Ok(list[start..end].to_vec().into()),
        other => shown(other).get(start..end).map(Value::from).ok_or_else(|| "slice cuts a character".to_owned()),
    }
}

fn order(a: &Value, b: &Value) -> Ordering {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        _ => shown(a).cmp(&shown(b)),
    }
}

/// Go's `printf`, for `%s`, `%v`, `%d`, `%q` and `%%`.
fn printf(format: &str, arguments: &[Maybe]) -> String {
    let mut out = String::new();
    let mut next = arguments.iter();
    let mut chars = format.chars();
    while let Some(char) = chars.next() {
        if char != '%' {
            out.push(char);
            continue;
        }
        match chars.find(|char| !matches!(char, '0'..='9' | '-' | '+' | '.' | '#' | ' ')) {
            Some('%') | None => out.push('%'),
            Some('q') => out.push_str(&format!("{:?}", shown_or_none(next.next().and_then(Option::as_ref)))),
            Some(_) => out.push_str(&shown_or_none(next.next().and_then(Option::as_ref))),
        }
    }
    out
}
