//! A log as it is read by what sends it elsewhere: line by whole line, and another reader can go on where one was.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;

use crate::failure::Result;
use crate::place::Home;

use super::Beginning;
use super::LogRange;
use super::Logs;
use super::Reader;
use super::Stream;

/// How many records are looked through for a line that has not ended.
const FAR: u64 = 4096;

/// Opens a container's log to send it elsewhere: a line is handed out when it is whole, and every file is open.
pub(in crate::container) fn logs_to_send(home: &Home, id: &str) -> Result<Logs> {
    super::begin_files(home, id)?;
    let mut logs = super::logs(home, id, LogRange::default())?;
    logs.reader.holds_back = true;
    Ok(logs)
}

impl Logs {
    /// What has been handed out ends here.
    pub(in crate::container) fn place(&self) -> Beginning {
        // A stretch that lines are being cut from is read again.
        let record = self.reader.next_record - u64::from(self.reader.current.is_some());
        Beginning { record, marks: [self.reader.streams[0].given, self.reader.streams[1].given] }
    }

    /// Goes on where another reader was.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(in crate::container) fn go_to(&mut self, place: Beginning) -> io::Result<()> {
        self.reader.start_at(place.record, place.marks);
        self.reader.current = None;
        self.reader.find_unfinished(place)
    }

    /// Nothing more comes: what is not finished is handed out too.
    pub(in crate::container) fn finish(&mut self) {
        self.reader.holds_back = false;
    }

    /// How many bytes have not been handed out.
    pub(in crate::container) fn behind(&self) -> u64 {
        let length = |stream: &Stream| stream.bytes.file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |found| found.len());
        self.reader.streams.iter().map(|stream| length(stream).saturating_sub(stream.given)).sum()
    }

    /// The files that are open.
    pub(in crate::container) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let streams = self.reader.streams.iter().map(|stream| &stream.bytes);
        streams.chain([&self.reader.index]).filter_map(|lazy| lazy.file.as_ref()).map(AsFd::as_fd)
    }
}

impl Reader {
    /// A line that had not ended there lies in a stretch that the reader before has read.
    fn find_unfinished(&mut self, place: Beginning) -> io::Result<()> {
        let mut open = [true; 2];
        for number in (place.record.saturating_sub(FAR)..place.record).rev() {
            let Some(stretch) = self.read_record(number)? else { break };
            let slot = usize::from(stretch.stream - 1);
            if std::mem::take(&mut open[slot]) {
                let stream = &mut self.streams[slot];
                (stream.end, stream.time) = (stretch.end.max(stream.end), stretch.time);
            }
            if open == [false; 2] {
                break;
            }
        }
        Ok(())
    }
}
