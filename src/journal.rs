//! What has happened: one line of JSON for each event, written by whoever did it, read by whoever wants to follow.
//!
//! Kept for a while, not for ever: a file that has grown large takes the place of the one before it. That an event cannot
//! be written down is no reason to fail for what made it.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::fs::inotify;
use serde::Deserialize;
use serde::Serialize;

use crate::failure::Doing;
use crate::failure::Result;
use crate::place::Home;
use crate::units;

/// Something that has happened to a thing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// `container`, `network`, `volume`, `image`.
    pub kind: String,
    /// `create`, `start`, `die` … in Docker's words.
    pub action: String,
    pub id: String,
    /// Name, image, labels and what the action brings.
    pub attributes: BTreeMap<String, String>,
}

/// A file of this size makes way for a new one.
const LARGEST: u64 = 8 << 20;

/// Writes down that something has happened just now.
pub fn note(home: &Home, kind: &str, action: &str, (id, attributes): (&str, BTreeMap<String, String>)) {
    let event = Event { time: units::now_nanoseconds(), kind: kind.to_owned(), action: action.to_owned(), id: id.to_owned(), attributes };
    // Nobody has to hear of it.
    let _ = write(home, &event);
}

fn write(home: &Home, event: &Event) -> io::Result<()> {
    let line = format!("{}\n", serde_json::to_string(event)?);
    let path = home.journal().join(CURRENT);
    let open = || File::options().create(true).append(true).open(&path);
    let mut file = match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(home.journal())?;
            open()?
        }
        opened => opened?,
    };
    // One write of a line: those of several processes do not mix (write(2), O_APPEND).
    io::Write::write_all(&mut file, line.as_bytes())?;
    let found = file.metadata()?;
    if found.len() > LARGEST && fs::metadata(&path)?.ino() == found.ino() {
        fs::rename(&path, home.journal().join(PREVIOUS))?;
    }
    Ok(())
}

/// What is written to.
const CURRENT: &str = "events";
/// What was written to before.
const PREVIOUS: &str = "events.before";

/// Reads events in the order in which they happened, those to come included.
#[derive(Debug)]
pub struct Reader {
    home: Home,
    /// The files still to be read, the one being written to last.
    file: Option<Open>,
    next: VecDeque<Event>,
    watch: Option<OwnedFd>,
}

#[derive(Debug)]
struct Open {
    file: File,
    inode: u64,
    /// The beginning of a line whose end is not there yet.
    rest: Vec<u8>,
}

/// Where a [`Reader`] begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// With all that is still known.
    Beginning,
    /// With what happens from now on.
    Now,
}

impl Reader {
    /// Opens the journal.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(home: &Home, from: From) -> Result<Reader> {
        let mut reader = Reader { home: home.clone(), file: None, next: VecDeque::new(), watch: None };
        reader.begin(from).doing(|| "cannot read what has happened")?;
        Ok(reader)
    }

    fn begin(&mut self, from: From) -> io::Result<()> {
        fs::create_dir_all(self.home.journal())?;
        if from == From::Beginning
            && let Some(mut before) = open(&self.home.journal().join(PREVIOUS))?
        {
            self.next.extend(before.read()?);
        }
        self.file = open(&self.home.journal().join(CURRENT))?;
        if let (From::Now, Some(open)) = (from, &mut self.file) {
            open.file.seek(SeekFrom::End(0))?;
        }
        Ok(())
    }

    /// The next event that has happened; None if nothing more has.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn read(&mut self) -> Result<Option<Event>> {
        if self.next.is_empty() {
            self.fill().doing(|| "cannot read what has happened")?;
        }
        Ok(self.next.pop_front())
    }

    fn fill(&mut self) -> io::Result<()> {
        if let Some(open) = &mut self.file {
            self.next.extend(open.read()?);
        }
        let current = self.home.journal().join(CURRENT);
        let is_same = |open: &Open| fs::metadata(&current).is_ok_and(|found| found.ino() == open.inode);
        if self.next.is_empty() && !self.file.as_ref().is_some_and(is_same) {
            // Whoever wrote to the old one last did so before it made way.
            if let Some(open) = &mut self.file {
                self.next.extend(open.read()?);
            }
            self.file = open(&current)?;
            if let Some(open) = &mut self.file {
                self.next.extend(open.read()?);
            }
        }
        Ok(())
    }

    /// Sleeps until something may have happened, or `limit` has passed.
    ///
    /// # Errors
    /// What inotify(7) says.
    pub fn wait(&mut self, limit: Duration) -> Result<()> {
        self.sleep(limit).doing(|| "cannot wait for what happens")
    }

    fn sleep(&mut self, limit: Duration) -> io::Result<()> {
        let Some(watch) = &self.watch else {
            let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
            let events = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
            inotify::add_watch(&watch, self.home.journal(), events)?;
            self.watch = Some(watch);
            return Ok(()); // what came before the watch began would not wake us
        };
        let limit = Timespec { tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(limit.subsec_nanos()) };
        match rustix::event::poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(watch, &mut space);
        while events.next().is_ok() {}
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<Option<Open>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => {
            let file = opened?;
            let inode = file.metadata()?.ino();
            Ok(Some(Open { file, inode, rest: Vec::new() }))
        }
    }
}

impl Open {
    /// The events whose lines are whole by now; a line that cannot be understood is left out.
    fn read(&mut self) -> io::Result<Vec<Event>> {
        let mut bytes = std::mem::take(&mut self.rest);
        self.file.read_to_end(&mut bytes)?;
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.rest = bytes.split_off(end);
        Ok(bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(reader: &mut Reader) -> Vec<String> {
        std::iter::from_fn(|| reader.read().unwrap()).map(|event| event.action).collect()
    }

    #[test]
    fn what_is_noted_is_read_also_over_a_change_of_files() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::at(place.path(), place.path().join("run"));
        let mut early = Reader::open(&home, From::Now).unwrap();
        note(&home, "container", "create", ("a", BTreeMap::new()));
        note(&home, "container", "start", ("a", BTreeMap::from([("name".to_owned(), "web".to_owned())])));
        let mut late = Reader::open(&home, From::Now).unwrap();
        assert_eq!(actions(&mut early), ["create", "start"]);
        fs::rename(home.journal().join(CURRENT), home.journal().join(PREVIOUS)).unwrap();
        note(&home, "container", "die", ("a", BTreeMap::new()));
        assert_eq!(actions(&mut early), ["die"]);
        assert_eq!(actions(&mut late), ["die"]);
        assert_eq!(actions(&mut Reader::open(&home, From::Beginning).unwrap()), ["create", "start", "die"]);
    }
}
