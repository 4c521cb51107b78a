//! `coracle compose pull`

use std::collections::BTreeSet;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::plan;
use crate::cli::compose::session;
use crate::cli::compose::session::Stage;
use crate::cli::out;
use crate::cli::progress::Style;
use crate::compose;
use crate::compose::AfterFault;
use crate::compose::Manner;
use crate::compose::lock;
use crate::compose::lock::Scope;
use crate::compose::plan::Action;
use crate::compose::plan::Dependencies;
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
    /// Pull all, or only what is not there
    #[arg(long, value_name = "WHEN", value_parser = ["always", "missing"], default_value = "always")]
    policy: String,
    /// Leave images alone that can be built
    #[arg(long)]
    ignore_buildable: bool,
    #[arg(long, hide = true)]
    parallel: bool,
    #[arg(long, hide = true)]
    no_parallel: bool,
    /// Write the digests of the images to `compose.lock`, for `up --locked`
    #[arg(long)]
    lock: bool,
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
        let names = session::chosen(&project, &self.services, if self.include_deps { Dependencies::Included } else { Dependencies::Left });
        let (mut images, mut buildable) = (BTreeSet::new(), BTreeSet::new());
        for name in names {
            match &project.services[&name] {
                service if service.build.is_some() && (self.ignore_buildable || service.image.is_none()) => {
                    out::say(&format!(" {name} Skipped  built, not pulled"));
                }
                service if service.build.is_some() => buildable.extend(service.image.clone()),
                service if service.pull_policy.as_deref() == Some("never") => out::say(&format!(" {name} Skipped  pull_policy is never")),
                service => images.extend(service.image.clone()),
            }
        }
        let locked: Vec<String> = images.iter().cloned().collect();
        let mut actions = Vec::new();
        for image in images {
            if self.policy == "always" || image::find(home, &image)?.is_none() {
                actions.push(Action::PullImage { image });
            }
        }
        if flags.dry_run {
            actions.extend(buildable.into_iter().map(|image| Action::PullImage { image }));
            return plan::show(&compose::plan_images(&project, actions));
        }
        let flags = flags.with_style(self.quiet.then_some(Style::Quiet));
        let after_fault = if self.ignore_pull_failures { AfterFault::GoOn } else { AfterFault::Stop };
        let stage = Stage::new(&flags)?;
        match compose::bring_images(home, &project, actions, (Manner { after_fault, ..flags.manner() }, &stage.watch())) {
            Err(failure) if self.ignore_pull_failures && failure.status() != 130 => out::warn(&failure.to_string()),
            outcome => outcome?,
        }
        for image in buildable {
            let action = Action::PullImage { image: image.clone() };
            match compose::bring_images(home, &project, vec![action], (flags.manner(), &stage.watch())) {
                Err(failure) if failure.status() != 130 => out::warn(&format!("{image} must be built from source: {}", failure.what())),
                outcome => outcome?,
            }
        }
        if self.lock {
            let path = lock::write(home, &project, &locked, if self.services.is_empty() { Scope::All } else { Scope::Some })?;
            out::say(&format!(" {} images are locked in {}", locked.len(), path.display()));
        }
        Ok(0)
    }
}
