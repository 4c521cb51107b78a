//! `coracle buildx …` and `coracle builder …`: the commands on builds under one word.

use clap::Args;
use clap::Subcommand;

use crate::build;
use crate::build::CacheEntry;
use crate::cli;
use crate::cli::Outcome;
use crate::cli::listing;
use crate::cli::listing::Filter;
use crate::cli::out;
use crate::cli::sweep;
use crate::cli::table::Table;
use crate::cli::wording::short;
use crate::failure::Result;
use crate::place::Home;
use crate::units;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build an image from a Dockerfile
    #[command(visible_alias = "b")]
    Build(Box<cli::build::Command>),
    /// Show what builds keep for the next time
    Du(Du),
    /// Remove what builds keep for the next time
    Prune(Prune),
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        match self {
            Command::Build(command) => command.run(home),
            Command::Du(command) => command.run(home),
            Command::Prune(command) => command.run(home),
        }
    }
}

#[derive(Debug, Args)]
pub struct Du {
    /// Taken for Docker's sake: there is nothing to add
    #[arg(long, hide = true)]
    verbose: bool,
}

impl Du {
    fn run(self, home: &Home) -> Outcome {
        let entries = build::cache(home)?;
        print(&entries)?;
        let (all, free) = (sum(&entries, |_| true), sum(&entries, |entry| !entry.shared));
        out::data(&format!("Reclaimable:\t{}\nTotal:\t\t{}\n", units::size_text(free), units::size_text(all)))?;
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub struct Prune {
    /// Also the small notes that tell what need not be looked at again
    #[arg(short, long)]
    all: bool,
    /// Only what is older: until=24h
    #[arg(long, value_parser = listing::filter)]
    filter: Vec<Filter>,
    /// Leave so much, the newest first
    #[arg(long, alias = "max-used-space", alias = "reserved-space", value_name = "BYTES", value_parser = cli::spelling::size)]
    keep_storage: Option<u64>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Prune {
    fn run(self, home: &Home) -> Outcome {
        listing::only_known(&self.filter, &["until"])?;
        if !self.force && !out::confirmed("WARNING! This will remove what builds keep for the next time. Continue?")? {
            return Ok(1);
        }
        let wanted = build::Pruning { all: self.all, until: until(&self.filter)?, keep: self.keep_storage };
        let Some(removed) = build::prune(home, &wanted)? else {
            out::warn("something is being built or pulled: nothing was removed");
            out::line("Total:\t0B")?;
            return Ok(0);
        };
        print(&removed)?;
        out::line(&format!("Total:\t{}", units::size_text(sum(&removed, |_| true))))?;
        sweep::begin(home);
        Ok(0)
    }
}

/// Removes what builds keep, but for the small notes; how many bytes that frees. Filters by label choose nothing here.
///
/// # Errors
/// The records cannot be read or written.
pub fn remove_unneeded(home: &Home, filters: &[Filter]) -> Result<u64> {
    if filters.iter().any(|filter| filter.key != "until") {
        return Ok(0);
    }
    let wanted = build::Pruning { all: false, until: until(filters)?, keep: None };
    let removed = build::prune(home, &wanted)?.unwrap_or_default();
    if !removed.is_empty() {
        out::line("Deleted build cache objects:")?;
        removed.iter().try_for_each(|entry| out::line(short(&entry.id)))?;
        out::line("")?;
    }
    Ok(sum(&removed, |_| true))
}

fn until(filters: &[Filter]) -> Result<Option<u64>> {
    let times = filters.iter().filter(|filter| filter.key == "until").map(|filter| units::moment(&filter.value));
    Ok(times.collect::<Result<Vec<_>>>()?.into_iter().min())
}

fn sum(entries: &[CacheEntry], which: impl Fn(&CacheEntry) -> bool) -> u64 {
    entries.iter().filter(|entry| which(entry)).map(|entry| entry.size).sum()
}

fn print(entries: &[CacheEntry]) -> Result<()> {
    let mut table = Table::new();
    table.row(["ID", "RECLAIMABLE", "SIZE", "LAST ACCESSED"]);
    for entry in entries {
        let accessed = units::ago_text(&units::time_text(entry.used));
        table.row([short(&entry.id).to_owned(), (!entry.shared).to_string(), units::size_text(entry.size), accessed]);
    }
    out::data(&table.text())
}
