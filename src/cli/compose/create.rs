//! `coracle compose create`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::session;
use crate::cli::compose::session::Stage;
use crate::cli::compose::up::Making;
use crate::cli::revive;
use crate::compose;
use crate::compose::Manner;
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
        let project = session::project(flags, &self.services)?;
        let mut options = self.making.options(&project, self.services.clone())?;
        options.start = Start::No;
        revive(home);
        let stage = Stage::new(&self.making.flags(flags))?;
        compose::up(home, &project, &options, (Manner::default(), &stage.watch()))?;
        Ok(0)
    }
}
