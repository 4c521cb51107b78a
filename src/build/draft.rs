//! A directory in which a step's layer comes to be; rubbish as soon as its maker is gone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use crate::failure::Doing;
use crate::failure::Result;
use crate::making;
use crate::place::Home;

/// Ours among the directories in the making.
const KIND: &str = "build-";

/// `upper` and `work` of an overlay, and room for files that are only mounted.
#[derive(Debug)]
pub(super) struct Draft<'a>(making::Draft<'a>);

impl<'a> Draft<'a> {
    /// Makes one.
    ///
    /// # Errors
    /// The store cannot be written.
    pub(super) fn begin(home: &'a Home) -> Result<Draft<'a>> {
        let draft = making::Draft::begin(home, KIND)?;
        for name in ["upper", "work", "files"] {
            let path = draft.path().join(name);
            // Whatever the umask is: `upper` becomes the root directory.
            let made = fs::create_dir(&path).and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)));
            made.doing(|| format!("cannot make {}", path.display()))?;
        }
        Ok(Draft(draft))
    }

    /// Removes what was written so far, at once and not by way of the trash: a disk that it filled has room when the user hears of it.
    pub(super) fn empty(&self) {
        for directory in [self.upper(), self.work()] {
            // What resists goes with the rest.
            let _ = fs::remove_dir_all(directory);
        }
    }

    pub(super) fn upper(&self) -> PathBuf {
        self.0.path().join("upper")
    }

    pub(super) fn work(&self) -> PathBuf {
        self.0.path().join("work")
    }

    /// For files that a RUN sees and that are no part of its layer.
    pub(super) fn files(&self) -> PathBuf {
        self.0.path().join("files")
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Unique on this machine.
    pub(super) fn id(&self) -> &str {
        self.0.id()
    }
}

/// Takes away what builds that were killed have left; `end` ends what may still run in a draft, by its id and
/// where its files are.
pub(super) fn sweep(home: &Home, end: impl Fn(&str, &Path)) {
    making::sweep(home, KIND, |id, path| end(id, &path.join("files")));
    // Secrets lie elsewhere, for as long as the draft of their step is there.
    let Ok(entries) = fs::read_dir(home.builds_run()) else { return };
    for entry in entries.flatten().filter(|entry| !home.making().join(entry.file_name()).exists()) {
        let _ = fs::remove_dir_all(entry.path());
    }
}
