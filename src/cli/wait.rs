//! `coracle wait`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::out;
use crate::cli::revive;
use crate::container;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        revive(home);
        for name in &self.containers {
            let found = container::find(home, name)?;
            out::line(&container::wait(home, &found.id)?.to_string())?;
        }
        Ok(0)
    }
}
