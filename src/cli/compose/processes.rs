//! `coracle compose top`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::session::Session;
use crate::cli::out;
use crate::cli::processes;
use crate::container;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let session = Session::begin(home, flags)?;
        session.knows(&self.services)?;
        for found in session.containers(&self.services).into_iter().filter(|found| found.is_up()) {
            let container = container::find(home, &found.id)?;
            out::data(&format!("{}\n{}\n", found.name, processes::table(home, &container)?.text()))?;
        }
        Ok(0)
    }
}
