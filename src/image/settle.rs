//! Completes a layer that links to files of the layers below it.
//!
//! A hard link cannot cross layers, so the file is copied up, as overlayfs would when the link is made. Such a layer's
//! content depends on what is below, so it is stored under its chain id: the same archive upon other layers is another tree.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::AtFlags;
use rustix::fs::FileType;
use rustix::fs::Gid;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::Stat;
use rustix::fs::Timespec;
use rustix::fs::Timestamps;
use rustix::fs::Uid;
use rustix::fs::XattrFlags;

use super::layer_records::layer_directory;
use super::pax::malformed;
use super::tree::Found;
use super::tree::Tree;
use super::tree::look;
use super::tree::split;
use super::unpack::OPAQUE_XATTR;
use super::unpack::is_content;
use super::xattrs;
use crate::failure::Doing;
use crate::failure::Result;
use crate::place::Home;

/// Makes the links (name, target) in `directory`, whose lower layers are `below`, the lowest first.
pub(super) fn settle(home: &Home, directory: &Path, links: &[(Vec<u8>, Vec<u8>)], below: &[String]) -> Result<()> {
    for (name, target) in links {
        let linked = link(home, directory, (name, target), below);
        linked.doing(|| format!("cannot unpack the hard link `{}` to `{}`", name.escape_ascii(), target.escape_ascii()))?;
    }
    Ok(())
}

fn link(home: &Home, directory: &Path, (name, target): (&[u8], &[u8]), below: &[String]) -> io::Result<()> {
    let mut tree = Tree::open(directory)?;
    let (above, last) = split(name);
    let parent = tree.parent(above)?;
    if look(&parent, last)? != Found::Nothing {
        // A later entry of the archive has taken the name.
        return Ok(());
    }
    for key in below.iter().rev() {
        match search(&layer_directory(home, key), target)? {
            Search::Here(from) => return copy(&from, split(target).1, &parent, last),
            Search::Deeper => {}
            Search::Hidden => break,
        }
    }
    Err(malformed("the target is in no layer"))
}

enum Search {
    /// In this layer, in this directory.
    Here(OwnedFd),
    /// This layer says nothing about it.
    Deeper,
    /// This layer hides what lower ones have.
    Hidden,
}

fn search(layer: &Path, target: &[u8]) -> io::Result<Search> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut directory = rustix::fs::open(layer, flags, Mode::empty())?;
    let mut otherwise = Search::Deeper;
    let (above, last) = split(target);
    for part in above.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
        match look(&directory, part)? {
            Found::Nothing => return Ok(otherwise),
            Found::Directory => directory = rustix::fs::openat(&directory, part, flags, Mode::empty())?,
            Found::Whiteout | Found::Other => return Ok(Search::Hidden),
        }
        let mut value = [0; 2];
        if rustix::fs::fgetxattr(&directory, OPAQUE_XATTR, &mut value[..]).is_ok_and(|length| value[..length] == *b"y") {
            otherwise = Search::Hidden;
        }
    }
    Ok(match look(&directory, last)? {
        Found::Nothing => otherwise,
        Found::Other => Search::Here(directory),
        Found::Whiteout | Found::Directory => Search::Hidden,
    })
}

fn copy(from: &OwnedFd, name: &[u8], to: &OwnedFd, new_name: &[u8]) -> io::Result<()> {
    let found = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => copy_file(from, name, to, new_name)?,
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(&*target, to, new_name)?;
        }
        kind => rustix::fs::mknodat(to, new_name, kind, Mode::from_raw_mode(found.st_mode & 0o7777), found.st_rdev)?,
    }
    let owner = (Some(Uid::from_raw(found.st_uid)), Some(Gid::from_raw(found.st_gid)));
    rustix::fs::chownat(to, new_name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile {
        dress(from, name, to, new_name, &found)?;
    }
    Ok(rustix::fs::utimensat(to, new_name, &times(&found), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn copy_file(from: &OwnedFd, name: &[u8], to: &OwnedFd, new_name: &[u8]) -> io::Result<()> {
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut source = File::from(rustix::fs::openat(from, name, read, Mode::empty())?);
    let mut target = File::from(rustix::fs::openat(to, new_name, write, Mode::RUSR | Mode::WUSR)?);
    io::copy(&mut source, &mut target)?;
    Ok(())
}

/// Mode and xattrs, after the owner, because a change of owner clears setuid and capabilities.
fn dress(from: &OwnedFd, name: &[u8], to: &OwnedFd, new_name: &[u8], found: &Stat) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, name, flags, Mode::empty())?;
    let target = rustix::fs::openat(to, new_name, flags, Mode::empty())?;
    rustix::fs::fchmod(&target, Mode::from_raw_mode(found.st_mode & 0o7777))?;
    for (key, value) in xattrs::of(&source)? {
        if is_content(&key) {
            rustix::fs::fsetxattr(&target, &key[..], &value, XattrFlags::empty())?;
        }
    }
    Ok(())
}

fn times(found: &Stat) -> Timestamps {
    let time = Timespec { tv_sec: found.st_mtime as _, tv_nsec: found.st_mtime_nsec as _ };
    Timestamps { last_access: time, last_modification: time }
}
