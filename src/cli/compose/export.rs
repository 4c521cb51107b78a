//! `coracle compose export` and `commit`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::commit::Made;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::plan;
use crate::cli::compose::session::Session;
use crate::cli::export::Output;
use crate::cli::out;
use crate::container;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Export {
    #[command(flatten)]
    output: Output,
    /// Which container of the service, by number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    index: u32,
    service: String,
}

#[derive(Debug, Args)]
pub struct Commit {
    #[command(flatten)]
    made: Made,
    /// Which container of the service, by number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    index: u32,
    service: String,
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<String>,
}

impl Export {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let session = Session::begin(home, flags)?;
        let found = session.there(&self.service, self.index)?;
        if flags.dry_run {
            return plan::say(&[format!("export container {}", found.name)]);
        }
        self.output.export(home, &found.id)?;
        Ok(0)
    }
}

impl Commit {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let session = Session::begin(home, flags)?;
        let found = session.there(&self.service, self.index)?;
        if flags.dry_run {
            return plan::say(&[format!("commit container {}", found.name)]);
        }
        let container = container::find(home, &found.id)?;
        out::line(&self.made.commit(home, &container, self.name.as_deref())?)?;
        Ok(0)
    }
}
