//! Writes images as one tar archive: an OCI layout that is a docker-archive, too.
//!
//! ```text
//! oci-layout  index.json        the OCI image layout, with containerd's annotation for names
//! manifest.json  repositories   what `docker load` reads
//! blobs/sha256/<hex>            manifests, configurations, layers; each once
//! ```
//!
//! The small files come first, so that a reader of a stream knows what the blobs are before they come. An image that
//! was pulled has its own manifest and compressed layers; one that was built has plain layers.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::io;
use std::io::Write;

use serde_json::Value;
use serde_json::json;
use tar::EntryType;
use tar::Header;

use super::ImageConfig;
use super::digest::Digest;
use super::layer_blob::LayerBlob;
use super::layer_blob::Sink;
use super::manifest;
use super::manifest::Blob;
use super::manifest::Document;
use super::platform::Platform;
use super::reference::Reference;
use super::store;
use super::store::ImageRecord;
use super::store::Word;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::state::Lock;

/// One image of the archive.
struct Chosen<'a> {
    names: Vec<Reference>,
    config: Blob,
    config_bytes: Vec<u8>,
    manifest: Vec<u8>,
    platform: Platform,
    layers: Vec<(Blob, LayerBlob<'a>)>,
    /// Nobody removes the image while it is written.
    _pin: Lock,
}

/// See [`super::save()`].
pub(super) fn save(home: &Home, names: &[String], platform: Option<&str>, out: &mut dyn Write) -> Result<()> {
    let wanted = platform.map(Platform::parse).transpose()?;
    let mut chosen: Vec<Chosen<'_>> = Vec::new();
    let mut ids: Vec<String> = Vec::new();
    for name in names {
        for (id, reference) in meant(home, name)? {
            let at = match ids.iter().position(|known| *known == id) {
                Some(at) => at,
                None => {
                    chosen.push(Chosen::read(home, &id, (name, wanted.as_ref()))?);
                    ids.push(id);
                    chosen.len() - 1
                }
            };
            let known = &mut chosen[at].names;
            known.extend(reference.filter(|reference| !known.contains(reference)));
        }
    }
    write(&chosen, out)
}

/// The images a word means, with the names they are saved under.
fn meant(home: &Home, word: &str) -> Result<Vec<(String, Option<Reference>)>> {
    let found = store::look_up(home, word)?;
    if let Ok(reference) = Reference::parse(word)
        && reference.tag.is_none()
        && reference.digest.is_none()
        && !matches!(found, Some(Word::Id(_)))
    {
        let of_repository: Vec<_> = store::all_names(home)?
            .into_iter()
            .filter_map(|name| Some((Reference::parse(&name.name).ok()?, name.id)))
            .filter(|(name, _)| name.tag.is_some() && name.name() == reference.name())
            .map(|(name, id)| (id, Some(name)))
            .collect();
        if !of_repository.is_empty() {
            return Ok(of_repository);
        }
    }
    match found {
        None => Err(Failure::new(format!("no such image: {word}"))),
        Some(Word::Id(image)) => Ok(vec![(image.id, None)]),
        Some(Word::Name(name)) => {
            let reference = Reference::parse(&name.name)?;
            Ok(vec![(name.id, Some(reference).filter(|reference| reference.tag.is_some()))])
        }
    }
}

impl<'a> Chosen<'a> {
    fn read(home: &'a Home, id: &str, (word, wanted): (&str, Option<&Platform>)) -> Result<Chosen<'a>> {
        let pin = store::pin(home, id)?;
        let record = store::find_image(home, id)?.ok_or_else(|| Failure::new(format!("no such image: {word}")))?;
        let digest = Digest::parse(id)?;
        let config_bytes = store::find_blob(home, &digest)?.ok_or_else(|| Failure::new(format!("cannot read image {word}")))?;
        let config: ImageConfig = serde_json::from_slice(&config_bytes).doing(|| format!("cannot read image {word}"))?;
        let platform = Platform::of(&config);
        if let Some(wanted) = wanted.filter(|wanted| wanted.distance(&platform).is_none()) {
            let failure = Failure::new(format!("cannot save `{word}` for {wanted}"));
            return Err(failure.because(format!("the image here is for {platform}")));
        }
        let layers = record.layers.iter().map(|key| {
            let layer = LayerBlob::find(home, key)?;
            Ok((layer.ready()?, layer))
        });
        let layers = layers.collect::<Result<Vec<_>>>().doing(|| format!("cannot save `{word}`"))?;
        let config = Blob { digest, size: config_bytes.len() as u64, compression: None };
        let manifest = match own_manifest(home, &record, &layers)? {
            Some(manifest) => manifest,
            None => manifest::write(&config, &layers.iter().map(|(blob, _)| blob.clone()).collect::<Vec<_>>()),
        };
        Ok(Chosen { names: Vec::new(), config, config_bytes, manifest, platform, layers, _pin: pin })
    }
}

/// The manifest the image came with, if these are its blobs.
fn own_manifest(home: &Home, record: &ImageRecord, layers: &[(Blob, LayerBlob<'_>)]) -> Result<Option<Vec<u8>>> {
    let Some(digest) = &record.manifest else { return Ok(None) };
    let Some(bytes) = store::find_blob(home, &Digest::parse(digest)?)? else { return Ok(None) };
    let Ok(Document::Image(manifest)) = Document::parse(&bytes) else { return Ok(None) };
    let same =
        manifest.layers.len() == layers.len() && manifest.layers.iter().zip(layers).all(|(one, (other, _))| one.digest == other.digest);
    Ok(same.then_some(bytes))
}

fn write(chosen: &[Chosen<'_>], out: &mut dyn Write) -> Result<()> {
    let cannot = || "cannot write the archive";
    let mut tar = Tar { out, written: HashSet::new() };
    tar.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#).doing(cannot)?;
    tar.file("index.json", index(chosen).to_string().as_bytes()).doing(cannot)?;
    tar.file("manifest.json", docker_manifest(chosen).to_string().as_bytes()).doing(cannot)?;
    tar.file("repositories", repositories(chosen).to_string().as_bytes()).doing(cannot)?;
    tar.directory("blobs/").doing(cannot)?;
    tar.directory("blobs/sha256/").doing(cannot)?;
    for image in chosen {
        tar.file(&path(&Digest::of(&image.manifest)), &image.manifest).doing(cannot)?;
        tar.file(&path(&image.config.digest), &image.config_bytes).doing(cannot)?;
        for (blob, layer) in &image.layers {
            tar.blob(blob, |sink| layer.write_ready(sink))?;
        }
    }
    // The end of the archive is two empty blocks.
    tar.out.write_all(&[0; 1024]).and_then(|()| tar.out.flush()).doing(cannot)
}

fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// One entry for each name; an image without one has an entry of its own.
fn index(chosen: &[Chosen<'_>]) -> Value {
    let mut manifests = Vec::new();
    for image in chosen {
        let media_type = serde_json::from_slice::<Value>(&image.manifest).ok().and_then(|value| value.get("mediaType").cloned());
        let mut entry = json!({
            "mediaType": media_type.unwrap_or_else(|| manifest::OCI_MANIFEST.into()),
            "digest": Digest::of(&image.manifest).as_str(),
            "size": image.manifest.len(),
        });
        let mut platform = json!({ "architecture": image.platform.architecture, "os": image.platform.os });
        if let Some(variant) = &image.platform.variant {
            platform["variant"] = json!(variant);
        }
        entry["platform"] = platform;
        for name in &image.names {
            let mut entry = entry.clone();
            entry["annotations"] = json!({ "io.containerd.image.name": name.canonical(), "org.opencontainers.image.ref.name": name.tag.as_deref().unwrap_or_default() });
            manifests.push(entry);
        }
        if image.names.is_empty() {
            manifests.push(entry);
        }
    }
    json!({ "schemaVersion": 2, "mediaType": manifest::OCI_INDEX, "manifests": manifests })
}

fn docker_manifest(chosen: &[Chosen<'_>]) -> Value {
    let entry = |image: &Chosen<'_>| {
        let names: Vec<_> = image.names.iter().map(Reference::familiar).collect();
        let layers: Vec<_> = image.layers.iter().map(|(blob, _)| path(&blob.digest)).collect();
        let sources = image.layers.iter().map(|(blob, layer)| {
            let media_type = blob.compression.map(|compression| compression.media_type());
            (layer.diff_id.to_string(), json!({ "mediaType": media_type, "size": blob.size, "digest": blob.digest.as_str() }))
        });
        let sources: serde_json::Map<String, Value> = sources.collect();
        json!({
            "Config": path(&image.config.digest),
            "RepoTags": if names.is_empty() { Value::Null } else { names.into() },
            "Layers": layers,
            "LayerSources": sources,
        })
    };
    Value::Array(chosen.iter().map(entry).collect())
}

/// Docker's form before 1.10: names to the highest layer.
fn repositories(chosen: &[Chosen<'_>]) -> Value {
    let mut all: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for image in chosen {
        let Some((_, top)) = image.layers.last() else { continue };
        for name in &image.names {
            let tag = name.tag.clone().unwrap_or_default();
            all.entry(name.familiar_name()).or_default().insert(tag, top.diff_id.hex().to_owned());
        }
    }
    json!(all)
}

/// The archive as far as it is written.
struct Tar<'a> {
    out: &'a mut dyn Write,
    written: HashSet<String>,
}

impl Tar<'_> {
    fn directory(&mut self, name: &str) -> io::Result<()> {
        self.header(name, EntryType::Directory, 0)
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if !self.written.insert(name.to_owned()) {
            return Ok(());
        }
        self.header(name, EntryType::Regular, bytes.len() as u64)?;
        self.out.write_all(bytes)?;
        self.pad(bytes.len() as u64)
    }

    fn blob(&mut self, blob: &Blob, write: impl FnOnce(&mut Sink<'_>) -> Result<()>) -> Result<()> {
        let cannot = || "cannot write the archive";
        let name = path(&blob.digest);
        if !self.written.insert(name.clone()) {
            return Ok(());
        }
        self.header(&name, EntryType::Regular, blob.size).doing(cannot)?;
        let mut left = blob.size;
        write(&mut |bytes: &[u8]| {
            left = left.checked_sub(bytes.len() as u64).ok_or_else(|| io::Error::other("it is longer than the store says"))?;
            self.out.write_all(bytes)
        })?;
        if left > 0 {
            return Err(Failure::new(cannot()).because(format!("blob {} is shorter than the store says", blob.digest)));
        }
        self.pad(blob.size).doing(cannot)
    }

    fn header(&mut self, name: &str, kind: EntryType, size: u64) -> io::Result<()> {
        let mut header = Header::new_ustar();
        header.set_path(name)?;
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        // The same images are the same archive.
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        self.out.write_all(header.as_bytes())
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let padding = (size.next_multiple_of(512) - size) as usize;
        self.out.write_all(&[0; 512][..padding])
    }
}
