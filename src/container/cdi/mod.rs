//! Devices by name: the Container Device Interface. A vendor's specs, in `/etc/cdi` and `/var/run/cdi`, say what a
//! container needs to use a device: nodes, mounts, variables, hooks (github.com/cncf-tags/container-device-interface, SPEC.md).

mod edits;
mod yaml;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use oci_spec::runtime::Spec;
use serde::Deserialize;

use crate::failure::Failure;
use crate::failure::Result;

use edits::Edits;

/// Where specs lie; of two devices of one name the later directory's counts.
const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// One file.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CdiSpec {
    /// `vendor.com/class`
    kind: String,
    #[serde(default)]
    devices: Vec<Device>,
    /// For every device of the file.
    #[serde(default)]
    container_edits: Edits,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    name: String,
    #[serde(default)]
    container_edits: Edits,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// A device that a RUN means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeantDevice {
    /// `vendor.com/class=name`.
    pub name: String,
    /// Its spec says that every build may have it.
    pub is_free: bool,
}

/// What a spec may say of its devices to a builder; the names are BuildKit's.
const CLASS: &str = "org.mobyproject.buildkit.device.class";
const FREE: &str = "org.mobyproject.buildkit.device.autoallow";

/// Whether a word names a device of a vendor (`vendor.com/class=name`) and not a path.
pub fn is_cdi_device(text: &str) -> bool {
    parts(text).is_some()
}

/// Refuses devices that no spec on this machine has.
///
/// # Errors
/// Which one, and what there is.
pub fn check_cdi_devices(names: &[String]) -> Result<()> {
    match names.is_empty() {
        true => Ok(()),
        false => found(names, &directories()).map(drop),
    }
}

/// The devices that a RUN means, in full: one by its name, the first of a kind without a name, all with `*`; if there are none,
/// those whose specs give them this word for a class.
pub fn meant_cdi_devices(text: &str) -> Vec<MeantDevice> {
    meant(text, &directories())
}

fn meant(text: &str, directories: &[PathBuf]) -> Vec<MeantDevice> {
    let mut all: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for spec in load(directories).into_iter().filter_map(|(_, spec)| spec.ok()) {
        for device in spec.devices {
            let mut annotations = spec.annotations.clone();
            annotations.extend(device.annotations);
            all.insert(format!("{}={}", spec.kind, device.name), annotations);
        }
    }
    let (kind, name) = text.split_once('=').unwrap_or((text, ""));
    let is_named = |known: &str| {
        known
            .split_once('=')
            .is_some_and(|(of, known)| of == kind && kind.contains('/') && matches!(name, "" | "*") || of == kind && known == name)
    };
    let mut names: Vec<&String> = all.keys().filter(|known| is_named(known)).take(if name.is_empty() { 1 } else { usize::MAX }).collect();
    if names.is_empty() {
        names = all.iter().filter(|(_, notes)| notes.get(CLASS).is_some_and(|class| class == text)).map(|(name, _)| name).collect();
    }
    let is_free = |name: &String| matches!(all[name].get(FREE).map(String::as_str), Some("1" | "t" | "T" | "true" | "TRUE" | "True"));
    names.into_iter().map(|name| MeantDevice { is_free: is_free(name), name: name.clone() }).collect()
}

/// Gives the devices to a container; its hooks find its configuration in the directory `bundle`.
///
/// # Errors
/// A device that is not there, or whose spec asks for what is not carried out.
pub fn give_cdi_devices(spec: &mut Spec, names: &[String], bundle: &Path) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    for edits in found(names, &directories())? {
        edits.apply(spec, bundle)?;
    }
    Ok(())
}

fn directories() -> Vec<PathBuf> {
    DIRECTORIES.iter().map(PathBuf::from).collect()
}

/// `vendor.com/class`, and the device's name.
fn parts(text: &str) -> Option<(&str, &str)> {
    let (kind, name) = text.split_once('=')?;
    let (vendor, class) = kind.split_once('/')?;
    let is_word = |word: &str, more: &str| {
        word.bytes().next().is_some_and(|first| first.is_ascii_alphabetic())
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.as_bytes().contains(&byte))
    };
    let is_name = name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte));
    (is_word(vendor, "_-.") && is_word(class, "_-") && is_name).then_some((kind, name))
}

/// What the devices ask for: once what their specs want for all of theirs, then their own.
fn found(names: &[String], directories: &[PathBuf]) -> Result<Vec<Edits>> {
    let specs = load(directories);
    let mut edits = Vec::new();
    let mut taken: Vec<usize> = Vec::new();
    for name in names {
        let refusal = || Failure::new(format!("cannot give the device `{name}`")).exit(125);
        let (kind, device_name) = parts(name).ok_or_else(|| refusal().because("a device by name is VENDOR/CLASS=NAME"))?;
        let holder = specs.iter().enumerate().rev().find_map(|(at, (_, spec))| {
            let spec = spec.as_ref().ok().filter(|spec| spec.kind == kind)?;
            Some((at, spec, spec.devices.iter().find(|device| device.name == device_name)?))
        });
        let Some((at, spec, device)) = holder else { return Err(missing(refusal(), kind, &specs)) };
        if !taken.contains(&at) {
            taken.push(at);
            edits.push(spec.container_edits.clone());
        }
        edits.push(device.container_edits.clone());
    }
    Ok(edits)
}

/// Says what there is instead.
fn missing(refusal: Failure, kind: &str, specs: &[(PathBuf, std::result::Result<CdiSpec, String>)]) -> Failure {
    let of_kind = specs.iter().filter_map(|(_, spec)| spec.as_ref().ok()).filter(|spec| spec.kind == kind);
    let names: Vec<&str> = of_kind.flat_map(|spec| &spec.devices).map(|device| device.name.as_str()).collect();
    let mut failure = match names.is_empty() {
        true => refusal.because(format!("no spec of `{kind}` is in {} or {}", DIRECTORIES[0], DIRECTORIES[1])),
        false => refusal.because(format!("`{kind}` has only {}", names.join(", "))),
    };
    for (path, spec) in specs {
        if let Err(reason) = spec {
            failure = failure.because(format!("{} cannot be read: {reason}", path.display()));
        }
    }
    match kind {
        "nvidia.com/gpu" if names.is_empty() => failure.hint("write one with `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`"),
        _ => failure,
    }
}

/// All specs in the order of their weight; one that cannot be read costs only its own devices.
fn load(directories: &[PathBuf]) -> Vec<(PathBuf, std::result::Result<CdiSpec, String>)> {
    let mut specs = Vec::new();
    for directory in directories {
        let Ok(entries) = fs::read_dir(directory) else { continue };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let read = match path.extension().and_then(|extension| extension.to_str()) {
                Some("json") => text_of(&path).and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string())),
                Some("yaml" | "yml") => text_of(&path)
                    .and_then(|text| yaml::parse(&text))
                    .and_then(|value| serde_json::from_value(value).map_err(|error| error.to_string())),
                _ => continue,
            };
            specs.push((path, read));
        }
    }
    specs
}

fn text_of(path: &Path) -> std::result::Result<String, String> {
    fs::read_to_string(path).map_err(|error: io::Error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"cdiVersion": "0.6.0", "kind": "example.com/part", "containerEdits": {"env": ["ALL=1"]},
        "devices": [{"name": "one", "containerEdits": {"env": ["ONE=1"]}}, {"name": "all", "containerEdits": {}}]}"#;

    #[test]
    fn devices_by_name_are_told_from_paths() {
        for text in ["nvidia.com/gpu=0", "nvidia.com/gpu=all", "vendor.com/device=GPU-1:2"] {
            assert!(is_cdi_device(text), "{text}");
        }
        for text in ["/dev/fuse", "gpu=0", "vendor.com/device", "vendor.com/=x", "/dev/a=b", "vendor.com/device="] {
            assert!(!is_cdi_device(text), "{text}");
        }
    }

    #[test]
    fn a_devices_edits_come_after_those_of_its_spec_which_come_once() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("part.json"), JSON).unwrap();
        fs::write(root.path().join("broken.json"), "{").unwrap();
        let directories = [root.path().to_owned()];
        let names = ["example.com/part=one".to_owned(), "example.com/part=all".to_owned()];
        let variables: Vec<Vec<String>> = found(&names, &directories).unwrap().into_iter().map(|edits| edits.env).collect();
        assert_eq!(variables, [vec!["ALL=1".to_owned()], vec!["ONE=1".to_owned()], vec![]]);
        let failure = found(&["example.com/part=two".to_owned()], &directories).unwrap_err().to_string();
        assert!(failure.contains("has only one, all") && failure.contains("broken.json cannot be read"), "{failure}");
        let failure = found(&["nvidia.com/gpu=all".to_owned()], &directories).unwrap_err().to_string();
        assert!(failure.contains("nvidia-ctk cdi generate"), "{failure}");
    }

    #[test]
    fn a_run_means_devices_by_name_kind_or_class() {
        let root = tempfile::tempdir().unwrap();
        let spec = |kind: &str, rest: &str| format!("{{\"cdiVersion\": \"0.6.0\", \"kind\": \"{kind}\", {rest}}}");
        let device = |name: &str, notes: &str| format!("{{\"name\": \"{name}\", \"annotations\": {{{notes}}}}}");
        let class = format!("\"{CLASS}\": \"parts\"");
        let one = format!("\"devices\": [{}, {}]", device("b", &class), device("a", &format!("\"{FREE}\": \"true\"")));
        let two =
            format!("\"annotations\": {{{class}, \"{FREE}\": \"1\"}}, \"devices\": [{}]", device("x", &format!("\"{FREE}\": \"false\"")));
        fs::write(root.path().join("one.json"), spec("v.com/one", &one)).unwrap();
        fs::write(root.path().join("two.json"), spec("v.com/two", &two)).unwrap();
        let names = |text: &str| {
            let found = meant(text, &[root.path().to_owned()]);
            found.into_iter().map(|device| format!("{}{}", device.name, if device.is_free { "!" } else { "" })).collect::<Vec<_>>()
        };
        assert_eq!(names("v.com/one"), ["v.com/one=a!"]);
        assert_eq!(names("v.com/one=*"), ["v.com/one=a!", "v.com/one=b"]);
        assert_eq!(names("v.com/one=b"), ["v.com/one=b"]);
        assert_eq!(names("parts"), ["v.com/one=b", "v.com/two=x"]);
        assert!(names("v.com/one=c").is_empty() && names("other").is_empty());
    }
}
