//! `manifest inspect --verbose`: each image that a name means, with its whole manifest.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::json;

use super::Entry;
use super::Lists;
use super::cannot_read;
use super::entry;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image::digest::Digest;
use crate::image::manifest;
use crate::image::manifest::Document;
use crate::image::pull;
use crate::image::reference::Reference;
use crate::image::registry::Remote;

impl Lists<'_> {
    /// All that is known of the images a name means: a list of them for an index, one alone otherwise; in Docker's form.
    ///
    /// # Errors
    /// As [`Lists::inspect`]; the manifest of an entry cannot be had.
    pub fn inspect_in_full(&self, text: &str) -> Result<Value> {
        let name = Reference::parse(text)?.or_latest();
        if let Some(list) = self.find(&name)? {
            return list.entries.iter().map(|entry| self.of_entry(entry)).collect::<Result<Vec<_>>>().map(Value::from);
        }
        pull::with_manifest(self.home, &name, self.watch, &|remote, bytes| match Document::parse(&bytes)? {
            Document::Image(found) => {
                let found = entry(&name, remote, &bytes, &found.config)?;
                Ok(told(&name.familiar(), descriptor(&found), &bytes))
            }
            Document::Index(_) => of_index(&name, remote, &bytes),
        })
    }

    fn of_entry(&self, entry: &Entry) -> Result<Value> {
        let source = Reference::parse(&entry.source)?;
        let exact = Reference { tag: None, digest: Some(entry.digest.clone()), ..source.clone() };
        let bytes = pull::with_manifest(self.home, &exact, self.watch, &|_, bytes| Ok(bytes))?;
        Ok(told(&source.familiar(), descriptor(entry), &bytes))
    }
}

fn descriptor(entry: &Entry) -> Value {
    json!({ "mediaType": entry.media_type, "digest": entry.digest, "size": entry.size, "platform": entry.platform })
}

fn of_index(name: &Reference, remote: &Remote<'_>, bytes: &[u8]) -> Result<Value> {
    let index: Value = serde_json::from_slice(bytes).doing(|| format!("cannot understand the index `{name}`"))?;
    let entries = index.get("manifests").and_then(Value::as_array).cloned().unwrap_or_default();
    let one = |described: Value| {
        let digest = Digest::parse(described.get("digest").and_then(Value::as_str).unwrap_or_default())?;
        let bytes = remote.manifest(digest.as_str()).map_err(|trouble| cannot_read(name, &trouble))?;
        if Digest::of(&bytes) != digest {
            return Err(Failure::new(format!("cannot trust `{name}`")).because(format!("there is something else under {digest}")));
        }
        Ok(told(&format!("{}@{digest}", name.familiar()), described, &bytes))
    };
    entries.into_iter().map(one).collect::<Result<Vec<_>>>().map(Value::from)
}

fn told(name: &str, described: Value, bytes: &[u8]) -> Value {
    let mut value = json!({ "Ref": name, "Descriptor": described, "Raw": STANDARD.encode(bytes) });
    let key = match manifest::media_type(bytes) {
        manifest::DOCKER_MANIFEST => "SchemaV2Manifest",
        manifest::OCI_MANIFEST => "OCIManifest",
        _ => return value,
    };
    value[key] = serde_json::from_slice(bytes).unwrap_or_default();
    value
}
