//! Carries out a plan: side by side as far as its steps allow.
//!
//! What talks to a supervisor or writes a record is short and done in turn by the calling thread; what waits for
//! somebody else (a stop, a pull) gets a thread of its own, and conditions are looked at again and again meanwhile.

mod before;
mod build;
mod containers;
mod ports;
mod ready;
mod schedule;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::build::Watch as BuildWatch;
use crate::compose::convert;
use crate::compose::labels;
use crate::compose::model::Project;
use crate::compose::observe::Found;
use crate::compose::observe::FoundContainer;
use crate::compose::plan::Action;
use crate::compose::plan::Plan;
use crate::compose::recipe::Recipe;
use crate::compose::resource;
use crate::container::Grace;
use crate::container::Volumes;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::image::Image;
use crate::image::Policy;
use crate::net;
use crate::net::Port;
use crate::place::Home;
use crate::state;
use crate::volume;

pub use build::wanted as build_wanted;

/// What is seen of a plan that is carried out. Called from several threads.
pub trait Watch: Sync {
    /// Something happens to a container, network, volume or image.
    fn event(&self, kind: Kind, name: &str, phase: Phase);
    /// Something the user should know that is no warning.
    fn note(&self, text: &str);
    /// Something the user should heed.
    fn warn(&self, text: &str);
    /// Does `work`, a pull, and shows it.
    ///
    /// # Errors
    /// Those of `work`.
    fn pull(&self, image: &str, work: &mut dyn FnMut(&dyn image::Watch) -> Result<Image>) -> Result<Image>;
    /// Does `work`, a build, and shows it.
    ///
    /// # Errors
    /// Those of `work`.
    fn build(&self, name: &str, work: &mut dyn FnMut(&dyn BuildWatch) -> Result<Image>) -> Result<Image>;
    /// Whether the user wants an end: no further step is begun then.
    fn interrupted(&self) -> bool;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Container,
    Network,
    Volume,
    Image,
    /// One that another program provides.
    Service,
}

/// How far something has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Creating,
    Created,
    Recreating,
    Recreated,
    Starting,
    Started,
    Running,
    Waiting,
    Healthy,
    /// Ended well, as somebody waited for.
    Completed,
    Stopping,
    Stopped,
    Killing,
    Killed,
    Pausing,
    Paused,
    Unpausing,
    Unpaused,
    Removing,
    Removed,
    Failed,
}

/// What is done after a step failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AfterFault {
    /// Nothing new is begun.
    #[default]
    Stop,
    /// What does not come after the failed step: taking down goes as far as it can.
    GoOn,
}

/// How steps are carried out, where the plan leaves it open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manner {
    pub grace: Grace,
    /// What becomes of the anonymous volumes of removed containers.
    pub volumes: Volumes,
    /// What becomes of those of a container that is made anew.
    pub anonymous: Anonymous,
    /// For `kill`.
    pub signal: String,
    pub build: BuildManner,
    pub after_fault: AfterFault,
    /// `--parallel`: how many of the steps that wait for others are under way at once.
    pub at_once: Option<usize>,
}

impl Default for Manner {
    fn default() -> Manner {
        Manner {
            grace: Grace::AsMade,
            volumes: Volumes::Keep,
            anonymous: Anonymous::Carried,
            signal: "SIGKILL".to_owned(),
            build: BuildManner::default(),
            after_fault: AfterFault::Stop,
            at_once: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anonymous {
    /// The new container has them.
    Carried,
    /// `-V`
    Renewed,
}

/// Flags of `compose build` over what the files say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildManner {
    pub no_cache: bool,
    pub pull: bool,
    pub args: BTreeMap<String, Option<String>>,
    /// By id: a socket, or keys.
    pub ssh: BTreeMap<String, Vec<PathBuf>>,
    pub platforms: Platforms,
    /// Services that have an `image:` are pushed under it.
    pub push: bool,
    pub provenance: Option<String>,
    pub sbom: Option<String>,
}

/// For which platforms a service with several is built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Platforms {
    /// The one it runs on.
    #[default]
    Own,
    /// All that `build.platforms` names.
    All,
}

/// What a plan is carried out for.
pub struct Job<'a> {
    pub home: &'a Home,
    pub name: &'a str,
    /// None where there are only containers and their labels.
    pub project: Option<&'a Project>,
    pub found: &'a Found,
    pub recipes: &'a BTreeMap<String, Recipe>,
    pub manner: Manner,
    pub watch: &'a dyn Watch,
}

/// A job with what it knows meanwhile.
struct Work<'a> {
    job: &'a Job<'a>,
    /// What was found, by name, and by service and number.
    found: BTreeMap<&'a str, &'a FoundContainer>,
    numbered: BTreeMap<(&'a str, u32), &'a FoundContainer>,
    /// Containers that are there, by name.
    ids: Mutex<BTreeMap<String, String>>,
    images: BTreeMap<String, Image>,
    /// Ports for containers that are made, by name.
    ports: BTreeMap<String, Vec<Port>>,
}

/// Carries out a plan. Everything is checked before anything is changed.
///
/// # Errors
/// What could not be done; what was done and what was not is said to the watch.
pub fn apply(job: &Job<'_>, plan: &Plan) -> Result<()> {
    let found = || job.found.containers.iter();
    let services = found().rev().filter(|found| !found.one_off).map(|found| ((found.service.as_str(), found.number), found));
    let numbered = services.collect();
    let found = found().map(|found| (found.name.as_str(), found)).collect();
    let mut work = Work { job, found, numbered, ids: Mutex::default(), images: BTreeMap::new(), ports: BTreeMap::new() };
    *work.ids() = job.found.containers.iter().map(|found| (found.name.clone(), found.id.clone())).collect();
    work.images = work.images_of(plan)?;
    work.check(plan)?;
    work.ports = ports::check(job, plan)?;
    schedule::run(&work, plan)
}

/// Checks what can be checked before images are there: that every service that is to get new containers can be carried out.
///
/// # Errors
/// All that cannot be.
pub fn check(home: &Home, project: &Project, plan: &Plan) -> Result<()> {
    let mut faults: Vec<Failure> =
        plan.services_made().into_iter().filter_map(|service| check_service(home, project, service).err()).collect();
    match faults.len() {
        0 => Ok(()),
        1 => Err(faults.remove(0)),
        _ => Err(Failure::several(format!("cannot bring up project `{}`", project.name), faults)),
    }
}

/// The same for one service.
///
/// # Errors
/// As `check`.
pub fn check_service(home: &Home, project: &Project, service: &str) -> Result<()> {
    let Some(model) = project.services.get(service) else { return Ok(()) };
    convert::wanted(project, (service, model), &containers::unknown_image(), &containers::Pending(home)).map(drop)
}

impl Work<'_> {
    fn ids(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn id(&self, name: &str) -> Result<String> {
        self.ids().get(name).cloned().ok_or_else(|| Failure::new(format!("no such container: {name}")))
    }

    fn project(&self) -> Result<&Project> {
        self.job.project.ok_or_else(|| Failure::new(format!("cannot do this to project `{}` without its files", self.job.name)))
    }

    /// The images of all containers that are to be made, by service.
    fn images_of(&self, plan: &Plan) -> Result<BTreeMap<String, Image>> {
        let (mut images, mut by_name) = (BTreeMap::new(), BTreeMap::new());
        for service in plan.services_made() {
            let project = self.project()?;
            let image = match by_name.entry(labels::image_name(project, (service, &project.services[service]))) {
                Entry::Occupied(known) => Image::clone(known.get()),
                Entry::Vacant(place) => place.insert(image_of(self.job.home, project, service)?).clone(),
            };
            images.insert(service.to_owned(), image);
        }
        Ok(images)
    }

    /// Converts every service once, so that what cannot be is said before anything is done.
    fn check(&self, plan: &Plan) -> Result<()> {
        let mut faults = Vec::new();
        for (service, image) in &self.images {
            let project = self.project()?;
            if let Err(failure) =
                convert::wanted(project, (service, &project.services[service]), image, &containers::Pending(self.job.home))
            {
                faults.push(failure);
            }
        }
        for step in &plan.steps {
            if let Action::CreateNetwork { key, .. } = &step.action {
                let project = self.project()?;
                faults.extend(resource::network_wanted(project, key, &project.networks[key]).err());
            }
            if let Action::CreateVolume { key, .. } = &step.action {
                let project = self.project()?;
                faults.extend(resource::volume_wanted(project, key, &project.volumes[key]).and_then(|wanted| volume::check(&wanted)).err());
            }
        }
        match faults.len() {
            0 => Ok(()),
            1 => Err(faults.remove(0)),
            _ => Err(Failure::several(format!("cannot bring up project `{}`", self.job.name), faults)),
        }
    }

    /// Carries out one step that does not wait for a condition.
    fn perform(&self, action: &Action) -> Result<()> {
        let home = self.job.home;
        let watched = |kind, name: &str, (before, after), act: &dyn Fn() -> Result<()>| self.watched((kind, name), (before, after), act);
        match action {
            Action::PullImage { image } => self.job.watch.pull(image, &mut |watch| self.pull(image, watch)).map(drop),
            Action::BuildImage { service, image } => {
                self.job.watch.build(service, &mut |watch| build::build(self.job, (service, image), watch)).map(drop)
            }
            Action::BringUpProvider { .. } => Ok(()), // done before there was this plan
            Action::RunPreStart { service, name, steps } => self.run_pre_start(service, name, *steps),
            Action::RemoveImage { image } => watched(Kind::Image, image, (Phase::Removing, Phase::Removed), &|| remove_image(home, image)),
            Action::CreateNetwork { key, name } => watched(Kind::Network, name, (Phase::Creating, Phase::Created), &|| {
                let project = self.project()?;
                net::create(home, &resource::network_wanted(project, key, &project.networks[key])?).map(drop)
            }),
            Action::RemoveNetwork { name } => {
                watched(Kind::Network, name, (Phase::Removing, Phase::Removed), &|| match net::find(home, name)? {
                    Some(network) => net::remove(home, &network),
                    None => Ok(()),
                })
            }
            Action::CreateVolume { key, name } => watched(Kind::Volume, name, (Phase::Creating, Phase::Created), &|| {
                let project = self.project()?;
                volume::create(home, &resource::volume_wanted(project, key, &project.volumes[key])?).map(drop)
            }),
            Action::RemoveVolume { name } => watched(Kind::Volume, name, (Phase::Removing, Phase::Removed), &|| volume::remove(home, name)),
            _ => self.perform_on_container(action),
        }
    }

    /// Does something to one thing and tells the watch before and after.
    fn watched(&self, (kind, name): (Kind, &str), (before, after): (Phase, Phase), act: &dyn Fn() -> Result<()>) -> Result<()> {
        self.job.watch.event(kind, name, before);
        let outcome = act();
        self.job.watch.event(kind, name, if outcome.is_ok() { after } else { Phase::Failed });
        outcome
    }

    fn pull(&self, image: &str, watch: &dyn image::Watch) -> Result<Image> {
        let services = self.project()?.services.values();
        let platform = services.filter(|service| service.image.as_deref() == Some(image)).find_map(|service| service.platform.clone());
        if let Some(digest) = self.project()?.pins.get(image) {
            return image::pull_locked(self.job.home, (image, digest), platform.as_deref(), watch);
        }
        image::pull(self.job.home, image, platform.as_deref(), Policy::Always, watch)
    }
}

/// The image that containers of a service are made from.
///
/// # Errors
/// It is not in the store.
pub fn image_of(home: &Home, project: &Project, service: &str) -> Result<Image> {
    let name = labels::image_name(project, (service, &project.services[service]));
    image::find(home, &name)?.ok_or_else(|| {
        Failure::new(format!("cannot make a container of service `{service}`")).because(format!("there is no image `{name}`"))
    })
}

/// An image that others still need stays, as docker compose leaves it.
fn remove_image(home: &Home, name: &str) -> Result<()> {
    if image::find(home, name)?.is_none() {
        return Ok(());
    }
    image::remove(home, name, &|| crate::container::image_uses(home), false)?;
    state::empty_trash(home);
    Ok(())
}
