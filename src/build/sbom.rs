//! What a result is made of, as a scanner finds it: an image that is run on it by BuildKit's protocol.
//!
//! The scan is a build of its own: its one RUN sees the result, and what it writes is its result. So it is cached, too.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

use crate::build::chain::Chain;
use crate::build::draft::Draft;
use crate::build::outputs::Output;
use crate::build::outputs::Sbom;
use crate::build::provenance::Said;
use crate::build::wanted::Context;
use crate::build::wanted::DockerfileAt;
use crate::build::wanted::Wanted;
use crate::build::whole;
use crate::build::whole::Scene;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::image::ImageConfig;
use crate::image::Policy;
use crate::image::Statement;

/// What the scanned layers are called in the scan's Dockerfile.
const SCANNED: &str = "core";

/// What is scanned beside the result.
#[derive(Debug, Clone)]
pub(super) struct Extra {
    /// A stage's name, or `context`.
    pub name: String,
    pub files: Scanned,
}

#[derive(Debug, Clone)]
pub(super) enum Scanned {
    Layers(Chain),
    Directory(PathBuf),
}

/// Whether an argument means a stage: it is true, or names the stage.
pub(super) fn is_enabled(stage: &str, value: &str) -> bool {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => true,
        "0" | "f" | "F" | "FALSE" | "false" | "False" => false,
        names => names.split(',').any(|name| name == stage),
    }
}

/// Lets the scanner look at the layers; what it says, by the files it says it in.
///
/// # Errors
/// A scanner that cannot be had or that fails; what it wrote is no statement.
pub(super) fn scan(scene: &Scene<'_>, sbom: &Sbom, (chain, extras): (&Chain, &[Extra])) -> Result<Vec<Said>> {
    let cannot = || format!("cannot list what the image is made of with `{}`", sbom.generator);
    let policy = if scene.wanted.pull { Policy::Always } else { Policy::Missing };
    let scanner = image::pull(scene.home, &sbom.generator, None, policy, scene.watch).map_err(|failure| failure.within(cannot()))?;
    let text = dockerfile(sbom, &scanner.config, extras).ok_or_else(|| Failure::new(cannot()).because("the scanner does not have cmd"))?;
    let draft = Draft::begin(scene.home)?;
    let found = draft.files().join("found");
    let mut held = BTreeMap::from([(SCANNED.to_owned(), chain.clone())]);
    let mut contexts = BTreeMap::from([(SCANNED.to_owned(), format!("{}{SCANNED}", whole::HELD))]);
    for (number, extra) in extras.iter().enumerate() {
        let name = extra_name(number);
        let place = match &extra.files {
            Scanned::Directory(directory) => directory.display().to_string(),
            Scanned::Layers(chain) => {
                held.insert(name.clone(), chain.clone());
                format!("{}{name}", whole::HELD)
            }
        };
        contexts.insert(name, place);
    }
    let wanted = Wanted {
        context: Context::Nothing,
        dockerfile: DockerfileAt::Text(text),
        own_images: [sbom.generator.clone()].into(),
        contexts,
        network: scene.wanted.network.clone(),
        extra_hosts: scene.wanted.extra_hosts.clone(),
        no_cache: scene.wanted.no_cache,
        outputs: vec![Output::Directory { dest: found.clone(), split: None }],
        ..Wanted::default()
    };
    whole::build_upon(scene.home, &wanted, scene.watch, (held, scene.numbered)).map_err(|failure| failure.within(cannot()))?;
    read(&found).map_err(|failure| failure.within(cannot()))
}

/// The scan as a Dockerfile; None if the scanner has no command.
fn dockerfile(sbom: &Sbom, config: &ImageConfig, extras: &[Extra]) -> Option<String> {
    let words = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
    let command = [words(&config.config.entrypoint), words(&config.config.cmd)].concat();
    if command.is_empty() {
        return None;
    }
    let directory = Some(config.config.working_dir.as_str()).filter(|directory| !directory.is_empty()).unwrap_or("/");
    let mut text = format!("FROM {} AS scanner\nUSER 0\nWORKDIR /run/out\nWORKDIR {}\n", sbom.generator, quoted(directory));
    let fixed = [("DESTINATION", "/run/out/"), ("SOURCE", "/run/src/core/sbom")];
    if !extras.is_empty() {
        text += "ENV BUILDKIT_SCAN_SOURCE_EXTRAS=/run/src/extras\n";
    }
    let given = sbom.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in fixed.into_iter().chain(given) {
        let _ = writeln!(text, "ENV BUILDKIT_SCAN_{name}={}", quoted(value));
    }
    let command = serde_json::to_string(&command).ok()?;
    let mut mounts = format!("--mount=type=bind,from={SCANNED},target=/run/src/core/sbom --mount=type=tmpfs,target=/tmp");
    for (number, extra) in extras.iter().enumerate() {
        let _ = write!(mounts, " --mount=type=bind,from={},target=/run/src/extras/sbom-{}", extra_name(number), extra.name);
    }
    let _ = write!(text, "RUN {mounts} {command}\nFROM scratch\nCOPY --from=scanner /run/out/ /\n");
    Some(text)
}

/// What an extra is called in the scan's Dockerfile.
fn extra_name(number: usize) -> String {
    format!("extra-{number}")
}

/// As one word of a Dockerfile, in which nothing is replaced.
fn quoted(text: &str) -> String {
    let mut word = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '$') {
            word.push('\\');
        }
        word.push(c);
    }
    word.push('"');
    word
}

fn read(directory: &Path) -> Result<Vec<Said>> {
    let cannot = || format!("cannot read {}", directory.display());
    let mut names: Vec<_> = fs::read_dir(directory).doing(cannot)?.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    let mut said = Vec::new();
    for name in names {
        let shown = name.to_string_lossy().into_owned();
        if !shown.ends_with(".json") {
            continue;
        }
        let bytes = fs::read(directory.join(&name)).doing(cannot)?;
        let mut statement: Value = serde_json::from_slice(&bytes).doing(|| format!("cannot understand `{shown}` of the scanner"))?;
        let kind = statement["predicateType"].as_str().map(str::to_owned);
        let kind =
            kind.ok_or_else(|| Failure::new(format!("cannot understand `{shown}` of the scanner")).because("it has no predicateType"))?;
        said.push(Said { file: shown, statement: Statement { kind, predicate: statement["predicate"].take() } });
    }
    if said.is_empty() {
        return Err(Failure::new("the scanner has written nothing to /run/out"));
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_is_a_dockerfile() {
        let mut config = ImageConfig::default();
        let sbom = Sbom { generator: "scanner:1".to_owned(), parameters: [("X".to_owned(), "a $b".to_owned())].into() };
        assert_eq!(dockerfile(&sbom, &config, &[]), None);
        config.config.entrypoint = Some(vec!["/scan".to_owned()]);
        let text = dockerfile(&sbom, &config, &[]).unwrap();
        assert!(text.contains("ENV BUILDKIT_SCAN_X=\"a \\$b\"\n"), "{text}");
        assert!(text.contains(" [\"/scan\"]\n"), "{text}");
    }

    #[test]
    fn stages_are_meant_by_name_or_all() {
        assert!(is_enabled("web", "true") && is_enabled("web", "db,web"));
        assert!(!is_enabled("web", "false") && !is_enabled("web", "db"));
        let extra = Extra { name: "web".to_owned(), files: Scanned::Directory("/x".into()) };
        let mut config = ImageConfig::default();
        config.config.entrypoint = Some(vec!["/scan".to_owned()]);
        let text = dockerfile(&Sbom { generator: "s".to_owned(), parameters: BTreeMap::new() }, &config, &[extra]).unwrap();
        assert!(text.contains("from=extra-0,target=/run/src/extras/sbom-web [\"/scan\"]"), "{text}");
    }
}
