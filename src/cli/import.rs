//! `coracle import`

use std::fs::File;
use std::io;
use std::io::IsTerminal;
use std::io::Read;
use std::io::Seek;

use clap::Args;

use crate::build;
use crate::cli::Outcome;
use crate::cli::out;
use crate::cli::progress::Progress;
use crate::cli::progress::Style;
use crate::cli::version::architecture;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::image::History;
use crate::image::ImageConfig;
use crate::image::WebRequest;
use crate::making;
use crate::place::Home;
use crate::units;

#[derive(Debug, Args)]
pub struct Command {
    /// An instruction of a Dockerfile, such as `CMD ["sh"]`
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// A remark for the image's history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// What it is for, such as `linux/arm64`
    #[arg(long)]
    platform: Option<String>,
    /// A tar archive, compressed or not; `-` for standard input
    #[arg(value_name = "FILE|URL|-")]
    source: String,
    #[arg(value_name = "NAME[:TAG]")]
    name: Option<String>,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        // A bad name or change must not cost the work of unpacking.
        self.name.as_deref().map(image::full_name).transpose()?;
        let config = build::changed(&self.plain_config()?, &self.change)?;
        let mut source = self.open(home)?;
        let watch = Progress::new(Style::Quiet).pull(&self.source);
        let made = image::import(home, &mut source, config, &watch)?;
        if let Some(name) = &self.name {
            image::tag(home, &made.id, name)?;
        }
        out::line(&made.id)?;
        Ok(0)
    }

    fn plain_config(&self) -> Result<ImageConfig> {
        let created = Some(units::now());
        let (os, platform, variant) = match self.platform.as_deref() {
            None => ("linux".to_owned(), architecture().to_owned(), None),
            Some(text) => image::platform_parts(text)?,
        };
        if os != "linux" {
            return Err(Failure::new(format!("cannot make an image for {os}")).because("operating system is not supported"));
        }
        let comment = self.message.clone().unwrap_or_else(|| format!("Imported from {}", self.source));
        let history = vec![History { created: created.clone(), comment: Some(comment.clone()), ..History::default() }];
        let mut config = ImageConfig { created, os, architecture: platform, variant, history, ..ImageConfig::default() };
        config.rest.insert("comment".to_owned(), comment.into());
        Ok(config)
    }

    fn open(&self, home: &Home) -> Result<Box<dyn Read + Send>> {
        let cannot = || format!("cannot open `{}`", self.source);
        if self.source == "-" {
            if io::stdin().is_terminal() {
                let failure = Failure::new("cannot import from a terminal").because("nothing is there on standard input");
                return Err(failure.hint("redirect the archive, or name its file"));
            }
            return Ok(Box::new(io::stdin()));
        }
        if self.source.starts_with("http://") || self.source.starts_with("https://") {
            let mut file = making::unnamed(home).doing(cannot)?;
            image::fetch(home, &WebRequest { url: self.source.clone(), ..WebRequest::default() }, &mut file)?;
            file.rewind().doing(cannot)?;
            return Ok(Box::new(file));
        }
        Ok(Box::new(File::open(&self.source).doing(cannot)?))
    }
}
