//! Makes a layer's directory from its tar stream, in the form overlayfs takes as a lower directory.
//!
//! A whiteout becomes a character device 0:0, an opaque marker the xattr `trusted.overlay.opaque`. Nothing is
//! done twice and nothing is looked up that need not be: most files cost open, write, utimensat and close.

use std::collections::HashSet;
use std::io;
use std::io::BufRead;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::AtFlags;
use rustix::fs::FileType;
use rustix::fs::Gid;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::Timespec;
use rustix::fs::Timestamps;
use rustix::fs::Uid;
use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::archive::Archive;
use super::archive::Entry;
use super::archive::Kind;
use super::pax::malformed;
use super::tree::Found;
use super::tree::Tree;
use super::tree::beside;
use super::tree::clean;
use super::tree::look;
use super::tree::split;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// AUFS kept its own files under such names; they are nobody's content.
const AUFS: &[u8] = b".wh..wh.";
pub(super) const OPAQUE_XATTR: &str = "trusted.overlay.opaque";
/// Makes overlayfs hide the whiteouts of a directory that no lower layer has, too.
pub(super) const ORIGIN_XATTR: &str = "trusted.overlay.origin";

/// What an unpacked layer is.
#[derive(Debug, Default)]
pub(super) struct Unpacked {
    /// The sum of the files' sizes, in bytes.
    pub(super) size: u64,
    /// Hard links to files that only a lower layer can have: the new name and the target's.
    pub(super) foreign_links: Vec<(Vec<u8>, Vec<u8>)>,
    /// The mode, owner and group of the layer's `./` entry.
    pub(super) root: Option<(u32, u32, u32)>,
    /// The root hides all lower layers.
    pub(super) opaque_root: bool,
}

/// Unpacks the whole archive into `directory`, which is empty.
pub(super) fn unpack<R: BufRead>(archive: &mut Archive<R>, directory: &Path) -> io::Result<Unpacked> {
    let mut unpacker = Unpacker::new(directory)?;
    while let Some(entry) = archive.next()? {
        let name = clean(&entry.path)?;
        unpacker.entry(&name, &entry, archive).map_err(|error| named(error, &name))?;
    }
    archive.drain()?;
    unpacker.finish()
}

/// Adds the name of the entry to what the kernel said about it.
fn named(error: io::Error, name: &[u8]) -> io::Error {
    let shown: String = String::from_utf8_lossy(&name[..name.len().min(200)]).escape_debug().collect();
    io::Error::new(error.kind(), format!("`{shown}`: {error}"))
}

struct Unpacker {
    tree: Tree,
    /// Times of directories, set when all is in them.
    directories: Vec<(Vec<u8>, (i64, u32))>,
    /// Names whose lower content this layer hides although the layer itself has something there.
    hidden: HashSet<Vec<u8>>,
    umask: u32,
    /// A directory with setgid or a default ACL was made, so that new files may inherit what we must undo.
    inherits: bool,
    made: Unpacked,
}

impl Unpacker {
    fn new(directory: &Path) -> io::Result<Unpacker> {
        Ok(Unpacker {
            tree: Tree::open(directory)?,
            directories: Vec::new(),
            hidden: HashSet::new(),
            umask: umask(),
            inherits: false,
            made: Unpacked::default(),
        })
    }

    fn entry<R: BufRead>(&mut self, name: &[u8], entry: &Entry, archive: &mut Archive<R>) -> io::Result<()> {
        let (above, last) = split(name);
        if above.split(|byte| *byte == b'/').any(|part| part.starts_with(WHITEOUT)) {
            return if above.starts_with(AUFS) { Ok(()) } else { Err(malformed("a whiteout used as a directory")) };
        }
        if last == OPAQUE {
            self.made.opaque_root |= above.is_empty();
            let directory = self.directory(above)?;
            return set_opaque(&directory);
        }
        if last.starts_with(AUFS) {
            return Ok(());
        }
        if let Some(hidden) = last.strip_prefix(WHITEOUT) {
            return self.whiteout(above, hidden);
        }
        if name.is_empty() {
            return self.root(entry);
        }
        let parent = self.directory(above)?;
        match entry.kind {
            Kind::File => self.file(&parent, name, entry, archive),
            Kind::Directory => self.make_directory(&parent, name, entry),
            Kind::HardLink => self.hard_link(&parent, name, &entry.link),
            Kind::Symlink => self.symlink(&parent, name, entry),
            Kind::Fifo | Kind::Character | Kind::Block => self.node(&parent, name, entry),
        }
    }

    /// The layer's own root, which must be a directory already.
    fn root(&mut self, entry: &Entry) -> io::Result<()> {
        if entry.kind != Kind::Directory {
            return Err(malformed("an entry without a name"));
        }
        let root = rustix::fs::openat(self.tree.root(), ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        self.made.root = Some((entry.mode, entry.uid, entry.gid));
        dress(&root, entry)?;
        self.directories.push((Vec::new(), entry.mtime));
        Ok(())
    }

    /// Opens a directory of the layer, making what is missing as 0755 of root.
    fn directory(&mut self, name: &[u8]) -> io::Result<Rc<OwnedFd>> {
        match self.tree.parent(name) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            opened => return opened,
        }
        let mut parent = Rc::new(self.tree.root().try_clone()?);
        let ends = name.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).chain([name.len()]);
        for end in ends {
            let part = split(&name[..end]).1;
            match look(&parent, part)? {
                Found::Nothing => make_plain_directory(&parent, part)?,
                Found::Whiteout => {
                    self.tree.remove(&parent, part)?;
                    make_plain_directory(&parent, part)?;
                    set_opaque(&open_directory(&parent, part)?)?;
                }
                Found::Directory | Found::Other => {}
            }
            parent = Rc::new(self.tree.resolve(&name[..end], OFlags::PATH | OFlags::DIRECTORY)?);
        }
        self.tree.parent(name)
    }

    fn whiteout(&mut self, above: &[u8], hidden: &[u8]) -> io::Result<()> {
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(malformed("a whiteout that hides no name"));
        }
        let parent = self.directory(above)?;
        match look(&parent, hidden)? {
            Found::Whiteout => return Ok(()),
            // Whiteouts only hide what lower layers have (OCI image-spec, layer.md).
            Found::Directory => set_opaque(&open_directory(&parent, hidden)?)?,
            Found::Other => {}
            Found::Nothing => {
                rustix::fs::mknodat(&*parent, hidden, FileType::CharacterDevice, Mode::empty(), 0)?;
                let directory = rustix::fs::openat(&*parent, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
                rustix::fs::fsetxattr(&directory, ORIGIN_XATTR, &[], XattrFlags::empty())?;
            }
        }
        self.hidden.insert(joined(above, hidden));
        Ok(())
    }

    fn file<R: BufRead>(&mut self, parent: &OwnedFd, name: &[u8], entry: &Entry, archive: &mut Archive<R>) -> io::Result<()> {
        let last = split(name).1;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || rustix::fs::openat(parent, last, flags, Mode::from_raw_mode(entry.mode & 0o777));
        let file = match create() {
            Err(Errno::EXIST) => {
                self.tree.remove(parent, last)?;
                create()?
            }
            created => created?,
        };
        match &entry.pieces {
            None => archive.data(entry.size, |bytes| write_all(&file, bytes))?,
            Some(pieces) => {
                may_grow_to(&file, entry.size)?;
                rustix::fs::ftruncate(&file, entry.size)?;
                for piece in pieces {
                    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(piece.offset))?;
                    archive.data(piece.length, |bytes| write_all(&file, bytes))?;
                }
            }
        }
        self.made.size += entry.size;
        if self.inherits || entry.uid != 0 || entry.gid != 0 || entry.mode & (self.umask | 0o7000) != 0 || !entry.xattrs.is_empty() {
            dress(&file, entry)?;
        }
        Ok(rustix::fs::futimens(&file, &times(entry.mtime))?)
    }

    fn make_directory(&mut self, parent: &OwnedFd, name: &[u8], entry: &Entry) -> io::Result<()> {
        let last = split(name).1;
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        let mut hides = self.hidden.contains(name);
        match rustix::fs::mkdirat(parent, last, mode) {
            Err(Errno::EXIST) if look(parent, last)? == Found::Directory => {}
            Err(Errno::EXIST) => {
                self.tree.remove(parent, last)?;
                rustix::fs::mkdirat(parent, last, mode)?;
                hides = true;
            }
            made => made?,
        }
        let directory = open_directory(parent, last)?;
        if hides {
            set_opaque(&directory)?;
        }
        self.inherits |= entry.mode & 0o2000 != 0 || entry.xattrs.iter().any(|(name, _)| name == b"system.posix_acl_default");
        dress(&directory, entry)?;
        self.directories.push((name.to_vec(), entry.mtime));
        Ok(())
    }

    fn hard_link(&mut self, parent: &OwnedFd, name: &[u8], link: &[u8]) -> io::Result<()> {
        let target = clean(link)?;
        if target == name {
            return if look(parent, split(name).1)? == Found::Other { Ok(()) } else { Err(malformed("a hard link to itself")) };
        }
        let (above, last) = split(&target);
        let (target_parent, found) = match self.tree.parent(above) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => (None, Found::Nothing),
            opened => {
                let opened = opened?;
                let found = look(&opened, last)?;
                (Some(opened), found)
            }
        };
        let (Some(target_parent), Found::Other) = (target_parent, found) else {
            return match found {
                Found::Nothing => self.link_later(parent, name, target),
                Found::Directory => Err(malformed("a hard link to a directory")),
                _ => Err(malformed("a hard link to a file that this layer removes")),
            };
        };
        let link = || rustix::fs::linkat(&*target_parent, last, parent, split(name).1, AtFlags::empty());
        match link() {
            Err(Errno::EXIST) => {
                self.tree.remove(parent, split(name).1)?;
                Ok(link()?)
            }
            linked => Ok(linked?),
        }
    }

    /// The target is not in this layer: a lower one may have it, which is known when that one is unpacked.
    fn link_later(&mut self, parent: &OwnedFd, name: &[u8], target: Vec<u8>) -> io::Result<()> {
        if look(parent, split(name).1)? != Found::Nothing {
            self.tree.remove(parent, split(name).1)?;
        }
        self.made.foreign_links.push((name.to_vec(), target));
        Ok(())
    }

    fn symlink(&mut self, parent: &OwnedFd, name: &[u8], entry: &Entry) -> io::Result<()> {
        let last = split(name).1;
        self.replacing(parent, last, || rustix::fs::symlinkat(&entry.link[..], parent, last))?;
        self.dress_node(parent, last, entry)
    }

    fn node(&mut self, parent: &OwnedFd, name: &[u8], entry: &Entry) -> io::Result<()> {
        let last = split(name).1;
        let kind = match entry.kind {
            Kind::Fifo => FileType::Fifo,
            Kind::Block => FileType::BlockDevice,
            _ => FileType::CharacterDevice,
        };
        if kind == FileType::CharacterDevice && entry.device == (0, 0) {
            return Err(malformed("a device 0:0, which overlayfs takes for a whiteout"));
        }
        let device = rustix::fs::makedev(entry.device.0, entry.device.1);
        let mode = Mode::from_raw_mode(entry.mode & 0o777);
        self.replacing(parent, last, || rustix::fs::mknodat(parent, last, kind, mode, device))?;
        self.dress_node(parent, last, entry)
    }

    /// Makes something that must not be there yet; what is there gives way.
    fn replacing(&mut self, parent: &OwnedFd, last: &[u8], make: impl Fn() -> rustix::io::Result<()>) -> io::Result<()> {
        match make() {
            Err(Errno::EXIST) => {
                self.tree.remove(parent, last)?;
                Ok(make()?)
            }
            made => Ok(made?),
        }
    }

    /// Owner, mode, xattrs and times of what cannot be opened.
    fn dress_node(&self, parent: &OwnedFd, last: &[u8], entry: &Entry) -> io::Result<()> {
        if self.inherits || entry.uid != 0 || entry.gid != 0 {
            rustix::fs::chownat(parent, last, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        if entry.kind != Kind::Symlink {
            // Not a symbolic link, because we have just made it; so there is nothing to follow.
            rustix::fs::chmodat(parent, last, Mode::from_raw_mode(entry.mode), AtFlags::empty())?;
        }
        for (key, value) in entry.xattrs.iter().filter(|(key, _)| is_content(key)) {
            tolerate(rustix::fs::lsetxattr(&beside(parent, last)[..], &key[..], value, XattrFlags::empty()))?;
        }
        Ok(rustix::fs::utimensat(parent, last, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn finish(self) -> io::Result<Unpacked> {
        for (name, mtime) in self.directories.iter().rev() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let opened = if name.is_empty() { self.tree.resolve(b".", flags) } else { self.tree.resolve(name, flags | OFlags::NOFOLLOW) };
            match opened {
                Ok(directory) => rustix::fs::futimens(&directory, &times(*mtime))?,
                // A later entry took its place.
                Err(error) if error.kind() == io::ErrorKind::NotFound || error.kind() == io::ErrorKind::NotADirectory => {}
                Err(error) => return Err(named(error, name)),
            }
        }
        Ok(self.made)
    }
}

/// Refuses a sparse file that its file system could never hold: whoever reads or copies it would meet all of its zeros.
fn may_grow_to(file: &OwnedFd, size: u64) -> io::Result<()> {
    let disk = rustix::fs::fstatvfs(file)?;
    // A tmpfs without a limit has no blocks.
    match disk.f_blocks.saturating_mul(disk.f_frsize) {
        room if room > 0 && size > room => Err(malformed(format!("a sparse file of {size} bytes, and its file system holds {room}"))),
        _ => Ok(()),
    }
}

/// Owner, then mode (a change of owner clears setuid), then xattrs (a change of either clears capabilities).
fn dress(file: &OwnedFd, entry: &Entry) -> io::Result<()> {
    rustix::fs::fchown(file, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode))?;
    for (key, value) in entry.xattrs.iter().filter(|(key, _)| is_content(key)) {
        tolerate(rustix::fs::fsetxattr(file, &key[..], value, XattrFlags::empty()))?;
    }
    Ok(())
}

/// overlayfs' own marks must not come from an archive: they would hide or redirect what lower layers have.
pub(super) fn is_content(xattr: &[u8]) -> bool {
    !xattr.starts_with(b"trusted.overlay.") && !xattr.starts_with(b"user.overlay.")
}

/// A file system without such attributes is no reason to refuse the layer; Docker does the same.
fn tolerate(outcome: rustix::io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(Errno::OPNOTSUPP | Errno::PERM) => Ok(()),
        outcome => Ok(outcome?),
    }
}

fn make_plain_directory(parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
    Ok(rustix::fs::chmodat(parent, name, Mode::from_raw_mode(0o755), AtFlags::empty())?)
}

fn open_directory(parent: &OwnedFd, name: &[u8]) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

/// Hides what lower layers have in a directory.
fn set_opaque(directory: &OwnedFd) -> io::Result<()> {
    // The descriptor may be an O_PATH one, which fsetxattr refuses.
    let own = rustix::fs::openat(directory, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(rustix::fs::fsetxattr(&own, OPAQUE_XATTR, b"y", XattrFlags::empty())?)
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

fn joined(above: &[u8], last: &[u8]) -> Vec<u8> {
    if above.is_empty() { last.to_vec() } else { [above, b"/", last].concat() }
}

/// The file mode creation mask, which only /proc tells without changing it for all threads.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    // Unknown: take every bit as masked, so that every mode is set for itself.
    line.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o777)
}

#[cfg(test)]
mod tests;
