//! Moves a container's output from its FIFOs (or its terminal) into its log, without reading it.
//!
//! ```text
//! FIFO  -- splice --> log.1                                 each splice is one system call:
//! terminal -- splice --> FIFO (ours alone) -- splice --> log.1    killed before it or after it, never in between
//! ```
//!
//! We hold the FIFOs open for writing too, so that they neither end nor lose what is in them when the container closes its side.
//! Where a log cannot be written, the container waits at its full FIFO; we try again every second.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::rc::Rc;
use std::time::Duration;
use std::time::Instant;

use rustix::pipe::SpliceFlags;

use crate::container::Logging;
use crate::container::log_files;
use crate::container::log_files::Beginning;
use crate::container::log_files::RECORD;
use crate::container::log_files::Stretch;
use crate::place::Home;
use crate::units;

use super::complain;
use super::shorten::Shortening;

/// The most that one splice moves; a FIFO holds no more unless somebody enlarged it.
const PORTION: usize = 1 << 20;
/// How often one stream is emptied before the others get their turn.
const TURNS: usize = 16;
const STALL: Duration = Duration::from_secs(1);
/// How long a container waits, each time, that is far ahead of what sends its output elsewhere.
const UNSENT: Duration = Duration::from_millis(50);

/// Where the output of a container comes from.
#[derive(Debug)]
pub(super) enum Origin {
    Fifos {
        stdout: Rc<OwnedFd>,
        stderr: Rc<OwnedFd>,
    },
    /// A terminal's master, and the FIFO on the way to the log.
    Terminal {
        master: Rc<OwnedFd>,
        fifo: Rc<OwnedFd>,
    },
}

/// A container's output on its way into its log.
#[derive(Debug)]
pub(super) struct Output {
    index: File,
    streams: Vec<Stream>,
    shortening: Shortening,
    /// What cannot be written is lost; else the container waits.
    drops: bool,
}

#[derive(Debug)]
struct Stream {
    number: u8,
    fifo: Rc<OwnedFd>,
    terminal: Option<Rc<OwnedFd>>,
    log: File,
    /// How long the log is.
    end: u64,
    /// Nothing can be moved until then.
    stalled_until: Option<Instant>,
}

impl Output {
    /// Opens the log for more; bytes that a killed supervisor moved and did not enter in the index are entered now.
    pub(super) fn open(home: &Home, id: &str, (origin, logging): (Origin, &Logging)) -> io::Result<Output> {
        let mut index = open_log(&log_files::index_path(home, id), true)?;
        trim(&index)?;
        let shortening = Shortening::of(home, id, logging)?;
        let origins = match origin {
            Origin::Fifos { stdout, stderr } => vec![(1, stdout, None), (2, stderr, None)],
            Origin::Terminal { master, fifo } => vec![(1, fifo, Some(master))],
        };
        let mut streams = Vec::new();
        for (number, fifo, terminal) in origins {
            let log = open_log(&log_files::stream_path(home, id, number), false)?;
            let end = log.metadata()?.len();
            if end > 0 && last_end(&index, (number, shortening.beginning()))? < end {
                index.write_all(&Stretch { time: units::now_nanoseconds(), end, stream: number }.encode())?;
            }
            streams.push(Stream { number, fifo, terminal, log, end, stalled_until: None });
        }
        Ok(Output { index, streams, shortening, drops: logging.buffer.is_some() })
    }

    /// Where output comes from now.
    pub(super) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let open = self.streams.iter().filter(|stream| stream.stalled_until.is_none());
        open.flat_map(|stream| std::iter::once(stream.fifo.as_fd()).chain(stream.terminal.as_ref().map(AsFd::as_fd)))
    }

    /// When a stalled stream is tried again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.streams.iter().filter_map(|stream| stream.stalled_until).min()
    }

    /// Lets streams go on whose pause is over.
    pub(super) fn wake(&mut self, now: Instant) {
        for stream in &mut self.streams {
            stream.stalled_until = stream.stalled_until.filter(|until| *until > now);
        }
    }

    /// Moves what is there; says whether there was anything.
    pub(super) fn pump(&mut self) -> bool {
        let mut moved = false;
        for number in 0..self.streams.len() {
            for _ in 0..TURNS {
                if self.waits(number) || !self.pump_once(number) {
                    break;
                }
                moved = true;
            }
        }
        moved
    }

    /// How many records the log's index has.
    pub(super) fn records(&self) -> u64 {
        self.index.metadata().map_or(0, |metadata| metadata.len() / RECORD as u64)
    }

    /// Moves all that is left of a container that has ended.
    pub(super) fn drain(&mut self) {
        self.wake(Instant::now() + STALL);
        for number in 0..self.streams.len() {
            while self.pump_once(number) {}
        }
    }

    /// Whether a stream is to wait until more has been sent elsewhere.
    fn waits(&mut self, number: usize) -> bool {
        let waits = self.shortening.must_wait(self.ends());
        if waits {
            self.streams[number].stalled_until = Some(Instant::now() + UNSENT);
        }
        waits
    }

    /// Moves one portion; false if there is nothing to move or it cannot be moved.
    fn pump_once(&mut self, number: usize) -> bool {
        let stream = &mut self.streams[number];
        match stream.move_portion() {
            Ok(0) => false,
            Ok(_) => {
                let stretch = Stretch { time: units::now_nanoseconds(), end: stream.end, stream: stream.number };
                if let Err(error) = self.enter(stretch) {
                    complain("cannot write a log's index", error); // the next record covers these bytes too
                }
                self.shorten();
                true
            }
            Err(error) => {
                complain("cannot write a log", error);
                if self.drops {
                    stream.drop_portion();
                }
                stream.stalled_until = Some(Instant::now() + STALL);
                false
            }
        }
    }

    /// Where the streams end.
    fn ends(&self) -> [u64; 2] {
        let mut ends = [0; 2];
        for stream in &self.streams {
            ends[usize::from(stream.number - 1)] = stream.end;
        }
        ends
    }

    /// Gives back the beginning of a log that has become too long.
    fn shorten(&mut self) {
        let ends = self.ends();
        if !self.shortening.is_due(ends) {
            return;
        }
        let files = |number: u8| self.streams.iter().find(|stream| stream.number == number).map(|stream| &stream.log);
        if let Err(error) = self.shortening.shorten(&self.index, [files(1), files(2)], ends) {
            complain("cannot shorten a log", error);
        }
    }

    /// A container is down for good: what only lived for readers goes, once it is more than a little.
    pub(super) fn close(&self) {
        self.shortening.close();
    }

    fn enter(&mut self, stretch: Stretch) -> io::Result<()> {
        let written = self.index.write(&stretch.encode())?;
        if written < RECORD {
            trim(&self.index)?; // a part of a record would shift all that follow
        }
        Ok(())
    }
}

impl Stream {
    fn move_portion(&mut self) -> io::Result<usize> {
        let hung_up = match &self.terminal {
            Some(terminal) => splice(terminal.as_fd(), self.fifo.as_fd(), None)?.is_none(),
            None => false,
        };
        let before = self.end;
        let moved = splice(self.fifo.as_fd(), self.log.as_fd(), Some(&mut self.end))?.unwrap_or(0);
        self.end = before + moved as u64;
        if hung_up && moved == 0 {
            // Every process has closed the terminal. One may open it again: look from time to time.
            self.stalled_until = Some(Instant::now() + STALL);
        }
        Ok(moved)
    }

    /// Loses what lies in the FIFO.
    fn drop_portion(&self) {
        let mut space = vec![0; PORTION];
        while rustix::io::read(&self.fifo, &mut space).is_ok_and(|count| count == PORTION) {}
    }
}

/// Moves a portion; nothing there is 0, a terminal that everybody has closed is None.
fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, at: Option<&mut u64>) -> io::Result<Option<usize>> {
    match rustix::pipe::splice(from, None, to, at, PORTION, SpliceFlags::NONBLOCK | SpliceFlags::MOVE) {
        Ok(count) => Ok(Some(count)),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(Some(0)),
        Err(rustix::io::Errno::IO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn open_log(path: &std::path::Path, append: bool) -> io::Result<File> {
    // splice(2) refuses files opened for appending.
    OpenOptions::new().create(true).truncate(false).read(true).write(true).append(append).mode(0o600).open(path)
}

/// Cuts a part of a record off the index.
fn trim(index: &File) -> io::Result<()> {
    let length = index.metadata()?.len();
    let rest = length % RECORD as u64;
    if rest == 0 { Ok(()) } else { index.set_len(length - rest) }
}

/// Where the index says that a stream ends.
fn last_end(index: &File, (stream, beginning): (u8, Beginning)) -> io::Result<u64> {
    const BLOCK: u64 = RECORD as u64 * 4096;
    let first = beginning.record * RECORD as u64;
    let mut to = index.metadata()?.len();
    while to > first {
        let from = to.saturating_sub(BLOCK).max(first);
        let mut bytes = vec![0; usize::try_from(to - from).unwrap_or(0)];
        index.read_exact_at(&mut bytes, from)?;
        let mut stretches = bytes.chunks_exact(RECORD).rev().filter_map(|record| record.first_chunk().and_then(Stretch::decode));
        if let Some(last) = stretches.find(|stretch| stretch.stream == stream) {
            return Ok(last.end);
        }
        to = from;
    }
    Ok(beginning.marks[usize::from(stream - 1)])
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::Mode;
    use rustix::fs::OFlags;

    use super::*;
    use crate::container::LogDriver;
    use crate::container::LogRange;
    use crate::container::logs;

    struct World {
        _root: tempfile::TempDir,
        home: Home,
        id: String,
        fifos: [Rc<OwnedFd>; 2],
        logging: Logging,
    }

    impl World {
        fn new() -> World {
            let root = tempfile::tempdir().unwrap();
            let home = Home::at(root.path(), root.path().join("run"));
            let id = "b".repeat(64);
            fs::create_dir_all(home.container(&id)).unwrap();
            let fifos = ["out", "err"].map(|name| {
                let path = root.path().join(name);
                rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
                Rc::new(rustix::fs::open(&path, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).unwrap())
            });
            World { _root: root, home, id, fifos, logging: Logging::default() }
        }

        fn open(&self) -> Output {
            let [stdout, stderr] = self.fifos.clone();
            Output::open(&self.home, &self.id, (Origin::Fifos { stdout, stderr }, &self.logging)).unwrap()
        }

        fn say(&self, stream: usize, text: &str) {
            rustix::io::write(&self.fifos[stream - 1], text.as_bytes()).unwrap();
        }

        fn log(&self) -> String {
            let mut logs = logs(&self.home, &self.id, LogRange::default()).unwrap();
            let lines = std::iter::from_fn(|| logs.next().unwrap());
            lines.map(|line| format!("{}:{}", line.stream, String::from_utf8(line.bytes).unwrap())).collect()
        }
    }

    #[test]
    fn output_goes_into_the_log_and_later_output_is_added() {
        let world = World::new();
        let mut output = world.open();
        world.say(1, "one\n");
        output.pump();
        world.say(2, "two\n");
        output.pump();
        drop(output);
        let mut output = world.open();
        world.say(1, "three\n");
        output.drain();
        assert_eq!(world.log(), "1:one\n2:two\n1:three\n");
    }

    /// What a supervisor moved before it was killed must not be lost for want of an index record, nor come twice.
    #[test]
    fn bytes_without_a_record_get_one_from_the_next_supervisor() {
        let world = World::new();
        let mut output = world.open();
        world.say(1, "known\n");
        output.pump();
        world.say(1, "moved\n");
        output.streams[0].move_portion().unwrap();
        output.index.write_all(&[1, 2, 3]).unwrap();
        drop(output);
        assert_eq!(world.log(), "1:known\n");
        let mut output = world.open();
        world.say(2, "next\n");
        output.pump();
        assert_eq!(world.log(), "1:known\n1:moved\n2:next\n");
    }

    /// Old output is given back to the file system, whole lines of it, and every reader finds the rest, one that is behind too.
    #[test]
    fn a_log_is_kept_as_short_as_it_is_to_be() {
        let mut world = World::new();
        world.logging = Logging { max_size: Some(16 << 10), max_files: 2, ..Logging::default() };
        let mut output = world.open();
        world.say(2, "first words\n");
        output.pump();
        let mut slow = logs(&world.home, &world.id, LogRange::default()).unwrap();
        assert_eq!(slow.next().unwrap().unwrap().bytes, b"first words\n");
        let line = |number: usize| format!("{number:06} {}\n", "x".repeat(120));
        for number in 0..2000 {
            world.say(1, &line(number));
            output.pump();
        }
        let kept = world.log();
        assert!(kept.len() > 16 << 10 && kept.len() < 34 << 10, "{} bytes", kept.len());
        assert!(kept.ends_with(&line(1999)) && kept.starts_with("1:00"), "{}", &kept[..40]);
        let blocks = |path: std::path::PathBuf| std::os::unix::fs::MetadataExt::blocks(&fs::metadata(path).unwrap()) * 512;
        assert!(blocks(log_files::stream_path(&world.home, &world.id, 1)) < 64 << 10);
        let rest: Vec<_> = std::iter::from_fn(|| slow.next().unwrap()).collect();
        assert_eq!(rest.len(), kept.lines().count());
        let mut tail = logs(&world.home, &world.id, LogRange { tail: Some(2), ..LogRange::default() }).unwrap();
        assert_eq!(tail.next().unwrap().unwrap().bytes, line(1998).into_bytes());
        // Another supervisor goes on where this one stood.
        drop(output);
        let mut output = world.open();
        world.say(2, "last words\n");
        output.pump();
        assert_eq!(world.log(), kept + "2:last words\n");
    }

    /// What is logged nowhere is still all there for who is attached, however slow they are.
    #[test]
    fn without_a_log_readers_miss_nothing_and_nothing_stays() {
        let mut world = World::new();
        world.logging = Logging { driver: LogDriver::None, ..Logging::default() };
        let mut output = world.open();
        let mut reader = crate::container::logs::logs_from_now(&world.home, &world.id).unwrap();
        let line = "0123456789abcdef".repeat(2048) + "\n";
        for _ in 0..100 {
            world.say(1, &line);
            output.pump();
        }
        let read = std::iter::from_fn(|| reader.next().unwrap()).map(|line| line.bytes.len()).sum::<usize>();
        assert_eq!(read, line.len() * 100);
        drop(reader);
        world.say(1, &line);
        output.pump();
        assert!(world.log().len() <= 1 << 20, "nobody reads any more");
    }

    #[test]
    fn more_than_a_fifo_holds_arrives_whole() {
        let world = World::new();
        let mut output = world.open();
        let line = "0123456789abcdef".repeat(250) + "\n";
        for _ in 0..50 {
            world.say(1, &line);
            output.pump();
        }
        assert_eq!(world.log(), format!("1:{line}").repeat(50));
    }
}
