//! Keeps a log short: holes are punched into the beginning of its files (fallocate(2), `FALLOC_FL_PUNCH_HOLE`).
//!
//! ```text
//! 1. log.begin is written anew, whole: from here on nobody reads what lies before
//! 2. the holes are punched; if we are killed before, the next time they are longer
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::fs::FallocateFlags;
use rustix::fs::FlockOperation;

use crate::container::LogDriver;
use crate::container::Logging;
use crate::container::log_files;
use crate::container::log_files::Beginning;
use crate::container::log_files::RECORD;
use crate::container::log_files::STREAMS;
use crate::container::log_files::Stretch;
use crate::place::Home;
use crate::state;

/// What is kept of output that is logged nowhere, for who comes a moment too late.
const LEFT_OVER: u64 = 1 << 20;

/// A line that is longer is cut.
const LONGEST_LINE: u64 = 64 * 1024;

/// How long a log may become, and where it begins.
#[derive(Debug)]
pub(super) struct Shortening {
    begin: PathBuf,
    beginning: Beginning,
    /// None: it may become as long as it likes.
    most: Option<u64>,
    /// How much is left when it has become too long.
    left: u64,
    /// It lives for readers alone: these paths go with the container.
    passing: Option<[PathBuf; 4]>,
    /// Says what has been sent elsewhere, if nothing may be lost before that.
    sent: Option<PathBuf>,
    /// The file system cannot do it.
    impossible: bool,
}

impl Shortening {
    pub(super) fn of(home: &Home, id: &str, logging: &Logging) -> io::Result<Shortening> {
        let begin = log_files::begin_path(home, id);
        let beginning = Beginning::read(&begin)?;
        let files = u64::from(logging.max_files.max(1));
        let (most, left) = match (logging.driver, logging.max_size) {
            (LogDriver::None, _) => (Some(LEFT_OVER), 0),
            (_, None) => (None, 0),
            // As if the oldest of the files went; of a single one, half.
            (_, Some(size)) if files == 1 => (Some(size), size / 2),
            (_, Some(size)) => (Some(size.saturating_mul(files)), size.saturating_mul(files - 1)),
        };
        let stream = |number| log_files::stream_path(home, id, number);
        let paths = || [stream(1), stream(2), log_files::index_path(home, id), begin.clone()];
        let passing = (logging.driver == LogDriver::None).then(paths);
        let sent = (logging.driver.sends() && logging.buffer.is_none()).then(|| log_files::sent_path(home, id));
        Ok(Shortening { begin, beginning, most, left, passing, sent, impossible: false })
    }

    pub(super) fn beginning(&self) -> Beginning {
        self.beginning
    }

    fn length(&self, ends: [u64; 2]) -> u64 {
        ends.iter().zip(self.beginning.marks).map(|(end, mark)| end.saturating_sub(mark)).sum()
    }

    /// Whether a log whose streams end there is too long.
    pub(super) fn is_due(&self, ends: [u64; 2]) -> bool {
        !self.impossible && self.most.is_some_and(|most| self.length(ends) > most)
    }

    /// Gives back the beginning of the files.
    pub(super) fn shorten(&mut self, index: &File, streams: [Option<&File>; 2], ends: [u64; 2]) -> io::Result<()> {
        if self.passing.is_some() && streams.iter().flatten().any(|file| is_read(file)) {
            return Ok(());
        }
        if self.is_unsent() {
            return Ok(()); // the next time
        }
        let mut next = self.after(index, self.length(ends).saturating_sub(self.left))?;
        for (slot, file) in streams.iter().enumerate() {
            if let Some(file) = file {
                next.marks[slot] = next_line(file, next.marks[slot], ends[slot])?;
            }
        }
        state::write_whole(&self.begin, &next.encode()).map_err(|failure| io::Error::other(failure.to_string()))?;
        self.beginning = next;
        let mut punched = vec![(index, next.record * RECORD as u64)];
        punched.extend(streams.iter().zip(next.marks).filter_map(|(file, mark)| file.map(|file| (file, mark))));
        for (file, length) in punched.into_iter().filter(|(_, length)| *length > 0) {
            match rustix::fs::fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, length) {
                Err(error @ (rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS)) => {
                    self.impossible = true;
                    return Err(error.into());
                }
                done => done?,
            }
        }
        Ok(())
    }

    /// Whether what has not been sent has become twice as much as is kept.
    pub(super) fn must_wait(&self, ends: [u64; 2]) -> bool {
        self.sent.is_some() && self.most.is_some_and(|most| self.length(ends) > most.saturating_mul(2))
    }

    /// Whether less has been sent than is to go.
    fn is_unsent(&self) -> bool {
        let Some(path) = &self.sent else { return false };
        let sent = Beginning::read(path).unwrap_or_default();
        sent.marks.iter().sum::<u64>() < self.beginning.marks.iter().sum::<u64>() + self.most.unwrap_or(0) - self.left
    }

    /// Where a log begins that has lost so many bytes more.
    fn after(&self, index: &File, bytes: u64) -> io::Result<Beginning> {
        let mut next = self.beginning;
        let mut lost = 0;
        let mut record = [0; RECORD];
        while lost < bytes {
            match index.read_exact_at(&mut record, next.record * RECORD as u64) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                read => read?,
            }
            let Some(stretch) = Stretch::decode(&record) else { break };
            let mark = &mut next.marks[usize::from(stretch.stream - 1)];
            let length = stretch.end.saturating_sub(*mark);
            if length > bytes - lost {
                *mark += bytes - lost; // a part of the stretch stays
                break;
            }
            *mark = (*mark).max(stretch.end);
            lost += length;
            next.record += 1;
        }
        Ok(next)
    }

    /// What lives for readers alone goes, once it is more than a little; who has it open reads it to its end.
    pub(super) fn close(&self) {
        let Some([first, second, ..]) = &self.passing else { return };
        let length = |path: &PathBuf| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        let marks = self.beginning.marks.iter().sum::<u64>();
        if (length(first) + length(second)).saturating_sub(marks) > LEFT_OVER {
            for path in self.passing.iter().flatten() {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// Whether somebody has the log open to read it.
fn is_read(file: &File) -> bool {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            let _ = rustix::fs::flock(file, FlockOperation::Unlock);
            false
        }
        Err(_) => true,
    }
}

/// The first place from `from` on that a line begins at.
fn next_line(file: &File, from: u64, end: u64) -> io::Result<u64> {
    if from == 0 || from >= end {
        return Ok(from);
    }
    // One byte before: it may be the break itself.
    let length = usize::try_from((end - from + 1).min(LONGEST_LINE)).unwrap_or(0);
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, from - 1)?;
    Ok(bytes.iter().position(|byte| *byte == b'\n').map_or(from, |at| from + at as u64))
}

/// That there are two streams is what the marks count on.
const _: () = assert!(STREAMS.len() == 2);
