//! `coracle image …`: the commands on images under one word.

use clap::Args;
use clap::Subcommand;

use crate::cli;
use crate::cli::Outcome;
use crate::cli::inspect::Kind;
use crate::cli::inspect::Query;
use crate::cli::listing;
use crate::cli::listing::Filter;
use crate::cli::out;
use crate::cli::rmi;
use crate::cli::sweep;
use crate::container;
use crate::failure::Result;
use crate::image;
use crate::image::Listed;
use crate::place::Home;
use crate::units;

// One is made in a process, so its size is of no account.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Build an image from a Dockerfile
    Build(Box<cli::build::Command>),
    /// Show how an image was made
    History(cli::history::Command),
    /// Make an image of a file system in a tar archive
    Import(cli::import::Command),
    /// Show everything that is known of images
    Inspect(Inspect),
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
            Command::Inspect(command) => command.run(home),
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
pub struct Inspect {
    /// Only if the images are for this platform
    #[arg(long)]
    platform: Option<String>,
    #[command(flatten)]
    query: Query,
}

impl Inspect {
    fn run(self, home: &Home) -> Outcome {
        let platform = self.platform.as_deref();
        self.query.names.iter().try_for_each(|name| image::find_for(home, name, platform).map(drop))?;
        self.query.run(home, Some(Kind::Image))
    }
}

#[derive(Debug, Args)]
pub struct Prune {
    /// Also those that have a name but no container
    #[arg(short, long)]
    all: bool,
    /// Only those: until=, label=, label!=, dangling=
    #[arg(long, value_parser = listing::filter)]
    filter: Vec<Filter>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Prune {
    pub fn run(self, home: &Home) -> Outcome {
        listing::only_known(&self.filter, &["until", "label", "label!", "dangling"])?;
        listing::only_truths(&self.filter, "dangling")?;
        let named = self.filter.iter().any(|filter| filter.key == "dangling" && listing::truth(&filter.value) == Some(false));
        let which = if self.all || named { Which::Unused } else { Which::Nameless };
        if !self.force && !out::confirmed(&format!("WARNING! This will remove {}. Continue?", which.worded()))? {
            return Ok(1);
        }
        let freed = remove_unneeded(home, which, &self.filter)?;
        out::line(&format!("Total reclaimed space: {}", units::size_text(freed)))?;
        sweep::begin(home);
        Ok(0)
    }
}

/// Which images nobody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Nameless,
    /// With a name, too, as long as no container was made from it.
    Unused,
}

impl Which {
    /// As the question to the user has it.
    pub fn worded(self) -> &'static str {
        match self {
            Which::Nameless => "all images without a name",
            Which::Unused => "all images without a container",
        }
    }
}

/// Removes images that no container was made from, and prints what went; how many bytes that frees.
///
/// # Errors
/// The store cannot be read or written; a filter that cannot be understood.
pub fn remove_unneeded(home: &Home, which: Which, filters: &[Filter]) -> Result<u64> {
    let until = filters.iter().filter(|filter| filter.key == "until").map(|filter| units::moment(&filter.value));
    let until = until.collect::<Result<Vec<_>>>()?.into_iter().min();
    let is_old = |listed: &Listed| {
        let created = listed.created.as_deref().and_then(|time| units::moment(time).ok()).unwrap_or_default();
        until.is_none_or(|until| created < until)
    };
    let chosen =
        |listed: &Listed| (which == Which::Unused || listed.repository == "<none>") && is_old(listed) && has_labels(home, listed, filters);
    let gone = image::prune(home, &chosen, &|| container::image_uses(home))?;
    if !gone.changes.is_empty() {
        out::line("Deleted Images:")?;
        gone.changes.iter().try_for_each(|one| out::line(&rmi::worded(one).replacen('U', "u", 1).replacen('D', "d", 1)))?;
        out::line("")?;
    }
    Ok(gone.freed)
}

fn has_labels(home: &Home, listed: &Listed, filters: &[Filter]) -> bool {
    let mut wanted = filters.iter().filter(|filter| matches!(filter.key.as_str(), "label" | "label!")).peekable();
    if wanted.peek().is_none() {
        return true;
    }
    // One that is gone or cannot be read is not chosen.
    let Ok(Some(found)) = image::find(home, &listed.id) else { return false };
    let labels = found.config.config.labels.unwrap_or_default();
    wanted.all(|filter| {
        let has = listing::has_label(&filter.value, |name| labels.get(name).and_then(|value| value.as_str()));
        has == (filter.key == "label")
    })
}
