//! `coracle push`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::out;
use crate::cli::progress::Progress;
use crate::cli::progress::Style;
use crate::cli::progress::Way;
use crate::image;
use crate::image::Packing;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// Push all tags of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Say nothing of the progress
    #[arg(short, long)]
    quiet: bool,
    /// Only if it is for `linux/arm64`
    #[arg(long)]
    platform: Option<String>,
    /// `gzip`, `zstd` or `none`, with a level as in `zstd:9`; without it layers go out as they came
    #[arg(long, value_name = "KIND[:LEVEL]", value_parser = Packing::parse)]
    compression: Option<Packing>,
    /// Taken for Docker's sake: there is no content trust to disable
    #[arg(long, hide = true)]
    disable_content_trust: bool,
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        let names = if self.all_tags { image::tags_of(home, &self.name)? } else { vec![self.name.clone()] };
        let progress = Progress::new(if self.quiet { Style::Quiet } else { Style::automatic() });
        for name in names {
            let watch = progress.image(&name, Way::Push);
            let pushed = image::push(home, &name, self.platform.as_deref(), self.compression, &watch)?;
            watch.finished();
            if self.quiet {
                out::line(&image::full_name(&name)?)?;
            } else {
                progress.close();
                out::line(&format!("{}: digest: {} size: {}", pushed.tag, pushed.digest, pushed.size))?;
            }
        }
        Ok(0)
    }
}
