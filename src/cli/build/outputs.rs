//! Where a result goes, and what goes with it, in the words of `buildx`.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;

use crate::build::Annotation;
use crate::build::AnnotationAt;
use crate::build::CacheFrom;
use crate::build::CacheTo;
use crate::build::ImageOptions;
use crate::build::LayoutForm;
use crate::build::Output;
use crate::build::Provenance;
use crate::build::Sbom;
use crate::build::Wanted;
use crate::build::fields;
use crate::build::flag;
use crate::image::Layout;
use crate::image::Packing;

// Flags that say where a result goes.
#[derive(Debug, Args)]
pub struct Going {
    /// Where the result goes: a directory, or `type=local|tar|image|registry|oci|docker|cacheonly,dest=…`
    #[arg(short, long, value_name = "OUTPUT", value_parser = read)]
    output: Vec<Destination>,
    /// Give the result to the store, as it is without an output
    #[arg(long)]
    load: bool,
    /// Push the result under its names
    #[arg(long)]
    push: bool,
    /// A note on the image that leaves the store
    #[arg(long, value_name = "[WHERE:]NAME=VALUE", value_parser = notes)]
    annotation: Vec<Notes>,
    /// Say from what the result was made, with what leaves the store: `mode=min`, `mode=max`
    #[arg(long, value_name = "MODE", value_parser = provenance)]
    provenance: Option<Attestation>,
    /// List what the result is made of, with what leaves the store: `true`, `generator=IMAGE`
    #[arg(long, value_name = "SCANNER", value_parser = sbom)]
    sbom: Option<Attestation>,
    /// The long form of both: `type=provenance|sbom,…`
    #[arg(long, value_name = "type=KIND", value_parser = attestation)]
    attest: Vec<Attestation>,
    /// A cache to ask: an image, or `type=registry|local,ref=…|src=…`
    #[arg(long, value_name = "CACHE", value_parser = CacheFrom::read)]
    cache_from: Vec<CacheFrom>,
    /// Where to write a cache: `type=inline|registry|local,mode=min|max,ref=…|dest=…`
    #[arg(long, value_name = "CACHE", value_parser = CacheTo::read)]
    cache_to: Vec<CacheTo>,
}

/// What one `--annotation` asks for.
#[derive(Debug, Clone)]
struct Notes(Vec<Annotation>);

fn notes(text: &str) -> Result<Notes, String> {
    Annotation::read(text).map(Notes)
}

#[derive(Debug, Clone)]
enum Attestation {
    Provenance(Option<Provenance>),
    Sbom(Option<Sbom>),
}

fn provenance(text: &str) -> Result<Attestation, String> {
    Provenance::read(text).map(Attestation::Provenance)
}

fn sbom(text: &str) -> Result<Attestation, String> {
    Sbom::read(text).map(Attestation::Sbom)
}

fn attestation(text: &str) -> Result<Attestation, String> {
    match fields(text).iter().find(|(key, _)| key == "type").and_then(|(_, kind)| kind.as_deref()) {
        Some("provenance") => provenance(text),
        Some("sbom") => sbom(text),
        _ => Err("there are attestations of type=provenance and type=sbom".to_owned()),
    }
}

impl Going {
    /// Whether the result goes to standard output.
    pub fn is_piped(&self) -> bool {
        let is_there = |output: &Output| match output {
            Output::Tar { dest, .. } | Output::Layout { dest, .. } => dest.as_os_str() == STDOUT,
            Output::Nothing | Output::Store { .. } | Output::Directory { .. } | Output::Registry { .. } => false,
        };
        self.output.iter().flat_map(|output| &output.outputs).any(is_there)
    }

    /// What of a build these flags say.
    pub fn wanted(self) -> Wanted {
        let mut wanted = Wanted {
            rewrite_timestamps: self.output.iter().any(|output| output.rewrites_timestamps),
            outputs: self.output.into_iter().flat_map(|output| output.outputs).collect(),
            annotations: self.annotation.into_iter().flat_map(|notes| notes.0).collect(),
            cache_from: self.cache_from,
            cache_to: self.cache_to,
            ..Wanted::default()
        };
        let has = |outputs: &[Output], kind: fn(&Output) -> bool| outputs.iter().any(kind);
        if (self.load || self.push && wanted.outputs.is_empty()) && !has(&wanted.outputs, |output| matches!(output, Output::Store { .. })) {
            wanted.outputs.push(Output::Store { names: Vec::new() });
        }
        if self.push && !has(&wanted.outputs, |output| matches!(output, Output::Registry { .. })) {
            wanted.outputs.push(Output::Registry { image: ImageOptions::default() });
        }
        // The long form comes first, so that a short one has the last word.
        for attestation in self.attest.into_iter().chain(self.provenance).chain(self.sbom) {
            match attestation {
                Attestation::Provenance(provenance) => wanted.provenance = provenance,
                Attestation::Sbom(sbom) => wanted.sbom = sbom,
            }
        }
        wanted
    }
}

const STDOUT: &str = "/dev/stdout";

/// What one `--output` asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Destination {
    pub outputs: Vec<Output>,
    pub rewrites_timestamps: bool,
}

/// The attributes, as they stand there.
#[derive(Default)]
struct Attributes {
    kind: Option<String>,
    dest: Option<String>,
    split: Option<bool>,
    push: bool,
    is_stored: Option<bool>,
    is_directory: bool,
    compression: Option<String>,
    level: Option<String>,
    image: ImageOptions,
    rewrites_timestamps: bool,
}

/// Reads `dir`, `-` or `type=local,dest=dir`.
pub fn read(text: &str) -> Result<Destination, String> {
    let only = |output: Output| Destination { outputs: vec![output], rewrites_timestamps: false };
    if text == "-" {
        return Ok(only(Output::Tar { dest: PathBuf::from(STDOUT), split: None }));
    }
    if !text.contains('=') {
        return Ok(only(Output::Directory { dest: PathBuf::from(text), split: None }));
    }
    let mut attributes = Attributes::default();
    for (key, value) in fields(text) {
        let value = value.ok_or_else(|| format!("`{key}` is no pair NAME=VALUE"))?;
        attributes.set(&key, value)?;
    }
    let rewrites_timestamps = attributes.rewrites_timestamps;
    Ok(Destination { outputs: attributes.outputs()?, rewrites_timestamps })
}

impl Attributes {
    fn set(&mut self, key: &str, value: String) -> Result<(), String> {
        match key {
            "type" => self.kind = Some(value),
            "dest" | "destination" => self.dest = Some(value),
            "name" => self.image.names.extend(value.split(',').filter(|name| !name.is_empty()).map(str::to_owned)),
            "push" => self.push = flag(key, &value)?,
            "push-by-digest" => self.image.by_digest = flag(key, &value)?,
            "store" => self.is_stored = Some(flag(key, &value)?),
            "tar" => self.is_directory = !flag(key, &value)?,
            "platform-split" => self.split = Some(flag(key, &value)?),
            "rewrite-timestamp" => self.rewrites_timestamps = flag(key, &value)?,
            "compression" => self.compression = Some(value),
            "compression-level" => self.level = Some(value),
            // A compression is for all layers; in the store they are unpacked, and names are whole.
            "force-compression" | "unpack" | "name-canonical" => drop(flag(key, &value)?),
            "oci-mediatypes" if flag(key, &value)? => {}
            "oci-mediatypes" => return Err("images go out with OCI's media types only: leave out `oci-mediatypes=false`".to_owned()),
            "registry.insecure" if !flag(key, &value)? => {}
            "registry.insecure" => return Err("which registries speak without TLS says registries.conf".to_owned()),
            _ => return self.annotation(key, value),
        }
        Ok(())
    }

    /// `annotation.<key>`, `annotation-manifest[linux/amd64].<key>`
    fn annotation(&mut self, name: &str, value: String) -> Result<(), String> {
        let unknown = || format!("`{name}` is unknown here");
        let rest = name.strip_prefix("annotation").ok_or_else(unknown)?;
        let (kind, key) = rest.split_once('.').ok_or_else(unknown)?;
        let kind = kind.strip_prefix('-').unwrap_or(kind);
        let (kind, platform) = match kind.split_once('[') {
            Some((kind, platform)) => (kind, Some(platform.trim_end_matches(']').to_owned())),
            None => (kind, None),
        };
        let at = if kind.is_empty() { AnnotationAt::Manifest } else { AnnotationAt::read(kind).ok_or_else(unknown)? };
        self.image.annotations.push(Annotation { at, platform, key: key.to_owned(), value });
        Ok(())
    }

    fn packing(&self) -> Result<Option<Packing>, String> {
        let Some(name) = &self.compression else {
            return if self.level.is_none() { Ok(None) } else { Err("a level needs a compression, too".to_owned()) };
        };
        let text = self.level.as_ref().map_or_else(|| name.clone(), |level| format!("{name}:{level}"));
        Packing::parse(&text).map(Some)
    }

    fn outputs(mut self) -> Result<Vec<Output>, String> {
        self.image.packing = self.packing()?;
        let dest = self.dest.take().filter(|dest| !dest.is_empty());
        let file = dest.clone().filter(|dest| dest != "-");
        let layout = match self.kind.as_deref() {
            Some("local") => {
                let dest = dest.ok_or("dest is required for the type local")?.into();
                return Ok(vec![Output::Directory { dest, split: self.split }]);
            }
            Some("tar") => {
                return Ok(vec![Output::Tar { dest: file.unwrap_or_else(|| STDOUT.to_owned()).into(), split: self.split }]);
            }
            Some("cacheonly") => return Ok(vec![Output::Nothing]),
            Some("image" | "registry") => {
                let pushes = self.push || self.kind.as_deref() == Some("registry");
                return Ok(self.image_outputs(pushes));
            }
            Some("docker") if dest.is_none() => return Ok(self.image_outputs(false)),
            Some("docker") => Layout::Docker,
            Some("oci") => Layout::Oci,
            Some(other) => {
                return Err(format!("the type `{other}` is unknown: there are image, registry, docker, oci, local, tar, cacheonly"));
            }
            None => return Err("type is required for output".to_owned()),
        };
        let form = if self.is_directory { LayoutForm::Directory } else { LayoutForm::Archive };
        let dest = match file {
            Some(file) => file,
            None if form == LayoutForm::Archive && !std::io::stdout().is_terminal() => STDOUT.to_owned(),
            None => return Err("dest is required: a terminal is no place for an archive".to_owned()),
        };
        Ok(vec![Output::Layout { layout, dest: dest.into(), form, image: self.image }])
    }

    fn image_outputs(self, pushes: bool) -> Vec<Output> {
        // A name without a tag, which a digest will be put to, is none of the store's.
        let is_stored = self.is_stored.unwrap_or(!self.image.by_digest);
        let store = is_stored.then(|| Output::Store { names: self.image.names.clone() });
        let push = pushes.then_some(Output::Registry { image: self.image });
        let outputs: Vec<Output> = store.into_iter().chain(push).collect();
        if outputs.is_empty() { vec![Output::Nothing] } else { outputs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Compression;

    fn one(text: &str) -> Output {
        let mut outputs = read(text).unwrap().outputs;
        assert_eq!(outputs.len(), 1, "{text}");
        outputs.remove(0)
    }

    #[test]
    fn an_output_has_a_type_or_is_a_directory() {
        assert_eq!(one("out"), Output::Directory { dest: "out".into(), split: None });
        assert_eq!(one("-"), Output::Tar { dest: STDOUT.into(), split: None });
        assert_eq!(one("type=local,dest=o,platform-split=false"), Output::Directory { dest: "o".into(), split: Some(false) });
        assert_eq!(one("type=image"), Output::Store { names: Vec::new() });
        assert_eq!(one("type=docker,name=a"), Output::Store { names: vec!["a".to_owned()] });
        assert_eq!(one("type=cacheonly"), Output::Nothing);
        for wrong in ["type=local", "dest=x", "type=what,dest=x", "type=local,dest=x,colour=red", "type=image,push=perhaps"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_image_is_stored_pushed_or_both() {
        let both = read("type=image,\"name=a,b\",push=true").unwrap().outputs;
        let image = ImageOptions { names: vec!["a".to_owned(), "b".to_owned()], ..ImageOptions::default() };
        assert_eq!(both, [Output::Store { names: image.names.clone() }, Output::Registry { image }]);
        assert_eq!(read("type=registry").unwrap().outputs.len(), 2);
        assert!(matches!(one("type=image,push=true,push-by-digest=true,name=a"), Output::Registry { image } if image.by_digest));
        assert!(read("type=image,rewrite-timestamp=true").unwrap().rewrites_timestamps);
    }

    #[test]
    fn a_layout_may_be_packed_and_noted_on() {
        let text = "type=oci,dest=d,tar=false,compression=zstd,compression-level=9,annotation.a=1,annotation-index.b=2";
        let Output::Layout { layout: Layout::Oci, form: LayoutForm::Directory, image, .. } = one(text) else { panic!() };
        assert_eq!(image.packing, Some(Packing { compression: Compression::Zstd, level: Some(9) }));
        assert_eq!((image.annotations[0].at, image.annotations[1].at), (AnnotationAt::Manifest, AnnotationAt::Index));
        assert!(read("type=oci,dest=d,compression=estargz").is_err());
        assert!(read("type=oci,dest=d,oci-mediatypes=false").is_err());
    }
}
