//! The store on disk: what is in it, and how it is found again.
//!
//! ```text
//! blobs/sha256/<hex>            raw manifests and configurations, and layers as they came (see `keep`)
//! layers/<hex>/                 an unpacked layer, by its diff id (rarely: by its chain id, see `settle`)
//! layers/<hex>.json             what there is to say about it
//! images/ids/<hex>.json         an image that is whole: its layers, size, manifest
//! images/names/<name>.json      a name, `/` written as `%2F`, and the image it means
//! ```
//!
//! An image exists when its record under `ids/` does; that one is written last. Deciding which layers nobody uses and
//! making a record that uses them exclude each other by the lock `store`.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Image;
use super::ImageConfig;
use super::Listed;
use super::compression::Compression;
use super::digest::Digest;
use super::keep::Kept;
use super::reference::Reference;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::state;
use crate::state::Lock;

const VERSION: u32 = 1;
/// A file name may have 255 bytes; a name of an image may be longer.
const LONGEST_FILE_NAME: usize = 240;

/// An image that is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ImageRecord {
    pub(super) version: u32,
    /// `sha256:<hex>` of the configuration.
    pub(super) id: String,
    /// Of the platform's own manifest, if it came from a registry.
    pub(super) manifest: Option<String>,
    pub(super) created: Option<String>,
    /// The sum of the layers' files, in bytes.
    pub(super) size: u64,
    /// Directories under `layers/`, the lowest first, one for each diff id.
    pub(super) layers: Vec<String>,
    /// The first of them that can be seen: it, or nothing, hides all below it.
    #[serde(default)]
    pub(super) lowest: usize,
}

/// A name and what it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NameRecord {
    pub(super) version: u32,
    /// Canonical, with tag or digest.
    pub(super) name: String,
    pub(super) id: String,
    /// What the registry calls it: the digest of the manifest or of the index.
    pub(super) digest: Option<String>,
}

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
    pub(super) fn new(diff_id: &Digest, size: u64, tar_size: u64) -> LayerRecord {
        let diff_id = diff_id.to_string();
        LayerRecord { version: VERSION, diff_id, size, tar_size, root: None, opaque_root: false, kept: None, forms: Vec::new() }
    }
}

/// Excludes everyone else who decides what the store holds.
pub(super) fn lock(home: &Home) -> Result<Lock> {
    Lock::alone(home, "store")
}

pub(super) fn layer_directory(home: &Home, key: &str) -> PathBuf {
    home.layers().join(key)
}

pub(super) fn layer_record(home: &Home, key: &str) -> PathBuf {
    home.layers().join(format!("{key}.json"))
}

pub(super) fn blob_path(home: &Home, digest: &Digest) -> PathBuf {
    home.blobs().join("sha256").join(digest.hex())
}

fn ids(home: &Home) -> PathBuf {
    home.images().join("ids")
}

fn names(home: &Home) -> PathBuf {
    home.images().join("names")
}

fn id_path(home: &Home, id: &str) -> PathBuf {
    ids(home).join(format!("{}.json", id.trim_start_matches("sha256:")))
}

fn name_path(home: &Home, canonical: &str) -> PathBuf {
    let mut file = canonical.replace('/', "%2F");
    if file.len() > LONGEST_FILE_NAME {
        file = format!("long-{}", Digest::of(canonical.as_bytes()).hex());
    }
    names(home).join(file + ".json")
}

/// Stores raw bytes under their digest.
pub(super) fn put_blob(home: &Home, digest: &Digest, bytes: &[u8]) -> Result<()> {
    let path = blob_path(home, digest);
    if fs::metadata(&path).is_ok_and(|found| found.len() == bytes.len() as u64) {
        return Ok(());
    }
    state::write_whole(&path, bytes)
}

/// Reads the raw bytes of a manifest or a configuration; a missing one is none.
pub(super) fn find_blob(home: &Home, digest: &Digest) -> Result<Option<Vec<u8>>> {
    let path = blob_path(home, digest);
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some).doing(|| format!("cannot read {}", path.display())),
    }
}

/// Makes an image exist. All its layers must be there, and the caller holds the lock.
pub(super) fn put_image(home: &Home, config: &ImageConfig, record: &ImageRecord) -> Result<()> {
    for (key, diff_id) in record.layers.iter().zip(&config.rootfs.diff_ids) {
        if !layer_directory(home, key).is_dir() {
            return Err(Failure::new(format!("cannot store image {}", record.id)).because(format!("layer {diff_id} is not in the store")));
        }
    }
    put_record(home, record)
}

/// Replaces what there is to say about an image that exists; the caller holds the lock.
pub(super) fn put_record(home: &Home, record: &ImageRecord) -> Result<()> {
    state::write_json(&id_path(home, &record.id), record)
}

/// The record of exactly this name.
pub(super) fn find_exact(home: &Home, name: &Reference) -> Result<Option<NameRecord>> {
    state::find_json(&name_path(home, &name.canonical()))
}

/// A record for an image of these layers.
pub(super) fn image_record(home: &Home, id: &Digest, config: &ImageConfig, layers: Vec<String>) -> Result<ImageRecord> {
    let (mut size, mut lowest) = (0, 0);
    for (at, key) in layers.iter().enumerate() {
        if let Some(layer) = state::find_json::<LayerRecord>(&layer_record(home, key))? {
            size += layer.size;
            lowest = if layer.opaque_root { at } else { lowest };
        }
    }
    Ok(ImageRecord { version: VERSION, id: id.to_string(), manifest: None, created: config.created.clone(), size, layers, lowest })
}

/// The sizes of an image's layers, the lowest first.
pub(super) fn layer_sizes(home: &Home, id: &str) -> Result<Vec<u64>> {
    let Some(image) = find_image(home, id)? else { return Ok(Vec::new()) };
    let size = |key: &String| Ok(state::find_json::<LayerRecord>(&layer_record(home, key))?.map_or(0, |layer| layer.size));
    image.layers.iter().map(size).collect()
}

/// Makes a name mean an image.
pub(super) fn put_name(home: &Home, name: &Reference, id: &str, digest: Option<&Digest>) -> Result<()> {
    let canonical = name.canonical();
    let record = NameRecord { version: VERSION, name: canonical.clone(), id: id.to_owned(), digest: digest.map(Digest::to_string) };
    let path = name_path(home, &canonical);
    if state::find_json::<NameRecord>(&path).is_ok_and(|found| found.as_ref() == Some(&record)) {
        return Ok(());
    }
    state::write_json(&path, &record)
}

pub(super) fn remove_name(home: &Home, canonical: &str) -> Result<()> {
    remove_file(&name_path(home, canonical))
}

fn remove_file(path: &PathBuf) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome.doing(|| format!("cannot remove {}", path.display())),
    }
}

pub(super) fn find_image(home: &Home, id: &str) -> Result<Option<ImageRecord>> {
    state::find_json(&id_path(home, id))
}

/// All images that are whole.
pub(super) fn images(home: &Home) -> Result<Vec<ImageRecord>> {
    records(&ids(home))
}

/// All names, sorted.
pub(super) fn all_names(home: &Home) -> Result<Vec<NameRecord>> {
    let mut all: Vec<NameRecord> = records(&names(home))?;
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

fn records<T: DeserializeOwned>(directory: &PathBuf) -> Result<Vec<T>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.doing(|| format!("cannot read {}", directory.display()))?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry.doing(|| format!("cannot read {}", directory.display()))?;
        let name = entry.file_name();
        // A leading dot is a draft that is being written.
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // It may have been removed since the directory was read.
        all.extend(state::find_json(&entry.path())?);
    }
    Ok(all)
}

/// What a user's word for an image leads to.
pub(super) enum Word {
    /// A name that is in the store.
    Name(NameRecord),
    /// An image, by its id or a beginning of it.
    Id(ImageRecord),
}

impl Word {
    pub(super) fn id(&self) -> &str {
        match self {
            Word::Name(name) => &name.id,
            Word::Id(image) => &image.id,
        }
    }
}

/// Looks up what a user typed, in Docker's order: a whole id, a name, the beginning of an id.
pub(super) fn look_up(home: &Home, text: &str) -> Result<Option<Word>> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let is_hex = !hex.is_empty() && hex.len() <= 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_hex && hex.len() == 64 {
        return Ok(find_image(home, hex)?.map(Word::Id));
    }
    // `sha256:abc` is an id in Docker's eyes, although it has the form of a name with a tag.
    if !text.starts_with("sha256:") {
        match Reference::parse(text) {
            Ok(name) => {
                if let Some(name) = find_name(home, &name.or_latest())? {
                    return Ok(Some(Word::Name(name)));
                }
            }
            Err(failure) if !is_hex => return Err(failure),
            Err(_) => {}
        }
    }
    if is_hex { find_by_beginning(home, hex) } else { Ok(None) }
}

fn find_name(home: &Home, name: &Reference) -> Result<Option<NameRecord>> {
    let Some(digest) = &name.digest else { return state::find_json(&name_path(home, &name.canonical())) };
    let bare = Reference { tag: None, ..name.clone() };
    if let Some(found) = state::find_json(&name_path(home, &bare.canonical()))? {
        return Ok(Some(found));
    }
    // Pulled by a tag, wanted by the digest that the tag had.
    let repository = name.name() + ":";
    let fits = |found: &NameRecord| found.name.starts_with(&repository) && found.digest.as_ref() == Some(digest);
    Ok(all_names(home)?.into_iter().find(fits))
}

fn find_by_beginning(home: &Home, beginning: &str) -> Result<Option<Word>> {
    let entries = match fs::read_dir(ids(home)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries.doing(|| "cannot read the store's images")?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.doing(|| "cannot read the store's images")?.file_name();
        if let Some(hex) = name.to_str().and_then(|name| name.strip_suffix(".json")).filter(|hex| hex.starts_with(beginning)) {
            found.push(hex.to_owned());
        }
    }
    match &found[..] {
        [] => Ok(None),
        [one] => Ok(find_image(home, one)?.map(Word::Id)),
        many => Err(Failure::new(format!("cannot tell which image `{beginning}` is"))
            .because(format!("{} images have an id that begins so", many.len()))
            .hint("give more digits of the id")),
    }
}

/// Reads the image a record speaks of.
pub(super) fn load(home: &Home, record: &ImageRecord, digest: Option<String>) -> Result<Image> {
    let id = Digest::parse(&record.id)?;
    let cannot = || format!("cannot read the configuration of image {}", record.id);
    let bytes =
        find_blob(home, &id)?.ok_or_else(|| Failure::new(cannot()).because("it is not in the store").hint("pull or build it again"))?;
    let config: ImageConfig = serde_json::from_slice(&bytes).doing(cannot)?;
    let layers = visible(record).map(|key| layer_directory(home, key)).collect();
    Ok(Image { id: record.id.clone(), manifest_digest: digest.or_else(|| record.manifest.clone()), config, layers })
}

/// The layers that overlayfs is to be given. It refuses a directory that is named twice; of two the upper one counts.
fn visible(record: &ImageRecord) -> impl Iterator<Item = &String> {
    let layers = record.layers.get(record.lowest..).unwrap_or_default();
    layers.iter().enumerate().filter(|(at, key)| !layers[at + 1..].contains(key)).map(|(_, key)| key)
}

/// One row for each name, and one for an image that has lost its last; newest first.
pub(super) fn list(home: &Home) -> Result<Vec<Listed>> {
    let names = all_names(home)?;
    let mut rows = Vec::new();
    for image in images(home)? {
        let of_image: Vec<&NameRecord> = names.iter().filter(|name| name.id == image.id).collect();
        let mut row = Listed {
            repository: "<none>".to_owned(),
            tag: "<none>".to_owned(),
            manifest_digest: image.manifest,
            id: image.id,
            created: image.created,
            size: image.size,
        };
        if of_image.is_empty() {
            rows.push(row);
            continue;
        }
        for name in &of_image {
            let reference = Reference::parse(&name.name)?;
            let repository = reference.familiar_name();
            let has_tag = |other: &&&NameRecord| other.name.starts_with(&(reference.name() + ":"));
            if reference.tag.is_none() && of_image.iter().any(|other| has_tag(&other)) {
                continue;
            }
            row.repository = repository;
            row.tag = reference.tag.unwrap_or_else(|| "<none>".to_owned());
            row.manifest_digest.clone_from(&name.digest);
            rows.push(row.clone());
        }
    }
    // The same instant is written in one way by one tool, so texts order as times do, as far as it matters here.
    rows.sort_by(|one, other| {
        other.created.cmp(&one.created).then_with(|| (&one.repository, &one.tag).cmp(&(&other.repository, &other.tag)))
    });
    Ok(rows)
}

/// Removes an image's record and what nobody else needs; says which layers went, the lowest first.
pub(super) fn remove_image(home: &Home, record: &ImageRecord) -> Result<Vec<String>> {
    remove_file(&id_path(home, &record.id))?;
    let others = images(home)?;
    if let Ok(id) = Digest::parse(&record.id) {
        remove_file(&blob_path(home, &id))?;
    }
    if let Some(manifest) = record.manifest.as_deref().and_then(|digest| Digest::parse(digest).ok())
        && !others.iter().any(|other| other.manifest == record.manifest)
    {
        remove_file(&blob_path(home, &manifest))?;
    }
    remove_unused(home, &record.layers)
}

/// Removes those of these layers that no image has, and says which; the caller holds the lock.
pub(super) fn remove_unused(home: &Home, keys: &[String]) -> Result<Vec<String>> {
    let images = images(home)?;
    let mut gone: Vec<String> = Vec::new();
    for key in keys {
        if gone.contains(key) || images.iter().any(|image| image.layers.contains(key)) {
            continue;
        }
        discard_layer(home, key)?;
        gone.push(key.clone());
    }
    Ok(gone)
}

/// Takes a layer away, with its record and the blob kept for it; the caller holds the lock.
pub(super) fn discard_layer(home: &Home, key: &str) -> Result<()> {
    state::discard(home, &layer_directory(home, key))?;
    let path = layer_record(home, key);
    // A record that cannot be read must not keep the layer: at worst a blob is left for `system check`.
    let record: Option<LayerRecord> = state::find_json(&path).unwrap_or_default();
    remove_file(&path)?;
    let Some(kept) = record.as_ref().and_then(|record| record.kept.as_ref()) else { return Ok(()) };
    // Only a layer that depends on those below it can be there twice, under two keys.
    let is_alone = record.as_ref().is_some_and(|record| record.diff_id.ends_with(key));
    if is_alone || !layer_records(home)?.iter().any(|(_, other)| other.kept.as_ref() == Some(kept)) {
        remove_file(&blob_path(home, &Digest::parse(&kept.digest)?))?;
    }
    Ok(())
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

/// Holds on to an image: while this lives nobody removes it.
pub(super) fn pin(home: &Home, id: &str) -> Result<Lock> {
    Lock::shared(home, &pin_name(id))
}

/// Takes the right to remove an image; none while somebody holds on to it.
pub(super) fn unpinned(home: &Home, id: &str) -> Result<Option<Lock>> {
    Lock::attempt(home, &pin_name(id))
}

fn pin_name(id: &str) -> String {
    format!("image-{}", id.trim_start_matches("sha256:"))
}

#[cfg(test)]
mod tests;
