//! `extends`: a service takes what it does not say from another, of this file or another one.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path as FilePath;
use std::path::PathBuf;

use super::Loader;
use super::Stage;
use super::Unit;
use super::merge;
use super::node::Map;
use super::node::Node;
use super::node::Span;
use super::node::Value;
use super::paths;
use super::paths::Resolver;
use super::resets::Resets;
use super::schema::nearest::nearest;
use super::session::Fault;

/// Longer chains of services are taken for a mistake.
const LONGEST: usize = 100;

/// The services of a chain, each with its file.
type Chain = Vec<(String, String)>;

/// What a service says about the one it extends.
struct Reference {
    service: String,
    file: Option<String>,
    at: Span,
    file_at: Span,
}

/// Lets every service of a document take over what it extends.
pub(super) fn apply(loader: &Loader<'_, '_>, document: &mut Map, file: &str, (unit, resets): (&Unit<'_>, &Resets)) {
    let Some(services) = document.get_mut("services") else { return };
    let Some(services) = services.as_map_mut() else {
        let fault = Fault::new(services.at, format!("`services` must be a mapping, not {}", services.value.kind()));
        return loader.session.report(fault.hint("write each service as a key with its attributes below it"));
    };
    let names: Vec<_> = services.keys().cloned().collect();
    let extender = Extender { loader, unit, file, others: RefCell::default() };
    for name in names {
        extender.extended(&name, services, &Vec::new(), resets);
    }
}

struct Extender<'a, 's, 'e> {
    loader: &'a Loader<'s, 'e>,
    unit: &'a Unit<'a>,
    file: &'a str,
    /// The services of other files that have been asked for, by file.
    others: RefCell<HashMap<PathBuf, (Map, Resets)>>,
}

impl Extender<'_, '_, '_> {
    /// The service with all it extends merged in, which also takes its place in `services`.
    fn extended(&self, name: &str, services: &mut Map, chain: &Chain, resets: &Resets) -> Option<Node> {
        let service = services.get(name)?;
        let Some(map) = service.as_map() else {
            if !service.is_null() {
                let what = format!("service `{name}` must be a mapping, not {}", service.value.kind());
                self.loader.session.report(Fault::new(service.at, what));
            }
            return None;
        };
        let is_given_up = || self.loader.given_up.borrow().contains(&(self.file.to_owned(), name.to_owned()));
        if !map.has("extends") || is_given_up() {
            return Some(service.clone());
        }
        let service = service.clone();
        let reference = self.reference(name, map)?;
        let base = match &reference.file {
            Some(file) => {
                let (mut others, other_resets) = self.services_of(name, &reference, file)?;
                let chain = self.follow(chain, (file, name), reference.at)?;
                self.extended(&reference.service, &mut others, &chain, &other_resets)
            }
            None => {
                if !services.has(&reference.service) {
                    self.not_found(name, &reference, (self.file, services));
                    return None;
                }
                let chain = self.follow(chain, (self.file, name), reference.at)?;
                self.extended(&reference.service, services, &chain, &Resets::default())
            }
        };
        let is_whole = base.as_ref().and_then(Node::as_map).is_some_and(|base| !base.has("extends"));
        if !is_whole {
            self.loader.given_up.borrow_mut().insert((self.file.to_owned(), name.to_owned()));
        }
        let Some(base) = base else { return Some(service) };
        let merged = self.merge(name, base, service, resets);
        services.put(name, merged.clone());
        Some(merged)
    }

    fn merge(&self, name: &str, base: Node, service: Node, resets: &Resets) -> Node {
        let is_whole = base.as_map().is_none_or(|base| !base.has("extends"));
        let mut one = Map::new();
        one.put(name, base);
        let mut document = Map::new();
        let at = service.at;
        document.put("services", Node::new(Value::Map(one), at));
        resets.clear(&mut document);
        let base = document.get_mut("services").and_then(Node::as_map_mut).and_then(|services| services.remove(name));
        let Some(base) = base else { return service };
        let mut merged = merge::extend(self.loader.session, base.node, service, name);
        // What could not be followed stays, as a sign that something is missing.
        if let Some(map) = merged.as_map_mut().filter(|_| is_whole) {
            map.remove("extends");
        }
        merged
    }

    fn reference(&self, name: &str, service: &Map) -> Option<Reference> {
        let extends = service.get("extends")?;
        let at = extends.at;
        let found = match extends.as_map() {
            Some(map) => map.text("service").map(|service| {
                let file = map.get("file").filter(|file| !file.is_null());
                let file_at = file.map_or(at, |file| file.at);
                let file = file.map(|file| file.value.to_string());
                Reference { service: service.to_owned(), file, at: map.get("service").map_or(at, |service| service.at), file_at }
            }),
            None => extends.as_text().map(|service| Reference { service: service.to_owned(), file: None, at, file_at: at }),
        };
        if found.is_none() {
            let fault = Fault::new(at, format!("`services.{name}.extends` names no service"));
            self.loader.session.report(fault.hint("write the name of a service, or a mapping of `service` and `file`"));
        }
        found
    }

    fn not_found(&self, name: &str, reference: &Reference, (file, services): (&str, &Map)) {
        let what = format!(
            "service `{name}` extends service `{}`, which is not in `{}`",
            reference.service,
            self.loader.session.shown(FilePath::new(file))
        );
        let is_other = |known: &&str| reference.file.is_some() || *known != name;
        let meant = nearest(&reference.service, services.keys().map(|known| &**known).filter(is_other));
        let hint =
            meant.map_or_else(|| "check the service's name, or name its `file`".to_owned(), |meant| format!("did you mean `{meant}`?"));
        self.loader.session.report(Fault::new(reference.at, what).hint(hint));
    }

    fn follow(&self, chain: &Chain, (file, name): (&str, &str), at: Span) -> Option<Chain> {
        let step = (file.to_owned(), name.to_owned());
        let circular = chain.contains(&step);
        let mut chain = chain.clone();
        chain.push(step);
        if circular || chain.len() > LONGEST {
            let way = chain.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(" -> ");
            let what = if circular { "a service extends itself" } else { "services extend each other too deeply" };
            self.loader.session.report(Fault::new(at, what).because(way).hint("take one `extends` of the chain out"));
            return None;
        }
        Some(chain)
    }

    /// The services of another file, in their long form, with paths as this project needs them.
    fn services_of(&self, name: &str, reference: &Reference, file: &str) -> Option<(Map, Resets)> {
        let path = FilePath::new(&self.unit.place).join(file);
        let path = PathBuf::from(paths::clean(&path.to_string_lossy()));
        if let Some((services, resets)) = self.others.borrow().get(&path).filter(|(services, _)| services.has(&reference.service)) {
            return Some((services.clone(), resets.clone()));
        }
        let directory = path.parent().map(|parent| paths::relative(&self.unit.place, parent)).unwrap_or_default();
        let unit = Unit { directory, place: path.parent()?.to_owned(), environment: self.unit.environment, files: &[] };
        let session = self.loader.session;
        let text = match self.loader.read(&path) {
            Ok(text) => text,
            Err(error) => {
                let what = format!("service `{name}` extends a service of `{}`, which cannot be read", session.shown(&path));
                session.report(Fault::new(reference.file_at, what).because(error));
                return None;
            }
        };
        let (mut document, resets) = self.loader.document((&path, &text), Map::new(), &unit, Stage::Extended);
        let found = document.get("services").and_then(Node::as_map);
        if found.is_none_or(|services| !services.has(&reference.service)) {
            self.not_found(name, reference, (&path.to_string_lossy(), found.unwrap_or(&Map::new())));
            return None;
        }
        Resolver::new(session, &unit.directory).resolve(&mut document);
        let Value::Map(services) = document.remove("services")?.node.value else { return None };
        self.others.borrow_mut().insert(path, (services.clone(), resets.clone()));
        Some((services, resets))
    }
}
