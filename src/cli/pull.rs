//! `coracle pull`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::out;
use crate::cli::progress::Progress;
use crate::cli::progress::Style;
use crate::cli::sweep;
use crate::failure::Result;
use crate::image;
use crate::image::Policy;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// Pull all tags of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Say nothing of the progress
    #[arg(short, long)]
    quiet: bool,
    /// Such as `linux/arm64`
    #[arg(long)]
    platform: Option<String>,
    /// Taken for Docker's sake: there is no content trust to disable
    #[arg(long, hide = true)]
    disable_content_trust: bool,
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    image: String,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        let progress = Progress::new(if self.quiet { Style::Quiet } else { Style::automatic() });
        if !self.all_tags {
            let pulled = self.pull(home, &self.image, &progress);
            // Even if there was nothing to fetch: what a killed command has left is ours as well as anybody's.
            sweep::begin(home);
            pulled?;
            out::line(&image::full_name(&self.image)?)?;
            return Ok(0);
        }
        for name in image::remote_tags(home, &self.image)? {
            self.pull(home, &name, &progress)?;
        }
        sweep::begin(home);
        out::line(image::full_name(&self.image)?.trim_end_matches(":latest"))?;
        Ok(0)
    }

    fn pull(&self, home: &Home, name: &str, progress: &Progress) -> Result<()> {
        let before = image::find(home, name)?;
        let watch = progress.pull(name);
        let pulled = image::pull(home, name, self.platform.as_deref(), Policy::Always, &watch)?;
        watch.finished();
        progress.close();
        if !self.quiet {
            if let Some(digest) = &pulled.manifest_digest {
                out::say(&format!("Digest: {digest}"));
            }
            let news = if before.is_some_and(|before| before.id == pulled.id) { "Image is up to date" } else { "Downloaded newer image" };
            out::say(&format!("Status: {news} for {name}"));
        }
        Ok(())
    }
}
