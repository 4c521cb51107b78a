//! What images take of the disk, and layers that are in none.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::time::UNIX_EPOCH;

use super::layer_records;
use super::layer_records::Claims;
use super::layer_records::LayerRecord;
use super::store;
use crate::failure::Result;
use crate::place::Home;

/// What the store takes of the disk; all sizes in bytes, blobs kept beside layers included.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    pub images: Vec<ImageUsage>,
    /// Of all layers that are in an image, each once.
    pub in_images: u64,
    sizes: BTreeMap<String, u64>,
    /// Left by builds, or by pulls that were cut.
    pub loose: Vec<LooseLayer>,
}

/// One image.
#[derive(Debug, Clone)]
pub struct ImageUsage {
    pub id: String,
    /// Of the layers that are in other images too.
    pub shared: u64,
    /// Of the layers that are in no other.
    pub unique: u64,
    /// Of the blobs kept beside its layers.
    pub content: u64,
    /// The names of its layers' directories.
    pub layers: Vec<String>,
}

/// A layer that is in no image.
#[derive(Debug, Clone)]
pub struct LooseLayer {
    /// The name of its directory.
    pub key: String,
    pub size: u64,
    /// When it was made, in nanoseconds since 1970.
    pub created: u64,
}

impl Usage {
    /// The sum of the layers of these images, each layer once.
    pub fn of_images(&self, ids: &BTreeSet<String>) -> u64 {
        let keys: BTreeSet<&String> = self.images.iter().filter(|image| ids.contains(&image.id)).flat_map(|image| &image.layers).collect();
        keys.into_iter().filter_map(|key| self.sizes.get(key)).sum()
    }
}

/// See [`super::usage()`].
pub(super) fn usage(home: &Home) -> Result<Usage> {
    let records: BTreeMap<String, LayerRecord> = layer_records::layer_records(home)?.into_iter().collect();
    let sizes = sizes(home, &records);
    let images = store::images(home)?;
    let mut users: BTreeMap<&String, usize> = BTreeMap::new();
    for image in &images {
        for key in image.layers.iter().collect::<BTreeSet<_>>() {
            *users.entry(key).or_default() += 1;
        }
    }
    let mut usage = Usage { in_images: users.keys().filter_map(|key| sizes.get(*key)).sum(), ..Usage::default() };
    for image in &images {
        let (mut shared, mut unique) = (0, 0);
        for key in image.layers.iter().collect::<BTreeSet<_>>() {
            let size = sizes.get(key).copied().unwrap_or_default();
            if users.get(key).is_some_and(|count| *count > 1) { shared += size } else { unique += size }
        }
        let layers = image.layers.iter().collect::<BTreeSet<_>>().into_iter();
        let content = layers.filter_map(|key| records.get(key)?.kept.as_ref()).map(|kept| kept.size).sum();
        usage.images.push(ImageUsage { id: image.id.clone(), shared, unique, content, layers: image.layers.clone() });
    }
    let loose = sizes.iter().filter(|(key, _)| !users.contains_key(key));
    let loose = loose.map(|(key, size)| LooseLayer { key: key.clone(), size: *size, created: created(home, key) });
    usage.loose = loose.collect();
    usage.sizes = sizes;
    Ok(usage)
}

/// What each layer takes, by the name of its directory.
fn sizes(home: &Home, records: &BTreeMap<String, LayerRecord>) -> BTreeMap<String, u64> {
    let there = records.iter().filter(|(key, _)| layer_records::layer_directory(home, key).is_dir());
    there.map(|(key, record)| (key.clone(), record.weight())).collect()
}

/// When the record of a layer was written.
fn created(home: &Home, key: &str) -> u64 {
    let written = fs::metadata(layer_records::layer_record(home, key)).and_then(|found| found.modified());
    let since = written.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or_default()
}

/// See [`super::remove_loose`].
pub(super) fn remove_loose(home: &Home, keys: &[String]) -> Result<u64> {
    let _lock = store::lock(home)?;
    Ok(layer_records::remove_unused(home, keys, Claims::Overruled)?.iter().map(|(_, bytes)| bytes).sum())
}
