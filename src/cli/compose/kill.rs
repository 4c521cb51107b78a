//! `coracle compose kill`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::operate;
use crate::compose::AfterFault;
use crate::compose::Manner;
use crate::compose::plan::Operation;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// The signal to send
    #[arg(short, long, default_value = "SIGKILL")]
    signal: String,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let manner = Manner { signal: self.signal, after_fault: AfterFault::GoOn, ..Manner::default() };
        operate::run(home, flags, (&self.services, Operation::Kill), manner)
    }
}
