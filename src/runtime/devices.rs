//! /dev: the nodes every program counts on, those the user asked for, and the usual links.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use oci_spec::runtime::LinuxDevice;
use oci_spec::runtime::LinuxDeviceType;
use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::fs::FileType;
use rustix::fs::Gid;
use rustix::fs::Mode;
use rustix::fs::Uid;
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::mounts::Links;
use super::mounts::attach;
use super::path::Kind;
use super::path::open_or_make;
use super::talk::During;
use super::talk::Step;

/// Nodes that are always there (OCI runtime specification, "Default Devices"): name, major, minor; character devices, mode 0666.
const NODES: &[(&str, u32, u32)] = &[("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Links that are always there.
const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// Makes nodes and links. With the host's own /dev mounted there they exist, and stay as they are.
pub(super) fn create(root: &OwnedFd, devices: &[LinuxDevice]) -> Step {
    let directory = open_or_make(root, Path::new("/dev"), Kind::Directory).during(|| "open /dev")?;
    for (name, major, minor) in NODES {
        node(&directory, name, *major, *minor).during(|| format!("make /dev/{name}"))?;
    }
    // A kernel may have no such file; with a masked one the link is as in Docker.
    let kernel_core = Path::new("/proc/kcore").exists();
    for (name, target) in LINKS.iter().filter(|(name, _)| *name != "core" || kernel_core) {
        match rustix::fs::symlinkat(*target, &directory, *name) {
            Ok(()) | Err(Errno::EXIST | Errno::ROFS) => {}
            Err(error) => return Err(error).during(|| format!("make the link /dev/{name}")),
        }
    }
    devices.iter().try_for_each(|device| asked_for(root, device).during(|| format!("make the device {}", device.path().display())))
}

fn node(directory: &OwnedFd, name: &str, major: u32, minor: u32) -> io::Result<()> {
    let device = rustix::fs::makedev(major, minor);
    match rustix::fs::mknodat(directory, name, FileType::CharacterDevice, Mode::from_raw_mode(0o666), device) {
        Ok(()) | Err(Errno::EXIST | Errno::ROFS) => Ok(()),
        // Without the right to make nodes (user namespaces) the host's own is shown.
        Err(Errno::PERM) => bind_node(directory, Path::new(name), &Path::new("/dev").join(name)),
        Err(error) => Err(error.into()),
    }
}

fn bind_node(directory: &OwnedFd, name: &Path, host: &Path) -> io::Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = rustix::mount::open_tree(CWD, host, flags)?;
    attach(directory, name, &mount, Kind::File, Links::Follow)
}

/// Makes a device that the spec lists; an existing node of that name gives way.
fn asked_for(root: &OwnedFd, device: &LinuxDevice) -> io::Result<()> {
    let path = device.path();
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::INVAL.into()) };
    let directory = open_or_make(root, parent, Kind::Directory)?;
    let kind = match device.typ() {
        LinuxDeviceType::B => FileType::BlockDevice,
        LinuxDeviceType::P => FileType::Fifo,
        _ => FileType::CharacterDevice,
    };
    let mode = Mode::from_raw_mode(device.file_mode().unwrap_or(0o666) & 0o7777);
    let number = rustix::fs::makedev(device.major() as u32, device.minor() as u32);
    match rustix::fs::mknodat(&directory, name, kind, mode, number) {
        Err(Errno::PERM) => return bind_node(&directory, Path::new(name), path),
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(&directory, name, AtFlags::empty())?;
            rustix::fs::mknodat(&directory, name, kind, mode, number)?;
        }
        outcome => outcome?,
    }
    let (uid, gid) = (device.uid().unwrap_or(0), device.gid().unwrap_or(0));
    if (uid, gid) != (0, 0) {
        let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        rustix::fs::chownat(&directory, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}
