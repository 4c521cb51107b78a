//! `coracle compose down`

use clap::Args;
use clap::ValueEnum;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::plan;
use crate::cli::compose::session;
use crate::cli::compose::session::Session;
use crate::cli::compose::session::Stage;
use crate::cli::out;
use crate::cli::stop::Patience;
use crate::compose;
use crate::compose::AfterFault;
use crate::compose::Errand;
use crate::compose::Manner;
use crate::compose::labels;
use crate::compose::plan::DownOptions;
use crate::container::Volumes;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Down {
    /// Remove volumes too, named and anonymous ones
    #[arg(short, long)]
    volumes: bool,
    /// Remove images too: all, or only those without a name of their own
    #[arg(long, value_enum, value_name = "WHICH")]
    rmi: Option<Which>,
    /// Remove containers of services that the files do not have
    #[arg(long)]
    remove_orphans: bool,
    #[command(flatten)]
    patience: Patience,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    All,
    Local,
}

impl Down {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let session = Session::begin(home, flags)?;
        session.knows(&self.services)?;
        let known = session.project.as_ref().map(|project| project.services.keys().chain(project.disabled.keys()).cloned().collect());
        let options = DownOptions {
            services: self.services.clone(),
            known,
            idle: session.project.iter().flat_map(|project| project.disabled.keys().cloned()).collect(),
            orphans: self.remove_orphans || session::is_on(session.project.as_ref(), "COMPOSE_REMOVE_ORPHANS"),
            volumes: self.volumes,
            images: self.images(&session),
        };
        let manner = Manner {
            grace: self.patience.grace(),
            volumes: if self.volumes { Volumes::Remove } else { Volumes::Keep },
            after_fault: AfterFault::GoOn,
            ..flags.manner()
        };
        if flags.dry_run {
            return plan::show(&compose::plan_down(home, &session.name, &options)?);
        }
        let stage = Stage::new(flags)?;
        let plan = compose::down(home, &session.name, &options, (manner, &stage.watch()))?;
        let provided = session.project.as_ref().filter(|project| project.services.values().any(|service| service.provider.is_some()));
        if let Some(project) = provided {
            compose::release_providers(project, &self.services, Errand::Down, &stage.watch())?;
        }
        if plan.is_empty() && provided.is_none() {
            out::warn(&format!("no resource found to remove for project \"{}\"", session.name));
        }
        Ok(0)
    }

    fn images(&self, session: &Session) -> Vec<String> {
        let Some(which) = self.rmi else { return Vec::new() };
        let Some(project) = &session.project else { return images_of(session, which) };
        let named = |name: &String| self.services.is_empty() || self.services.contains(name);
        let chosen = project.services.iter().filter(|(name, service)| named(name) && (which == Which::All || service.image.is_none()));
        let mut names: Vec<_> = chosen.map(|(name, service)| labels::image_name(project, (name, service))).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// The images of the containers, where there are no files to ask.
fn images_of(session: &Session, which: Which) -> Vec<String> {
    let own = |service: &str| ['-', '_'].map(|between| format!("{}{between}{service}", session.name));
    let chosen = session.found.containers.iter().filter(|found| which == Which::All || own(&found.service).contains(&found.image));
    let mut names: Vec<_> = chosen.map(|found| found.image.clone()).collect();
    names.sort();
    names.dedup();
    names
}
