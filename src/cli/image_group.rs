//! `coracle image …`: the commands on images under one word.

use clap::Args;
use clap::Subcommand;

use crate::cli;
use crate::cli::Outcome;
use crate::cli::inspect::Kind;
use crate::cli::inspect::Query;
use crate::cli::out;
use crate::cli::rmi;
use crate::image;
use crate::image::Listed;
use crate::place::Home;

// One is made in a process, so its size is of no account.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build an image from a Dockerfile
    Build(Box<cli::build::Command>),
    /// Show how an image was made
    History(cli::history::Command),
    /// Make an image of a file system in a tar archive
    Import(cli::import::Command),
    /// Show everything that is known of images
    Inspect(Query),
    /// Bring in images from a tar archive
    Load(cli::load::Command),
    /// List images
    #[command(visible_alias = "list")]
    Ls(cli::image_list::Command),
    /// Remove images that nobody needs
    Prune(Prune),
    /// Pull an image from a registry
    Pull(cli::pull::Command),
    /// Push an image to a registry
    Push(cli::push::Command),
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm(cli::rmi::Command),
    /// Write images to a tar archive
    Save(cli::save::Command),
    /// Give an image another name
    Tag(cli::tag::Command),
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        match self {
            Command::Build(command) => command.run(home),
            Command::Inspect(query) => query.run(home, Some(Kind::Image)),
            Command::History(command) => command.run(home),
            Command::Import(command) => command.run(home),
            Command::Load(command) => command.run(home),
            Command::Save(command) => command.run(home),
            Command::Ls(command) => command.run(home),
            Command::Prune(command) => command.run(home),
            Command::Pull(command) => command.run(home),
            Command::Push(command) => command.run(home),
            Command::Rm(command) => command.run(home),
            Command::Tag(command) => command.run(home),
        }
    }
}

#[derive(Debug, Args)]
pub struct Prune {
    /// Also those that have a name but no container
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Prune {
    pub fn run(self, home: &Home) -> Outcome {
        let which = if self.all { "all images without a container" } else { "all images without a name" };
        if !self.force && !out::confirmed(&format!("This will remove {which}. Continue?"))? {
            return Ok(1);
        }
        remove_unneeded(home, |listed| self.all || listed.repository == "<none>")?;
        Ok(0)
    }
}

/// Removes the chosen images that no container was made from, and prints what went.
///
/// # Errors
/// The store cannot be read. One that cannot be removed is said and left.
pub fn remove_unneeded(home: &Home, chosen: impl Fn(&Listed) -> bool) -> crate::failure::Result<()> {
    let in_use = rmi::in_use(home)?;
    for listed in image::list(home)? {
        if in_use.contains(&listed.id) || !chosen(&listed) {
            continue;
        }
        let name = if listed.repository == "<none>" { listed.id.clone() } else { format!("{}:{}", listed.repository, listed.tag) };
        match image::remove(home, &name, &in_use, false) {
            Ok(removed) => removed.iter().try_for_each(|one| out::line(&rmi::worded(one)))?,
            Err(failure) => out::say(&failure.to_string()),
        }
    }
    Ok(())
}
