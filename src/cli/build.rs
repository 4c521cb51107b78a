//! `coracle build`

use std::io::Read;
use std::path::PathBuf;

use clap::Args;

use crate::build;
use crate::build::Secret;
use crate::cli::Outcome;
use crate::cli::out;
use crate::cli::progress::Progress;
use crate::cli::progress::Style;
use crate::cli::spelling;
use crate::compose::short;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// A name for the image
    #[arg(short, long, value_name = "NAME[:TAG]")]
    tag: Vec<String>,
    /// The Dockerfile; `-` for standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Set a build argument; a lone name takes its value from here
    #[arg(long, value_name = "NAME=VALUE")]
    build_arg: Vec<String>,
    /// Set a label of the image
    #[arg(long, value_name = "NAME=VALUE", value_parser = spelling::pair)]
    label: Vec<(String, String)>,
    /// Build up to this stage
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Run every step anew
    #[arg(long)]
    no_cache: bool,
    /// Ask the registry for newer base images
    #[arg(long)]
    pull: bool,
    /// Such as `linux/arm64`
    #[arg(long)]
    platform: Option<String>,
    /// `default`, `host` or `none`, for RUN
    #[arg(long, value_name = "MODE", value_parser = ["default", "host", "none"])]
    network: Option<String>,
    /// A line of /etc/hosts for RUN
    #[arg(long, value_name = "NAME:ADDRESS", value_parser = short::extra_host)]
    add_host: Vec<(String, String)>,
    /// Another place that COPY --from and FROM may name
    #[arg(long, value_name = "NAME=PATH|docker-image://NAME", value_parser = spelling::pair)]
    build_context: Vec<(String, String)>,
    /// A secret for RUN --mount=type=secret
    #[arg(long, value_name = "id=NAME[,src=FILE|,env=VARIABLE]", value_parser = secret)]
    secret: Vec<(String, Secret)>,
    /// Print only the image's id
    #[arg(short, long)]
    quiet: bool,
    /// `auto`, `plain`, `tty` or `quiet`
    #[arg(long, value_name = "STYLE", default_value = "auto", value_parser = Style::read)]
    progress: Style,
    /// Write the image's id to a file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// The directory whose files COPY and ADD may read
    #[arg(value_name = "PATH")]
    context: PathBuf,
}

impl Command {
    pub fn run(mut self, home: &Home) -> Outcome {
        let style = if self.quiet { Style::Quiet } else { self.progress };
        let progress = Progress::new(style);
        let watch = progress.build(None);
        let iidfile = self.iidfile.take();
        let wanted = self.wanted()?;
        let tags = wanted.tags.clone();
        let image = build::build(home, &wanted, &watch).inspect_err(|_| watch.failed())?;
        if let Some(file) = iidfile {
            std::fs::write(&file, &image.id).doing(|| format!("cannot write the image's id to `{}`", file.display()))?;
        }
        if style == Style::Quiet {
            out::line(&image.id)?;
        } else {
            watch.finished(&tags.first().cloned().unwrap_or(image.id));
        }
        Ok(0)
    }

    fn wanted(self) -> Result<build::Wanted> {
        let reads_input = self.file.as_ref().is_some_and(|file| file.as_os_str() == "-");
        if !self.context.is_dir() {
            return Err(Failure::new(format!("cannot build from `{}`", self.context.display()))
                .because("the build context is no directory")
                .hint("name the directory that holds the Dockerfile, such as `.`"));
        }
        let argument = |word: String| match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        Ok(build::Wanted {
            context: self.context,
            dockerfile: self.file.filter(|_| !reads_input),
            dockerfile_text: reads_input.then(input).transpose()?,
            tags: self.tag,
            target: self.target,
            args: self.build_arg.into_iter().map(argument).collect(),
            labels: self.label.into_iter().collect(),
            no_cache: self.no_cache,
            pull: self.pull,
            platform: self.platform,
            network: self.network,
            extra_hosts: self.add_host,
            contexts: self.build_context.into_iter().collect(),
            secrets: self.secret.into_iter().collect(),
            ..build::Wanted::default()
        })
    }
}

fn input() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).doing(|| "cannot read the Dockerfile from standard input")?;
    Ok(text)
}

/// Reads `id=token,src=token.txt` or `id=token,env=TOKEN`; without a source it is the variable of that name.
fn secret(text: &str) -> Result<(String, Secret), String> {
    let (mut id, mut source) = (None, None);
    for word in text.split(',') {
        match word.split_once('=') {
            Some(("id", value)) => id = Some(value.to_owned()),
            Some(("src" | "source", value)) => source = Some(Secret::File(value.into())),
            Some(("env", value)) => source = Some(Secret::Env(value.to_owned())),
            Some(("type", "file" | "env")) => {}
            _ => return Err(format!("`{word}` is unknown here")),
        }
    }
    let id = id.ok_or("a secret needs an id")?;
    let source = source.unwrap_or_else(|| Secret::Env(id.clone()));
    Ok((id, source))
}
