//! Fills a volume that is used for the first time with what the image has at its place.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::Dir;
use rustix::fs::FlockOperation;
use rustix::fs::Mode;
use rustix::fs::OFlags;

use crate::failure::Doing;
use crate::failure::Result;
use crate::place::Home;
use crate::runtime;
use crate::runtime::Root;
use crate::volume;
use crate::volume::Origin;

use super::MountSource;
use super::Wanted;
use super::copy;

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
    copy::fill(&source, volume)
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
