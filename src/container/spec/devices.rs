//! Devices of the host that a container may use.

use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use oci_spec::runtime::LinuxDevice;
use oci_spec::runtime::LinuxDeviceCgroup;
use oci_spec::runtime::LinuxDeviceCgroupBuilder;
use oci_spec::runtime::LinuxDeviceType;
use oci_spec::runtime::Spec;

use crate::container::Wanted;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;

/// Adds the wanted devices and rules to those that the trust has set.
///
/// # Errors
/// A device that is not there; a rule that is none.
pub(super) fn add(spec: &mut Spec, wanted: &Wanted) -> Result<()> {
    let mut devices = Vec::new();
    let mut rules = Vec::new();
    for (host, inside, access) in &wanted.devices {
        for device in at(Path::new(host), Path::new(if inside.is_empty() { host } else { inside }))? {
            let mut rule = LinuxDeviceCgroup::from(&device);
            rule.set_access(Some(if access.is_empty() { "rwm".to_owned() } else { access.clone() }));
            devices.push(device);
            rules.push(rule);
        }
    }
    for text in &wanted.device_rules {
        rules.push(rule(text).map_err(|reason| Failure::new(format!("cannot set the device rule `{text}`")).because(reason).exit(125))?);
    }
    append(spec, devices, rules);
    Ok(())
}

/// Adds devices and rules behind those that are there.
pub(in crate::container) fn append(spec: &mut Spec, devices: Vec<LinuxDevice>, rules: Vec<LinuxDeviceCgroup>) {
    let Some(linux) = spec.linux_mut().as_mut() else { return };
    let mut all = linux.devices().clone().unwrap_or_default();
    all.extend(devices);
    linux.set_devices(Some(all).filter(|all| !all.is_empty()));
    let mut resources = linux.resources().clone().unwrap_or_default();
    let mut all_rules = resources.devices().clone().unwrap_or_default();
    all_rules.extend(rules);
    resources.set_devices(Some(all_rules));
    linux.set_resources(Some(resources));
}

/// The device at a path of the host, or all devices of a directory there, by where they are to be inside.
fn at(host: &Path, inside: &Path) -> Result<Vec<LinuxDevice>> {
    let what = || format!("cannot give device `{}` to the container", host.display());
    let found = std::fs::metadata(host).doing(what).map_err(|failure| failure.exit(125))?;
    if !found.is_dir() {
        return device(host, inside).map(|device| vec![device]);
    }
    let mut devices = Vec::new();
    for entry in std::fs::read_dir(host).doing(what).map_err(|failure| failure.exit(125))?.flatten() {
        let (path, place) = (entry.path(), inside.join(entry.file_name()));
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            devices.extend(at(&path, &place)?);
        } else if kind.is_char_device() || kind.is_block_device() {
            devices.push(device(&path, &place)?);
        }
    }
    Ok(devices)
}

/// The node at a path of the host.
///
/// # Errors
/// It is not there, or no device.
pub(in crate::container) fn device(host: &Path, inside: &Path) -> Result<LinuxDevice> {
    let what = || format!("cannot give device `{}` to the container", host.display());
    let found = std::fs::metadata(host).doing(what).map_err(|failure| failure.exit(125))?;
    let kind = match found.file_type() {
        kind if kind.is_char_device() => LinuxDeviceType::C,
        kind if kind.is_block_device() => LinuxDeviceType::B,
        _ => return Err(Failure::new(what()).because("it is not a device").exit(125)),
    };
    let mut device = LinuxDevice::default();
    device
        .set_path(inside.into())
        .set_typ(kind)
        .set_major(i64::from(rustix::fs::major(found.rdev())))
        .set_minor(i64::from(rustix::fs::minor(found.rdev())))
        .set_file_mode(Some(found.mode() & 0o7777))
        .set_uid(Some(found.uid()))
        .set_gid(Some(found.gid()));
    Ok(device)
}

/// Reads a rule in the notation of the devices controller: `c 1:3 mr`, `a *:* rwm`.
///
/// # Errors
/// Not of that form.
pub(super) fn rule(text: &str) -> Result<LinuxDeviceCgroup, String> {
    let form = || "a rule is `a|b|c MAJOR:MINOR rwm`, each number may be `*`".to_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    let [kind, numbers, access] = words[..] else { return Err(form()) };
    let kind = match kind {
        "a" => LinuxDeviceType::A,
        "b" => LinuxDeviceType::B,
        "c" => LinuxDeviceType::C,
        _ => return Err(form()),
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(form)?;
    if access.is_empty() || !access.chars().all(|letter| "rwm".contains(letter)) {
        return Err(form());
    }
    let number = |text: &str| match text {
        "*" => Ok(None),
        _ => text.parse::<i64>().ok().filter(|number| *number >= 0).map(Some).ok_or_else(form),
    };
    let mut rule = LinuxDeviceCgroupBuilder::default().allow(true).typ(kind).access(access).build().map_err(|error| error.to_string())?;
    rule.set_major(number(major)?).set_minor(number(minor)?);
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_docker_reads_them() {
        let read = rule("c 1:3 mr").unwrap();
        assert_eq!((read.typ(), read.major(), read.minor()), (Some(LinuxDeviceType::C), Some(1), Some(3)));
        assert_eq!(read.access().as_deref(), Some("mr"));
        assert_eq!(rule("a 7:* rmw").unwrap().minor(), None);
        for text in ["", "c", "c 1:3", "d 1:3 r", "c 1 r", "c 1:3 x", "c x:3 r", "c 1:3 r r", "c -1:3 r"] {
            assert!(rule(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_directory_stands_for_all_its_devices() {
        let found = at(Path::new("/dev"), Path::new("/host")).unwrap();
        assert!(found.iter().any(|device| device.path() == Path::new("/host/null")));
        assert!(at(Path::new("/etc/hostname"), Path::new("/x")).is_err());
    }
}
