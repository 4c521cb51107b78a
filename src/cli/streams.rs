//! The output of several containers, each line with the name of its container before it.
//!
//! One thread reads each log and sends whole lines; the thread that prints is the caller's.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::Sender;
use std::sync::mpsc::channel;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::cli::container_list::is_up;
use crate::cli::out;
use crate::cli::out::Reader;
use crate::container;
use crate::container::Line;
use crate::container::LogRange;
use crate::container::Logs;
use crate::failure::Result;
use crate::place::Home;
use crate::units;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    pub timestamps: bool,
    pub colour: bool,
    /// The names before the lines.
    pub prefix: bool,
}

/// Whose output is shown.
#[derive(Debug, Clone)]
pub struct Source {
    pub id: String,
    /// `web-1`
    pub name: String,
}

/// What one of the readers has to say.
pub enum News {
    Line(usize, Line),
    /// The container ended with this code, and its output is out.
    Ended(usize, i32),
}

/// How often a reader looks whether its container has ended or nobody listens any more.
const GLANCE: Duration = Duration::from_millis(200);

/// Colours of the names, as docker compose gives them.
const COLOURS: [u8; 10] = [36, 33, 32, 35, 34, 96, 93, 92, 95, 94];

/// Prints lines under names that are padded to one width.
pub struct Printer {
    look: Look,
    /// Of the longest name.
    width: usize,
    prefixes: Vec<String>,
    /// Output without its line break yet, by source and stream.
    open: HashMap<(usize, u8), Vec<u8>>,
}

impl Printer {
    /// A printer for these sources, in this order.
    pub fn new(sources: &[Source], look: Look) -> Printer {
        let width = sources.iter().map(|source| source.name.len()).max().unwrap_or(0);
        let mut printer = Printer { look, width, prefixes: Vec::new(), open: HashMap::new() };
        sources.iter().for_each(|source| printer.add(source));
        printer
    }

    /// Takes one more source, numbered after those before it.
    pub fn add(&mut self, source: &Source) {
        let (at, width) = (self.prefixes.len(), self.width);
        self.prefixes.push(match (self.look.prefix, self.look.colour) {
            (false, _) => String::new(),
            (true, false) => format!("{:width$}  | ", source.name),
            (true, true) => format!("\u{1b}[{}m{:width$}  | \u{1b}[0m", COLOURS[at % COLOURS.len()], source.name),
        });
    }

    /// Prints a stretch of output as soon as its line is whole.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn line(&mut self, source: usize, line: &Line) -> Result<Reader> {
        let open = self.open.entry((source, line.stream)).or_default();
        open.extend_from_slice(&line.bytes);
        if !open.ends_with(b"\n") {
            return Ok(Reader::There);
        }
        let whole = std::mem::take(open);
        self.print(source, line.time, &whole)
    }

    /// Prints what a source left without a line break.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn finish(&mut self, source: usize) -> Result<Reader> {
        for stream in [1, 2] {
            if let Some(rest) = self.open.remove(&(source, stream)).filter(|rest| !rest.is_empty()) {
                self.print(source, units::now_nanoseconds(), &rest)?;
            }
        }
        Ok(Reader::There)
    }

    fn print(&self, source: usize, time: u64, whole: &[u8]) -> Result<Reader> {
        let mut text = self.prefixes[source].clone().into_bytes();
        if self.look.timestamps {
            text.extend_from_slice(units::time_text(time).as_bytes());
            text.push(b' ');
        }
        let whole = whole.strip_suffix(b"\n").unwrap_or(whole);
        text.extend_from_slice(whole.strip_suffix(b"\r").unwrap_or(whole));
        text.push(b'\n');
        out::bytes(&text)
    }
}

/// Prints what is there now, in the order in which it was written.
///
/// # Errors
/// A log cannot be read.
pub fn print_there(home: &Home, sources: &[Source], range: LogRange, look: Look) -> Result<()> {
    let mut lines = Vec::new();
    for (at, source) in sources.iter().enumerate() {
        let mut logs = container::logs(home, &source.id, range)?;
        while let Some(line) = logs.next()? {
            lines.push((at, line));
        }
    }
    lines.sort_by_key(|(_, line)| line.time);
    let mut printer = Printer::new(sources, look);
    for (at, line) in &lines {
        if printer.line(*at, line)? == Reader::Gone {
            return Ok(());
        }
    }
    (0..sources.len()).try_for_each(|at| printer.finish(at).map(|_| ()))
}

/// Readers that follow logs, one thread each; they end with their containers or when this is dropped.
pub struct Followers {
    home: Home,
    news: Receiver<News>,
    sender: Sender<News>,
    enough: Arc<AtomicBool>,
    /// How many readers have not ended.
    live: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
    /// By number.
    ids: Vec<String>,
}

impl Followers {
    /// Begins to follow.
    ///
    /// # Errors
    /// A log cannot be opened.
    pub fn begin(home: &Home, sources: &[Source], range: LogRange) -> Result<Followers> {
        let (sender, news) = channel();
        let (enough, live) = (Arc::default(), Arc::default());
        let mut followers = Followers { home: home.clone(), news, sender, enough, live, threads: Vec::new(), ids: Vec::new() };
        for source in sources {
            followers.add(source, range)?;
        }
        Ok(followers)
    }

    /// Begins to follow one more, numbered after those before it.
    ///
    /// # Errors
    /// Its log cannot be opened.
    pub fn add(&mut self, source: &Source, range: LogRange) -> Result<()> {
        let logs = container::logs(&self.home, &source.id, range)?;
        let reader = Follower {
            home: self.home.clone(),
            id: source.id.clone(),
            at: self.threads.len(),
            logs,
            news: self.sender.clone(),
            enough: self.enough.clone(),
        };
        self.ids.push(source.id.clone());
        self.live.fetch_add(1, Ordering::SeqCst);
        let live = self.live.clone();
        self.threads.push(thread::spawn(move || {
            reader.run();
            live.fetch_sub(1, Ordering::SeqCst);
        }));
        Ok(())
    }

    /// The id of the container with this number.
    pub fn id(&self, at: usize) -> &str {
        &self.ids[at]
    }

    /// The next news, waited for no longer than `limit`.
    ///
    /// # Errors
    /// There is none: nothing has happened, or all have ended.
    pub fn next(&self, limit: Duration) -> std::result::Result<News, Silence> {
        // Asked before the news: what was sent before an end is then surely there.
        let is_over = self.live.load(Ordering::SeqCst) == 0;
        match self.news.recv_timeout(if is_over { Duration::ZERO } else { limit }) {
            Ok(news) => Ok(news),
            Err(_) if is_over => Err(Silence::AllEnded),
            Err(_) => Err(Silence::Nothing),
        }
    }
}

/// Why there is no news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    Nothing,
    AllEnded,
}

impl Drop for Followers {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A reader that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

struct Follower {
    home: Home,
    id: String,
    at: usize,
    logs: Logs,
    news: Sender<News>,
    enough: Arc<AtomicBool>,
}

impl Follower {
    fn run(mut self) {
        while !self.enough.load(Ordering::Relaxed) {
            // The state is asked before the log: what was written before an end is then surely read.
            let ended = self.ended();
            let Ok(Reader::There) = self.drain() else { return };
            if let Some(code) = ended {
                // The listener may have left; then nobody minds.
                let _ = self.news.send(News::Ended(self.at, code));
                return;
            }
            if self.logs.wait(GLANCE).is_err() {
                return;
            }
        }
    }

    fn drain(&mut self) -> Result<Reader> {
        while let Some(line) = self.logs.next()? {
            if self.news.send(News::Line(self.at, line)).is_err() {
                return Ok(Reader::Gone);
            }
        }
        Ok(Reader::There)
    }

    /// The exit code of a container that has ended; one that is gone ended well.
    fn ended(&self) -> Option<i32> {
        match container::state(&self.home, &self.id) {
            Ok(state) if is_up(state.status) => None,
            Ok(state) => Some(state.exit_code),
            Err(_) => Some(0),
        }
    }
}

/// Prints and follows until all containers have ended or the reader of our output is gone.
///
/// # Errors
/// A log cannot be read.
pub fn follow(home: &Home, sources: &[Source], range: LogRange, look: Look) -> Result<()> {
    let followers = Followers::begin(home, sources, range)?;
    let mut printer = Printer::new(sources, look);
    loop {
        let reader = match followers.next(GLANCE) {
            Ok(News::Line(at, line)) => printer.line(at, &line)?,
            Ok(News::Ended(at, _)) => printer.finish(at)?,
            Err(Silence::Nothing) => Reader::There,
            Err(Silence::AllEnded) => return Ok(()),
        };
        if reader == Reader::Gone {
            return Ok(());
        }
    }
}
