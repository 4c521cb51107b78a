//! `coracle system …`

use clap::Args;
use clap::Subcommand;

use crate::cli::Outcome;
use crate::cli::container_group;
use crate::cli::events;
use crate::cli::image_group;
use crate::cli::info::Info;
use crate::cli::network;
use crate::cli::out;
use crate::cli::revive;
use crate::cli::volume;
use crate::place::Home;
use crate::state;

#[derive(Debug, Subcommand)]
pub enum Command {
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
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Prune {
    fn run(self, home: &Home) -> Outcome {
        let mut what = vec!["all containers that do not run", "all networks that no container is on"];
        what.push(if self.all { "all images without a container" } else { "all images without a name" });
        if self.volumes {
            what.push("all anonymous volumes that no container uses");
        }
        if !self.force && !out::confirmed(&format!("This will remove\n  - {}\nContinue?", what.join("\n  - ")))? {
            return Ok(1);
        }
        revive(home);
        for id in container_group::remove_idle(home)? {
            out::line(&id)?;
        }
        network::remove_unneeded(home)?;
        image_group::remove_unneeded(home, |listed| self.all || listed.repository == "<none>")?;
        if self.volumes {
            volume::remove_unneeded(home, |volume| volume.anonymous)?;
        }
        state::empty_trash(home);
        Ok(0)
    }
}
