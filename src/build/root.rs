//! A directory as a root: every path is resolved inside it, whatever symbolic links it holds.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::ffi::OsStringExt;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::AtFlags;
use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;
use rustix::fs::Stat;

/// As many links as the kernel follows in one path, and then some.
const LINKS: usize = 255;

/// A root; the descriptor may be of a mount that nothing else can see.
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
}

/// What there is to know of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    pub kind: FileType,
    /// With the set-user-ID, set-group-ID and sticky bits, without the type.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub device: u64,
    pub inode: u64,
    pub links: u64,
    /// Of a device node.
    pub rdev: u64,
    /// Nanoseconds since 1970.
    pub modified: i64,
    /// Nanoseconds since 1970.
    pub changed: i64,
}

impl Meta {
    // The count of links has 32 bits on some machines.
    #[allow(clippy::useless_conversion)]
    fn of(stat: &Stat) -> Meta {
        let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Meta {
            kind: FileType::from_raw_mode(stat.st_mode),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            device: stat.st_dev,
            inode: stat.st_ino,
            links: stat.st_nlink.into(),
            rdev: stat.st_rdev,
            modified: nanoseconds(stat.st_mtime, stat.st_mtime_nsec as i64),
            changed: nanoseconds(stat.st_ctime, stat.st_ctime_nsec as i64),
        }
    }

    pub(super) fn is_dir(&self) -> bool {
        self.kind == FileType::Directory
    }

    pub(super) fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile
    }
}

impl Root {
    pub(super) fn of(fd: OwnedFd) -> Root {
        Root { fd }
    }

    /// Opens a directory of the host as a root.
    ///
    /// # Errors
    /// As open(2).
    pub(super) fn at(path: &Path) -> io::Result<Root> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Root { fd: rustix::fs::open(path, flags, Mode::empty())? })
    }

    /// Opens a path inside the root.
    ///
    /// # Errors
    /// As openat2(2).
    pub(super) fn open(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.fd, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                // A rename somewhere on the way makes the kernel unsure; it asks to be asked again.
                Err(rustix::io::Errno::AGAIN) => {}
                opened => return Ok(opened?),
            }
        }
    }

    /// Opens a directory inside the root as a root of its own.
    ///
    /// # Errors
    /// As openat2(2).
    pub(super) fn below(&self, path: &Path) -> io::Result<Root> {
        Ok(Root { fd: self.open(path, OFlags::PATH | OFlags::DIRECTORY)? })
    }

    /// Opens a file inside the root for reading.
    ///
    /// # Errors
    /// As openat2(2).
    pub(super) fn read(&self, path: &Path) -> io::Result<File> {
        Ok(File::from(self.open(path, OFlags::RDONLY | OFlags::NONBLOCK)?))
    }

    /// The directory that holds a path's last name, and that name; links on the way are followed, the last is not.
    ///
    /// # Errors
    /// As openat2(2); the root itself has no name.
    pub(super) fn parent(&self, path: &Path) -> io::Result<(OwnedFd, OsString)> {
        let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let parent = self.open(path.parent().unwrap_or(Path::new("")), OFlags::PATH | OFlags::DIRECTORY)?;
        Ok((parent, name.to_owned()))
    }

    /// What is at a path, the last link not followed; None if nothing is.
    ///
    /// # Errors
    /// As fstatat(2).
    pub(super) fn find(&self, path: &Path) -> io::Result<Option<Meta>> {
        let found = match path.file_name() {
            None => rustix::fs::fstat(&self.fd).map(|stat| Meta::of(&stat)).map_err(io::Error::from),
            Some(_) => self.parent(path).and_then(|(parent, name)| meta_at(&parent, &name)),
        };
        match found {
            Ok(meta) => Ok(Some(meta)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The path with every link in it followed inside the root, the last one too; what is not there stays as it is.
    /// Has no `/` at its beginning; the root is empty.
    ///
    /// # Errors
    /// More links than anyone means.
    pub(super) fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let mut resolved = PathBuf::new();
        let mut left: Vec<OsString> = parts(path).rev().collect();
        let mut links = 0;
        while let Some(part) = left.pop() {
            if part == ".." {
                resolved.pop();
                continue;
            }
            resolved.push(&part);
            let Some(link) = self.link(&resolved)? else { continue };
            links += 1;
            if links > LINKS {
                return Err(rustix::io::Errno::LOOP.into());
            }
            resolved.pop();
            if link.is_absolute() {
                resolved = PathBuf::new();
            }
            left.extend(parts(&link).rev());
        }
        Ok(resolved)
    }

    /// Where a link leads; None if the path is no link.
    fn link(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        if self.find(path)?.is_none_or(|meta| meta.kind != FileType::Symlink) {
            return Ok(None);
        }
        let (parent, name) = self.parent(path)?;
        read_link(&parent, &name).map(|text| Some(PathBuf::from(text)))
    }
}

/// The names in a path, `..` among them.
fn parts(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    let part = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().filter_map(part).collect::<Vec<_>>().into_iter()
}

/// What a name in a directory is; a link is not followed.
///
/// # Errors
/// As fstatat(2).
pub(super) fn meta_at(directory: impl AsFd, name: &OsStr) -> io::Result<Meta> {
    Ok(Meta::of(&rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?))
}

/// The text of a symbolic link.
///
/// # Errors
/// As readlinkat(2).
pub(super) fn read_link(directory: impl AsFd, name: &OsStr) -> io::Result<OsString> {
    Ok(OsString::from_vec(rustix::fs::readlinkat(directory, name, Vec::new())?.into_bytes()))
}

/// The names in an open directory, sorted.
///
/// # Errors
/// As getdents64(2).
pub(super) fn names_in(directory: impl AsFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The extended attributes of an open file that COPY keeps, sorted; none where the file system has none.
///
/// No others than these come into an image that BuildKit writes.
pub(super) fn attributes(file: impl AsFd) -> Vec<(OsString, Vec<u8>)> {
    let mut list = vec![0u8; 4096];
    let Ok(length) = rustix::fs::flistxattr(&file, &mut list[..]) else { return Vec::new() };
    let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut found: Vec<(OsString, Vec<u8>)> = names
        .filter(|name| is_kept(name))
        .filter_map(|name| {
            let name = OsStr::from_bytes(name);
            let mut value = vec![0u8; 65536];
            let length = rustix::fs::fgetxattr(&file, name, &mut value[..]).ok()?;
            value.truncate(length);
            Some((name.to_owned(), value))
        })
        .collect();
    found.sort();
    found
}

/// Whether an extended attribute comes into an image.
pub(super) fn is_kept(name: &[u8]) -> bool {
    name == b"security.capability"
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_leads_out_of_the_root() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("d")).unwrap();
        symlink("/../../etc", directory.path().join("d/up")).unwrap();
        symlink("d/up/x", directory.path().join("chain")).unwrap();
        symlink("loop", directory.path().join("loop")).unwrap();
        let root = Root::at(directory.path()).unwrap();
        for (path, resolved) in [("/chain", "etc/x"), ("d/../d/none/y", "d/none/y"), ("../..", ""), ("/d/up", "etc")] {
            assert_eq!(root.resolve(Path::new(path)).unwrap(), Path::new(resolved), "{path}");
        }
        assert!(root.resolve(Path::new("loop")).is_err());
        assert!(root.open(Path::new("d/up/passwd"), OFlags::PATH).is_err());
    }
}
