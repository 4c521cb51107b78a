//! `coracle compose volumes`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::session::Session;
use crate::cli::listing;
use crate::cli::listing::Row;
use crate::cli::out;
use crate::cli::volume::COLUMNS;
use crate::cli::volume::row;
use crate::compose::labels;
use crate::place::Home;
use crate::volume;

#[derive(Debug, Args)]
pub struct Command {
    /// Only names
    #[arg(short, long)]
    quiet: bool,
    /// `table`, `table TEMPLATE`, `json` or a template
    #[arg(long)]
    format: Option<String>,
    /// Only the volumes of these services' containers
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let session = Session::begin(home, flags)?;
        session.knows(&self.services)?;
        let containers = session.containers(&self.services);
        let is_used = |name: &String| self.services.is_empty() || containers.iter().any(|container| container.volumes.contains(name));
        let mut volumes = volume::list(home)?;
        volumes.retain(|volume| volume.labels.get(labels::PROJECT) == Some(&session.name) && is_used(&volume.name));
        if self.quiet {
            out::data(&volumes.iter().map(|volume| format!("{}\n", volume.name)).collect::<String>())?;
            return Ok(0);
        }
        let rows: Vec<Row> = volumes.iter().map(|volume| row(home, volume)).collect();
        listing::print(&rows, COLUMNS, self.format.as_deref())?;
        Ok(0)
    }
}
