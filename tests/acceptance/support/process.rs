//! The processes of a world, as its own /proc shows them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

/// A process, by its number in the world.
#[derive(Debug, Clone)]
pub struct Process {
    pub pid: u32,
    pub parent: u32,
    pub command: String,
    /// Lines of its `cgroup` file.
    pub cgroups: String,
    /// In clock ticks since the machine started: tells it from a later one with the same number.
    pub started: u64,
    executable: Option<(u64, u64)>,
}

/// The same process, though it may have another parent by now.
impl PartialEq for Process {
    fn eq(&self, other: &Process) -> bool {
        (self.pid, self.started) == (other.pid, other.started)
    }
}

impl Process {
    /// Whether it runs this very file.
    pub fn runs(&self, file: &Path) -> bool {
        let wanted = fs::metadata(file).expect("the program is there");
        self.executable == Some((wanted.dev(), wanted.ino()))
    }

    /// Reads it from /proc; None if it has ended (a zombie has).
    pub fn read(directory: &Path) -> Option<Process> {
        let pid = directory.file_name()?.to_str()?.parse().ok()?;
        let stat = fs::read_to_string(directory.join("stat")).ok()?;
        // The name before it may have blanks and parentheses in it.
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        if matches!(fields.first(), Some(&"Z" | &"X") | None) {
            return None;
        }
        let command = fs::read(directory.join("cmdline")).ok()?;
        Some(Process {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            command: String::from_utf8_lossy(&command).replace('\0', " ").trim_end().to_owned(),
            cgroups: fs::read_to_string(directory.join("cgroup")).ok()?,
            started: fields.get(19)?.parse().ok()?,
            executable: fs::metadata(directory.join("exe")).ok().map(|file| (file.dev(), file.ino())),
        })
    }
}

/// All processes that this /proc shows, by number.
pub fn all(proc: &Path) -> Vec<Process> {
    let entries = fs::read_dir(proc).unwrap_or_else(|error| panic!("cannot list {}: {error}", proc.display()));
    let directories = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let is_process = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
    let mut found: Vec<_> = directories.filter(is_process).filter_map(|path| Process::read(&path)).collect();
    found.sort_by_key(|process| process.pid);
    found
}
