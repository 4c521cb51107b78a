//! `coracle attach`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::revive;
use crate::cli::status_of;
use crate::container;
use crate::container::Attach;
use crate::container::Attached;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// Do not join standard input
    #[arg(long)]
    no_stdin: bool,
    container: String,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        revive(home);
        let found = container::find(home, &self.container)?;
        let stdin = !self.no_stdin && found.wanted.stdin;
        match container::attach(home, &found.id, Attach { stdin, signals: true, start: false })? {
            Attached::Exited(code) => Ok(status_of(code)),
            Attached::Detached => Ok(0),
        }
    }
}
