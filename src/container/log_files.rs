//! A container's log on disk: the bytes as they were written, one file for each stream, and an index that says when.
//!
//! ```text
//! log.1        what came on standard output (or the terminal)
//! log.2        what came on standard error
//! log.index    one record for each stretch: time, end of the stretch in its file, stream
//! log.begin    where the other three begin: what lies before has been given back to the file system
//! log.sent     up to where it has been sent on, if the log driver is one that sends
//! ```
//!
//! The order of the records is the order in which the stretches came. Bytes go from the container's FIFO into their file by
//! splice(2): one system call that a signal does not tear, so what is in the file is no longer in the FIFO and the other way
//! round, whenever we are killed. The record comes after; bytes that have none yet get theirs from the next supervisor.
//!
//! A log that is to be kept small is not moved aside: a hole is punched into its beginning, so every place in it stays where it was,
//! for whoever reads and for whoever is killed.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use crate::place::Home;

/// The streams that a log has.
pub(super) const STREAMS: [u8; 2] = [1, 2];

/// The bytes of one record.
pub(super) const RECORD: usize = 24;

/// One stretch: it begins where the stream's stretch before it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Nanoseconds since 1970.
    pub(super) time: u64,
    /// In the stream's file.
    pub(super) end: u64,
    /// 1 or 2.
    pub(super) stream: u8,
}

impl Stretch {
    pub(super) fn encode(self) -> [u8; RECORD] {
        let mut record = [0; RECORD];
        record[..8].copy_from_slice(&self.time.to_le_bytes());
        record[8..16].copy_from_slice(&self.end.to_le_bytes());
        record[16] = self.stream;
        record
    }

    /// None for a record that nobody wrote like this.
    pub(super) fn decode(record: &[u8; RECORD]) -> Option<Stretch> {
        let (time, rest) = record.split_first_chunk()?;
        let (end, rest) = rest.split_first_chunk()?;
        let stream = rest[0];
        STREAMS.contains(&stream).then_some(Stretch { time: u64::from_le_bytes(*time), end: u64::from_le_bytes(*end), stream })
    }
}

/// Where a log begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Beginning {
    /// The number of the first record.
    pub(super) record: u64,
    /// The first byte of each stream's file.
    pub(super) marks: [u64; 2],
}

impl Beginning {
    pub(super) fn encode(self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        for (place, number) in bytes.chunks_exact_mut(8).zip([self.record, self.marks[0], self.marks[1]]) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// Reads where a log begins; one that has lost nothing begins at its beginning.
    pub(super) fn read(path: &Path) -> io::Result<Beginning> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Beginning::default()),
            bytes => bytes?,
        };
        Ok(bytes.first_chunk().map_or_else(Beginning::default, Beginning::decode))
    }

    pub(super) fn decode(bytes: &[u8; RECORD]) -> Beginning {
        let number = |at: usize| bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Beginning { record: number(0), marks: [number(8), number(16)] }
    }
}

pub(super) fn begin_path(home: &Home, id: &str) -> PathBuf {
    home.container(id).join("log.begin")
}

/// How far a log has been sent elsewhere, if it is; in the form of `log.begin`.
pub(super) fn sent_path(home: &Home, id: &str) -> PathBuf {
    home.container(id).join("log.sent")
}

pub(super) fn index_path(home: &Home, id: &str) -> PathBuf {
    home.container(id).join("log.index")
}

pub(super) fn stream_path(home: &Home, id: &str, stream: u8) -> PathBuf {
    home.container(id).join(format!("log.{stream}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_read_as_it_was_written() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("log.begin");
        assert_eq!(Beginning::read(&path).unwrap(), Beginning::default());
        let beginning = Beginning { record: 7, marks: [1 << 33, 5] };
        fs::write(&path, beginning.encode()).unwrap();
        assert_eq!(Beginning::read(&path).unwrap(), beginning);
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let stretch = Stretch { time: 1_764_000_000_123_456_789, end: 4096, stream: 2 };
        assert_eq!(Stretch::decode(&stretch.encode()), Some(stretch));
        assert_eq!(Stretch::decode(&[0; RECORD]), None);
    }
}
