//! `coracle compose watch`

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::plan;
use crate::cli::compose::session;
use crate::cli::compose::session::Stage;
use crate::cli::progress::Hush;
use crate::cli::revive;
use crate::compose;
use crate::compose::Manner;
use crate::compose::Watch;
use crate::compose::model::Project;
use crate::compose::plan::Options;
use crate::compose::watch;
use crate::compose::watch::Leftovers;
use crate::compose::watch::Watching;
use crate::failure::Result;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// Say nothing of builds
    #[arg(long)]
    quiet: bool,
    /// Remove images that a rebuild has left without a name
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    prune: bool,
    /// Do not build and start the services first
    #[arg(long)]
    no_up: bool,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// How long changes are waited for before the signals are looked at.
const GLANCE: Duration = Duration::from_millis(100);

/// The exit status of a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let mut project = session::project(flags, &self.services)?;
        session::require(&project, &self.services)?;
        if flags.dry_run {
            return plan::say(&watch::described(&project, &self.services)?);
        }
        // What cannot be watched is said before anything is built.
        drop(Watching::begin(home, &project, &self.services)?);
        revive(home);
        let stage = Stage::new(flags)?.hushed(Hush { pulls: self.quiet, builds: self.quiet });
        if !self.no_up {
            for service in project.services.values_mut().filter(|service| service.build.is_some() && service.rest.contains_key("develop")) {
                service.pull_policy = Some("build".to_owned());
            }
            let options = Options { services: self.services.clone(), ..Options::default() };
            compose::up(home, &project, &flags.options(options), (flags.manner(), &stage.watch()))?;
        }
        let leftovers = if self.prune { Leftovers::Removed } else { Leftovers::Kept };
        let stage = stage.plain();
        let watch = stage.watch();
        watch_files(home, (&project, &self.services), (leftovers, &flags.manner(), &watch), &|| watch.interrupted())?;
        Ok(INTERRUPTED)
    }
}

/// Watches until it is over, and does what changes call for.
///
/// # Errors
/// As [`Watching::begin`].
pub fn watch_files(
    home: &Home,
    (project, services): (&Project, &[String]),
    (leftovers, manner, watch): (Leftovers, &Manner, &dyn Watch),
    is_over: &dyn Fn() -> bool,
) -> Result<()> {
    let mut watching = Watching::begin(home, project, services)?;
    watching.carry_out(&watching.initial()?, (leftovers, manner, watch));
    watch.note("Watch enabled");
    while !is_over() {
        if let Some(work) = watching.next(GLANCE)? {
            watching.carry_out(&work, (leftovers, manner, watch));
        }
    }
    watch.note("Watch disabled");
    Ok(())
}

/// The same beside something else, which says when it is over.
pub fn watch_beside(home: &Home, project: (&Project, &[String]), (manner, watch): (&Manner, &dyn Watch), over: &AtomicBool) {
    let outcome = watch_files(home, project, (Leftovers::Removed, manner, watch), &|| over.load(Ordering::Relaxed));
    if let Err(failure) = outcome {
        watch.note(&failure.to_string());
    }
}
