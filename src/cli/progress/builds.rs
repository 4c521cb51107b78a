//! What is seen of a build: steps and their output, as BuildKit shows them.
//!
//! On a terminal a step that runs has a line with its time, and below it the last lines it wrote; a thread draws the
//! time as it passes, for as long as the build lasts. Elsewhere every line is one line.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use base64::Engine;
use indicatif::ProgressBar;
use serde_json::Value;
use serde_json::json;

use crate::build;
use crate::cli::out;
use crate::cli::progress::Progress;
use crate::cli::progress::PullWatch;
use crate::cli::progress::Style;
use crate::cli::progress::Way;
use crate::cli::progress::elapsed;
use crate::image;
use crate::units;

/// Shows one build.
#[derive(Debug)]
pub struct BuildWatch {
    progress: Progress,
    name: Option<String>,
    begun: Instant,
    /// Base images come in by pulls, and the result may go out by pushes.
    pull: Mutex<Arc<PullWatch>>,
    steps: Arc<Steps>,
    ticker: Mutex<Option<JoinHandle<()>>>,
}

/// The steps that were begun, and whether all is over.
#[derive(Debug, Default)]
struct Steps {
    known: Mutex<(BTreeMap<usize, Step>, bool)>,
    changed: Condvar,
}

#[derive(Debug)]
struct Step {
    text: String,
    begun: Instant,
    /// RFC 3339.
    since: String,
    bar: Option<ProgressBar>,
    /// The bars of the last lines of output.
    lines: Vec<ProgressBar>,
    /// The last lines of output, kept for a failure.
    output: Vec<String>,
    over: bool,
}

/// How many lines of a failed step are shown on a terminal, where its output was not.
const KEPT_LINES: usize = 100;
/// How many of the last lines of a running step are seen; fewer if many run.
const SEEN_LINES: usize = 5;
const SEEN_LINES_OF_ALL: usize = 12;
const TICK: Duration = Duration::from_millis(100);

impl BuildWatch {
    pub(super) fn new(progress: Progress, name: Option<&str>) -> BuildWatch {
        let pull = Mutex::new(Arc::new(progress.pull(name.map_or("base image", |name| name))));
        let name = name.map(str::to_owned);
        BuildWatch { progress, name, begun: Instant::now(), pull, steps: Arc::default(), ticker: Mutex::default() }
    }

    /// Says that the build has ended well.
    pub fn finished(&self, image: &str) {
        self.stop();
        if self.progress.style() != Style::Raw {
            self.progress.say(&format!(" {image} Built  {}", elapsed(self.begun.elapsed())));
        }
    }

    /// Shows the output of the steps that did not end, for a terminal has seen only its last lines.
    pub fn failed(&self) {
        self.stop();
        for (number, step) in self.steps().0.iter_mut().filter(|(_, step)| !step.over) {
            step.over = true;
            step.clear_lines();
            if self.progress.style() == Style::Raw {
                step.complete(&self.number(*number), ("error", json!("context canceled")));
            }
            if let Some(bar) = &step.bar {
                self.progress.settle(bar, "✘", format!("{}  {}", step.text, elapsed(step.begun.elapsed())));
                step.output.iter().for_each(|line| self.progress.say(&format!("   | {line}")));
            }
        }
    }

    fn steps(&self) -> MutexGuard<'_, (BTreeMap<usize, Step>, bool)> {
        self.steps.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pulls(&self) -> Arc<PullWatch> {
        self.pull.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins to draw the time as it passes.
    fn tick(&self) {
        let mut ticker = self.ticker.lock().unwrap_or_else(PoisonError::into_inner);
        if ticker.is_some() || self.progress.style() != Style::Bars {
            return;
        }
        let steps = self.steps.clone();
        *ticker = Some(std::thread::spawn(move || {
            let mut known = steps.known.lock().unwrap_or_else(PoisonError::into_inner);
            while !known.1 {
                known.0.values().filter(|step| !step.over).for_each(Step::draw);
                known = steps.changed.wait_timeout(known, TICK).unwrap_or_else(PoisonError::into_inner).0;
            }
        }));
    }

    /// Ends the thread: who comes after may want to clone, which takes a process with one thread.
    fn stop(&self) {
        self.steps().1 = true;
        self.steps.changed.notify_all();
        if let Some(ticker) = self.ticker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = ticker.join();
        }
    }

    /// `#5 `, with the name of the build where several run side by side.
    fn number(&self, number: usize) -> String {
        self.name.as_ref().map_or_else(|| format!("#{number}"), |name| format!("#{number} {name}:"))
    }

    fn end(&self, number: usize, word: &str) {
        let mut steps = self.steps();
        let Some(step) = steps.0.get_mut(&number) else { return };
        step.over = true;
        step.clear_lines();
        let time = elapsed(step.begun.elapsed());
        match (&step.bar, self.progress.style()) {
            (_, Style::Raw) if word.is_empty() => step.complete(&self.number(number), ("", json!(null))),
            (_, Style::Raw) => step.complete(&self.number(number), ("cached", json!(true))),
            (Some(bar), _) => self.progress.settle(bar, "✔", format!("{word} {}  {time}", step.text).trim_start().to_owned()),
            (None, _) if word.is_empty() => self.progress.say(&format!("{} DONE {time}\n", self.number(number))),
            (None, _) => self.progress.say(&format!("{} {word}\n", self.number(number))),
        }
    }

    /// Adds a line to those that are seen below a running step.
    fn show_line(&self, number: usize, line: &str) {
        let mut steps = self.steps();
        let running = steps.0.values().filter(|step| !step.over).count();
        let room = (SEEN_LINES_OF_ALL / running.max(1)).clamp(1, SEEN_LINES);
        let Some(step) = steps.0.get_mut(&number) else { return };
        if step.lines.len() < room
            && let Some(last) = step.lines.last().or(step.bar.as_ref())
        {
            step.lines.push(self.progress.below(last));
        }
        let shown = step.lines.len();
        let texts: Vec<String> = step.output.iter().rev().take(shown - 1).rev().cloned().chain([line.to_owned()]).collect();
        for (bar, text) in step.lines.iter().rev().zip(texts.iter().rev()) {
            bar.set_message(format!("    # {text}"));
        }
        step.draw();
    }
}

impl Drop for BuildWatch {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Step {
    /// Draws the time that has passed.
    fn draw(&self) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}  {:.1}s", self.text, self.begun.elapsed().as_secs_f64()));
            bar.tick();
        }
    }

    /// Says to programs that it is over, and how.
    fn complete(&self, number: &str, (how, value): (&str, Value)) {
        let mut vertex = self.vertex(number);
        vertex["completed"] = json!(units::now());
        if !how.is_empty() {
            vertex[how] = value;
        }
        raw(&json!({ "vertexes": [vertex] }));
    }

    fn clear_lines(&mut self) {
        self.lines.drain(..).for_each(|line| line.finish_and_clear());
    }

    /// As BuildKit describes a step.
    fn vertex(&self, number: &str) -> Value {
        json!({ "digest": digest(number), "name": self.text, "started": self.since })
    }
}

/// What programs know a step by.
fn digest(number: &str) -> String {
    use sha2::Digest;
    let sum: String = sha2::Sha256::digest(number.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{sum}")
}

/// Writes one object of the protocol.
fn raw(object: &Value) {
    out::say(&object.to_string());
}

impl build::Watch for BuildWatch {
    fn step(&self, number: usize, of: usize, text: &str) {
        // A text may bring its own brackets: `[web 2/7] RUN …`.
        let text = if text.starts_with('[') { text.to_owned() } else { format!("[{number}/{of}] {text}") };
        let text = match &self.name {
            Some(name) if self.progress.style() == Style::Bars => format!("{name}: {text}"),
            _ => text,
        };
        let bar = match self.progress.style() {
            Style::Bars => Some(self.progress.spinner(text.clone())),
            Style::Plain | Style::Json => {
                self.progress.say(&format!("{} {text}", self.number(number)));
                None
            }
            Style::Quiet | Style::Raw => None,
        };
        let step = Step { text, begun: Instant::now(), since: units::now(), bar, lines: Vec::new(), output: Vec::new(), over: false };
        if self.progress.style() == Style::Raw {
            raw(&json!({ "vertexes": [step.vertex(&self.number(number))] }));
        }
        self.steps().0.insert(number, step);
        self.tick();
    }

    fn cached(&self, number: usize) {
        self.end(number, "CACHED");
    }

    fn output(&self, number: usize, line: &[u8]) {
        let text = String::from_utf8_lossy(line).trim_end().to_owned();
        match self.progress.style() {
            Style::Bars => self.show_line(number, &text),
            Style::Raw => {
                let data = base64::engine::general_purpose::STANDARD.encode([line, b"\n"].concat());
                let log = json!({ "vertex": digest(&self.number(number)), "stream": 2, "data": data, "timestamp": units::now() });
                raw(&json!({ "logs": [log] }));
            }
            Style::Plain | Style::Json | Style::Quiet => {
                let seconds = self.steps().0.get(&number).map_or(0.0, |step| step.begun.elapsed().as_secs_f64());
                self.progress.say(&format!("{} {seconds:.3} {text}", self.number(number)));
            }
        }
        let mut steps = self.steps();
        let Some(step) = steps.0.get_mut(&number) else { return };
        if step.output.len() == KEPT_LINES {
            step.output.remove(0);
        }
        step.output.push(text);
    }

    fn ended(&self, number: usize) {
        self.end(number, "");
    }

    fn broke(&self, number: usize, reason: &str) {
        match self.progress.style() {
            Style::Raw => {
                let mut steps = self.steps();
                let Some(step) = steps.0.get_mut(&number).filter(|step| !step.over) else { return };
                step.over = true;
                step.complete(&self.number(number), ("error", json!(reason)));
            }
            Style::Plain | Style::Json if self.steps().0.get(&number).is_some_and(|step| !step.over) => {
                self.progress.say(&format!("{} ERROR: {reason}\n", self.number(number)));
            }
            // A terminal is told with the rest; see `failed`.
            _ => {}
        }
    }

    fn handed_over(&self, text: &str) {
        self.failed();
        self.progress.say(text);
    }

    fn pushing(&self, name: &str) {
        let push = Arc::new(self.progress.image(name, Way::Push));
        *self.pull.lock().unwrap_or_else(PoisonError::into_inner) = push;
    }
}

impl image::Watch for BuildWatch {
    fn layer(&self, digest: &str, size: u64, there: bool) {
        self.pulls().layer(digest, size, there);
    }

    fn progress(&self, digest: &str, bytes: u64) {
        self.pulls().progress(digest, bytes);
    }

    fn done(&self, digest: &str) {
        self.pulls().done(digest);
    }

    fn note(&self, text: &str) {
        self.pulls().note(text);
    }
}
