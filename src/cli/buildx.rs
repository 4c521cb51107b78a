//! `coracle buildx …` and `coracle builder …`: the commands on builds under one word.

pub mod builders;
pub mod imagetools;

use clap::Args;
use clap::Subcommand;
use serde_json::json;

use crate::build;
use crate::build::CacheEntry;
use crate::build::CacheKind;
use crate::build::Limits;
use crate::cli;
use crate::cli::Outcome;
use crate::cli::listing;
use crate::cli::listing::Columns;
use crate::cli::listing::Filter;
use crate::cli::out;
use crate::cli::sweep;
use crate::cli::wording::short;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::units;

// The commands, and which builder is meant.
#[derive(Debug, Args)]
pub struct Group {
    /// There is one builder, this program; its names are those of `buildx create`
    #[arg(long, env = "BUILDX_BUILDER", value_name = "NAME")]
    builder: Option<String>,
    #[arg(short = 'D', long, hide = true)]
    debug: bool,
    #[command(subcommand)]
    command: Command,
}

impl Group {
    pub fn run(self, home: &Home) -> Outcome {
        self.command.run(home, self.builder)
    }
}

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Not here: bake files are not read
    #[command(hide = true)]
    Bake(builders::Refused),
    /// Build an image from a Dockerfile
    #[command(visible_alias = "b")]
    Build(Box<cli::build::Command>),
    /// Make a name to build with
    Create(builders::Create),
    #[command(hide = true)]
    DialStdio(builders::Refused),
    /// Show what builds keep for the next time
    Du(Du),
    /// Not here: builds leave no records
    #[command(hide = true)]
    History(builders::Refused),
    /// Images as registries have them
    #[command(subcommand)]
    Imagetools(imagetools::Command),
    /// Show a builder
    Inspect(builders::Inspect),
    /// List builders
    Ls(builders::List),
    /// Remove what builds keep for the next time
    Prune(Prune),
    /// Forget names to build with
    Rm(builders::Remove),
    /// Stop a builder, of which nothing runs between builds
    Stop(builders::Stop),
    /// Choose what to build with
    Use(builders::Use),
    /// Show the version
    Version(builders::Version),
}

impl Command {
    fn run(self, home: &Home, builder: Option<String>) -> Outcome {
        match self {
            Command::Bake(command) => command.refuse("bake"),
            Command::DialStdio(command) => command.refuse("dial-stdio"),
            Command::History(command) => command.refuse("history"),
            Command::Create(command) => command.run(home),
            Command::Inspect(command) => command.run(home, builder),
            Command::Ls(command) => command.run(home),
            Command::Rm(command) => command.run(home, builder),
            Command::Stop(command) => command.run(home, builder),
            Command::Use(command) => command.run(home, builder),
            Command::Version(command) => command.run(),
            others => {
                builders::check(home, builder.as_deref())?;
                match others {
                    Command::Build(command) => command.run(home),
                    Command::Du(command) => command.run(home),
                    Command::Imagetools(command) => command.run(home),
                    Command::Prune(command) => command.run(home),
                    _ => Ok(0),
                }
            }
        }
    }
}

#[derive(Debug, Args)]
pub struct Du {
    /// Everything that is known of each
    #[arg(long, conflicts_with = "format")]
    verbose: bool,
    /// `id=`, `type=`, `until=` (last used before), `shared`, `private`
    #[arg(long, value_parser = filter)]
    filter: Vec<Filter>,
    /// `table`, `json` or a template
    #[arg(long)]
    format: Option<String>,
    #[command(flatten)]
    past: Past,
}

// What means nothing without a daemon.
#[derive(Debug, Args)]
struct Past {
    #[arg(long, hide = true)]
    builder: Option<String>,
}

const COLUMNS: Columns = Columns {
    headings: &[
        ("ID", "ID"),
        ("Reclaimable", "RECLAIMABLE"),
        ("Size", "SIZE"),
        ("LastUsedAt", "LAST ACCESSED"),
        ("Type", "TYPE"),
        ("CreatedAt", "CREATED"),
        ("Shared", "SHARED"),
        ("Mutable", "MUTABLE"),
        ("Description", "DESCRIPTION"),
    ],
    usual: &["ID", "Reclaimable", "Size", "LastUsedAt"],
};

impl Du {
    fn run(self, home: &Home) -> Outcome {
        builders::check(home, self.past.builder.as_deref())?;
        let (chosen, sharing) = choice(&self.filter, &["shared", "private"])?;
        let entries: Vec<CacheEntry> = build::cache(home)?;
        let entries: Vec<CacheEntry> =
            entries.into_iter().filter(|entry| chosen.means(entry) && sharing.is_none_or(|shared| entry.shared == shared)).collect();
        if self.verbose {
            entries.iter().try_for_each(|entry| out::data(&all_of(entry)))?;
        } else {
            print(&entries, self.format.as_deref())?;
        }
        if self.format.is_some() {
            return Ok(0);
        }
        let (all, free) = (sum(&entries, |_| true), sum(&entries, |entry| !entry.shared));
        if all > free {
            out::data(&format!("Shared:\t\t{}\nPrivate:\t{}\n", units::size_text(all - free), units::size_text(free)))?;
        }
        out::data(&format!("Reclaimable:\t{}\nTotal:\t\t{}\n", units::size_text(free), units::size_text(all)))?;
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub struct Prune {
    /// Also the small notes that tell what need not be looked at again
    #[arg(short, long)]
    all: bool,
    /// Only what is meant: `until=24h`, `id=`, `type=`
    #[arg(long, value_parser = filter)]
    filter: Vec<Filter>,
    /// Leave so much, what was used last
    #[arg(long, alias = "keep-storage", value_name = "BYTES", value_parser = cli::spelling::size)]
    reserved_space: Option<u64>,
    /// Leave no more than this
    #[arg(long, value_name = "BYTES", value_parser = cli::spelling::size)]
    max_used_space: Option<u64>,
    /// Leave as much of the disk free
    #[arg(long, value_name = "BYTES", value_parser = cli::spelling::size)]
    min_free_space: Option<u64>,
    /// Everything that is known of each
    #[arg(long)]
    verbose: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    past: Past,
}

impl Prune {
    fn run(self, home: &Home) -> Outcome {
        builders::check(home, self.past.builder.as_deref())?;
        let (chosen, _) = choice(&self.filter, &[])?;
        if !self.force && !out::confirmed("WARNING! This will remove what builds keep for the next time. Continue?")? {
            return Ok(1);
        }
        let limits = Limits {
            reserved: self.reserved_space.unwrap_or(0),
            most: self.max_used_space.unwrap_or(0),
            free: self.min_free_space.unwrap_or(0),
        };
        let Some(removed) = build::prune(home, &build::Pruning { all: self.all, limits, ..chosen })? else {
            out::warn("something is being built or pulled: nothing was removed");
            out::line("Total:\t0B")?;
            return Ok(0);
        };
        if self.verbose {
            removed.iter().try_for_each(|entry| out::data(&all_of(entry)))?;
        } else {
            print(&removed, None)?;
        }
        out::line(&format!("Total:\t{}", units::size_text(sum(&removed, |_| true))))?;
        sweep::begin(home);
        Ok(0)
    }
}

/// Reads a `--filter`, which may be a lone word.
fn filter(text: &str) -> Result<Filter, String> {
    if text.contains('=') { listing::filter(text) } else { listing::filter(&format!("{text}=")) }
}

/// What filters mean, and whether they ask for what images have too.
fn choice(filters: &[Filter], more: &[&str]) -> Result<(build::Pruning, Option<bool>)> {
    listing::only_known(filters, &[&["until", "unused-for", "id", "type"], more].concat())?;
    let values = |key: &str| filters.iter().filter(|filter| filter.key == key).map(|filter| filter.value.clone()).collect::<Vec<_>>();
    let mut chosen = build::Pruning { until: until(filters)?, ids: values("id"), ..build::Pruning::default() };
    for name in values("type") {
        let kinds: Vec<CacheKind> = KINDS.into_iter().filter(|known| kind(*known) == name).collect();
        if kinds.is_empty() {
            return Err(Failure::new(format!("cannot filter by the type `{name}`"))
                .hint("the types are regular, internal, exec.cachemount, source.http, source.git.checkout, source.git"));
        }
        chosen.kinds.extend(kinds);
    }
    let sharing = filters.iter().rev().find_map(|filter| match filter.key.as_str() {
        "shared" => Some(filter.value != "false"),
        "private" => Some(filter.value == "false"),
        _ => None,
    });
    Ok((chosen, sharing))
}

const KINDS: [CacheKind; 6] =
    [CacheKind::Step, CacheKind::Rest, CacheKind::Mount, CacheKind::Download, CacheKind::Checkout, CacheKind::Repository];

/// What BuildKit calls a kind, as far as it has it.
pub fn kind(kind: CacheKind) -> &'static str {
    match kind {
        CacheKind::Step => "regular",
        CacheKind::Rest => "internal",
        CacheKind::Mount => "exec.cachemount",
        CacheKind::Download => "source.http",
        CacheKind::Checkout => "source.git.checkout",
        CacheKind::Repository => "source.git",
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
    let wanted = build::Pruning { until: until(filters)?, ..build::Pruning::default() };
    let removed = build::prune(home, &wanted)?.unwrap_or_default();
    if !removed.is_empty() {
        out::line("Deleted build cache objects:")?;
        removed.iter().try_for_each(|entry| out::line(short(&entry.id)))?;
        out::line("")?;
    }
    Ok(sum(&removed, |_| true))
}

fn until(filters: &[Filter]) -> Result<Option<u64>> {
    let times =
        filters.iter().filter(|filter| matches!(filter.key.as_str(), "until" | "unused-for")).map(|filter| units::moment(&filter.value));
    Ok(times.collect::<Result<Vec<_>>>()?.into_iter().min())
}

fn sum(entries: &[CacheEntry], which: impl Fn(&CacheEntry) -> bool) -> u64 {
    entries.iter().filter(|entry| which(entry)).map(|entry| entry.size).sum()
}

fn print(entries: &[CacheEntry], format: Option<&str>) -> Result<()> {
    let row = |entry: &CacheEntry| {
        let row = json!({
            "ID": short(&entry.id),
            "Reclaimable": (!entry.shared).to_string(),
            "Size": units::size_text(entry.size),
            "LastUsedAt": units::ago_text(&units::time_text(entry.used)),
            "Type": kind(entry.kind),
            "CreatedAt": units::time_text(entry.created),
            "Shared": entry.shared.to_string(),
            "Mutable": (entry.kind == CacheKind::Mount).to_string(),
            "Description": entry.what,
        });
        row.as_object().cloned().unwrap_or_default()
    };
    listing::print(&entries.iter().map(row).collect::<Vec<_>>(), COLUMNS, format)
}

/// All that is known of something, a line each and an empty one.
fn all_of(entry: &CacheEntry) -> String {
    let lines = [
        ("ID:\t", entry.id.clone()),
        ("Created at:", units::time_text(entry.created)),
        ("Mutable:", (entry.kind == CacheKind::Mount).to_string()),
        ("Reclaimable:", (!entry.shared).to_string()),
        ("Shared:\t", entry.shared.to_string()),
        ("Size:\t", units::size_text(entry.size)),
        ("Description:", entry.what.clone()),
        ("Last used:", units::ago_text(&units::time_text(entry.used))),
        ("Type:\t", kind(entry.kind).to_owned()),
    ];
    lines.iter().map(|(name, value)| format!("{name}\t{value}\n")).chain(["\n".to_owned()]).collect()
}
