//! `coracle attach`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::revive;
use crate::cli::status_of;
use crate::container;
use crate::container::Attach;
use crate::container::Attached;
use crate::container::Container;
use crate::container::DetachKeys;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    #[command(flatten)]
    joining: Joining,
    container: String,
}

// How the standard streams are joined.
#[derive(Debug, Clone, Args)]
pub struct Joining {
    /// Do not join standard input
    #[arg(long)]
    no_stdin: bool,
    /// Do not pass signals to the container
    #[arg(long = "sig-proxy", value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    signals: bool,
    /// The keys that leave the container alone
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q", value_parser = DetachKeys::read)]
    detach_keys: DetachKeys,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        revive(home);
        let found = container::find(home, &self.container)?;
        self.joining.run(home, &found)
    }
}

impl Joining {
    /// Joins our standard streams to a running container until it ends or is left.
    ///
    /// # Errors
    /// As [`container::attach`].
    pub fn run(&self, home: &Home, found: &Container) -> Outcome {
        let stdin = !self.no_stdin && found.wanted.stdin;
        let attach = Attach { stdin, signals: self.signals, start: false, detach_keys: self.detach_keys, ..Attach::default() };
        match container::attach(home, &found.id, attach)? {
            Attached::Exited(code) => Ok(status_of(code)),
            Attached::Detached => Ok(0),
        }
    }
}
