//! `coracle compose plan`, and what `--dry-run` prints.

use clap::Args;
use clap::ValueEnum;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::session;
use crate::cli::compose::up::Making;
use crate::cli::out;
use crate::compose;
use crate::compose::plan::Plan;
use crate::failure::Result;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    #[command(flatten)]
    making: Making,
    #[command(flatten)]
    shape: Shape,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

// How a plan is printed.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Shape {
    /// How the plan is printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
}

/// The exit status that says there is something to do.
const CHANGES: u8 = 2;

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let project = self.making.kept_to_lock(session::project(flags, &self.services)?)?;
        let options = self.making.options(&project, self.services.clone())?;
        let plan = compose::plan_up(home, &project, &flags.options(options))?;
        let answer = self.shape.answer(&plan);
        // The process ends here: all its memory goes at once, which is sooner than piece by piece.
        std::mem::forget((project, plan));
        answer
    }
}

impl Shape {
    /// Prints a plan, and tells by the exit status whether there is something to do: 0 nothing, 2 changes.
    ///
    /// # Errors
    /// As [`Shape::show`].
    pub fn answer(self, plan: &Plan) -> Outcome {
        self.show(plan)?;
        Ok(if plan.is_empty() { 0 } else { CHANGES })
    }

    /// Prints a plan and what there is to warn of.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn show(self, plan: &Plan) -> Result<()> {
        plan.warnings.iter().for_each(|warning| out::warn(warning));
        match self.format {
            Format::Text if plan.is_empty() => {
                out::say("nothing to do");
                Ok(())
            }
            Format::Text => out::data(&plan.to_string()),
            Format::Json => out::line(&serde_json::to_string_pretty(plan).expect("a plan is plain data")),
        }
    }
}

/// What a dry run of a command with this plan does.
///
/// # Errors
/// As [`Shape::show`].
pub fn show(plan: &Plan) -> Outcome {
    Shape::default().show(plan)?;
    Ok(0)
}

/// What a dry run does of a command whose work is no plan: says each thing that would be done, by number as a plan does.
///
/// # Errors
/// Standard output cannot be written.
pub fn say(steps: &[String]) -> Outcome {
    for (number, step) in steps.iter().enumerate() {
        out::line(&format!("{}. {step}", number + 1))?;
    }
    Ok(0)
}
