//! Drafts: directories and files below `making/`, which are rubbish as soon as whoever makes them is gone.
//!
//! A draft is locked (flock(2)) from its making until its maker lets go of it or dies, however it dies. A sweep takes away
//! what nobody locks.

use std::fs;
use std::fs::DirBuilder;
use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::FlockOperation;
use rustix::fs::IFlags;

use crate::failure::Doing;
use crate::failure::Result;
use crate::place::Home;
use crate::state;

/// What drafts are called that need no care when they are left behind.
pub const PLAIN: &str = "draft-";

/// A directory in the making. What stands under its path when we let go of it goes to the trash.
#[derive(Debug)]
pub struct Draft<'a> {
    home: &'a Home,
    path: PathBuf,
    _lock: File,
}

impl<'a> Draft<'a> {
    /// Makes an empty directory (mode 0700) that only its maker may touch. Its name begins with `kind`: [`PLAIN`], or the caller's own
    /// for what is to be swept in a manner of its own.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn begin(home: &'a Home, kind: &str) -> Result<Draft<'a>> {
        let made = locked(home, kind, |path| {
            DirBuilder::new().mode(0o700).create(path)?;
            File::open(path)
        });
        let (path, lock) = made.doing(|| format!("cannot make a directory in {}", home.making().display()))?;
        Ok(Draft { home, path, _lock: lock })
    }

    /// Where it lies until it is moved to its place.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Unique on this machine.
    pub fn id(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // After a commit nothing is left; what a kill leaves is found by the next sweep.
        let _ = state::discard(self.home, &self.path);
    }
}

/// A file in the making, open for writing. What stands under its path when we let go of it is removed.
#[derive(Debug)]
pub struct DraftFile {
    /// The file itself.
    pub file: File,
    path: PathBuf,
}

impl DraftFile {
    /// Makes an empty file that only its maker may touch.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn begin(home: &Home) -> io::Result<DraftFile> {
        let (path, file) = locked(home, PLAIN, |path| File::options().read(true).write(true).create_new(true).open(path))?;
        Ok(DraftFile { file, path })
    }

    /// Where it lies until it is moved to its place.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DraftFile {
    fn drop(&mut self) {
        // After a commit nothing is left.
        let _ = fs::remove_file(&self.path);
    }
}

/// A file of the store's file system that has no name and is gone when it is closed.
///
/// # Errors
/// The store cannot be written.
pub fn unnamed(home: &Home) -> io::Result<File> {
    let draft = DraftFile::begin(home)?;
    draft.file.try_clone()
}

/// Takes away what makers left behind that did not live to finish; says whether there was something. First `end` gets the id and
/// the path of each, to end what may still use it.
pub fn sweep(home: &Home, kind: &str, end: impl Fn(&str, &Path)) -> bool {
    let Ok(entries) = fs::read_dir(home.making()) else { return false };
    let mut swept = false;
    for entry in entries.flatten() {
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        let Some(draft) = name.starts_with(kind).then(|| File::open(&path).ok()).flatten() else { continue };
        if rustix::fs::flock(&draft, FlockOperation::NonBlockingLockExclusive).is_ok() {
            end(&name, &path);
            // What cannot be taken away now is tried again by the next sweep.
            swept |= state::discard(home, &path).is_ok();
        }
    }
    swept
}

/// Makes the directory of drafts, and asks ext4 to put each of them into a part of the disk of its own (`chattr +T`).
///
/// Otherwise a new tree begins where the last one was deleted. There ext4 looks, for every file, at all the inodes that
/// were freed in the last minutes, because it does not take them again so soon (`recently_deleted`): seconds for a layer.
fn place(home: &Home) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(home.making())?;
    let Ok(directory) = File::open(home.making()) else { return Ok(()) };
    if let Ok(flags) = rustix::fs::ioctl_getflags(&directory)
        && !flags.contains(IFlags::TOPDIR)
    {
        // Other file systems have no such flag and no need of it.
        let _ = rustix::fs::ioctl_setflags(&directory, flags | IFlags::TOPDIR);
    }
    Ok(())
}

/// Makes something under a new name and locks it.
fn locked(home: &Home, kind: &str, make: impl Fn(&Path) -> io::Result<File>) -> io::Result<(PathBuf, File)> {
    place(home)?;
    loop {
        let path = home.making().join(format!("{kind}{}", &state::random_hex()[..16]));
        let file = match make(&path) {
            // A sweeper was there before us.
            Err(error) if error.kind() == io::ErrorKind::NotFound && home.making().is_dir() => continue,
            made => made?,
        };
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        // A sweeper may have taken it between the two calls.
        if fs::metadata(&path).is_ok_and(|found| file.metadata().is_ok_and(|ours| ours.ino() == found.ino())) {
            return Ok((path, file));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(directory: &tempfile::TempDir) -> Home {
        Home::at(directory.path().join("root"), directory.path().join("run"))
    }

    fn names(home: &Home) -> Vec<String> {
        fs::read_dir(home.making()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_sweep_takes_what_is_left_and_spares_what_is_in_the_making() {
        let directory = tempfile::tempdir().unwrap();
        let home = home(&directory);
        let (alive, file) = (Draft::begin(&home, PLAIN).unwrap(), DraftFile::begin(&home).unwrap());
        let left = home.making().join("draft-left");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("a"), "b").unwrap();
        fs::create_dir(home.making().join("other-left")).unwrap();
        assert!(sweep(&home, PLAIN, |id, path| assert!(id == "draft-left" && path == left)));
        assert!(!sweep(&home, PLAIN, |_, _| unreachable!("nothing is left")));
        let mut names = names(&home);
        names.sort();
        let mut expected = vec![alive.id().to_owned(), file.path().file_name().unwrap().to_str().unwrap().to_owned(), "other-left".into()];
        expected.sort();
        assert_eq!(names, expected);
    }

    #[test]
    fn what_is_let_go_of_is_gone_and_what_was_moved_stays() {
        let directory = tempfile::tempdir().unwrap();
        let home = home(&directory);
        drop((Draft::begin(&home, PLAIN).unwrap(), DraftFile::begin(&home).unwrap(), unnamed(&home).unwrap()));
        assert_eq!(names(&home), Vec::<String>::new());
        let draft = Draft::begin(&home, PLAIN).unwrap();
        fs::rename(draft.path(), home.root().join("place")).unwrap();
        drop(draft);
        assert!(home.root().join("place").is_dir());
    }

    #[test]
    fn makers_and_sweepers_beside_each_other_lose_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let home = home(&directory);
        std::thread::scope(|scope| {
            let maker = scope.spawn(|| (0..300).all(|_| Draft::begin(&home, PLAIN).is_ok_and(|draft| draft.path().is_dir())));
            while !maker.is_finished() {
                sweep(&home, PLAIN, |_, _| {});
            }
            assert!(maker.join().unwrap());
        });
    }
}
