//! A file that comes whole or not at all.

use std::fs;
use std::fs::File;
use std::io;
use std::io::BufWriter;
use std::io::ErrorKind;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use crate::failure::Doing;
use crate::failure::Result;
use crate::state;

/// A result on its way to a file. It is written beside its place, so that a failure leaves there what was there; what is no plain
/// file, such as a pipe, is written to at once.
pub(super) struct Arriving {
    out: BufWriter<File>,
    dest: PathBuf,
    draft: Option<PathBuf>,
}

impl Arriving {
    /// Makes the directories above it, too.
    ///
    /// # Errors
    /// The place cannot be written.
    pub(super) fn begin(dest: &Path) -> Result<Arriving> {
        if let Some(parent) = dest.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).doing(|| format!("cannot make {}", parent.display()))?;
        }
        // Not of what a link leads to: /dev/stdout is a link, and what it leads to must not be replaced.
        let is_plain = match fs::symlink_metadata(dest) {
            Ok(found) => found.is_file(),
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        let draft = is_plain.then(|| {
            let name = dest.file_name().unwrap_or_default().to_string_lossy();
            dest.with_file_name(format!(".{name}.{}", &state::random_hex()[..8]))
        });
        let file = File::create(draft.as_deref().unwrap_or(dest)).doing(|| format!("cannot write {}", dest.display()))?;
        Ok(Arriving { out: BufWriter::with_capacity(1 << 20, file), dest: dest.to_owned(), draft })
    }

    /// Puts it in its place.
    ///
    /// # Errors
    /// What could not be written until now.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.out.flush()?;
        match self.draft.as_ref() {
            Some(draft) => fs::rename(draft, &self.dest)?,
            None => return Ok(()),
        }
        self.draft = None;
        Ok(())
    }
}

impl Write for Arriving {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if let Some(draft) = &self.draft {
            let _ = fs::remove_file(draft);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_whole_or_not_at_all() {
        let place = tempfile::tempdir().unwrap();
        let dest = place.path().join("new/file");
        let mut first = Arriving::begin(&dest).unwrap();
        first.write_all(b"one").unwrap();
        assert!(!dest.exists());
        first.end().unwrap();
        let mut second = Arriving::begin(&dest).unwrap();
        second.write_all(b"two").unwrap();
        drop(second);
        assert_eq!(fs::read(&dest).unwrap(), b"one");
        assert_eq!(fs::read_dir(dest.parent().unwrap()).unwrap().count(), 1, "nothing beside it");
        let link = place.path().join("link");
        std::os::unix::fs::symlink(&dest, &link).unwrap();
        let mut third = Arriving::begin(&link).unwrap();
        third.write_all(b"three").unwrap();
        third.end().unwrap();
        assert_eq!(fs::read(&dest).unwrap(), b"three", "the link leads there");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
