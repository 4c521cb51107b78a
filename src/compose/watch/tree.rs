//! inotify(7) on directory trees: a watch for each directory, and one more for each that is made.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::fs::inotify;
use rustix::fs::inotify::ReadFlags;
use rustix::fs::inotify::WatchFlags;

use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;

const EVENTS: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ONLYDIR);

/// Directories that are watched.
pub(super) struct Tree {
    inotify: OwnedFd,
    directories: BTreeMap<i32, PathBuf>,
    /// What is to be watched, as it was asked for; a part of it may not be there yet.
    wanted: BTreeSet<PathBuf>,
}

/// Which directories are left out.
pub(super) type Ignored<'a> = &'a dyn Fn(&Path) -> bool;

impl Tree {
    pub(super) fn new() -> Result<Tree> {
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).map_err(io::Error::from);
        Ok(Tree { inotify: inotify.doing(|| "cannot watch files")?, directories: BTreeMap::new(), wanted: BTreeSet::new() })
    }

    /// Watches a file, or a directory and all below it; of what is not there, the nearest directory above.
    pub(super) fn add(&mut self, path: &Path, ignored: Ignored<'_>) -> Result<()> {
        self.wanted.insert(path.to_owned());
        if path.is_dir() {
            return self.descend(path, ignored, &mut BTreeSet::new());
        }
        match path.ancestors().skip(1).find(|above| above.is_dir()) {
            Some(above) => self.watch(above),
            None => Ok(()),
        }
    }

    fn watch(&mut self, directory: &Path) -> Result<()> {
        match inotify::add_watch(&self.inotify, directory, EVENTS) {
            Ok(number) => {
                self.directories.insert(number, directory.to_owned());
                Ok(())
            }
            // It went away meanwhile, and whoever has taken it away is heard.
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(()),
            Err(rustix::io::Errno::NOSPC) => Err(Failure::new(format!("cannot watch {}", directory.display()))
                .because("this user watches as many directories as the kernel allows")
                .hint("leave directories out with `ignore:`, or raise fs.inotify.max_user_watches")),
            Err(error) => Err(Failure::new(format!("cannot watch {}", directory.display())).because(error)),
        }
    }

    /// Watches a directory and all below it; what is in them counts as found.
    fn descend(&mut self, top: &Path, ignored: Ignored<'_>, found: &mut BTreeSet<PathBuf>) -> Result<()> {
        let mut open = vec![top.to_owned()];
        while let Some(directory) = open.pop() {
            if ignored(&directory) {
                continue;
            }
            // First the watch, then the look: nothing falls between.
            self.watch(&directory)?;
            let Ok(entries) = fs::read_dir(&directory) else { continue };
            for entry in entries.flatten() {
                found.insert(entry.path());
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.push(entry.path());
                }
            }
        }
        Ok(())
    }

    /// The paths that have changed; waits no longer than `limit` for the first.
    pub(super) fn heard(&mut self, limit: Duration, ignored: Ignored<'_>) -> Result<BTreeSet<PathBuf>> {
        let limit = Timespec { tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(limit.subsec_nanos()) };
        match rustix::event::poll(&mut [PollFd::new(&self.inotify, PollFlags::IN)], Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Failure::new("cannot wait for changes").because(error)),
        }
        let mut changed = BTreeSet::new();
        for (number, flags, name) in self.read()? {
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                // Nobody knows what has been missed.
                for path in self.wanted.clone() {
                    self.descend(&path, ignored, &mut changed)?;
                }
                continue;
            }
            if flags.contains(ReadFlags::IGNORED) {
                self.directories.remove(&number);
                continue;
            }
            let Some(path) = self.directories.get(&number).map(|directory| directory.join(&name)) else { continue };
            let is_new = flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
            if is_new && flags.contains(ReadFlags::ISDIR) {
                self.descend(&path, ignored, &mut changed)?;
            }
            // A part of the way to something that was not there.
            let awaited: Vec<_> =
                self.wanted.iter().filter(|wanted| is_new && **wanted != path && wanted.starts_with(&path)).cloned().collect();
            for wanted in awaited {
                self.add(&wanted, ignored)?;
            }
            changed.insert(path);
        }
        Ok(changed)
    }

    fn read(&self) -> Result<Vec<(i32, ReadFlags, PathBuf)>> {
        let mut space = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = inotify::Reader::new(&self.inotify, &mut space);
        let mut events = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| PathBuf::from(OsStr::from_bytes(name.to_bytes()))).unwrap_or_default();
                    events.push((event.wd(), event.events(), name));
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(events),
                Err(error) => return Err(Failure::new("cannot hear of changes").because(error)),
            }
        }
    }
}

/// All files below a path, or itself, without what is left out.
///
/// # Errors
/// A directory that cannot be read.
pub(super) fn files(top: &Path, ignored: Ignored<'_>) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![top.to_owned()];
    while let Some(path) = open.pop() {
        if path != top && ignored(&path) {
            continue;
        }
        if !path.is_dir() || path.is_symlink() {
            files.extend(path.symlink_metadata().is_ok().then_some(path));
            continue;
        }
        let entries = fs::read_dir(&path).doing(|| format!("cannot read {}", path.display()))?;
        open.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eventually(tree: &mut Tree, wanted: &Path) {
        let mut seen = BTreeSet::new();
        for _ in 0..100 {
            seen.extend(tree.heard(Duration::from_millis(50), &|path| path.ends_with("left")).unwrap());
            if seen.contains(wanted) {
                return;
            }
        }
        panic!("{} is not in {seen:?}", wanted.display());
    }

    #[test]
    fn changes_are_heard_also_in_directories_made_later() {
        let place = tempfile::tempdir().unwrap();
        let top = place.path();
        fs::create_dir(top.join("left")).unwrap();
        let mut tree = Tree::new().unwrap();
        tree.add(top, &|path| path.ends_with("left")).unwrap();
        fs::write(top.join("left/file"), "x").unwrap();
        fs::write(top.join("file"), "x").unwrap();
        eventually(&mut tree, &top.join("file"));
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::write(top.join("a/b/file"), "x").unwrap();
        eventually(&mut tree, &top.join("a/b/file"));
        fs::remove_file(top.join("a/b/file")).unwrap();
        eventually(&mut tree, &top.join("a/b/file"));
        assert!(!tree.directories.values().any(|directory| directory.ends_with("left")));
        assert_eq!(files(top, &|path| path.ends_with("left")).unwrap(), [top.join("file")]);
    }

    #[test]
    fn what_is_not_there_yet_is_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let wanted = place.path().join("later/deep/file");
        let mut tree = Tree::new().unwrap();
        tree.add(&wanted, &|_| false).unwrap();
        fs::create_dir_all(place.path().join("later/deep")).unwrap();
        fs::write(&wanted, "x").unwrap();
        eventually(&mut tree, &wanted);
    }
}
