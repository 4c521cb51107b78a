//! `coracle compose top`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::session::Session;
use crate::cli::out;
use crate::cli::processes;
use crate::cli::table::Table;
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
        let mut table = Table::dense();
        table.row(["SERVICE", "#"].iter().chain(&processes::HEADINGS).copied());
        let mut is_empty = true;
        for found in session.containers(&self.services).into_iter().filter(|found| found.is_up()) {
            for row in processes::rows(home, &container::find(home, &found.id)?)? {
                is_empty = false;
                table.row([found.service.clone(), found.number.to_string()].into_iter().chain(row));
            }
        }
        if !is_empty {
            out::data(&table.text())?;
        }
        Ok(0)
    }
}
