//! The plans of `start`, `stop`, `restart`, `kill`, `pause`, `unpause` and `rm`: for containers that are there.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::compose::observe::Found;
use crate::compose::observe::FoundContainer;
use crate::compose::plan::Action;
use crate::compose::plan::Plan;
use crate::compose::plan::order;

/// What is done to containers that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Start,
    Stop,
    /// With those that `depends_on` wants restarted too.
    Restart,
    /// `--no-deps`
    RestartAlone,
    Kill,
    Pause,
    Unpause,
    /// Only those that do not run.
    Remove,
    /// All of them.
    StopAndRemove,
}

/// Plans an operation on the containers of some services, or of all if none is named.
pub fn operate(found: &Found, services: &[String], operation: Operation) -> Plan {
    let named: BTreeSet<&str> = services.iter().map(String::as_str).collect();
    let services = if operation == Operation::Restart { with_dependents(found, named) } else { named };
    let chosen = found.containers.iter().filter(|container| services.is_empty() || services.contains(container.service.as_str()));
    let mut chosen = by_dependency(chosen.filter(|container| concerns(operation, container)).collect());
    if matches!(operation, Operation::Stop | Operation::StopAndRemove) {
        chosen.reverse();
    }
    let neighbours = neighbours(&chosen, operation);
    let mut plan = Plan::default();
    let mut last: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for container in &chosen {
        let before = neighbours.get(container.service.as_str()).into_iter().flatten();
        let after = before.filter_map(|service| last.get(service)).flatten().copied().collect();
        let name = container.name.clone();
        let step = match operation {
            Operation::Start => plan.add(Action::StartContainer { name }, after, None),
            Operation::Stop => plan.add(Action::StopContainer { name }, after, None),
            Operation::Restart | Operation::RestartAlone => {
                let stop = plan.add(Action::StopContainer { name: name.clone() }, Vec::new(), None);
                let after = after.into_iter().chain([stop]).collect();
                plan.add(Action::StartContainer { name }, after, None)
            }
            Operation::Kill => plan.add(Action::KillContainer { name }, Vec::new(), None),
            Operation::Pause => plan.add(Action::PauseContainer { name }, Vec::new(), None),
            Operation::Unpause => plan.add(Action::UnpauseContainer { name }, Vec::new(), None),
            Operation::Remove | Operation::StopAndRemove => plan.add(Action::RemoveContainer { name }, after, None),
        };
        last.entry(&container.service).or_default().push(step);
    }
    plan
}

/// The services with those that restart when they do.
fn with_dependents<'a>(found: &'a Found, mut services: BTreeSet<&'a str>) -> BTreeSet<&'a str> {
    let mut dependents: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in &found.containers {
        for service in &container.restarts_with {
            dependents.entry(service).or_default().insert(&container.service);
        }
    }
    let mut open: Vec<&str> = services.iter().copied().collect();
    while let Some(service) = open.pop() {
        open.extend(dependents.get(service).into_iter().flatten().filter(|dependent| services.insert(dependent)));
    }
    services
}

fn concerns(operation: Operation, container: &FoundContainer) -> bool {
    match operation {
        Operation::Start => !container.is_up() && !container.one_off,
        // What `run` has started, its terminal or `kill` ends.
        Operation::Stop => container.is_up() && !container.one_off,
        Operation::Kill => container.is_up(),
        Operation::Restart | Operation::RestartAlone => !container.one_off,
        // That one is paused already, or is not, is a failure, as with docker compose.
        Operation::Pause | Operation::Unpause => container.is_up() && !container.one_off,
        Operation::Remove => !container.is_up(),
        Operation::StopAndRemove => true,
    }
}

/// For each service those whose steps must come before its own.
fn neighbours<'a>(chosen: &[&'a FoundContainer], operation: Operation) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let stops = matches!(operation, Operation::Stop | Operation::StopAndRemove | Operation::Remove);
    let mut neighbours: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in chosen {
        for on in &container.depends_on {
            let (before, after) = if stops { (&container.service, on) } else { (on, &container.service) };
            neighbours.entry(after).or_default().insert(before);
        }
    }
    neighbours
}

/// Puts containers after those they depend on.
fn by_dependency(containers: Vec<&FoundContainer>) -> Vec<&FoundContainer> {
    let mut of_service: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, container) in containers.iter().enumerate() {
        of_service.entry(&container.service).or_default().push(at);
    }
    let waits_for = |container: &&FoundContainer| {
        let others = container.depends_on.iter().filter(|service| **service != container.service);
        others.filter_map(|service| of_service.get(service.as_str())).flatten().copied().collect()
    };
    let waits_for: Vec<Vec<usize>> = containers.iter().map(waits_for).collect();
    order::in_rounds(&waits_for).into_iter().map(|at| containers[at]).collect()
}
