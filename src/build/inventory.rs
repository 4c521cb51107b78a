//! What builds keep for the next time: a list of it.
//!
//! Layers that an image has are the image's; the record of the step that made them stays with them.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::build::chain::layer_path;
use crate::build::records;
use crate::build::records::Used;
use crate::failure::Result;
use crate::image;
use crate::place::Home;
use crate::state;

/// Something a build has kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// Of a layer its diff id, of the others the name of the directory or file.
    pub id: String,
    pub kind: CacheKind,
    /// In bytes.
    pub size: u64,
    /// In nanoseconds since 1970.
    pub created: u64,
    pub used: u64,
    /// An image has it too, so it takes no room of its own.
    pub shared: bool,
    /// The step that made it, the name of a cache mount, an address.
    pub what: String,
}

/// What kind of thing a build has kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheKind {
    /// What a step came to.
    Step,
    /// What is left of something that did not end.
    Rest,
    /// Of `RUN --mount=type=cache`.
    Mount,
    /// A file from an address.
    Download,
    /// The files of a commit.
    Checkout,
    /// What was fetched of a git repository.
    Repository,
}

impl CacheKind {
    /// Whose mark says when it was used; the records of steps say it themselves.
    pub(super) fn marked(self) -> Option<Used> {
        match self {
            CacheKind::Step | CacheKind::Rest => None,
            CacheKind::Mount => Some(Used::Mount),
            CacheKind::Download => Some(Used::Download),
            CacheKind::Checkout => Some(Used::Checkout),
            CacheKind::Repository => Some(Used::Repository),
        }
    }
}

/// See [`super::cache`].
pub(super) fn cache(home: &Home) -> Result<Vec<CacheEntry>> {
    let usage = image::usage(home)?;
    let loose: HashMap<&str, &image::LooseLayer> = usage.loose.iter().map(|layer| (layer.key.as_str(), layer)).collect();
    let mut layers: BTreeMap<String, CacheEntry> = BTreeMap::new();
    for (_, record, used) in records::steps(home) {
        let id = record.layer.diff_id.trim_start_matches("sha256:").to_owned();
        if let Some(known) = layers.get_mut(&id) {
            known.used = known.used.max(used);
            continue;
        }
        if !layer_path(home, &record.layer.diff_id).is_dir() {
            continue;
        }
        let found = loose.get(id.as_str());
        let size = found.map_or(record.layer.size, |layer| layer.size);
        let created = record.created.parse::<jiff::Timestamp>().ok().and_then(|time| u64::try_from(time.as_nanosecond()).ok());
        let (created, shared) = (created.unwrap_or(used), found.is_none());
        let entry = CacheEntry { id: id.clone(), kind: CacheKind::Step, size, created, used, shared, what: record.shown };
        layers.insert(id, entry);
    }
    for layer in &usage.loose {
        layers.entry(layer.key.clone()).or_insert_with(|| CacheEntry {
            id: layer.key.clone(),
            kind: CacheKind::Rest,
            size: layer.size,
            created: layer.created,
            used: layer.created,
            shared: false,
            what: String::new(),
        });
    }
    let mut entries: Vec<CacheEntry> = layers.into_values().collect();
    for kind in [CacheKind::Mount, CacheKind::Download, CacheKind::Checkout, CacheKind::Repository] {
        entries.extend(kind.marked().map(|used| marked(home, kind, used)).unwrap_or_default());
    }
    entries.sort_by(|one, other| other.used.cmp(&one.used).then_with(|| one.id.cmp(&other.id)));
    Ok(entries)
}

/// What lies in one of the directories whose uses are marked.
fn marked(home: &Home, kind: CacheKind, used: Used) -> Vec<CacheEntry> {
    let Ok(found) = fs::read_dir(home.build().join(used.directory())) else { return Vec::new() };
    let entry = |found: fs::DirEntry| {
        let id = found.file_name().into_string().ok().filter(|name| !name.starts_with('.'))?;
        let path = found.path();
        let size = if path.is_dir() { state::weight(&path) } else { fs::metadata(&path).ok()?.len() };
        let what = fs::read_to_string(used.mark(home, &id)).unwrap_or_default();
        // The name of a mount is older than its mark where an earlier version of this program made it.
        let last = changed(&used.mark(home, &id)).max(changed(&path.join("mounted")));
        let last = if last == 0 { changed(&path) } else { last };
        Some(CacheEntry { id, kind, size, created: changed(&path), used: last, shared: false, what })
    };
    found.flatten().filter_map(entry).collect()
}

/// When a file was written last, in nanoseconds since 1970; 0 if it is not there.
pub(super) fn changed(path: &Path) -> u64 {
    let time = fs::metadata(path).and_then(|found| found.modified()).ok();
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or_default()
}
