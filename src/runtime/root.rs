//! The root file system as a detached mount.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::CWD;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::mount::FsMountFlags;
use rustix::mount::FsOpenFlags;
use rustix::mount::MountAttrFlags;
use rustix::mount::MountPropagationFlags;
use rustix::mount::OpenTreeFlags;

use super::Root;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::sys::mount::MountAttributes;
use crate::sys::mount::Reach;
use crate::sys::mount::mount_setattr;

/// fsconfig(2) refuses longer strings.
const LONGEST_STRING: usize = 255;

/// Features of overlayfs that only another overlayfs understands.
const PLAIN: &[&str] = &["index", "metacopy", "redirect_dir"];

/// Opens a root as a detached mount: no mount table shows it, and it is gone with its last descriptor.
///
/// fsopen(2), fsconfig(2) `lowerdir+`, fsmount(2); Linux 6.5, with the one-string form before.
///
/// # Errors
/// A directory that is missing; what the kernel says of the overlay.
pub fn open_root(root: &Root) -> Result<OwnedFd> {
    for directory in directories(root) {
        if !directory.is_dir() {
            let missing = Failure::new("cannot open the root file system");
            return Err(missing.because(format!("directory `{}` is not there", directory.display())).exit(125));
        }
    }
    let opened = match root {
        // The kernel wants something below; with nothing there the writable directory is all there is.
        Root::Overlay { layers, upper, .. } | Root::Scratch { layers, upper, .. } if layers.is_empty() => clone_tree(upper),
        Root::Overlay { layers, upper, work } => overlay(layers, Some(Writable { upper, work, lasting: Lasting::Yes })),
        Root::Scratch { layers, upper, work } => overlay(layers, Some(Writable { upper, work, lasting: Lasting::No })),
        Root::Layers(layers) if layers.len() == 1 => clone_tree(&layers[0]).and_then(read_only),
        Root::Layers(layers) if layers.is_empty() => empty(),
        Root::Layers(layers) => overlay(layers, None).and_then(read_only),
        Root::Directory(path) => clone_tree(path),
    };
    opened.map_err(|failure| failure.exit(125))
}

fn directories(root: &Root) -> Vec<&PathBuf> {
    match root {
        Root::Overlay { layers, upper, work } | Root::Scratch { layers, upper, work } => layers.iter().chain([upper, work]).collect(),
        Root::Layers(layers) => layers.iter().collect(),
        Root::Directory(path) => vec![path],
    }
}

fn clone_tree(path: &Path) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let open = || -> io::Result<OwnedFd> {
        let tree = rustix::mount::open_tree(CWD, path, flags)?;
        // Else a mount made in the container would show up on the host wherever this tree is shared.
        let private = MountAttributes { propagation: u64::from(MountPropagationFlags::PRIVATE.bits()), ..MountAttributes::default() };
        mount_setattr(tree.as_fd(), Reach::Tree, &private)?;
        Ok(tree)
    };
    open().doing(|| format!("cannot open the directory `{}` as a root", path.display()))
}

fn read_only(mount: OwnedFd) -> Result<OwnedFd> {
    let attributes = MountAttributes { set: u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits()), ..MountAttributes::default() };
    mount_setattr(mount.as_fd(), Reach::Tree, &attributes).doing(|| "cannot make the root file system read-only")?;
    Ok(mount)
}

fn empty() -> Result<OwnedFd> {
    let open = || -> io::Result<OwnedFd> {
        let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_string(context.as_fd(), "mode", "0755")?;
        rustix::mount::fsconfig_create(context.as_fd())?;
        Ok(rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)?)
    };
    open().doing(|| "cannot make an empty root file system")
}

/// Where an overlay writes.
#[derive(Debug, Clone, Copy)]
struct Writable<'a> {
    upper: &'a Path,
    work: &'a Path,
    lasting: Lasting,
}

/// Whether what is written has to survive a crash of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lasting {
    Yes,
    No,
}

/// Stacks the layers.
fn overlay(layers: &[PathBuf], writable: Option<Writable<'_>>) -> Result<OwnedFd> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(io::Error::from)
        .doing(|| "cannot stack the image's layers: this kernel has no overlayfs")?;
    let configure = || -> io::Result<OwnedFd> {
        // A descriptor's name must stay good until the file system is made.
        let mut kept = Vec::new();
        set_layers(context.as_fd(), layers, &mut kept)?;
        if let Some(writable) = writable {
            set_path(context.as_fd(), "upperdir", writable.upper, &mut kept)?;
            set_path(context.as_fd(), "workdir", writable.work, &mut kept)?;
            set_lasting(context.as_fd(), writable)?;
            // A distribution's kernel may have these on. They leave marks in the upper directory that are no content: it could not
            // become a layer of an image.
            for key in PLAIN {
                rustix::mount::fsconfig_set_string(context.as_fd(), *key, "off")?;
            }
        }
        if in_user_namespace() {
            rustix::mount::fsconfig_set_flag(context.as_fd(), "userxattr")?;
        }
        rustix::mount::fsconfig_create(context.as_fd())?;
        Ok(rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
    };
    configure().map_err(|error| {
        let log = kernel_log(context.as_fd());
        let failure = Failure::new("cannot stack the image's layers").because(format!("mount overlay: {error}"));
        if log.is_empty() { failure } else { failure.because(log) }
    })
}

fn set_lasting(context: BorrowedFd<'_>, writable: Writable<'_>) -> io::Result<()> {
    // The kernel leaves this mark of a volatile mount, and refuses the next one of any kind on it: after a crash the files may be
    // incomplete. These were ours to lose.
    match std::fs::remove_dir_all(writable.work.join("work/incompat/volatile")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if writable.lasting == Lasting::No {
        rustix::mount::fsconfig_set_flag(context, "volatile")?;
    }
    Ok(())
}

fn set_layers(context: BorrowedFd<'_>, layers: &[PathBuf], kept: &mut Vec<OwnedFd>) -> io::Result<()> {
    // Overlayfs refuses a directory that comes twice (two steps of a build that changed nothing are the same layer).
    // Of two the upper one counts, because it has all that the lower one has.
    let layers: Vec<&PathBuf> =
        layers.iter().enumerate().filter(|(at, layer)| !layers[at + 1..].contains(layer)).map(|(_, layer)| layer).collect();
    // Overlayfs counts from the top.
    let mut from_top = layers.iter().rev();
    let Some(top) = from_top.next() else { return Ok(()) };
    match set_path(context, "lowerdir+", top, kept) {
        // Before Linux 6.5: all in one string, which has room for a dozen descriptors' names.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
            let names = layers.iter().rev().map(|layer| short_name(layer, kept)).collect::<io::Result<Vec<_>>>()?;
            Ok(rustix::mount::fsconfig_set_string(context, "lowerdir", names.join(":"))?)
        }
        outcome => {
            outcome?;
            from_top.try_for_each(|layer| set_path(context, "lowerdir+", layer, kept))
        }
    }
}

fn set_path(context: BorrowedFd<'_>, key: &str, path: &Path, kept: &mut Vec<OwnedFd>) -> io::Result<()> {
    if path.as_os_str().len() <= LONGEST_STRING {
        return Ok(rustix::mount::fsconfig_set_string(context, key, path)?);
    }
    let name = short_name(path, kept)?;
    Ok(rustix::mount::fsconfig_set_string(context, key, name)?)
}

/// A name for a directory that is short, and has no character that a list of names would need escaped.
fn short_name(path: &Path, kept: &mut Vec<OwnedFd>) -> io::Result<String> {
    let directory = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let name = format!("/proc/self/fd/{}", directory.as_raw_fd());
    kept.push(directory);
    Ok(name)
}

/// What the kernel wrote about the last error; reading the context gives one line at a time, see fsopen(2).
fn kernel_log(context: BorrowedFd<'_>) -> String {
    let mut lines = Vec::new();
    let mut buffer = [0; 512];
    while let Ok(length) = rustix::io::read(context, &mut buffer) {
        let line = String::from_utf8_lossy(&buffer[..length]);
        lines.push(line.trim_end().trim_start_matches("e ").to_owned());
    }
    lines.join("; ")
}

/// Whether we are in a user namespace, where overlayfs may only use `user.` attributes.
fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"]
}
