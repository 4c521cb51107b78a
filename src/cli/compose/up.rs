//! `coracle compose up`

mod attached;
pub mod waiting;

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use clap::ValueEnum;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::plan::Shape;
use crate::cli::compose::session;
use crate::cli::compose::session::Stage;
use crate::cli::progress::Hush;
use crate::cli::revive;
use crate::cli::stop::Patience;
use crate::compose;
use crate::compose::Anonymous;
use crate::compose::Manner;
use crate::compose::lock;
use crate::compose::model::Project;
use crate::compose::plan::Dependencies;
use crate::compose::plan::Images;
use crate::compose::plan::Options;
use crate::compose::plan::Orphans;
use crate::compose::plan::Recreate;
use crate::compose::plan::Start;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::units;

#[derive(Debug, Args)]
pub struct Up {
    /// Run in the background
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    making: Making,
    #[command(flatten)]
    attached: attached::AttachOptions,
    /// Create, but do not start
    #[arg(long)]
    no_start: bool,
    /// Do not bring up what the named services depend on
    #[arg(long)]
    no_deps: bool,
    /// Give new containers new anonymous volumes
    #[arg(short = 'V', long, conflicts_with = "no_recreate")]
    renew_anon_volumes: bool,
    /// Wait until all services run or are healthy; in the background
    #[arg(long)]
    wait: bool,
    /// Seconds that `--wait` waits at most
    #[arg(long, value_name = "SECONDS")]
    wait_timeout: Option<u64>,
    #[command(flatten)]
    patience: Patience,
    /// Make containers of services anew too that the named ones depend on
    #[arg(long, conflicts_with = "no_recreate")]
    always_recreate_deps: bool,
    #[command(flatten)]
    shape: Shape,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

// The flags that `up`, `create` and `plan` share.
#[derive(Debug, Clone, Args)]
pub struct Making {
    /// Build images first
    #[arg(long)]
    build: bool,
    /// Build no image, even if one is not there
    #[arg(long, conflicts_with = "build")]
    no_build: bool,
    /// When to pull images
    #[arg(long, value_enum, value_name = "WHEN", default_value = "policy")]
    pull: Pull,
    /// Use exactly the images that `compose.lock` names
    #[arg(long, conflicts_with = "pull")]
    locked: bool,
    /// Say nothing of pulls
    #[arg(long)]
    quiet_pull: bool,
    /// Say nothing of builds
    #[arg(long)]
    quiet_build: bool,
    /// Answer every question with yes
    #[arg(short, long, alias = "y")]
    yes: bool,
    /// Make containers anew even if nothing changed
    #[arg(long)]
    force_recreate: bool,
    /// Keep containers that are there, whatever changed
    #[arg(long, conflicts_with = "force_recreate")]
    no_recreate: bool,
    /// Remove containers of services that the files do not have
    #[arg(long)]
    remove_orphans: bool,
    /// How many containers a service has
    #[arg(long, value_name = "SERVICE=NUMBER", value_parser = scale)]
    scale: Vec<(String, u32)>,
}

/// When images are pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pull {
    Always,
    Missing,
    Never,
    /// As each service's `pull_policy` says.
    Policy,
    /// Built instead, as with `--build`.
    #[value(hide = true)]
    Build,
}

/// Reads `SERVICE=NUMBER`.
///
/// # Errors
/// Not of that form.
pub fn scale(text: &str) -> Result<(String, u32), String> {
    let (service, number) = text.split_once('=').ok_or("it is SERVICE=NUMBER")?;
    Ok((service.to_owned(), number.parse().map_err(|_| format!("`{number}` is no number"))?))
}

impl Making {
    /// The project as it is to be made: kept to `compose.lock`, if that was said.
    ///
    /// # Errors
    /// There is no such file, or it does not name an image that a service has.
    pub fn kept_to_lock(&self, mut project: Project) -> Result<Project> {
        if self.locked {
            project.pins = lock::read(&project)?;
        }
        Ok(project)
    }

    /// What these flags mean for a plan.
    ///
    /// # Errors
    /// `--scale` of a service that is not there.
    pub fn options(&self, project: &Project, services: Vec<String>) -> Result<Options> {
        if let Some((name, _)) = self.scale.iter().find(|(name, _)| !project.services.contains_key(name)) {
            return Err(Failure::new(format!("no such service: {name}")));
        }
        let ignores_orphans = session::is_on(Some(project), "COMPOSE_IGNORE_ORPHANS");
        let removes_orphans = session::is_on(Some(project), "COMPOSE_REMOVE_ORPHANS");
        if self.remove_orphans && ignores_orphans {
            return Err(Failure::new("cannot use `--remove-orphans` together with `COMPOSE_IGNORE_ORPHANS`").hint("leave one of them out"));
        }
        Ok(Options {
            services,
            dependencies: Dependencies::Included,
            recreate: match (self.force_recreate, self.no_recreate) {
                (true, _) => Recreate::Always,
                (_, true) => Recreate::Never,
                _ => Recreate::Changed,
            },
            recreate_dependencies: if self.no_recreate { Recreate::Never } else { Recreate::Changed },
            scale: self.scale.iter().cloned().collect::<BTreeMap<_, _>>(),
            orphans: match (self.remove_orphans || removes_orphans, ignores_orphans) {
                (true, _) => Orphans::Remove,
                (_, true) => Orphans::Ignore,
                _ => Orphans::Warn,
            },
            start: Start::Yes,
            images: match (self.build, self.no_build, self.pull) {
                (true, ..) => Images::Build,
                (_, true, _) => Images::NeverBuild,
                (_, _, Pull::Build) => Images::Build,
                (_, _, Pull::Always) => Images::Pull,
                (_, _, Pull::Never) => Images::NeverPull,
                _ => Images::Missing,
            },
            ..Options::default()
        })
    }

    /// What of the images is not to be heard.
    pub fn hush(&self) -> Hush {
        Hush { pulls: self.quiet_pull, builds: self.quiet_build }
    }
}

impl Up {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let project = self.making.kept_to_lock(session::project(flags, &self.services)?)?;
        let mut options = self.making.options(&project, self.services.clone())?;
        if self.no_deps {
            options.dependencies = Dependencies::Left;
        }
        if self.no_start {
            options.start = Start::No;
        }
        if self.always_recreate_deps {
            options.recreate_dependencies = Recreate::Always;
        }
        let options = flags.options(options);
        self.attached.check(&project, self.detach || self.wait)?;
        if flags.dry_run {
            return self.shape.answer(&compose::plan_up(home, &project, &options)?);
        }
        revive(home);
        let begun = units::now_nanoseconds();
        let stage = Stage::new(flags)?.hushed(self.making.hush());
        let anonymous = if self.renew_anon_volumes { Anonymous::Renewed } else { Anonymous::Carried };
        let manner = Manner { grace: self.patience.grace(), anonymous, ..flags.manner() };
        let in_background = self.detach || self.wait || self.no_start;
        let watch = stage.watch();
        let outcome = compose::up(home, &project, &options, (manner.clone(), &watch));
        if let Err(failure) = outcome {
            if !in_background && stage.interrupt.count() > 0 {
                // What has been started so far is stopped, as it would be a moment later.
                attached::stop(home, (&project, &self.services), (&stage, &manner))?;
            }
            return Err(failure);
        }
        if self.wait {
            let limit = self.wait_timeout.map(Duration::from_secs);
            waiting::until_ready(home, (&project, &self.services), (&watch, limit))?;
        }
        if in_background {
            return Ok(0);
        }
        drop(watch);
        self.attached.run(home, (&project, &self.services), (flags, &stage.plain(), manner), begun)
    }
}
