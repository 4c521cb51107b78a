//! A command that was run, with a limit on its time, and what came of it.

use std::io::Read;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use super::wait;

/// Longer than any command may take on a loaded machine; a test that hangs fails.
const LIMIT: Duration = Duration::from_secs(240);
/// How long after a command's end its output may still be held open.
const CLOSING: Duration = Duration::from_secs(3);

/// Splits a command line at blanks; double or single quotes keep words together.
pub fn strings(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = None::<String>;
    let mut quote = None;
    for character in line.chars() {
        match (quote, character) {
            (Some(open), character) if open == character => quote = None,
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (_, character) => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

/// What came of a command.
#[derive(Debug, Clone)]
pub struct Outcome {
    line: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Outcome {
    /// Fails unless the command exited with 0.
    #[track_caller]
    pub fn succeeds(self) -> Outcome {
        assert!(self.status.success(), "did not succeed: {}", self.told());
        self
    }

    /// Fails unless the command exited with `code`, or did not exit at all.
    #[track_caller]
    pub fn exits_with(self, code: i32) -> Outcome {
        assert_eq!(self.status.code(), Some(code), "the exit code of: {}", self.told());
        self
    }

    /// Standard output without the line break at its end.
    pub fn line(&self) -> &str {
        self.stdout.trim_end_matches(['\n', '\r'])
    }

    /// Fails unless standard output has this text in it.
    #[track_caller]
    pub fn says(self, text: &str) -> Outcome {
        assert!(self.stdout.contains(text), "no `{text}` in the output of: {}", self.told());
        self
    }

    /// Fails unless standard error has this text in it.
    #[track_caller]
    pub fn complains(self, text: &str) -> Outcome {
        assert!(self.stderr.contains(text), "no `{text}` in the complaint of: {}", self.told());
        self
    }

    /// Everything, for a message.
    pub fn told(&self) -> String {
        let end = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, signal) => format!("signal {signal:?}"),
        };
        format!("{}\n{end} after {:?}\n--- stdout\n{}--- stderr\n{}---", self.line, self.took, self.stdout, self.stderr)
    }
}

/// A command that still runs; killed when dropped.
pub struct Running {
    line: String,
    child: Child,
    begun: Instant,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Running {
    /// Starts `command`; its output is collected from now on.
    pub fn start(mut command: Command, line: String) -> Running {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
        let mut readers = Vec::new();
        let stdout = collect(child.stdout.take(), &mut readers);
        let stderr = collect(child.stderr.take(), &mut readers);
        Running { line, child, begun: Instant::now(), stdout, stderr, readers }
    }

    /// Its process: that of the program, as `nsenter` and `env` become it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout.lock().unwrap()).into_owned()
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned()
    }

    /// Writes to its standard input.
    pub fn types(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().expect("standard input is open");
        stdin
            .write_all(text.as_bytes())
            .and_then(|()| stdin.flush())
            .unwrap_or_else(|error| panic!("cannot write to {}: {error}", self.line));
    }

    /// Waits until standard output has this text in it.
    #[track_caller]
    pub fn prints(&self, text: &str) {
        wait::eventually(wait::seconds(60), || {
            let (stdout, stderr) = (self.stdout(), self.stderr());
            if stdout.contains(text) { Ok(()) } else { Err(format!("{} has no `{text}` in\n{stdout}---\n{stderr}", self.line)) }
        });
    }

    /// Waits until it has ended and its output is closed.
    #[track_caller]
    pub fn ends(mut self) -> Outcome {
        drop(self.child.stdin.take());
        let mut status = None;
        let ended = wait::happens(LIMIT, || {
            status = self.child.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        assert!(ended, "still runs after {LIMIT:?}: {}\n{}---\n{}", self.line, self.stdout(), self.stderr());
        let took = self.begun.elapsed();
        let closed = wait::happens(CLOSING, || self.readers.iter().all(JoinHandle::is_finished));
        assert!(closed, "has ended, but something it left behind keeps its output open: {}", self.line);
        let (stdout, stderr) = (self.stdout(), self.stderr());
        Outcome { line: self.line.clone(), status: status.expect("it has ended"), stdout, stderr, took }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail if it has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(source: Option<impl Read + Send + 'static>, readers: &mut Vec<JoinHandle<()>>) -> Arc<Mutex<Vec<u8>>> {
    let mut source = source.expect("the output is a pipe");
    let sink = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&sink);
    readers.push(thread::spawn(move || {
        let mut part = [0; 8192];
        while let Ok(length @ 1..) = source.read(&mut part) {
            shared.lock().unwrap().extend_from_slice(&part[..length]);
        }
    }));
    sink
}
