//! The plan of `down`: containers in reverse order of their dependencies, then networks, volumes, images.

use std::collections::BTreeMap;

use crate::compose::labels;
use crate::compose::observe::Found;
use crate::compose::observe::FoundContainer;
use crate::compose::plan::Action;
use crate::compose::plan::Plan;

/// What `down` was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DownOptions {
    /// Only these; empty is all.
    pub services: Vec<String>,
    /// The services the files have; None if there are no files.
    pub known: Option<Vec<String>>,
    pub orphans: bool,
    /// `-v`
    pub volumes: bool,
    /// The images to remove, by name.
    pub images: Vec<String>,
}

/// Plans a `down`.
pub fn down(project: &str, found: &Found, options: &DownOptions) -> Plan {
    let mut plan = Plan::default();
    let known = |container: &FoundContainer| options.known.as_ref().is_none_or(|known| known.contains(&container.service));
    let named = |container: &FoundContainer| options.services.is_empty() || options.services.contains(&container.service);
    let (going, orphans): (Vec<_>, Vec<_>) =
        found.containers.iter().filter(|container| named(container)).partition(|container| known(container) || options.orphans);
    if !orphans.is_empty() {
        let names: Vec<_> = orphans.iter().map(|orphan| orphan.name.as_str()).collect();
        plan.warnings.push(format!("orphan containers ({}) stay: `--remove-orphans` removes them too", names.join(", ")));
    }
    let removals = removals(&mut plan, &going);
    let stays: Vec<&FoundContainer> =
        found.containers.iter().filter(|container| !going.iter().any(|gone| gone.name == container.name)).collect();
    // Of named services, what nobody else has; of all, everything.
    let concerns = |has: &dyn Fn(&FoundContainer) -> bool| {
        (options.services.is_empty() || going.iter().any(|container| has(container))) && !stays.iter().any(|container| has(container))
    };
    for (name, network) in &found.networks {
        let is_ours = network.is_of(project) && network.labels.contains_key(labels::NETWORK);
        if is_ours && concerns(&|container| container.networks.contains(name)) {
            plan.add(Action::RemoveNetwork { name: name.clone() }, removals.clone(), None);
        }
    }
    if options.volumes {
        for (name, volume) in &found.volumes {
            let is_ours = volume.is_of(project) && volume.labels.contains_key(labels::VOLUME);
            if is_ours && concerns(&|container| container.volumes.contains(name)) {
                plan.add(Action::RemoveVolume { name: name.clone() }, removals.clone(), None);
            }
        }
    }
    for image in &options.images {
        plan.add(Action::RemoveImage { image: image.clone() }, removals.clone(), None);
    }
    plan
}

/// Removes containers, each after those that depend on it; returns all the steps.
fn removals(plan: &mut Plan, going: &[&FoundContainer]) -> Vec<usize> {
    let mut steps: BTreeMap<&str, usize> = BTreeMap::new();
    let mut left: Vec<_> = going.to_vec();
    while !left.is_empty() {
        let depended_on = |container: &FoundContainer, left: &[&FoundContainer]| {
            left.iter().any(|other| other.service != container.service && depends(other, container))
        };
        let (mut ready, later): (Vec<&FoundContainer>, Vec<&FoundContainer>) =
            left.iter().partition(|container| !depended_on(container, &left));
        if ready.is_empty() {
            // Labels that name each other in a circle: then the order does not matter.
            ready = later.clone();
        }
        for container in &ready {
            let after = going.iter().filter(|other| depends(other, container)).filter_map(|other| steps.get(other.name.as_str()).copied());
            let after = after.collect();
            let step = plan.add(Action::RemoveContainer { name: container.name.clone() }, after, None);
            steps.insert(&container.name, step);
        }
        left.retain(|container| !steps.contains_key(container.name.as_str()));
    }
    steps.into_values().collect()
}

fn depends(dependent: &FoundContainer, on: &FoundContainer) -> bool {
    dependent.depends_on.contains(&on.service) || dependent.shares_network_of.as_ref() == Some(&on.id)
}
