//! Brings in the images of an archive: docker-archive or OCI layout, through the same checks as from a registry.

use serde::Deserialize;

use super::Image;
use super::ImageConfig;
use super::Loaded;
use super::Watch;
use super::assemble::Arrival;
use super::assemble::Part;
use super::assemble::Source;
use super::compression::Compression;
use super::contents::Contents;
use super::digest::Digest;
use super::layers;
use super::manifest;
use super::manifest::Blob;
use super::manifest::Document;
use super::manifest::IndexEntry;
use super::manifest::Manifest;
use super::platform::Platform;
use super::pull::LARGEST_DOCUMENT;
use super::pull::check;
use super::pull::parts;
use super::reference::Reference;
use super::store;
use super::stream::Supply;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::state;

/// An index in an index in an index is nobody's honest work.
const DEEPEST: u32 = 2;

/// One image of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

struct Load<'a> {
    home: &'a Home,
    contents: Contents,
    platform: Platform,
    /// The user named a platform, so it must be that one.
    strict: bool,
    watch: &'a dyn Watch,
    done: Vec<Loaded>,
}

/// See [`super::load()`].
pub(super) fn load(home: &Home, input: std::fs::File, platform: Option<&str>, watch: &dyn Watch) -> Result<Vec<Loaded>> {
    let _arriving = store::arriving(home)?;
    if layers::sweep(home) {
        state::empty_trash(home);
    }
    let strict = platform.is_some();
    let platform = platform.map_or_else(|| Ok(Platform::of_host()), Platform::parse)?;
    let contents = Contents::read(home, input)?;
    let mut load = Load { home, contents, platform, strict, watch, done: Vec::new() };
    let outcome = load.all();
    if outcome.is_err() {
        state::empty_trash(home);
    }
    outcome.map(|()| load.done)
}

impl Load<'_> {
    fn all(&mut self) -> Result<()> {
        let docker: Vec<DockerImage> = match self.contents.has("manifest.json") {
            false => Vec::new(),
            true => serde_json::from_slice(&self.contents.small("manifest.json", LARGEST_DOCUMENT)?)
                .doing(|| "cannot understand `manifest.json` of the archive")?,
        };
        if self.contents.has("index.json") && self.contents.has("oci-layout") {
            return self.layout(&docker);
        }
        if docker.is_empty() {
            return Err(Failure::new("cannot load the archive")
                .because("it has neither `manifest.json` nor `index.json`: it is not an archive of images")
                .hint("a file system goes in with `coracle import`"));
        }
        docker.iter().try_for_each(|image| self.docker_image(image))
    }

    // ---- docker-archive ----

    fn docker_image(&mut self, image: &DockerImage) -> Result<()> {
        let names = image.repo_tags.iter().flatten().map(|name| tagged(name)).collect::<Result<Vec<_>>>()?;
        let config_bytes = self.contents.small(&image.config, LARGEST_DOCUMENT)?;
        let config: ImageConfig = serde_json::from_slice(&config_bytes).doing(|| "cannot use the image's configuration")?;
        let files = image.layers.as_deref().unwrap_or_default();
        check(&config, files.len())?;
        self.check_platform(&config)?;
        let part = |(file, diff_id): (&String, &String)| {
            let diff_id = Digest::parse(diff_id)?;
            Ok(Part { label: file.clone(), short: diff_id.short().to_owned(), blob: None, diff_id })
        };
        let parts = files.iter().zip(&config.rootfs.diff_ids).map(part).collect::<Result<Vec<_>>>()?;
        let arrival = Arrival { config: &config, config_bytes: &config_bytes, manifest: None, parts };
        let image = arrival.admit(self.home, &Members(&self.contents), self.watch)?;
        self.named(&image, names)
    }

    // ---- OCI layout ----

    fn layout(&mut self, docker: &[DockerImage]) -> Result<()> {
        let Document::Index(entries) = Document::parse(&self.contents.small("index.json", LARGEST_DOCUMENT)?)? else {
            return Err(Failure::new("cannot load the archive").because("`index.json` is no index"));
        };
        // Several entries with one digest are several names of one image.
        let mut by_digest: Vec<(IndexEntry, Vec<Reference>)> = Vec::new();
        for entry in entries {
            let name = entry.name().map(|name| tagged(&name)).transpose()?;
            match by_digest.iter_mut().find(|(known, _)| known.blob.digest == entry.blob.digest) {
                Some((_, names)) => names.extend(name),
                None => by_digest.push((entry, name.into_iter().collect())),
            }
        }
        let alone = by_digest.len() == 1;
        // Entries without a name that are for other platforms belong to the one that is for ours.
        if by_digest.len() > 1 && by_digest.iter().all(|(entry, names)| names.is_empty() && entry.platform.is_some()) {
            let entries: Vec<IndexEntry> = by_digest.into_iter().map(|(entry, _)| entry).collect();
            let chosen = self.platform.choose(&entries)?.clone();
            return self.entry(&chosen, Vec::new(), docker);
        }
        for (entry, names) in by_digest {
            let for_another = entry.platform.as_ref().is_some_and(|platform| self.platform.distance(platform).is_none());
            if for_another && !alone && names.is_empty() {
                continue;
            }
            self.entry(&entry, names, docker)?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &IndexEntry, mut names: Vec<Reference>, docker: &[DockerImage]) -> Result<()> {
        let (manifest, bytes) = manifest_in(&self.contents, &self.platform, &entry.blob)?;
        let config_bytes = blob_in(&self.contents, &manifest.config)?;
        let config: ImageConfig = serde_json::from_slice(&config_bytes).doing(|| "cannot use the image's configuration")?;
        check(&config, manifest.layers.len())?;
        self.check_platform(&config)?;
        let file = path(&manifest.config.digest);
        for name in docker.iter().filter(|image| image.config == file).flat_map(|image| image.repo_tags.iter().flatten()) {
            let name = tagged(name)?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        // A manifest of plain layers is what `save` writes for want of another; nobody has it in a registry.
        let is_plain = |layer: &Blob| layer.compression == Some(Compression::None);
        let written = manifest::write(&manifest.config, &manifest.layers) == bytes;
        let plain = manifest.layers.iter().all(is_plain) || written && manifest.layers.iter().any(is_plain);
        let arrival = Arrival {
            config: &config,
            config_bytes: &config_bytes,
            manifest: (!plain).then_some(&bytes),
            parts: parts(&manifest, &config)?,
        };
        let image = arrival.admit(self.home, &Blobs(&self.contents), self.watch)?;
        self.named(&image, names)
    }

    // ---- both ----

    fn check_platform(&self, config: &ImageConfig) -> Result<()> {
        let has = Platform::of(config);
        if config.architecture.is_empty() || self.platform.distance(&has).is_some() {
            return Ok(());
        }
        if self.strict {
            return Err(
                Failure::new(format!("cannot load an image for {}", self.platform)).because(format!("the one in the archive is for {has}"))
            );
        }
        self.watch.note(&format!("the image's platform ({has}) does not match the detected host platform ({})", self.platform));
        Ok(())
    }

    fn named(&mut self, image: &Image, names: Vec<Reference>) -> Result<()> {
        let _lock = store::lock(self.home)?;
        for name in &names {
            store::put_name(self.home, name, &image.id, None)?;
        }
        self.done.push(Loaded { id: image.id.clone(), names: names.iter().map(Reference::familiar).collect() });
        Ok(())
    }
}

/// The manifest of the image for a platform that a blob leads to.
pub(super) fn manifest_in(contents: &Contents, platform: &Platform, blob: &Blob) -> Result<(Manifest, Vec<u8>)> {
    let mut blob = blob.clone();
    for _ in 0..=DEEPEST {
        let bytes = blob_in(contents, &blob)?;
        let entries = match Document::parse(&bytes)? {
            Document::Image(manifest) => return Ok((manifest, bytes)),
            Document::Index(entries) => entries,
        };
        // What is for other platforms may have been left out of the archive.
        let here: Vec<IndexEntry> = entries.into_iter().filter(|entry| contents.has(&path(&entry.blob.digest))).collect();
        blob = platform.choose(&here)?.blob.clone();
    }
    Err(Failure::new("cannot use an index inside an index inside an index"))
}

/// A small blob, checked.
pub(super) fn blob_in(contents: &Contents, blob: &Blob) -> Result<Vec<u8>> {
    let bytes = contents.small(&path(&blob.digest), LARGEST_DOCUMENT)?;
    if bytes.len() as u64 != blob.size || Digest::of(&bytes) != blob.digest {
        let because = format!("it has {} bytes and the digest {}", bytes.len(), Digest::of(&bytes));
        return Err(Failure::new(format!("cannot trust `{}` of the archive", path(&blob.digest))).because(because));
    }
    Ok(bytes)
}

/// A name as archives have it; a digest would be a claim that nobody has checked.
fn tagged(text: &str) -> Result<Reference> {
    let mut name = Reference::parse(text).doing(|| "cannot use a name of the archive")?;
    name.digest = None;
    Ok(name.or_latest())
}

fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Layers by the names of their files.
struct Members<'a>(&'a Contents);

impl Source for Members<'_> {
    fn open(&self, part: &Part, _at: usize) -> Result<Supply<'_>> {
        Ok(Supply::Stream(Box::new(self.0.open(&part.label)?)))
    }

    fn size(&self, part: &Part) -> u64 {
        self.0.size(&part.label).unwrap_or_default()
    }
}

/// Layers by their digests.
pub(super) struct Blobs<'a>(pub(super) &'a Contents);

impl Source for Blobs<'_> {
    fn open(&self, part: &Part, _at: usize) -> Result<Supply<'_>> {
        let blob = part.blob.as_ref().ok_or_else(|| Failure::new(format!("cannot find layer {} in the archive", part.label)))?;
        let file = path(&blob.digest);
        if self.0.size(&file).is_some_and(|size| size != blob.size) {
            return Err(Failure::new(format!("cannot trust layer {}", part.label)).because("it has another size than its manifest says"));
        }
        Ok(Supply::Stream(Box::new(self.0.open(&file)?)))
    }
}

#[cfg(test)]
mod tests;
