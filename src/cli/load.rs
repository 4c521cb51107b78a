//! `coracle load`

use std::fs::File;
use std::io;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::PathBuf;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::out;
use crate::cli::progress::Progress;
use crate::cli::progress::Style;
use crate::cli::progress::Way;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// Read from this file, not from standard input
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Say nothing of the progress
    #[arg(short, long)]
    quiet: bool,
    /// Of an image for several platforms, the one for `linux/arm64`
    #[arg(long)]
    platform: Option<String>,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        let input = match &self.input {
            Some(path) => File::open(path).doing(|| format!("cannot open `{}`", path.display()))?,
            None => standard_input()?,
        };
        let automatic = Style::automatic();
        // As Docker's: the bars are for who sits before them.
        let progress = Progress::new(if self.quiet || automatic == Style::Plain { Style::Quiet } else { automatic });
        let name = self.input.as_ref().map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
        let watch = progress.image(&name, Way::Load);
        let loaded = image::load(home, input, self.platform.as_deref(), &watch)?;
        watch.finished();
        progress.close();
        for image in loaded {
            if image.names.is_empty() {
                out::line(&format!("Loaded image ID: {}", image.id))?;
            }
            for name in image.names {
                out::line(&format!("Loaded image: {name}"))?;
            }
        }
        Ok(0)
    }
}

/// Standard input as a file, which it may be.
fn standard_input() -> Result<File> {
    let input = io::stdin();
    if input.is_terminal() {
        let failure =
            Failure::new("cannot load from a terminal").because("an archive was requested from standard input, but nothing is there");
        return Err(failure.hint("name the archive with -i FILE, or redirect it"));
    }
    input.as_fd().try_clone_to_owned().map(File::from).doing(|| "cannot read standard input")
}
