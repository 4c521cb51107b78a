//! What builds keep for the next time, and how it goes.
//!
//! Layers that an image has are the image's; the record of the step that made them stays with them.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use crate::build::chain::layer_path;
use crate::build::records;
use crate::failure::Result;
use crate::image;
use crate::place::Home;
use crate::state;

/// Something a build has kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// Of a layer its diff id, of a cache mount its directory's name.
    pub id: String,
    pub kind: CacheKind,
    /// In bytes.
    pub size: u64,
    /// In nanoseconds since 1970.
    pub created: u64,
    pub used: u64,
    /// An image has it too, so it takes no room of its own.
    pub shared: bool,
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
}

/// What shall go.
#[derive(Debug, Clone, Default)]
pub struct Pruning {
    /// The notes on files and images too.
    pub all: bool,
    /// Only what was used last before this moment, in nanoseconds since 1970.
    pub until: Option<u64>,
    /// So many bytes shall stay, the newest.
    pub keep: Option<u64>,
}

/// See [`super::cache`].
pub(super) fn cache(home: &Home) -> Result<Vec<CacheEntry>> {
    let usage = image::usage(home)?;
    let loose: HashMap<&str, &image::LooseLayer> = usage.loose.iter().map(|layer| (layer.key.as_str(), layer)).collect();
    let mut entries: Vec<CacheEntry> = Vec::new();
    for (_, record, used) in records::steps(home) {
        let key = record.layer.diff_id.trim_start_matches("sha256:");
        if entries.iter().any(|known| known.id == key) || !layer_path(home, &record.layer.diff_id).is_dir() {
            continue;
        }
        let found = loose.get(key);
        let size = found.map_or(record.layer.size, |layer| layer.size);
        entries.push(CacheEntry { id: key.to_owned(), kind: CacheKind::Step, size, created: used, used, shared: found.is_none() });
    }
    for layer in &usage.loose {
        if !entries.iter().any(|known| known.id == layer.key) {
            let (id, kind) = (layer.key.clone(), CacheKind::Rest);
            entries.push(CacheEntry { id, kind, size: layer.size, created: layer.created, used: layer.created, shared: false });
        }
    }
    for path in mounts(home) {
        let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let used = changed(&path.join("mounted")).max(changed(&path));
        entries.push(CacheEntry { id, kind: CacheKind::Mount, size: state::weight(&path), created: changed(&path), used, shared: false });
    }
    entries.sort_by(|one, other| other.used.cmp(&one.used).then_with(|| one.id.cmp(&other.id)));
    Ok(entries)
}

/// See [`super::prune`].
pub(super) fn prune(home: &Home, wanted: &Pruning) -> Result<Option<Vec<CacheEntry>>> {
    let Some(alone) = image::nothing_arrives(home)? else { return Ok(None) };
    let mut kept = 0;
    let mut going: Vec<CacheEntry> = Vec::new();
    // The newest first, so that they are what is kept.
    for entry in cache(home)?.into_iter().filter(|entry| !entry.shared) {
        let young = wanted.until.is_some_and(|until| entry.used >= until);
        if young || wanted.keep.is_some_and(|keep| kept + entry.size <= keep) {
            kept += entry.size;
        } else {
            going.push(entry);
        }
    }
    let layers: Vec<String> = going.iter().filter(|entry| entry.kind != CacheKind::Mount).map(|entry| entry.id.clone()).collect();
    // The notes first: without its layer a note is only passed over, a layer without its note is a rest.
    records::forget(home, &layers);
    image::remove_loose(home, &layers, &alone)?;
    for entry in going.iter().filter(|entry| entry.kind == CacheKind::Mount) {
        state::discard(home, &home.build().join("mounts").join(&entry.id))?;
    }
    if wanted.all && wanted.until.is_none() && wanted.keep.is_none() {
        records::forget_notes(home)?;
    }
    Ok(Some(going))
}

fn mounts(home: &Home) -> Vec<PathBuf> {
    fs::read_dir(home.build().join("mounts")).map_or_else(|_| Vec::new(), |found| found.flatten().map(|entry| entry.path()).collect())
}

fn changed(path: &Path) -> u64 {
    let time = fs::metadata(path).and_then(|found| found.modified()).ok();
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or_default()
}
