//! `coracle manifest …`

use clap::Args;
use clap::Subcommand;
use serde::Serialize;
use serde_json::Serializer;
use serde_json::Value;
use serde_json::ser::PrettyFormatter;

use crate::cli::Outcome;
use crate::cli::out;
use crate::cli::progress::Progress;
use crate::cli::progress::Style;
use crate::failure::Doing;
use crate::failure::Result;
use crate::image::Amend;
use crate::image::Annotation;
use crate::image::Lists;
use crate::place::Home;

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Say of an image in a list what it is for
    Annotate(Annotate),
    /// Begin a list of images that are in registries
    Create(Create),
    /// Show a manifest or a list
    Inspect(Inspect),
    /// Push a list to a registry
    Push(Push),
    /// Forget lists that were begun
    Rm(Remove),
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        let watch = Progress::new(Style::Quiet).pull("the manifest");
        let lists = Lists::new(home, &watch);
        match self {
            Command::Annotate(command) => command.run(&lists),
            Command::Create(command) => command.run(&lists),
            Command::Inspect(command) => command.run(&lists),
            Command::Push(command) => command.run(&lists),
            Command::Rm(command) => command.run(&lists),
        }
    }
}

#[derive(Debug, Args)]
pub struct Inspect {
    /// Taken for Docker's sake: which registries are spoken to without TLS stands in registries.conf
    #[arg(long, hide = true)]
    insecure: bool,
    /// Each image with its platform and its whole manifest
    #[arg(short, long)]
    verbose: bool,
    /// A list and, if there is one, the image of it that is meant
    #[arg(value_name = "MANIFEST", num_args = 1..=2, required = true)]
    names: Vec<String>,
}

impl Inspect {
    fn run(self, lists: &Lists<'_>) -> Outcome {
        let name = self.names.last().map(String::as_str).unwrap_or_default();
        let value = match self.verbose {
            true => lists.inspect_in_full(name)?,
            false => serde_json::from_slice(&lists.inspect(name)?).doing(|| "cannot understand the manifest")?,
        };
        out::line(&indented(&value)?)?;
        Ok(0)
    }
}

/// As Docker indents a manifest: by tabs.
fn indented(value: &Value) -> Result<String> {
    let mut text = Vec::new();
    let mut writer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"\t"));
    value.serialize(&mut writer).doing(|| "cannot write the manifest")?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[derive(Debug, Args)]
pub struct Create {
    /// Add to a list that was begun
    #[arg(short, long)]
    amend: bool,
    #[arg(long, hide = true)]
    insecure: bool,
    #[arg(value_name = "LIST")]
    list: String,
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

impl Create {
    fn run(self, lists: &Lists<'_>) -> Outcome {
        let name = lists.create(&self.list, &self.images, if self.amend { Amend::Yes } else { Amend::No })?;
        out::line(&format!("Created manifest list {name}"))?;
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub struct Annotate {
    #[arg(long)]
    arch: Option<String>,
    #[arg(long)]
    os: Option<String>,
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    os_features: Vec<String>,
    #[arg(long)]
    os_version: Option<String>,
    #[arg(long)]
    variant: Option<String>,
    #[arg(value_name = "LIST")]
    list: String,
    #[arg(value_name = "IMAGE")]
    image: String,
}

impl Annotate {
    fn run(self, lists: &Lists<'_>) -> Outcome {
        let said = Annotation {
            os: self.os,
            architecture: self.arch,
            variant: self.variant,
            os_version: self.os_version,
            os_features: self.os_features,
        };
        lists.annotate(&self.list, &self.image, &said)?;
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub struct Push {
    /// Forget the list once it is pushed
    #[arg(short, long)]
    purge: bool,
    #[arg(long, hide = true)]
    insecure: bool,
    #[arg(value_name = "LIST")]
    list: String,
}

impl Push {
    fn run(self, lists: &Lists<'_>) -> Outcome {
        out::line(&lists.push(&self.list)?)?;
        if self.purge {
            lists.remove(&self.list)?;
        }
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub struct Remove {
    #[arg(value_name = "LIST", required = true)]
    lists: Vec<String>,
}

impl Remove {
    fn run(self, lists: &Lists<'_>) -> Outcome {
        self.lists.iter().try_for_each(|list| lists.remove(list))?;
        Ok(0)
    }
}
