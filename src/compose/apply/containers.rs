//! Making, starting, stopping and removing the containers of a plan.

use crate::compose::apply::Anonymous;
use crate::compose::apply::Kind;
use crate::compose::apply::Phase;
use crate::compose::apply::Work;
use crate::compose::convert;
use crate::compose::convert::Peers;
use crate::compose::labels;
use crate::compose::observe::FoundContainer;
use crate::compose::observe::recipe_path;
use crate::compose::plan::Action;
use crate::container;
use crate::container::Mount;
use crate::container::MountSource;
use crate::container::Status;
use crate::container::Volumes;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::image::Hold;
use crate::image::Image;
use crate::image::ImageConfig;
use crate::image::RunConfig;
use crate::place::Home;
use crate::state;

/// Peers that are still to be made: for a check only.
pub(super) struct Pending<'a>(pub(super) &'a Home);

impl Peers for Pending<'_> {
    fn of_service(&self, service: &str) -> Option<String> {
        Some(service.to_owned())
    }

    fn of_name(&self, name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    fn mounts_of(&self, _: &str) -> Vec<Mount> {
        Vec::new()
    }

    fn image(&self, name: &str) -> Option<Image> {
        Some(image::find(self.0, name).ok().flatten().unwrap_or_else(unknown_image))
    }
}

/// Stands for an image that is still to come.
pub(super) fn unknown_image() -> Image {
    let config = RunConfig { cmd: Some(vec!["/".to_owned()]), ..RunConfig::default() };
    let config = ImageConfig { config, ..ImageConfig::default() };
    Image { id: String::new(), manifest_digest: None, config, layers: Vec::new(), hold: Hold::default() }
}

impl Peers for Work<'_> {
    fn of_service(&self, service: &str) -> Option<String> {
        let project = self.job.project?;
        let name = labels::container_name(project, (service, project.services.get(service)?), 1);
        self.ids().get(&name).cloned()
    }

    fn of_name(&self, name: &str) -> Option<String> {
        container::find(self.job.home, name).ok().map(|found| found.id)
    }

    fn mounts_of(&self, id: &str) -> Vec<Mount> {
        container::find(self.job.home, id).map(|found| found.wanted.mounts).unwrap_or_default()
    }

    fn image(&self, name: &str) -> Option<Image> {
        image::find(self.job.home, name).ok().flatten()
    }
}

impl Work<'_> {
    pub(super) fn perform_on_container(&self, action: &Action) -> Result<()> {
        let (home, manner) = (self.job.home, &self.job.manner);
        let watched = |name: &str, phases, act: &dyn Fn() -> Result<()>| self.watched((Kind::Container, name), phases, act);
        match action {
            Action::CreateContainer { service, number, name } => {
                watched(name, (Phase::Creating, Phase::Created), &|| self.create((service, *number), name, None))
            }
            Action::RecreateContainer { service, number, name, old } => {
                watched(name, (Phase::Recreating, Phase::Recreated), &|| self.recreate((service, *number), name, old))
            }
            Action::StartContainer { name } => watched(name, (Phase::Starting, Phase::Started), &|| {
                let id = self.id(name)?;
                let warnings = container::start(home, &id).map_err(|failure| failure.exit(1))?;
                warnings.iter().for_each(|warning| self.job.watch.warn(&format!("container {name}: {warning}")));
                let hooks = container::find(home, &id)?.wanted.post_start;
                let run = |hook| {
                    container::run_hook(home, &id, hook)
                        .map_err(|failure| failure.within(format!("cannot start container `{name}`")).exit(1))
                };
                hooks.iter().try_for_each(run)
            }),
            Action::StopContainer { name } => watched(name, (Phase::Stopping, Phase::Stopped), &|| {
                self.before_stop(name);
                container::stop(home, &self.id(name)?, manner.grace)
            }),
            Action::KillContainer { name } => {
                watched(name, (Phase::Killing, Phase::Killed), &|| container::kill(home, &self.id(name)?, &manner.signal))
            }
            Action::PauseContainer { name } => {
                watched(name, (Phase::Pausing, Phase::Paused), &|| container::pause(home, &self.id(name)?, true))
            }
            Action::UnpauseContainer { name } => {
                watched(name, (Phase::Unpausing, Phase::Unpaused), &|| container::pause(home, &self.id(name)?, false))
            }
            other => Err(Failure::new(format!("cannot {other} as a step on a container"))),
        }
    }

    /// The first half of a removal: the program ends.
    pub(super) fn halt(&self, name: &str) -> Result<()> {
        let id = self.id(name)?;
        if !self.found(name).is_none_or(FoundContainer::is_up) {
            return Ok(());
        }
        self.watched((Kind::Container, name), (Phase::Stopping, Phase::Stopped), &|| {
            self.before_stop(name);
            container::halt(self.job.home, &id, self.job.manner.grace)
        })
    }

    /// Runs the hooks of a container that is about to be stopped. One that fails is no reason to let it run.
    fn before_stop(&self, name: &str) {
        let Some(container) = self.id(name).ok().and_then(|id| container::find(self.job.home, &id).ok()) else { return };
        if container.wanted.pre_stop.is_empty()
            || !container::state(self.job.home, &container.id).is_ok_and(|state| state.status == Status::Running)
        {
            return;
        }
        for hook in &container.wanted.pre_stop {
            if let Err(failure) = container::run_hook(self.job.home, &container.id, hook) {
                self.job
                    .watch
                    .warn(&format!("container {name}: {}", failure.to_string().replace("error: ", "").replace("\n  because: ", ": ")));
            }
        }
    }

    /// The second half.
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        let id = self.id(name)?;
        self.watched((Kind::Container, name), (Phase::Removing, Phase::Removed), &|| {
            let removed = container::remove(self.job.home, &id, self.job.manner.volumes);
            // The start that a killed command had asked for was carried out after we had looked.
            let was_made = self.found(name).is_some_and(|found| found.status == Status::Created);
            if removed.is_ok() || !was_made || !container::state(self.job.home, &id)?.is_up() {
                return removed;
            }
            container::halt(self.job.home, &id, self.job.manner.grace)?;
            container::remove(self.job.home, &id, self.job.manner.volumes)
        })?;
        self.ids().remove(name);
        Ok(())
    }

    fn found(&self, name: &str) -> Option<&FoundContainer> {
        self.found.get(name).copied()
    }

    /// The old one must go first, for it holds the name and the ports; all that can be checked has been checked.
    fn recreate(&self, service: (&str, u32), name: &str, old: &str) -> Result<()> {
        let id = self.id(old)?;
        self.before_stop(old);
        container::stop(self.job.home, &id, self.job.manner.grace)?;
        let volumes = match self.job.manner.anonymous {
            Anonymous::Carried => Volumes::Keep,
            Anonymous::Renewed => Volumes::Remove,
        };
        container::remove(self.job.home, &id, volumes)?;
        self.ids().remove(old);
        self.create(service, name, Some(&id))
    }

    fn create(&self, (service, number): (&str, u32), name: &str, replaced: Option<&str>) -> Result<()> {
        let project = self.project()?;
        let model = &project.services[service];
        let mut wanted = convert::wanted(project, (service, model), &self.images[service], self)?;
        wanted.name = Some(name.to_owned());
        wanted.ports = self.ports.get(name).cloned().unwrap_or_default();
        wanted.labels.insert(labels::NUMBER.to_owned(), number.to_string());
        wanted.labels.extend(replaced.map(|_| (labels::REPLACE.to_owned(), labels::replaced((service, model), number))));
        let recipe = self.job.recipes.get(service).cloned().unwrap_or_default();
        wanted.labels.insert(labels::CONFIG_HASH.to_owned(), recipe.hash());
        if let Some(old) = self.found_numbered((service, number)).filter(|_| self.job.manner.anonymous == Anonymous::Carried) {
            carry_over(old, &mut wanted);
        }
        let created = container::create(self.job.home, wanted).map_err(|failure| failure.exit(1))?;
        self.ids().insert(created.name, created.id.clone());
        state::write_json(&recipe_path(self.job.home, &created.id), &recipe)
    }

    fn found_numbered(&self, (service, number): (&str, u32)) -> Option<&FoundContainer> {
        self.numbered.get(&(service, number)).copied()
    }
}

/// Gives a new container the anonymous volumes of the old one, where it wants anonymous ones too.
fn carry_over(old: &FoundContainer, wanted: &mut container::Wanted) {
    for mount in wanted.mounts.iter_mut().filter(|mount| matches!(mount.source, MountSource::Anonymous { .. })) {
        if let Some(name) = old.anonymous.get(&mount.target) {
            mount.source = MountSource::Volume { name: name.clone(), nocopy: true, subpath: None };
        }
    }
}
