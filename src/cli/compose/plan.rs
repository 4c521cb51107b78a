//! `coracle compose plan`

use clap::Args;
use clap::ValueEnum;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::session;
use crate::cli::compose::up::Making;
use crate::cli::out;
use crate::compose;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    #[command(flatten)]
    making: Making,
    /// How the plan is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// The exit status that says there is something to do.
const CHANGES: u8 = 2;

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let project = session::project(flags, &self.services)?;
        let options = self.making.options(&project, self.services.clone())?;
        let plan = compose::plan_up(home, &project, &options)?;
        plan.warnings.iter().for_each(|warning| out::warn(warning));
        match self.format {
            Format::Text => out::data(&plan.to_string())?,
            Format::Json => out::line(&serde_json::to_string_pretty(&plan).expect("a plan is plain data"))?,
        }
        Ok(if plan.is_empty() { 0 } else { CHANGES })
    }
}
