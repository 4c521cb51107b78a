//! Indexes made by hand: several images, each for its platform, under one name (`manifest create`).
//!
//! One that is being made is a record under `images/lists/`; only `push` puts it where others can see it.

mod verbose;

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use super::ImageConfig;
use super::Watch;
use super::digest::Digest;
use super::gather;
use super::gather::Piece;
use super::manifest;
use super::manifest::Blob;
use super::manifest::Document;
use super::platform::Platform;
use super::pull;
use super::reference::Reference;
use super::registry::Remote;
use super::registry::Trouble;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::state;
use crate::state::Lock;

const VERSION: u32 = 1;
/// No index has more, and every entry is a question to a registry.
const MOST_ENTRIES: usize = 1000;
/// What images are for, in Go's words; nobody finds an entry that is for something else.
const SYSTEMS: [&str; 13] =
    ["aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "linux", "netbsd", "openbsd", "plan9", "solaris", "wasip1", "windows"];
const ARCHITECTURES: [&str; 14] =
    ["386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64", "s390x", "wasm"];

/// The lists of a store.
pub struct Lists<'a> {
    home: &'a Home,
    watch: &'a dyn Watch,
}

/// What is said of one entry in place of what its image says.
#[derive(Debug, Clone, Default)]
pub struct Annotation {
    pub os: Option<String>,
    pub architecture: Option<String>,
    pub variant: Option<String>,
    pub os_version: Option<String>,
    pub os_features: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ListRecord {
    version: u32,
    /// Canonical.
    name: String,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    /// As the user named it, canonical.
    source: String,
    /// `registry/repository`, where its manifest was found.
    repository: String,
    digest: String,
    size: u64,
    media_type: String,
    platform: Value,
}

impl<'a> Lists<'a> {
    pub fn new(home: &'a Home, watch: &'a dyn Watch) -> Lists<'a> {
        Lists { home, watch }
    }

    /// The raw manifest or index a name means: of a list that is being made here, or of the registry.
    ///
    /// # Errors
    /// A bad name; no such list and no such manifest in the registry.
    pub fn inspect(&self, text: &str) -> Result<Vec<u8>> {
        let name = Reference::parse(text)?.or_latest();
        match self.find(&name)? {
            Some(list) => Ok(serde_json::to_vec(&document(&list)).doing(|| "cannot write the index")?),
            None => pull::with_manifest(self.home, &name, self.watch, &|_, bytes| Ok(bytes)),
        }
    }

    /// Makes a list of these manifests, or adds them to one that is being made.
    ///
    /// # Errors
    /// A manifest that is not in its registry; a list that is there already.
    pub fn create(&self, list: &str, sources: &[String], amend: Amend) -> Result<String> {
        let name = Reference::parse(list)?.or_latest();
        let _lock = Lock::alone(self.home, "lists")?;
        let mut record = match (self.find(&name)?, amend) {
            (Some(_), Amend::No) => {
                let failure = Failure::new(format!("cannot create the manifest list `{name}`")).because("it is being made already");
                return Err(failure.hint("add to it with --amend, or remove it: coracle manifest rm"));
            }
            (Some(record), Amend::Yes) => record,
            (None, _) => ListRecord { version: VERSION, name: name.canonical(), entries: Vec::new() },
        };
        for source in sources {
            for entry in self.entries(source)? {
                record.entries.retain(|known| known.digest != entry.digest);
                record.entries.push(entry);
            }
        }
        if record.entries.len() > MOST_ENTRIES {
            return Err(Failure::new(format!("cannot create the manifest list `{name}`")).because("it would have more than 1000 entries"));
        }
        self.put(&name, &record)?;
        Ok(name.canonical())
    }

    /// Says something else of an entry's platform than its image does.
    ///
    /// # Errors
    /// No such list, or no such entry in it.
    pub fn annotate(&self, list: &str, source: &str, said: &Annotation) -> Result<()> {
        let name = Reference::parse(list)?.or_latest();
        let _lock = Lock::alone(self.home, "lists")?;
        let mut record = self.existing(&name)?;
        let source = Reference::parse(source)?.or_latest();
        let is_meant = |entry: &&mut Entry| entry.source == source.canonical() || source.digest.as_ref() == Some(&entry.digest);
        let entry = record.entries.iter_mut().find(is_meant);
        let entry = entry.ok_or_else(|| Failure::new(format!("cannot annotate `{source}`")).because(format!("it is not in `{name}`")))?;
        let texts = [("os", &said.os), ("architecture", &said.architecture), ("variant", &said.variant), ("os.version", &said.os_version)];
        for (key, text) in texts {
            if let Some(text) = text {
                entry.platform[key] = json!(text);
            }
        }
        if !said.os_features.is_empty() {
            entry.platform["os.features"] = json!(said.os_features);
        }
        let word = |key: &str| entry.platform[key].as_str().unwrap_or_default().to_owned();
        let (os, architecture) = (word("os"), word("architecture"));
        if !SYSTEMS.contains(&os.as_str()) || !ARCHITECTURES.contains(&architecture.as_str()) {
            return Err(Failure::new(format!("cannot annotate `{source}`"))
                .because(format!("manifest entry for image has unsupported os/arch combination: {os}/{architecture}"))
                .hint("use Go's words, such as linux and arm64"));
        }
        self.put(&name, &record)
    }

    /// Pushes the images of a list that its repository has not, and then the list; its digest.
    ///
    /// # Errors
    /// No such list; a registry that is not there or refuses.
    pub fn push(&self, list: &str) -> Result<String> {
        let name = Reference::parse(list)?.or_latest();
        let record = self.existing(&name)?;
        let bytes = serde_json::to_vec(&document(&record)).doing(|| format!("cannot push the manifest list `{name}`"))?;
        let piece = |entry: &Entry| Piece { repository: entry.repository.clone(), digest: entry.digest.clone() };
        gather::put(self.home, &name, &record.entries.iter().map(piece).collect::<Vec<_>>(), &bytes)
    }

    /// Forgets a list; what was pushed stays in the registry.
    ///
    /// # Errors
    /// No such list.
    pub fn remove(&self, list: &str) -> Result<()> {
        let name = Reference::parse(list)?.or_latest();
        let path = self.path(&name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing(&name)),
            outcome => outcome.doing(|| format!("cannot remove {}", path.display())),
        }
    }

    // ---- records ----

    fn path(&self, name: &Reference) -> PathBuf {
        // A name may be longer than a file name.
        self.home.images().join("lists").join(format!("{}.json", Digest::of(name.canonical().as_bytes()).hex()))
    }

    fn find(&self, name: &Reference) -> Result<Option<ListRecord>> {
        state::find_json(&self.path(name))
    }

    fn existing(&self, name: &Reference) -> Result<ListRecord> {
        self.find(name)?.ok_or_else(|| missing(name))
    }

    fn put(&self, name: &Reference, record: &ListRecord) -> Result<()> {
        state::write_json(&self.path(name), record)
    }

    // ---- registries ----

    /// What a name means in its registry: one image, or all those of an index.
    fn entries(&self, source: &str) -> Result<Vec<Entry>> {
        let name = Reference::parse(source)?.or_latest();
        pull::with_manifest(self.home, &name, self.watch, &|remote, bytes| match Document::parse(&bytes)? {
            Document::Image(found) => Ok(vec![entry(&name, remote, &bytes, &found.config)?]),
            Document::Index(entries) => {
                let one = |blob: &Blob| {
                    let bytes = remote.manifest(blob.digest.as_str()).map_err(|trouble| cannot_read(&name, &trouble))?;
                    match Document::parse(&bytes)? {
                        Document::Image(found) if Digest::of(&bytes) == blob.digest => entry(&name, remote, &bytes, &found.config),
                        _ => Err(Failure::new(format!("cannot use `{name}` in a manifest list")).because("it is an index of indexes")),
                    }
                };
                entries.iter().filter(|entry| entry.is_image()).map(|entry| one(&entry.blob)).collect()
            }
        })
    }
}

/// Whether a list that is being made is gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amend {
    No,
    Yes,
}

fn missing(name: &Reference) -> Failure {
    Failure::new(format!("no such manifest list: {name}")).hint(format!("make it first: coracle manifest create {name} IMAGE…"))
}

fn cannot_read(name: &Reference, trouble: &Trouble) -> Failure {
    Failure::new(format!("cannot read `{name}` in its registry")).because(&trouble.text)
}

fn entry(name: &Reference, remote: &Remote<'_>, bytes: &[u8], config: &Blob) -> Result<Entry> {
    let read = remote.small_blob(&config.digest, config.size).map_err(|trouble| cannot_read(name, &trouble))?;
    let config: ImageConfig = serde_json::from_slice(&read).doing(|| format!("cannot understand the configuration of `{name}`"))?;
    let platform = Platform::of(&config);
    let mut said = json!({ "architecture": platform.architecture, "os": platform.os });
    if let Some(variant) = platform.variant {
        said["variant"] = json!(variant);
    }
    Ok(Entry {
        source: name.canonical(),
        repository: remote.repository_name(),
        digest: Digest::of(bytes).to_string(),
        size: bytes.len() as u64,
        media_type: manifest::media_type(bytes).to_owned(),
        platform: said,
    })
}

/// The index as it is pushed: Docker's list if all its images have Docker's manifests.
fn document(record: &ListRecord) -> Value {
    let is_dockers = !record.entries.is_empty() && record.entries.iter().all(|entry| entry.media_type == manifest::DOCKER_MANIFEST);
    let entries = record
        .entries
        .iter()
        .map(|entry| json!({ "mediaType": entry.media_type, "digest": entry.digest, "size": entry.size, "platform": entry.platform }));
    json!({
        "schemaVersion": 2,
        "mediaType": if is_dockers { manifest::DOCKER_LIST } else { manifest::OCI_INDEX },
        "manifests": entries.collect::<Vec<_>>(),
    })
}
