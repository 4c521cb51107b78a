//! Manifests and indexes: what a registry says an image is made of, read with suspicion.

use std::collections::BTreeMap;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::json;

use super::compression::Compression;
use super::digest::Digest;
use super::platform::Platform;
use crate::failure::Failure;
use crate::failure::Result;

pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(super) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

pub(super) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// What we tell registries we understand.
pub(super) const ACCEPTED: &[&str] = &[OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST];

/// A document a tag or digest leads to.
#[derive(Debug)]
pub(super) enum Document {
    Image(Manifest),
    Index(Vec<IndexEntry>),
}

/// An image for one platform.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) config: Blob,
    /// The lowest first.
    pub(super) layers: Vec<Blob>,
}

/// A blob by the name and size it must have.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// What the media type of a layer says; the bytes themselves decide.
    pub(super) compression: Option<Compression>,
}

/// One image of an index.
#[derive(Debug, Clone)]
pub(super) struct IndexEntry {
    pub(super) blob: Blob,
    pub(super) platform: Option<Platform>,
    annotations: HashMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u32,
    media_type: Option<String>,
    config: Option<RawBlob>,
    layers: Option<Vec<RawBlob>>,
    manifests: Option<Vec<RawBlob>>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawBlob {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<RawPlatform>,
    annotations: Option<HashMap<String, String>>,
}

#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

/// Writes an OCI manifest of a configuration and layers, the lowest first; the same parts are always the same bytes.
pub(super) fn write(config: &Blob, layers: &[Blob]) -> Vec<u8> {
    annotated(config, layers, &BTreeMap::new())
}

/// The same with annotations.
pub(super) fn annotated(config: &Blob, layers: &[Blob], annotations: &BTreeMap<String, String>) -> Vec<u8> {
    let layer = |layer: &Blob| {
        let media_type = layer.compression.unwrap_or(Compression::None).media_type();
        json!({ "mediaType": media_type, "digest": layer.digest.as_str(), "size": layer.size })
    };
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": { "mediaType": OCI_CONFIG, "digest": config.digest.as_str(), "size": config.size },
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
    });
    if !annotations.is_empty() {
        manifest["annotations"] = json!(annotations);
    }
    manifest.to_string().into_bytes()
}

/// What a manifest or index is announced as.
pub(super) fn media_type(bytes: &[u8]) -> &'static str {
    let value: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let said = value.get("mediaType").and_then(serde_json::Value::as_str);
    match ACCEPTED.iter().find(|known| Some(**known) == said) {
        Some(known) => known,
        None if value.get("manifests").is_some() => OCI_INDEX,
        None => OCI_MANIFEST,
    }
}

impl Document {
    /// Reads a manifest or an index and refuses what is neither or both.
    pub(super) fn parse(bytes: &[u8]) -> Result<Document> {
        let refuse = |why: String| Err(Failure::new("cannot understand the manifest").because(why));
        let raw: Raw = match serde_json::from_slice(bytes) {
            Ok(raw) => raw,
            Err(error) => return refuse(format!("not a manifest of schema 2: {error}")),
        };
        if raw.schema_version != 2 || raw.fs_layers.is_some() {
            return refuse(format!("schema version {} is not supported", raw.schema_version));
        }
        if raw.manifests.is_some() && (raw.layers.is_some() || raw.config.is_some()) {
            return refuse("it is a manifest and an index at once".to_owned());
        }
        let is_index = raw.manifests.is_some();
        match raw.media_type.as_deref() {
            Some(OCI_INDEX | DOCKER_LIST) if !is_index => return refuse("it says it is an index and is none".to_owned()),
            Some(OCI_MANIFEST | DOCKER_MANIFEST) if is_index => return refuse("it says it is no index and is one".to_owned()),
            None | Some(OCI_INDEX | DOCKER_LIST | OCI_MANIFEST | DOCKER_MANIFEST) => {}
            Some(other) => return refuse(format!("unknown media type `{other}`")),
        }
        if is_index { index(raw).map(Document::Index) } else { image(raw).map(Document::Image) }
    }
}

fn index(raw: Raw) -> Result<Vec<IndexEntry>> {
    raw.manifests.unwrap_or_default().into_iter().map(IndexEntry::read).collect()
}

fn image(raw: Raw) -> Result<Manifest> {
    let config = raw.config.ok_or_else(|| Failure::new("cannot understand the manifest").because("it names no configuration"))?;
    if !matches!(config.media_type.as_str(), "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json")
    {
        return Err(Failure::new("cannot use this as an image")
            .because(format!("it is something else, with a configuration of type `{}`", config.media_type)));
    }
    let layers = raw.layers.unwrap_or_default().into_iter().map(layer).collect::<Result<_>>()?;
    Ok(Manifest { config: config.blob()?, layers })
}

fn layer(raw: RawBlob) -> Result<Blob> {
    const KNOWN: [&str; 9] = [
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ];
    let zstd_of_docker = raw.media_type == "application/vnd.docker.image.rootfs.diff.tar.zstd";
    if !zstd_of_docker && !KNOWN.contains(&raw.media_type.as_str()) {
        let failure = Failure::new("cannot use a layer of the image").because(format!("its type `{}` is not supported", raw.media_type));
        return Err(if raw.media_type.ends_with("+encrypted") {
            failure.hint("decrypt the image first, for example with skopeo")
        } else {
            failure
        });
    }
    raw.blob()
}

impl RawBlob {
    fn blob(self) -> Result<Blob> {
        let compression = match self.media_type.rsplit(['.', '+']).next() {
            Some("gzip") => Some(Compression::Gzip),
            Some("zstd") => Some(Compression::Zstd),
            Some("tar") => Some(Compression::None),
            _ => None,
        };
        Ok(Blob { digest: Digest::parse(&self.digest)?, size: self.size, compression })
    }
}

impl IndexEntry {
    fn read(mut raw: RawBlob) -> Result<IndexEntry> {
        let platform = raw.platform.take().map(|p| Platform { os: p.os, architecture: p.architecture, variant: p.variant });
        let annotations = raw.annotations.take().unwrap_or_default();
        Ok(IndexEntry { blob: raw.blob()?, platform, annotations })
    }

    /// Whether it is an image for somebody, and no attestation that hangs on one.
    pub(super) fn is_image(&self) -> bool {
        let known = self.platform.as_ref().is_none_or(|platform| platform.architecture != "unknown");
        known && !self.annotations.contains_key("vnd.docker.reference.type")
    }

    /// The tag that an entry of an image layout has.
    pub(super) fn tag(&self) -> Option<&str> {
        self.annotations.get("org.opencontainers.image.ref.name").map(String::as_str)
    }

    /// The name an entry of an image layout gives its image: containerd's annotation, or OCI's if it is more than a tag.
    pub(super) fn name(&self) -> Option<String> {
        let named = |key: &str| self.annotations.get(key).filter(|name| !name.is_empty());
        let whole = |name: &&String| name.contains(['/', ':']);
        named("io.containerd.image.name").or_else(|| named("org.opencontainers.image.ref.name").filter(whole)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Document> {
        Document::parse(text.replace("D", &format!("sha256:{}", "0".repeat(64))).as_bytes())
    }

    #[test]
    fn a_document_is_an_image_or_an_index_and_never_both() {
        let config = r#""config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"D","size":2}"#;
        assert!(matches!(parse(&format!(r#"{{"schemaVersion":2,{config},"layers":[]}}"#)), Ok(Document::Image(_))));
        assert!(matches!(parse(r#"{"schemaVersion":2,"manifests":[]}"#), Ok(Document::Index(_))));
        for bad in [
            "null",
            "[]",
            "",
            "<html>",
            r#"{"schemaVersion":1,"fsLayers":[]}"#,
            r#"{"schemaVersion":2}"#,
            &format!(r#"{{"schemaVersion":3,{config},"layers":[]}}"#),
            &format!(r#"{{"schemaVersion":2,{config},"manifests":[]}}"#),
            &format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}",{config}}}"#),
            &format!(r#"{{"schemaVersion":2,{config},"layers":[{{"mediaType":"application/x","digest":"D","size":2}}]}}"#),
            &format!(r#"{{"schemaVersion":2,{}}}"#, config.replace(":2}", ":-2}")),
            &format!(r#"{{"schemaVersion":2,{}}}"#, config.replace("image.config", "empty")),
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
