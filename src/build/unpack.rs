//! ADD of a local archive: told by its content, unpacked with its own owners and times.
//!
//! Follows <https://github.com/moby/go-archive/blob/v0.1.0/archive.go> (`Untar`): the destination is the root that
//! every name and link of the archive is resolved in.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Seek;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::AtFlags;
use rustix::fs::FileType;
use rustix::fs::Mode as Bits;
use rustix::fs::OFlags;
use rustix::fs::XattrFlags;
use tar::EntryType;

use crate::build::copy::Writer;
use crate::build::copy::chown;
use crate::build::copy::set_time;
use crate::build::root::Root;
use crate::build::root::is_kept;
use crate::paths::inside;

/// What a file is to ADD.
pub(super) enum Kind {
    Archive(Box<dyn Read>),
    Plain,
}

/// Finds out what a file is.
///
/// # Errors
/// As read(2).
pub(super) fn kind(mut file: File) -> io::Result<Kind> {
    let Ok(plain) = decompressed(file.try_clone()?) else { return Ok(Kind::Plain) };
    let is_archive = tar::Archive::new(plain).entries().is_ok_and(|mut entries| entries.next().is_some_and(|first| first.is_ok()));
    if !is_archive {
        return Ok(Kind::Plain);
    }
    file.rewind()?;
    Ok(Kind::Archive(decompressed(file)?))
}

fn decompressed(file: File) -> io::Result<Box<dyn Read>> {
    let mut reader = BufReader::with_capacity(64 * 1024, file);
    let start = reader.fill_buf()?;
    if start.starts_with(&[0x1f, 0x8b, 8]) {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(reader)));
    }
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Ok(Box::new(zstd::Decoder::with_buffer(reader)?));
    }
    if start.starts_with(b"BZh") {
        return Ok(Box::new(bzip2::bufread::MultiBzDecoder::new(reader)));
    }
    if start.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
        return Ok(Box::new(lzma_rust2::XzReader::new(reader, true)));
    }
    Ok(Box::new(reader))
}

/// Unpacks an archive into a directory of the writer's root.
///
/// # Errors
/// An archive that breaks off, or wants out of the directory; what the kernel says.
pub(super) fn unpack(writer: &Writer<'_>, archive: Box<dyn Read>, dest: &str) -> io::Result<()> {
    writer.make_directories(Path::new(dest), 0o755)?;
    let root = writer.dest.below(&writer.dest.resolve(Path::new(dest))?)?;
    let mut unpacking = Unpacking { root: &root, owner: writer.owner, directories: Vec::new() };
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries()? {
        unpacking.entry(&mut entry?)?;
    }
    for (path, time) in unpacking.directories.iter().rev() {
        if let Ok((parent, name)) = root.parent(path) {
            set_time(&parent, &name, *time)?;
        }
    }
    Ok(())
}

struct Unpacking<'a> {
    root: &'a Root,
    owner: Option<(u32, u32)>,
    /// Directories with their times, set when all is in them.
    directories: Vec<(PathBuf, i64)>,
}

impl Unpacking<'_> {
    fn entry(&mut self, entry: &mut tar::Entry<'_, Box<dyn Read>>) -> io::Result<()> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader | EntryType::XHeader) {
            return Ok(());
        }
        let path = inside(OsStr::from_bytes(&entry.path_bytes()))?;
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        let plain = Writer { dest: self.root, owner: None, mode: None };
        plain.make_directories(path.parent().unwrap_or(Path::new("")), 0o755)?;
        let existing = self.root.find(&path)?;
        if existing.is_some_and(|meta| !(meta.is_dir() && kind.is_dir())) {
            remove_all(self.root, &path)?;
        }
        let (parent, name) = self.root.parent(&path)?;
        self.make(entry, &parent, &name, existing.is_some_and(|meta| meta.is_dir()))?;
        if kind.is_hard_link() {
            return Ok(());
        }
        self.furnish(entry, &parent, &name)?;
        let time = i64::try_from(entry.header().mtime()?).unwrap_or(0).saturating_mul(1_000_000_000);
        if kind.is_dir() {
            self.directories.push((path, time));
        }
        set_time(&parent, &name, time)
    }

    fn make(&self, entry: &mut tar::Entry<'_, Box<dyn Read>>, parent: &OwnedFd, name: &OsStr, there: bool) -> io::Result<()> {
        let header = entry.header();
        let mode = Bits::from_raw_mode(header.mode()? & 0o7777);
        let link = entry.link_name_bytes().map(|link| OsStr::from_bytes(&link).to_owned());
        // Many writers leave the fields of other kinds empty.
        let device = || Ok::<_, io::Error>(rustix::fs::makedev(header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0)));
        match header.entry_type() {
            EntryType::Directory if there => {}
            EntryType::Directory => rustix::fs::mkdirat(parent, name, mode)?,
            EntryType::Symlink => rustix::fs::symlinkat(link.unwrap_or_default(), parent, name)?,
            EntryType::Link => {
                let (from, from_name) = self.root.parent(&inside(&link.unwrap_or_default())?)?;
                rustix::fs::linkat(from, &from_name, parent, name, AtFlags::empty())?;
            }
            EntryType::Fifo => rustix::fs::mknodat(parent, name, FileType::Fifo, mode, 0)?,
            EntryType::Char => rustix::fs::mknodat(parent, name, FileType::CharacterDevice, mode, device()?)?,
            EntryType::Block => rustix::fs::mknodat(parent, name, FileType::BlockDevice, mode, device()?)?,
            _ => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                io::copy(entry, &mut File::from(rustix::fs::openat(parent, name, flags, Bits::from_raw_mode(0o600))?))?;
            }
        }
        Ok(())
    }

    /// Owner, attributes and mode.
    fn furnish(&self, entry: &mut tar::Entry<'_, Box<dyn Read>>, parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let header = entry.header();
        let id = |id: u64| u32::try_from(id).map_err(|_| io::Error::other("an owner's number is too large"));
        let (uid, gid) = self.owner.unwrap_or((id(header.uid()?)?, id(header.gid()?)?));
        let (kind, mode) = (header.entry_type(), header.mode()? & 0o7777);
        chown(parent, name, uid, gid)?;
        if kind.is_symlink() {
            return Ok(());
        }
        if let (true, Some(extensions)) = (kind.is_file() || kind.is_dir(), entry.pax_extensions()?) {
            let file = rustix::fs::openat(parent, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Bits::empty())?;
            for extension in extensions.flatten() {
                if let Some(attribute) = extension.key_bytes().strip_prefix(b"SCHILY.xattr.").filter(|name| is_kept(name)) {
                    // What this file system does not take is left behind.
                    let _ = rustix::fs::fsetxattr(&file, OsStr::from_bytes(attribute), extension.value_bytes(), XattrFlags::empty());
                }
            }
        }
        Ok(rustix::fs::chmodat(parent, name, Bits::from_raw_mode(mode), AtFlags::empty())?)
    }
}

/// Removes a tree, links not followed.
fn remove_all(root: &Root, path: &Path) -> io::Result<()> {
    let (parent, name) = root.parent(path)?;
    match rustix::fs::unlinkat(&parent, &name, AtFlags::empty()) {
        Err(rustix::io::Errno::ISDIR) => {}
        outcome => return Ok(outcome?),
    }
    let open = root.open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
    for child in crate::build::root::names_in(&open)? {
        remove_all(root, &path.join(child))?;
    }
    Ok(rustix::fs::unlinkat(&parent, &name, AtFlags::REMOVEDIR)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link in the archive to the host's `/` leads to the archive's own root.
    #[test]
    fn links_of_an_archive_stay_inside() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("outside")).unwrap();
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "out", place.path().join("outside")).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o640);
        builder.append_data(&mut header, "out/f", &b"x"[..]).unwrap();
        let bytes = builder.into_inner().unwrap();
        std::fs::create_dir(place.path().join("root")).unwrap();
        let root = Root::at(&place.path().join("root")).unwrap();
        let writer = Writer { dest: &root, owner: None, mode: None };
        unpack(&writer, Box::new(io::Cursor::new(bytes)), "/d").unwrap_or_default();
        assert!(!place.path().join("outside/f").exists());
    }
}
