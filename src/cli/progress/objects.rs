//! What is seen of a plan that is carried out: ` Container shop-web-1  Started  0.3s`.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

use indicatif::ProgressBar;
use serde_json::json;

use crate::build;
use crate::cli::interrupt::Interrupt;
use crate::cli::out;
use crate::cli::progress::Progress;
use crate::cli::progress::Style;
use crate::cli::progress::elapsed;
use crate::compose;
use crate::compose::Kind;
use crate::compose::Phase;
use crate::failure::Result;
use crate::image;
use crate::image::Image;

/// What is not to be heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hush {
    /// `--quiet-pull`
    pub pulls: bool,
    /// `--quiet-build`
    pub builds: bool,
}

/// Shows what becomes of containers, networks, volumes and images.
pub struct ObjectWatch<'a> {
    progress: Progress,
    hush: Hush,
    /// Whom an interruption is asked of; nobody for work that goes on in spite of one.
    interrupt: Option<&'a Interrupt>,
    /// How many interruptions there had been when this began.
    seen: u32,
    objects: Mutex<HashMap<(&'static str, String), Object>>,
}

struct Object {
    begun: Instant,
    bar: Option<ProgressBar>,
}

impl<'a> ObjectWatch<'a> {
    pub fn new(progress: Progress, interrupt: Option<&'a Interrupt>) -> ObjectWatch<'a> {
        let seen = interrupt.map_or(0, Interrupt::count);
        ObjectWatch { progress, hush: Hush::default(), interrupt, seen, objects: Mutex::default() }
    }

    /// The same without what is not to be heard.
    pub fn hushed(self, hush: Hush) -> ObjectWatch<'a> {
        ObjectWatch { hush, ..self }
    }

    /// Where something is shown that may be hushed.
    fn unless(&self, hushed: bool) -> Progress {
        if hushed { Progress::new(Style::Quiet) } else { self.progress.clone() }
    }

    fn show(&self, kind: &'static str, name: &str, phase: Phase) {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let text = format!("{kind} {name}  {}", word(phase));
        let object = objects.entry((kind, name.to_owned())).or_insert_with(|| Object { begun: Instant::now(), bar: None });
        if !is_last(phase) {
            object.begun = Instant::now();
        }
        match self.progress.style() {
            Style::Quiet | Style::Raw => {}
            Style::Json => out::say(&json!({ "id": format!("{kind} {name}"), "status": stage(phase), "text": word(phase) }).to_string()),
            // Nothing was done, so it took no time.
            Style::Plain if phase == Phase::Running => self.progress.say(&format!(" {text}")),
            Style::Plain if is_last(phase) => self.progress.say(&format!(" {text}  {}", elapsed(object.begun.elapsed()))),
            Style::Plain => self.progress.say(&format!(" {text}")),
            Style::Bars => {
                let bar = object.bar.take().unwrap_or_else(|| self.progress.spinner(text.clone()));
                if is_last(phase) {
                    let mark = if phase == Phase::Failed { "✘" } else { "✔" };
                    self.progress.settle(&bar, mark, format!("{text}  {}", elapsed(object.begun.elapsed())));
                } else {
                    self.progress.revive(&bar, text);
                }
                object.bar = Some(bar);
            }
        }
    }
}

impl compose::Watch for ObjectWatch<'_> {
    fn event(&self, kind: Kind, name: &str, phase: Phase) {
        let kind = match kind {
            Kind::Container => "Container",
            Kind::Network => "Network",
            Kind::Volume => "Volume",
            Kind::Image => "Image",
            Kind::Service => "Service",
        };
        self.show(kind, name, phase);
    }

    fn warn(&self, text: &str) {
        self.note(&format!("warning: {text}"));
    }

    fn note(&self, text: &str) {
        match self.progress.style() {
            Style::Bars | Style::Json => self.progress.say(text),
            _ => out::say(text),
        }
    }

    fn pull(&self, image: &str, work: &mut dyn FnMut(&dyn image::Watch) -> Result<Image>) -> Result<Image> {
        let watch = self.unless(self.hush.pulls).pull(image);
        work(&watch).inspect(|_| watch.finished())
    }

    fn build(&self, name: &str, work: &mut dyn FnMut(&dyn build::Watch) -> Result<Image>) -> Result<Image> {
        let watch = self.unless(self.hush.builds).build(Some(name));
        let outcome = work(&watch);
        match &outcome {
            Ok(_) => watch.finished(name),
            Err(_) => watch.failed(),
        }
        outcome
    }

    fn interrupted(&self) -> bool {
        self.interrupt.is_some_and(|interrupt| interrupt.count() > self.seen)
    }
}

fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Creating => "Creating",
        Phase::Created => "Created",
        Phase::Recreating => "Recreate",
        Phase::Recreated => "Recreated",
        Phase::Starting => "Starting",
        Phase::Started => "Started",
        Phase::Running => "Running",
        Phase::Waiting => "Waiting",
        Phase::Healthy => "Healthy",
        Phase::Completed => "Exited",
        Phase::Stopping => "Stopping",
        Phase::Stopped => "Stopped",
        Phase::Killing => "Killing",
        Phase::Killed => "Killed",
        Phase::Pausing => "Pausing",
        Phase::Paused => "Paused",
        Phase::Unpausing => "Unpausing",
        Phase::Unpaused => "Unpaused",
        Phase::Removing => "Removing",
        Phase::Removed => "Removed",
        Phase::Failed => "Error",
    }
}

/// Docker's word for how far something is.
fn stage(phase: Phase) -> &'static str {
    match phase {
        Phase::Failed => "Error",
        _ if is_last(phase) => "Done",
        _ => "Working",
    }
}

/// Whether nothing more is under way.
fn is_last(phase: Phase) -> bool {
    !matches!(
        phase,
        Phase::Creating
            | Phase::Recreating
            | Phase::Starting
            | Phase::Waiting
            | Phase::Stopping
            | Phase::Killing
            | Phase::Pausing
            | Phase::Unpausing
            | Phase::Removing
    )
}
