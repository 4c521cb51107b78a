//! `coracle compose pull`

use std::collections::BTreeSet;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::session;
use crate::cli::compose::session::Stage;
use crate::cli::out;
use crate::cli::progress::Style;
use crate::compose;
use crate::compose::AfterFault;
use crate::compose::Manner;
use crate::compose::plan::Action;
use crate::image;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// Say nothing of the progress
    #[arg(short, long)]
    quiet: bool,
    /// Go on when an image cannot be pulled, and end well
    #[arg(long)]
    ignore_pull_failures: bool,
    /// Pull only what is not there
    #[arg(long, value_name = "WHEN", value_parser = ["always", "missing"], default_value = "always")]
    policy: String,
    /// Pull what the named services depend on too
    #[arg(long)]
    include_deps: bool,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let project = session::project(flags, &self.services)?;
        session::require(&project, &self.services)?;
        let mut names: BTreeSet<&String> =
            if self.services.is_empty() { project.services.keys().collect() } else { self.services.iter().collect() };
        let mut before = 0;
        while self.include_deps && before != names.len() {
            before = names.len();
            let dependencies: Vec<_> = names.iter().flat_map(|name| project.services[*name].depends_on.keys()).collect();
            names.extend(dependencies.into_iter().filter(|name| project.services.contains_key(*name)));
        }
        let mut images = BTreeSet::new();
        for name in names {
            match &project.services[name] {
                service if service.build.is_some() => out::say(&format!(" {name} Skipped  built, not pulled")),
                service => images.extend(service.image.clone()),
            }
        }
        let mut actions = Vec::new();
        for image in images {
            if self.policy == "always" || image::find(home, &image)?.is_none() {
                actions.push(Action::PullImage { image });
            }
        }
        let mut flags = flags.clone();
        if self.quiet {
            flags.progress = Style::Quiet;
        }
        let after_fault = if self.ignore_pull_failures { AfterFault::GoOn } else { AfterFault::Stop };
        let stage = Stage::new(&flags)?;
        match compose::bring_images(home, &project, actions, (Manner { after_fault, ..Manner::default() }, &stage.watch())) {
            Err(failure) if self.ignore_pull_failures && failure.status() != 130 => out::warn(&failure.to_string()),
            outcome => outcome?,
        }
        Ok(0)
    }
}
