//! The steps from what is found to what is wanted.
//!
//! Pure: looks at nothing but its arguments. `super::apply` carries the steps out. A plan prints as a numbered list,
//! each step with the steps it comes after and its cause; that text is `up --dry-run`.

mod down;
mod operate;
mod order;
mod up;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::fmt::Formatter;
use std::fmt::Result as FmtResult;

use serde::Serialize;

pub use down::DownOptions;
pub use down::down;
pub use operate::Operation;
pub use operate::operate;
pub use up::chosen;
pub use up::up;

/// Steps in an order in which they could be carried out one by one.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// What the user should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Containers that run and stay as they are, by name.
    #[serde(skip)]
    pub kept: Vec<String>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    #[serde(flatten)]
    pub action: Action,
    /// The steps that must be done before, counted from 0.
    pub after: Vec<usize>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// What is done. Containers are known by name; those that are there by id too.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case", tag = "action")]
pub enum Action {
    PullImage {
        image: String,
    },
    BuildImage {
        service: String,
        image: String,
    },
    RemoveImage {
        image: String,
    },
    /// The steps that go before a container's program, each in a container of its own.
    RunPreStart {
        service: String,
        name: String,
        steps: Steps,
    },
    /// Another program brings up what it provides.
    BringUpProvider {
        service: String,
    },
    CreateNetwork {
        key: String,
        name: String,
    },
    RemoveNetwork {
        name: String,
    },
    CreateVolume {
        key: String,
        name: String,
    },
    RemoveVolume {
        name: String,
    },
    CreateContainer {
        service: String,
        number: u32,
        name: String,
    },
    /// Stops and removes the old one and makes a new one that takes over its anonymous volumes.
    RecreateContainer {
        service: String,
        number: u32,
        name: String,
        old: String,
    },
    StartContainer {
        name: String,
    },
    StopContainer {
        name: String,
    },
    /// Stops it first if it runs.
    RemoveContainer {
        name: String,
    },
    KillContainer {
        name: String,
    },
    PauseContainer {
        name: String,
    },
    UnpauseContainer {
        name: String,
    },
    /// Waits for all containers of a service.
    Await {
        service: String,
        condition: Condition,
        containers: Vec<String>,
        required: bool,
    },
}

/// Which of a service's first steps are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Steps {
    All,
    /// Those that each container has for itself.
    PerReplica,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    Healthy,
    Completed,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Adds a step and returns its number.
    fn add(&mut self, action: Action, after: Vec<usize>, cause: impl Into<Option<String>>) -> usize {
        let mut after = after;
        after.sort_unstable();
        after.dedup();
        self.steps.push(Step { action, after, cause: cause.into() });
        self.steps.len() - 1
    }

    /// The services that get new containers, each once.
    pub fn services_made(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        let made = self.steps.iter().filter_map(|step| match &step.action {
            Action::CreateContainer { service, .. } | Action::RecreateContainer { service, .. } => Some(service.as_str()),
            _ => None,
        });
        made.filter(|service| seen.insert(*service)).collect()
    }

    /// Whether images must be brought first; what comes after depends on what they are then.
    pub fn brings_images(&self) -> bool {
        self.steps.iter().any(Step::brings_image)
    }

    /// Only the steps that bring images.
    pub fn images(&self) -> Plan {
        let kept: Vec<usize> = (0..self.steps.len()).filter(|at| self.steps[*at].brings_image()).collect();
        let places: BTreeMap<usize, usize> = kept.iter().enumerate().map(|(place, at)| (*at, place)).collect();
        let moved = |after: &usize| places.get(after).copied();
        let steps =
            kept.iter().map(|at| Step { after: self.steps[*at].after.iter().filter_map(moved).collect(), ..self.steps[*at].clone() });
        Plan { steps: steps.collect(), ..Plan::default() }
    }
}

impl Step {
    fn brings_image(&self) -> bool {
        matches!(self.action, Action::PullImage { .. } | Action::BuildImage { .. })
    }
}

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> FmtResult {
        for (at, step) in self.steps.iter().enumerate() {
            writeln!(f, "{}. {step}", at + 1)?;
        }
        Ok(())
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> FmtResult {
        write!(f, "{}", self.action)?;
        if !self.after.is_empty() {
            let numbers: Vec<_> = self.after.iter().map(|at| (at + 1).to_string()).collect();
            write!(f, " after {}", numbers.join(", "))?;
        }
        match &self.cause {
            Some(cause) => write!(f, " ({cause})"),
            None => Ok(()),
        }
    }
}

impl Display for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> FmtResult {
        match self {
            Action::PullImage { image } => write!(f, "pull image {image}"),
            Action::BuildImage { image, .. } => write!(f, "build image {image}"),
            Action::RemoveImage { image } => write!(f, "remove image {image}"),
            Action::BringUpProvider { service } => write!(f, "bring up provided service {service}"),
            Action::RunPreStart { name, .. } => write!(f, "run the first steps of container {name}"),
            Action::CreateNetwork { name, .. } => write!(f, "create network {name}"),
            Action::RemoveNetwork { name } => write!(f, "remove network {name}"),
            Action::CreateVolume { name, .. } => write!(f, "create volume {name}"),
            Action::RemoveVolume { name } => write!(f, "remove volume {name}"),
            Action::CreateContainer { name, .. } => write!(f, "create container {name}"),
            Action::RecreateContainer { name, .. } => write!(f, "recreate container {name}"),
            Action::StartContainer { name } => write!(f, "start container {name}"),
            Action::StopContainer { name } => write!(f, "stop container {name}"),
            Action::RemoveContainer { name } => write!(f, "remove container {name}"),
            Action::KillContainer { name } => write!(f, "kill container {name}"),
            Action::PauseContainer { name } => write!(f, "pause container {name}"),
            Action::UnpauseContainer { name } => write!(f, "unpause container {name}"),
            Action::Await { service, condition: Condition::Healthy, .. } => write!(f, "wait until {service} is healthy"),
            Action::Await { service, condition: Condition::Completed, .. } => write!(f, "wait until {service} has completed"),
        }
    }
}

/// What `up` was asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// Only these and what they depend on; empty is all.
    pub services: Vec<String>,
    pub dependencies: Dependencies,
    pub recreate: Recreate,
    /// The same for those that are not named, but depended on.
    pub recreate_dependencies: Recreate,
    /// `--scale`, by service.
    pub scale: BTreeMap<String, u32>,
    pub orphans: Orphans,
    pub start: Start,
    pub images: Images,
    pub resources: Resources,
    pub providers: Providers,
    /// Services that have been brought up a moment ago: nothing calls for them to be made anew once more.
    pub settled: BTreeSet<String>,
}

/// Whether services that other programs provide are brought up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Providers {
    #[default]
    Wanted,
    /// What this one depends on is made ready for it; it itself is not brought up, and no other.
    Next(String),
    /// They have been already.
    Settled,
}

/// Whether what a service depends on is brought up too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dependencies {
    #[default]
    Included,
    /// `--no-deps`
    Left,
    /// Only what the named services depend on, not themselves: before a `compose run`.
    Only,
}

/// When a container that is there is made anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Recreate {
    #[default]
    Changed,
    /// `--force-recreate`, `--always-recreate-deps`
    Always,
    /// `--no-recreate`
    Never,
}

/// What becomes of containers of services that the files do not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Orphans {
    #[default]
    Warn,
    /// `COMPOSE_IGNORE_ORPHANS`
    Ignore,
    Remove,
}

/// Whether containers are started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    #[default]
    Yes,
    /// `--no-start`, `create`
    No,
}

/// Which networks and volumes are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Resources {
    /// Those of the chosen services.
    #[default]
    Used,
    /// `--all-resources`
    All,
}

/// Which images are brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Images {
    /// Those that are not there, as each service's `pull_policy` says.
    #[default]
    Missing,
    /// `--build`: all that can be built are built.
    Build,
    /// `--pull always`
    Pull,
    /// `--pull never`
    NeverPull,
    /// `--no-build`
    NeverBuild,
    /// They have been brought already.
    Settled,
}
