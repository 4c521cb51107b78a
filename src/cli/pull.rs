//! `coracle pull`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::out;
use crate::cli::progress::Progress;
use crate::cli::progress::Style;
use crate::image;
use crate::image::Policy;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// Say nothing of the progress
    #[arg(short, long)]
    quiet: bool,
    /// Such as `linux/arm64`
    #[arg(long)]
    platform: Option<String>,
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    image: String,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        let progress = Progress::new(if self.quiet { Style::Quiet } else { Style::automatic() });
        let before = image::find(home, &self.image)?;
        let watch = progress.pull(&self.image);
        let pulled = image::pull(home, &self.image, self.platform.as_deref(), Policy::Always, &watch)?;
        watch.finished();
        progress.close();
        if !self.quiet {
            if let Some(digest) = &pulled.manifest_digest {
                out::say(&format!("Digest: {digest}"));
            }
            let news = if before.is_some_and(|before| before.id == pulled.id) { "Image is up to date" } else { "Downloaded newer image" };
            out::say(&format!("Status: {news} for {}", self.image));
        }
        out::line(&image::full_name(&self.image)?)?;
        Ok(0)
    }
}
