//! /sys/fs/cgroup inside a container: its own cgroup and nothing above it.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::CWD;
use rustix::fs::Mode;
use rustix::mount::OpenTreeFlags;

use super::cgroup::Hierarchy;
use super::mounts::Links;
use super::mounts::attach;
use super::mounts::attach_at;
use super::mounts::filesystem;
use super::options::Options;
use super::path::Kind;
use super::path::open_in_root;
use super::talk::During;
use super::talk::Step;
use crate::sys::mount::MountAttributes;
use crate::sys::mount::Reach;
use crate::sys::mount::mount_setattr;

/// Mounts the container's cgroups: cgroup2, or one directory per controller of version 1.
pub(super) fn mount(root: &OwnedFd, destination: &Path, options: &Options, hierarchies: &[Hierarchy]) -> Step {
    let outcome =
        if hierarchies.is_empty() { version_2(root, destination, options) } else { version_1(root, destination, options, hierarchies) };
    outcome.during(|| format!("mount the cgroup on {}", destination.display()))
}

fn version_2(root: &OwnedFd, destination: &Path, options: &Options) -> io::Result<()> {
    // In its own cgroup namespace the root of a new mount is the container's cgroup.
    let plain = Options { parameters: Vec::new(), ..options.clone() };
    let made = filesystem("cgroup2", &plain)?;
    attach(root, destination, &made, Kind::Directory, Links::Follow)
}

fn own_directory(hierarchy: &Hierarchy, options: &Options) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = rustix::mount::open_tree(CWD, &hierarchy.directory, flags)?;
    mount_setattr(mount.as_fd(), Reach::One, &MountAttributes { set: options.own.set, ..MountAttributes::default() })?;
    Ok(mount)
}

fn version_1(root: &OwnedFd, destination: &Path, options: &Options, hierarchies: &[Hierarchy]) -> io::Result<()> {
    let parameters = vec![("mode".to_owned(), Some("755".to_owned()))];
    let writable = Options { own: MountAttributes::default(), parameters, ..options.clone() };
    let top = filesystem("tmpfs", &writable)?;
    attach(root, destination, &top, Kind::Directory, Links::Follow)?;
    for hierarchy in hierarchies {
        let mount = own_directory(hierarchy, options)?;
        rustix::fs::mkdirat(&top, &hierarchy.name, Mode::from_raw_mode(0o755))?;
        attach_at(&open_in_root(&top, Path::new(&hierarchy.name), rustix::fs::OFlags::PATH)?, &mount)?;
        for alias in hierarchy.name.split(',').filter(|alias| *alias != hierarchy.name) {
            rustix::fs::symlinkat(&hierarchy.name, &top, alias)?;
        }
    }
    mount_setattr(top.as_fd(), Reach::One, &MountAttributes { set: options.own.set, ..MountAttributes::default() })
}
