//! The plan of `up`: images, networks, volumes, then containers along their dependencies.

mod containers;
mod images;
mod resources;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::compose::model::Project;
use crate::compose::model::Service;
use crate::compose::observe::Found;
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
        plan: Plan::default(),
        made: BTreeMap::new(),
        renewed_networks: BTreeSet::new(),
        started: BTreeMap::new(),
        renewed: BTreeSet::new(),
        awaited: BTreeMap::new(),
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
    let mut on_the_way = Vec::new();
    let named: Vec<&String> =
        if options.services.is_empty() { project.services.keys().collect() } else { options.services.iter().collect() };
    for name in &named {
        if !project.services.contains_key(*name) {
            return Err(no_service(project, name));
        }
        visit(project, name, options.dependencies, (&mut order, &mut on_the_way));
    }
    if options.dependencies == Dependencies::Only {
        order.retain(|name| !named.contains(&name));
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

fn visit(project: &Project, name: &str, dependencies: Dependencies, (order, on_the_way): (&mut Vec<String>, &mut Vec<String>)) {
    // A cycle was refused by the loader; a second look at one that is on the way only keeps this from running away.
    if order.iter().any(|done| done == name) || on_the_way.iter().any(|begun| begun == name) {
        return;
    }
    let Some(service) = project.services.get(name) else { return };
    on_the_way.push(name.to_owned());
    if dependencies != Dependencies::Left {
        for dependency in needed(service) {
            visit(project, &dependency, dependencies, (order, on_the_way));
        }
    }
    on_the_way.pop();
    order.push(name.to_owned());
}

/// The services that must be there before this one.
fn needed(service: &Service) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = service.depends_on.keys().cloned().collect();
    names.extend(joined_services(service).map(str::to_owned));
    names
}

/// The services whose network, processes, IPC or volumes this one shares: it is joined to their very containers.
fn joined_services(service: &Service) -> impl Iterator<Item = &str> {
    let modes = [&service.network_mode, &service.pid, &service.ipc];
    let shared = modes.into_iter().flatten().filter_map(|mode| mode.strip_prefix("service:"));
    let borrowed = service.volumes_from.iter().filter(|text| !text.starts_with("container:"));
    shared.chain(borrowed.map(|text| text.split(':').next().unwrap_or_default()))
}
