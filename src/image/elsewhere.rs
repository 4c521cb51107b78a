//! An image that is elsewhere and mostly stays there: its layers are brought one at a time.

use std::path::Path;

use super::Hold;
use super::Image;
use super::ImageConfig;
use super::Layer;
use super::Watch;
use super::assemble;
use super::assemble::Arrival;
use super::assemble::Part;
use super::assemble::Source;
use super::contents::Contents;
use super::digest::Digest;
use super::layer_records;
use super::layer_records::LayerRecord;
use super::load;
use super::load::Blobs;
use super::manifest::Document;
use super::manifest::IndexEntry;
use super::mirrors::Endpoint;
use super::platform::Platform;
use super::pull;
use super::registry::Access;
use super::registry::Protocol;
use super::registry::Remote;
use super::registry::Session;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::state;

/// An image in a registry, or in a layout on the disk.
pub struct Elsewhere {
    pub config: ImageConfig,
    config_bytes: Vec<u8>,
    manifest: Vec<u8>,
    parts: Vec<Part>,
    place: Place,
}

enum Place {
    Registry { session: Session, endpoint: Endpoint, protocol: Protocol },
    Layout(Contents),
}

/// Looks at an image in its registry.
///
/// # Errors
/// The registry does not answer, or has no such image.
pub fn in_registry(home: &Home, name: &str, platform: Option<&str>, watch: &dyn Watch) -> Result<Elsewhere> {
    pull::look(home, name, platform, watch)
}

/// Looks at an image of an OCI layout, by its tag or digest; without either, at the one there is.
///
/// # Errors
/// It is no layout; there is no such image.
pub fn in_layout(directory: &Path, version: Option<&str>, platform: Option<&str>) -> Result<Elsewhere> {
    let cannot = || format!("cannot use the image layout `{}`", directory.display());
    let contents = Contents::of_directory(directory);
    if !contents.has("index.json") {
        let failure = Failure::new(cannot()).because("there is no `index.json` in it");
        return Err(failure.hint("name a directory that was written with `type=oci,tar=false`"));
    }
    let read = contents.small("index.json", pull::LARGEST_DOCUMENT).and_then(|bytes| Document::parse(&bytes)).doing(cannot)?;
    let Document::Index(entries) = read else { return Err(Failure::new(cannot()).because("`index.json` is no index")) };
    let fits = |entry: &&IndexEntry| version.is_some_and(|version| entry.tag() == Some(version) || entry.blob.digest.as_str() == version);
    let entry = entries.iter().find(fits).or(entries.first().filter(|_| version.is_none() && entries.len() == 1));
    let latest = || entries.iter().find(|entry| version.is_none() && entry.tag() == Some("latest"));
    let entry = entry.or_else(latest).ok_or_else(|| {
        let tags: Vec<&str> = entries.iter().filter_map(IndexEntry::tag).collect();
        let failure = Failure::new(cannot()).because(format!("it has no image `{}`", version.unwrap_or("latest")));
        if tags.is_empty() { failure } else { failure.hint(format!("it has {}", tags.join(", "))) }
    })?;
    let platform = platform.map_or_else(|| Ok(Platform::of_host()), Platform::parse)?;
    let (manifest, bytes) = load::manifest_in(&contents, &platform, &entry.blob).doing(cannot)?;
    let config_bytes = load::blob_in(&contents, &manifest.config).doing(cannot)?;
    let config: ImageConfig = serde_json::from_slice(&config_bytes).doing(|| "cannot use the image's configuration")?;
    pull::check(&config, manifest.layers.len())?;
    let parts = pull::parts(&manifest, &config)?;
    Ok(Elsewhere { config, config_bytes, manifest: bytes, parts, place: Place::Layout(contents) })
}

impl Elsewhere {
    pub(super) fn in_registry(
        home: &Home,
        parts: Vec<Part>,
        (config, config_bytes, manifest): (ImageConfig, Vec<u8>, Vec<u8>),
        (endpoint, protocol): (Endpoint, Protocol),
    ) -> Result<Elsewhere> {
        let place = Place::Registry { session: Session::begin(home)?, endpoint, protocol };
        Ok(Elsewhere { config, config_bytes, manifest, parts, place })
    }

    /// The image without its layers.
    pub fn looked_at(self) -> Image {
        let id = Digest::of(&self.config_bytes).to_string();
        Image { id, manifest_digest: None, config: self.config, layers: Vec::new(), hold: Hold::default() }
    }

    /// Lets a source of its layers do something.
    fn with_source<T>(&self, act: impl FnOnce(&dyn Source) -> Result<T>) -> Result<T> {
        match &self.place {
            Place::Registry { session, endpoint, protocol } => act(&Remote::new(session, endpoint, *protocol, Access::Pull)?),
            Place::Layout(contents) => act(&Blobs(contents)),
        }
    }

    /// Brings one layer here, by its diff id. It must not depend on others.
    ///
    /// # Errors
    /// There is no such layer, or it does not come.
    pub fn bring(&self, home: &Home, diff_id: &str, watch: &dyn Watch) -> Result<Layer> {
        let part = self.parts.iter().find(|part| part.diff_id.as_str() == diff_id);
        let part = part.ok_or_else(|| Failure::new(format!("cannot find the layer {diff_id}")))?;
        let keys = self.with_source(|source| assemble::assemble(home, source, vec![part.clone()], watch))?;
        let key = keys.first().map_or(part.diff_id.hex(), String::as_str);
        let record: LayerRecord = state::read_json(&layer_records::layer_record(home, key))?;
        Ok(Layer { diff_id: part.diff_id.to_string(), size: record.tar_size })
    }

    /// Brings all of it here; it has no name then.
    ///
    /// # Errors
    /// A layer that does not come, or is not what it should be.
    pub fn admit(&self, home: &Home, watch: &dyn Watch) -> Result<Image> {
        let manifest = Some(self.manifest.as_slice());
        let arrival = Arrival { config: &self.config, config_bytes: &self.config_bytes, manifest, parts: self.parts.clone() };
        let image = self.with_source(|source| arrival.admit(home, source, watch))?;
        Ok(Image { manifest_digest: Some(Digest::of(&self.manifest).to_string()), ..image })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_an_index_is_no_layout() {
        let place = tempfile::tempdir().unwrap();
        let failure = in_layout(place.path(), None, None).map(|_| ()).unwrap_err().to_string();
        assert!(failure.contains("there is no `index.json` in it"), "{failure}");
    }
}
