//! `coracle kill`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::each;
use crate::cli::revive;
use crate::container;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// The signal to send
    #[arg(short, long, default_value = "KILL")]
    signal: String,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        revive(home);
        each(&self.containers, |name| container::kill(home, &container::find(home, name)?.id, &self.signal))
    }
}
