//! Images as registries have them, byte for byte, and one made of several (`buildx imagetools`).

use std::collections::BTreeMap;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::ImageConfig;
use super::Watch;
use super::digest::Digest;
use super::gather;
use super::gather::Piece;
use super::manifest;
use super::platform::Platform;
use super::pull;
use super::reference::Reference;
use super::registry::Remote;
use super::registry::Trouble;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

/// Statements and configurations are small.
const LARGEST_PART: u64 = 8 << 20;

/// What a name means in its registry.
#[derive(Debug, Clone)]
pub struct Seen {
    /// In full, with its tag or digest.
    pub name: String,
    pub bytes: Vec<u8>,
    pub media_type: String,
    pub digest: String,
}

/// An image of it, with what is said of it.
#[derive(Debug, Clone, Default)]
pub struct SeenImage {
    /// `linux/amd64`.
    pub platform: String,
    pub config: Value,
    /// Predicates, by their types.
    pub said: Vec<(String, Value)>,
}

/// Looks at what a name means in its registry.
///
/// # Errors
/// A bad name; it is not there.
pub fn seen(home: &Home, text: &str, watch: &dyn Watch) -> Result<Seen> {
    let name = exact(text)?;
    let bytes = pull::with_manifest(home, &name, watch, &|_, bytes| Ok(bytes))?;
    let (media_type, digest) = (manifest::media_type(&bytes).to_owned(), Digest::of(&bytes).to_string());
    Ok(Seen { name: name.canonical(), bytes, media_type, digest })
}

/// The same, and the images it is made of.
///
/// # Errors
/// As [`seen`]; a part that is not there.
pub fn seen_images(home: &Home, text: &str, watch: &dyn Watch) -> Result<Vec<SeenImage>> {
    let name = exact(text)?;
    pull::with_manifest(home, &name, watch, &|remote, bytes| {
        let document = read(&bytes)?;
        let cannot = |trouble: Trouble| Failure::new(format!("cannot read `{name}` in its registry")).because(trouble.text);
        let part = |digest: &Value| -> Result<Value> {
            let bytes = remote.manifest(digest.as_str().unwrap_or_default()).map_err(cannot)?;
            read(&bytes)
        };
        let Some(entries) = document["manifests"].as_array() else {
            return Ok(vec![image(remote, &document).map_err(cannot)?]);
        };
        let mut images: Vec<(String, SeenImage)> = Vec::new();
        for entry in entries.iter().filter(|entry| !is_statement(entry)) {
            let found = image(remote, &part(&entry["digest"])?).map_err(cannot)?;
            images.push((entry["digest"].as_str().unwrap_or_default().to_owned(), found));
        }
        for entry in entries.iter().filter(|entry| is_statement(entry)) {
            let of = entry["annotations"]["vnd.docker.reference.digest"].as_str().unwrap_or_default();
            let Some((_, about)) = images.iter_mut().find(|(digest, _)| digest == of) else { continue };
            for layer in part(&entry["digest"])?["layers"].as_array().into_iter().flatten() {
                let statement = blob(remote, layer).map_err(cannot)?;
                let kind = statement["predicateType"].as_str().unwrap_or_default().to_owned();
                about.said.push((kind, statement["predicate"].clone()));
            }
        }
        Ok(images.into_iter().map(|(_, image)| image).collect())
    })
}

fn exact(text: &str) -> Result<Reference> {
    let mut name = Reference::parse(text)?.or_latest();
    if name.digest.is_some() {
        name.tag = None;
    }
    Ok(name)
}

fn read(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).doing(|| "cannot understand the manifest")
}

/// Whether an entry of an index hangs on another one.
fn is_statement(entry: &Value) -> bool {
    entry["annotations"]["vnd.docker.reference.type"].is_string()
}

fn image(remote: &Remote<'_>, document: &Value) -> Result<SeenImage, Trouble> {
    let config = blob(remote, &document["config"])?;
    let read: ImageConfig = serde_json::from_value(config.clone()).unwrap_or_default();
    Ok(SeenImage { platform: Platform::of(&read).to_string(), config, said: Vec::new() })
}

/// A small blob that is JSON; nothing if it is none.
fn blob(remote: &Remote<'_>, descriptor: &Value) -> Result<Value, Trouble> {
    let size = descriptor["size"].as_u64().unwrap_or_default();
    let Ok(digest) = Digest::parse(descriptor["digest"].as_str().unwrap_or_default()) else { return Ok(Value::Null) };
    if size > LARGEST_PART {
        return Ok(Value::Null);
    }
    Ok(serde_json::from_slice(&remote.small_blob(&digest, size)?).unwrap_or_default())
}

/// How images become one.
#[derive(Debug, Clone, Default)]
pub struct Combining {
    /// Names of images and indexes in registries.
    pub sources: Vec<String>,
    /// Only images for these; all if there is none.
    pub platforms: Vec<String>,
    /// Of the index.
    pub annotations: BTreeMap<String, String>,
    /// One image alone stays what it is and gets no index.
    pub copies: bool,
}

/// An index of images that are in registries, or a copy of one.
#[derive(Debug, Clone)]
pub struct Combined {
    pub bytes: Vec<u8>,
    pieces: Vec<Piece>,
}

impl Combined {
    /// Asks for all sources and puts them together; nothing is pushed yet.
    ///
    /// # Errors
    /// A bad name, a source that is not there, no image for the platforms.
    pub fn of(home: &Home, wanted: &Combining, watch: &dyn Watch) -> Result<Combined> {
        let mut found = Vec::new();
        for source in &wanted.sources {
            let name = exact(source)?;
            found.push(pull::with_manifest(home, &name, watch, &|remote, bytes| {
                descriptors(&name, remote, &bytes).map(|all| (all, bytes))
            })?);
        }
        let is_plain = wanted.platforms.is_empty() && wanted.annotations.is_empty();
        if let ([(entries, bytes)], true) = (found.as_slice(), is_plain) {
            let is_index = read(bytes)?["manifests"].is_array();
            if is_index || wanted.copies {
                return Ok(Combined { bytes: bytes.clone(), pieces: pieces(entries) });
            }
        }
        let mut entries: Vec<(Value, String)> = Vec::new();
        for (entry, repository) in found.into_iter().flat_map(|(entries, _)| entries) {
            entries.retain(|(known, _)| known["digest"] != entry["digest"]);
            entries.push((entry, repository));
        }
        let entries = chosen(entries, &wanted.platforms)?;
        let bytes = serde_json::to_vec_pretty(&document(&entries, &wanted.annotations)).doing(|| "cannot write the index")?;
        Ok(Combined { bytes, pieces: pieces(&entries) })
    }

    /// Pushes it under a name, with all that its repository has not; its digest.
    ///
    /// # Errors
    /// A bad name; a registry that is not there or refuses.
    pub fn push(&self, home: &Home, text: &str) -> Result<String> {
        gather::put(home, &Reference::parse(text)?.or_latest(), &self.pieces, &self.bytes)
    }
}

/// What a name stands for, as entries of an index, and the repository it is in.
fn descriptors(name: &Reference, remote: &Remote<'_>, bytes: &[u8]) -> Result<Vec<(Value, String)>> {
    let document = read(bytes)?;
    let repository = remote.repository_name();
    if let Some(entries) = document["manifests"].as_array() {
        return Ok(entries.iter().map(|entry| (entry.clone(), repository.clone())).collect());
    }
    let image = image(remote, &document);
    let image = image.map_err(|trouble| Failure::new(format!("cannot read `{name}` in its registry")).because(trouble.text))?;
    let mut entry = json!({ "mediaType": manifest::media_type(bytes), "digest": Digest::of(bytes).to_string(), "size": bytes.len() });
    let mut platform = Map::new();
    for key in ["architecture", "os", "os.version", "variant"] {
        if let Some(word) = image.config[key].as_str().filter(|word| !word.is_empty()) {
            platform.insert(key.to_owned(), json!(word));
        }
    }
    if !platform.is_empty() {
        entry["platform"] = Value::Object(platform);
    }
    Ok(vec![(entry, repository)])
}

fn pieces(entries: &[(Value, String)]) -> Vec<Piece> {
    let digest = |entry: &Value| entry["digest"].as_str().unwrap_or_default().to_owned();
    entries.iter().map(|(entry, repository)| Piece { repository: repository.clone(), digest: digest(entry) }).collect()
}

/// The images for these platforms, and what is said of them.
fn chosen(entries: Vec<(Value, String)>, platforms: &[String]) -> Result<Vec<(Value, String)>> {
    if platforms.is_empty() {
        return Ok(entries);
    }
    let wanted = platforms.iter().map(|text| Platform::parse(text)).collect::<Result<Vec<_>>>()?;
    let fits = |entry: &Value| {
        let word = |key: &str| entry["platform"][key].as_str().map(str::to_owned);
        let has = Platform {
            os: word("os").unwrap_or_default(),
            architecture: word("architecture").unwrap_or_default(),
            variant: word("variant"),
        };
        wanted.iter().any(|platform| platform.distance(&has) == Some(0))
    };
    let digests: Vec<Value> =
        entries.iter().filter(|(entry, _)| !is_statement(entry) && fits(entry)).map(|(entry, _)| entry["digest"].clone()).collect();
    if digests.is_empty() {
        return Err(Failure::new("cannot put the images together").because("none of the manifests match the provided platforms"));
    }
    let stays =
        |entry: &Value| digests.contains(&entry["digest"]) || digests.contains(&entry["annotations"]["vnd.docker.reference.digest"]);
    Ok(entries.into_iter().filter(|(entry, _)| stays(entry)).collect())
}

/// Docker's list if all its images have Docker's manifests and nothing is noted on it.
fn document(entries: &[(Value, String)], annotations: &BTreeMap<String, String>) -> Value {
    let is_dockers = annotations.is_empty() && entries.iter().all(|(entry, _)| entry["mediaType"] == manifest::DOCKER_MANIFEST);
    let mut document = json!({
        "schemaVersion": 2,
        "mediaType": if is_dockers && !entries.is_empty() { manifest::DOCKER_LIST } else { manifest::OCI_INDEX },
        "manifests": entries.iter().map(|(entry, _)| entry).collect::<Vec<_>>(),
    });
    if !annotations.is_empty() {
        document["annotations"] = json!(annotations);
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(digest: &str, architecture: &str, of: Option<&str>) -> (Value, String) {
        let mut entry =
            json!({ "mediaType": manifest::OCI_MANIFEST, "digest": digest, "platform": { "os": "linux", "architecture": architecture } });
        if let Some(of) = of {
            entry["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": of });
        }
        (entry, "r/a".to_owned())
    }

    #[test]
    fn what_is_said_of_an_image_goes_with_it() {
        let all =
            vec![entry("a", "amd64", None), entry("b", "arm64", None), entry("c", "unknown", Some("b")), entry("d", "unknown", Some("a"))];
        let digests = |platforms: &[&str]| {
            let platforms: Vec<String> = platforms.iter().map(|text| (*text).to_owned()).collect();
            chosen(all.clone(), &platforms).map(|found| found.iter().map(|(entry, _)| entry["digest"].clone()).collect::<Vec<_>>())
        };
        assert_eq!(digests(&["linux/arm64"]).unwrap(), ["b", "c"]);
        assert_eq!(digests(&[]).unwrap().len(), 4);
        assert!(digests(&["linux/s390x"]).is_err());
        assert_eq!(document(&all, &BTreeMap::new())["mediaType"], manifest::OCI_INDEX);
    }
}
