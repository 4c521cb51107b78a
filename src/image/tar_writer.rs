//! Writes a tree as the tar stream of a layer.
//!
//! POSIX ustar with PAX records where ustar has no room, names sorted, whole seconds, whiteouts and opaque directories
//! in OCI form: the same tree always makes the same stream, so a layer of ours need not be stored as one.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::AtFlags;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::Stat;
use tar::EntryType;
use tar::Header;

use super::unpack::OPAQUE_XATTR;
use super::unpack::is_content;
use super::xattrs;

/// What [`write_archive`] writes.
#[derive(Debug)]
pub enum Archived<'a> {
    /// A file or tree, by its name in an open directory, under the name it has in the archive.
    Entry { parent: &'a OwnedFd, child: &'a OsStr, name: &'a OsStr },
    /// All that is in an open directory.
    Content(OwnedFd),
}

/// Writes files as a tar stream, in the form that layers have.
///
/// # Errors
/// What cannot be read; what the sink says.
pub fn write_archive(what: Archived<'_>, sink: &mut dyn io::Write) -> io::Result<()> {
    let mut writer = Writer::new(|bytes| sink.write_all(bytes));
    match what {
        Archived::Entry { parent, child, name } => writer.item(parent, child.as_bytes(), name.as_bytes().to_vec())?,
        Archived::Content(directory) => writer.content(directory)?,
    }
    writer.finish().map(drop)
}

/// Gives the tar stream of a tree to `sink`, piece by piece.
pub(super) struct Writer<F> {
    sink: F,
    written: u64,
    /// The sum of the files' sizes.
    content: u64,
    /// First names of files with several.
    links: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
}

/// A directory on the way down: what is still to be visited in it.
struct Level {
    directory: OwnedFd,
    /// Its name in the archive, with a slash at the end unless it is the root.
    name: Vec<u8>,
    /// Sorted backwards, so that the next one is the last.
    children: Vec<Vec<u8>>,
}

impl<F: FnMut(&[u8]) -> io::Result<()>> Writer<F> {
    pub(super) fn new(sink: F) -> Writer<F> {
        Writer { sink, written: 0, content: 0, links: HashMap::new(), buffer: vec![0; 256 << 10] }
    }

    /// Ends the stream; its length, and the sum of the files' sizes.
    pub(super) fn finish(mut self) -> io::Result<(u64, u64)> {
        self.put(&[0; 1024])?;
        Ok((self.written, self.content))
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        (self.sink)(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let padding = (size.next_multiple_of(512) - size) as usize;
        self.put(&[0; 512][..padding])
    }

    /// Writes all that is in a directory, names sorted.
    pub(super) fn tree(&mut self, root: &Path) -> io::Result<()> {
        let directory = rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        self.content(directory)
    }

    /// Writes all that is in an open directory, names sorted.
    pub(super) fn content(&mut self, directory: OwnedFd) -> io::Result<()> {
        self.below(Level::open(directory, Vec::new())?)
    }

    /// Writes one entry of a directory, and all below it, under a name.
    pub(super) fn item(&mut self, parent: &OwnedFd, child: &[u8], name: Vec<u8>) -> io::Result<()> {
        match self.entry(parent, child, name)? {
            Some(level) => self.below(level),
            None => Ok(()),
        }
    }

    fn below(&mut self, level: Level) -> io::Result<()> {
        let mut stack = vec![level];
        while let Some(level) = stack.last_mut() {
            let Some(child) = level.children.pop() else {
                stack.pop();
                continue;
            };
            let name = [&level.name[..], &child[..]].concat();
            if let Some(below) = self.entry(&level.directory, &child, name)? {
                stack.push(below);
            }
        }
        Ok(())
    }

    /// Writes one entry; a directory comes back to be gone through.
    fn entry(&mut self, parent: &OwnedFd, child: &[u8], mut name: Vec<u8>) -> io::Result<Option<Level>> {
        let found = rustix::fs::statat(parent, child, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::CharacterDevice if found.st_rdev == 0 => {
                self.whiteout(&name, b"")?;
                Ok(None)
            }
            // A socket means nothing without the process that made it; tar has no form for it, and Docker leaves it out.
            FileType::Socket => Ok(None),
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let directory = rustix::fs::openat(parent, child, flags, Mode::empty())?;
                name.push(b'/');
                let attributes = xattrs::of(&directory)?;
                self.header(&name, &found, EntryType::Directory, &Extra { attributes: &attributes, ..Extra::default() })?;
                if attributes.iter().any(|(key, value)| key == OPAQUE_XATTR.as_bytes() && value == b"y") {
                    self.whiteout(&name, b".wh..opq")?;
                }
                Level::open(directory, name).map(Some)
            }
            _ if found.st_nlink > 1 && self.links.contains_key(&identity(&found)) => {
                let first = self.links[&identity(&found)].clone();
                self.header(&name, &found, EntryType::Link, &Extra { link: &first, ..Extra::default() })?;
                Ok(None)
            }
            kind => {
                if found.st_nlink > 1 {
                    self.links.insert(identity(&found), name.clone());
                }
                self.leaf(parent, child, (&name, &found, kind)).map(|()| None)
            }
        }
    }

    fn leaf(&mut self, parent: &OwnedFd, child: &[u8], (name, found, kind): (&[u8], &Stat, FileType)) -> io::Result<()> {
        match kind {
            FileType::RegularFile => self.file(parent, child, (name, found)),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(parent, child, Vec::new())?;
                self.header(name, found, EntryType::Symlink, &Extra { link: target.to_bytes(), ..Extra::default() })
            }
            FileType::Fifo => self.header(name, found, EntryType::Fifo, &Extra::default()),
            FileType::CharacterDevice => self.header(name, found, EntryType::Char, &Extra::default()),
            FileType::BlockDevice => self.header(name, found, EntryType::Block, &Extra::default()),
            _ => Err(io::Error::other(format!("`{}` is of a kind that tar does not know", name.escape_ascii()))),
        }
    }

    fn file(&mut self, parent: &OwnedFd, child: &[u8], (name, found): (&[u8], &Stat)) -> io::Result<()> {
        // A FIFO that takes its place meanwhile would be waited for.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(parent, child, flags, Mode::empty())?;
        let attributes = xattrs::of(&opened)?;
        if attributes.iter().any(|(key, _)| key == b"trusted.overlay.metacopy" || key == b"trusted.overlay.redirect") {
            return Err(io::Error::other(format!("`{}` has its content in another layer", name.escape_ascii())));
        }
        let size = found.st_size as u64;
        self.header(name, found, EntryType::Regular, &Extra { size, attributes: &attributes, ..Extra::default() })?;
        let mut file = File::from(opened);
        let mut left = size;
        while left > 0 {
            let want = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = file.read(&mut self.buffer[..want])?;
            if count == 0 {
                return Err(io::Error::other(format!("`{}` became shorter while it was read", name.escape_ascii())));
            }
            (self.sink)(&self.buffer[..count])?;
            self.written += count as u64;
            left -= count as u64;
        }
        self.content += size;
        self.pad(size)
    }

    /// The marker file that hides `name`, or with a suffix the one that says more about the directory `name`.
    fn whiteout(&mut self, name: &[u8], suffix: &[u8]) -> io::Result<()> {
        let at = name.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let marker = [&name[..at], b".wh.", suffix, &name[at..]].concat();
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        let records = long_name(&mut header, &marker);
        self.finish_header(header, &records)
    }

    fn header(&mut self, name: &[u8], found: &Stat, kind: EntryType, extra: &Extra<'_>) -> io::Result<()> {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(found.st_mode & 0o7777);
        let mut records = long_name(&mut header, name);
        let number = |key: &str, value: i64, most: i64, records: &mut Vec<u8>| {
            if (0..=most).contains(&value) {
                return value as u64;
            }
            record(records, key.as_bytes(), value.to_string().as_bytes());
            0
        };
        header.set_uid(number("uid", found.st_uid.into(), 0o7_777_777, &mut records));
        header.set_gid(number("gid", found.st_gid.into(), 0o7_777_777, &mut records));
        header.set_mtime(number("mtime", found.st_mtime, 0o77_777_777_777, &mut records));
        header.set_size(number("size", extra.size as i64, 0o77_777_777_777, &mut records));
        if extra.link.len() > 100 {
            record(&mut records, b"linkpath", extra.link);
        }
        let fit = extra.link.len().min(100);
        header.as_old_mut().linkname[..fit].copy_from_slice(&extra.link[..fit]);
        if matches!(kind, EntryType::Char | EntryType::Block) {
            header.set_device_major(rustix::fs::major(found.st_rdev))?;
            header.set_device_minor(rustix::fs::minor(found.st_rdev))?;
        }
        for (key, value) in extra.attributes.iter().filter(|(key, _)| is_content(key)) {
            record(&mut records, &[b"SCHILY.xattr.", &key[..]].concat(), value);
        }
        self.finish_header(header, &records)
    }

    fn finish_header(&mut self, mut header: Header, records: &[u8]) -> io::Result<()> {
        if !records.is_empty() {
            let mut before = Header::new_ustar();
            before.set_entry_type(EntryType::XHeader);
            before.as_old_mut().name[..12].copy_from_slice(b"PaxHeaders.0");
            before.set_mode(0o644);
            before.set_mtime(0);
            before.set_uid(0);
            before.set_gid(0);
            before.set_size(records.len() as u64);
            before.set_cksum();
            self.put(before.as_bytes())?;
            self.put(records)?;
            self.pad(records.len() as u64)?;
        }
        header.set_cksum();
        self.put(header.as_bytes())
    }
}

/// What not every entry has.
#[derive(Default)]
struct Extra<'a> {
    size: u64,
    link: &'a [u8],
    attributes: &'a [(Vec<u8>, Vec<u8>)],
}

impl Level {
    fn open(directory: OwnedFd, name: Vec<u8>) -> io::Result<Level> {
        let mut children = Vec::new();
        for child in rustix::fs::Dir::read_from(&directory)? {
            let child = child?.file_name().to_bytes().to_vec();
            if child != b"." && child != b".." {
                children.push(child);
            }
        }
        children.sort_by(|one, other| other.cmp(one));
        Ok(Level { directory, name, children })
    }
}

fn identity(found: &Stat) -> (u64, u64) {
    (found.st_dev, found.st_ino)
}

/// Puts the name into the header as far as it fits, and gives the record that carries the rest.
fn long_name(header: &mut Header, name: &[u8]) -> Vec<u8> {
    let mut records = Vec::new();
    if name.len() > 100 {
        record(&mut records, b"path", name);
    }
    let fit = name.len().min(100);
    header.as_old_mut().name[..fit].copy_from_slice(&name[..fit]);
    records
}

/// Appends `length key=value\n`, where the length counts itself.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    length = rest + length.to_string().len();
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}
