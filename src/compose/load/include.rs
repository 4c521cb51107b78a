//! `include`: other projects' files whose resources become this one's.

use std::path::Path as FilePath;
use std::path::PathBuf;

use super::Loader;
use super::Unit;
use super::environment;
use super::environment::Environment;
use super::node::Map;
use super::node::Node;
use super::node::Span;
use super::node::Value;
use super::paths;
use super::session::Fault;

/// One entry of `include`.
#[derive(Debug, Default)]
struct Include {
    paths: Vec<String>,
    directory: Option<String>,
    env_files: Vec<String>,
    at: Span,
}

/// Loads what a document includes and puts it beside what the document says. `included` are the files on the way here.
pub(super) fn apply(loader: &Loader<'_, '_>, document: &mut Map, unit: &Unit<'_>, included: &[PathBuf]) {
    let Some(entry) = document.remove("include") else { return };
    for include in entries(loader, &entry.node) {
        match load(loader, include, unit, included) {
            Some(found) => import(loader, found, document),
            None => loader.session.lack(),
        }
    }
}

fn entries(loader: &Loader<'_, '_>, node: &Node) -> Vec<Include> {
    let Some(items) = node.as_list() else {
        if !node.is_null() {
            let fault = Fault::new(node.at, format!("`include` must be a list, not {}", node.value.kind()));
            loader.session.report(fault.hint("write each file as an item: `- other/compose.yaml`"));
        }
        return Vec::new();
    };
    items.iter().filter_map(|item| entry(loader, item)).collect()
}

fn entry(loader: &Loader<'_, '_>, item: &Node) -> Option<Include> {
    let refuse = |node: &Node, what: &str| loader.session.report(Fault::new(node.at, format!("{what} cannot be {}", node.value.kind())));
    let list = |map: &Map, key: &str| match map.get(key).map(|node| (&node.value, node)) {
        None | Some((Value::Null, _)) => Some(Vec::new()),
        Some((Value::Text(text), _)) => Some(vec![text.to_string()]),
        Some((Value::List(items), node)) => {
            let texts: Option<Vec<String>> = items.iter().map(|item| item.as_text().map(str::to_owned)).collect();
            if texts.is_none() {
                refuse(node, &format!("`include.{key}`"));
            }
            texts
        }
        Some((_, node)) => {
            refuse(node, &format!("`include.{key}`"));
            None
        }
    };
    match &item.value {
        Value::Text(path) => Some(Include { paths: vec![path.to_string()], at: item.at, ..Include::default() }),
        Value::Map(map) => {
            let directory = map.get("project_directory").filter(|node| !node.is_null());
            if let Some(node) = directory.filter(|node| matches!(node.value, Value::List(_) | Value::Map(_) | Value::Bool(_))) {
                refuse(node, "`include.project_directory`");
            }
            let directory = directory.map(|node| node.value.to_string()).filter(|directory| !directory.is_empty());
            Some(Include { paths: list(map, "path")?, directory, env_files: list(map, "env_file")?, at: item.at })
        }
        Value::Null => Some(Include { at: item.at, ..Include::default() }),
        _ => {
            refuse(item, "an entry of `include`");
            None
        }
    }
}

fn load(loader: &Loader<'_, '_>, include: Include, unit: &Unit<'_>, included: &[PathBuf]) -> Option<Map> {
    let session = loader.session;
    let files: Vec<PathBuf> = include.paths.iter().map(|path| PathBuf::from(paths::join(&unit.place, path))).collect();
    let Some(main) = files.first() else {
        session.warn("an entry of `include` names no file");
        variables(loader, &include, (unit, &unit.place))?;
        return Some(Map::new());
    };
    let (directory, place) = directories(&include, unit, main);
    if included.contains(main) {
        let way = included.iter().chain([main]).map(|file| session.shown(file)).collect::<Vec<_>>().join(" -> ");
        session.report(Fault::new(include.at, "a file includes itself").because(way).hint("take one `include` of the chain out"));
        return None;
    }
    let environment = variables(loader, &include, (unit, &place))?;
    for file in &files {
        if let Err(error) = loader.read(file) {
            session.report(Fault::new(include.at, format!("cannot read the included file `{}`", session.shown(file))).because(error));
            return None;
        }
    }
    Some(loader.model(&Unit { directory, place, environment: &environment, files: &files }, included, super::Paths::Resolved))
}

/// What paths are made relative to, and where further files are looked for.
fn directories(include: &Include, unit: &Unit<'_>, main: &FilePath) -> (PathBuf, PathBuf) {
    let beside = main.parent().unwrap_or(main).to_owned();
    match include.directory.as_deref() {
        None => (paths::relative(&unit.place, &beside), beside),
        Some(directory) if directory.starts_with('/') => (PathBuf::from(directory), PathBuf::from(directory)),
        Some(directory) => {
            let place = PathBuf::from(paths::join(&unit.place, directory));
            let shown = if place.is_dir() { place.clone() } else { place.parent().unwrap_or(&place).to_owned() };
            (paths::relative(&unit.place, &shown), place)
        }
    }
}

fn variables(loader: &Loader<'_, '_>, include: &Include, (unit, place): (&Unit<'_>, &FilePath)) -> Option<Environment> {
    let session = loader.session;
    let mut files = Vec::new();
    if include.env_files.is_empty() {
        files.extend(Some(place.join(".env")).filter(|file| file.exists() && !file.is_dir()));
    }
    for name in include.env_files.iter().filter(|name| *name != "/dev/null") {
        let file = PathBuf::from(paths::join(&unit.place, name));
        if !file.exists() {
            let fault = Fault::new(include.at, format!("`include.env_file` names `{}`, which does not exist", session.shown(&file)));
            session.report(fault.hint("create it, or take it out"));
            return None;
        }
        files.push(file);
    }
    let found = environment::read_files(session, unit.environment, ("include", &files))?;
    let mut environment = unit.environment.clone();
    environment::add(&mut environment, &found);
    Some(environment)
}

fn import(loader: &Loader<'_, '_>, mut found: Map, document: &mut Map) {
    for section in ["services", "volumes", "networks", "secrets", "configs", "models"] {
        let Some(from) = found.remove(section) else { continue };
        let at = from.node.at;
        let Value::Map(from) = from.node.value else { continue };
        if document.get(section).is_none_or(Node::is_null) {
            document.put(section, Node::new(Value::Map(Map::new()), at));
        }
        let Some(to) = document.get_mut(section).and_then(Node::as_map_mut) else { continue };
        *to = std::mem::take(to).joined(from, |name, known, entry| {
            if !known.node.same(&entry.node) {
                let fault = Fault::new(known.key_at, format!("`{section}.{name}` is also in an included file, and differs"));
                let because = format!("the other one is in `{}` on line {}", loader.session.file(entry.key_at), entry.key_at.line);
                loader.session.report(fault.because(because).hint("include it as a list of paths with an override file, or rename one"));
            }
            known
        });
    }
}
