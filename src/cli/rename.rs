//! `coracle rename`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::revive;
use crate::container;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    container: String,
    #[arg(value_name = "NEW_NAME")]
    name: String,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        revive(home);
        container::rename(home, &container::find(home, &self.container)?.id, &self.name)?;
        Ok(0)
    }
}
