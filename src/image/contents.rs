//! What is in an archive of images: where in the file each member lies.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::fs::File;
use std::io;
use std::io::BufReader;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;

use super::archive::Archive;
use super::archive::Kind;
use super::compression;
use super::compression::Compression;
use super::keep;
use super::pax::malformed;
use super::tree::clean;
use super::tree::split;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::making;
use crate::place::Home;

/// An archive of images has a few members for each layer.
const MOST_MEMBERS: usize = 1 << 20;
/// Links to links to layers: the oldest Docker wrote one.
const MOST_LINKS: usize = 8;

/// An archive that can be read at any place, or the directory it would be unpacked to.
pub(super) struct Contents {
    place: Place,
    members: HashMap<Vec<u8>, Member>,
}

enum Place {
    Archive(File),
    Directory(PathBuf),
}

#[derive(Debug, Clone)]
enum Member {
    File { offset: u64, size: u64 },
    Link(Vec<u8>),
}

impl Contents {
    /// Reads the headers of the archive. What is compressed or cannot be read twice is copied first, to a file that
    /// has no name.
    pub(super) fn read(home: &Home, mut input: File) -> Result<Contents> {
        let cannot = || "cannot read the archive";
        let mut start = [0; 6];
        let is_file = input.metadata().is_ok_and(|found| found.is_file());
        if is_file {
            // From where the caller stands, which need not be the beginning.
            let here = input.stream_position().doing(cannot)?;
            let count = input.read_at(&mut start, here).doing(cannot)?;
            let is_plain = Compression::of_start(&start[..count]) == Compression::None && compression::foreign(&start[..count]).is_none();
            if here == 0 && is_plain {
                return Contents::list(input).map_err(unreadable);
            }
        }
        let mut first = Vec::new();
        (&mut input).take(6).read_to_end(&mut first).doing(cannot)?;
        let whole = compression::foreign_to_plain(&first, io::Cursor::new(first.clone()).chain(input));
        let compression = if compression::foreign(&first).is_some() { Compression::None } else { Compression::of_start(&first) };
        let mut copy = making::unnamed(home).doing(|| "cannot make a file to keep the archive in")?;
        let copied = keep::plain(whole, compression).and_then(|mut plain| io::copy(&mut plain, &mut copy)).and_then(|_| copy.flush());
        copied.doing(|| "cannot copy the archive to the store")?;
        Contents::list(copy).map_err(unreadable)
    }

    fn list(file: File) -> io::Result<Contents> {
        let length = file.metadata()?.len();
        let mut reader = BufReader::new(file);
        reader.seek(SeekFrom::Start(0))?;
        let mut archive = Archive::new(reader);
        let mut members = HashMap::new();
        while let Some(entry) = archive.next()? {
            let name = clean(&entry.path)?;
            let offset = archive.position()?;
            if offset.checked_add(entry.size).is_none_or(|end| end > length) {
                return Err(malformed(format!("the archive ends inside `{}`", name.escape_ascii())));
            }
            let member = match entry.kind {
                Kind::File if entry.pieces.is_none() => Some(Member::File { offset, size: entry.size }),
                Kind::File => return Err(malformed(format!("`{}` is a sparse file", name.escape_ascii()))),
                Kind::HardLink => Some(Member::Link(clean(&entry.link)?)),
                Kind::Symlink => Some(Member::Link(clean(&[split(&name).0, b"/", &entry.link].concat())?)),
                _ => None,
            };
            archive.skip()?;
            members.extend(member.map(|member| (name, member)));
            if members.len() > MOST_MEMBERS {
                return Err(malformed("the archive has more members than any archive of images"));
            }
        }
        Ok(Contents { place: Place::Archive(archive.into_inner().into_inner()), members })
    }

    /// An image layout that is unpacked.
    pub(super) fn of_directory(path: &Path) -> Contents {
        Contents { place: Place::Directory(path.to_owned()), members: HashMap::new() }
    }

    /// Whether there is such a member.
    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The size of a member.
    pub(super) fn size(&self, name: &str) -> Option<u64> {
        self.find(name).map(|(_, size)| size)
    }

    fn find(&self, name: &str) -> Option<(u64, u64)> {
        let mut name = clean(name.as_bytes()).ok()?;
        if let Place::Directory(directory) = &self.place {
            let found = fs::metadata(directory.join(OsStr::from_bytes(&name))).ok()?;
            return found.is_file().then_some((0, found.len()));
        }
        for _ in 0..MOST_LINKS {
            match self.members.get(&name)? {
                Member::File { offset, size } => return Some((*offset, *size)),
                Member::Link(target) => name.clone_from(target),
            }
        }
        None
    }

    /// Reads a small member whole.
    pub(super) fn small(&self, name: &str, most: u64) -> Result<Vec<u8>> {
        let cannot = || Failure::new(format!("cannot read `{name}` of the archive"));
        let (offset, size) = self.find(name).ok_or_else(|| cannot().because("there is no such member"))?;
        if size > most {
            return Err(cannot().because(format!("it has {size} bytes")));
        }
        let mut bytes = vec![0; size as usize];
        self.file(name).and_then(|file| file.read_exact_at(&mut bytes, offset)).map_err(|error| cannot().because(error))?;
        Ok(bytes)
    }

    /// A member as a stream.
    pub(super) fn open(&self, name: &str) -> Result<Part> {
        let (offset, size) = self.find(name).ok_or_else(|| Failure::new(format!("cannot find `{name}` in the archive")))?;
        let file = self.file(name).doing(|| format!("cannot read `{name}` of the archive"))?;
        Ok(Part { file, offset, left: size })
    }

    fn file(&self, name: &str) -> io::Result<File> {
        match &self.place {
            Place::Archive(file) => file.try_clone(),
            Place::Directory(directory) => File::open(directory.join(OsStr::from_bytes(&clean(name.as_bytes())?))),
        }
    }
}

/// A stretch of a file.
pub(super) struct Part {
    file: File,
    offset: u64,
    left: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..want], self.offset)?;
        if count == 0 && want > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive became shorter"));
        }
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

fn unreadable(error: io::Error) -> Failure {
    let failure = Failure::new("cannot read the archive").because(&error);
    if error.kind() == io::ErrorKind::InvalidData {
        return failure.hint("what is wanted is a tar archive of images, as `coracle save` writes it");
    }
    failure
}
