//! Paths inside a root: resolved by the root's own rules, made where they are missing.
//!
//! Whatever a root holds, symbolic links included, no name in here leads out of it: each look-up is one openat2(2) with
//! `RESOLVE_IN_ROOT`, and each change is made relative to a directory that was found that way.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;
use rustix::io::Errno;

/// As many symbolic links as the kernel follows in one path.
const MOST_LINKS: usize = 40;

/// How often a look-up is tried again that a rename elsewhere has disturbed (openat2(2), EAGAIN).
const MOST_TRIES: usize = 64;

/// What has to be at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
}

/// Opens a file inside a root by the root's own rules (openat2(2) `RESOLVE_IN_ROOT`, no magic links).
///
/// # Errors
/// As openat2(2).
pub fn open_in_root(root: &OwnedFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    open_with(root, path, flags, ResolveFlags::empty())
}

/// As [`open_in_root`], but a symbolic link anywhere in the path is refused (ELOOP).
pub(super) fn open_without_links(root: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    open_with(root, path, flags, ResolveFlags::NO_SYMLINKS)
}

fn open_with(root: impl AsFd, path: &Path, flags: OFlags, more: ResolveFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | more;
    // openat2 refuses a mode for a file that is not to be made.
    let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o644) } else { Mode::empty() };
    let path = if path.as_os_str().is_empty() { Path::new("/") } else { path };
    for _ in 0..MOST_TRIES {
        match rustix::fs::openat2(root.as_fd(), path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN) => {}
            outcome => return Ok(outcome?),
        }
    }
    Err(Errno::AGAIN.into())
}

/// Opens a path inside a root (`O_PATH`) and makes what is missing of it, as root's, mode 0755.
///
/// A symbolic link that leads nowhere is followed, and what it names is made, inside the root as well.
pub(super) fn open_or_make(root: &OwnedFd, path: &Path, kind: Kind) -> io::Result<OwnedFd> {
    match open_in_root(root, path, OFlags::PATH) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(root, path, kind),
        outcome => outcome,
    }
}

/// Opens a directory inside a root (`O_PATH`) and makes what is missing of it, as root's, mode 0755, links resolved inside.
///
/// # Errors
/// As openat2(2) and mkdirat(2).
pub fn make_in_root(root: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    open_or_make(root, path, Kind::Directory)
}

/// Walks down the path and makes component after component.
fn make(root: &OwnedFd, path: &Path, kind: Kind) -> io::Result<OwnedFd> {
    let mut left: Vec<OsString> = components(path);
    let mut done = PathBuf::from("/");
    let mut links = 0;
    while let Some(name) = left.pop() {
        if name == OsStr::new("..") {
            // Only a link's text can bring these; what was walked so far is free of links.
            done.pop();
            continue;
        }
        let next = done.join(&name);
        let kind_here = if left.is_empty() { kind } else { Kind::Directory };
        match open_without_links(root, &next, OFlags::PATH) {
            Ok(_) => done = next,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_one(root, &done, &name, kind_here)?;
                done = next;
            }
            // The component is a symbolic link: its text takes its place.
            Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) && links < MOST_LINKS => {
                links += 1;
                let text = link_text(root, &done, &name)?;
                if text.is_absolute() {
                    done = PathBuf::from("/");
                }
                left.extend(components(&text));
            }
            Err(error) => return Err(error),
        }
    }
    open_without_links(root, &done, OFlags::PATH)
}

/// The components of a path, the last one first, without roots and dots.
fn components(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    names.rev().collect()
}

fn link_text(root: &OwnedFd, directory: &Path, name: &OsStr) -> io::Result<PathBuf> {
    let directory = open_without_links(root, directory, OFlags::PATH)?;
    let text = rustix::fs::readlinkat(&directory, name, Vec::new())?;
    Ok(PathBuf::from(String::from_utf8_lossy(text.as_bytes()).into_owned()))
}

fn make_one(root: &OwnedFd, directory: &Path, name: &OsStr, kind: Kind) -> io::Result<()> {
    let directory = open_without_links(root, directory, OFlags::PATH)?;
    let made = match kind {
        Kind::Directory => rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(0o755)),
        Kind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
            rustix::fs::openat(&directory, name, flags, Mode::from_raw_mode(0o755)).map(drop)
        }
    };
    match made {
        // Somebody else made it meanwhile; opening it at the end shows whether it will do.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    fn root() -> (tempfile::TempDir, OwnedFd) {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("root")).unwrap();
        let root = fs::File::open(directory.path().join("root")).unwrap().into();
        (directory, root)
    }

    /// A link to an absolute path means the root's file, and dots do not lead out.
    #[test]
    fn no_name_leads_out_of_the_root() {
        let (directory, root) = root();
        fs::write(directory.path().join("secret"), "the host's").unwrap();
        fs::write(directory.path().join("root/secret"), "the root's").unwrap();
        symlink("/secret", directory.path().join("root/absolute")).unwrap();
        symlink("../../../secret", directory.path().join("root/relative")).unwrap();
        for name in ["/absolute", "relative", "/../../secret", "../secret"] {
            let mut text = String::new();
            let file = open_in_root(&root, Path::new(name), OFlags::RDONLY).unwrap();
            fs::File::from(file).read_to_string(&mut text).unwrap();
            assert_eq!(text, "the root's", "{name}");
        }
    }

    #[test]
    fn missing_parts_are_made_inside() {
        let (directory, root) = root();
        let top = directory.path().join("root");
        symlink("/nowhere/deep", top.join("dangling")).unwrap();
        symlink("../../../../up", top.join("climbing")).unwrap();
        open_or_make(&root, Path::new("/a/b/c"), Kind::Directory).unwrap();
        open_or_make(&root, Path::new("/etc/hosts"), Kind::File).unwrap();
        open_or_make(&root, Path::new("dangling/x"), Kind::File).unwrap();
        open_or_make(&root, Path::new("/climbing/y"), Kind::Directory).unwrap();
        assert!(top.join("a/b/c").is_dir());
        assert!(top.join("etc/hosts").is_file());
        assert!(top.join("nowhere/deep/x").is_file());
        assert!(top.join("up/y").is_dir());
        assert!(!directory.path().join("up").exists());
    }

    /// Two links that name each other used up no more than the kernel's forty steps.
    #[test]
    fn a_circle_of_links_ends() {
        let (directory, root) = root();
        symlink("b", directory.path().join("root/a")).unwrap();
        symlink("a", directory.path().join("root/b")).unwrap();
        assert!(open_or_make(&root, Path::new("/a/x"), Kind::File).is_err());
    }
}
