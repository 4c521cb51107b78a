//! The plan of `up`: images, networks, volumes, then containers along their dependencies.

mod containers;
mod images;
mod resources;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::compose::model::Project;
use crate::compose::model::Service;
use crate::compose::observe::Found;
use crate::compose::observe::FoundContainer;
use crate::compose::plan::Action;
use crate::compose::plan::Dependencies;
use crate::compose::plan::Options;
use crate::compose::plan::Orphans;
use crate::compose::plan::Plan;
use crate::compose::recipe::Recipe;
use crate::failure::Failure;
use crate::failure::Result;

/// Everything the parts of the plan look at and add to.
struct Planner<'a> {
    project: &'a Project,
    found: &'a Found,
    options: &'a Options,
    recipes: &'a BTreeMap<String, Recipe>,
    /// The containers of each service, by number; one-off ones left out.
    containers: BTreeMap<&'a str, Vec<&'a FoundContainer>>,
    /// The services that were named.
    named: BTreeSet<&'a str>,
    plan: Plan,
    /// The steps that bring an image, make a network or volume, by name.
    made: BTreeMap<String, usize>,
    /// Networks that are made anew because their settings changed.
    renewed_networks: BTreeSet<String>,
    /// For each service, the steps after which it has been started.
    started: BTreeMap<String, Vec<usize>>,
    /// Services some container of which is made anew.
    renewed: BTreeSet<String>,
    /// Waiting steps, by service and condition.
    awaited: BTreeMap<(String, &'static str), usize>,
    /// Services of which a container runs and stays as it is.
    running: BTreeSet<&'a str>,
    /// For each service, the step that has run those of its first steps that all its containers share.
    prepared: BTreeMap<String, usize>,
}

/// Plans an `up`. `recipes` holds what each service is to be made from.
///
/// # Errors
/// A service that is not there; an external network or volume that is not; a network of the wanted name that belongs
/// to somebody else; an image that may not be brought.
pub fn up(project: &Project, found: &Found, options: &Options, recipes: &BTreeMap<String, Recipe>) -> Result<Plan> {
    let mut planner = Planner {
        project,
        found,
        options,
        recipes,
        containers: by_service(found),
        named: options.services.iter().map(String::as_str).collect(),
        plan: Plan::default(),
        made: BTreeMap::new(),
        renewed_networks: BTreeSet::new(),
        started: BTreeMap::new(),
        renewed: BTreeSet::new(),
        awaited: BTreeMap::new(),
        running: BTreeSet::new(),
        prepared: BTreeMap::new(),
    };
    let services = chosen(project, options)?;
    planner.orphans();
    planner.images(&services)?;
    planner.networks(&services)?;
    planner.volumes(&services)?;
    for name in &services {
        planner.service((name, &project.services[name]))?;
    }
    Ok(planner.plan)
}

fn by_service(found: &Found) -> BTreeMap<&str, Vec<&FoundContainer>> {
    let mut containers: BTreeMap<&str, Vec<&FoundContainer>> = BTreeMap::new();
    for container in found.containers.iter().filter(|container| !container.one_off) {
        containers.entry(&container.service).or_default().push(container);
    }
    containers.values_mut().for_each(|containers| containers.sort_by_key(|container| container.number));
    containers
}

impl Planner<'_> {
    fn orphans(&mut self) {
        let known = |name: &String| self.project.services.contains_key(name) || self.project.disabled.contains_key(name);
        let orphans: Vec<_> = self.found.containers.iter().filter(|found| !found.one_off && !known(&found.service)).collect();
        if orphans.is_empty() {
            return;
        }
        match self.options.orphans {
            Orphans::Ignore => {}
            Orphans::Remove => {
                for orphan in orphans {
                    let cause = format!("no service {}", orphan.service);
                    self.plan.add(Action::RemoveContainer { name: orphan.name.clone() }, Vec::new(), cause);
                }
            }
            Orphans::Warn => {
                let names: Vec<_> = orphans.iter().map(|orphan| orphan.name.as_str()).collect();
                self.plan.warnings.push(format!(
                    "found orphan containers ({}) for this project: if you removed or renamed their service, `--remove-orphans` cleans them up",
                    names.join(", ")
                ));
            }
        }
    }
}

/// The services to bring up, each after those it depends on.
///
/// # Errors
/// A service that is not there.
pub fn chosen(project: &Project, options: &Options) -> Result<Vec<String>> {
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    let named: BTreeSet<&String> = options.services.iter().collect();
    let wanted: Vec<&String> =
        if options.services.is_empty() { project.services.keys().collect() } else { options.services.iter().collect() };
    for name in wanted {
        if !project.services.contains_key(name) {
            return Err(no_service(project, name));
        }
        visit((project, options.dependencies), name, (&mut order, &mut seen));
    }
    if options.dependencies == Dependencies::Only {
        order.retain(|name| !named.is_empty() && !named.contains(name));
    }
    Ok(order)
}

/// A failure that says which services there are.
pub(super) fn no_service(project: &Project, name: &str) -> Failure {
    let failure = Failure::new(format!("no such service: {name}"));
    match project.disabled.get(name) {
        Some(service) => {
            failure.hint(format!("no active profile enables it: add `--profile {}`", service.profiles.first().map_or("", String::as_str)))
        }
        None => failure.hint(format!("the services are {}", project.services.keys().cloned().collect::<Vec<_>>().join(", "))),
    }
}

/// Adds a service after those it needs.
fn visit<'a>(
    (project, dependencies): (&'a Project, Dependencies),
    name: &'a str,
    (order, seen): (&mut Vec<String>, &mut BTreeSet<&'a str>),
) {
    let needed = |name: &'a str| match (project.services.get(name), dependencies) {
        (None, _) | (_, Dependencies::Left) => BTreeSet::new(),
        (Some(service), _) => needed(service),
    };
    if !seen.insert(name) {
        return;
    }
    // Not by recursion: a chain of services may be longer than our stack is deep. A circle was refused by the loader; it ends here too.
    let mut way = vec![(name, needed(name).into_iter())];
    while let Some((name, rest)) = way.last_mut() {
        match rest.next() {
            Some(next) if project.services.contains_key(next) && seen.insert(next) => way.push((next, needed(next).into_iter())),
            Some(_) => {}
            None => {
                order.push((*name).to_owned());
                way.pop();
            }
        }
    }
}

/// The services that must be there before this one.
fn needed(service: &Service) -> BTreeSet<&str> {
    service.depends_on.keys().map(String::as_str).chain(joined_services(service)).collect()
}

/// The services whose network, processes, IPC or volumes this one shares: it is joined to their very containers.
fn joined_services(service: &Service) -> impl Iterator<Item = &str> {
    let modes = [&service.network_mode, &service.pid, &service.ipc];
    let shared = modes.into_iter().flatten().filter_map(|mode| mode.strip_prefix("service:"));
    let borrowed = service.volumes_from.iter().filter(|text| !text.starts_with("container:"));
    shared.chain(borrowed.map(|text| text.split(':').next().unwrap_or_default()))
}
