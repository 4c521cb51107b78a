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

use crate::container::log_files;
use crate::container::log_files::RECORD;
use crate::container::log_files::Stretch;
use crate::place::Home;
use crate::units;

use super::complain;

/// The most that one splice moves; a FIFO holds no more unless somebody enlarged it.
const PORTION: usize = 1 << 20;
/// How often one stream is emptied before the others get their turn.
const TURNS: usize = 16;
const STALL: Duration = Duration::from_secs(1);

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
    pub(super) fn open(home: &Home, id: &str, origin: Origin) -> io::Result<Output> {
        let mut index = open_log(&log_files::index_path(home, id), true)?;
        trim(&index)?;
        let origins = match origin {
            Origin::Fifos { stdout, stderr } => vec![(1, stdout, None), (2, stderr, None)],
            Origin::Terminal { master, fifo } => vec![(1, fifo, Some(master))],
        };
        let mut streams = Vec::new();
        for (number, fifo, terminal) in origins {
            let log = open_log(&log_files::stream_path(home, id, number), false)?;
            let end = log.metadata()?.len();
            if end > 0 && last_end(&index, number)? < end {
                index.write_all(&Stretch { time: units::now_nanoseconds(), end, stream: number }.encode())?;
            }
            streams.push(Stream { number, fifo, terminal, log, end, stalled_until: None });
        }
        Ok(Output { index, streams })
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
                if !self.pump_once(number) {
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
                true
            }
            Err(error) => {
                complain("cannot write a log", error);
                stream.stalled_until = Some(Instant::now() + STALL);
                false
            }
        }
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
fn last_end(index: &File, stream: u8) -> io::Result<u64> {
    const BLOCK: u64 = RECORD as u64 * 4096;
    let mut to = index.metadata()?.len();
    while to > 0 {
        let from = to.saturating_sub(BLOCK);
        let mut bytes = vec![0; usize::try_from(to - from).unwrap_or(0)];
        index.read_exact_at(&mut bytes, from)?;
        let mut stretches = bytes.chunks_exact(RECORD).rev().filter_map(|record| record.first_chunk().and_then(Stretch::decode));
        if let Some(last) = stretches.find(|stretch| stretch.stream == stream) {
            return Ok(last.end);
        }
        to = from;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::Mode;
    use rustix::fs::OFlags;

    use super::*;
    use crate::container::LogRange;
    use crate::container::logs;

    struct World {
        _root: tempfile::TempDir,
        home: Home,
        id: String,
        fifos: [Rc<OwnedFd>; 2],
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
            World { _root: root, home, id, fifos }
        }

        fn open(&self) -> Output {
            let [stdout, stderr] = self.fifos.clone();
            Output::open(&self.home, &self.id, Origin::Fifos { stdout, stderr }).unwrap()
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
