//! `coracle pause` and `coracle unpause`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::each;
use crate::cli::revive;
use crate::container;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Pause {
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Unpause {
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Pause {
    pub fn run(self, home: &Home) -> Outcome {
        revive(home);
        each(&self.containers, |name| container::pause(home, &container::find(home, name)?.id, true))
    }
}

impl Unpause {
    pub fn run(self, home: &Home) -> Outcome {
        revive(home);
        each(&self.containers, |name| container::pause(home, &container::find(home, name)?.id, false))
    }
}
