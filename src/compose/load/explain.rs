//! `config --explain`: where the values of one variable come from, what its expressions become, which services have it.

use std::cell::RefCell;
use std::path::Path;

use crate::failure::Failure;
use crate::failure::Result;

use super::Leave;
use super::Sources;
use super::Surroundings;
use super::dotenv;
use super::environment::Environment;
use super::node::Map;
use super::node::Node;
use super::node::Span;
use super::session::Session;
use super::template;
use super::template::Variables;
use super::text_file;

/// One value that a variable could have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// `shell environment`, `--env-file`, `default`.
    pub kind: &'static str,
    /// `.env:3`, `compose.yaml:4:18`; nothing outside of files.
    pub place: String,
    pub value: String,
}

/// One expression that names a variable, and what it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// `compose.yaml:4:18`
    pub place: String,
    /// `${TAG:-8}`
    pub expression: String,
    /// Nothing if the variable is not set and must be.
    pub value: Option<String>,
}

/// What gives a service the variable, in its container or while its image is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    pub service: String,
    /// `environment`, `env_file`, `build.args`.
    pub by: &'static str,
    /// `compose.yaml:6:19`, `web.env:1`
    pub place: String,
    /// Nothing if only the name is given and it is not set.
    pub value: Option<String>,
}

/// All that is known of a variable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explained {
    /// The winner first.
    pub sources: Vec<Source>,
    /// In the order of the files.
    pub uses: Vec<Use>,
    /// By service; of a container's the winner first.
    pub given: Vec<Given>,
}

/// What a loading notes of one variable.
pub(super) struct Trace {
    name: String,
    sources: RefCell<Vec<Source>>,
    uses: RefCell<Vec<(Span, Use, Option<String>)>>,
}

/// Says where the values of a variable come from. A project that cannot be loaded is explained as far as it goes.
///
/// # Errors
/// Nothing sets the variable and nothing names it; then also what is wrong with the project.
pub fn explain_in(surroundings: &Surroundings, sources: &Sources, name: &str) -> Result<Explained> {
    let mut session = Session::new(surroundings);
    session.trace = Some(Trace { name: name.to_owned(), sources: RefCell::default(), uses: RefCell::default() });
    let leave = Leave { consistency: true, ..Leave::default() };
    let loaded = super::load_tree(&session, (sources, leave), &mut String::new());
    let mut explained = session.trace.as_ref().map(Trace::explained).unwrap_or_default();
    if let Some((tree, setting)) = &loaded {
        explained.given = given(&session, tree, (&setting.environment, name));
    }
    if !explained.sources.is_empty() || !explained.uses.is_empty() || !explained.given.is_empty() {
        return Ok(explained);
    }
    let what = format!("cannot explain `{name}`");
    let unknown =
        || Failure::new(&what).because("it is not set, and no file names it").hint("`config --variables` lists those that files name");
    Err(session.failure(&what).unwrap_or_else(unknown))
}

/// What gives the services of a project the variable.
fn given(session: &Session<'_>, tree: &Map, (environment, name): (&Environment, &str)) -> Vec<Given> {
    let mut found = Vec::new();
    for (service, entry) in tree.get("services").and_then(Node::as_map).into_iter().flat_map(Map::iter) {
        let Some(attributes) = entry.node.as_map() else { continue };
        let mut add = |by, place, value| found.push(Given { service: service.to_string(), by, place, value });
        let at = |at: Span| format!("{}:{}:{}", session.file(at), at.line, at.column);
        if let Some((place, value)) = attributes.get("environment").and_then(|variables| entry_of(variables, name)) {
            add("environment", at(place), value);
        }
        let files = attributes.get("env_file").and_then(Node::as_list).unwrap_or_default();
        // The last file wins.
        for path in files.iter().rev().filter_map(|file| file.as_map()?.text("path")) {
            let Ok(text) = text_file::read(Path::new(path)) else { continue };
            let mut variables = Environment::new();
            let _ = dotenv::parse(&text, &mut variables, &|name| environment.get(name).cloned());
            if let (Some(line), Some(value)) = (dotenv::line_of(&text, name), variables.remove(name)) {
                add("env_file", format!("{}:{line}", session.shown(Path::new(path))), Some(value));
            }
        }
        let args = attributes.get("build").and_then(Node::as_map).and_then(|build| build.get("args"));
        if let Some((place, value)) = args.and_then(|args| entry_of(args, name)) {
            add("build.args", at(place), value);
        }
    }
    found
}

/// The entry of this name in a mapping or in a list of `name=value`.
fn entry_of(node: &Node, name: &str) -> Option<(Span, Option<String>)> {
    if let Some(entry) = node.as_map().and_then(|map| map.entry(name)) {
        return Some((entry.key_at, Some(&entry.node).filter(|node| !node.is_null()).map(|node| node.value.to_text())));
    }
    node.as_list().into_iter().flatten().rev().find_map(|item| {
        let rest = item.as_text()?.strip_prefix(name)?;
        (rest.is_empty() || rest.starts_with('=')).then(|| (item.at, rest.strip_prefix('=').map(str::to_owned)))
    })
}

impl Trace {
    /// Notes what the variable is in the process, if it is.
    pub(super) fn shell(&self, environment: &Environment) {
        if let Some(value) = environment.get(&self.name) {
            self.source(Source { kind: "shell environment", place: String::new(), value: value.clone() });
        }
    }

    /// Notes the name of the project, which one variable always has.
    pub(super) fn project(&self, (variable, value): (&str, &str)) {
        if variable == self.name {
            let source = Source { kind: "name of the project", place: String::new(), value: value.to_owned() };
            self.sources.borrow_mut().insert(0, source);
        }
    }

    /// Notes what files of variables say that are read together: the last one wins.
    pub(super) fn files(&self, kind: &'static str, said: Vec<(String, String)>) {
        said.into_iter().rev().for_each(|(place, value)| self.source(Source { kind, place, value }));
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn source(&self, source: Source) {
        let mut sources = self.sources.borrow_mut();
        if !sources.iter().any(|known| (known.kind, &known.place) == (source.kind, &source.place)) {
            sources.push(source);
        }
    }

    /// Notes the expressions of a text that name the variable.
    pub(super) fn text(&self, session: &Session<'_>, (start, text): (Span, &str), environment: &Environment) {
        let known = Known(environment);
        let expressions = template::expressions(text, &self.name);
        if expressions.is_empty() {
            return;
        }
        let places = session.places(start, |raw| template::expressions(raw, &self.name).into_iter().map(|(place, _)| place).collect());
        for (index, (_, expression)) in expressions.into_iter().enumerate() {
            let at = places.get(index).copied().unwrap_or(start);
            let value = template::substitute(expression, &known).ok();
            let mut named = Vec::new();
            template::variables_of(expression, &mut named);
            let default = named.into_iter().next().map(|variable| variable.default).filter(|default| !default.is_empty());
            let default = default.and_then(|default| template::substitute(&default, &known).ok());
            self.used((at, expression, value), default, session);
        }
    }

    /// Notes that an attribute takes the variable over by its name alone.
    pub(super) fn taken(&self, session: &Session<'_>, (at, name): (Span, &str), environment: &Environment) {
        if name == self.name {
            self.used((at, name, environment.get(name).cloned()), None, session);
        }
    }

    fn used(&self, (at, expression, value): (Span, &str, Option<String>), default: Option<String>, session: &Session<'_>) {
        let place = format!("{}:{}:{}", session.file(at), at.line, at.column);
        let found = (at, Use { place, expression: expression.to_owned(), value }, default);
        let mut uses = self.uses.borrow_mut();
        if !uses.contains(&found) {
            uses.push(found);
        }
    }

    fn explained(&self) -> Explained {
        let mut sources = self.sources.borrow().clone();
        let mut uses = self.uses.borrow().clone();
        uses.sort_by_key(|(at, ..)| *at);
        for (_, used, default) in &uses {
            let Some(value) = default.clone() else { continue };
            let default = Source { kind: "default", place: used.place.clone(), value };
            if !sources.contains(&default) {
                sources.push(default);
            }
        }
        Explained { sources, uses: uses.into_iter().map(|(_, used, _)| used).collect(), given: Vec::new() }
    }
}

/// Variables of which nobody is told that they are not set.
struct Known<'e>(&'e Environment);

impl Variables for Known<'_> {
    fn value(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }
}
