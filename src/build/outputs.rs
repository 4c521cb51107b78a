//! What becomes of a result, and what is said of it on its way.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::image::Layout;
use crate::image::Packing;

/// What becomes of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// It is only in the cache.
    Nothing,
    /// The store has it, under its names.
    Store { names: Vec<String> },
    /// The files of the root, in a directory; for several platforms, or if that is wanted, in one for each.
    Directory { dest: PathBuf, split: Option<bool> },
    /// The same as an archive.
    Tar { dest: PathBuf, split: Option<bool> },
    /// An image layout, as an archive or as a directory.
    Layout { layout: Layout, dest: PathBuf, form: LayoutForm, image: ImageOptions },
    /// A registry.
    Registry { image: ImageOptions },
}

/// What a layout is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayoutForm {
    Archive,
    Directory,
}

/// What an image is like that leaves the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageOptions {
    /// Its names, in the place of the build's.
    pub names: Vec<String>,
    /// In the registry it gets no name; its digest is one.
    pub by_digest: bool,
    pub packing: Option<Packing>,
    pub annotations: Vec<Annotation>,
}

/// A note on an image, and where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    pub at: AnnotationAt,
    /// Only for this platform.
    pub platform: Option<String>,
    pub key: String,
    pub value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnotationAt {
    Manifest,
    /// The entry of the manifest in the index.
    Entry,
    Index,
}

impl Annotation {
    /// Reads `[manifest|index|…[platform],…:]key=value`.
    ///
    /// # Errors
    /// A sentence that names the fault.
    pub fn read(text: &str) -> Result<Vec<Annotation>, String> {
        let (before, value) = text.split_once('=').ok_or_else(|| format!("invalid annotation {text:?}, expected key=value"))?;
        let (kinds, key) = match before.split_once(':') {
            // A key may have colons; what is before one is a list of kinds only if all of it is.
            Some((kinds, key)) if kinds.split(',').all(|kind| AnnotationAt::read(kind).is_some()) => (kinds, key),
            _ => ("manifest", before),
        };
        if key.is_empty() {
            return Err(format!("invalid annotation {text:?}, the key is empty"));
        }
        let annotation = |kind: &str| {
            let platform = kind.split_once('[').map(|(_, platform)| platform.trim_end_matches(']').to_owned());
            let at = AnnotationAt::read(kind)?;
            Some(Annotation { at, platform, key: key.to_owned(), value: value.to_owned() })
        };
        Ok(kinds.split(',').filter_map(annotation).collect())
    }
}

impl AnnotationAt {
    /// Reads `manifest`, `index[linux/amd64]`.
    pub fn read(text: &str) -> Option<AnnotationAt> {
        match text.split('[').next()? {
            "manifest" => Some(AnnotationAt::Manifest),
            // What names the index in a layout is the layout's own; the note goes to what it names.
            "index" | "index-descriptor" => Some(AnnotationAt::Index),
            "manifest-descriptor" => Some(AnnotationAt::Entry),
            _ => None,
        }
    }
}

/// The annotations for one place, by key.
pub(super) fn chosen(annotations: &[Annotation], at: AnnotationAt, platform: &str) -> BTreeMap<String, String> {
    let fits = |one: &&Annotation| one.at == at && one.platform.as_deref().is_none_or(|wanted| wanted == platform);
    annotations.iter().filter(fits).map(|one| (one.key.clone(), one.value.clone())).collect()
}

/// How much a build says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    pub detail: Detail,
    pub form: ProvenanceForm,
    /// Who built, as the user calls it: an address.
    pub builder: String,
    /// The user promises that the same comes of the same.
    pub is_reproducible: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// What it was made from.
    Min,
    /// Also its arguments and its Dockerfile.
    Max,
}

/// Of SLSA's predicate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProvenanceForm {
    #[default]
    V1,
    V02,
}

impl Provenance {
    /// Reads `true`, `false`, `mode=max,version=v0.2`; None if there shall be none.
    ///
    /// # Errors
    /// A sentence that names the fault.
    pub fn read(text: &str) -> Result<Option<Provenance>, String> {
        let mut provenance = Provenance { detail: Detail::Min, form: ProvenanceForm::V1, builder: String::new(), is_reproducible: false };
        for word in text.split(',').filter(|word| !word.is_empty()) {
            match word.split_once('=').unwrap_or((word, "")) {
                ("true" | "1", "") | ("type", "provenance") | ("disabled", "false") => {}
                ("false" | "0", "") | ("disabled", "true") => return Ok(None),
                ("mode", "min") | ("min", "") => provenance.detail = Detail::Min,
                ("mode", "max" | "full") | ("max", "") => provenance.detail = Detail::Max,
                ("version", "v1") => provenance.form = ProvenanceForm::V1,
                ("version", "v0.2") => provenance.form = ProvenanceForm::V02,
                ("builder-id", id) => id.clone_into(&mut provenance.builder),
                ("reproducible", value) => provenance.is_reproducible = matches!(value, "true" | "1"),
                // It goes with the image only, and no farther, anyway.
                ("inline-only", _) => {}
                _ => {
                    let known = "`mode=min|max`, `version=v1|v0.2`, `builder-id=ADDRESS`, `reproducible=true` or `false`";
                    return Err(format!("`{word}` is unknown here: write {known}"));
                }
            }
        }
        Ok(Some(provenance))
    }
}

/// A scanner that lists what a result is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sbom {
    /// The scanner's image.
    pub generator: String,
    /// What it is told, by names.
    pub parameters: BTreeMap<String, String>,
}

/// BuildKit's own choice.
const SCANNER: &str = "docker/buildkit-syft-scanner:stable-1";

impl Sbom {
    /// Reads `true`, `false`, `generator=image,NAME=value`; None if there shall be none.
    ///
    /// # Errors
    /// A sentence that names the fault.
    pub fn read(text: &str) -> Result<Option<Sbom>, String> {
        let mut sbom = Sbom { generator: SCANNER.to_owned(), parameters: BTreeMap::new() };
        for word in text.split(',').filter(|word| !word.is_empty()) {
            match word.split_once('=').unwrap_or((word, "")) {
                ("true" | "1", "") | ("type", "sbom") | ("disabled", "false") => {}
                ("false" | "0", "") | ("disabled", "true") => return Ok(None),
                ("generator", image) if !image.is_empty() => sbom.generator = image.to_owned(),
                (name, value) if word.contains('=') && !matches!(name, "" | "generator") => {
                    sbom.parameters.insert(name.to_owned(), value.to_owned());
                }
                _ => return Err(format!("`{word}` is unknown here: write `true`, `false` or `generator=IMAGE`")),
            }
        }
        Ok(Some(sbom))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scanner_is_an_image() {
        assert_eq!(Sbom::read("false"), Ok(None));
        assert_eq!(Sbom::read("true").unwrap().unwrap().generator, SCANNER);
        let sbom = Sbom::read("generator=a/b:c,SELECT=x").unwrap().unwrap();
        assert_eq!((sbom.generator.as_str(), sbom.parameters["SELECT"].as_str()), ("a/b:c", "x"));
        assert!(Sbom::read("what").is_err());
    }

    #[test]
    fn an_annotation_says_where_it_belongs() {
        let one = |text: &str| Annotation::read(text).unwrap();
        assert_eq!(one("a.b=c=d"), [Annotation { at: AnnotationAt::Manifest, platform: None, key: "a.b".into(), value: "c=d".into() }]);
        let two = one("index,manifest[linux/arm64]:x:y=z");
        assert_eq!((two[0].at, two[1].at, two[1].platform.as_deref()), (AnnotationAt::Index, AnnotationAt::Manifest, Some("linux/arm64")));
        assert_eq!(two[0].key, "x:y");
        assert_eq!(one("what:x=1")[0].key, "what:x");
        assert!(Annotation::read("alone").is_err());
        assert!(chosen(&two, AnnotationAt::Manifest, "linux/amd64").is_empty());
    }

    #[test]
    fn provenance_is_as_much_as_is_asked_for() {
        assert_eq!(Provenance::read("false"), Ok(None));
        assert_eq!(Provenance::read("true").unwrap().unwrap().detail, Detail::Min);
        let read = Provenance::read("mode=max,version=v0.2,builder-id=https://ci/1,reproducible=true").unwrap().unwrap();
        assert_eq!(
            (read.detail, read.form, read.builder.as_str(), read.is_reproducible),
            (Detail::Max, ProvenanceForm::V02, "https://ci/1", true)
        );
        assert!(Provenance::read("mode=more").is_err() && Provenance::read("capture-usage=true").is_err());
    }
}
