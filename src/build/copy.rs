//! Writes what COPY and ADD have selected into a root.
//!
//! Where files end up, and which directories keep their mode, owner and time, follows
//! <https://github.com/tonistiigi/fsutil/blob/586307ad452f/copy/copy.go>.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::AtFlags;
use rustix::fs::FileType;
use rustix::fs::Gid;
use rustix::fs::Mode as Bits;
use rustix::fs::OFlags;
use rustix::fs::Timespec;
use rustix::fs::Timestamps;
use rustix::fs::Uid;
use rustix::fs::XattrFlags;

use crate::build::mode::Mode;
use crate::build::root::Meta;
use crate::build::root::Root;
use crate::build::root::attributes;
use crate::build::root::meta_at;
use crate::build::root::names_in;
use crate::build::root::read_link;
use crate::build::tree::Item;
use crate::build::tree::Selection;
use crate::build::tree::Tree;
use crate::paths;

/// Writes into a root.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    pub dest: &'a Root,
    /// `--chown`: user and group of all that is written.
    pub owner: Option<(u32, u32)>,
    /// `--chmod`.
    pub mode: Option<&'a Mode>,
}

/// Why something was not written.
#[derive(Debug)]
pub(super) enum CopyFault {
    /// A sentence in BuildKit's words.
    Refused(String),
    Io(PathBuf, io::Error),
}

impl Writer<'_> {
    /// Makes a directory and those above it; the ones that are there stay as they are. Says which it made.
    ///
    /// # Errors
    /// Something else is in the way.
    pub(super) fn make_directories(&self, path: &Path, mode: u32) -> io::Result<Vec<PathBuf>> {
        let (mut so_far, mut made) = (PathBuf::new(), Vec::new());
        for part in self.dest.resolve(path)?.iter() {
            so_far.push(part);
            match self.dest.find(&so_far)? {
                Some(meta) if meta.is_dir() => continue,
                Some(_) => return Err(io::ErrorKind::NotADirectory.into()),
                None => {}
            }
            let (parent, name) = self.dest.parent(&so_far)?;
            rustix::fs::mkdirat(&parent, &name, Bits::from_raw_mode(mode))?;
            if let Some((uid, gid)) = self.owner {
                chown(&parent, &name, uid, gid)?;
            }
            // After the owner, which takes special bits away; and whatever the umask is.
            rustix::fs::chmodat(&parent, &name, Bits::from_raw_mode(mode), AtFlags::empty())?;
            made.push(so_far.clone());
        }
        Ok(made)
    }

    /// Dates what is there.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn date(&self, path: &Path, seconds: i64) -> io::Result<()> {
        let (parent, name) = self.dest.parent(path)?;
        set_time(&parent, &name, seconds.saturating_mul(1_000_000_000))
    }

    fn parents_mode(&self) -> u32 {
        self.mode.and_then(Mode::for_parents).unwrap_or(0o755)
    }

    /// Prepares the way to a destination; returns where it is, links followed.
    fn prepare(&self, dest: &str) -> io::Result<PathBuf> {
        let (parent, last) = dest.rsplit_once('/').unwrap_or(("", dest));
        let ensured = if last.is_empty() || last == "." { dest } else { parent };
        self.make_directories(Path::new(ensured), self.parents_mode())?;
        self.dest.resolve(Path::new(&paths::clean(dest)))
    }

    /// Copies a selection to a destination.
    ///
    /// # Errors
    /// A directory in a file's place or the other way round; what the kernel says.
    pub(super) fn copy(&self, tree: &Tree, selection: &Selection, dest: &str) -> Result<(), CopyFault> {
        let at_dest = |error| CopyFault::Io(PathBuf::from(dest), error);
        let mut target = self.prepare(dest).map_err(at_dest)?;
        let Some(base) = selection.items.first() else { return Ok(()) };
        let found = self.dest.find(&target).map_err(at_dest)?;
        if !base.meta.is_dir() && found.is_some_and(|meta| meta.is_dir()) {
            target.push(&selection.name);
        }
        let made = if base.meta.is_dir() && found.is_none() { Some(target.as_path()) } else { target.parent() };
        self.make_directories(made.unwrap_or(Path::new("")), self.parents_mode()).map_err(at_dest)?;
        let mut copy = Copy { writer: self, tree, selection, target, links: HashMap::new(), directories: Vec::new(), parent: None };
        for item in &selection.items {
            copy.item(item)?;
        }
        copy.finish()
    }

    /// Writes a file whose text stands in the Dockerfile.
    ///
    /// # Errors
    /// As [`Writer::copy`].
    pub(super) fn document(&self, name: &str, content: &[u8], dest: &str) -> Result<(), CopyFault> {
        self.single(name, content, (0o644, None), dest).map_err(|error| CopyFault::Io(PathBuf::from(dest), error))
    }

    /// Writes a file that came from somewhere else, with its time in nanoseconds; nobody else may read it unless that is said.
    ///
    /// # Errors
    /// As [`Writer::copy`].
    pub(super) fn file(&self, name: &str, (content, modified): (File, i64), dest: &str) -> Result<(), CopyFault> {
        self.single(name, content, (0o600, Some(modified)), dest).map_err(|error| CopyFault::Io(PathBuf::from(dest), error))
    }

    fn single(&self, name: &str, mut content: impl io::Read, (mode, modified): (u32, Option<i64>), dest: &str) -> io::Result<()> {
        let mut target = self.prepare(dest)?;
        if self.dest.find(&target)?.is_some_and(|meta| meta.is_dir()) {
            target.push(name);
        }
        self.make_directories(target.parent().unwrap_or(Path::new("")), self.parents_mode())?;
        let (parent, name) = self.dest.parent(&target)?;
        io::copy(&mut content, &mut replace_with_file(&parent, &name)?)?;
        let (uid, gid) = self.owner.unwrap_or((0, 0));
        chown(&parent, &name, uid, gid)?;
        let mode = self.mode.map_or(mode, |change| change.apply(mode, false));
        rustix::fs::chmodat(&parent, &name, Bits::from_raw_mode(mode), AtFlags::empty())?;
        modified.map_or(Ok(()), |modified| set_time(&parent, &name, modified))
    }
}

/// One selection on its way.
struct Copy<'a> {
    writer: &'a Writer<'a>,
    tree: &'a Tree,
    selection: &'a Selection,
    target: PathBuf,
    /// Files with several names, by device and inode: where the first was written.
    links: HashMap<(u64, u64), PathBuf>,
    /// Directories whose mode, owner and time are set when all that is in them is written.
    directories: Vec<(PathBuf, &'a Item, Finish)>,
    /// The directory last written to: files come by directories.
    parent: Option<(PathBuf, OwnedFd)>,
}

/// What is set on a directory at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finish {
    All,
    Time,
}

impl<'a> Copy<'a> {
    fn item(&mut self, item: &'a Item) -> Result<(), CopyFault> {
        let target = item.below(&self.target);
        let existing = self.writer.dest.find(&target).map_err(|error| CopyFault::Io(target.clone(), error))?;
        let shown = || Path::new("/").join(&target).display().to_string();
        match (item.meta.is_dir(), existing) {
            (true, Some(meta)) if !meta.is_dir() => {
                return Err(CopyFault::Refused(format!("cannot copy to non-directory: {}", shown())));
            }
            (false, Some(meta)) if meta.is_dir() => {
                return Err(CopyFault::Refused(format!("cannot replace to directory {} with file", shown())));
            }
            _ => {}
        }
        let outcome = if item.meta.is_dir() { self.directory(item, &target, existing) } else { self.file(item, &target) };
        outcome.map_err(|error| CopyFault::Io(target, error))
    }

    /// The base is only a place to copy into: if it is there it keeps its mode and owner; what is below it does not.
    fn directory(&mut self, item: &'a Item, target: &Path, existing: Option<Meta>) -> io::Result<()> {
        let is_base = item.path.as_os_str().is_empty();
        if existing.is_some() {
            match (is_base, item.chosen) {
                (true, _) => self.directories.push((target.to_owned(), item, Finish::Time)),
                (false, true) => self.directories.push((target.to_owned(), item, Finish::All)),
                (false, false) => {}
            }
            return Ok(());
        }
        let (parent, name) = self.writer.dest.parent(target)?;
        rustix::fs::mkdirat(&parent, &name, Bits::from_raw_mode(0o700))?;
        if item.chosen {
            self.directories.push((target.to_owned(), item, Finish::All));
            return Ok(());
        }
        self.set_all(item, &parent, &name)
    }

    fn file(&mut self, item: &Item, target: &Path) -> io::Result<()> {
        let (directory, name) = (target.parent().unwrap_or(Path::new("")), target.file_name().unwrap_or_default());
        if self.parent.as_ref().is_none_or(|(path, _)| path != directory) {
            let open = self.writer.dest.open(directory, OFlags::PATH | OFlags::DIRECTORY)?;
            self.parent = Some((directory.to_owned(), open));
        }
        let Some((_, parent)) = self.parent.take() else { return Ok(()) };
        let outcome = self.file_in(item, &parent, name, target);
        self.parent = Some((directory.to_owned(), parent));
        outcome
    }

    fn file_in(&mut self, item: &Item, parent: &OwnedFd, name: &OsStr, target: &Path) -> io::Result<()> {
        let source = item.below(&self.selection.base);
        let key = (item.meta.device, item.meta.inode);
        if item.meta.is_file() && item.meta.links > 1 {
            if let Some(first) = self.links.get(&key) {
                remove_if_there(parent, name)?;
                let (first_parent, first_name) = self.writer.dest.parent(first)?;
                return Ok(rustix::fs::linkat(first_parent, &first_name, parent, name, AtFlags::empty())?);
            }
            self.links.insert(key, target.to_owned());
        }
        match item.meta.kind {
            FileType::RegularFile => {
                let mut from = self.tree.root.read(&source)?;
                let mut to = replace_with_file(parent, name)?;
                io::copy(&mut from, &mut to)?;
                self.set_owner(item, parent, name)?;
                copy_attributes(&from, &to);
            }
            FileType::Symlink => {
                let (directory, link) = self.tree.root.parent(&source)?;
                remove_if_there(parent, name)?;
                rustix::fs::symlinkat(read_link(&directory, &link)?, parent, name)?;
            }
            kind => {
                remove_if_there(parent, name)?;
                rustix::fs::mknodat(parent, name, kind, Bits::from_raw_mode(item.meta.mode), item.meta.rdev)?;
            }
        }
        self.set_all(item, parent, name)
    }

    fn set_owner(&self, item: &Item, parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let (uid, gid) = self.writer.owner.unwrap_or((item.meta.uid, item.meta.gid));
        chown(parent, name, uid, gid)
    }

    /// Owner, then mode, then time: each undoes a part of the one after it.
    fn set_all(&self, item: &Item, parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
        self.set_owner(item, parent, name)?;
        if item.meta.kind != FileType::Symlink {
            let mode = self.writer.mode.map_or(item.meta.mode, |mode| mode.apply(item.meta.mode, item.meta.is_dir()));
            rustix::fs::chmodat(parent, name, Bits::from_raw_mode(mode), AtFlags::empty())?;
        }
        set_time(parent, name, item.meta.modified)
    }

    /// Directories last, the deepest first: writing into one changes its time.
    fn finish(&mut self) -> Result<(), CopyFault> {
        for (target, item, finish) in std::mem::take(&mut self.directories).into_iter().rev() {
            let outcome = (|| {
                let (parent, name) = match target.file_name() {
                    Some(_) => self.writer.dest.parent(&target)?,
                    None => (self.writer.dest.open(Path::new(""), OFlags::PATH)?, OsString::from(".")),
                };
                match finish {
                    Finish::All => {
                        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                        let from = self.tree.root.open(&item.below(&self.selection.base), flags)?;
                        copy_attributes(&from, &self.writer.dest.open(&target, flags)?);
                        self.set_all(item, &parent, &name)
                    }
                    Finish::Time => set_time(&parent, &name, item.meta.modified),
                }
            })();
            outcome.map_err(|error| CopyFault::Io(target, error))?;
        }
        Ok(())
    }
}

/// Opens a new, empty file in the place of whatever was there.
fn replace_with_file(parent: &OwnedFd, name: &OsStr) -> io::Result<File> {
    remove_if_there(parent, name)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(parent, name, flags, Bits::from_raw_mode(0o600))?))
}

fn remove_if_there(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Copies extended attributes; one that the destination does not take is left behind, as BuildKit does.
fn copy_attributes(from: impl AsFd, to: impl AsFd) {
    for (name, value) in attributes(from) {
        let _ = rustix::fs::fsetxattr(&to, &name, &value, XattrFlags::empty());
    }
}

/// Changes the owner of a name, not of what it leads to.
///
/// # Errors
/// As fchownat(2).
pub(super) fn chown(parent: impl AsFd, name: &OsStr, uid: u32, gid: u32) -> io::Result<()> {
    let meta = meta_at(parent.as_fd(), name)?;
    if (meta.uid, meta.gid) == (uid, gid) {
        return Ok(());
    }
    // The largest number is no id: it means the one that is there.
    let (uid, gid) = ((uid != u32::MAX).then(|| Uid::from_raw(uid)), (gid != u32::MAX).then(|| Gid::from_raw(gid)));
    Ok(rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Sets a name's times, in nanoseconds since 1970.
///
/// # Errors
/// As utimensat(2).
pub(super) fn set_time(parent: impl AsFd, name: &OsStr, nanoseconds: i64) -> io::Result<()> {
    let time = Timespec { tv_sec: nanoseconds.div_euclid(1_000_000_000), tv_nsec: nanoseconds.rem_euclid(1_000_000_000) };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Gives everything in a tree that is younger this time, in seconds since 1970, the deepest first.
///
/// # Errors
/// As utimensat(2).
pub(super) fn age(tree: &Path, seconds: i64) -> io::Result<()> {
    let root = Root::at(tree)?;
    let directory = root.open(Path::new(""), OFlags::RDONLY | OFlags::DIRECTORY)?;
    age_in(&directory, seconds.saturating_mul(1_000_000_000))
}

fn age_in(directory: &OwnedFd, limit: i64) -> io::Result<()> {
    for name in names_in(directory)? {
        let meta = meta_at(directory, &name)?;
        if meta.is_dir() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            age_in(&rustix::fs::openat(directory, &name, flags, Bits::empty())?, limit)?;
        }
        // A whiteout has no time that anybody sees, and the kernel lets nobody set one.
        if meta.modified > limit && !(meta.kind == FileType::CharacterDevice && meta.rdev == 0) {
            set_time(directory, &name, limit)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::build::ignore::Patterns;
    use crate::build::tree::Choice;
    use crate::build::tree::Owners;

    /// A context with `dir/{one,sub/two}` and a destination with `there/` and a link `escape -> /../there`.
    fn places() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let join = |path: &str| place.path().join(path);
        fs::create_dir_all(join("from/dir/sub")).unwrap();
        fs::create_dir_all(join("to/there")).unwrap();
        fs::write(join("from/dir/one"), "1").unwrap();
        fs::write(join("from/dir/sub/two"), "2").unwrap();
        fs::hard_link(join("from/dir/one"), join("from/dir/again")).unwrap();
        fs::set_permissions(join("from/dir/sub"), fs::Permissions::from_mode(0o2750)).unwrap();
        symlink("/../there", join("to/escape")).unwrap();
        place
    }

    fn copy(place: &Path, source: &str, dest: &str) -> Result<(), CopyFault> {
        let tree = Tree { root: Root::at(&place.join("from")).unwrap(), owners: Owners::Kept, ignore: Patterns::default() };
        let dest_root = Root::at(&place.join("to")).unwrap();
        let selection = tree.select(Path::new(source), &Choice::default()).unwrap().unwrap();
        Writer { dest: &dest_root, owner: None, mode: None }.copy(&tree, &selection, dest)
    }

    #[test]
    fn a_directory_is_copied_by_what_is_in_it() {
        let place = places();
        copy(place.path(), "dir", "/new/x").unwrap();
        let at = |path: &str| place.path().join("to").join(path);
        assert_eq!(fs::read_to_string(at("new/x/sub/two")).unwrap(), "2");
        assert_eq!(fs::metadata(at("new/x/sub")).unwrap().mode() & 0o7777, 0o2750);
        assert_eq!(fs::metadata(at("new/x/one")).unwrap().ino(), fs::metadata(at("new/x/again")).unwrap().ino());
        let mtime = |path: PathBuf| fs::metadata(path).unwrap().mtime_nsec();
        assert_eq!(mtime(at("new/x/sub")), mtime(place.path().join("from/dir/sub")));
    }

    #[test]
    fn a_file_goes_into_a_directory_or_takes_a_name() {
        let place = places();
        let at = |path: &str| place.path().join("to").join(path);
        copy(place.path(), "dir/one", "/there").unwrap();
        assert!(at("there/one").is_file());
        copy(place.path(), "dir/one", "/escape/f").unwrap();
        assert!(at("there/f").is_file(), "the link is followed inside the root");
        copy(place.path(), "dir/one", "/a/b").unwrap();
        assert!(at("a/b").is_file());
        copy(place.path(), "dir/one", "/c/").unwrap();
        assert!(at("c/one").is_file());
    }

    #[test]
    fn a_directory_does_not_replace_a_file() {
        let place = places();
        copy(place.path(), "dir/one", "/f").unwrap();
        let fault = copy(place.path(), "dir", "/f").unwrap_err();
        assert!(matches!(fault, CopyFault::Refused(what) if what == "cannot copy to non-directory: /f"));
    }
}
