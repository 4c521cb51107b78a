//! The rules of `develop.watch`: which changes concern them, and where the files belong.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Deserializer;
use serde_json::Value;

use crate::build::Patterns;
use crate::build::ignore_lines;
use crate::compose::model::Project;
use crate::compose::model::Service;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;

/// What editors and tools leave for a moment; as docker compose leaves them out.
const FLEETING: [&str; 14] = [
    "**/*___jb_old___",
    "**/*___jb_tmp___",
    "**/.idea/**",
    "**/.#*",
    "**/#*#",
    "**/4913",
    "**/*~",
    "**/.*.swp",
    "**/.*.swx",
    "**/.*.swo",
    "**/.*.swn",
    "**/.*.kate-swp",
    "**/*-go-tmp-umask",
    "**/.git",
];

/// One rule of one service.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub service: String,
    /// Absolute, without links.
    pub path: PathBuf,
    pub act: Act,
    target: String,
    pub initial_sync: bool,
    /// All if there are none.
    include: Option<Patterns>,
    /// Patterns and the directory they are anchored at.
    ignore: Vec<(PathBuf, Patterns)>,
}

/// What is done about a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    Rebuild,
    Restart,
    Sync,
    SyncRestart,
    SyncExec(Hook),
}

/// A command that is run in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Hook {
    #[serde(deserialize_with = "or_nothing")]
    pub command: Vec<String>,
    #[serde(deserialize_with = "or_nothing")]
    pub user: String,
    #[serde(deserialize_with = "or_nothing")]
    pub privileged: bool,
    #[serde(deserialize_with = "or_nothing")]
    pub working_dir: String,
    #[serde(deserialize_with = "or_nothing")]
    pub environment: BTreeMap<String, Option<String>>,
}

/// A rule in normal form.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Trigger {
    path: PathBuf,
    action: String,
    #[serde(deserialize_with = "or_nothing")]
    target: String,
    exec: Option<Hook>,
    #[serde(deserialize_with = "or_nothing")]
    include: Vec<String>,
    #[serde(deserialize_with = "or_nothing")]
    ignore: Vec<String>,
    #[serde(deserialize_with = "or_nothing")]
    initial_sync: bool,
}

/// The normal form writes `null` for what is not there.
fn or_nothing<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> std::result::Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// The rules of these services, or of all.
///
/// # Errors
/// A rule that cannot be carried out: a rebuild of what is not built, a pattern that is none.
pub(super) fn of(project: &Project, services: &[String]) -> Result<Vec<Rule>> {
    let mut rules = Vec::new();
    for (name, service) in project.services.iter().filter(|(name, _)| services.is_empty() || services.contains(name)) {
        let triggers = service.rest.get("develop").and_then(|develop| develop.get("watch")).cloned().unwrap_or(Value::Null);
        let triggers: Option<Vec<Trigger>> = serde_json::from_value(triggers).doing(|| cannot(name))?;
        for trigger in triggers.unwrap_or_default() {
            rules.extend(rule((name, service), trigger).map_err(|failure| failure.within(cannot(name)))?);
        }
    }
    Ok(rules)
}

fn cannot(service: &str) -> String {
    format!("cannot watch the files of service `{service}`")
}

/// A rule; nothing if a bind mount brings the files already.
fn rule((name, service): (&String, &Service), trigger: Trigger) -> Result<Option<Rule>> {
    let act =
        match trigger.action.as_str() {
            "rebuild" if service.build.is_none() => {
                return Err(Failure::new("the action `rebuild` needs a `build:`").hint("use `sync` or `restart`, or build the service"));
            }
            "rebuild" => Act::Rebuild,
            "restart" => Act::Restart,
            "sync" => Act::Sync,
            "sync+restart" => Act::SyncRestart,
            "sync+exec" => {
                Act::SyncExec(trigger.exec.clone().filter(|hook| !hook.command.is_empty()).ok_or_else(|| {
                    Failure::new("the action `sync+exec` needs a command").hint("write `exec: {command: …}` into the rule")
                })?)
            }
            other => return Err(Failure::new(format!("there is no action `{other}`"))),
        };
    if matches!(act, Act::Sync | Act::SyncRestart) && is_bound(service, &trigger.path) {
        return Ok(None);
    }
    let patterns = |lines: &[String]| {
        let relative = lines.iter().map(|line| anchored(line, &trigger.path));
        Patterns::new(relative).map_err(|reason| Failure::new("a pattern cannot be understood").because(reason))
    };
    let mut ignore = vec![(trigger.path.clone(), patterns(&trigger.ignore)?)];
    ignore.push((PathBuf::from("/"), patterns(&FLEETING.map(str::to_owned))?));
    ignore.extend(dockerignore(service)?);
    let include = if trigger.include.is_empty() { None } else { Some(patterns(&trigger.include)?) };
    let (path, target, initial_sync) = (trigger.path.clone(), trigger.target.clone(), trigger.initial_sync);
    Ok(Some(Rule { service: name.clone(), path, act, target, initial_sync, include, ignore }))
}

/// A pattern relative to the rule's path, also if it was written as an absolute one.
fn anchored(line: &str, path: &Path) -> String {
    let (mark, rest) = line.strip_prefix('!').map_or(("", line), |rest| ("!", rest));
    let relative = Path::new(rest).strip_prefix(path).ok().and_then(Path::to_str).unwrap_or(rest);
    format!("{mark}{}", relative.trim_start_matches("./"))
}

fn is_bound(service: &Service, path: &Path) -> bool {
    let binds = service.volumes.iter().filter(|volume| volume.kind == "bind").filter_map(|volume| volume.source.as_ref());
    binds.into_iter().any(|source| path.starts_with(source))
}

/// What the build of a service leaves out.
fn dockerignore(service: &Service) -> Result<Option<(PathBuf, Patterns)>> {
    let Some(context) = service.build.as_ref().and_then(|build| build.context.as_ref()) else { return Ok(None) };
    let context = PathBuf::from(context);
    let dockerfile = service.build.as_ref().and_then(|build| build.dockerfile.clone()).unwrap_or_else(|| "Dockerfile".to_owned());
    let files = [context.join(format!("{dockerfile}.dockerignore")), context.join(".dockerignore")];
    let Some(text) = files.iter().find_map(|file| fs::read_to_string(file).ok()) else { return Ok(None) };
    let mut lines = ignore_lines(&text);
    if lines.iter().any(|line| line == "*") {
        // Else nothing would be watched that a later line takes back.
        lines.retain(|line| line.starts_with('!'));
    }
    let patterns = Patterns::new(lines).map_err(|reason| Failure::new("its `.dockerignore` cannot be understood").because(reason))?;
    Ok(Some((context, patterns)))
}

impl Rule {
    /// Whether a change of this path is one that the rule is about.
    pub(super) fn concerns(&self, path: &Path) -> bool {
        let Ok(relative) = path.strip_prefix(&self.path) else { return false };
        let is_meant = self.include.as_ref().is_none_or(|include| include.matches(&text(relative)));
        is_meant && !self.is_ignored(path)
    }

    /// Whether a path is left out.
    pub(super) fn is_ignored(&self, path: &Path) -> bool {
        self.ignore.iter().any(|(anchor, patterns)| path.strip_prefix(anchor).is_ok_and(|relative| patterns.matches(&text(relative))))
    }

    /// Whether all below a directory is left out.
    pub(super) fn ignores_all_of(&self, directory: &Path) -> bool {
        self.ignore.iter().any(|(anchor, patterns)| {
            !patterns.has_exceptions() && directory.strip_prefix(anchor).is_ok_and(|relative| patterns.matches(&text(relative)))
        })
    }

    /// Where a file of the host belongs in the container.
    pub(super) fn place_of(&self, path: &Path) -> String {
        match path.strip_prefix(&self.path) {
            Ok(relative) if relative.as_os_str().is_empty() => match (self.target.ends_with('/'), path.file_name()) {
                (true, Some(name)) if path.is_file() => format!("{}{}", self.target, text(Path::new(name))),
                _ => self.target.clone(),
            },
            Ok(relative) => format!("{}/{}", self.target.trim_end_matches('/'), text(relative)),
            Err(_) => self.target.clone(),
        }
    }

    /// `watch /src of web: sync to /app`
    pub(super) fn described(&self) -> String {
        let act = match &self.act {
            Act::Rebuild => "rebuild".to_owned(),
            Act::Restart => "restart".to_owned(),
            Act::Sync => format!("sync to {}", self.target),
            Act::SyncRestart => format!("sync to {} and restart", self.target),
            Act::SyncExec(hook) => format!("sync to {} and run {}", self.target, hook.command.join(" ")),
        };
        format!("watch {} of service {}: {act}", self.path.display(), self.service)
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
