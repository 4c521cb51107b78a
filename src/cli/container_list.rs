//! `coracle ps`

use clap::Args;
use serde_json::json;

use crate::cli::Outcome;
use crate::cli::listing;
use crate::cli::listing::Columns;
use crate::cli::listing::Filter;
use crate::cli::listing::Row;
use crate::cli::listing::has_name;
use crate::cli::listing::holds;
use crate::cli::out;
use crate::cli::revive;
use crate::cli::wording;
use crate::cli::wording::Width;
use crate::container;
use crate::container::Container;
use crate::container::MountSource;
use crate::container::NetworkMode;
use crate::container::State;
use crate::container::Status;
use crate::failure::Result;
use crate::place::Home;
use crate::state;
use crate::units;

#[derive(Debug, Args)]
pub struct Command {
    /// Show containers that do not run too
    #[arg(short, long)]
    all: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// Only the newest one, whatever it does
    #[arg(short, long)]
    latest: bool,
    /// Only the newest so many, whatever they do
    #[arg(short = 'n', long, value_name = "NUMBER")]
    last: Option<usize>,
    /// Show what each takes of the disk
    #[arg(short, long)]
    size: bool,
    /// Do not cut long texts
    #[arg(long)]
    no_trunc: bool,
    /// Only those: status=, name=, id=, label=, ancestor=, network=, volume=, health=, exited=, publish=, expose=, before=, since=
    #[arg(short, long, value_parser = listing::filter)]
    filter: Vec<Filter>,
    /// `table`, `table TEMPLATE`, `json` or a template
    #[arg(long)]
    format: Option<String>,
}

const COLUMNS: Columns = Columns {
    headings: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("RunningFor", "CREATED"),
        ("Status", "STATUS"),
        ("State", "STATE"),
        ("Ports", "PORTS"),
        ("Names", "NAMES"),
        ("Labels", "LABELS"),
        ("Mounts", "MOUNTS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Networks", "NETWORKS"),
        ("Size", "SIZE"),
    ],
    usual: &["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"],
};

const WITH_SIZE: Columns = Columns { usual: &["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names", "Size"], ..COLUMNS };

const FILTERS: &[&str] =
    &["id", "name", "label", "status", "exited", "ancestor", "network", "volume", "health", "before", "since", "publish", "expose"];

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        listing::only_known(&self.filter, FILTERS)?;
        revive(home);
        let found = self.chosen(home)?;
        let width = Width::of_flag(self.no_trunc);
        if self.quiet && self.format.is_none() {
            let ids: String = found.iter().map(|(container, _)| format!("{}\n", width.id(&container.id))).collect();
            out::data(&ids)?;
            return Ok(0);
        }
        let mut rows: Vec<Row> = found.iter().map(|(container, state)| row(container, state, width)).collect();
        if self.size || self.format.as_deref().is_some_and(|format| format.contains(".Size")) {
            for (row, (container, _)) in rows.iter_mut().zip(&found) {
                let (own, whole) = sizes(home, container);
                row.insert("Size".to_owned(), format!("{} (virtual {})", units::size_text(own), units::size_text(whole)).into());
            }
        }
        listing::print(&rows, if self.size { WITH_SIZE } else { COLUMNS }, self.format.as_deref())?;
        Ok(0)
    }

    fn chosen(&self, home: &Home) -> Result<Vec<(Container, State)>> {
        let mut found = Vec::new();
        for container in container::list(home)? {
            // One that is removed meanwhile has no state any more.
            if let Ok(state) = container::state(home, &container.id) {
                found.push((container, state));
            }
        }
        let limits = Between::of(&found, &self.filter);
        found.retain(|(container, state)| passes(&self.filter, container, state) && limits.hold(container));
        let of_any_status = self.all
            || self.latest
            || self.last.is_some()
            || self.filter.iter().any(|filter| matches!(filter.key.as_str(), "status" | "exited"));
        found.retain(|(_, state)| of_any_status || is_up(state.status));
        found.truncate(if self.latest { 1 } else { self.last.unwrap_or(usize::MAX) });
        Ok(found)
    }
}

/// What a container takes of the disk for itself, and with its image, in bytes.
pub fn sizes(home: &Home, container: &Container) -> (u64, u64) {
    let own = state::weight(&home.container(&container.id).join("upper"));
    (own, own + container.wanted.layers.iter().map(|layer| state::weight(layer)).sum::<u64>())
}

/// Whether plain `ps` shows it.
pub fn is_up(status: Status) -> bool {
    matches!(status, Status::Running | Status::Paused | Status::Restarting)
}

/// The points in time of `before=` and `since=`.
struct Between {
    before: Option<String>,
    since: Option<String>,
}

impl Between {
    fn of(found: &[(Container, State)], filters: &[Filter]) -> Between {
        let created = |key: &str| {
            let name = &filters.iter().find(|filter| filter.key == key)?.value;
            let named = |container: &Container| container.name == *name || container.id.starts_with(name.as_str());
            found.iter().find(|(container, _)| named(container)).map(|(container, _)| container.created.clone())
        };
        Between { before: created("before"), since: created("since") }
    }

    fn hold(&self, container: &Container) -> bool {
        self.before.as_ref().is_none_or(|limit| container.created < *limit)
            && self.since.as_ref().is_none_or(|limit| container.created > *limit)
    }
}

/// Whether a container passes every filter but `before` and `since`.
pub fn passes(filters: &[Filter], container: &Container, state: &State) -> bool {
    let wanted = &container.wanted;
    let ports = wording::ports(&state.ports, &wanted.exposed);
    holds(filters, "id", |value| container.id.starts_with(value))
        // Docker's names begin with a slash, and an expression may say so.
        && holds(filters, "name", |value| has_name(value, &container.name) || has_name(value, &format!("/{}", container.name)))
        && filters
            .iter()
            .filter(|filter| filter.key == "label")
            .all(|filter| listing::has_label(&filter.value, |name| wanted.labels.get(name).map(String::as_str)))
        && holds(filters, "status", |value| value == wording::status_word(state.status))
        && holds(filters, "exited", |value| state.status == Status::Exited && value == state.exit_code.to_string())
        && holds(filters, "ancestor", |value| is_ancestor(container, value))
        && holds(filters, "network", |value| networks(container).iter().any(|network| network == value))
        && holds(filters, "volume", |value| mounts(container).iter().any(|(source, target)| source == value || target == value))
        && holds(filters, "health", |value| value == wording::health_word(state.health) || (value == "none" && state.health.is_none()))
        && holds(filters, "publish", |value| state.ports.iter().any(|port| has_port(value, port.host_port, port.protocol)))
        && holds(filters, "expose", |value| ports.contains(value))
}

fn has_port(wanted: &str, port: u16, protocol: crate::net::Protocol) -> bool {
    let (number, kind) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
    number == port.to_string() && kind == wording::protocol(protocol)
}

fn is_ancestor(container: &Container, value: &str) -> bool {
    let wanted = &container.wanted;
    let id = wanted.image_id.trim_start_matches("sha256:");
    wanted.image == value || wanted.image == format!("{value}:latest") || id.starts_with(value.trim_start_matches("sha256:"))
}

/// Names of the networks a container is on, as Docker names them.
pub fn networks(container: &Container) -> Vec<String> {
    match &container.wanted.network {
        NetworkMode::Plugs(plugs) => plugs.iter().map(|plug| plug.network.clone()).collect(),
        NetworkMode::None => vec!["none".to_owned()],
        NetworkMode::Host => vec!["host".to_owned()],
        NetworkMode::Container(_) => Vec::new(),
    }
}

/// Source and target of the volumes and binds of a container.
fn mounts(container: &Container) -> Vec<(String, String)> {
    let named = |mount: &container::Mount| match &mount.source {
        MountSource::Volume { name, .. } => Some((name.clone(), mount.target.clone())),
        MountSource::Bind { path, .. } => Some((path.display().to_string(), mount.target.clone())),
        _ => None,
    };
    container.wanted.mounts.iter().filter_map(named).collect()
}

/// Docker's fields of one container.
pub fn row(container: &Container, state: &State, width: Width) -> Row {
    let wanted = &container.wanted;
    let labels: Vec<_> = wanted.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mounts: Vec<_> = mounts(container).into_iter().map(|(source, _)| wording::cut(&source, 15, width)).collect();
    let is_volume = |mount: &&container::Mount| matches!(mount.source, MountSource::Volume { .. });
    let ports = if is_up(state.status) { wording::ports(&state.ports, &wanted.exposed) } else { String::new() };
    let fields = json!({
        "ID": width.id(&container.id),
        "Image": image_shown(container),
        "Command": wording::command(&wanted.args, width),
        "CreatedAt": units::long_time_text(&container.created),
        "RunningFor": units::ago_text(&container.created),
        "Status": wording::status(state),
        "State": wording::status_word(state.status),
        "Health": wording::health_word(state.health),
        "Ports": ports,
        "Names": container.name,
        "Labels": labels.join(","),
        "Mounts": mounts.join(","),
        "LocalVolumes": wanted.mounts.iter().filter(is_volume).count().to_string(),
        "Networks": networks(container).join(","),
        "Size": "0B",
    });
    fields.as_object().cloned().expect("the literal above is an object")
}

/// The image as the user named it; a bare id is cut.
fn image_shown(container: &Container) -> String {
    let name = &container.wanted.image;
    let is_id = name.len() == 64 && name.chars().all(|char| char.is_ascii_hexdigit());
    if is_id || name.starts_with("sha256:") { wording::short(name).to_owned() } else { name.clone() }
}
