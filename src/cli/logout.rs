//! `coracle logout`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::out;
use crate::image;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// The Hub if nothing is said
    #[arg(value_name = "SERVER", default_value = "")]
    server: String,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        let registry = image::registry_of(&self.server)?;
        if image::logout(home, &registry)? {
            out::line(&format!("Removing login credentials for {registry}"))?;
        } else {
            out::line(&format!("Not logged in to {registry}"))?;
        }
        Ok(0)
    }
}
