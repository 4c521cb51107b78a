//! `coracle stop`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::each;
use crate::cli::revive;
use crate::container;
use crate::container::Grace;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    #[command(flatten)]
    patience: Patience,
    /// Another signal than the container's own
    #[arg(short, long)]
    signal: Option<String>,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

// How long a stop waits.
#[derive(Debug, Clone, Copy, Args)]
pub struct Patience {
    /// Seconds to wait before the container is killed; -1 for no limit
    #[arg(short = 't', long = "timeout", visible_alias = "time", allow_negative_numbers = true, value_name = "SECONDS")]
    seconds: Option<i64>,
}

impl Patience {
    /// What `-t` says.
    pub fn grace(self) -> Grace {
        match self.seconds {
            None => Grace::AsMade,
            Some(seconds) => u64::try_from(seconds).map_or(Grace::Forever, Grace::Seconds),
        }
    }
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        revive(home);
        let grace = self.patience.grace();
        each(&self.containers, |name| container::stop_by(home, &container::find(home, name)?.id, grace, self.signal.as_deref()))
    }
}
