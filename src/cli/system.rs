//! `coracle system …`

use clap::Args;
use clap::Subcommand;

use crate::cli::Outcome;
use crate::cli::buildx;
use crate::cli::container_group;
use crate::cli::events;
use crate::cli::image_group;
use crate::cli::image_group::Which;
use crate::cli::info::Info;
use crate::cli::listing;
use crate::cli::listing::Filter;
use crate::cli::listing::Sieve;
use crate::cli::network;
use crate::cli::out;
use crate::cli::revive;
use crate::cli::sweep;
use crate::cli::system_check;
use crate::cli::system_df;
use crate::cli::volume;
use crate::failure::Failure;
use crate::place::Home;
use crate::units;

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Check the store of images against its digests
    Check(system_check::Command),
    /// Show what takes room on the disk
    Df(system_df::Command),
    /// Show what happens
    Events(events::Command),
    /// Show what is known of the system
    Info(Info),
    /// Remove what nobody needs: idle containers, networks, images without a name
    Prune(Prune),
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        match self {
            Command::Check(command) => command.run(home),
            Command::Df(command) => command.run(home),
            Command::Events(command) => command.run(home),
            Command::Info(command) => command.run(home),
            Command::Prune(command) => command.run(home),
        }
    }
}

#[derive(Debug, Args)]
pub struct Prune {
    /// All images without a container, not only those without a name
    #[arg(short, long)]
    all: bool,
    /// Anonymous volumes too
    #[arg(long)]
    volumes: bool,
    /// Only images and what builds left: until=, label=, label!=
    #[arg(long, value_parser = listing::filter)]
    filter: Vec<Filter>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Prune {
    fn run(self, home: &Home) -> Outcome {
        listing::only_known(&self.filter, &["until", "label", "label!"])?;
        if self.volumes && self.filter.iter().any(|filter| filter.key == "until") {
            let failure = Failure::new("cannot remove volumes by their age");
            return Err(failure.because("the \"until\" filter is not supported with \"--volumes\""));
        }
        let which = if self.all { Which::Unused } else { Which::Nameless };
        let mut what = vec!["all containers that do not run", "all networks that no container is on", which.worded(), "unused build cache"];
        if self.volumes {
            what.push("all anonymous volumes that no container uses");
        }
        if !self.force && !out::confirmed(&format!("WARNING! This will remove:\n  - {}\nContinue?", what.join("\n  - ")))? {
            return Ok(1);
        }
        revive(home);
        let mut freed = 0;
        let sieve = Sieve::of(&self.filter, &["until", "label", "label!", "dangling"])?;
        freed += container_group::remove_idle(home, &sieve)?;
        network::remove_unneeded(home, &sieve)?;
        freed += image_group::remove_unneeded(home, which, &self.filter)?;
        if self.volumes {
            freed += volume::remove_unneeded(home, |volume| volume.anonymous && sieve.passes(&volume.created, &volume.labels))?;
        }
        freed += buildx::remove_unneeded(home, &self.filter)?;
        out::line(&format!("Total reclaimed space: {}", units::size_text(freed)))?;
        sweep::begin(home);
        Ok(0)
    }
}
