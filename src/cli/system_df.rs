//! `coracle system df`

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use clap::Args;
use serde_json::Value;
use serde_json::json;

use crate::build;
use crate::build::CacheEntry;
use crate::cli::Outcome;
use crate::cli::buildx;
use crate::cli::container_list;
use crate::cli::container_list::is_up;
use crate::cli::listing;
use crate::cli::listing::Columns;
use crate::cli::listing::Row;
use crate::cli::out;
use crate::cli::rmi;
use crate::cli::template::Template;
use crate::cli::wording::Width;
use crate::cli::wording::short;
use crate::container;
use crate::container::Container;
use crate::container::MountSource;
use crate::container::State;
use crate::failure::Result;
use crate::image;
use crate::image::Listed;
use crate::image::Usage;
use crate::place::Home;
use crate::state;
use crate::units;
use crate::volume;

#[derive(Debug, Args)]
pub struct Command {
    /// Show everything for itself
    #[arg(short, long)]
    verbose: bool,
    /// `table`, `table TEMPLATE`, `json` or a template
    #[arg(long)]
    format: Option<String>,
}

const SUMMARY: Columns = Columns {
    headings: &[("Type", "TYPE"), ("TotalCount", "TOTAL"), ("Active", "ACTIVE"), ("Size", "SIZE"), ("Reclaimable", "RECLAIMABLE")],
    usual: &["Type", "TotalCount", "Active", "Size", "Reclaimable"],
};

/// All that takes room.
struct Disk {
    usage: Usage,
    listed: Vec<Listed>,
    in_use: BTreeSet<String>,
    containers: Vec<(Container, State, u64)>,
    /// Name, number of containers, size.
    volumes: Vec<(String, usize, u64)>,
    cache: Vec<CacheEntry>,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        let disk = Disk::read(home)?;
        match (self.verbose, self.format.as_deref()) {
            (true, None | Some("table" | "")) => disk.print_all()?,
            (true, Some("json")) => out::line(&disk.everything().to_string())?,
            (true, Some(template)) => out::line(&Template::parse(template)?.text(&disk.everything())?)?,
            (false, format) => listing::print(&disk.summary(), SUMMARY, format)?,
        }
        Ok(0)
    }
}

impl Disk {
    fn read(home: &Home) -> Result<Disk> {
        let mut containers = Vec::new();
        for found in container::list(home)? {
            // One that is just being removed has none any more.
            let Ok(state) = container::state(home, &found.id) else { continue };
            let size = state::weight(&home.container(&found.id).join("upper"));
            containers.push((found, state, size));
        }
        let users = |name: &str| {
            let uses = |found: &Container| {
                found.wanted.mounts.iter().any(|mount| matches!(&mount.source, MountSource::Volume { name: used, .. } if used == name))
            };
            containers.iter().filter(|(found, ..)| uses(found)).count()
        };
        let volumes = volume::list(home)?.into_iter().map(|found| {
            let size = state::weight(&volume::directory(home, &found.name));
            (found.name.clone(), users(&found.name), size)
        });
        Ok(Disk {
            volumes: volumes.collect(),
            usage: image::usage(home)?,
            listed: image::list(home)?,
            in_use: rmi::in_use(home)?.into_iter().collect(),
            cache: build::cache(home)?,
            containers,
        })
    }

    fn summary(&self) -> Vec<Row> {
        let ids: BTreeSet<String> = self.usage.images.iter().map(|image| image.id.clone()).collect();
        let used = self.usage.of_images(&self.in_use);
        let running = self.containers.iter().filter(|(_, state, _)| is_up(state.status));
        let idle: u64 = self.containers.iter().filter(|(_, state, _)| !is_up(state.status)).map(|(.., size)| size).sum();
        let all: u64 = self.containers.iter().map(|(.., size)| size).sum();
        let unused: u64 = self.volumes.iter().filter(|(_, users, _)| *users == 0).map(|(.., size)| size).sum();
        let volumes: u64 = self.volumes.iter().map(|(.., size)| size).sum();
        let own = |entry: &&CacheEntry| !entry.shared;
        let cache: u64 = self.cache.iter().filter(own).map(|entry| entry.size).sum();
        vec![
            row("Images", (ids.len(), ids.intersection(&self.in_use).count()), (self.usage.in_images, self.usage.in_images - used)),
            row("Containers", (self.containers.len(), running.count()), (all, idle)),
            row("Local Volumes", (self.volumes.len(), self.volumes.iter().filter(|(_, users, _)| *users > 0).count()), (volumes, unused)),
            row("Build Cache", (self.cache.len(), self.cache.iter().filter(|entry| entry.shared).count()), (cache, cache)),
        ]
    }

    // ---- -v ----

    fn print_all(&self) -> Result<()> {
        out::data("Images space usage:\n\n")?;
        listing::print(&self.image_rows(), IMAGES, None)?;
        out::data("\nContainers space usage:\n\n")?;
        listing::print(&self.container_rows(), CONTAINERS, None)?;
        out::data("\nLocal Volumes space usage:\n\n")?;
        listing::print(&self.volume_rows(), VOLUMES, None)?;
        let own: u64 = self.cache.iter().filter(|entry| !entry.shared).map(|entry| entry.size).sum();
        out::data(&format!("\nBuild cache usage: {}\n\n", units::size_text(own)))?;
        listing::print(&self.cache_rows(), CACHE, None)
    }

    /// For templates and programs.
    fn everything(&self) -> Value {
        json!({
            "Images": self.image_rows(),
            "Containers": self.container_rows(),
            "Volumes": self.volume_rows(),
            "BuildCache": self.cache_rows(),
        })
    }

    fn image_rows(&self) -> Vec<Row> {
        let count = |id: &str| self.containers.iter().filter(|(found, ..)| found.wanted.image_id == id).count();
        let of_image: BTreeMap<&str, &image::ImageUsage> = self.usage.images.iter().map(|image| (image.id.as_str(), image)).collect();
        let rows = self.listed.iter().filter_map(|listed| {
            let usage = of_image.get(listed.id.as_str())?;
            let created = listed.created.as_deref().unwrap_or_default();
            Some(object(json!({
                "Repository": listed.repository,
                "Tag": listed.tag,
                "ID": short(&listed.id),
                "CreatedSince": if created.is_empty() { "N/A".to_owned() } else { units::ago_text(created) },
                "Size": units::size_text(usage.shared + usage.unique),
                "SharedSize": units::size_text(usage.shared),
                "UniqueSize": units::size_text(usage.unique),
                "Containers": count(&listed.id).to_string(),
            })))
        });
        rows.collect()
    }

    fn container_rows(&self) -> Vec<Row> {
        let rows = self.containers.iter().map(|(found, state, size)| {
            let volumes = found.wanted.mounts.iter().filter(|mount| matches!(mount.source, MountSource::Volume { .. })).count();
            let mut row = container_list::row(found, state, Width::Cut);
            row.insert("LocalVolumes".to_owned(), volumes.to_string().into());
            row.insert("Size".to_owned(), units::size_text(*size).into());
            row
        });
        rows.collect()
    }

    fn volume_rows(&self) -> Vec<Row> {
        let row = |(name, users, size): &(String, usize, u64)| {
            object(json!({ "Name": name, "Links": users.to_string(), "Size": units::size_text(*size) }))
        };
        self.volumes.iter().map(row).collect()
    }

    fn cache_rows(&self) -> Vec<Row> {
        let row = |entry: &CacheEntry| {
            object(json!({
                "ID": short(&entry.id),
                "CacheType": buildx::kind(entry.kind),
                "Size": units::size_text(entry.size),
                "CreatedSince": units::ago_text(&units::time_text(entry.created)),
                "LastUsedSince": units::ago_text(&units::time_text(entry.used)),
                "Shared": entry.shared.to_string(),
            }))
        };
        self.cache.iter().map(row).collect()
    }
}

const IMAGES: Columns = Columns {
    headings: &[
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("ID", "IMAGE ID"),
        ("CreatedSince", "CREATED"),
        ("Size", "SIZE"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
        ("Containers", "CONTAINERS"),
    ],
    usual: &["Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize", "Containers"],
};
const CONTAINERS: Columns = Columns {
    headings: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Size", "SIZE"),
        ("RunningFor", "CREATED"),
        ("Status", "STATUS"),
        ("Names", "NAMES"),
    ],
    usual: &["ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names"],
};
const VOLUMES: Columns =
    Columns { headings: &[("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")], usual: &["Name", "Links", "Size"] };
const CACHE: Columns = Columns {
    headings: &[
        ("ID", "CACHE ID"),
        ("CacheType", "CACHE TYPE"),
        ("Size", "SIZE"),
        ("CreatedSince", "CREATED"),
        ("LastUsedSince", "LAST USED"),
        ("Shared", "SHARED"),
    ],
    usual: &["ID", "CacheType", "Size", "CreatedSince", "LastUsedSince", "Shared"],
};

fn object(value: Value) -> Row {
    match value {
        Value::Object(row) => row,
        _ => Row::new(),
    }
}

fn row(kind: &str, (total, active): (usize, usize), (size, reclaimable): (u64, u64)) -> Row {
    // Docker writes the part behind the size, unless there is no whole to take a part of.
    let part = (reclaimable * 100).checked_div(size).map(|part| format!(" ({part}%)")).unwrap_or_default();
    object(json!({
        "Type": kind,
        "TotalCount": total.to_string(),
        "Active": active.to_string(),
        "Size": units::size_text(size),
        "Reclaimable": format!("{}{part}", units::size_text(reclaimable)),
    }))
}
