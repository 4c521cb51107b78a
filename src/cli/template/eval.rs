//! Nodes and a value to text.

use serde_json::Value;

use super::Manner;
use super::Node;
use super::Pipe;
use super::Range;
use super::Term;
use super::fields;
use super::functions::call;
use super::functions::heading;
use super::functions::is_true;
use super::functions::label;
use super::functions::shown;
use super::functions::shown_or_none;

type Reason = String;

/// A value, or the absence of one, which prints differently from null.
pub(super) type Maybe = Option<Value>;

struct Scope<'a> {
    dot: Value,
    root: &'a Value,
    variables: Vec<(String, Value)>,
    /// How many `with` and `range` are around: the dot of the outermost is the root.
    depth: usize,
    manner: Manner,
}

pub(super) fn text(nodes: &[Node], dot: &Value, manner: Manner) -> Result<String, Reason> {
    let mut scope = Scope { dot: dot.clone(), root: dot, variables: Vec::new(), depth: 0, manner };
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
                let value = self.pipe(pipe)?;
                match (&value, pipe.as_slice()) {
                    (Some(Value::Null), [command]) if self.manner == Manner::Struct => out.push_str(nothing(command)),
                    _ => out.push_str(&shown_or_none(value.as_ref())),
                }
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
        self.depth += 1;
        let outcome = self.nodes(nodes, out);
        self.depth -= 1;
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
        if let Term::Word(name) = first
            && matches!(name.as_str(), "and" | "or")
        {
            return self.chosen(name == "or", rest, before);
        }
        let mut arguments = Vec::new();
        for term in rest {
            arguments.push(self.term(term)?);
        }
        arguments.extend(before);
        match first {
            Term::Word(name) => self.call(name, &arguments),
            // `.Label "x"` and `.Foo "x"`: a lookup in the map of that name, as Docker's method does.
            Term::Field(path) if path.last().is_some_and(|name| name == "Label") && arguments.len() == 1 => {
                let name = shown_or_none(arguments[0].as_ref());
                if self.manner == Manner::Heading {
                    return Ok(Some(heading(&name).into()));
                }
                Ok(Some(label(self.dot.get("Labels"), &name)))
            }
            other if arguments.is_empty() => self.term(other),
            _ => Err("can't give argument to non-function".into()),
        }
    }

    /// The first argument that settles an `and` or an `or`, else the last; those after it are not looked at.
    fn chosen(&mut self, wanted: bool, terms: &[Term], before: Option<Maybe>) -> Result<Maybe, Reason> {
        let mut last = None;
        for term in terms {
            last = self.term(term)?;
            if last.as_ref().is_some_and(is_true) == wanted {
                return Ok(last);
            }
        }
        Ok(before.unwrap_or(last))
    }

    fn call(&self, name: &str, arguments: &[Maybe]) -> Result<Maybe, Reason> {
        match (self.manner, name) {
            // Of a heading they would make what a value is to be.
            (Manner::Heading, "json" | "title" | "lower" | "upper" | "truncate") => Ok(arguments.first().cloned().flatten()),
            _ => call(name, arguments),
        }
    }

    fn term(&mut self, term: &Term) -> Result<Maybe, Reason> {
        match term {
            Term::Field(path) if self.depth == 0 && self.manner == Manner::Struct => fields::walk(self.root, path),
            Term::Field(path) => Ok(walk(Some(self.dot.clone()), path)),
            Term::Variable(name, path) if name.is_empty() && self.manner == Manner::Struct => fields::walk(self.root, path),
            Term::Variable(name, path) if name.is_empty() => Ok(walk(Some(self.root.clone()), path)),
            Term::Variable(name, path) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                let value = found.map(|(_, value)| value.clone()).ok_or_else(|| format!("undefined variable \"${name}\""))?;
                Ok(walk(Some(value), path))
            }
            Term::Constant(value) => Ok(Some(value.clone())),
            Term::Word(name) => self.call(name, &[]),
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

/// How a null is printed that stands for an empty list or map.
fn nothing(command: &[Term]) -> &'static str {
    match command {
        [Term::Field(path) | Term::Variable(_, path)] => path.last().map_or("<nil>", |name| fields::empty_text(name)),
        _ => "<nil>",
    }
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
