//! A directory in which a step's layer comes to be; rubbish as soon as its maker is gone.

use std::fs;
use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::FlockOperation;

use crate::failure::Doing;
use crate::failure::Result;
use crate::place::Home;
use crate::state;

/// Ours among the directories in the making.
const PREFIX: &str = "build-";

/// `upper` and `work` of an overlay, and room for files that are only mounted. Locked while its maker lives.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    home: &'a Home,
    path: PathBuf,
    _lock: File,
}

impl<'a> Draft<'a> {
    /// Makes one.
    ///
    /// # Errors
    /// The store cannot be written.
    pub(super) fn begin(home: &'a Home) -> Result<Draft<'a>> {
        let path = home.making().join(format!("{PREFIX}{}", &state::random_hex()[..16]));
        let made = (|| {
            fs::create_dir_all(home.making())?;
            fs::create_dir(&path)?;
            let lock = File::open(&path)?;
            rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
            for name in ["upper", "work", "files"] {
                fs::create_dir(path.join(name))?;
                // Whatever the umask is: `upper` becomes the root directory.
                fs::set_permissions(path.join(name), fs::Permissions::from_mode(0o755))?;
            }
            Ok::<_, io::Error>(lock)
        })();
        let lock = made.doing(|| format!("cannot make a directory in {}", home.making().display()))?;
        Ok(Draft { home, path, _lock: lock })
    }

    pub(super) fn upper(&self) -> PathBuf {
        self.path.join("upper")
    }

    pub(super) fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// For files that a RUN sees and that are no part of its layer.
    pub(super) fn files(&self) -> PathBuf {
        self.path.join("files")
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Unique on this machine.
    pub(super) fn id(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // What a kill leaves is found by the next sweep.
        let _ = state::discard(self.home, &self.path);
    }
}

/// Takes away what builds that were killed have left; `end` ends what may still run in a draft, by its id and
/// where its files are.
pub(super) fn sweep(home: &Home, end: impl Fn(&str, &Path)) {
    let Ok(entries) = fs::read_dir(home.making()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(PREFIX) && is_abandoned(&entry.path()) {
            end(&name, &entry.path().join("files"));
            // What cannot be taken away now is tried again by the next build.
            let _ = state::discard(home, &entry.path());
        }
    }
}

/// A young one may not be locked yet.
fn is_abandoned(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let old = file.metadata().and_then(|meta| meta.modified()).is_ok_and(|time| time.elapsed().is_ok_and(|age| age.as_secs() >= 2));
    old && rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
}
