//! `coracle compose rm`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::operate;
use crate::cli::compose::session::Session;
use crate::cli::out;
use crate::compose::AfterFault;
use crate::compose::Manner;
use crate::compose::plan::Operation;
use crate::container::Volumes;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Stop the containers first
    #[arg(short, long)]
    stop: bool,
    /// Remove their anonymous volumes too
    #[arg(short, long)]
    volumes: bool,
    /// Also those that `run` has made, as is done anyway
    #[arg(short, long, hide = true)]
    all: bool,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let session = Session::begin(home, flags)?;
        session.knows(&self.services)?;
        let of_services =
            session.found.containers.iter().filter(|found| self.services.is_empty() || self.services.contains(&found.service));
        let going: Vec<_> = of_services.filter(|found| self.stop || !found.is_up()).map(|found| found.name.clone()).collect();
        if going.is_empty() {
            out::say("No stopped containers");
            return Ok(0);
        }
        let going = format!("Going to remove {}", going.join(", "));
        if flags.dry_run {
            // The plan says it.
        } else if self.force {
            out::line(&going)?;
        } else if !out::confirmed(&format!("{going}. Continue?"))? {
            return Ok(1);
        }
        let volumes = if self.volumes { Volumes::Remove } else { Volumes::Keep };
        let operation = if self.stop { Operation::StopAndRemove } else { Operation::Remove };
        operate::run(home, flags, (&self.services, operation), Manner { volumes, after_fault: AfterFault::GoOn, ..flags.manner() })
    }
}
