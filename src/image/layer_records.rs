//! What there is to say about the layers of the store, and how those go that no image has.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use super::compression::Compression;
use super::digest::Digest;
use super::keep::Kept;
use super::store::blob_path;
use super::store::find_image;
use super::store::images;
use super::store::remove_file;
use crate::failure::Doing;
use crate::failure::Result;
use crate::place::Home;
use crate::state;
use crate::state::Lock;

const VERSION: u32 = 1;

/// What there is to say about an unpacked layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LayerRecord {
    pub(super) version: u32,
    pub(super) diff_id: String,
    /// The sum of its files, in bytes.
    pub(super) size: u64,
    /// Of the plain tar stream, in bytes.
    pub(super) tar_size: u64,
    /// Mode, owner and group of `/`, where the layer says something about it.
    pub(super) root: Option<(u32, u32, u32)>,
    /// Hides everything below it, which overlayfs cannot say of the root itself.
    #[serde(default)]
    pub(super) opaque_root: bool,
    /// Its tar stream, where the directory cannot give it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kept: Option<Kept>,
    /// A build may come to it again: that no image has it is no reason to remove it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) claimed: bool,
    /// What it is called in registries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) forms: Vec<Form>,
}

/// A blob that holds the layer, as registries have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Form {
    pub(super) digest: String,
    pub(super) size: u64,
    pub(super) compression: Compression,
    /// The level of our compressor that made it; none if it came from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) level: Option<i32>,
    /// `docker.io/library/redis`: where it was seen.
    #[serde(default)]
    pub(super) repositories: Vec<String>,
}

impl LayerRecord {
    /// What it takes of the disk, the blob kept for it included.
    pub(super) fn weight(&self) -> u64 {
        self.size + self.kept.as_ref().map_or(0, |kept| kept.size)
    }

    pub(super) fn new(diff_id: &Digest, size: u64, tar_size: u64) -> LayerRecord {
        let diff_id = diff_id.to_string();
        LayerRecord {
            version: VERSION,
            diff_id,
            size,
            tar_size,
            root: None,
            opaque_root: false,
            kept: None,
            claimed: false,
            forms: Vec::new(),
        }
    }
}

pub(super) fn layer_directory(home: &Home, key: &str) -> PathBuf {
    home.layers().join(key)
}

pub(super) fn layer_record(home: &Home, key: &str) -> PathBuf {
    home.layers().join(format!("{key}.json"))
}

/// The sizes of an image's layers, the lowest first.
pub(super) fn layer_sizes(home: &Home, id: &str) -> Result<Vec<u64>> {
    let Some(image) = find_image(home, id)? else { return Ok(Vec::new()) };
    let size = |key: &String| Ok(state::find_json::<LayerRecord>(&layer_record(home, key))?.map_or(0, |layer| layer.size));
    image.layers.iter().map(size).collect()
}

/// Keeps a layer although no image has it, until it is removed by [`super::remove_loose`].
///
/// # Errors
/// The store cannot be written.
pub fn claim_layer(home: &Home, diff_id: &str) -> Result<()> {
    let key = diff_id.trim_start_matches("sha256:");
    let path = layer_record(home, key);
    if state::find_json::<LayerRecord>(&path)?.is_none_or(|record| record.claimed) {
        return Ok(());
    }
    let _lock = Lock::alone(home, &format!("forms-{key}"))?;
    let Some(record) = state::find_json::<LayerRecord>(&path)? else { return Ok(()) };
    state::write_json(&path, &LayerRecord { claimed: true, ..record })
}

/// Whether claimed layers go too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claims {
    Heeded,
    Overruled,
}

/// Removes those of these layers that no image has, and says which; the caller holds the lock.
pub(super) fn remove_unused(home: &Home, keys: &[String], claims: Claims) -> Result<Vec<(String, u64)>> {
    let images = images(home)?;
    let mut gone: Vec<(String, u64)> = Vec::new();
    for key in keys {
        if gone.iter().any(|(known, _)| known == key) || images.iter().any(|image| image.layers.contains(key)) {
            continue;
        }
        let is_claimed = || state::find_json::<LayerRecord>(&layer_record(home, key)).ok().flatten().is_some_and(|record| record.claimed);
        if claims == Claims::Heeded && is_claimed() {
            continue;
        }
        gone.push((key.clone(), discard_layer(home, key)?));
    }
    Ok(gone)
}

/// Takes a layer away, with its record and the blob kept for it; the caller holds the lock. How many bytes that frees.
pub(super) fn discard_layer(home: &Home, key: &str) -> Result<u64> {
    state::discard(home, &layer_directory(home, key))?;
    let path = layer_record(home, key);
    // A record that cannot be read must not keep the layer: at worst a blob is left for `system check`.
    let record: Option<LayerRecord> = state::find_json(&path).unwrap_or_default();
    remove_file(&path)?;
    let size = record.as_ref().map_or(0, |record| record.size);
    let Some(kept) = record.as_ref().and_then(|record| record.kept.as_ref()) else { return Ok(size) };
    // Only a layer that depends on those below it can be there twice, under two keys.
    let is_alone = record.as_ref().is_some_and(|record| record.diff_id.ends_with(key));
    if is_alone || !layer_records(home)?.iter().any(|(_, other)| other.kept.as_ref() == Some(kept)) {
        remove_file(&blob_path(home, &Digest::parse(&kept.digest)?))?;
        return Ok(size + kept.size);
    }
    Ok(size)
}

/// All layers with their keys; records that cannot be read are left out.
pub(super) fn layer_records(home: &Home) -> Result<Vec<(String, LayerRecord)>> {
    let directory = home.layers();
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.doing(|| format!("cannot read {}", directory.display()))?,
    };
    let keys = entries.flatten().filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned()));
    let keys = keys.filter(|key| !key.starts_with('.'));
    Ok(keys.filter_map(|key| Some((key.clone(), state::find_json(&layer_record(home, &key)).ok()??))).collect())
}

/// Remembers that a repository has the layer in this form.
pub(super) fn note_form(home: &Home, key: &str, form: &Form) -> Result<()> {
    let path = layer_record(home, key);
    let knows = |record: &LayerRecord| {
        let known = record.forms.iter().find(|known| known.digest == form.digest);
        known.is_some_and(|known| form.repositories.iter().all(|repository| known.repositories.contains(repository)))
    };
    if state::find_json::<LayerRecord>(&path)?.is_none_or(|record| knows(&record)) {
        return Ok(());
    }
    let _lock = Lock::alone(home, &format!("forms-{key}"))?;
    let Some(mut record) = state::find_json::<LayerRecord>(&path)? else { return Ok(()) };
    match record.forms.iter_mut().find(|known| known.digest == form.digest) {
        None => record.forms.push(form.clone()),
        Some(known) => {
            let new = form.repositories.iter().filter(|repository| !known.repositories.contains(repository)).cloned();
            let new: Vec<String> = new.collect();
            known.repositories.extend(new);
        }
    }
    state::write_json(&path, &record)
}
