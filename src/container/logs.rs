//! Reads a container's log: lines from raw bytes and index, and inotify to wait for more.
//!
//! The reader keeps, for each stream, how far it has handed bytes out. A line that is not finished stays behind that mark until its
//! end comes, or until nothing else is there: then it is handed out as far as it goes.

mod sent;

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::fs::FlockOperation;
use rustix::fs::inotify;

use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

use super::Container;
use super::Line;
use super::LogDriver;
use super::LogRange;
use super::Logs;
use super::log_files;
use super::log_files::Beginning;
use super::log_files::RECORD;
use super::log_files::STREAMS;
use super::log_files::Stretch;
use super::record;

pub(super) use sent::logs_to_send;

/// A longer line is handed out in parts.
const LONGEST_LINE: u64 = 64 * 1024;

/// What a [`Logs`] has inside.
#[derive(Debug)]
pub(super) struct Reader {
    index: Lazy,
    streams: [Stream; 2],
    range: LogRange,
    /// The number of the index record that is read next.
    next_record: u64,
    /// The stretch that lines are being cut from.
    current: Option<Stretch>,
    /// Made at the first wait.
    watch: Option<OwnedFd>,
    directory: PathBuf,
    begin: PathBuf,
    /// `until` has been passed.
    over: bool,
    /// A line that is not finished is not handed out.
    holds_back: bool,
}

/// A file that the supervisor makes when it first has something to write.
#[derive(Debug)]
struct Lazy {
    path: PathBuf,
    file: Option<File>,
}

#[derive(Debug)]
struct Stream {
    bytes: Lazy,
    /// Up to here lines have been handed out.
    given: u64,
    /// Up to here there is no line break after `given`.
    searched: u64,
    /// Up to here stretches have been read.
    end: u64,
    /// When the last stretch came.
    time: u64,
}

/// Opens a container's log.
///
/// # Errors
/// It cannot be read.
pub fn logs(home: &Home, id: &str, range: LogRange) -> Result<Logs> {
    let mut reader = Reader::open(home, id, range)?;
    if let Some(lines) = range.tail {
        reader.skip_to_last(lines).doing(|| format!("cannot read the log of {id}"))?;
    }
    Ok(Logs { reader })
}

/// Refuses to read the log of a container that keeps none.
///
/// # Errors
/// That it keeps none.
pub fn check_logs(container: &Container) -> Result<()> {
    match container.wanted.logging.driver {
        LogDriver::None => Err(Failure::new(format!("cannot read the log of container `{}`", container.name))
            .because("its logging driver is `none`: what it writes is seen only by who is attached")),
        driver if container.wanted.logging.unreadable => {
            Err(Failure::new(format!("cannot read the log of container `{}`", container.name))
                .because(format!("its logging driver `{}` keeps nothing here, as `cache-disabled` says", driver.name())))
        }
        _ => Ok(()),
    }
}

fn begin_files(home: &Home, id: &str) -> Result<()> {
    let paths = STREAMS.map(|stream| log_files::stream_path(home, id, stream));
    for path in paths.iter().chain(std::iter::once(&log_files::index_path(home, id))) {
        let begun = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        begun.doing(|| format!("cannot begin the log {}", path.display()))?;
    }
    Ok(())
}

/// Opens a container's log at its end: only what comes from now on. The log is begun if need be, so that a container
/// that removes itself can be read even if it ends before we look again.
pub(super) fn logs_from_now(home: &Home, id: &str) -> Result<Logs> {
    begin_files(home, id)?;
    logs(home, id, LogRange { tail: Some(0), ..LogRange::default() })
}

impl Logs {
    /// The next line that is there; None if there is none *yet*. Never blocks.
    ///
    /// # Errors
    /// The log cannot be read.
    #[allow(clippy::should_implement_trait, reason = "None is not the end")]
    pub fn next(&mut self) -> Result<Option<Line>> {
        let directory = &self.reader.directory.display().to_string();
        self.reader.next().doing(|| format!("cannot read the log in {directory}"))
    }

    /// Sleeps until there may be more, the container ends, or `limit` has passed (inotify).
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wait(&mut self, limit: Duration) -> Result<()> {
        self.reader.wait(limit, None).doing(|| "cannot wait for the log")
    }

    /// Does so, or until there is something to read from `other`.
    pub(super) fn wait_with(&mut self, other: BorrowedFd<'_>, limit: Duration) -> Result<()> {
        self.reader.wait(limit, Some(other)).doing(|| "cannot wait for the log")
    }

    /// How many records of the log's index have been read.
    pub(super) fn seen(&self) -> u64 {
        self.reader.next_record
    }
}

impl Lazy {
    fn new(path: PathBuf) -> Lazy {
        Lazy { path, file: None }
    }

    fn open(&mut self) -> io::Result<Option<&File>> {
        if self.file.is_none() {
            self.file = match File::open(&self.path) {
                Ok(file) => {
                    // What only lives for readers is kept as long as there is one.
                    let _ = rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared);
                    Some(file)
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
        }
        Ok(self.file.as_ref())
    }

    /// Reads `from..to`, as far as it is there.
    fn read(&mut self, from: u64, to: u64) -> io::Result<Vec<u8>> {
        let Some(file) = self.open()? else { return Ok(Vec::new()) };
        let mut bytes = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(0)];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], from + filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }
}

impl Stream {
    /// The bytes from the end of the last line handed out up to and including the next line break before `limit`.
    fn cut(&mut self, limit: u64) -> io::Result<Option<Vec<u8>>> {
        while self.searched < limit {
            let to = limit.min(self.searched + LONGEST_LINE);
            let bytes = self.bytes.read(self.searched, to)?;
            let found = bytes.iter().position(|byte| *byte == b'\n');
            self.searched = found.map_or(to, |at| self.searched + at as u64 + 1);
            if found.is_some() || self.searched - self.given >= LONGEST_LINE {
                return self.give().map(Some);
            }
        }
        Ok(None)
    }

    /// Hands out all that has been searched.
    fn give(&mut self) -> io::Result<Vec<u8>> {
        let bytes = self.bytes.read(self.given, self.searched)?;
        self.given = self.searched;
        Ok(bytes)
    }
}

impl Reader {
    fn open(home: &Home, id: &str, range: LogRange) -> Result<Reader> {
        record::recorded_state(home, id)?;
        let streams = STREAMS.map(|stream| Stream {
            bytes: Lazy::new(log_files::stream_path(home, id, stream)),
            given: 0,
            searched: 0,
            end: 0,
            time: 0,
        });
        let mut reader = Reader {
            index: Lazy::new(log_files::index_path(home, id)),
            streams,
            range,
            next_record: 0,
            current: None,
            watch: None,
            directory: home.container(id),
            begin: log_files::begin_path(home, id),
            over: false,
            holds_back: false,
        };
        // Held open from now on: a container that removes itself can be read to its end.
        reader.open_files().and_then(|()| reader.catch_up()).doing(|| format!("cannot open the log of {id}"))?;
        Ok(reader)
    }

    fn open_files(&mut self) -> io::Result<()> {
        self.index.open()?;
        for stream in &mut self.streams {
            stream.bytes.open()?;
        }
        Ok(())
    }

    fn next(&mut self) -> io::Result<Option<Line>> {
        while !self.over {
            let Some(stretch) = self.current else {
                match self.read_record(self.next_record)? {
                    Some(stretch) => self.enter(stretch),
                    // Nothing is there yet, or no more.
                    None if self.catch_up()? => {}
                    None => return self.leftover(),
                }
                continue;
            };
            let slot = usize::from(stretch.stream - 1);
            match self.streams[slot].cut(stretch.end)? {
                Some(bytes) if self.is_hole(slot, &bytes)? => {}
                // A line's time is that of its end: so times only grow.
                Some(bytes) if self.range.since.is_none_or(|since| since <= stretch.time) => {
                    return Ok(Some(Line { stream: stretch.stream, time: stretch.time, bytes }));
                }
                Some(_) => {}
                None => self.current = None,
            }
        }
        Ok(None)
    }

    fn enter(&mut self, stretch: Stretch) {
        self.next_record += 1;
        if self.range.until.is_some_and(|until| stretch.time > until) {
            self.over = true;
            return;
        }
        let stream = &mut self.streams[usize::from(stretch.stream - 1)];
        stream.end = stretch.end;
        stream.time = stretch.time;
        self.current = Some(stretch);
    }

    /// Moves on to what is still there, if what would come next has been given back; true if it has.
    fn catch_up(&mut self) -> io::Result<bool> {
        let beginning = Beginning::read(&self.begin)?;
        let lags = |(stream, mark): (&Stream, u64)| stream.given < mark;
        if self.next_record >= beginning.record && !self.streams.iter().zip(beginning.marks).any(lags) {
            return Ok(false);
        }
        if self.next_record <= beginning.record {
            self.next_record = beginning.record;
            self.current = None;
        }
        for (stream, mark) in self.streams.iter_mut().zip(beginning.marks).filter(|(stream, mark)| stream.given < *mark) {
            (stream.given, stream.searched, stream.end) = (mark, mark, stream.end.max(mark));
        }
        Ok(true)
    }

    /// Whether bytes that were just taken from a stream are those of a hole; then they are not handed out.
    fn is_hole(&mut self, slot: usize, bytes: &[u8]) -> io::Result<bool> {
        if bytes.first() != Some(&0) {
            return Ok(false);
        }
        let stream = &mut self.streams[slot];
        let (given, from) = (stream.given, stream.given - bytes.len() as u64);
        (stream.given, stream.searched) = (from, from);
        let was_hole = self.catch_up()?;
        if !was_hole {
            let stream = &mut self.streams[slot];
            (stream.given, stream.searched) = (given, given);
        }
        Ok(was_hole)
    }

    /// What has no line break yet, the older stream first.
    fn leftover(&mut self) -> io::Result<Option<Line>> {
        if self.holds_back {
            return Ok(None);
        }
        let unfinished = self.streams.iter_mut().zip(STREAMS).filter(|(stream, _)| stream.given < stream.end);
        let Some((stream, number)) = unfinished.min_by_key(|(stream, _)| stream.time) else { return Ok(None) };
        stream.searched = stream.end;
        let bytes = stream.give()?;
        let wanted = self.range.since.is_none_or(|since| since <= stream.time);
        Ok(wanted.then_some(Line { stream: number, time: stream.time, bytes }).filter(|line| !line.bytes.is_empty()))
    }

    fn read_record(&mut self, number: u64) -> io::Result<Option<Stretch>> {
        let at = number * RECORD as u64;
        let bytes = self.index.read(at, at + RECORD as u64)?;
        Ok(bytes.first_chunk().and_then(Stretch::decode))
    }

    /// Moves to where only the last `lines` lines are still to come.
    fn skip_to_last(&mut self, lines: usize) -> io::Result<()> {
        let beginning = Beginning::read(&self.begin)?;
        let stretches = self.all_stretches(beginning.record)?;
        let mut missing = lines;
        let mut ends = beginning.marks;
        for stretch in &stretches {
            ends[usize::from(stretch.stream - 1)] = stretch.end;
        }
        if lines == 0 {
            // What is unfinished now goes on as if it began now.
            self.start_at(beginning.record + stretches.len() as u64, ends);
            return Ok(());
        }
        let mut marks = ends;
        for slot in 0..2 {
            // An unfinished line counts as one, and comes last.
            let start = self.line_start(slot, (beginning, ends[slot]))?;
            if start < ends[slot] && missing > 0 {
                missing -= 1;
            }
            marks[slot] = start;
        }
        for (number, stretch) in stretches.iter().enumerate().rev() {
            let slot = usize::from(stretch.stream - 1);
            let begin = end_before(&stretches[..number], (beginning, slot));
            let bytes = self.streams[slot].bytes.read(begin, stretch.end)?;
            for at in bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at) {
                if missing == 0 {
                    marks[slot] = begin + at as u64 + 1;
                    let other = 1 - slot;
                    marks[other] = self.line_start(other, (beginning, end_before(&stretches[..number], (beginning, other))))?;
                    self.start_at(beginning.record + number as u64, marks);
                    return Ok(());
                }
                missing -= 1;
            }
        }
        Ok(())
    }

    /// All stretches from a record on.
    fn all_stretches(&mut self, first: u64) -> io::Result<Vec<Stretch>> {
        let size = match self.index.open()? {
            Some(file) => file.metadata()?.len(),
            None => 0,
        };
        let bytes = self.index.read(first * RECORD as u64, size)?;
        Ok(bytes.chunks_exact(RECORD).filter_map(|record| record.first_chunk().and_then(Stretch::decode)).collect())
    }

    /// Where the line begins that the byte before `end` belongs to, or `end` if that byte is a line break.
    fn line_start(&mut self, slot: usize, (beginning, end): (Beginning, u64)) -> io::Result<u64> {
        let from = end.saturating_sub(LONGEST_LINE).max(beginning.marks[slot]);
        let bytes = self.streams[slot].bytes.read(from, end)?;
        Ok(bytes.iter().rposition(|byte| *byte == b'\n').map_or(from, |at| from + at as u64 + 1))
    }

    fn start_at(&mut self, record: u64, marks: [u64; 2]) {
        self.next_record = record;
        for (stream, mark) in self.streams.iter_mut().zip(marks) {
            (stream.given, stream.searched, stream.end) = (mark, mark, mark);
        }
    }

    fn watch(&mut self) -> io::Result<&OwnedFd> {
        if self.watch.is_none() {
            let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
            // The state is renamed into place, so the directory is watched; it may be gone already.
            let events =
                inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::MOVE_SELF;
            match inotify::add_watch(&watch, &self.directory, events) {
                Ok(_) | Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
            self.watch = Some(watch);
        }
        self.watch.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn heard(&mut self) {
        let Some(watch) = &self.watch else { return };
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(watch, &mut space);
        while events.next().is_ok() {}
    }

    fn wait(&mut self, limit: Duration, other: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let first = self.watch.is_none();
        self.watch()?;
        if first || self.over || !self.directory.exists() {
            return Ok(()); // what came before the watch began would not wake us
        }
        let watch = self.watch()?;
        let limit = Timespec { tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(limit.subsec_nanos()) };
        let sources = std::iter::once(watch.as_fd()).chain(other);
        let mut sources: Vec<PollFd<'_>> = sources.map(|source| PollFd::from_borrowed_fd(source, PollFlags::IN)).collect();
        match rustix::event::poll(&mut sources, Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        self.heard();
        Ok(())
    }
}

/// Where a stream's last stretch among these ends.
fn end_before(stretches: &[Stretch], (beginning, slot): (Beginning, usize)) -> u64 {
    let last = stretches.iter().rev().find(|stretch| usize::from(stretch.stream - 1) == slot);
    last.map_or(beginning.marks[slot], |stretch| stretch.end)
}

#[cfg(test)]
mod tests;
