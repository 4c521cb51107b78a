//! How things go that builds keep for the next time.

use std::collections::HashMap;
use std::fs;

use crate::build::CacheEntry;
use crate::build::CacheKind;
use crate::build::inventory;
use crate::build::limit;
use crate::build::limit::Disk;
use crate::build::limit::Limits;
use crate::build::records;
use crate::failure::Result;
use crate::image;
use crate::place::Home;
use crate::state;

/// What shall go.
#[derive(Debug, Clone, Default)]
pub struct Pruning {
    /// The notes on files and images too.
    pub all: bool,
    /// Only what was used last before this moment, in nanoseconds since 1970.
    pub until: Option<u64>,
    /// Only what begins with one of these; all if there are none.
    pub ids: Vec<String>,
    /// Only these kinds; all if there are none.
    pub kinds: Vec<CacheKind>,
    /// How much may stay; without any, nothing does.
    pub limits: Limits,
}

impl Pruning {
    /// Whether something is meant, as far as its name, kind and age go.
    pub fn means(&self, entry: &CacheEntry) -> bool {
        self.until.is_none_or(|until| entry.used < until)
            && (self.ids.is_empty() || self.ids.iter().any(|id| entry.id.starts_with(id.as_str())))
            && (self.kinds.is_empty() || self.kinds.contains(&entry.kind))
    }

    /// What goes of all that is kept.
    fn choose(&self, entries: Vec<CacheEntry>, disk: Disk) -> Vec<CacheEntry> {
        let all: u64 = entries.iter().filter(|entry| !entry.shared).map(|entry| entry.size).sum();
        let keep = if self.limits == Limits::default() { None } else { Some(self.limits.keep(all, disk)) };
        let mut left = all;
        let mut going: Vec<CacheEntry> = entries.into_iter().filter(|entry| !entry.shared && self.means(entry)).collect();
        going.sort_by_key(|entry| (entry.used, std::cmp::Reverse(entry.created)));
        going.retain(|entry| {
            let goes = keep.is_none_or(|keep| left > keep);
            if goes {
                left -= entry.size;
            }
            goes
        });
        going
    }

    /// Whether nothing is spared.
    fn is_whole(&self) -> bool {
        self.all && self.until.is_none() && self.ids.is_empty() && self.kinds.is_empty() && self.limits == Limits::default()
    }
}

/// See [`super::prune`].
pub(super) fn prune(home: &Home, wanted: &Pruning) -> Result<Option<Vec<CacheEntry>>> {
    let Some(gone) = remove(home, &wanted.choose(inventory::cache(home)?, Disk::of(home)))? else { return Ok(None) };
    if wanted.is_whole() {
        records::forget_notes(home)?;
    }
    limit::forget(home);
    Ok(Some(gone))
}

/// Removes these, but for what was used since they were looked at, and says what; none if something is being built or pulled.
///
/// # Errors
/// The store cannot be written.
pub(super) fn remove(home: &Home, going: &[CacheEntry]) -> Result<Option<Vec<CacheEntry>>> {
    let Some(alone) = image::nothing_arrives(home)? else { return Ok(None) };
    let mut steps: HashMap<String, u64> = HashMap::new();
    for (_, record, used) in records::steps(home) {
        let last = steps.entry(record.layer.diff_id.trim_start_matches("sha256:").to_owned()).or_default();
        *last = used.max(*last);
    }
    let is_unused = |entry: &&CacheEntry| match entry.kind.marked() {
        Some(used) => inventory::changed(&used.mark(home, &entry.id)) <= entry.used,
        None => steps.get(&entry.id).is_none_or(|used| *used <= entry.used),
    };
    let gone: Vec<CacheEntry> = going.iter().filter(is_unused).cloned().collect();
    let layers: Vec<String> = gone.iter().filter(|entry| entry.kind.marked().is_none()).map(|entry| entry.id.clone()).collect();
    // The notes first: without its layer a note is only passed over, a layer without its note is a rest.
    records::forget(home, &layers);
    image::remove_loose(home, &layers, &alone)?;
    for entry in &gone {
        let Some(used) = entry.kind.marked() else { continue };
        state::discard(home, &used.path(home, &entry.id))?;
        let _ = fs::remove_file(used.mark(home, &entry.id));
    }
    Ok(Some(gone))
}
