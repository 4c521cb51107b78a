//! How far a container is trusted: capabilities, system calls, devices, paths.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::str::FromStr;

use caps::CapSet;
use caps::CapsHashSet;
use oci_spec::runtime::Capabilities;
use oci_spec::runtime::Capability;
use oci_spec::runtime::LinuxCapabilities;
use oci_spec::runtime::LinuxDevice;
use oci_spec::runtime::LinuxDeviceBuilder;
use oci_spec::runtime::LinuxDeviceType;
use oci_spec::runtime::LinuxSeccomp;
use oci_spec::runtime::Spec;
use serde::Deserialize;
use serde::Serialize;

use super::seccomp;
use super::spec;
use crate::failure::Failure;
use crate::failure::Result;

/// What Docker gives every container.
const DEFAULT: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// Docker's list, with what newer kernels show added.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Parts of the host's /dev that a container has of its own.
const OWN_IN_DEV: &[&str] = &["/dev/pts", "/dev/shm", "/dev/fd", "/dev/mqueue", "/dev/console", "/dev/ptmx"];

/// How far a container is trusted, as `cap_add`, `cap_drop`, `privileged` and `security_opt` say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    pub privileged: bool,
    /// Names with or without `CAP_`, any case, or `ALL`.
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub no_new_privileges: bool,
    pub seccomp: SeccompChoice,
    /// The kernel's own paths in /proc and /sys are neither hidden nor read-only.
    #[serde(default)]
    pub open_paths: bool,
}

/// Which system calls are refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeccompChoice {
    /// Docker's profile for the capabilities the container has.
    #[default]
    Default,
    Unconfined,
    /// A profile file's text, in Docker's format.
    Profile(String),
}

/// Writes capabilities, seccomp, devices, masked paths and no_new_privs of `trust` into the spec.
///
/// A privileged container gets the host's devices, and /sys and its cgroup writable.
///
/// # Errors
/// An unknown capability, or one asked for by name that this machine does not have to give; a profile that cannot be understood.
pub fn apply_trust(spec: &mut Spec, trust: &Trust) -> Result<()> {
    let names = capabilities(trust, &available())?;
    let capabilities = oci_capabilities(&names)?;
    let filter = filter(trust, &names)?;
    if let Some(process) = spec.process_mut() {
        process.set_capabilities(Some(capabilities)).set_no_new_privileges(Some(trust.no_new_privileges));
    }
    if trust.privileged {
        open_mounts(spec);
    }
    let Some(linux) = spec.linux_mut() else { return Ok(()) };
    linux.set_seccomp(filter);
    let paths = |paths: &[&str]| {
        if trust.privileged || trust.open_paths { None } else { Some(paths.iter().map(|path| (*path).to_owned()).collect()) }
    };
    linux.set_masked_paths(paths(MASKED)).set_readonly_paths(paths(READ_ONLY));
    if trust.privileged {
        linux.set_devices(Some(host_devices(Path::new("/dev"))));
        let mut resources = linux.resources().clone().unwrap_or_default();
        resources.set_devices(Some(spec::every_device()));
        linux.set_resources(Some(resources));
    }
    Ok(())
}

fn filter(trust: &Trust, capabilities: &BTreeSet<String>) -> Result<Option<LinuxSeccomp>> {
    if trust.privileged && trust.seccomp == SeccompChoice::Default {
        return Ok(None);
    }
    let names: Vec<String> = capabilities.iter().map(|name| format!("CAP_{name}")).collect();
    seccomp::oci(&trust.seccomp, &names).map_err(|failure| failure.exit(125))
}

/// What we have to give: our own bounding set.
fn available() -> CapsHashSet {
    caps::read(None, CapSet::Bounding).unwrap_or_else(|_| caps::all())
}

/// The container's capabilities, without `CAP_`. As Docker: drops first, but a capability that is added by name stays.
fn capabilities(trust: &Trust, available: &CapsHashSet) -> Result<BTreeSet<String>> {
    let everything: BTreeSet<String> = available.iter().map(|capability| capability.to_string()[4..].to_owned()).collect();
    if trust.privileged {
        return Ok(everything);
    }
    let added = known(&trust.cap_add)?;
    let dropped = known(&trust.cap_drop)?;
    let missing = added.iter().find(|name| *name != "ALL" && !everything.contains(*name));
    if let Some(name) = missing {
        return Err(Failure::new(format!("cannot give the capability `{name}`"))
            .because("this machine does not have it to give")
            .hint("take it out of `cap_add`")
            .exit(125));
    }
    let all = |names: &BTreeSet<String>| names.contains("ALL");
    let mut kept: BTreeSet<String> = match (all(&added), all(&dropped)) {
        (true, _) => everything.clone(),
        (false, true) => BTreeSet::new(),
        (false, false) => DEFAULT.iter().map(|name| (*name).to_owned()).filter(|name| everything.contains(name)).collect(),
    };
    kept.retain(|name| !dropped.contains(name));
    kept.extend(added.into_iter().filter(|name| name != "ALL" && !dropped.contains(name)));
    Ok(kept)
}

/// Names in one form; `ALL` stays.
fn known(names: &[String]) -> Result<BTreeSet<String>> {
    let one = |name: &String| {
        let upper = name.to_uppercase();
        let plain = upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned();
        let exists = plain == "ALL" || caps::Capability::from_str(&format!("CAP_{plain}")).is_ok();
        let unknown = || Failure::new(format!("unknown capability `{name}`")).hint("see capabilities(7) for the names").exit(125);
        if exists { Ok(plain) } else { Err(unknown()) }
    };
    names.iter().map(one).collect()
}

/// A user other than root loses them at execve(2) by itself, as the ambient set is empty.
fn oci_capabilities(names: &BTreeSet<String>) -> Result<LinuxCapabilities> {
    let parse = |name: &String| {
        Capability::from_str(name).map_err(|_| Failure::new(format!("cannot write the capability `{name}` into a spec")).exit(125))
    };
    let set: Capabilities = names.iter().map(parse).collect::<Result<_>>()?;
    let mut capabilities = LinuxCapabilities::default();
    capabilities.set_bounding(Some(set.clone())).set_effective(Some(set.clone())).set_permitted(Some(set));
    capabilities.set_inheritable(None).set_ambient(None);
    Ok(capabilities)
}

/// /sys and the cgroup are writable for a privileged container.
fn open_mounts(spec: &mut Spec) {
    for mount in spec.mounts_mut().iter_mut().flatten() {
        let kernel = matches!(mount.typ().as_deref(), Some("sysfs" | "cgroup"));
        if let Some(options) = mount.options_mut().as_mut().filter(|_| kernel) {
            options.retain(|option| option != "ro");
        }
    }
}

/// Every device node of the host, except what a container has of its own.
fn host_devices(directory: &Path) -> Vec<LinuxDevice> {
    let mut devices = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if OWN_IN_DEV.iter().any(|own| path == Path::new(own)) {
            continue;
        }
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        if found.is_dir() {
            devices.extend(host_devices(&path));
        } else if found.file_type().is_char_device() || found.file_type().is_block_device() {
            devices.push(device(&path, &found));
        }
    }
    devices
}

fn device(path: &Path, found: &fs::Metadata) -> LinuxDevice {
    let kind = if found.file_type().is_block_device() { LinuxDeviceType::B } else { LinuxDeviceType::C };
    let (major, minor) = (rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev()));
    let builder = LinuxDeviceBuilder::default().path(path).typ(kind).major(i64::from(major)).minor(i64::from(minor));
    let builder = builder.file_mode(found.mode() & 0o7777).uid(found.uid()).gid(found.gid());
    builder.build().expect("every field has a default")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(add: &[&str], drop: &[&str]) -> Result<BTreeSet<String>> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        capabilities(&Trust { cap_add: owned(add), cap_drop: owned(drop), ..Trust::default() }, &caps::all())
    }

    #[test]
    fn capabilities_add_up_as_in_docker() {
        assert_eq!(sets(&[], &[]).unwrap().len(), 14);
        assert_eq!(sets(&["net_admin"], &["ALL"]).unwrap().into_iter().collect::<Vec<_>>(), ["NET_ADMIN"]);
        assert!(sets(&["CAP_SYS_TIME"], &[]).unwrap().contains("SYS_TIME"));
        assert!(!sets(&[], &["cap_chown"]).unwrap().contains("CHOWN"));
        assert!(!sets(&["ALL"], &["SYS_ADMIN"]).unwrap().contains("SYS_ADMIN"));
        assert!(sets(&["ALL"], &["SYS_ADMIN"]).unwrap().contains("SYS_TIME"));
    }

    #[test]
    fn a_capability_that_is_none_is_refused() {
        assert_eq!(sets(&["NET_ADMN"], &[]).unwrap_err().what(), "unknown capability `NET_ADMN`");
        let few: CapsHashSet = [caps::Capability::CAP_CHOWN].into();
        let trust = Trust { cap_add: vec!["SYS_RESOURCE".into()], ..Trust::default() };
        assert_eq!(capabilities(&trust, &few).unwrap_err().status(), 125);
        assert_eq!(capabilities(&Trust::default(), &few).unwrap().len(), 1);
    }

    #[test]
    fn a_privileged_container_has_no_fences() {
        let mut spec = spec::default_spec();
        apply_trust(&mut spec, &Trust { privileged: true, ..Trust::default() }).unwrap();
        let linux = spec.linux().as_ref().unwrap();
        assert!(linux.seccomp().is_none() && linux.masked_paths().is_none() && linux.readonly_paths().is_none());
        assert!(linux.devices().as_ref().unwrap().iter().any(|device| device.path() == Path::new("/dev/null")));
        let sysfs = spec.mounts().iter().flatten().find(|mount| mount.typ().as_deref() == Some("sysfs")).unwrap();
        assert!(!sysfs.options().as_ref().unwrap().contains(&"ro".to_owned()));
    }
}
