//! A project after all phases: its resources as values, its services enabled by profiles, chosen and completed from
//! their `env_file`s.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path as FilePath;
use std::path::PathBuf;

use serde_json::Map as JsonMap;
use serde_json::Value as Json;

use super::CONTENT;
use super::Leave;
use super::consistency;
use super::dotenv;
use super::environment;
use super::environment::Environment;
use super::files::Setting;
use super::node::Map;
use super::node::Node;
use super::node::Path;
use super::node::Span;
use super::node::Value;
use super::places::Places;
use super::session::Fault;
use super::session::Session;
use super::shape;
use super::shape::Notation;
use super::shape::Resource;
use super::shape::Shaper;
use super::text_file;

/// A resource's attributes.
pub(in crate::compose) type Attributes = JsonMap<String, Json>;

/// Resources by name.
pub(in crate::compose) type Resources = BTreeMap<String, Attributes>;

/// A loaded project.
#[derive(Debug, Clone)]
pub(in crate::compose) struct Loaded {
    pub name: String,
    pub directory: PathBuf,
    pub files: Vec<PathBuf>,
    pub environment: Environment,
    profiles: Vec<String>,
    pub services: Resources,
    pub disabled: Resources,
    pub networks: Resources,
    pub volumes: Resources,
    pub configs: Resources,
    pub secrets: Resources,
    pub models: Resources,
    /// What configs and secrets hold that come from the environment, by `section.name`.
    pub contents: BTreeMap<String, String>,
    extensions: Attributes,
    tree: Map,
    notation: Notation,
    /// Where the attributes of services stand, as `web.restart`: for what is found wrong with them later.
    pub places: Places,
    pub warnings: Vec<String>,
}

impl Loaded {
    pub(super) fn new(
        session: &Session<'_>,
        (tree, name): (Map, &str),
        setting: Setting,
        (leave, notation): (Leave, Notation),
    ) -> Option<Loaded> {
        let shaper = Shaper { session, notation };
        let section = |key: &str, resource: Resource| -> Resources {
            let path = Path::ROOT.key(key);
            let map = tree.get(key).and_then(Node::as_map);
            map.into_iter()
                .flat_map(Map::iter)
                .map(|(name, entry)| (name.to_string(), shaper.resource(resource, &entry.node, path.key(name))))
                .collect()
        };
        let extensions = tree
            .iter()
            .filter(|(key, _)| key.starts_with("x-"))
            .map(|(key, entry)| (key.to_string(), shape::free(&entry.node, notation)))
            .collect();
        let mut loaded = Loaded {
            name: name.to_owned(),
            directory: setting.directory,
            files: setting.files,
            environment: setting.environment,
            profiles: setting.profiles,
            services: section("services", Resource::Service),
            disabled: Resources::new(),
            networks: section("networks", Resource::Network),
            volumes: section("volumes", Resource::Volume),
            configs: section("configs", Resource::FileObject),
            secrets: section("secrets", Resource::FileObject),
            models: section("models", Resource::Model),
            contents: contents(&tree),
            extensions,
            places: Places::of(session, &tree),
            tree,
            notation,
            warnings: Vec::new(),
        };
        loaded.apply_profiles();
        if !leave.consistency && !session.is_lacking() {
            consistency::check(session, &loaded);
            consistency::agree(&mut loaded);
        }
        if !leave.environment {
            loaded.complete(session);
        }
        loaded.warnings = session.warnings();
        Some(loaded)
    }

    /// The place of the value that these keys lead to, or of the nearest one around it.
    pub(super) fn at(&self, keys: &[&str]) -> Span {
        let mut at = Span::default();
        let mut map = Some(&self.tree);
        let mut list: Option<&[Node]> = None;
        for key in keys {
            let entry = map.and_then(|map| map.entry(key));
            let item = list.and_then(|items| items.get(key.parse::<usize>().ok()?));
            let (place, node) = match (entry, item) {
                (Some(entry), _) => (entry.key_at, &entry.node),
                (None, Some(item)) => (item.at, item),
                (None, None) => return at,
            };
            at = place;
            (map, list) = (node.as_map(), node.as_list());
        }
        at
    }

    /// Whether these keys lead to a list or a mapping.
    pub(super) fn is_misread(&self, keys: &[&str]) -> bool {
        let Some((last, above)) = keys.split_last() else { return false };
        let map = above.iter().try_fold(&self.tree, |map, key| map.get(key)?.as_map());
        map.and_then(|map| map.get(last)).is_some_and(|node| node.as_map().is_some() || node.as_list().is_some())
    }

    /// Whether these keys lead to a mapping.
    pub(super) fn is_mapping(&self, keys: &[&str]) -> bool {
        keys.iter().try_fold(&self.tree, |map, key| map.get(key)?.as_map()).is_some()
    }

    /// Whether the value that these keys lead to is written, and false: the normal form leaves such a one out.
    pub(in crate::compose) fn denies(&self, keys: &[&str]) -> bool {
        let mut node = keys.first().and_then(|key| self.tree.get(key));
        for key in keys.iter().skip(1) {
            node = node.and_then(|node| match (node.as_map(), node.as_list()) {
                (Some(map), _) => map.get(key),
                (None, Some(list)) => list.get(key.parse::<usize>().ok()?),
                (None, None) => None,
            });
        }
        node.is_some_and(|node| matches!(node.value, Value::Bool(false)))
    }

    fn apply_profiles(&mut self) {
        let mut all = std::mem::take(&mut self.services);
        all.append(&mut self.disabled);
        for (name, service) in all {
            let own: Vec<&str> = texts(&service, "profiles").collect();
            let enabled = own.is_empty() || self.profiles.iter().any(|profile| profile == "*" || own.contains(&profile.as_str()));
            if enabled {
                self.services.insert(name, service)
            } else {
                self.disabled.insert(name, service)
            };
        }
    }

    /// Enables the profiles of these services.
    pub(in crate::compose) fn enable(&mut self, names: &[String]) {
        let more: Vec<String> = names
            .iter()
            .filter_map(|name| self.disabled.get(name))
            .flat_map(|service| texts(service, "profiles").map(str::to_owned).collect::<Vec<_>>())
            .collect();
        if !more.is_empty() {
            self.profiles.extend(more);
            self.apply_profiles();
        }
    }

    /// Leaves only these services (names may hold `*` and `?`) and what they depend on; all if none is named.
    ///
    /// # Errors
    /// The name that no enabled service has.
    pub(in crate::compose) fn choose(&mut self, names: &[String]) -> Result<(), String> {
        if names.is_empty() {
            return Ok(());
        }
        let mut chosen = BTreeSet::new();
        let mut open: Vec<(String, bool)> = names.iter().map(|name| (name.clone(), true)).collect();
        while let Some((pattern, required)) = open.pop() {
            let found: Vec<String> = self.services.keys().filter(|name| matches(&pattern, name)).cloned().collect();
            if found.is_empty() && required {
                return Err(pattern);
            }
            for name in found {
                if chosen.insert(name.clone()) {
                    let dependencies = self.services[&name].get("depends_on").and_then(Json::as_object);
                    open.extend(
                        dependencies.into_iter().flatten().map(|(name, dependency)| (name.clone(), dependency["required"] != false)),
                    );
                }
            }
        }
        for (name, mut service) in std::mem::take(&mut self.services) {
            if !chosen.contains(&name) {
                self.disabled.insert(name, service);
                continue;
            }
            drop_dependencies(&mut service, &chosen);
            self.services.insert(name, service);
        }
        Ok(())
    }

    /// Drops the resources that no enabled service uses.
    pub(in crate::compose) fn prune(&mut self) {
        let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for service in self.services.values() {
            let keys =
                |key: &str| service.get(key).and_then(Json::as_object).into_iter().flat_map(|map| map.keys().cloned()).collect::<Vec<_>>();
            let sources = |list: Option<&Json>| -> Vec<String> {
                list.and_then(Json::as_array).into_iter().flatten().filter_map(|item| item["source"].as_str()).map(str::to_owned).collect()
            };
            used.entry("networks").or_default().extend(keys("networks"));
            used.entry("models").or_default().extend(keys("models"));
            used.entry("configs").or_default().extend(sources(service.get("configs")));
            used.entry("secrets").or_default().extend(sources(service.get("secrets")));
            used.entry("secrets").or_default().extend(sources(service.get("build").and_then(|build| build.get("secrets"))));
            let volumes = service.get("volumes").and_then(Json::as_array).into_iter().flatten().filter(|volume| volume["type"] == "volume");
            used.entry("volumes").or_default().extend(volumes.filter_map(|volume| volume["source"].as_str()).map(str::to_owned));
        }
        let is_used = |section: &str, name: &String| used.get(section).is_some_and(|names| names.contains(name));
        self.networks.retain(|name, _| is_used("networks", name));
        self.volumes.retain(|name, _| is_used("volumes", name));
        self.configs.retain(|name, _| is_used("configs", name));
        self.secrets.retain(|name, _| is_used("secrets", name));
        self.models.retain(|name, _| is_used("models", name));
    }

    /// Completes the enabled services' variables and labels from the environment and their files.
    pub(super) fn complete(&mut self, session: &Session<'_>) {
        let mut services = std::mem::take(&mut self.services);
        for (name, service) in &mut services {
            self.complete_variables(session, name, service);
            self.complete_labels(session, name, service);
        }
        self.services = services;
    }

    fn complete_variables(&self, session: &Session<'_>, name: &str, service: &mut Attributes) {
        let mut own: Attributes = service.get("environment").and_then(Json::as_object).cloned().unwrap_or_default();
        for (key, value) in own.iter_mut().filter(|(_, value)| value.is_null()) {
            if let Some(known) = self.environment.get(key) {
                *value = Json::from(known.as_str());
            }
        }
        let mut variables: Environment = own.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
        let lookup = |key: &str| self.environment.get(key).cloned().or_else(|| own.get(key)?.as_str().map(str::to_owned));
        for (index, file) in service.remove("env_file").and_then(|files| files.as_array().cloned()).unwrap_or_default().iter().enumerate() {
            let path = PathBuf::from(file["path"].as_str().unwrap_or_default());
            if !path.exists() && file["required"] == false {
                continue;
            }
            let at = self.at(&["services", name, "env_file", &index.to_string(), "path"]);
            let format = file["format"].as_str().unwrap_or_default();
            read(session, (&path, at, "env_file"), format, &mut |text| match format {
                "raw" => dotenv::parse_raw(text, &mut variables, &lookup),
                _ => dotenv::parse(text, &mut variables, &lookup),
            });
        }
        let mut merged: BTreeMap<String, Json> = variables.into_iter().map(|(key, value)| (key, Json::from(value))).collect();
        merged.extend(own);
        put(service, "environment", merged);
    }

    fn complete_labels(&self, session: &Session<'_>, name: &str, service: &mut Attributes) {
        let files: Vec<String> = texts(service, "label_file").map(str::to_owned).collect();
        service.remove("label_file");
        if files.is_empty() {
            return;
        }
        let mut labels = Environment::new();
        for (index, file) in files.iter().enumerate() {
            let at = self.at(&["services", name, "label_file", &index.to_string()]);
            let known = labels.clone();
            read(session, (FilePath::new(file), at, "label_file"), "", &mut |text| {
                dotenv::parse(text, &mut labels, &|key| known.get(key).cloned())
            });
        }
        let mut merged: BTreeMap<String, Json> = labels.into_iter().map(|(key, value)| (key, Json::from(value))).collect();
        merged.extend(service.get("labels").and_then(Json::as_object).cloned().into_iter().flatten());
        put(service, "labels", merged);
    }

    /// What `config` prints, with the keys in docker compose's order. The resources are gone then.
    pub(in crate::compose) fn take_values(&mut self) -> Json {
        // A config that names a variable is shown without what the variable holds, a secret always.
        self.configs
            .values_mut()
            .filter(|config| config.contains_key("environment"))
            .for_each(|config| drop(config.shift_remove("content")));
        self.secrets.values_mut().for_each(|secret| drop(secret.shift_remove("content")));
        let sections = [
            ("services", &mut self.services),
            ("networks", &mut self.networks),
            ("volumes", &mut self.volumes),
            ("secrets", &mut self.secrets),
            ("configs", &mut self.configs),
            ("models", &mut self.models),
        ];
        let mut ordered = Attributes::new();
        ordered.insert("name".to_owned(), Json::from(self.name.as_str()));
        for (key, resources) in sections {
            let shown = key != "models" || self.notation == Notation::Yaml;
            if key == "services" || (shown && !resources.is_empty()) {
                let resources = std::mem::take(resources).into_iter().map(|(name, resource)| (name, Json::Object(resource)));
                ordered.insert(key.to_owned(), Json::Object(resources.collect()));
            }
        }
        ordered.extend(std::mem::take(&mut self.extensions));
        if self.notation == Notation::Json {
            ordered.sort_keys();
        }
        Json::Object(ordered)
    }
}

/// The texts of a list.
pub(in crate::compose) fn texts<'a>(attributes: &'a Attributes, key: &str) -> impl Iterator<Item = &'a str> {
    attributes.get(key).and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str)
}

fn contents(tree: &Map) -> BTreeMap<String, String> {
    let mut contents = BTreeMap::new();
    for section in ["configs", "secrets"] {
        for (name, entry) in tree.get(section).and_then(Node::as_map).into_iter().flat_map(Map::iter) {
            if let Some(content) = entry.node.as_map().and_then(|object| object.text(CONTENT)) {
                contents.insert(format!("{section}.{name}"), content.to_owned());
            }
        }
    }
    contents
}

fn drop_dependencies(service: &mut Attributes, chosen: &BTreeSet<String>) {
    if let Some(dependencies) = service.get_mut("depends_on").and_then(Json::as_object_mut) {
        dependencies.retain(|name, _| chosen.contains(name));
        if dependencies.is_empty() {
            service.shift_remove("depends_on");
        }
    }
}

/// Puts a mapping in its place, or leaves it out if it is empty.
fn put(service: &mut Attributes, key: &str, values: BTreeMap<String, Json>) {
    if values.is_empty() {
        service.shift_remove(key);
    } else {
        service.insert(key.to_owned(), Json::Object(values.into_iter().collect()));
    }
}

fn read(
    session: &Session<'_>,
    (path, at, key): (&FilePath, Span, &str),
    format: &str,
    parse: &mut dyn FnMut(&str) -> Result<(), dotenv::Flaw>,
) {
    if !matches!(format, "" | ".env" | "raw") {
        let fault = Fault::new(at, format!("`{key}` has no format `{format}`"));
        return session.report(fault.hint("leave `format` out, or make it `raw`"));
    }
    match text_file::read(path) {
        Err(error) => {
            let fault = Fault::new(at, format!("cannot read the `{key}` `{}`", session.shown(path))).because(error);
            session.report(if key == "env_file" { fault.hint("create the file, or write `required: false`") } else { fault });
        }
        Ok(text) => {
            if let Err(flaw) = parse(&text) {
                let number = session.keep(path, text.as_str().into());
                session.report(environment::fault(session, (number, &text), &flaw));
            }
        }
    }
}

/// Whether `name` is as the pattern says, `*` for any letters and `?` for one.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.chars().next() {
        None => name.is_empty(),
        Some('*') => (0..=name.len()).any(|start| name.is_char_boundary(start) && matches(&pattern[1..], &name[start..])),
        Some('?') => name.chars().next().is_some_and(|first| matches(&pattern[1..], &name[first.len_utf8()..])),
        Some(first) => name.strip_prefix(first).is_some_and(|rest| matches(&pattern[first.len_utf8()..], rest)),
    }
}
