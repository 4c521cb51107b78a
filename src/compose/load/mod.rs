//! Loads a project: the files the person wrote -> the project in normal form.
//!
//! The phases, in the order in which a file goes through them:
//!
//! | [`files`], [`text_file`], [`environment`], [`dotenv`] | which files, which variables |
//! | [`yaml`], [`mend`], [`scalar`], [`resets`] | text -> tree with a place for every value |
//! | [`interpolate`], [`template`] | variables |
//! | [`extends`], [`mod@include`] | other files |
//! | [`merge`], [`unique`] | one file over the other, both by [`rules`] |
//! | [`schema`] | keys and types |
//! | [`canonical`], [`short`] | short forms become long ones |
//! | [`defaults`], [`paths`], [`normal`] | what is not written |
//! | [`shape`] | tree -> the values that `config` prints |
//! | [`consistency`] | whether it fits together |
//!
//! A phase that finds something wrong reports it to the [`session`] and goes on, so that one run shows all faults.

mod canonical;
mod consistency;
mod defaults;
mod dotenv;
mod environment;
mod explain;
mod extends;
mod files;
mod include;
mod interpolate;
mod lines;
mod measure;
mod mend;
mod merge;
mod node;
mod normal;
mod paths;
mod places;
mod resets;
mod resolved;
mod rules;
mod scalar;
mod schema;
mod session;
mod shape;
mod short;
mod tabs;
mod template;
mod text_file;
mod unique;
mod yaml;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::HashSet;
use std::io;
use std::io::Read;
use std::path::Path as FilePath;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::failure::Failure;
use crate::failure::Result;

use super::Sources;
use canonical::Unread;
use environment::Environment;
use files::Setting;
use node::Map;
use node::Node;
use node::Value;
use resets::Resets;
use session::Fault;
use session::Session;

pub use explain::Explained;
pub use explain::explain_in;
pub use places::Places;
pub(super) use resolved::Attributes;
pub(super) use resolved::Loaded;
pub(super) use resolved::texts;
pub(super) use scalar::Quotes;
pub(super) use scalar::quotes;
#[cfg(test)]
pub(super) use schema::attributes;
pub use session::Surroundings;
pub(super) use shape::Notation;
pub(super) use template::Variable;
pub(super) use template::variables_of;

/// What of the loading is left out, as the flags of `config` ask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leave {
    pub interpolation: bool,
    pub normal_form: bool,
    pub paths: bool,
    pub consistency: bool,
    /// Reading `env_file`s and taking values over from the environment.
    pub environment: bool,
}

/// No project is made of more files than this.
const MOST_FILES: u32 = 2000;

/// No file has more documents than this: each is laid over all before it.
const MOST_DOCUMENTS: usize = 200;

/// Where the relative paths of a unit go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Paths {
    Resolved,
    Left,
}

/// What is done to a file: everything, or only what a service needs that is extended from another file.
#[derive(Clone, Copy)]
enum Stage<'i> {
    /// With the files on the way here.
    Whole(&'i [PathBuf]),
    Extended,
}

/// Files that are loaded together: the project's own, or those of one `include`.
struct Unit<'a> {
    /// What relative paths become relative to; may itself be relative to the project's directory.
    directory: PathBuf,
    /// Where other files are looked for; absolute.
    place: PathBuf,
    environment: &'a Environment,
    files: &'a [PathBuf],
}

struct Loader<'s, 'e> {
    session: &'s Session<'e>,
    leave: Leave,
    files_read: Cell<u32>,
    /// Services, by file and name, of which it has been said already that what they extend cannot be had.
    given_up: RefCell<HashSet<(String, String)>>,
    texts: RefCell<HashMap<PathBuf, Arc<str>>>,
    /// Files of the project of which it has been said that they cannot be read.
    unreadable: RefCell<HashSet<PathBuf>>,
    /// The documents of files that have been looked at for the project's name, by their number in the session.
    parsed: RefCell<HashMap<u32, Vec<Node>>>,
}

/// Loads a project as far as `leave` allows.
///
/// # Errors
/// All faults of all files in one failure, each at its place.
pub(super) fn load_in(surroundings: &Surroundings, sources: &Sources, leave: Leave, notation: Notation) -> Result<Loaded> {
    within(surroundings, |session, name| {
        let (tree, setting) = load_tree(session, (sources, leave), name)?;
        // What would be found wrong from here on is not told any more.
        if session.is_full() {
            return None;
        }
        Loaded::new(session, (tree, name), setting, (leave, notation))
    })
}

/// Loads a project's tree in its long form, without reading its values.
///
/// # Errors
/// As [`load_in`].
pub(super) fn model_in(surroundings: &Surroundings, sources: &Sources, leave: Leave, notation: Notation) -> Result<Json> {
    within(surroundings, |session, name| {
        let (tree, _) = load_tree(session, (sources, leave), name)?;
        Some(shape::free(&Node::new(Value::Map(tree), node::Span::default()), notation))
    })
}

/// The words of a command line as a shell splits it; nothing if a quote is left open.
pub(super) fn words_of(line: &str) -> Option<Vec<String>> {
    measure::words(line)
}

/// The variables of files in the form of `.env`, later ones over earlier ones.
///
/// # Errors
/// As [`load_in`].
pub(super) fn variables_in(surroundings: &Surroundings, files: &[PathBuf]) -> Result<Environment> {
    within(surroundings, |session, _| environment::read_files(session, &session.surroundings.variables, ("", files)))
}

/// Completes services that were enabled after loading.
///
/// # Errors
/// As [`load_in`].
pub(super) fn complete_in(surroundings: &Surroundings, loaded: &mut Loaded) -> Result<()> {
    let name = loaded.name.clone();
    within(surroundings, |session, known| {
        *known = name;
        loaded.complete(session);
        Some(())
    })
}

fn within<T>(surroundings: &Surroundings, work: impl FnOnce(&Session<'_>, &mut String) -> Option<T>) -> Result<T> {
    let session = Session::new(surroundings);
    let mut name = String::new();
    let done = work(&session, &mut name);
    let what = if name.is_empty() { "cannot load the project".to_owned() } else { format!("cannot load project `{name}`") };
    match session.failure(&what) {
        Some(failure) => Err(failure),
        None => done.ok_or_else(|| Failure::new(what)),
    }
}

fn load_tree(session: &Session<'_>, (sources, leave): (&Sources, Leave), name: &mut String) -> Option<(Map, Setting)> {
    let mut setting = files::settle(session, sources)?;
    let loader = Loader {
        session,
        leave,
        files_read: Cell::new(0),
        given_up: RefCell::default(),
        texts: RefCell::default(),
        unreadable: RefCell::default(),
        parsed: RefCell::default(),
    };
    *name = loader.name(&setting, sources)?;
    setting.environment.insert("COMPOSE_PROJECT_NAME".to_owned(), name.clone());
    if let Some(trace) = &session.trace {
        trace.project(("COMPOSE_PROJECT_NAME", name));
    }

    // Without interpolation docker compose takes nothing over from the environment either.
    let nothing = Environment::new();
    let environment = if leave.interpolation { &nothing } else { &setting.environment };
    let unit = Unit { directory: setting.directory.clone(), place: setting.directory.clone(), environment, files: &setting.files };
    let paths = if leave.paths { Paths::Left } else { Paths::Resolved };
    let mut project = loader.model(&unit, &[], paths);
    if project.is_empty() && !session.is_faulty() {
        let files = setting.files.iter().map(|file| format!("`{}`", session.shown(file))).collect::<Vec<_>>().join(" and ");
        session.report(Fault::nowhere(format!("{files} is empty")).hint("write at least one service below `services:`"));
    }
    if !leave.normal_form {
        project.put("name", Node::text(name.as_str(), node::Span::default()));
        normal::normalize(&mut project, environment);
    }
    Some((project, setting))
}

impl Loader<'_, '_> {
    /// The name of the project: given, written in a file, or that of its directory.
    fn name(&self, setting: &Setting, sources: &Sources) -> Option<String> {
        if let Some(name) = &setting.name {
            if files::project_name(name) == *name {
                return Some(name.clone());
            }
            let source = if sources.project_name.is_some() { "`-p`" } else { "`COMPOSE_PROJECT_NAME`" };
            let fault = Fault::nowhere(format!("`{name}` from {source} cannot be a project's name"));
            self.session.report(fault.hint("use lower-case letters, digits, `-` and `_`, a letter or digit first"));
            return None;
        }
        let mut written = None;
        for file in &setting.files {
            let Some(text) = self.read_main(file) else { continue };
            let number = self.session.keep(file, text.clone());
            let documents = self.parse(number, &text);
            written = documents
                .iter()
                .filter_map(Node::as_map)
                .filter_map(|map| map.get("name"))
                .rfind(|name| name.as_text() != Some("") && !name.is_null())
                .cloned()
                .or(written);
            self.parsed.borrow_mut().insert(number, documents);
        }
        let directory = || files::project_name(&setting.directory.file_name().unwrap_or_default().to_string_lossy());
        let name = match written {
            None => directory(),
            Some(node) => self.written_name(&node, setting)?,
        };
        if name.is_empty() && !self.session.is_faulty() {
            self.session.report(Fault::nowhere("the project has no name").hint("give it one with `-p`, or write `name:` in its file"));
            return None;
        }
        Some(name)
    }

    fn written_name(&self, node: &Node, setting: &Setting) -> Option<String> {
        if matches!(node.value, Value::List(_) | Value::Map(_)) {
            self.session.report(Fault::new(node.at, format!("`name` must be text, not {}", node.value.kind())));
            return None;
        }
        let text = node.value.to_string();
        let text =
            if self.leave.interpolation { text } else { interpolate::fill(self.session, &text, &setting.environment).unwrap_or(text) };
        Some(if self.leave.normal_form { text } else { files::project_name(&text) })
    }

    /// Loads all files of a unit, one over the other.
    fn model(&self, unit: &Unit<'_>, included: &[PathBuf], paths: Paths) -> Map {
        let mut project = Map::new();
        for file in unit.files {
            let Some(text) = self.read_main(file) else { continue };
            let included: Vec<PathBuf> = included.iter().chain([file]).cloned().collect();
            project = self.document((file, &text), project, unit, Stage::Whole(&included)).0;
        }
        defaults::set(&mut project);
        defaults::check(self.session, &project);
        if paths == Paths::Resolved {
            paths::Resolver::new(self.session, &unit.directory).resolve(&mut project);
        }
        resolve_environment(self.session, &mut project, unit.environment);
        project
    }

    fn read_main(&self, file: &FilePath) -> Option<Arc<str>> {
        if self.unreadable.borrow().contains(file) {
            return None;
        }
        match self.read(file) {
            Ok(text) => Some(text),
            Err(error) => {
                self.unreadable.borrow_mut().insert(file.to_owned());
                let fault = Fault::nowhere(format!("cannot read the Compose file `{}`", self.session.shown(file))).because(&error);
                self.session.lack();
                let missing = error.kind() == io::ErrorKind::NotFound;
                self.session.report(if missing { fault.hint("check its name, or where you stand") } else { fault });
                None
            }
        }
    }

    /// The text of a file, or of standard input. Each is read once: what comes through a pipe comes only once.
    fn read(&self, file: &FilePath) -> io::Result<Arc<str>> {
        self.files_read.set(self.files_read.get() + 1);
        if self.files_read.get() > MOST_FILES {
            return Err(io::Error::other(format!("the project has more than {MOST_FILES} files")));
        }
        if let Some(text) = self.texts.borrow().get(file) {
            return Ok(text.clone());
        }
        let text = if file.as_os_str() == files::INPUT {
            self.session.input()?
        } else {
            text_file::bytes(file).and_then(text_file::checked_yaml).map(Arc::from)?
        };
        self.texts.borrow_mut().insert(file.to_owned(), text.clone());
        Ok(text)
    }

    /// Merges the documents of a text over `project`.
    fn document(&self, (file, text): (&FilePath, &Arc<str>), mut project: Map, unit: &Unit<'_>, stage: Stage<'_>) -> (Map, Resets) {
        let number = self.session.keep(file, text.clone());
        let mut resets = Resets::default();
        let documents = self.parse(number, text);
        if let Some(document) = documents.get(MOST_DOCUMENTS) {
            self.session.report(Fault::new(document.at, format!("the file has more than {MOST_DOCUMENTS} documents")));
        }
        for mut document in documents.into_iter().take(MOST_DOCUMENTS) {
            resets = resets::resolve(self.session, &mut document);
            if document.as_map().is_none() {
                let fault = Fault::new(document.at, format!("a Compose file must be a mapping, not {}", document.value.kind()));
                self.session.report(fault.hint("write the services below `services:`"));
                continue;
            }
            if !self.leave.interpolation {
                interpolate::interpolate(self.session, &mut document, unit.environment);
            }
            let Value::Map(mut document) = document.value else { continue };
            if let Stage::Whole(included) = stage {
                extends::apply(self, &mut document, &file.to_string_lossy(), (unit, &resets));
                resets.clear(&mut project);
                include::apply(self, &mut document, unit, included);
            }
            project = self.merged(project, document, stage);
        }
        (project, resets)
    }

    /// The documents of a text; none if it cannot be read.
    fn parse(&self, number: u32, text: &str) -> Vec<Node> {
        let known = self.parsed.borrow_mut().remove(&number);
        known.or_else(|| yaml::parse(self.session, number, text)).unwrap_or_else(|| {
            self.session.lack();
            Vec::new()
        })
    }

    fn merged(&self, project: Map, document: Map, stage: Stage<'_>) -> Map {
        let mut project = merge::documents(self.session, project, document);
        unique::enforce(self.session, &mut project);
        if let Stage::Whole(_) = stage {
            let node = Node::new(Value::Map(project), node::Span::default());
            schema::check(self.session, &node);
            let Value::Map(checked) = node.value else { return Map::new() };
            project = checked;
            if let Some(version) = project.remove("version") {
                let file = self.session.file(version.key_at);
                self.session
                    .warn(format!("{file}: the attribute `version` is obsolete, it is ignored, please remove it to avoid confusion"));
            }
        }
        let unread = if self.leave.interpolation { Unread::Kept } else { Unread::Refused };
        canonical::lengthen(self.session, &mut project, unread);
        canonical::omit_empty(&mut project);
        unique::enforce(self.session, &mut project);
        project
    }
}

/// The key under which the content of a config or secret waits that comes from the environment.
const CONTENT: &str = "x-#value";

/// Takes over from the unit's environment what its files name without a value.
fn resolve_environment(session: &Session<'_>, project: &mut Map, environment: &Environment) {
    let taken = |at: node::Span, name: &str| session.trace.as_ref().map(|trace| trace.taken(session, (at, name), environment));
    for (_, entry) in project.get_mut("services").and_then(Node::as_map_mut).into_iter().flat_map(Map::iter_mut) {
        let variables = entry.node.as_map_mut().and_then(|service| service.get_mut("environment")).and_then(Node::as_list_mut);
        for item in variables.into_iter().flatten() {
            let _ = item.as_text().and_then(|name| taken(item.at, name));
            if let Some(value) = item.as_text().and_then(|name| Some(format!("{name}={}", environment.get(name)?))) {
                item.value = Value::Text(Rc::from(value));
            }
        }
    }
    for section in ["secrets", "configs"] {
        for (_, entry) in project.get_mut(section).and_then(Node::as_map_mut).into_iter().flat_map(Map::iter_mut) {
            let Some(object) = entry.node.as_map_mut() else { continue };
            let _ = object.get("environment").and_then(|node| taken(node.at, node.as_text()?));
            let value = object.text("environment").and_then(|name| environment.get(name)).cloned();
            if let (Some(value), Some(at)) = (value, object.get("environment").map(|node| node.at)) {
                object.put(CONTENT, Node::text(value, at));
            }
        }
    }
}

impl Session<'_> {
    fn input(&self) -> io::Result<Arc<str>> {
        if let Some(text) = self.read_input.borrow().as_ref() {
            return Ok(text.clone());
        }
        let bytes = match &self.surroundings.input {
            Some(bytes) => bytes.clone(),
            None => {
                let mut bytes = Vec::new();
                io::stdin().lock().take(text_file::LARGEST + 1).read_to_end(&mut bytes)?;
                bytes
            }
        };
        let text: Arc<str> = Arc::from(text_file::checked_yaml(bytes)?);
        *self.read_input.borrow_mut() = Some(text.clone());
        Ok(text)
    }
}
