//! The plan of `down`: containers in reverse order of their dependencies, then networks, volumes, images.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::compose::labels;
use crate::compose::observe::Found;
use crate::compose::observe::FoundContainer;
use crate::compose::plan::Action;
use crate::compose::plan::Plan;
use crate::compose::plan::order;

/// What `down` was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DownOptions {
    /// Only these; empty is all.
    pub services: Vec<String>,
    /// The services the files have; None if there are no files.
    pub known: Option<Vec<String>>,
    /// Those of them that no active profile enables: their containers stay unless they are named.
    pub idle: Vec<String>,
    pub orphans: bool,
    /// `-v`
    pub volumes: bool,
    /// The images to remove, by name.
    pub images: Vec<String>,
}

/// Plans a `down`.
pub fn down(project: &str, found: &Found, options: &DownOptions) -> Plan {
    let mut plan = Plan::default();
    let known: Option<BTreeSet<&String>> = options.known.as_ref().map(|known| known.iter().collect());
    let named: BTreeSet<&String> = options.services.iter().collect();
    let (mut going, mut stays, mut orphans) = (Vec::new(), Vec::new(), Vec::new());
    for container in &found.containers {
        let is_left = if named.is_empty() { options.idle.contains(&container.service) } else { !named.contains(&container.service) };
        if is_left {
            stays.push(container);
        } else if options.orphans || known.as_ref().is_none_or(|known| known.contains(&container.service)) {
            going.push(container);
        } else {
            orphans.push(container.name.as_str());
            stays.push(container);
        }
    }
    if !orphans.is_empty() {
        plan.warnings.push(format!("orphan containers ({}) stay: `--remove-orphans` removes them too", orphans.join(", ")));
    }
    let removals = removals(&mut plan, &going);
    // Of named services, what nobody else has; of all, everything.
    let concerns = |held: fn(&FoundContainer) -> &[String]| {
        let names = |containers: &[&'_ FoundContainer]| containers.iter().flat_map(|container| held(container).to_vec()).collect();
        let (gone, kept): (BTreeSet<String>, BTreeSet<String>) = (names(&going), names(&stays));
        move |name: &String| (options.services.is_empty() || gone.contains(name)) && !kept.contains(name)
    };
    let network_concerns = concerns(|container| &container.networks);
    for (name, network) in &found.networks {
        if network.is_of(project) && network.labels.contains_key(labels::NETWORK) && network_concerns(name) {
            plan.add(Action::RemoveNetwork { name: name.clone() }, removals.clone(), None);
        }
    }
    if options.volumes {
        let volume_concerns = concerns(|container| &container.volumes);
        for (name, volume) in &found.volumes {
            if volume.is_of(project) && volume.labels.contains_key(labels::VOLUME) && volume_concerns(name) {
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
    let dependents = dependents(going);
    let of_others = |(at, dependents): (usize, &Vec<usize>)| {
        dependents.iter().copied().filter(|other| going[*other].service != going[at].service).collect()
    };
    let waits_for: Vec<Vec<usize>> = dependents.iter().enumerate().map(of_others).collect();
    let mut steps: Vec<Option<usize>> = vec![None; going.len()];
    for at in order::in_rounds(&waits_for) {
        let after = dependents[at].iter().filter_map(|other| steps[*other]).collect();
        steps[at] = Some(plan.add(Action::RemoveContainer { name: going[at].name.clone() }, after, None));
    }
    steps.into_iter().flatten().collect()
}

/// For each container those that depend on it, or share its network.
fn dependents(containers: &[&FoundContainer]) -> Vec<Vec<usize>> {
    let mut of_service: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, container) in containers.iter().enumerate() {
        of_service.entry(&container.service).or_default().push(at);
    }
    let by_id: BTreeMap<&str, usize> = containers.iter().enumerate().map(|(at, container)| (container.id.as_str(), at)).collect();
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); containers.len()];
    for (at, container) in containers.iter().enumerate() {
        let services = container.depends_on.iter().filter_map(|service| of_service.get(service.as_str()));
        let shared = container.shares_network_of.iter().filter_map(|id| by_id.get(id.as_str()));
        services.flatten().chain(shared).for_each(|on| dependents[*on].push(at));
    }
    dependents.iter_mut().for_each(Vec::dedup);
    dependents
}
