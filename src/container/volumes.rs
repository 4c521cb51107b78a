//! Fills a volume that is used for the first time with what the image has at its place.

use std::ffi::CStr;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::AtFlags;
use rustix::fs::Dir;
use rustix::fs::FileType;
use rustix::fs::FlockOperation;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::Stat;
use rustix::fs::Timespec;
use rustix::fs::Timestamps;
use rustix::fs::XattrFlags;

use crate::failure::Doing;
use crate::failure::Result;
use crate::place::Home;
use crate::runtime;
use crate::runtime::Root;
use crate::volume;
use crate::volume::Origin;

use super::MountSource;
use super::Wanted;

const FOLLOW_NOTHING: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

/// Fills every empty volume of a container that is to be made from its image; `nocopy` ones and parts of volumes are left alone.
///
/// # Errors
/// What could not be copied.
pub(super) fn fill(home: &Home, wanted: &Wanted) -> Result<()> {
    let mut root: Option<OwnedFd> = None;
    for mount in &wanted.mounts {
        let MountSource::Volume { name, nocopy: false, subpath: None } = &mount.source else { continue };
        let directory = match volume::origin(home, name)? {
            Origin::Directory(directory) => directory,
            Origin::Bind { path, .. } if path.is_dir() => path,
            // A file, or what is there only while a container has it mounted.
            Origin::Bind { .. } | Origin::Filesystem { .. } => continue,
        };
        let opened = open_directory(&directory).doing(|| format!("cannot open volume `{name}`"))?;
        // Two containers that are made at once fill it once.
        rustix::fs::flock(&opened, FlockOperation::LockExclusive)
            .map_err(io::Error::from)
            .doing(|| format!("cannot lock volume `{name}`"))?;
        if !is_empty(&opened).doing(|| format!("cannot read volume `{name}`"))? || wanted.layers.is_empty() {
            continue;
        }
        let root = match &root {
            Some(root) => root,
            None => root.insert(runtime::open_root(&Root::Layers(wanted.layers.clone()))?),
        };
        fill_one(root, &mount.target, &opened).doing(|| format!("cannot fill volume `{name}` from the image's `{}`", mount.target))?;
    }
    Ok(())
}

fn fill_one(root: &OwnedFd, target: &str, volume: &OwnedFd) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let source = match runtime::open_in_root(root, Path::new(target), flags) {
        Ok(source) => source,
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP)) => return Ok(()),
        Err(error) => return Err(error),
    };
    copy_children(&source, volume)?;
    let stat = rustix::fs::fstat(&source)?;
    copy_xattrs(&source, volume)?;
    rustix::fs::fchown(volume, Some(owner(&stat)), Some(group(&stat)))?;
    rustix::fs::fchmod(volume, Mode::from_raw_mode(stat.st_mode))?;
    Ok(())
}

fn copy_children(source: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
    for entry in Dir::read_from(source)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_entry(source, target, name)?;
        }
    }
    Ok(())
}

/// Copies one directory entry with all that it is; nothing on either side is followed.
fn copy_entry(source: &OwnedFd, target: &OwnedFd, name: &CStr) -> io::Result<()> {
    let stat = rustix::fs::statat(source, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_raw_mode(stat.st_mode);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let from = rustix::fs::openat(source, name, OFlags::RDONLY | OFlags::DIRECTORY | FOLLOW_NOTHING, Mode::empty())?;
            rustix::fs::mkdirat(target, name, Mode::RWXU)?;
            let to = rustix::fs::openat(target, name, OFlags::RDONLY | OFlags::DIRECTORY | FOLLOW_NOTHING, Mode::empty())?;
            copy_children(&from, &to)?;
            finish(&from, &to, &stat)
        }
        FileType::RegularFile => {
            let from = rustix::fs::openat(source, name, OFlags::RDONLY | FOLLOW_NOTHING, Mode::empty())?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | FOLLOW_NOTHING;
            let to = rustix::fs::openat(target, name, flags, Mode::RUSR | Mode::WUSR)?;
            copy_bytes(&from, &to, stat.st_size as u64)?;
            finish(&from, &to, &stat)
        }
        FileType::Symlink => {
            let link = rustix::fs::readlinkat(source, name, Vec::new())?;
            rustix::fs::symlinkat(link, target, name)?;
            finish_unopened(target, name, &stat)
        }
        kind => {
            rustix::fs::mknodat(target, name, kind, mode, stat.st_rdev)?;
            rustix::fs::chmodat(target, name, mode, AtFlags::empty())?;
            finish_unopened(target, name, &stat)
        }
    }
}

fn copy_bytes(from: &OwnedFd, to: &OwnedFd, size: u64) -> io::Result<()> {
    if size == 0 {
        return Ok(());
    }
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    let mut from = std::fs::File::from(from.try_clone()?);
    let mut to = std::fs::File::from(to.try_clone()?);
    io::copy(&mut from, &mut to).map(drop)
}

fn finish(from: &OwnedFd, to: &OwnedFd, stat: &Stat) -> io::Result<()> {
    rustix::fs::fchown(to, Some(owner(stat)), Some(group(stat)))?; // before the mode: chown clears set-uid bits
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode))?;
    copy_xattrs(from, to)?; // after the owner: chown clears capabilities
    rustix::fs::futimens(to, &times(stat))?;
    Ok(())
}

fn finish_unopened(directory: &OwnedFd, name: &CStr, stat: &Stat) -> io::Result<()> {
    rustix::fs::chownat(directory, name, Some(owner(stat)), Some(group(stat)), AtFlags::SYMLINK_NOFOLLOW)?;
    rustix::fs::utimensat(directory, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

/// Copies extended attributes but overlayfs' own; a file system without them has none to copy and takes none.
fn copy_xattrs(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    let mut names = vec![0u8; 65_536];
    let length = match rustix::fs::flistxattr(from, &mut names[..]) {
        Err(rustix::io::Errno::NOTSUP) => return Ok(()),
        length => length?,
    };
    let mut value = vec![0u8; 65_536];
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        if name.to_bytes().starts_with(b"trusted.overlay.") || name.to_bytes().starts_with(b"user.overlay.") {
            continue;
        }
        let size = rustix::fs::fgetxattr(from, name, &mut value[..])?;
        match rustix::fs::fsetxattr(to, name, &value[..size], XattrFlags::empty()) {
            Err(rustix::io::Errno::NOTSUP) => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn is_empty(directory: &OwnedFd) -> io::Result<bool> {
    for entry in Dir::read_from(directory.as_fd())? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            return Ok(false);
        }
    }
    Ok(true)
}

fn owner(stat: &Stat) -> rustix::fs::Uid {
    rustix::fs::Uid::from_raw(stat.st_uid)
}

fn group(stat: &Stat) -> rustix::fs::Gid {
    rustix::fs::Gid::from_raw(stat.st_gid)
}

fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ },
    }
}
