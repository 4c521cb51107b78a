//! The plans of `start`, `stop`, `restart`, `kill`, `pause`, `unpause` and `rm`: for containers that are there.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::compose::observe::Found;
use crate::compose::observe::FoundContainer;
use crate::compose::plan::Action;
use crate::compose::plan::Plan;
use crate::container::Status;

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
    let services = if operation == Operation::Restart { with_dependents(found, services) } else { services.to_vec() };
    let chosen = found.containers.iter().filter(|container| services.is_empty() || services.contains(&container.service));
    let mut chosen: Vec<_> = chosen.filter(|container| concerns(operation, container)).collect();
    by_dependency(&mut chosen);
    if matches!(operation, Operation::Stop | Operation::StopAndRemove) {
        chosen.reverse();
    }
    let mut plan = Plan::default();
    let mut last: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for container in &chosen {
        let after = neighbours(&chosen, container, operation).flat_map(|service| last.get(service).cloned().unwrap_or_default()).collect();
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
fn with_dependents(found: &Found, services: &[String]) -> Vec<String> {
    let mut all = services.to_vec();
    let mut seen = 0;
    while seen < all.len() {
        let service = all[seen].clone();
        seen += 1;
        let dependents = found.containers.iter().filter(|container| container.restarts_with.contains(&service));
        for dependent in dependents {
            if !all.contains(&dependent.service) {
                all.push(dependent.service.clone());
            }
        }
    }
    all
}

fn concerns(operation: Operation, container: &FoundContainer) -> bool {
    match operation {
        Operation::Start => !container.is_up() && !container.one_off,
        // What `run` has started, its terminal or `kill` ends.
        Operation::Stop => container.is_up() && !container.one_off,
        Operation::Kill => container.is_up(),
        Operation::Restart | Operation::RestartAlone => !container.one_off,
        Operation::Pause => container.status == Status::Running && !container.one_off,
        Operation::Unpause => container.status == Status::Paused && !container.one_off,
        Operation::Remove => !container.is_up(),
        Operation::StopAndRemove => true,
    }
}

/// The services whose steps must come before this container's.
fn neighbours<'a>(chosen: &[&'a FoundContainer], container: &'a FoundContainer, operation: Operation) -> impl Iterator<Item = &'a str> {
    let stops = matches!(operation, Operation::Stop | Operation::StopAndRemove | Operation::Remove);
    let comes_before = |other: &&FoundContainer| match stops {
        true => other.depends_on.contains(&container.service),
        false => container.depends_on.contains(&other.service),
    };
    let before: BTreeSet<&str> = chosen.iter().copied().filter(comes_before).map(|other| other.service.as_str()).collect();
    before.into_iter()
}

/// Puts containers after those they depend on.
fn by_dependency(containers: &mut Vec<&FoundContainer>) {
    let mut left = std::mem::take(containers);
    while !left.is_empty() {
        let waits = |container: &FoundContainer| {
            left.iter().any(|other| other.service != container.service && container.depends_on.contains(&other.service))
        };
        let (later, ready): (Vec<&FoundContainer>, Vec<&FoundContainer>) = left.iter().partition(|container| waits(container));
        if ready.is_empty() {
            // Labels that name each other in a circle: then the order does not matter.
            containers.extend(later);
            return;
        }
        containers.extend(ready);
        left = later;
    }
}
