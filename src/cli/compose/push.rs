//! `coracle compose push`

use std::thread;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::plan;
use crate::cli::compose::session;
use crate::cli::compose::session::Stage;
use crate::cli::out;
use crate::cli::progress::Style;
use crate::cli::progress::Way;
use crate::compose::model::Project;
use crate::compose::plan::Dependencies;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// Go on when an image cannot be pushed, and end well
    #[arg(long)]
    ignore_push_failures: bool,
    /// Push the images of what the named services depend on too
    #[arg(long)]
    include_deps: bool,
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
        let dependencies = if self.include_deps { Dependencies::Included } else { Dependencies::Left };
        let chosen: Vec<String> = session::chosen(&project, &self.services, dependencies).into_iter().collect();
        let names = names(&project, chosen.iter().map(String::as_str));
        if flags.dry_run {
            return plan::say(&names.iter().map(|name| format!("push image {name}")).collect::<Vec<_>>());
        }
        let flags = flags.with_style(self.quiet.then_some(Style::Quiet));
        match push(home, &flags, &names) {
            Err(failure) if self.ignore_push_failures => out::warn(&failure.to_string()),
            outcome => outcome?,
        }
        Ok(0)
    }
}

/// The names that the images of services are pushed under: those that are built and have a name of their own.
pub fn names<'a>(project: &Project, services: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names = Vec::new();
    for (service, model) in services.filter_map(|name| project.services.get_key_value(name)) {
        match (&model.image, &model.build) {
            (Some(image), Some(build)) => names.extend(std::iter::once(image).chain(&build.tags).cloned()),
            _ => out::say(&format!(" {service} Skipped")),
        }
    }
    names
}

/// Pushes images side by side.
///
/// # Errors
/// All that could not be pushed.
pub fn push(home: &Home, flags: &ProjectFlags, names: &[String]) -> Result<()> {
    let stage = Stage::new(flags)?;
    let one = |name: &String| {
        let watch = stage.progress.image(name, Way::Push);
        image::push(home, name, None, None, &watch).map(|_| watch.finished())
    };
    let outcomes: Vec<Result<()>> = thread::scope(|scope| {
        let pushes: Vec<_> = names.iter().map(|name| scope.spawn(move || one(name))).collect();
        pushes.into_iter().map(|push| push.join().expect("a push does not panic")).collect()
    });
    let mut faults: Vec<Failure> = outcomes.into_iter().filter_map(Result::err).collect();
    match faults.len() {
        0 => Ok(()),
        1 => Err(faults.remove(0)),
        _ => Err(Failure::several("cannot push all images", faults)),
    }
}
