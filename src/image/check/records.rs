//! Records that cannot be read, and layers of which nothing is recorded: what there is to say of them is found out anew.
//!
//! A record is small and everything in it stands somewhere else, too: in the configuration, which has the image's id for
//! its digest, and in the manifest.

use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::Check;
use super::FaultKind;
use super::canonical;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image::ImageConfig;
use crate::image::compression::Compression;
use crate::image::digest::Digest;
use crate::image::keep::Kept;
use crate::image::layer_records;
use crate::image::layer_records::Form;
use crate::image::layer_records::LayerRecord;
use crate::image::layers;
use crate::image::manifest::Document;
use crate::image::manifest::Manifest;
use crate::image::mirrors::Rules;
use crate::image::reference::Reference;
use crate::image::store;
use crate::image::store::ImageRecord;
use crate::image::store::NameRecord;
use crate::place::Home;
use crate::state;

/// Larger blobs are no manifests.
const LARGEST_MANIFEST: u64 = 1 << 20;

impl Check<'_> {
    /// Looks for records of images and names that nobody can read; while there is one, most commands fail.
    pub(super) fn unreadable(&mut self) -> Result<()> {
        for (path, why) in broken::<ImageRecord>(&store::ids(self.home))? {
            let hex = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
            let what = (format!("the record of image sha256:{hex}"), why);
            self.fault(FaultKind::Damaged, what, |check| {
                let _lock = store::lock(check.home)?;
                rebuild(check.home, &hex).or_else(|failure| {
                    store::remove_file(&path)?;
                    Err(failure.within("cannot find out what was in it; it is removed").hint("pull or build the image again"))
                })
            });
        }
        for (path, why) in broken::<NameRecord>(&store::names(self.home))? {
            let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().replace("%2F", "/");
            let what = (format!("the record of the name {name}"), why);
            self.fault(FaultKind::Damaged, what, |check| {
                let _lock = store::lock(check.home)?;
                store::remove_file(&path)?;
                // Which image it meant stands nowhere else.
                Err(Failure::new("cannot find out which image it meant; it is removed").hint("pull the image again, or tag it"))
            });
        }
        self.images = store::readable_images(self.home)?;
        Ok(())
    }

    /// Looks for layers of an image that have no record, or no directory.
    pub(super) fn lost_layers(&mut self, image: &ImageRecord) -> Result<()> {
        for (at, key) in image.layers.iter().enumerate() {
            let record: Option<LayerRecord> = state::find_json(&layer_records::layer_record(self.home, key)).unwrap_or_default();
            let is_there = layer_records::layer_directory(self.home, key).is_dir();
            let why = match (&record, is_there) {
                (Some(_), true) => continue,
                (Some(_), false) => "its directory is not there",
                (None, true) => "there is no record of it that can be read",
                (None, false) => "neither its directory nor its record is there",
            };
            let what = (format!("layer {key} of image {}", image.id), why.to_owned());
            self.fault(FaultKind::Damaged, what, |check| {
                let record = record.map_or_else(|| check.described(image, at), Ok)?;
                check.restore(key, &record)
            });
        }
        Ok(())
    }

    /// Writes the record of a layer whose directory is right; gets the layer again otherwise.
    fn restore(&mut self, key: &str, record: &LayerRecord) -> Result<()> {
        let directory = layer_records::layer_directory(self.home, key);
        if directory.is_dir() && canonical(&directory)?.as_str() == record.diff_id {
            let _lock = store::lock(self.home)?;
            return state::write_json(&layer_records::layer_record(self.home, key), record);
        }
        self.replace(key, record)
    }

    /// What can be said of a layer by the image that has it.
    fn described(&self, image: &ImageRecord, at: usize) -> Result<LayerRecord> {
        let cannot = || Failure::new("cannot find out what the layer is").hint("pull the image again, or remove it");
        let config = store::find_blob(self.home, &Digest::parse(&image.id)?)?.ok_or_else(cannot)?;
        let config: ImageConfig = serde_json::from_slice(&config).doing(|| "cannot understand the image's configuration")?;
        let diff_id = Digest::parse(config.rootfs.diff_ids.get(at).ok_or_else(cannot)?)?;
        let directory = layer_records::layer_directory(self.home, &image.layers[at]);
        let mut record = LayerRecord::new(&diff_id, state::weight(&directory), 0);
        let manifest = image.manifest.as_deref().map(Digest::parse).transpose()?;
        let Some(manifest) = manifest.and_then(|digest| image_manifest(self.home, &digest)) else { return Ok(record) };
        let Some(blob) = manifest.layers.into_iter().nth(at) else { return Ok(record) };
        let (digest, size) = (blob.digest.to_string(), blob.size);
        let compression = blob.compression.unwrap_or(Compression::Gzip);
        if compression != Compression::None
            && fs::metadata(store::blob_path(self.home, &blob.digest)).is_ok_and(|found| found.len() == size)
        {
            record.kept = Some(Kept { digest: digest.clone(), size, compression, repacked: false });
        }
        record.forms.push(Form { digest, size, compression, level: None, repositories: self.places_of(image)? });
        Ok(record)
    }

    /// Where an image may be had: where its other layers were seen, and where its names lead.
    fn places_of(&self, image: &ImageRecord) -> Result<Vec<String>> {
        let mut places = self.repositories_of(image)?;
        let rules = Rules::load(self.home)?;
        for name in store::readable_names(self.home)?.iter().filter(|name| name.id == image.id) {
            let endpoints = Reference::parse(&name.name).and_then(|name| rules.endpoints(&name)).unwrap_or_default();
            places.extend(endpoints.iter().map(|endpoint| format!("{}/{}", endpoint.registry, endpoint.repository)));
        }
        Ok(places)
    }
}

/// The records in a directory that are not what they must be, and why.
fn broken<T: DeserializeOwned>(directory: &Path) -> Result<Vec<(std::path::PathBuf, String)>> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(Vec::new()) };
    let paths = entries.flatten().map(|entry| entry.path());
    let paths = paths.filter(|path| !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")));
    let why = |path: std::path::PathBuf| match state::find_json::<T>(&path) {
        Ok(_) => None,
        Err(failure) => Some((path, failure.to_string().lines().skip(1).collect::<String>().trim().to_owned())),
    };
    Ok(paths.filter_map(why).collect())
}

/// Finds out anew what there is to say about an image.
fn rebuild(home: &Home, hex: &str) -> Result<()> {
    let id = Digest::parse(&format!("sha256:{hex}"))?;
    let bytes = store::find_blob(home, &id)?.filter(|bytes| Digest::of(bytes) == id);
    let bytes = bytes.ok_or_else(|| Failure::new("its configuration is not there"))?;
    let config: ImageConfig = serde_json::from_slice(&bytes).doing(|| "cannot understand its configuration")?;
    let diff_ids = config.rootfs.diff_ids.iter().map(|diff_id| Digest::parse(diff_id)).collect::<Result<Vec<_>>>()?;
    let mut record = store::image_record(home, &id, &config, layers::keys(home, &diff_ids))?;
    record.manifest = manifest_of(home, &id);
    store::put_image(home, &config, &record)
}

/// The manifest in the store that speaks of this configuration.
fn manifest_of(home: &Home, config: &Digest) -> Option<String> {
    let entries = fs::read_dir(home.blobs().join("sha256")).ok()?;
    let small = entries.flatten().filter(|entry| entry.metadata().is_ok_and(|found| found.len() < LARGEST_MANIFEST));
    let digests = small.filter_map(|entry| Digest::parse(&format!("sha256:{}", entry.file_name().to_str()?)).ok());
    let mut digests = digests.filter(|digest| image_manifest(home, digest).is_some_and(|manifest| manifest.config.digest == *config));
    digests.next().map(|digest| digest.to_string())
}

/// The digests of all that a manifest speaks of.
pub(super) fn named_by(home: &Home, manifest: &str) -> Vec<String> {
    let found = Digest::parse(manifest).ok().and_then(|digest| image_manifest(home, &digest));
    found
        .into_iter()
        .flat_map(|manifest| manifest.layers.into_iter().chain([manifest.config]))
        .map(|blob| blob.digest.to_string())
        .collect()
}

fn image_manifest(home: &Home, digest: &Digest) -> Option<Manifest> {
    match Document::parse(&store::find_blob(home, digest).ok()??).ok()? {
        Document::Image(manifest) => Some(manifest),
        Document::Index(_) => None,
    }
}
