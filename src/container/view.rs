//! A container's file system seen from outside: its root with what is mounted into it, and nothing of the kernel's own.
//!
//! ```text
//! a thread in the container's mount namespace, if it runs:   copies of its root and of its mounts, detached
//! a thread in a mount namespace of its own:                  the root, the mounts put back into it, the work
//! ```
//!
//! So a container that runs and one that does not are seen alike, /proc, /sys and /dev are not seen at all, and whatever
//! the container does meanwhile, it does not change where a path leads: all look-ups are [`runtime::open_in_root`].

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;

use nix::sched::CloneFlags;
use rustix::fs::CWD;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::mount::MountAttrFlags;
use rustix::mount::MountPropagationFlags;
use rustix::mount::MoveMountFlags;
use rustix::mount::OpenTreeFlags;

use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::runtime;
use crate::runtime::Root;
use crate::sys::mount::MountAttributes;
use crate::sys::mount::Reach;
use crate::sys::mount::mount_setattr;
use crate::volume;

use super::Container;
use super::MountSource;
use super::process::Process;
use super::record;

/// What is mounted into a container's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mounts {
    /// Volumes, binds and the like are in their places.
    Shown,
    /// Only the root itself.
    Hidden,
}

/// A root and what belongs into it, as detached mounts.
struct Parts {
    root: OwnedFd,
    /// By the place in the container.
    mounts: Vec<(String, OwnedFd)>,
}

/// The root file system of a container that does not run.
pub(super) fn root_of(home: &Home, container: &Container) -> Root {
    let directory = home.container(&container.id);
    Root::Overlay { layers: container.wanted.layers.clone(), upper: directory.join("upper"), work: directory.join("work") }
}

/// Does some work on a container's file system, whether it runs or not; the work gets its root.
///
/// # Errors
/// The file system cannot be opened; what the work could not do.
pub(super) fn look_inside<T: Send>(
    home: &Home,
    container: &Container,
    mounts: Mounts,
    work: impl FnOnce(&OwnedFd) -> Result<T> + Send,
) -> Result<T> {
    let what = || format!("cannot open the file system of container `{}`", container.name);
    let state = record::state(home, &container.id)?;
    let parts = match state.has_process() {
        true => of_running(container, Process::named(state.pid, state.start_time), (state.pid, mounts)),
        false => of_idle(home, container, mounts),
    };
    let parts = parts.doing(what)?;
    let place = home.container(&container.id);
    in_thread(|| {
        let root = join(&place, parts).doing(what)?;
        work(&root)
    })
}

/// Namespaces are a thread's own matter: this one is given up afterwards.
fn in_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let done = thread::scope(|scope| scope.spawn(work).join());
    done.unwrap_or_else(|_| Err(Failure::new("cannot look into the container").because("the work on it broke off")))
}

fn of_idle(home: &Home, container: &Container, mounts: Mounts) -> Result<Parts> {
    let root = runtime::open_root(&root_of(home, container)).map_err(|failure| failure.exit(1))?;
    if container.wanted.read_only {
        set_read_only(&root).doing(|| "cannot make it read-only, as the container has it")?;
    }
    let mut parts = Parts { root, mounts: Vec::new() };
    for mount in container.wanted.mounts.iter().filter(|_| mounts == Mounts::Shown) {
        let source = match &mount.source {
            MountSource::Bind { path, .. } => path.clone(),
            MountSource::Volume { name, subpath, .. } => {
                let directory = volume::directory(home, name);
                subpath.as_ref().map_or(directory.clone(), |part| directory.join(part.trim_start_matches('/')))
            }
            // There is nothing in them while it does not run.
            _ => continue,
        };
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        let tree = rustix::mount::open_tree(CWD, &source, flags).map_err(io::Error::from);
        let tree = tree.and_then(|tree| if mount.read_only { set_read_only(&tree).map(|()| tree) } else { Ok(tree) });
        parts.mounts.push((mount.target.clone(), tree.doing(|| format!("cannot open {}", source.display()))?));
    }
    Ok(parts)
}

fn set_read_only(mount: &OwnedFd) -> io::Result<()> {
    let attributes = MountAttributes { set: u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits()), ..MountAttributes::default() };
    mount_setattr(mount.as_fd(), Reach::Tree, &attributes)
}

fn of_running(container: &Container, process: Process, (pid, mounts): (i32, Mounts)) -> Result<Parts> {
    let namespace = File::open(format!("/proc/{pid}/ns/mnt")).doing(|| "cannot open its mount namespace")?;
    if !process.is_alive() {
        return Err(Failure::new("it has just ended").hint("try again"));
    }
    let targets = container.wanted.mounts.iter().filter(|_| mounts == Mounts::Shown).map(|mount| mount.target.as_str());
    let targets: Vec<&str> = targets.collect();
    in_thread(move || {
        // A thread that shares its directory with others may not change its mount namespace (setns(2)).
        nix::sched::unshare(CloneFlags::CLONE_FS).map_err(io::Error::from).doing(|| "cannot leave our own directory")?;
        nix::sched::setns(&namespace, CloneFlags::CLONE_NEWNS).map_err(io::Error::from).doing(|| "cannot enter its mount namespace")?;
        copies(&targets).doing(|| "cannot copy its mounts")
    })
}

/// Copies of the mounts of the namespace that we are in.
fn copies(targets: &[&str]) -> io::Result<Parts> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let top = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut parts = Parts { root: rustix::mount::open_tree(CWD, "/", flags)?, mounts: Vec::new() };
    for target in targets {
        // A place that the container has taken away shows nothing.
        let Ok(place) = runtime::open_in_root(&top, Path::new(target), OFlags::PATH) else { continue };
        let flags = flags | OpenTreeFlags::AT_RECURSIVE | OpenTreeFlags::AT_EMPTY_PATH;
        parts.mounts.push(((*target).to_owned(), rustix::mount::open_tree(&place, "", flags)?));
    }
    Ok(parts)
}

/// Joins the parts in a mount namespace of our own, at a place that nothing in it needs any more.
fn join(place: &Path, parts: Parts) -> io::Result<OwnedFd> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNS)?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    rustix::mount::move_mount(parts.root.as_fd(), "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    let root = rustix::fs::open(place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for (target, mount) in parts.mounts {
        let target = match runtime::open_in_root(&root, Path::new(&target), OFlags::PATH) {
            // It was never started, so nobody has made the place.
            Err(error) if error.kind() == io::ErrorKind::NotFound => match runtime::make_in_root(&root, Path::new(&target)) {
                Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => continue,
                made => made?,
            },
            opened => opened?,
        };
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        match rustix::mount::move_mount(&mount, "", &target, "", flags) {
            // A directory where a file was: it was never started with this in place, and would not be.
            Err(rustix::io::Errno::NOTDIR) => {}
            moved => moved?,
        }
    }
    Ok(root)
}
