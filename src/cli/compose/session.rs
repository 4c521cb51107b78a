//! What most commands begin with: the project, or only its name, and what is there of it.

use std::collections::BTreeSet;

use crate::cli::compose::ProjectFlags;
use crate::cli::interrupt::Interrupt;
use crate::cli::out;
use crate::cli::progress::Hush;
use crate::cli::progress::ObjectWatch;
use crate::cli::progress::Progress;
use crate::cli::progress::Style;
use crate::cli::revive;
use crate::compose;
use crate::compose::model::Project;
use crate::compose::observe;
use crate::compose::observe::Found;
use crate::compose::observe::FoundContainer;
use crate::compose::plan::Dependencies;
use crate::container::Container;
use crate::container::State;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

/// Loads the project and says its warnings. A service that is named is enabled, whatever the profiles.
///
/// # Errors
/// As [`compose::load`].
pub fn project(flags: &ProjectFlags, services: &[String]) -> Result<Project> {
    let mut sources = flags.sources();
    let mut project = compose::load(&sources)?;
    let named = services.iter().filter_map(|name| project.disabled.get(name)).filter_map(|service| service.profiles.first().cloned());
    let profiles: Vec<String> = named.collect();
    if !profiles.is_empty() {
        sources.profiles.extend(profiles);
        project = compose::load(&sources)?;
    }
    project.warnings.iter().for_each(|warning| out::warn(warning));
    Ok(project)
}

/// Refuses a service that the project does not have.
///
/// # Errors
/// Names the first of them.
pub fn require(project: &Project, services: &[String]) -> Result<()> {
    match services.iter().find(|name| !project.services.contains_key(*name)) {
        Some(name) => Err(Failure::new(format!("no such service: {name}"))),
        None => Ok(()),
    }
}

/// The named services, or all; with what they depend on unless that is left.
pub fn chosen(project: &Project, services: &[String], dependencies: Dependencies) -> BTreeSet<String> {
    let named = match (services.is_empty(), dependencies) {
        (true, _) => project.services.keys().cloned().collect(),
        (false, Dependencies::Left) => services.iter().cloned().collect(),
        (false, _) => project.needs(services),
    };
    named.into_iter().filter(|name| project.services.contains_key(name)).collect()
}

/// Whether a variable of the project, or of ours where there is none, switches something on.
pub fn is_on(project: Option<&Project>, name: &str) -> bool {
    match project {
        Some(project) => compose::is_on(&project.environment, name),
        None => std::env::var(name).is_ok_and(|value| compose::is_on(&[(name.to_owned(), value)].into(), name)),
    }
}

/// What is there of a project whose files may be gone.
pub struct Session {
    pub name: String,
    pub project: Option<Project>,
    pub found: Found,
}

impl Session {
    /// Loads the project; with `-p` (or COMPOSE_PROJECT_NAME) and no files, its name is enough.
    ///
    /// # Errors
    /// There are files that cannot be loaded, or neither files nor a name.
    pub fn begin(home: &Home, flags: &ProjectFlags) -> Result<Session> {
        Ok(Session::with_records(home, flags)?.0)
    }

    /// The same, and the records of its containers.
    ///
    /// # Errors
    /// As [`Session::begin`].
    pub fn with_records(home: &Home, flags: &ProjectFlags) -> Result<(Session, Vec<(Container, State)>)> {
        revive(home);
        let named = flags.project_name.clone().or_else(|| std::env::var("COMPOSE_PROJECT_NAME").ok()).filter(|name| !name.is_empty());
        let (name, project) = match (compose::load(&flags.sources()), named) {
            (Ok(project), _) => (project.name.clone(), Some(project)),
            // Files that were named must be right.
            (Err(_), Some(name)) if flags.file.is_empty() => (name, None),
            (Err(failure), _) => return Err(failure),
        };
        let records = observe::records(home, &name)?;
        let found = observe::found(home, &records)?;
        Ok((Session { name, project, found }, records))
    }

    /// Refuses services that neither the files nor a container knows.
    ///
    /// # Errors
    /// Names the first unknown one.
    pub fn knows(&self, services: &[String]) -> Result<()> {
        let in_files = |name: &String| {
            self.project.as_ref().is_some_and(|project| project.services.contains_key(name) || project.disabled.contains_key(name))
        };
        let in_containers = |name: &String| self.found.containers.iter().any(|container| container.service == *name);
        match services.iter().find(|name| !in_files(name) && !in_containers(name)) {
            None => Ok(()),
            Some(name) => Err(no_service(self.project.as_ref(), name)),
        }
    }

    /// The containers of some services, or of all; one-off ones left out.
    pub fn containers(&self, services: &[String]) -> Vec<&FoundContainer> {
        let chosen = |container: &&FoundContainer| !container.one_off && (services.is_empty() || services.contains(&container.service));
        self.found.containers.iter().filter(chosen).collect()
    }

    /// The running container of a service, by number, or the first.
    ///
    /// # Errors
    /// There is none.
    pub fn running(&self, service: &str, index: Option<u32>) -> Result<&FoundContainer> {
        self.knows(&[service.to_owned()])?;
        let mut containers = self.containers(std::slice::from_ref(&service.to_owned())).into_iter();
        let fits = |container: &&FoundContainer| container.is_up() && index.is_none_or(|index| container.number == index);
        containers.find(fits).ok_or_else(|| {
            let number = index.map(|index| format!(" container #{index}")).unwrap_or_default();
            Failure::new(format!("service \"{service}\"{number} is not running"))
                .hint(format!("start it with `coracle compose up -d {service}`"))
        })
    }

    /// A container of a service, running or not, by number; 0 is the first.
    ///
    /// # Errors
    /// There is none.
    pub fn there(&self, service: &str, number: u32) -> Result<&FoundContainer> {
        self.knows(&[service.to_owned()])?;
        let mut containers = self.containers(std::slice::from_ref(&service.to_owned())).into_iter();
        containers.find(|container| number == 0 || container.number == number).ok_or_else(|| {
            Failure::new(format!("no container found for service \"{service}\""))
                .hint(format!("make one with `coracle compose up -d {service}`"))
        })
    }

    /// `web-1`: a container's name without the project's, as logs show it.
    pub fn short_name(&self, container: &FoundContainer) -> String {
        short_name(&self.name, &container.name)
    }
}

/// `web-1` of `shop-web-1` or `shop_web_1`.
pub fn short_name(project: &str, container: &str) -> String {
    container.strip_prefix(project).and_then(|rest| rest.strip_prefix(['-', '_'])).unwrap_or(container).to_owned()
}

fn no_service(project: Option<&Project>, name: &str) -> Failure {
    let failure = Failure::new(format!("no such service: {name}"));
    match project {
        Some(project) => failure.hint(format!("the services are {}", project.services.keys().cloned().collect::<Vec<_>>().join(", "))),
        None => failure,
    }
}

/// A watch that shows what happens, and the signals it asks.
pub struct Stage {
    pub interrupt: Interrupt,
    pub progress: Progress,
    pub hush: Hush,
}

impl Stage {
    /// Sets up the showing of progress.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(flags: &ProjectFlags) -> Result<Stage> {
        Ok(Stage { interrupt: Interrupt::hold()?, progress: Progress::new(flags.style()?), hush: Hush::default() })
    }

    /// The same without what is not to be heard.
    pub fn hushed(self, hush: Hush) -> Stage {
        Stage { hush, ..self }
    }

    /// From here on only plain lines, for others write to the terminal too.
    pub fn plain(mut self) -> Stage {
        self.progress.close();
        if self.progress.style() == Style::Bars {
            self.progress = Progress::new(Style::Plain);
        }
        self
    }

    /// A watch on the next piece of work.
    pub fn watch(&self) -> ObjectWatch<'_> {
        ObjectWatch::new(self.progress.clone(), Some(&self.interrupt)).hushed(self.hush)
    }

    /// A watch on work that goes on in spite of interruptions.
    pub fn steady_watch(&self) -> ObjectWatch<'_> {
        ObjectWatch::new(self.progress.clone(), None).hushed(self.hush)
    }
}
