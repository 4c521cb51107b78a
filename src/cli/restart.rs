//! `coracle restart`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::each;
use crate::cli::out;
use crate::cli::revive;
use crate::cli::stop::Patience;
use crate::container;
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

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        revive(home);
        each(&self.containers, |name| {
            let id = container::find(home, name)?.id;
            container::restart(home, &id, self.patience.grace(), self.signal.as_deref())?.iter().for_each(|warning| out::warn(warning));
            Ok(())
        })
    }
}
