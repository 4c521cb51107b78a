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
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Hold;
use super::Image;
use super::ImageConfig;
use super::Listed;
use super::digest::Digest;
use super::layer_records::Claims;
use super::layer_records::LayerRecord;
use super::layer_records::layer_directory;
use super::layer_records::layer_record;
use super::layer_records::remove_unused;
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
/// Listing and inspecting hold an image for less than this.
const GLANCE: Duration = Duration::from_millis(700);
const ARRIVING: &str = "arriving";

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
    /// The user has removed it; it is only here for the containers that were made from it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) removed: bool,
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

/// Excludes everyone else who decides what the store holds.
pub(super) fn lock(home: &Home) -> Result<Lock> {
    Lock::alone(home, "store")
}

pub(super) fn blob_path(home: &Home, digest: &Digest) -> PathBuf {
    home.blobs().join("sha256").join(digest.hex())
}

pub(super) fn ids(home: &Home) -> PathBuf {
    home.images().join("ids")
}

pub(super) fn names(home: &Home) -> PathBuf {
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
    Ok(ImageRecord {
        version: VERSION,
        id: id.to_string(),
        manifest: None,
        created: config.created.clone(),
        size,
        layers,
        lowest,
        removed: false,
    })
}

/// Makes a name mean an image.
pub(super) fn put_name(home: &Home, name: &Reference, id: &str, digest: Option<&Digest>) -> Result<()> {
    let canonical = name.canonical();
    let path = name_path(home, &canonical);
    let record = NameRecord { version: VERSION, name: canonical, id: id.to_owned(), digest: digest.map(Digest::to_string) };
    if state::find_json::<NameRecord>(&path).is_ok_and(|found| found.as_ref() == Some(&record)) {
        // The same again: only the time is new. Where it cannot be set, the image seems older than it is.
        let _ = File::options().write(true).open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        return Ok(());
    }
    state::write_json(&path, &record)
}

/// How long ago a name was given to an image: by a pull, a build or a tag. None if there is no such name.
pub fn age(home: &Home, name: &str) -> Option<Duration> {
    let name = Reference::parse(name).ok()?;
    fs::metadata(name_path(home, &name.canonical())).and_then(|metadata| metadata.modified()).ok()?.elapsed().ok()
}

pub(super) fn remove_name(home: &Home, canonical: &str) -> Result<()> {
    remove_file(&name_path(home, canonical))
}

pub(super) fn remove_file(path: &PathBuf) -> Result<()> {
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

/// The same without those whose records cannot be read.
pub(super) fn readable_images(home: &Home) -> Result<Vec<ImageRecord>> {
    readable(&ids(home))
}

/// All names whose records can be read.
pub(super) fn readable_names(home: &Home) -> Result<Vec<NameRecord>> {
    readable(&names(home))
}

/// All names, sorted.
pub(super) fn all_names(home: &Home) -> Result<Vec<NameRecord>> {
    let mut all: Vec<NameRecord> = records(&names(home))?;
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

fn records<T: DeserializeOwned>(directory: &PathBuf) -> Result<Vec<T>> {
    let mut all = Vec::new();
    for path in record_paths(directory)? {
        // It may have been removed since the directory was read.
        all.extend(state::find_json(&path)?);
    }
    Ok(all)
}

fn readable<T: DeserializeOwned>(directory: &PathBuf) -> Result<Vec<T>> {
    Ok(record_paths(directory)?.iter().filter_map(|path| state::find_json(path).ok().flatten()).collect())
}

fn record_paths(directory: &PathBuf) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.doing(|| format!("cannot read {}", directory.display()))?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry.doing(|| format!("cannot read {}", directory.display()))?;
        let name = entry.file_name();
        // A leading dot is a draft that is being written.
        if !name.as_encoded_bytes().starts_with(b".") {
            all.push(entry.path());
        }
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
        return Ok(find_image(home, hex)?.filter(|image| !image.removed).map(Word::Id));
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
            found.extend(find_image(home, hex)?.filter(|image| !image.removed));
        }
    }
    if found.len() > 1 {
        return Err(Failure::new(format!("cannot tell which image `{beginning}` is"))
            .because(format!("{} images have an id that begins so", found.len()))
            .hint("give more digits of the id"));
    }
    Ok(found.pop().map(Word::Id))
}

/// Reads the image a record speaks of.
pub(super) fn load(home: &Home, record: &ImageRecord, digest: Option<String>, hold: Lock) -> Result<Image> {
    let id = Digest::parse(&record.id)?;
    let cannot = || format!("cannot read the configuration of image {}", record.id);
    let bytes =
        find_blob(home, &id)?.ok_or_else(|| Failure::new(cannot()).because("it is not in the store").hint("pull or build it again"))?;
    let config: ImageConfig = serde_json::from_slice(&bytes).doing(cannot)?;
    let layers = visible(record).map(|key| layer_directory(home, key)).collect();
    Ok(Image {
        id: record.id.clone(),
        manifest_digest: digest.or_else(|| record.manifest.clone()),
        config,
        layers,
        hold: Hold { _lock: Some(Arc::new(hold)) },
    })
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
    for image in images(home)?.into_iter().filter(|image| !image.removed) {
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
pub(super) fn remove_image(home: &Home, record: &ImageRecord) -> Result<Vec<(String, u64)>> {
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
    remove_unused(home, &record.layers, Claims::Heeded)
}

/// Holds on to an image: while this lives nobody removes it.
pub(super) fn pin(home: &Home, id: &str) -> Result<Lock> {
    Lock::shared(home, &pin_name(id))
}

/// Takes the right to remove an image; none if somebody holds on to it for longer than a glance.
pub(super) fn unpinned(home: &Home, id: &str) -> Result<Option<Lock>> {
    let begun = Instant::now();
    loop {
        let lock = Lock::attempt(home, &pin_name(id))?;
        if lock.is_some() || begun.elapsed() > GLANCE {
            return Ok(lock);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Says that layers are on their way to an image.
pub(super) fn arriving(home: &Home) -> Result<Lock> {
    Lock::shared(home, ARRIVING)
}

/// Takes the right to remove layers that no image has; none while some are on their way.
pub(super) fn nothing_arrives(home: &Home) -> Result<Option<Lock>> {
    Lock::attempt(home, ARRIVING)
}

fn pin_name(id: &str) -> String {
    format!("image-{}", id.trim_start_matches("sha256:"))
}

#[cfg(test)]
mod tests;
