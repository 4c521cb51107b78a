//! The mounts of a container, put into its root.

use std::fs::File;
use std::io;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use oci_spec::runtime::Mount;
use rustix::fs::CWD;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::open;
use rustix::io::Errno;
use rustix::mount::FsMountFlags;
use rustix::mount::FsOpenFlags;
use rustix::mount::MountAttrFlags;
use rustix::mount::MountPropagationFlags;
use rustix::mount::MoveMountFlags;
use rustix::mount::OpenTreeFlags;
use rustix::mount::UnmountFlags;

use super::Root;
use super::cgroup::Hierarchy;
use super::cgroup_mount;
use super::namespaces;
use super::options::Options;
use super::path::Kind;
use super::path::open_in_root;
use super::path::open_or_make;
use super::path::open_without_links;
use super::root::open_root;
use super::talk::During;
use super::talk::Step;
use super::talk::Trouble;
use crate::sys::mount::MountAttributes;
use crate::sys::mount::Reach;
use crate::sys::mount::mount_setattr;

/// The type of a mount that shows a copy of a file in memory.
pub const CONTENT: &str = "content";

/// One mount of the spec, with what has to be taken from the host already opened.
#[derive(Debug)]
pub(super) struct Prepared<'a> {
    mount: &'a Mount,
    options: Options,
    source: Option<OwnedFd>,
}

/// Reads the options of all mounts and opens what they show of the host, while the host is in reach.
pub(super) fn prepare(mounts: &[Mount]) -> Step<Vec<Prepared<'_>>> {
    mounts.iter().map(prepare_one).collect()
}

fn prepare_one(mount: &Mount) -> Step<Prepared<'_>> {
    let texts = mount.options().iter().flatten().map(String::as_str);
    let mut options = Options::parse(texts);
    if options.bind.is_none() && mount.typ().as_deref() == Some("bind") {
        options.bind = Some(Reach::One);
    }
    let source = match options.bind {
        Some(reach) => Some(open_source(mount, reach)?),
        None => stack(mount, &mut options)?,
    };
    if let Some(name) = mount.source().as_ref().filter(|_| source.is_none()) {
        options.parameters.insert(0, ("source".to_owned(), Some(name.to_string_lossy().into_owned())));
    }
    Ok(Prepared { mount, options, source })
}

/// Stacks the layers that a read-only overlay names (`lowerdir+=`, the uppermost first).
fn stack(mount: &Mount, options: &mut Options) -> Step<Option<OwnedFd>> {
    let (layers, rest) = std::mem::take(&mut options.parameters).into_iter().partition::<Vec<_>, _>(|(key, _)| key == "lowerdir+");
    options.parameters = rest;
    if mount.typ().as_deref() != Some("overlay") || layers.is_empty() {
        options.parameters.extend(layers);
        return Ok(None);
    }
    let layers = layers.into_iter().rev().filter_map(|(_, layer)| layer.map(PathBuf::from)).collect();
    let stacked = open_root(&Root::Layers(layers));
    stacked.map(Some).map_err(|failure| Trouble::new(failure.to_string().replace("error: ", "").replace("\n  because: ", ": ")))
}

/// Copies the mount of a host's file or directory.
fn open_source(mount: &Mount, reach: Reach) -> Step<OwnedFd> {
    let source = mount.source().as_deref().unwrap_or(Path::new(""));
    let recursive = if reach == Reach::Tree { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | recursive;
    let opened = match elsewhere(source) {
        Some((pid, inside)) => namespaces::visit_mounts(pid, || rustix::mount::open_tree(CWD, inside, flags)),
        None => rustix::mount::open_tree(CWD, source, flags),
    };
    match opened {
        Err(Errno::NOENT) => Err(Trouble::new(format!("bind source path does not exist: {}", source.display()))),
        outcome => outcome.during(|| format!("open {} to mount it on {}", source.display(), mount.destination().display())),
    }
}

/// A path as another process sees it: `/proc/PID/root/PATH`. The kernel lets nobody copy a mount of another namespace from outside.
fn elsewhere(source: &Path) -> Option<(i32, PathBuf)> {
    let mut parts = source.strip_prefix("/proc").ok()?.components();
    let pid = parts.next()?.as_os_str().to_str()?.parse().ok()?;
    (parts.next()?.as_os_str() == "root").then(|| Path::new("/").join(parts.as_path())).map(|inside| (pid, inside))
}

/// Stops mounts and unmounts of this mount namespace from reaching the host's.
///
/// `propagation` is the spec's `rootfsPropagation`: with `slave` the host's new mounts still come in.
pub(super) fn part_from_host(propagation: Option<&str>) -> Step {
    let flags = match propagation {
        Some("slave" | "rslave" | "shared" | "rshared") => MountPropagationFlags::DOWNSTREAM,
        _ => MountPropagationFlags::PRIVATE,
    };
    rustix::mount::mount_change("/", flags | MountPropagationFlags::REC).during(|| "make the mounts of the host private")
}

/// Attaches the root to the tree, on top of the host's `/`; the host is still what absolute paths mean.
pub(super) fn attach_root(root: &OwnedFd) -> Step {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(root, "", CWD, "/", flags).during(|| "attach the root file system")
}

/// Makes the root `/` and takes the host's files out of reach.
pub(super) fn enter_root(root: &OwnedFd) -> Step {
    rustix::process::fchdir(root).during(|| "change to the root file system")?;
    // The same name twice: the old root is stacked on the new one and comes off next, see pivot_root(2), NOTES.
    rustix::process::pivot_root(".", ".").during(|| "pivot_root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).during(|| "detach the host's file systems")?;
    rustix::process::chdir("/").during(|| "change to /")
}

/// Makes all mounts, in the order of the spec.
pub(super) fn mount_all(root: &OwnedFd, mounts: Vec<Prepared<'_>>, hierarchies: &[Hierarchy]) -> Step {
    mounts.into_iter().try_for_each(|prepared| mount_one(root, prepared, hierarchies))
}

fn mount_one(root: &OwnedFd, prepared: Prepared<'_>, hierarchies: &[Hierarchy]) -> Step {
    let Prepared { mount, options, source } = prepared;
    let destination = mount.destination();
    if let Some(source) = source {
        let mounted = match options.parameters.iter().find(|(key, _)| key == "subpath") {
            Some((_, Some(part))) => attach_part(root, destination, &source, Path::new(part)),
            _ => bind(root, destination, &options, &source),
        };
        return mounted.during(|| format!("mount {} on {}", source_name(mount), destination.display()));
    }
    let kind = mount.typ().as_deref().unwrap_or("none");
    if kind == CONTENT {
        let file = mount.source().as_deref().unwrap_or(Path::new(""));
        let mounted = in_memory(file).and_then(|copy| bind(root, destination, &options, &copy));
        return mounted.during(|| format!("mount {} on {}", source_name(mount), destination.display()));
    }
    let outcome = match kind {
        "cgroup" | "cgroup2" => return cgroup_mount::mount(root, destination, &options, hierarchies),
        "sysfs" => sysfs(root, destination, &options),
        _ => filesystem(kind, &options).and_then(|made| attach(root, destination, &made, Kind::Directory, strictness(kind))),
    };
    outcome.during(|| format!("mount {kind} on {}", destination.display()))
}

fn source_name(mount: &Mount) -> String {
    mount.source().as_ref().map(|source| source.display().to_string()).unwrap_or_default()
}

/// Whether symbolic links are followed on the way to a mount's place, inside the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    Follow,
    /// The kernel's own file systems must be where they seem to be: masks are laid over their files by name.
    Refuse,
}

fn strictness(kind: &str) -> Links {
    if kind == "proc" { Links::Refuse } else { Links::Follow }
}

/// Makes a file system with the options of a mount, not yet attached anywhere.
pub(super) fn filesystem(kind: &str, options: &Options) -> io::Result<OwnedFd> {
    match configure(kind, &options.parameters) {
        // A user namespace with a single id knows no group `tty`.
        Err(Errno::INVAL) if kind == "devpts" => {
            let rest: Vec<_> = options.parameters.iter().filter(|(key, _)| key != "gid").cloned().collect();
            finish(&configure(kind, &rest)?, options)
        }
        context => finish(&context?, options),
    }
}

fn configure(kind: &str, parameters: &[(String, Option<String>)]) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in parameters {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(context.as_fd(), key.as_str(), value.as_str())?,
            None => rustix::mount::fsconfig_set_flag(context.as_fd(), key.as_str())?,
        }
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    Ok(context)
}

fn finish(context: &OwnedFd, options: &Options) -> io::Result<OwnedFd> {
    let attributes = MountAttrFlags::from_bits_retain(options.own.set as u32);
    let mount = rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    propagate(&mount, options)?;
    Ok(mount)
}

fn bind(root: &OwnedFd, destination: &Path, options: &Options, source: &OwnedFd) -> io::Result<()> {
    if options.own != MountAttributes::default() {
        mount_setattr(source.as_fd(), Reach::One, &options.own)?;
    }
    if options.tree != MountAttributes::default() {
        mount_setattr(source.as_fd(), Reach::Tree, &options.tree)?;
    }
    propagate(source, options)?;
    let is_directory = FileType::from_raw_mode(rustix::fs::fstat(source)?.st_mode) == FileType::Directory;
    attach(root, destination, source, if is_directory { Kind::Directory } else { Kind::File }, Links::Follow)
}

/// Attaches a part of a file system that was just made. The kernel copies mounts only of a namespace: so the whole is attached first.
fn attach_part(root: &OwnedFd, destination: &Path, whole: &OwnedFd, part: &Path) -> io::Result<()> {
    attach(root, destination, whole, Kind::Directory, Links::Follow)?;
    let copied = open_in_root(whole, part, OFlags::PATH).and_then(|part| clone_mount(&part, Reach::One));
    rustix::mount::unmount(format!("/proc/self/fd/{}", whole.as_raw_fd()), UnmountFlags::DETACH)?;
    let part = copied?;
    let is_directory = FileType::from_raw_mode(rustix::fs::fstat(&part)?.st_mode) == FileType::Directory;
    attach(root, destination, &part, if is_directory { Kind::Directory } else { Kind::File }, Links::Follow)
}

/// Copies a file of the host, with its owner and mode, to a tmpfs that has nothing else.
fn in_memory(file: &Path) -> io::Result<OwnedFd> {
    let (bytes, found) = (std::fs::read(file)?, std::fs::metadata(file)?);
    let directory = open(file.parent().unwrap_or(Path::new("/")), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let whole = filesystem("tmpfs", &Options::parse(["nosuid", "nodev", "noexec", "mode=700", "nr_inodes=2"]))?;
    let name = Path::new("content");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut copy = File::from(rustix::fs::openat(&whole, name, flags, Mode::RUSR)?);
    copy.write_all(&bytes)?;
    std::os::unix::fs::fchown(&copy, Some(found.uid()), Some(found.gid()))?;
    rustix::fs::fchmod(&copy, Mode::from_raw_mode(found.mode()))?;
    drop(copy); // who still writes to a file system keeps it from being made read-only
    // The kernel copies mounts only of a namespace: so the whole is attached for a moment, where nobody else is.
    attach_at(&directory, &whole)?;
    let copied = open_in_root(&whole, name, OFlags::PATH).and_then(|part| clone_mount(&part, Reach::One));
    rustix::mount::unmount(format!("/proc/self/fd/{}", whole.as_raw_fd()), UnmountFlags::DETACH)?;
    copied
}

/// Sets the propagation asked for; private, if none was.
fn propagate(mount: &OwnedFd, options: &Options) -> io::Result<()> {
    let private = u64::from(MountPropagationFlags::PRIVATE.bits());
    let (propagation, reach) = match options.propagation {
        Some(asked) => asked,
        // A file system just made is private from the start.
        None if options.bind.is_none() => return Ok(()),
        None => (private, Reach::Tree),
    };
    mount_setattr(mount.as_fd(), reach, &MountAttributes { propagation, ..MountAttributes::default() })
}

/// Attaches a mount at a place inside the root, which is made if it is missing.
pub(super) fn attach(root: &OwnedFd, destination: &Path, mount: &OwnedFd, kind: Kind, links: Links) -> io::Result<()> {
    let place = match links {
        Links::Follow => open_or_make(root, destination, kind)?,
        Links::Refuse => match open_without_links(root, destination, OFlags::PATH) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => open_or_make(root, destination, kind)?,
            outcome => outcome?,
        },
    };
    attach_at(&place, mount)
}

/// Attaches a mount at a place that is open.
pub(super) fn attach_at(place: &OwnedFd, mount: &OwnedFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(mount, "", place, "", flags)?)
}

/// Copies the mount of something that is open.
pub(super) fn clone_mount(file: impl AsFd, reach: Reach) -> io::Result<OwnedFd> {
    let recursive = if reach == Reach::Tree { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH | recursive;
    Ok(rustix::mount::open_tree(file, "", flags)?)
}

fn sysfs(root: &OwnedFd, destination: &Path, options: &Options) -> io::Result<()> {
    let made = match filesystem("sysfs", options) {
        // sysfs belongs to a network namespace; one that is not of our user namespace gives none. The host's shows the same.
        Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
            let host = rustix::mount::open_tree(CWD, "/sys", flags)?;
            mount_setattr(host.as_fd(), Reach::Tree, &MountAttributes { set: options.own.set, ..MountAttributes::default() })?;
            host
        }
        outcome => outcome?,
    };
    attach(root, destination, &made, Kind::Directory, Links::Refuse)
}

/// Makes the root read-only; what is mounted in it stays as it is.
pub(super) fn make_read_only(root: &OwnedFd) -> Step {
    let read_only = u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits());
    let attributes = MountAttributes { set: read_only, ..MountAttributes::default() };
    mount_setattr(root.as_fd(), Reach::One, &attributes).during(|| "make the root file system read-only")
}
