//! Copies files from one root to another, as `cp` wants it. No name in either leads out of it, whatever happens meanwhile.
//!
//! A path is looked up once, by its root's own rules, and leads to a name in an open directory; from there on only names
//! in open directories are used, and none of them is followed.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::AtFlags;
use rustix::fs::Dir;
use rustix::fs::FileType;
use rustix::fs::Gid;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::Stat;
use rustix::fs::Timespec;
use rustix::fs::Timestamps;
use rustix::fs::Uid;
use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::runtime;

const FOLLOW_NOTHING: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

/// As many symbolic links as the kernel follows in one path.
const MOST_LINKS: usize = 40;

/// Whether a symbolic link at the end of a path is meant itself, or what it leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Links {
    #[default]
    Kept,
    Followed,
}

/// Whose the copies are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Owners {
    /// Those of the originals, by number.
    #[default]
    Kept,
    /// Ours.
    Ours,
    /// This user's and group's.
    These(u32, u32),
}

/// What a path leads to: a name in an open directory.
#[derive(Debug)]
pub(super) struct Spot {
    pub parent: OwnedFd,
    /// `.` if the path names no entry of a directory.
    pub name: OsString,
    /// None if nothing is there.
    pub kind: Option<FileType>,
}

/// A path as it was typed: what is said by its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Typed<'a>(pub &'a str);

impl Typed<'_> {
    /// `dir/`, `dir/.`, `.`: nothing but a directory is meant.
    fn wants_directory(self) -> bool {
        self.0.ends_with('/') || self.is_content()
    }

    /// `dir/.`, `/`: what is in the directory is meant, not the directory with its name.
    fn is_content(self) -> bool {
        self.0.ends_with("/.") || self.base().is_none()
    }

    /// The last name.
    fn base(self) -> Option<OsString> {
        Path::new(self.0).file_name().map(OsStr::to_owned)
    }
}

/// Looks a path up in a root.
///
/// # Errors
/// A directory on the way that is none; what the kernel says.
pub(super) fn locate(root: &OwnedFd, path: &Path, links: Links) -> io::Result<Spot> {
    let mut path = Path::new("/").join(path);
    for _ in 0..MOST_LINKS {
        let (Some(name), Some(above)) = (path.file_name(), path.parent()) else {
            let parent = runtime::open_in_root(root, &path, OFlags::PATH | OFlags::DIRECTORY)?;
            return Ok(Spot { parent, name: ".".into(), kind: Some(FileType::Directory) });
        };
        let parent = runtime::open_in_root(root, above, OFlags::PATH | OFlags::DIRECTORY)?;
        let kind = kind_of(&parent, name)?;
        if kind != Some(FileType::Symlink) || links == Links::Kept {
            let name = name.to_owned();
            return Ok(Spot { parent, name, kind });
        }
        let text = rustix::fs::readlinkat(&parent, name, Vec::new())?;
        path = above.join(OsString::from_vec(text.into_bytes()));
    }
    Err(Errno::LOOP.into())
}

/// What the source of a copy is.
///
/// # Errors
/// It is not there, or is not what the path says.
pub(super) fn source(root: &OwnedFd, path: &str, links: Links) -> io::Result<Spot> {
    let typed = Typed(path);
    let links = if typed.wants_directory() { Links::Followed } else { links };
    let spot = locate(root, Path::new(path), links)?;
    match spot.kind {
        None => Err(Errno::NOENT.into()),
        Some(FileType::Directory) => Ok(spot),
        Some(_) if typed.wants_directory() => Err(Errno::NOTDIR.into()),
        Some(_) => Ok(spot),
    }
}

/// Copies what `from` names in one root to where `to` says in another, by Docker's rules; returns how many bytes of files.
///
/// # Errors
/// The source is not there; the target's directory is not; a directory would take a file's place, or the other way.
pub(super) fn copy(from: (&OwnedFd, &str), to: (&OwnedFd, &str), (links, owners): (Links, Owners)) -> io::Result<u64> {
    let source = source(from.0, from.1, links)?;
    let (parent, name) = target(to, (&source, Typed(from.1)))?;
    let mut copier = Copier::new(parent.try_clone()?, owners);
    copier.entry(&source, (&parent, &name), Path::new(""))?;
    Ok(copier.bytes)
}

/// Where the copy goes: a name in an open directory.
fn target((root, path): (&OwnedFd, &str), (source, from): (&Spot, Typed<'_>)) -> io::Result<(OwnedFd, OsString)> {
    let is_directory = source.kind == Some(FileType::Directory);
    let spot = locate(root, Path::new(path), Links::Followed)?;
    match spot.kind {
        Some(FileType::Directory) => match from.base() {
            Some(base) if !(is_directory && from.is_content()) => {
                let inside =
                    rustix::fs::openat(&spot.parent, &spot.name, OFlags::PATH | OFlags::DIRECTORY | FOLLOW_NOTHING, Mode::empty())?;
                Ok((inside, base))
            }
            _ => Ok((spot.parent, spot.name)),
        },
        Some(_) if is_directory => Err(io::Error::other("a directory cannot be copied to a file")),
        Some(_) if Typed(path).wants_directory() => Err(Errno::NOTDIR.into()),
        None if !is_directory && Typed(path).wants_directory() => Err(io::Error::other("there is no such directory to copy to")),
        _ => Ok((spot.parent, spot.name)),
    }
}

/// Removes what a path of a root names, trees included; what is not there is no error.
///
/// # Errors
/// What cannot be removed.
pub(super) fn remove(root: &OwnedFd, path: &Path) -> io::Result<()> {
    match locate(root, path, Links::Kept) {
        Ok(Spot { name, .. }) if name == "." => Err(io::Error::other("it is a root directory")),
        Ok(Spot { parent, name, kind: Some(_) }) => remove_entry(&parent, &name),
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
        Err(error) => Err(error),
    }
}

fn remove_entry(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(Errno::NOENT) => return Ok(()),
        removed => return Ok(removed?),
    }
    let directory = open_directory(parent, name)?;
    for child in names_in(&directory)? {
        remove_entry(&directory, &child)?;
    }
    Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

/// Copies all that is in a directory into another one, with all that the directory itself is.
///
/// # Errors
/// What could not be read or written.
pub(super) fn fill(source: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
    let copier = Copier::new(target.try_clone()?, Owners::Kept);
    copier.all(source, target)
}

/// As [`fill`], of a directory that overlayfs writes to: what it hides stays hidden.
///
/// # Errors
/// As [`fill`].
pub(super) fn fill_layer(source: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
    let copier = Copier { marks: Marks::Kept, ..Copier::new(target.try_clone()?, Owners::Kept) };
    copier.all(source, target)
}

/// What becomes of overlayfs' mark that a directory hides all that is below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marks {
    Dropped,
    Kept,
}

struct Copier {
    owners: Owners,
    marks: Marks,
    bytes: u64,
    /// The directory that everything is copied into.
    top: OwnedFd,
    /// Copies of files with several names, by the file: a path below `top`.
    linked: HashMap<(u64, u64), PathBuf>,
}

impl Copier {
    fn new(top: OwnedFd, owners: Owners) -> Copier {
        Copier { owners, marks: Marks::Dropped, bytes: 0, top, linked: HashMap::new() }
    }

    fn all(mut self, source: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
        let spot = Spot { parent: source.try_clone()?, name: ".".into(), kind: Some(FileType::Directory) };
        self.entry(&spot, (target, OsStr::new(".")), Path::new(""))
    }

    /// Copies one entry, and all below it. `path` leads from `top` to the target's directory.
    fn entry(&mut self, from: &Spot, (to, name): (&OwnedFd, &OsStr), path: &Path) -> io::Result<()> {
        let path = path.join(name);
        let outcome = self.copy_entry(from, (to, name), &path);
        outcome.map_err(|error| match error.get_ref() {
            Some(_) => error, // told below
            None => io::Error::other(format!("`{}`: {error}", path.display())),
        })
    }

    fn copy_entry(&mut self, from: &Spot, (to, name): (&OwnedFd, &OsStr), path: &Path) -> io::Result<()> {
        let stat = rustix::fs::statat(&from.parent, &from.name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.directory(from, (to, name), path),
            FileType::RegularFile if stat.st_nlink > 1 && self.link(&stat, (to, name))? => Ok(()),
            FileType::RegularFile => self.file(from, (to, name), path),
            FileType::Symlink => {
                let text = rustix::fs::readlinkat(&from.parent, &from.name, Vec::new())?;
                replacing(to, name, || rustix::fs::symlinkat(&text, to, name))?;
                self.finish_unopened((to, name), &stat)
            }
            // It means nothing without the process that made it.
            FileType::Socket => Ok(()),
            kind => {
                replacing(to, name, || rustix::fs::mknodat(to, name, kind, Mode::RUSR | Mode::WUSR, stat.st_rdev))?;
                self.finish_unopened((to, name), &stat)?;
                set_mode_of_node((to, name), stat.st_mode)
            }
        }
    }

    fn directory(&mut self, from: &Spot, (to, name): (&OwnedFd, &OsStr), path: &Path) -> io::Result<()> {
        let source = open_directory(&from.parent, &from.name)?;
        match rustix::fs::mkdirat(to, name, Mode::RWXU) {
            Err(Errno::EXIST) if kind_of(to, name)? == Some(FileType::Directory) => {}
            Err(Errno::EXIST) => return Err(io::Error::other(format!("`{}`: a directory cannot take a file's place", path.display()))),
            made => made?,
        }
        let target = open_directory(to, name)?;
        for child in names_in(&source)? {
            let child = Spot { parent: source.try_clone()?, name: child, kind: None };
            self.entry(&child, (&target, &child.name), path)?;
        }
        self.finish(&source, &target, &rustix::fs::fstat(&source)?)
    }

    fn file(&mut self, from: &Spot, (to, name): (&OwnedFd, &OsStr), path: &Path) -> io::Result<()> {
        // Something else may have taken its place: a FIFO would be waited for.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | FOLLOW_NOTHING;
        let source = rustix::fs::openat(&from.parent, &from.name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&source)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::other(format!("`{}` changed while it was copied", path.display())));
        }
        let target = new_file(to, name)?;
        if stat.st_size == 0 || rustix::fs::ioctl_ficlone(&target, &source).is_err() {
            self.bytes += io::copy(&mut File::from(source.try_clone()?), &mut File::from(target.try_clone()?))?;
        } else {
            self.bytes += stat.st_size as u64;
        }
        if stat.st_nlink > 1 {
            self.linked.insert((stat.st_dev, stat.st_ino), path.to_owned());
        }
        self.finish(&source, &target, &stat)
    }

    /// Makes one more name of a file that was copied already; false if it was not.
    fn link(&self, stat: &Stat, (to, name): (&OwnedFd, &OsStr)) -> io::Result<bool> {
        let Some(first) = self.linked.get(&(stat.st_dev, stat.st_ino)) else { return Ok(false) };
        let (Some(parent), Some(known)) = (first.parent(), first.file_name()) else { return Ok(false) };
        let parent = runtime::open_in_root(&self.top, parent, OFlags::PATH | OFlags::DIRECTORY)?;
        replacing(to, name, || rustix::fs::linkat(&parent, known, to, name, AtFlags::empty()))?;
        Ok(true)
    }

    fn finish(&self, from: &OwnedFd, to: &OwnedFd, stat: &Stat) -> io::Result<()> {
        if let Some((owner, group)) = self.owner_of(stat) {
            rustix::fs::fchown(to, Some(owner), Some(group))?; // before the mode: chown clears set-uid bits
        }
        rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode))?;
        copy_xattrs((from, to), self.marks)?; // after the owner: chown clears capabilities
        Ok(rustix::fs::futimens(to, &times(stat))?)
    }

    /// Whose the copy of a file is to be, if not ours.
    fn owner_of(&self, stat: &Stat) -> Option<(Uid, Gid)> {
        let (owner, group) = match self.owners {
            Owners::Kept => (stat.st_uid, stat.st_gid),
            Owners::Ours => return None,
            Owners::These(owner, group) => (owner, group),
        };
        Some((Uid::from_raw(owner), Gid::from_raw(group)))
    }

    fn finish_unopened(&self, (to, name): (&OwnedFd, &OsStr), stat: &Stat) -> io::Result<()> {
        if let Some((owner, group)) = self.owner_of(stat) {
            rustix::fs::chownat(to, name, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(rustix::fs::utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

/// What stands under a name, itself.
pub(super) fn kind_of(parent: &OwnedFd, name: &OsStr) -> io::Result<Option<FileType>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        found => Ok(Some(FileType::from_raw_mode(found?.st_mode))),
    }
}

/// Opens a directory to be read, nothing followed.
pub(super) fn open_directory(parent: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | FOLLOW_NOTHING, Mode::empty())?)
}

/// The names in a directory.
pub(super) fn names_in(directory: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Makes something; a file in its place gives way, a directory does not.
pub(super) fn replacing(to: &OwnedFd, name: &OsStr, make: impl Fn() -> rustix::io::Result<()>) -> io::Result<()> {
    match make() {
        Err(Errno::EXIST) => {
            refuse_directory(to, name)?;
            rustix::fs::unlinkat(to, name, AtFlags::empty())?;
            Ok(make()?)
        }
        made => Ok(made?),
    }
}

fn refuse_directory(to: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match kind_of(to, name)? {
        Some(FileType::Directory) => Err(io::Error::other(format!("a file cannot take the place of the directory `{}`", name.display()))),
        _ => Ok(()),
    }
}

/// A new file in the place of one that may be there; one that is mounted is written anew.
pub(super) fn new_file(to: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | FOLLOW_NOTHING;
    let create = || rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR);
    match create() {
        Err(Errno::EXIST) => {
            refuse_directory(to, name)?;
            match rustix::fs::unlinkat(to, name, AtFlags::empty()) {
                Err(Errno::BUSY) => Ok(rustix::fs::openat(to, name, OFlags::WRONLY | OFlags::TRUNC | FOLLOW_NOTHING, Mode::empty())?),
                removed => {
                    removed?;
                    Ok(create()?)
                }
            }
        }
        created => Ok(created?),
    }
}

/// Sets the mode of a device or FIFO, which cannot be opened without being used.
pub(super) fn set_mode_of_node((to, name): (&OwnedFd, &OsStr), mode: u32) -> io::Result<()> {
    let node = rustix::fs::openat(to, name, OFlags::PATH | FOLLOW_NOTHING, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&node)?.st_mode) == FileType::Symlink {
        return Ok(()); // what we made has been taken away
    }
    // chmod(2) has no form for such a descriptor; its name under /proc leads to the very file.
    Ok(rustix::fs::chmod(format!("/proc/self/fd/{}", node.as_raw_fd()), Mode::from_raw_mode(mode))?)
}

/// Copies extended attributes but overlayfs' own; a file system without them has none to copy and takes none.
fn copy_xattrs((from, to): (&OwnedFd, &OwnedFd), marks: Marks) -> io::Result<()> {
    let mut names = vec![0u8; 65_536];
    let length = match rustix::fs::flistxattr(from, &mut names[..]) {
        Err(Errno::NOTSUP) => return Ok(()),
        length => length?,
    };
    let mut value = vec![0u8; 65_536];
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let is_mark = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
        if is_mark && (marks == Marks::Dropped || name != b"trusted.overlay.opaque") {
            continue;
        }
        let size = rustix::fs::fgetxattr(from, name, &mut value[..])?;
        match rustix::fs::fsetxattr(to, name, &value[..size], XattrFlags::empty()) {
            Err(Errno::NOTSUP) => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ },
    }
}

#[cfg(test)]
mod tests;
