//! `coracle create`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::container_options::ContainerOptions;
use crate::cli::engine_failure;
use crate::cli::out;
use crate::place::Home;

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct Command {
    #[command(flatten)]
    options: ContainerOptions,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        let created = self.options.create(home).map_err(engine_failure)?;
        out::line(&created.id)?;
        Ok(0)
    }
}
