//! What is seen of work that takes time, on standard error: bars on a terminal, plain lines otherwise.
//!
//! No thread of its own, but for builds while they last: bars are drawn when something is heard, so a process that shows
//! progress may still clone.

mod builds;
mod objects;
mod pulls;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::MultiProgress;
use indicatif::ProgressBar;
use indicatif::ProgressDrawTarget;
use indicatif::ProgressStyle;
use serde_json::json;

use crate::cli::out;

pub use builds::BuildWatch;
pub use objects::Hush;
pub use objects::ObjectWatch;
pub use pulls::PullWatch;
pub use pulls::Way;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Bars,
    Plain,
    /// One JSON object a line, as docker compose writes it.
    Json,
    Quiet,
    /// For programs: builds in the words of BuildKit's protocol, a JSON object a line.
    Raw,
}

impl Style {
    /// Bars if somebody sits before it.
    pub fn automatic() -> Style {
        if out::talks_to_terminal() { Style::Bars } else { Style::Plain }
    }

    /// Reads `--progress`.
    ///
    /// # Errors
    /// None of the known words.
    pub fn read(text: &str) -> Result<Style, String> {
        match text {
            "auto" | "" => Ok(Style::automatic()),
            "tty" if out::talks_to_terminal() => Ok(Style::Bars),
            "tty" => {
                out::warn("`tty` is no way to show progress here, standard error is no terminal: it is shown as `plain`");
                Ok(Style::Plain)
            }
            "plain" => Ok(Style::Plain),
            "json" => Ok(Style::Json),
            "rawjson" => Ok(Style::Raw),
            "quiet" | "none" => Ok(Style::Quiet),
            _ => Err("it is one of auto, tty, plain, json, rawjson, quiet".to_owned()),
        }
    }

    /// Plain lines in the place of bars.
    pub fn without_bars(self) -> Style {
        if self == Style::Bars { Style::Plain } else { self }
    }
}

/// The place where progress is shown; clones show in the same place.
#[derive(Debug, Clone)]
pub struct Progress {
    style: Style,
    bars: MultiProgress,
    line: Arc<OpenLine>,
}

/// Bars leave the cursor at the end of the last one: what is written next must begin on a line of its own.
#[derive(Debug, Default)]
struct OpenLine(AtomicBool);

impl OpenLine {
    fn close(&self) {
        if self.0.swap(false, Ordering::Relaxed) {
            out::say("");
        }
    }
}

impl Drop for OpenLine {
    fn drop(&mut self) {
        self.close();
    }
}

impl Progress {
    /// Begins to show progress.
    pub fn new(style: Style) -> Progress {
        let target = if style == Style::Bars { ProgressDrawTarget::stderr_with_hz(15) } else { ProgressDrawTarget::hidden() };
        Progress { style, bars: MultiProgress::with_draw_target(target), line: Arc::default() }
    }

    /// Ends the last line of the bars; no bar may change after this.
    pub fn close(&self) {
        self.line.close();
    }

    /// How it is shown.
    pub fn style(&self) -> Style {
        self.style
    }

    /// Shows the pull of an image.
    pub fn pull(&self, image: &str) -> PullWatch {
        PullWatch::new(self.clone(), image, Way::Pull)
    }

    /// Shows an image that goes another way.
    pub fn image(&self, image: &str, way: Way) -> PullWatch {
        PullWatch::new(self.clone(), image, way)
    }

    /// Shows a build; `name` stands before its steps if several run side by side.
    pub fn build(&self, name: Option<&str>) -> BuildWatch {
        BuildWatch::new(self.clone(), name)
    }

    /// Says a line above the bars.
    pub fn say(&self, text: &str) {
        match self.style {
            Style::Bars if self.bars.println(text).is_ok() => {}
            Style::Quiet => {}
            Style::Json => out::say(&json!({ "text": text.trim() }).to_string()),
            Style::Raw => out::say(&serde_json::json!({ "warnings": [{ "short": text }] }).to_string()),
            _ => out::say(text),
        }
    }

    fn add(&self, bar: ProgressBar) -> ProgressBar {
        self.line.0.store(self.style == Style::Bars, Ordering::Relaxed);
        self.bars.add(bar)
    }

    /// Adds a line that changes: ` ⠿ Container web-1  Starting`.
    pub fn spinner(&self, text: String) -> ProgressBar {
        let bar = self.add(ProgressBar::new_spinner());
        bar.set_style(style(" {spinner} {wide_msg}"));
        bar.set_message(text);
        bar.tick();
        bar
    }

    /// Adds a line that changes right below another.
    fn below(&self, bar: &ProgressBar) -> ProgressBar {
        let line = self.bars.insert_after(bar, ProgressBar::new_spinner());
        line.set_style(style(" {wide_msg}"));
        line
    }

    /// Adds a bar that counts bytes below the last line.
    fn bytes(&self, name: String, total: u64) -> ProgressBar {
        let bar = self.add(ProgressBar::new(total));
        let running = "   {prefix} [{bar:30}] {bytes:>10}/{total_bytes:<10} {binary_bytes_per_sec:>12}  {eta} left";
        bar.set_style(style(running).progress_chars("=> "));
        bar.set_prefix(name);
        bar.tick();
        bar
    }

    /// Ends a bar of bytes with its last words.
    fn settle_bytes(&self, bar: &ProgressBar, text: &'static str) {
        bar.set_style(style("   {prefix} [{bar:30}] {bytes:>10}/{total_bytes:<10} {msg}").progress_chars("=> "));
        bar.finish_with_message(text);
    }

    /// Lets a line that had ended change again.
    fn revive(&self, bar: &ProgressBar, text: String) {
        if bar.is_finished() {
            bar.reset();
        }
        bar.set_style(style(" {spinner} {wide_msg}"));
        bar.set_message(text);
        bar.tick();
    }

    /// Ends a changing line with its last words.
    pub fn settle(&self, bar: &ProgressBar, mark: &str, text: String) {
        bar.set_style(style(&format!(" {mark} {{wide_msg}}")));
        bar.finish_with_message(text);
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// `0.3s`, `1m12s`: a time for the end of a line.
pub fn elapsed(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{:.1}s", duration.as_secs_f64()),
        _ => format!("{}m{:02}s", seconds / 60, seconds % 60),
    }
}
