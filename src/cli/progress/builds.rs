//! What is seen of a build: steps and their output, as BuildKit shows them.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Instant;

use indicatif::ProgressBar;

use crate::build;
use crate::cli::progress::Progress;
use crate::cli::progress::PullWatch;
use crate::cli::progress::Style;
use crate::cli::progress::elapsed;
use crate::image;

/// Shows one build.
#[derive(Debug)]
pub struct BuildWatch {
    progress: Progress,
    name: Option<String>,
    begun: Instant,
    /// Base images come in by pulls.
    pull: PullWatch,
    steps: Mutex<HashMap<usize, Step>>,
}

#[derive(Debug)]
struct Step {
    text: String,
    begun: Instant,
    bar: Option<ProgressBar>,
    /// The last lines of output, kept for a failure.
    output: Vec<String>,
    over: bool,
}

/// How many lines of a failed step are shown on a terminal, where its output was not.
const KEPT_LINES: usize = 100;

impl BuildWatch {
    pub(super) fn new(progress: Progress, name: Option<&str>) -> BuildWatch {
        let pull = progress.pull(name.map_or("base image", |name| name));
        BuildWatch { progress, name: name.map(str::to_owned), begun: Instant::now(), pull, steps: Mutex::default() }
    }

    /// Says that the build has ended well.
    pub fn finished(&self, image: &str) {
        self.progress.say(&format!(" {image} Built  {}", elapsed(self.begun.elapsed())));
    }

    /// Shows the output of the steps that did not end, for a terminal has seen only its last line.
    pub fn failed(&self) {
        for step in self.steps().values().filter(|step| !step.over) {
            if let Some(bar) = &step.bar {
                self.progress.settle(bar, "✘", format!("{}  {}", step.text, elapsed(step.begun.elapsed())));
                step.output.iter().for_each(|line| self.progress.say(&format!("   | {line}")));
            }
        }
    }

    fn steps(&self) -> MutexGuard<'_, HashMap<usize, Step>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `#5 `, with the name of the build where several run side by side.
    fn number(&self, number: usize) -> String {
        self.name.as_ref().map_or_else(|| format!("#{number}"), |name| format!("#{number} {name}:"))
    }

    fn end(&self, number: usize, word: &str) {
        let mut steps = self.steps();
        let Some(step) = steps.get_mut(&number) else { return };
        step.over = true;
        let time = elapsed(step.begun.elapsed());
        match &step.bar {
            Some(bar) => self.progress.settle(bar, "✔", format!("{word} {}  {time}", step.text).trim_start().to_owned()),
            None if word.is_empty() => self.progress.say(&format!("{} DONE {time}\n", self.number(number))),
            None => self.progress.say(&format!("{} {word}\n", self.number(number))),
        }
    }
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
            Style::Quiet => None,
        };
        self.steps().insert(number, Step { text, begun: Instant::now(), bar, output: Vec::new(), over: false });
    }

    fn cached(&self, number: usize) {
        self.end(number, "CACHED");
    }

    fn output(&self, number: usize, line: &[u8]) {
        let line = String::from_utf8_lossy(line).trim_end().to_owned();
        let mut steps = self.steps();
        let Some(step) = steps.get_mut(&number) else { return };
        if step.output.len() == KEPT_LINES {
            step.output.remove(0);
        }
        let seconds = step.begun.elapsed().as_secs_f64();
        match &step.bar {
            Some(bar) => {
                bar.set_message(format!("{}  {seconds:.1}s  {line}", step.text));
                bar.tick();
            }
            None => self.progress.say(&format!("{} {seconds:.3} {line}", self.number(number))),
        }
        step.output.push(line);
    }

    fn ended(&self, number: usize) {
        self.end(number, "");
    }
}

impl image::Watch for BuildWatch {
    fn layer(&self, digest: &str, size: u64, there: bool) {
        self.pull.layer(digest, size, there);
    }

    fn progress(&self, digest: &str, bytes: u64) {
        self.pull.progress(digest, bytes);
    }

    fn done(&self, digest: &str) {
        self.pull.done(digest);
    }

    fn note(&self, text: &str) {
        self.pull.note(text);
    }
}
