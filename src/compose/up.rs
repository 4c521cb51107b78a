//! `up` from one end to the other: observe, plan, apply.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;

use crate::compose::apply;
use crate::compose::apply::Job;
use crate::compose::apply::Kind;
use crate::compose::apply::Manner;
use crate::compose::apply::Phase;
use crate::compose::apply::Watch;
use crate::compose::convert;
use crate::compose::labels;
use crate::compose::model::Project;
use crate::compose::observe;
use crate::compose::observe::Found;
use crate::compose::plan;
use crate::compose::plan::Action;
use crate::compose::plan::Dependencies;
use crate::compose::plan::DownOptions;
use crate::compose::plan::Images;
use crate::compose::plan::Operation;
use crate::compose::plan::Options;
use crate::compose::plan::Orphans;
use crate::compose::plan::Plan;
use crate::compose::plan::Providers;
use crate::compose::plan::Resources;
use crate::compose::plan::Start;
use crate::compose::provider;
use crate::compose::recipe::Recipe;
use crate::compose::resource;
use crate::failure::Result;
use crate::place::Home;
use crate::state::Lock;

/// Plans an `up` and changes nothing.
///
/// # Errors
/// As [`plan::up`].
pub fn plan_up(home: &Home, project: &Project, options: &Options) -> Result<Plan> {
    let found = observe::observe(home, project)?;
    let plan = plan::up(project, &found, options, &recipes(project)?)?;
    apply::check(home, project, &plan)?;
    Ok(plan)
}

/// Plans a `down` and changes nothing.
///
/// # Errors
/// A store that cannot be read.
pub fn plan_down(home: &Home, name: &str, options: &DownOptions) -> Result<Plan> {
    Ok(plan::down(name, &observe::observe_by_name(home, name)?, options))
}

/// Plans a start, stop, restart … and changes nothing.
///
/// # Errors
/// A store that cannot be read.
pub fn plan_operate(home: &Home, name: &str, (services, operation): (&[String], Operation)) -> Result<Plan> {
    Ok(plan::operate(&observe::observe_by_name(home, name)?, services, operation))
}

/// A plan of steps that bring images; a build comes after those of the services that it reads from.
pub fn plan_images(project: &Project, actions: Vec<Action>) -> Plan {
    let mut planned = Planned::default();
    for action in actions {
        planned.add(project, action);
    }
    planned.plan
}

/// Steps that bring images, each once.
#[derive(Default)]
struct Planned {
    plan: Plan,
    places: HashMap<Action, usize>,
    /// The services whose builds are being planned, each for the one before.
    open: Vec<String>,
}

impl Planned {
    /// Adds one, unless it is there; says which it is.
    fn add(&mut self, project: &Project, action: Action) -> usize {
        if let Some(at) = self.places.get(&action) {
            return *at;
        }
        let mut after = Vec::new();
        if let Action::BuildImage { service, .. } = &action {
            self.open.push(service.clone());
            let needed =
                project.services.get(service).and_then(|service| service.build.as_ref()).into_iter().flat_map(|build| build.services());
            for name in needed.filter(|name| project.services.contains_key(*name)) {
                // A circle is left open: the build that comes first says which image it misses.
                if !self.open.iter().any(|open| open == name) {
                    let image = labels::image_name(project, (name, &project.services[name]));
                    after.push(self.add(project, Action::BuildImage { service: name.to_owned(), image }));
                }
            }
            self.open.pop();
        }
        self.places.insert(action.clone(), self.plan.steps.len());
        self.plan.steps.push(plan::Step { action, after, cause: None });
        self.plan.steps.len() - 1
    }
}

/// Brings a project up: images first, then, with what they are now, all the rest.
///
/// # Errors
/// What could not be done. The same `up` again continues.
pub fn up(home: &Home, project: &Project, options: &Options, (manner, watch): (Manner, &dyn Watch)) -> Result<()> {
    let _lock = lock(home, &project.name, watch)?;
    let Some((project, settled)) = provided(home, (project, options), (&manner, watch))? else {
        return bring(home, (project, options), (&manner, watch));
    };
    let options = Options { providers: Providers::Settled, settled, ..options.clone() };
    bring(home, (&project, &options), (&manner, watch))
}

/// One plan from one end to the other.
fn bring(home: &Home, (project, options): (&Project, &Options), (manner, watch): (&Manner, &dyn Watch)) -> Result<()> {
    let before = observe::observe(home, project)?;
    let recipes = recipes(project)?;
    let first = plan::up(project, &before, options, &recipes)?;
    apply::check(home, project, &first)?;
    let job = |found| Job { home, name: &project.name, project: Some(project), found, recipes: &recipes, manner: manner.clone(), watch };
    let (found, plan) = if first.brings_images() {
        apply::apply(&job(&before), &first.images())?;
        let found = observe::observe(home, project)?;
        let plan = plan::up(project, &found, &Options { images: Images::Settled, ..options.clone() }, &recipes)?;
        (found, plan)
    } else {
        (before.clone(), first)
    };
    plan.warnings.iter().for_each(|warning| watch.warn(warning));
    uncarried(project, &plan).iter().for_each(|warning| watch.warn(warning));
    plan.kept.iter().filter(|name| !is_settled(options, &found, name)).for_each(|name| watch.event(Kind::Container, name, Phase::Running));
    apply::apply(&job(&found), &plan)
}

/// Whether it has been said of a container that it runs.
fn is_settled(options: &Options, found: &Found, name: &str) -> bool {
    found.containers.iter().any(|found| found.name == name && options.settled.contains(&found.service))
}

/// Brings up what other programs provide, each after what it depends on; returns the project with what they say, and the services that
/// are up now. None if there is nothing of that.
fn provided(
    home: &Home,
    (project, options): (&Project, &Options),
    (manner, watch): (&Manner, &dyn Watch),
) -> Result<Option<(Project, BTreeSet<String>)>> {
    let services = plan::chosen(project, options)?;
    if options.start == Start::No || services.iter().all(|name| project.services[name].provider.is_none()) {
        return Ok(None);
    }
    // What could not be carried out afterwards is not begun.
    apply::check(home, project, &plan::up(project, &observe::observe(home, project)?, options, &recipes(project)?)?)?;
    let mut project = project.clone();
    let mut settled = BTreeSet::new();
    for name in services.iter().filter(|name| project.services[*name].provider.is_some()).cloned().collect::<Vec<_>>() {
        if options.dependencies != Dependencies::Left && !project.services[&name].depends_on.is_empty() {
            let next = Options {
                services: vec![name.clone()],
                dependencies: Dependencies::Included,
                orphans: Orphans::Ignore,
                resources: Resources::Used,
                providers: Providers::Next(name.clone()),
                settled: settled.clone(),
                ..options.clone()
            };
            bring(home, (&project, &next), (manner, watch))?;
            settled.extend(project.needs(std::slice::from_ref(&name)));
        }
        provider::up(&mut project, &name, watch)?;
    }
    Ok(Some((project, settled)))
}

/// Takes a project down. Its files need not be there.
///
/// # Errors
/// What could not be done; the rest is done.
pub fn down(home: &Home, name: &str, options: &DownOptions, (manner, watch): (Manner, &dyn Watch)) -> Result<Plan> {
    let _lock = lock(home, name, watch)?;
    let found = observe::observe_by_name(home, name)?;
    let plan = plan::down(name, &found, options);
    plan.warnings.iter().for_each(|warning| watch.warn(warning));
    let recipes = BTreeMap::new();
    apply::apply(&Job { home, name, project: None, found: &found, recipes: &recipes, manner, watch }, &plan)?;
    Ok(plan)
}

/// Starts, stops, restarts … containers that are there.
///
/// # Errors
/// What could not be done.
pub fn operate(
    home: &Home,
    name: &str,
    (services, operation): (&[String], Operation),
    (manner, watch): (Manner, &dyn Watch),
) -> Result<Plan> {
    let found = observe::observe_by_name(home, name)?;
    let plan = plan::operate(&found, services, operation);
    let recipes = BTreeMap::new();
    apply::apply(&Job { home, name, project: None, found: &found, recipes: &recipes, manner, watch }, &plan)?;
    Ok(plan)
}

/// Carries out steps that bring images, and nothing else.
///
/// # Errors
/// What could not be pulled or built.
pub fn bring_images(home: &Home, project: &Project, actions: Vec<Action>, (manner, watch): (Manner, &dyn Watch)) -> Result<()> {
    carry_out(home, project, actions, (manner, watch))
}

/// Carries out steps that do not come after each other.
pub(super) fn carry_out(home: &Home, project: &Project, actions: Vec<Action>, (manner, watch): (Manner, &dyn Watch)) -> Result<()> {
    let plan = plan_images(project, actions);
    let (found, recipes) = (observe::observe_by_name(home, &project.name)?, BTreeMap::new());
    let job = Job { home, name: &project.name, project: Some(project), found: &found, recipes: &recipes, manner, watch };
    apply::apply(&job, &plan)
}

fn recipes(project: &Project) -> Result<BTreeMap<String, Recipe>> {
    project.services.keys().map(|name| Ok((name.clone(), Recipe::of(project, name)?))).collect()
}

/// What the services that get new containers ask for and do not get.
fn uncarried(project: &Project, plan: &Plan) -> Vec<String> {
    let networks = plan.steps.iter().filter_map(|step| match &step.action {
        Action::CreateNetwork { key, .. } => project.networks.get_key_value(key),
        _ => None,
    });
    let of_networks = networks.flat_map(|(key, network)| {
        let options = project.places.has(&format!("network {key}.ipam.options"));
        let options = options.then(|| format!("network `{key}`: `ipam.options` is not carried out"));
        resource::uncarried_of_network(key, network).into_iter().chain(options)
    });
    let of_services = plan.services_made().into_iter().flat_map(|name| convert::uncarried(project, name));
    of_services.chain(of_networks).collect()
}

/// One `up` or `down` of a project at a time: two that plan from the same findings would make things twice.
fn lock(home: &Home, project: &str, watch: &dyn Watch) -> Result<Lock> {
    let name = format!("project-{project}");
    match Lock::attempt(home, &name)? {
        Some(lock) => Ok(lock),
        None => {
            watch.warn(&format!("waiting for another command on project `{project}`"));
            Lock::alone(home, &name)
        }
    }
}
