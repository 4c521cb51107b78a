//! `coracle tag`

use clap::Args;

use crate::cli::Outcome;
use crate::failure::Failure;
use crate::image;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    #[arg(value_name = "IMAGE")]
    source: String,
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        let found = image::find(home, &self.source)?.ok_or_else(|| Failure::new(format!("no such image: `{}`", self.source)))?;
        image::tag(home, &found.id, &self.name)?;
        Ok(0)
    }
}
