//! `coracle compose build`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::session;
use crate::cli::compose::session::Stage;
use crate::cli::out;
use crate::cli::progress::Style;
use crate::compose;
use crate::compose::BuildManner;
use crate::compose::Manner;
use crate::compose::labels;
use crate::compose::plan::Action;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// Set a build argument; a lone name takes its value from here
    #[arg(long, value_name = "NAME=VALUE")]
    build_arg: Vec<String>,
    /// Run every step anew
    #[arg(long)]
    no_cache: bool,
    /// Ask the registry for newer base images
    #[arg(long)]
    pull: bool,
    /// Say nothing of the progress
    #[arg(short, long)]
    quiet: bool,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let project = session::project(flags, &self.services)?;
        session::require(&project, &self.services)?;
        let chosen = project.services.iter().filter(|(name, _)| self.services.is_empty() || self.services.contains(name));
        let buildable = chosen.filter(|(_, service)| service.build.is_some());
        let actions: Vec<_> = buildable
            .map(|(name, service)| Action::BuildImage { service: name.clone(), image: labels::image_name(&project.name, (name, service)) })
            .collect();
        if actions.is_empty() {
            out::warn("no service to build");
            return Ok(0);
        }
        let mut flags = flags.clone();
        if self.quiet {
            flags.progress = Style::Quiet;
        }
        let argument = |word: String| match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        let build = BuildManner { no_cache: self.no_cache, pull: self.pull, args: self.build_arg.into_iter().map(argument).collect() };
        let stage = Stage::new(&flags)?;
        compose::bring_images(home, &project, actions, (Manner { build, ..Manner::default() }, &stage.watch()))?;
        Ok(0)
    }
}
