//! Files of a container as a tar stream, out and in.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;

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
use tar::EntryType;

use crate::image;
use crate::image::Archived;
use crate::paths::inside;
use crate::runtime;

use super::copy;
use super::copy::Links;

/// Writes what a path leads to as a tar stream, under the path's last name.
pub(super) fn pack(root: &OwnedFd, (path, links): (&str, Links), sink: &mut dyn Write) -> io::Result<()> {
    let spot = copy::source(root, path, links)?;
    let name = if path.ends_with("/.") { None } else { Path::new(path).file_name() };
    let what = Archived::Entry { parent: &spot.parent, child: &spot.name, name: name.unwrap_or(OsStr::new(".")) };
    image::write_archive(what, sink)
}

/// Writes a whole root as a tar stream.
pub(super) fn pack_all(root: &OwnedFd, sink: &mut dyn Write) -> io::Result<()> {
    image::write_archive(Archived::Content(copy::open_directory(root, OsStr::new("."))?), sink)
}

/// Unpacks a tar stream, compressed or not, into a directory that is there.
///
/// # Errors
/// The directory is none; a stream that breaks off or is no archive; a directory would take a file's place, or the other way.
pub(super) fn unpack(root: &OwnedFd, path: &str, stream: &mut dyn Read) -> io::Result<()> {
    let spot = copy::locate(root, Path::new(path), Links::Followed)?;
    if spot.kind != Some(FileType::Directory) {
        return Err(Errno::NOTDIR.into());
    }
    let mut unpacking = Unpacking { root, base: Path::new("/").join(path), directories: Vec::new() };
    let mut buffered = BufReader::with_capacity(64 * 1024, stream);
    match buffered.fill_buf()? {
        [0x1f, 0x8b, 8, ..] => unpacking.all(flate2::bufread::MultiGzDecoder::new(buffered)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => unpacking.all(zstd::Decoder::with_buffer(buffered)?),
        _ => unpacking.all(buffered),
    }
}

struct Unpacking<'a> {
    root: &'a OwnedFd,
    /// The directory that the archive goes into, as a path of the root.
    base: PathBuf,
    /// Directories with their times, set when all is in them.
    directories: Vec<(PathBuf, Timestamps)>,
}

impl Unpacking<'_> {
    fn all(&mut self, stream: impl Read) -> io::Result<()> {
        let mut archive = tar::Archive::new(stream);
        for entry in archive.entries()? {
            self.entry(&mut entry?)?;
        }
        for (path, times) in self.directories.iter().rev() {
            // One that a later entry has taken away has no time any more.
            if let Ok(directory) = runtime::open_in_root(self.root, path, OFlags::RDONLY | OFlags::DIRECTORY) {
                rustix::fs::futimens(&directory, times)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> io::Result<()> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader | EntryType::XHeader) {
            return Ok(());
        }
        let below = inside(OsStr::from_bytes(&entry.path_bytes()))?;
        let outcome = self.make(entry, &below);
        outcome.map_err(|error| io::Error::other(format!("`{}`: {error}", below.display())))
    }

    fn make(&mut self, entry: &mut tar::Entry<'_, impl Read>, below: &Path) -> io::Result<()> {
        let kind = entry.header().entry_type();
        let path = self.base.join(below);
        let times = times(entry)?;
        if kind.is_dir() {
            let directory = self.directory(below)?;
            furnish(&directory, entry)?;
            self.directories.push((path, times));
            return Ok(());
        }
        let Some(name) = below.file_name() else { return Err(io::Error::other("it has no name")) };
        let parent = self.directory(below.parent().unwrap_or(Path::new("")))?;
        let link = entry.link_name_bytes().map(|link| OsStr::from_bytes(&link).to_owned()).unwrap_or_default();
        match kind {
            EntryType::Link => {
                let first = self.base.join(inside(&link)?);
                let known = copy::locate(self.root, &first, Links::Kept)?;
                return copy::replacing(&parent, name, || rustix::fs::linkat(&known.parent, &known.name, &parent, name, AtFlags::empty()));
            }
            EntryType::Symlink => copy::replacing(&parent, name, || rustix::fs::symlinkat(&link, &parent, name))?,
            EntryType::Fifo | EntryType::Char | EntryType::Block => self.node(entry, (&parent, name))?,
            _ => {
                let file = copy::new_file(&parent, name)?;
                io::copy(entry, &mut File::from(file.try_clone()?))?;
                furnish(&file, entry)?;
                return Ok(rustix::fs::futimens(&file, &times)?);
            }
        }
        let (owner, group) = owners(entry)?;
        rustix::fs::chownat(&parent, name, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(rustix::fs::utimensat(&parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn node(&self, entry: &tar::Entry<'_, impl Read>, (parent, name): (&OwnedFd, &OsStr)) -> io::Result<()> {
        let header = entry.header();
        let kind = match header.entry_type() {
            EntryType::Fifo => FileType::Fifo,
            EntryType::Char => FileType::CharacterDevice,
            _ => FileType::BlockDevice,
        };
        // Many writers leave the fields of other kinds empty.
        let device = match kind {
            FileType::Fifo => 0,
            _ => rustix::fs::makedev(header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0)),
        };
        copy::replacing(parent, name, || rustix::fs::mknodat(parent, name, kind, Mode::RUSR | Mode::WUSR, device))?;
        copy::set_mode_of_node((parent, name), header.mode()?)
    }

    /// A directory below the base, made if it is not there.
    fn directory(&self, below: &Path) -> io::Result<OwnedFd> {
        let path = self.base.join(below);
        drop(runtime::make_in_root(self.root, &path)?);
        runtime::open_in_root(self.root, &path, OFlags::RDONLY | OFlags::DIRECTORY)
    }
}

/// Owner, mode and attributes of an open file or directory.
fn furnish(file: &OwnedFd, entry: &mut tar::Entry<'_, impl Read>) -> io::Result<()> {
    let (owner, group) = owners(entry)?;
    rustix::fs::fchown(file, Some(owner), Some(group))?; // before the mode: chown clears set-uid bits
    rustix::fs::fchmod(file, Mode::from_raw_mode(entry.header().mode()? & 0o7777))?;
    let Some(extensions) = entry.pax_extensions()? else { return Ok(()) };
    for extension in extensions.flatten() {
        if let Some(attribute) = extension.key_bytes().strip_prefix(b"SCHILY.xattr.") {
            // What this file system does not take is left behind.
            let _ = rustix::fs::fsetxattr(file, attribute, extension.value_bytes(), XattrFlags::empty());
        }
    }
    Ok(())
}

fn owners(entry: &tar::Entry<'_, impl Read>) -> io::Result<(Uid, Gid)> {
    let number = |id: u64| u32::try_from(id).map_err(|_| io::Error::other("an owner's number is too large"));
    Ok((Uid::from_raw(number(entry.header().uid()?)?), Gid::from_raw(number(entry.header().gid()?)?)))
}

fn times(entry: &tar::Entry<'_, impl Read>) -> io::Result<Timestamps> {
    let time = Timespec { tv_sec: i64::try_from(entry.header().mtime()?).unwrap_or(0), tv_nsec: 0 };
    Ok(Timestamps { last_access: time, last_modification: time })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o640);
            header.set_uid(u64::from(rustix::process::getuid().as_raw()));
            header.set_gid(u64::from(rustix::process::getgid().as_raw()));
            match kind {
                EntryType::Regular => {
                    header.set_size(text.len() as u64);
                    builder.append_data(&mut header, path, text.as_bytes()).unwrap();
                }
                _ => {
                    header.set_size(0);
                    builder.append_link(&mut header, path, text).unwrap();
                }
            }
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn an_archive_goes_where_it_is_sent_and_nowhere_else() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("root/dir")).unwrap();
        fs::write(place.path().join("secret"), "the host's").unwrap();
        symlink("/dir", place.path().join("root/way")).unwrap();
        let root = OwnedFd::from(File::open(place.path().join("root")).unwrap());
        let bytes = archive(&[
            ("a/f", EntryType::Regular, "x"),
            ("out", EntryType::Symlink, "../.."),
            ("out/secret", EntryType::Regular, "stolen"),
            ("again", EntryType::Link, "a/f"),
        ]);
        unpack(&root, "way", &mut bytes.as_slice()).unwrap();
        assert_eq!(fs::read_to_string(place.path().join("root/dir/a/f")).unwrap(), "x");
        assert_eq!(fs::read_to_string(place.path().join("root/dir/again")).unwrap(), "x");
        assert_eq!(fs::read_to_string(place.path().join("secret")).unwrap(), "the host's");
        assert_eq!(fs::read_to_string(place.path().join("root/secret")).unwrap(), "stolen", "the link leads to the root's own");
        assert!(unpack(&root, "none", &mut bytes.as_slice()).is_err());
    }
}
