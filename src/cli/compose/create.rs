//! `coracle compose create`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::plan;
use crate::cli::compose::session;
use crate::cli::compose::session::Stage;
use crate::cli::compose::up::Making;
use crate::cli::revive;
use crate::compose;
use crate::compose::plan::Start;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    #[command(flatten)]
    making: Making,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let project = self.making.kept_to_lock(session::project(flags, &self.services)?)?;
        let mut options = self.making.options(&project, self.services.clone())?;
        options.start = Start::No;
        let options = flags.options(options);
        if flags.dry_run {
            return plan::show(&compose::plan_up(home, &project, &options)?);
        }
        revive(home);
        let stage = Stage::new(flags)?.hushed(self.making.hush());
        compose::up(home, &project, &options, (flags.manner(), &stage.watch()))?;
        Ok(0)
    }
}
