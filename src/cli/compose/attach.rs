//! `coracle compose attach`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::attach::Joining;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::plan;
use crate::cli::compose::session::Session;
use crate::container;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    #[command(flatten)]
    joining: Joining,
    /// Which container of the service, by number
    #[arg(long, value_name = "NUMBER")]
    index: Option<u32>,
    service: String,
}

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let session = Session::begin(home, flags)?;
        let found = session.running(&self.service, self.index)?;
        if flags.dry_run {
            return plan::say(&[format!("attach to container {}", found.name)]);
        }
        self.joining.run(home, &container::find(home, &found.id)?)
    }
}
