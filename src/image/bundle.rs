//! Images that go out together: as an OCI layout, as Docker's archive, or to a registry under one name.
//!
//! Several images, or one with attestations, are listed by an index. An attestation is a manifest of its own whose
//! layers are statements in in-toto's form, as BuildKit attaches them.

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Write;
use std::path::Path;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use sha2::Digest as _;
use sha2::Sha256;

use super::Archived;
use super::ImageConfig;
use super::Watch;
use super::compression::Compression;
use super::digest::Digest;
use super::layer_blob::LayerBlob;
use super::layers;
use super::layers::Draft;
use super::manifest;
use super::manifest::Blob;
use super::mirrors::Rules;
use super::pack;
use super::pack::Packing;
use super::platform::Platform;
use super::push;
use super::push::Push;
use super::reference::Reference;
use super::registry::Session;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

const STATEMENT: &str = "application/vnd.in-toto+json";

/// Images that go out together.
#[derive(Debug, Clone, Default)]
pub struct Bundle {
    pub members: Vec<Member>,
    /// As a user writes them; made whole where they are written.
    pub names: Vec<String>,
    /// Without one, layers go out as they came, and with gzip if they were made here.
    pub packing: Option<Packing>,
    /// A registry gets it without a tag.
    pub by_digest: bool,
    pub index_annotations: BTreeMap<String, String>,
}

/// One image; its layers are in the store, the image itself need not be.
#[derive(Debug, Clone, Default)]
pub struct Member {
    pub config: ImageConfig,
    pub annotations: BTreeMap<String, String>,
    /// Annotations of its entry in the index.
    pub entry_annotations: BTreeMap<String, String>,
    pub statements: Vec<Statement>,
}

/// Something that is said about an image.
#[derive(Debug, Clone)]
pub struct Statement {
    /// `https://slsa.dev/provenance/v1`.
    pub kind: String,
    pub predicate: Value,
}

impl Statement {
    /// In in-toto's form, about these subjects.
    pub fn json(&self, subjects: &[Value]) -> Value {
        json!({
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": self.kind,
            "subject": subjects,
            "predicate": self.predicate,
        })
    }
}

/// In which form images are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    Oci,
    /// With what `docker load` reads, which knows one image only.
    Docker,
}

/// What went out: a manifest or an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub media_type: String,
    /// `sha256:<hex>`.
    pub digest: String,
    pub size: u64,
}

/// Where blobs go.
enum Target<'a> {
    /// A directory of an OCI layout.
    Directory(&'a Home, &'a Path, Option<Packing>),
    Registry(&'a Push<'a>),
}

impl Target<'_> {
    fn layers(&self, keys: &[String]) -> Result<Vec<Blob>> {
        match self {
            Target::Registry(push) => push.layers(keys, None),
            Target::Directory(home, directory, packing) => {
                keys.iter().map(|key| write_layer(home, directory, (key, *packing)).doing(|| "cannot write a layer")).collect()
            }
        }
    }

    fn small(&self, bytes: &[u8]) -> Result<Blob> {
        let blob = Blob { digest: Digest::of(bytes), size: bytes.len() as u64, compression: None };
        match self {
            Target::Registry(push) => push.small(&blob, bytes)?,
            Target::Directory(_, directory, _) => put(directory, &blob.digest, bytes)?,
        }
        Ok(blob)
    }

    /// A manifest that an index speaks of.
    fn manifest(&self, bytes: &[u8]) -> Result<Blob> {
        match self {
            Target::Directory(..) => self.small(bytes),
            Target::Registry(push) => {
                let digest = Digest::of(bytes);
                push.manifest(digest.as_str(), bytes)?;
                Ok(Blob { digest, size: bytes.len() as u64, compression: None })
            }
        }
    }
}

fn put(directory: &Path, digest: &Digest, bytes: &[u8]) -> Result<()> {
    let path = directory.join("blobs/sha256").join(digest.hex());
    fs::write(&path, bytes).doing(|| format!("cannot write {}", path.display()))
}

/// Writes one layer as a blob and says which it is.
fn write_layer(home: &Home, directory: &Path, (key, packing): (&str, Option<Packing>)) -> Result<Blob> {
    let layer = LayerBlob::find(home, key)?;
    let ready = layer.ready()?;
    let wanted = packing.map(|packing| packing.compression);
    let is_packed = ready.compression != Some(Compression::None);
    let as_it_is = match wanted {
        None => is_packed,
        Some(wanted) => ready.compression == Some(wanted) && packing.is_none_or(|packing| packing.level.is_none()),
    };
    let blobs = directory.join("blobs/sha256");
    let draft = blobs.join(format!(".{key}"));
    let writing = || format!("cannot write {}", draft.display());
    let mut file = io::BufWriter::with_capacity(256 << 10, File::create(&draft).doing(writing)?);
    let (mut hasher, mut size) = (Sha256::new(), 0u64);
    let mut sink = |bytes: &[u8]| {
        hasher.update(bytes);
        size += bytes.len() as u64;
        file.write_all(bytes)
    };
    let packing = packing.unwrap_or(push::USUAL);
    if as_it_is {
        layer.write_ready(&mut sink)?;
    } else {
        pack::pack(packing, |sink| layer.write_plain(sink), &mut sink)?;
    }
    file.flush().doing(writing)?;
    let compression = if as_it_is { ready.compression } else { Some(packing.compression) };
    let blob = Blob { digest: Digest::finish(hasher), size, compression };
    fs::rename(&draft, blobs.join(blob.digest.hex())).doing(writing)?;
    Ok(blob)
}

/// What the members came to at their target.
struct Assembled {
    /// The manifest or index that stands for all.
    top: Vec<u8>,
    /// Digest of the configuration, and layers, of each.
    parts: Vec<(Blob, Vec<Blob>)>,
}

fn assemble(home: &Home, bundle: &Bundle, target: &Target<'_>) -> Result<Assembled> {
    let (mut entries, mut parts, mut manifests) = (Vec::new(), Vec::new(), Vec::new());
    for member in &bundle.members {
        let config_bytes = serde_json::to_vec(&member.config).doing(|| "cannot write the image's configuration")?;
        let diff_ids = member.config.rootfs.diff_ids.iter().map(|diff_id| Digest::parse(diff_id)).collect::<Result<Vec<_>>>()?;
        let blobs = target.layers(&layers::keys(home, &diff_ids))?;
        let config = target.small(&config_bytes)?;
        let manifest = manifest::annotated(&config, &blobs, &member.annotations);
        manifests.push((member, manifest));
        parts.push((config, blobs));
    }
    let alone = bundle.members.len() == 1 && bundle.index_annotations.is_empty();
    if let [(member, manifest)] = manifests.as_slice()
        && alone
        && member.statements.is_empty()
    {
        return Ok(Assembled { top: manifest.clone(), parts });
    }
    for (member, manifest) in &manifests {
        let blob = target.manifest(manifest)?;
        let platform = Platform::of(&member.config);
        let mut entry = descriptor(manifest::media_type(manifest), &blob);
        annotate(&mut entry, &member.entry_annotations);
        entry["platform"] = json!({ "architecture": platform.architecture, "os": platform.os });
        if let Some(variant) = &platform.variant {
            entry["platform"]["variant"] = json!(variant);
        }
        entries.push(entry);
    }
    let statements = manifests.iter().filter(|(member, _)| !member.statements.is_empty());
    for (member, manifest) in statements {
        entries.push(attest(bundle, member, &Digest::of(manifest), target)?);
    }
    let mut index = json!({ "schemaVersion": 2, "mediaType": manifest::OCI_INDEX, "manifests": entries });
    annotate(&mut index, &bundle.index_annotations);
    Ok(Assembled { top: index.to_string().into_bytes(), parts })
}

fn descriptor(media_type: &str, blob: &Blob) -> Value {
    json!({ "mediaType": media_type, "digest": blob.digest.as_str(), "size": blob.size })
}

fn annotate(value: &mut Value, annotations: &BTreeMap<String, String>) {
    if !annotations.is_empty() {
        value["annotations"] = json!(annotations);
    }
}

/// Writes what is said of an image, and the entry of the index that leads to it.
fn attest(bundle: &Bundle, member: &Member, image: &Digest, target: &Target<'_>) -> Result<Value> {
    let platform = Platform::of(&member.config);
    let subjects = subjects(bundle, &platform, image);
    let (mut blobs, mut listed) = (Vec::new(), Vec::new());
    for statement in &member.statements {
        let blob = target.small(statement.json(&subjects).to_string().as_bytes())?;
        let mut layer = descriptor(STATEMENT, &blob);
        layer["annotations"] = json!({ "in-toto.io/predicate-type": statement.kind });
        listed.push(layer);
        blobs.push(blob);
    }
    let diff_ids: Vec<&str> = blobs.iter().map(|blob| blob.digest.as_str()).collect();
    let config = json!({
        "architecture": "unknown",
        "os": "unknown",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = target.small(config.to_string().as_bytes())?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": manifest::OCI_MANIFEST,
        "config": descriptor(manifest::OCI_CONFIG, &config),
        "layers": listed,
    });
    let blob = target.manifest(manifest.to_string().as_bytes())?;
    let mut entry = descriptor(manifest::OCI_MANIFEST, &blob);
    entry["annotations"] = json!({ "vnd.docker.reference.digest": image.as_str(), "vnd.docker.reference.type": "attestation-manifest" });
    entry["platform"] = json!({ "architecture": "unknown", "os": "unknown" });
    Ok(entry)
}

/// The image under all its names, as package URLs.
fn subjects(bundle: &Bundle, platform: &Platform, image: &Digest) -> Vec<Value> {
    let names = bundle
        .names
        .iter()
        .filter_map(|name| Reference::parse(name).ok())
        .map(|name| package_url(&name.canonical(), &platform.to_string()));
    let names: Vec<String> = names.collect();
    let names = if names.is_empty() { vec!["_".to_owned()] } else { names };
    names.iter().map(|name| json!({ "name": name, "digest": { "sha256": image.hex() } })).collect()
}

/// `pkg:docker/busybox@latest?platform=linux%2Famd64`: how attestations name images.
pub fn package_url(name: &str, platform: &str) -> String {
    let platform = platform.replace('/', "%2F");
    let Ok(name) = Reference::parse(name).map(Reference::or_latest) else { return format!("pkg:docker/{name}?platform={platform}") };
    let version = name.digest.clone().or_else(|| name.tag.clone()).unwrap_or_default().replace(':', "%3A");
    let bare = Reference { tag: None, digest: None, ..name };
    format!("pkg:docker/{}@{version}?platform={platform}", bare.familiar_name())
}

fn written(top: &[u8]) -> Written {
    Written { media_type: manifest::media_type(top).to_owned(), digest: Digest::of(top).to_string(), size: top.len() as u64 }
}

/// Writes a bundle as a directory, which is made; what is in it already stays.
///
/// # Errors
/// A layer that has gone; a place that cannot be written.
pub fn write_layout(home: &Home, bundle: &Bundle, layout: Layout, directory: &Path) -> Result<Written> {
    let cannot = || format!("cannot write {}", directory.display());
    fs::create_dir_all(directory.join("blobs/sha256")).doing(cannot)?;
    let assembled = assemble(home, bundle, &Target::Directory(home, directory, bundle.packing))?;
    let written = written(&assembled.top);
    put(directory, &Digest::parse(&written.digest)?, &assembled.top)?;
    let names = bundle.names.iter().map(|name| Ok(Reference::parse(name)?.or_latest())).collect::<Result<Vec<_>>>()?;
    let entry = json!({ "mediaType": written.media_type, "digest": written.digest, "size": written.size });
    let mut entries: Vec<Value> = Vec::new();
    for name in &names {
        let mut entry = entry.clone();
        let tag = name.tag.clone().unwrap_or_default();
        entry["annotations"] = json!({ "io.containerd.image.name": name.canonical(), "org.opencontainers.image.ref.name": tag });
        entries.push(entry);
    }
    if entries.is_empty() {
        entries.push(entry);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": manifest::OCI_INDEX, "manifests": entries });
    if layout == Layout::Oci {
        entries.extend(others(directory, &names, &written.digest));
    }
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).doing(cannot)?;
    fs::write(directory.join("index.json"), index.to_string()).doing(cannot)?;
    if layout == Layout::Docker {
        fs::write(directory.join("manifest.json"), docker_manifest(&names, &assembled.parts).to_string()).doing(cannot)?;
    }
    Ok(written)
}

/// What a layout has already under other tags.
fn others(directory: &Path, names: &[Reference], digest: &str) -> Vec<Value> {
    let read = fs::read(directory.join("index.json")).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let entries = read.and_then(|index| index.get("manifests").and_then(Value::as_array).cloned()).unwrap_or_default();
    let is_other = |entry: &Value| {
        let tag = entry["annotations"]["org.opencontainers.image.ref.name"].as_str();
        tag.is_some_and(|tag| !names.iter().any(|name| name.tag.as_deref() == Some(tag))) && entry["digest"].as_str() != Some(digest)
    };
    entries.into_iter().filter(is_other).collect()
}

fn docker_manifest(names: &[Reference], parts: &[(Blob, Vec<Blob>)]) -> Value {
    let path = |blob: &Blob| format!("blobs/sha256/{}", blob.digest.hex());
    let names: Vec<String> = names.iter().map(Reference::familiar).collect();
    let entry = |(config, layers): &(Blob, Vec<Blob>)| {
        let mut keys = Map::new();
        keys.insert("Config".to_owned(), json!(path(config)));
        keys.insert("RepoTags".to_owned(), if names.is_empty() { Value::Null } else { json!(names) });
        keys.insert("Layers".to_owned(), layers.iter().map(path).collect());
        Value::Object(keys)
    };
    parts.iter().map(entry).collect()
}

/// Writes a bundle as one archive.
///
/// # Errors
/// As [`write_layout`].
pub fn write_layout_archive(home: &Home, bundle: &Bundle, layout: Layout, out: &mut dyn Write) -> Result<Written> {
    let draft = Draft::begin(home)?;
    let written = write_layout(home, bundle, layout, draft.path())?;
    let directory = File::open(draft.path()).doing(|| format!("cannot read {}", draft.path().display()))?;
    super::write_archive(Archived::Content(directory.into()), out).and_then(|()| out.flush()).doing(|| "cannot write the archive")?;
    Ok(written)
}

/// Pushes a bundle under each of its names.
///
/// # Errors
/// A registry that is not there or refuses.
pub fn push_bundle(home: &Home, bundle: &Bundle, watch: &dyn Watch) -> Result<Vec<Written>> {
    let mut pushed = Vec::new();
    for text in &bundle.names {
        let named = Reference::parse(text)?;
        let name = named.clone().or_latest();
        let cannot = || format!("cannot push `{name}`");
        if bundle.by_digest && named.tag.is_some() {
            let failure = Failure::new(cannot()).because("can't push tagged ref by digest");
            return Err(failure.hint("write the name without its tag"));
        }
        let rules = Rules::load(home)?;
        let endpoint = rules.origin(&name)?;
        let session = Session::begin(home)?;
        // Any blob's name will do for the question how the registry is spoken to.
        let remote = push::reach(&session, &endpoint, &Digest::of(b"{}")).doing(cannot)?;
        let push = Push { home, rules: &rules, session: &session, remote: &remote, packing: bundle.packing, watch };
        let assembled = assemble(home, bundle, &Target::Registry(&push)).doing(cannot)?;
        let written = written(&assembled.top);
        let tag = if bundle.by_digest { written.digest.clone() } else { name.tag.clone().unwrap_or_default() };
        push.manifest(&tag, &assembled.top).doing(cannot)?;
        pushed.push(written);
    }
    Ok(pushed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_have_package_urls() {
        let url = |name: &str| package_url(name, "linux/amd64");
        assert_eq!(url("docker.io/library/busybox:latest"), "pkg:docker/busybox@latest?platform=linux%2Famd64");
        assert_eq!(url("quay.io/a/b:1"), "pkg:docker/quay.io/a/b@1?platform=linux%2Famd64");
    }

    /// The same images are the same bytes, whatever they are written to.
    #[test]
    fn a_layout_of_an_empty_image_is_whole() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::at(place.path().join("root"), place.path().join("run"));
        let config = ImageConfig { os: "linux".to_owned(), architecture: "amd64".to_owned(), ..ImageConfig::default() };
        let statement = Statement { kind: "https://example.com/said".to_owned(), predicate: json!({ "good": true }) };
        let member = Member { config, annotations: BTreeMap::new(), entry_annotations: BTreeMap::new(), statements: vec![statement] };
        let bundle = Bundle { members: vec![member], names: vec!["a:1".to_owned()], ..Bundle::default() };
        let directory = place.path().join("out");
        let written = write_layout(&home, &bundle, Layout::Oci, &directory).unwrap();
        assert_eq!(written.media_type, manifest::OCI_INDEX);
        let blob = |digest: &str| -> Value {
            let bytes = fs::read(directory.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))).unwrap();
            assert_eq!(Digest::of(&bytes).as_str(), digest);
            serde_json::from_slice(&bytes).unwrap()
        };
        let index = blob(&written.digest);
        assert_eq!(index["manifests"][0]["platform"]["architecture"], "amd64");
        let said = blob(index["manifests"][1]["digest"].as_str().unwrap());
        let statement = blob(said["layers"][0]["digest"].as_str().unwrap());
        assert_eq!(statement["predicate"]["good"], true);
        assert_eq!(statement["subject"][0]["name"], "pkg:docker/a@1?platform=linux%2Famd64");
        assert_eq!(index["manifests"][1]["annotations"]["vnd.docker.reference.digest"], index["manifests"][0]["digest"]);
    }
}
