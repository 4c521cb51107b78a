//! Records on disk: each is made whole elsewhere and moved into place, so a crash leaves the old or the new.

use std::collections::HashSet;
use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use rustix::fs::FlockOperation;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

/// How often a directory may be taken away while something is written into it.
const ATTEMPTS: u32 = 100;

/// Reads a JSON record.
///
/// # Errors
/// Says which file cannot be read or understood.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).doing(|| format!("cannot read the record {}", path.display()))?;
    serde_json::from_slice(&bytes).doing(|| format!("cannot understand the record {}", path.display()))
}

/// Reads a JSON record that may not be there.
///
/// # Errors
/// Says which file cannot be read or understood; a missing one is `Ok(None)`.
pub fn find_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match fs::read(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        read => read.doing(|| format!("cannot read the record {}", path.display()))?,
    };
    serde_json::from_slice(&bytes).map(Some).doing(|| format!("cannot understand the record {}", path.display()))
}

/// Writes a JSON record so that a reader sees the old one or the new one, never a part.
///
/// # Errors
/// The old record is still there.
pub fn write_json<T: Serialize + ?Sized>(path: &Path, record: &T) -> Result<()> {
    let bytes = serde_json::to_vec_pretty(record).doing(|| format!("cannot write the record {}", path.display()))?;
    write_whole(path, &bytes)
}

/// Writes a file so that a reader sees the old bytes or the new ones; missing directories are made.
///
/// # Errors
/// The old file is still there.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let draft = draft_of(path);
        let outcome = fs::write(&draft, bytes).and_then(|()| fs::rename(&draft, path));
        if outcome.is_err() {
            let _ = fs::remove_file(&draft);
        }
        outcome
    };
    let mut written = write();
    // Directories that are made when needed are removed when empty: somebody may have done so just now.
    for _ in 0..ATTEMPTS {
        if !written.as_ref().is_err_and(|error: &io::Error| error.kind() == io::ErrorKind::NotFound) {
            break;
        }
        written = write();
    }
    written.map_err(|error| unwritable(&error, format!("cannot write {}", path.display())))
}

/// Says what to do about a data directory that cannot be written to.
fn unwritable(error: &io::Error, what: String) -> Failure {
    let failure = Failure::new(what).because(error);
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => failure.hint("mount the data directory writable, or choose another one with `--root`"),
        io::ErrorKind::PermissionDenied => failure.hint("choose a data directory of your own with `--root`, or become root"),
        _ => failure,
    }
}

/// A name beside `path` that no other process or thread uses.
fn draft_of(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    path.with_file_name(name)
}

/// An advisory lock, held until dropped; the kernel drops it when we die.
///
/// The descriptor is close-on-exec, but a forked child that lives on holds the lock too: never fork a process
/// that stays while one of these is held.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock `name` in this home, alone.
    ///
    /// # Errors
    /// The lock file cannot be made.
    pub fn alone(home: &Home, name: &str) -> Result<Lock> {
        Lock::take(&home.locks().join(name), FlockOperation::LockExclusive)
    }

    /// Waits for the lock `name` in this home, with others that share it.
    ///
    /// # Errors
    /// The lock file cannot be made.
    pub fn shared(home: &Home, name: &str) -> Result<Lock> {
        Lock::take(&home.locks().join(name), FlockOperation::LockShared)
    }

    /// Takes the lock only if nobody holds it.
    ///
    /// # Errors
    /// The lock file cannot be made; a lock that is held is `Ok(None)`.
    pub fn attempt(home: &Home, name: &str) -> Result<Option<Lock>> {
        let path = home.locks().join(name);
        let file = Lock::open(&path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(io::Error::from(error)).doing(|| format!("cannot lock {}", path.display())),
        }
    }

    /// Waits for the lock of something that lies elsewhere, alone.
    ///
    /// # Errors
    /// The lock file cannot be made.
    pub fn at(path: &Path) -> Result<Lock> {
        Lock::take(path, FlockOperation::LockExclusive)
    }

    fn take(path: &Path, how: FlockOperation) -> Result<Lock> {
        let file = Lock::open(path)?;
        loop {
            match rustix::fs::flock(&file, how) {
                Err(rustix::io::Errno::INTR) => {}
                outcome => {
                    outcome.map_err(io::Error::from).doing(|| format!("cannot lock {}", path.display()))?;
                    return Ok(Lock { _file: file });
                }
            }
        }
    }

    fn open(path: &Path) -> Result<File> {
        let opened = (|| {
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory)?;
            }
            OpenOptions::new().create(true).truncate(false).write(true).open(path)
        })();
        opened.map_err(|error| unwritable(&error, format!("cannot open the lock {}", path.display())))
    }
}

/// Appends one line to a file in one write.
///
/// # Errors
/// As open(2) and write(2).
pub fn append_line(path: &Path, line: &str) -> io::Result<()> {
    OpenOptions::new().create(true).append(true).open(path)?.write_all(format!("{line}\n").as_bytes())
}

/// Takes a tree out of sight by one rename; [`empty_trash`] deletes it later. A missing tree is no error.
///
/// # Errors
/// The tree is still where it was.
pub fn discard(home: &Home, tree: &Path) -> Result<()> {
    let trash = if tree.starts_with(home.run()) { home.run_trash() } else { home.trash() };
    let grave = trash.join(random_hex());
    let absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let mut moved = fs::rename(tree, &grave);
    if moved.as_ref().is_err_and(absent) && fs::symlink_metadata(tree).is_ok() {
        fs::create_dir_all(&trash).doing(|| format!("cannot make {}", trash.display()))?;
        moved = fs::rename(tree, &grave);
    }
    match moved {
        Err(error) if absent(&error) => Ok(()),
        outcome => outcome.map_err(|error| unwritable(&error, format!("cannot remove {}", tree.display()))),
    }
}

/// Begins our own program in a role that tends the store, after the command that begins it has ended: it gets the two directories of
/// the store and `more` as arguments, no streams and no environment, and a Ctrl-C does not reach it.
///
/// # Errors
/// It cannot be begun.
pub fn begin_tending(home: &Home, role: &str, more: &[String]) -> io::Result<()> {
    Command::new("/proc/self/exe")
        .arg0("coracle")
        .arg(role)
        .args([home.root(), home.run()])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .env_clear()
        .current_dir("/")
        .process_group(0)
        .spawn()
        .map(drop)
}

/// Deletes what [`discard`] took away, as far as it can; what it cannot stays for the next time.
pub fn empty_trash(home: &Home) {
    for graves in [home.trash(), home.run_trash()].iter().filter_map(|trash| fs::read_dir(trash).ok()) {
        for grave in graves.flatten() {
            let _ = fs::remove_dir_all(grave.path()).or_else(|_| fs::remove_file(grave.path()));
        }
    }
}

/// Whether there is something that [`empty_trash`] would delete.
pub fn has_trash(home: &Home) -> bool {
    fs::read_dir(home.trash()).is_ok_and(|mut graves| graves.next().is_some())
}

/// What a tree takes of the disk, in bytes: files with several names count once, holes not at all. What cannot be read,
/// or goes meanwhile, does not count.
pub fn weight(tree: &Path) -> u64 {
    let (mut sum, mut seen) = (0, HashSet::new());
    let mut waiting = vec![tree.to_owned()];
    while let Some(directory) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            // Of the entry itself: a symbolic link is not followed.
            let Ok(found) = entry.metadata() else { continue };
            if found.nlink() > 1 && !found.is_dir() && !seen.insert((found.dev(), found.ino())) {
                continue;
            }
            if found.is_dir() {
                waiting.push(entry.path());
            } else {
                sum += found.blocks() * 512;
            }
        }
    }
    sum
}

/// Fills at most 256 bytes with random ones.
///
/// By getrandom(2), which needs nothing: a crate that opens /dev/urandom where it finds no C library to load cannot do so when no
/// descriptor is left.
///
/// # Errors
/// As getrandom(2).
pub fn fill_randomly(bytes: &mut [u8]) -> io::Result<()> {
    rustix::rand::getrandom(bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(())
}

/// 64 random hexadecimal digits, as Docker makes container ids.
pub fn random_hex() -> String {
    let mut bytes = [0u8; 32];
    fill_randomly(&mut bytes).expect("the kernel always has random bytes after boot");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
