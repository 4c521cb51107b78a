//! The build cache: what a step came to, by the digest of all that went into it.
//!
//! ```text
//! build/steps/<key>.json      a step's layer
//! build/contents/<key>        the digest of files of a stage, which never change
//! build/images/<key>          an image's id, by its undated configuration
//! build/files/<dev>-<ino>     what is known of a directory's files, see `digests`
//! build/mounts/<id>/          cache mounts
//! build/used/<kind>-<name>    of what has no record: when it was used last, and what it is
//! build/growth                how much was added since the cache was last looked at, see `limit`
//! ```
//!
//! A key is a digest of a definition, of the layers it stands on and of the content it reads: where the three are the
//! same, so is the result, whatever the Dockerfile, the image or the context are called. Records are only hints: one
//! that is gone, or whose layer is gone, costs a step.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::fs::Timespec;
use rustix::fs::Timestamps;
use serde::Deserialize;
use serde::Serialize;
use sha2::Digest as _;
use sha2::Sha256;

use crate::build::chain::layer_path;
use crate::failure::Result;
use crate::image::Layer;
use crate::place::Home;
use crate::state;

const VERSION: u32 = 1;

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StepRecord {
    version: u32,
    pub layer: Layer,
    /// RFC 3339.
    pub created: String,
    /// As the step was shown when it was carried out.
    #[serde(default)]
    pub shown: String,
}

impl StepRecord {
    pub(super) fn new(layer: Layer, created: String, shown: &str) -> StepRecord {
        StepRecord { version: VERSION, layer, created, shown: shown.to_owned() }
    }
}

/// What is kept without a record of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Used {
    Mount,
    Download,
    Checkout,
    Repository,
}

impl Used {
    /// Its directory below `build`.
    pub(super) fn directory(self) -> &'static str {
        match self {
            Used::Mount => "mounts",
            Used::Download => "downloads",
            Used::Checkout => "checkouts",
            Used::Repository => "git",
        }
    }

    pub(super) fn path(self, home: &Home, name: &str) -> PathBuf {
        home.build().join(self.directory()).join(name)
    }

    pub(super) fn mark(self, home: &Home, name: &str) -> PathBuf {
        home.build().join("used").join(format!("{}-{name}", self.directory()))
    }
}

/// Notes that something is used now; failing to do so makes it look older than it is.
pub(super) fn note_use(home: &Home, kind: Used, name: &str, what: &str) {
    let _ = state::write_whole(&kind.mark(home, name), what.as_bytes());
}

/// Notes that a step was used by a build that began at this moment. All steps of a build get the same one, so that none
/// goes before those that stand on it.
pub(super) fn note_step(home: &Home, key: &str, begun: SystemTime) {
    let since = begun.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = Timespec { tv_sec: since.as_secs() as i64, tv_nsec: since.subsec_nanos().into() };
    // As for the other marks.
    let times = Timestamps { last_access: time, last_modification: time };
    let _ = rustix::fs::utimensat(CWD, step_path(home, key), &times, AtFlags::empty());
}

/// Collects what goes into a key; each part with its length, so that no two sets of parts look the same.
#[derive(Clone)]
pub(super) struct Key(Sha256);

impl Key {
    pub(super) fn new(kind: &str) -> Key {
        // The number changes when the same definition would be carried out in another way.
        Key(Sha256::new()).text("coracle-build-1").text(kind)
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Key {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    pub(super) fn text(self, text: &str) -> Key {
        self.bytes(text.as_bytes())
    }

    pub(super) fn texts<S: AsRef<str>>(self, texts: &[S]) -> Key {
        let key = self.bytes(&(texts.len() as u64).to_le_bytes());
        texts.iter().fold(key, |key, text| key.text(text.as_ref()))
    }

    pub(super) fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn step_path(home: &Home, key: &str) -> PathBuf {
    home.build().join("steps").join(format!("{key}.json"))
}

/// What a step came to before, if its layer is still there.
pub(super) fn find_step(home: &Home, key: &str) -> Option<StepRecord> {
    // A record that cannot be read is as good as none.
    let record: StepRecord = state::find_json(&step_path(home, key)).ok()??;
    (record.version == VERSION && layer_path(home, &record.layer.diff_id).is_dir()).then_some(record)
}

/// Remembers what a step came to.
///
/// # Errors
/// The store cannot be written.
pub(super) fn store_step(home: &Home, key: &str, record: &StepRecord) -> Result<()> {
    state::write_json(&step_path(home, key), record)
}

/// All steps that are remembered: key, record, and when it was used last, in nanoseconds since 1970.
pub(super) fn steps(home: &Home) -> Vec<(String, StepRecord, u64)> {
    let Ok(entries) = fs::read_dir(home.build().join("steps")) else { return Vec::new() };
    let read = |entry: fs::DirEntry| {
        let key = entry.file_name().to_str()?.strip_suffix(".json")?.to_owned();
        let written = entry.metadata().ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        let record: StepRecord = state::find_json(&entry.path()).ok()??;
        Some((key, record, u64::try_from(written.as_nanos()).ok()?))
    };
    entries.flatten().filter_map(read).collect()
}

/// Forgets the steps that came to these layers; one that stays costs nothing.
pub(super) fn forget(home: &Home, layers: &[String]) {
    for (key, record, _) in steps(home) {
        if layers.iter().any(|layer| record.layer.diff_id.ends_with(layer.as_str())) {
            let _ = fs::remove_file(step_path(home, &key));
        }
    }
}

/// Forgets what is known of files, contents and images, but no step.
///
/// # Errors
/// A directory cannot be removed.
pub(super) fn forget_notes(home: &Home) -> Result<()> {
    ["contents", "images", "files"].iter().try_for_each(|kind| state::discard(home, &home.build().join(kind)))
}

/// A small fact that never changes once it is known.
pub(super) fn find_fact(home: &Home, kind: &str, key: &str) -> Option<String> {
    fs::read_to_string(home.build().join(kind).join(key)).ok().filter(|fact| !fact.is_empty())
}

/// Remembers a fact; failing to do so costs only time.
pub(super) fn store_fact(home: &Home, kind: &str, key: &str, fact: &str) {
    let _ = state::write_whole(&home.build().join(kind).join(key), fact.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_key_do_not_run_together() {
        let key = |texts: &[&str]| Key::new("x").texts(texts).finish();
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&["a"]), key(&["a", ""]));
        assert_eq!(key(&["a"]), key(&["a"]));
    }

    #[test]
    fn a_record_without_its_layer_is_none() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::at(place.path(), place.path().join("run"));
        let layer = Layer { diff_id: "sha256:00ff".to_owned(), size: 0 };
        store_step(&home, "k", &StepRecord::new(layer, "2026-01-01T00:00:00Z".to_owned(), "RUN x")).unwrap();
        assert!(find_step(&home, "k").is_none());
        fs::create_dir_all(home.layers().join("00ff")).unwrap();
        assert!(find_step(&home, "k").is_some());
    }
}
