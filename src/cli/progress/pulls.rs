//! What is seen of an image on its way: each layer, as `docker pull` and `docker push` show it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use indicatif::ProgressBar;

use crate::cli::progress::Progress;
use crate::cli::progress::Style;
use crate::cli::progress::elapsed;
use crate::cli::wording::short;
use crate::image;
use crate::units;

/// Which way an image goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Pull,
    Push,
    Load,
}

impl Way {
    fn doing(self) -> &'static str {
        match self {
            Way::Pull => "Pulling",
            Way::Push => "Pushing",
            Way::Load => "Loading",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Way::Pull => "Pulled",
            Way::Push => "Pushed",
            Way::Load => "Loaded",
        }
    }

    fn layer_done(self) -> &'static str {
        match self {
            Way::Pull => "Pull complete",
            Way::Push => "Pushed",
            Way::Load => "Load complete",
        }
    }

    fn there(self) -> &'static str {
        match self {
            Way::Push => "Layer already exists",
            Way::Pull | Way::Load => "Already exists",
        }
    }
}

/// Shows one image on its way.
#[derive(Debug)]
pub struct PullWatch {
    progress: Progress,
    way: Way,
    image: String,
    begun: Instant,
    head: Mutex<Option<ProgressBar>>,
    layers: Mutex<HashMap<String, Layer>>,
}

#[derive(Debug)]
struct Layer {
    bar: Option<ProgressBar>,
    size: u64,
    had: u64,
    /// When a plain line about it was last written.
    said: Instant,
}

/// Between two plain lines about one layer.
const PAUSE: Duration = Duration::from_secs(3);

impl PullWatch {
    pub(super) fn new(progress: Progress, image: &str, way: Way) -> PullWatch {
        PullWatch { progress, way, image: image.to_owned(), begun: Instant::now(), head: Mutex::default(), layers: Mutex::default() }
    }

    /// Says that the pull has ended well; nothing if nothing had to be fetched or asked.
    pub fn finished(&self) {
        let head = self.head.lock().unwrap_or_else(PoisonError::into_inner).take();
        let text = format!("{} {}", self.image, self.way.done());
        match head {
            Some(bar) => {
                for layer in self.layers().values() {
                    if let Some(bar) = &layer.bar {
                        bar.finish_and_clear();
                    }
                }
                self.progress.settle(&bar, "✔", format!("{text}  {}", elapsed(self.begun.elapsed())));
            }
            None if self.layers().is_empty() => {}
            None => self.progress.say(&format!(" {text}  {}", elapsed(self.begun.elapsed()))),
        }
    }

    fn layers(&self) -> MutexGuard<'_, HashMap<String, Layer>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) {
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        let text = format!("{} {}", self.image, self.way.doing());
        match self.progress.style() {
            Style::Bars if head.is_none() => *head = Some(self.progress.spinner(text)),
            Style::Plain | Style::Json if self.layers().is_empty() => self.progress.say(&format!(" {text}")),
            _ => {}
        }
    }
}

impl image::Watch for PullWatch {
    fn layer(&self, digest: &str, size: u64, there: bool) {
        self.begin();
        let name = short(digest).to_owned();
        let mut bar = None;
        match self.progress.style() {
            Style::Bars => {
                let new = self.progress.bytes(name.clone(), size);
                if there {
                    new.set_position(size);
                    self.progress.settle_bytes(&new, self.way.there());
                }
                bar = Some(new);
            }
            Style::Plain | Style::Json if there => self.progress.say(&format!("   {name} {}", self.way.there())),
            Style::Plain | Style::Json => self.progress.say(&format!("   {name} {} {}", self.way.doing(), units::size_text(size))),
            Style::Quiet | Style::Raw => {}
        }
        self.layers().insert(name, Layer { bar, size, had: 0, said: Instant::now() });
    }

    fn progress(&self, digest: &str, bytes: u64) {
        let name = short(digest);
        let mut layers = self.layers();
        let Some(layer) = layers.get_mut(name) else { return };
        layer.had += bytes;
        if let Some(bar) = &layer.bar {
            bar.inc(bytes);
        } else if layer.said.elapsed() > PAUSE {
            layer.said = Instant::now();
            self.progress.say(&format!(
                "   {name} {} {} of {}",
                self.way.doing(),
                units::size_text(layer.had),
                units::size_text(layer.size)
            ));
        }
        if let Some(head) = self.head.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            head.tick();
        }
    }

    fn done(&self, digest: &str) {
        let name = short(digest);
        if let Some(layer) = self.layers().get_mut(name) {
            match &layer.bar {
                Some(bar) => self.progress.settle_bytes(bar, self.way.layer_done()),
                None => self.progress.say(&format!("   {name} {}", self.way.layer_done())),
            }
        }
    }

    fn note(&self, text: &str) {
        self.progress.say(&format!(" {text}"));
    }
}
