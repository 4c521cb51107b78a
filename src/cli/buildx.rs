//! `coracle buildx …` and `coracle builder …`: the commands on builds under one word.

use clap::Subcommand;

use crate::cli;
use crate::cli::Outcome;
use crate::place::Home;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build an image from a Dockerfile
    #[command(visible_alias = "b")]
    Build(Box<cli::build::Command>),
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        match self {
            Command::Build(command) => command.run(home),
        }
    }
}
