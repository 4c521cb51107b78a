//! Which namespaces are new, which are joined, and in what order.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use oci_spec::runtime::LinuxNamespaceType;
use oci_spec::runtime::Spec;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::talk::During;
use super::talk::Step;
use crate::sys;

pub(super) const PID: u64 = libc::CLONE_NEWPID as u64;
pub(super) const USER: u64 = libc::CLONE_NEWUSER as u64;
pub(super) const MOUNT: u64 = libc::CLONE_NEWNS as u64;
pub(super) const NETWORK: u64 = libc::CLONE_NEWNET as u64;
pub(super) const IPC: u64 = libc::CLONE_NEWIPC as u64;
pub(super) const UTS: u64 = libc::CLONE_NEWUTS as u64;
pub(super) const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
pub(super) const TIME: u64 = 0x80;

/// The namespaces of one process.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    /// `CLONE_NEW*` bits of those to be made.
    pub(super) new: u64,
    /// Those that are there already, by kind.
    pub(super) joined: Vec<(u64, PathBuf)>,
}

impl Namespaces {
    /// Reads them from a spec.
    pub(super) fn of(spec: &Spec) -> Namespaces {
        let mut namespaces = Namespaces::default();
        let wanted = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
        for namespace in wanted.into_iter().flatten() {
            let kind = bit(namespace.typ());
            match namespace.path() {
                Some(path) => namespaces.joined.push((kind, path.clone())),
                None => namespaces.new |= kind,
            }
        }
        namespaces
    }

    /// Those that differ from the maker's, as `CLONE_NEW*` bits.
    pub(super) fn all(&self) -> u64 {
        self.joined.iter().fold(self.new, |bits, (kind, _)| bits | kind)
    }

    /// The file of a namespace that is to be joined.
    pub(super) fn path_of(&self, kind: u64) -> Option<&PathBuf> {
        self.joined.iter().find(|(joined, _)| *joined == kind).map(|(_, path)| path)
    }

    /// Opens what the child joins by itself, in the order to join it.
    ///
    /// The user namespace comes first, because it decides about the right to join the others; the PID namespace is missing here: it
    /// is for children only (pid_namespaces(7)), so the maker enters it for the time of the clone.
    pub(super) fn open_joined(&self) -> io::Result<Vec<(u64, OwnedFd)>> {
        let order = [USER, IPC, UTS, NETWORK, CGROUP, TIME, MOUNT];
        let paths = order.iter().filter_map(|kind| self.path_of(*kind).map(|path| (*kind, path)));
        paths.map(|(kind, path)| Ok((kind, File::open(path)?.into()))).collect()
    }
}

/// Enters each of the opened namespaces.
pub(super) fn join(opened: &[(u64, OwnedFd)]) -> Step {
    for (kind, file) in opened {
        sys::clone::setns(file.as_fd(), *kind).during(|| format!("join the {} namespace", name(*kind)))?;
    }
    Ok(())
}

fn bit(kind: LinuxNamespaceType) -> u64 {
    match kind {
        LinuxNamespaceType::Mount => MOUNT,
        LinuxNamespaceType::Cgroup => CGROUP,
        LinuxNamespaceType::Uts => UTS,
        LinuxNamespaceType::Ipc => IPC,
        LinuxNamespaceType::User => USER,
        LinuxNamespaceType::Pid => PID,
        LinuxNamespaceType::Network => NETWORK,
        LinuxNamespaceType::Time => TIME,
    }
}

fn name(kind: u64) -> &'static str {
    match kind {
        MOUNT => "mount",
        CGROUP => "cgroup",
        UTS => "uts",
        IPC => "ipc",
        USER => "user",
        PID => "pid",
        NETWORK => "network",
        _ => "time",
    }
}

/// Runs `work` with the calling process, which must have one thread, in the mount namespace of another one; there, paths mean what they
/// mean to that process.
pub(super) fn visit_mounts<T>(pid: i32, work: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let open = |path: String| rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let (own, theirs) = (open("/proc/self/ns/mnt".to_owned())?, open(format!("/proc/{pid}/ns/mnt"))?);
    let enter = |namespace: &OwnedFd| {
        sys::clone::setns(namespace.as_fd(), MOUNT).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::PERM))
    };
    enter(&theirs)?;
    let outcome = work();
    enter(&own)?;
    // setns(2) leaves us at the root of the namespace, which need not have been ours.
    rustix::process::fchdir(&root)?;
    rustix::process::chroot(".")?;
    outcome
}

/// Runs `work` while the children that it makes are born into another PID namespace.
///
/// `target` is a pidfd or the namespace's file.
pub(super) fn with_children_in<T>(target: Option<&OwnedFd>, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let Some(target) = target else { return work() };
    let own: OwnedFd = File::open("/proc/self/ns/pid")?.into();
    sys::clone::setns(target.as_fd(), PID)?;
    let outcome = work();
    sys::clone::setns(own.as_fd(), PID)?;
    outcome
}
