//! `coracle volume …`

use clap::Args;
use clap::Subcommand;
use serde_json::json;

use crate::cli::Outcome;
use crate::cli::each;
use crate::cli::inspect::Kind;
use crate::cli::inspect::Query;
use crate::cli::listing;
use crate::cli::listing::Columns;
use crate::cli::listing::Filter;
use crate::cli::listing::Row;
use crate::cli::listing::Sieve;
use crate::cli::listing::holds;
use crate::cli::out;
use crate::cli::spelling;
use crate::container;
use crate::container::MountSource;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::state;
use crate::units;
use crate::volume;
use crate::volume::Volume;

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Create a volume
    Create(Create),
    /// Show everything that is known of volumes
    Inspect(Query),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(List),
    /// Remove volumes that no container uses
    Prune(Prune),
    /// Remove volumes
    #[command(visible_alias = "remove")]
    Rm(Remove),
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        match self {
            Command::Create(command) => command.run(home),
            Command::Inspect(query) => query.run(home, Some(Kind::Volume)),
            Command::Ls(command) => command.run(home),
            Command::Prune(command) => command.run(home),
            Command::Rm(command) => command.run(home),
        }
    }
}

#[derive(Debug, Args)]
pub struct Create {
    /// Only `local`
    #[arg(short, long, default_value = "local", value_parser = ["local"])]
    driver: String,
    /// An option of the driver
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = spelling::pair)]
    opt: Vec<(String, String)>,
    /// Set a label
    #[arg(long, value_name = "NAME=VALUE", value_parser = spelling::pair)]
    label: Vec<(String, String)>,
    name: Option<String>,
}

impl Create {
    fn run(self, home: &Home) -> Outcome {
        let wanted = volume::Wanted { name: self.name, labels: self.label.into_iter().collect(), options: self.opt.into_iter().collect() };
        out::line(&volume::create(home, &wanted)?.name)?;
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub struct Remove {
    /// A volume that is not there is no failure
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

impl Remove {
    fn run(self, home: &Home) -> Outcome {
        let users = users(home)?;
        each(&self.volumes, |name| {
            if let Some((_, user)) = users.iter().find(|(used, _)| used == name) {
                return Err(Failure::new(format!("cannot remove volume `{name}`"))
                    .because(format!("container `{user}` uses it"))
                    .hint(format!("remove the container first: `coracle rm -f {user}`")));
            }
            match volume::find(home, name)? {
                None if self.force => Ok(()),
                None => Err(Failure::new(format!("no such volume: {name}"))),
                Some(_) => volume::remove(home, name),
            }
        })
    }
}

/// Every used volume with the container that uses it.
fn users(home: &Home) -> Result<Vec<(String, String)>> {
    let mut users = Vec::new();
    for found in container::list(home)? {
        for mount in &found.wanted.mounts {
            if let MountSource::Volume { name, .. } = &mount.source {
                users.push((name.clone(), found.name.clone()));
            }
        }
    }
    Ok(users)
}

#[derive(Debug, Args)]
pub struct Prune {
    /// Also those that have a name
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Only those: label=NAME[=VALUE], label!=NAME[=VALUE], all=BOOL
    #[arg(long, value_parser = listing::filter)]
    filter: Vec<Filter>,
}

impl Prune {
    fn run(self, home: &Home) -> Outcome {
        let sieve = Sieve::of(&self.filter, &["label", "label!", "all"])?;
        let all = self.all || self.filter.iter().any(|filter| filter.key == "all" && matches!(filter.value.as_str(), "true" | "1"));
        let which = if all { "all volumes" } else { "all anonymous volumes" };
        if !self.force && !out::confirmed(&format!("This will remove {which} that no container uses. Continue?"))? {
            return Ok(1);
        }
        let freed = remove_unneeded(home, |volume| (all || volume.anonymous) && sieve.passes(&volume.created, &volume.labels))?;
        out::line(&format!("Total reclaimed space: {}", units::size_text(freed)))?;
        Ok(0)
    }
}

/// Removes the chosen volumes that no container uses, and prints their names; how many bytes that frees. Volumes with options of the
/// driver stay, as with Docker: somebody has said where their content is.
///
/// # Errors
/// The records cannot be read. One that cannot be removed is said and left.
pub fn remove_unneeded(home: &Home, chosen: impl Fn(&Volume) -> bool) -> Result<u64> {
    let users = users(home)?;
    let (mut freed, mut removed) = (0, Vec::new());
    let volumes = volume::list(home)?;
    for found in volumes.iter().filter(|volume| volume.options.is_empty() && chosen(volume)) {
        if users.iter().any(|(used, _)| *used == found.name) {
            continue;
        }
        let weight = state::weight(&volume::directory(home, &found.name));
        match volume::remove(home, &found.name) {
            Ok(()) => {
                freed += weight;
                removed.push(found.name.as_str());
            }
            Err(failure) => out::say(&failure.to_string()),
        }
    }
    out::told("Deleted Volumes:", &removed)?;
    Ok(freed)
}

#[derive(Debug, Args)]
pub struct List {
    /// Only names
    #[arg(short, long)]
    quiet: bool,
    /// Only those: name=, driver=, label=, dangling=
    #[arg(short, long, value_parser = listing::filter)]
    filter: Vec<Filter>,
    /// `table`, `table TEMPLATE`, `json` or a template
    #[arg(long)]
    format: Option<String>,
}

/// What is listed of a volume.
pub const COLUMNS: Columns = Columns {
    headings: &[("Driver", "DRIVER"), ("Name", "VOLUME NAME"), ("Mountpoint", "MOUNTPOINT"), ("Scope", "SCOPE"), ("Labels", "LABELS")],
    usual: &["Driver", "Name"],
};

impl List {
    fn run(self, home: &Home) -> Outcome {
        listing::only_known(&self.filter, &["name", "driver", "label", "dangling"])?;
        let users = users(home)?;
        let volumes: Vec<_> = volume::list(home)?.into_iter().filter(|volume| self.shows(volume, &users)).collect();
        if self.quiet && self.format.is_none() {
            out::data(&volumes.iter().map(|volume| format!("{}\n", volume.name)).collect::<String>())?;
            return Ok(0);
        }
        let rows: Vec<Row> = volumes.iter().map(|volume| row(home, volume)).collect();
        listing::print(&rows, COLUMNS, self.format.as_deref())?;
        Ok(0)
    }

    fn shows(&self, volume: &Volume, users: &[(String, String)]) -> bool {
        let dangling = !users.iter().any(|(used, _)| *used == volume.name);
        holds(&self.filter, "name", |value| volume.name.contains(value))
            && holds(&self.filter, "driver", |value| volume.driver == value)
            && holds(&self.filter, "dangling", |value| dangling == (value == "true" || value == "1"))
            && self
                .filter
                .iter()
                .filter(|filter| filter.key == "label")
                .all(|filter| listing::has_label(&filter.value, |name| volume.labels.get(name).map(String::as_str)))
    }
}

/// Docker's fields of one volume.
pub fn row(home: &Home, volume: &Volume) -> Row {
    let labels: Vec<_> = volume.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let fields = json!({
        "Driver": volume.driver,
        "Name": volume.name,
        "Mountpoint": volume::directory(home, &volume.name),
        "Scope": "local",
        "Labels": labels.join(","),
    });
    fields.as_object().cloned().expect("the literal above is an object")
}
