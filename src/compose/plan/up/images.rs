//! Which images must be pulled or built first.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::compose::labels;
use crate::compose::model::Service;
use crate::compose::plan::Action;
use crate::compose::plan::Images;
use crate::compose::plan::up::Planner;
use crate::failure::Failure;
use crate::failure::Result;
use crate::units;

/// What is done about one image.
enum Bring {
    Nothing,
    Pull(&'static str),
    Build(&'static str),
}

impl Planner<'_> {
    pub(super) fn images(&mut self, services: &[String]) -> Result<()> {
        if self.options.images == Images::Settled {
            return Ok(());
        }
        let built = self.project.services.values().filter(|service| service.build.is_some());
        let built: BTreeSet<&String> = built.filter_map(|service| service.image.as_ref()).collect();
        for name in services {
            if self.project.services[name].provider.is_none() && !self.options.settled.contains(name) {
                self.further_images(name, &built)?;
                self.image(name, &mut Vec::new())?;
            }
        }
        Ok(())
    }

    /// Adds the step that brings a service's image, after those that bring what it is built from; its number, if there is one.
    fn image(&mut self, name: &str, open: &mut Vec<String>) -> Result<Option<usize>> {
        let project = self.project;
        let service = &project.services[name];
        let image = labels::image_name(self.project, (name, service));
        let key = format!("image {image}");
        if let Some(step) = self.made.get(&key) {
            return Ok(Some(*step));
        }
        let is_there = self.found.images.get(&image).is_some_and(Option::is_some);
        let age = self.found.image_ages.get(&image).copied().filter(|_| is_there);
        let found = match (project.pins.contains_key(&image), is_there) {
            (true, _) => Known::Pinned { is_there },
            (false, true) => Known::There { age },
            (false, false) => Known::Missing,
        };
        let (action, cause) = match bring(service, self.options.images, found)
            .map_err(|failure| failure.within(format!("cannot bring up service `{name}`")))?
        {
            Bring::Nothing => return Ok(None),
            Bring::Pull(cause) => (Action::PullImage { image }, cause),
            Bring::Build(cause) => (Action::BuildImage { service: name.to_owned(), image }, cause),
        };
        let mut after = Vec::new();
        if let (Action::BuildImage { .. }, Some(build)) = (&action, &service.build) {
            // A circle is left open here: the build that comes first says which image it misses.
            open.push(name.to_owned());
            for other in build.services().filter(|other| project.services.contains_key(*other)) {
                if !open.iter().any(|open| open == other) {
                    after.extend(self.image(other, open)?);
                }
            }
            open.pop();
        }
        let step = self.plan.add(action, after, cause.to_owned());
        self.made.insert(key, step);
        Ok(Some(step))
    }

    /// Images whose files a service has mounted, or that its first steps run.
    fn further_images(&mut self, name: &str, built: &BTreeSet<&String>) -> Result<()> {
        for image in self.project.services[name].further_images().cloned() {
            let is_there = self.found.images.get(&image).is_some_and(Option::is_some);
            let key = format!("image {image}");
            if is_there || built.contains(&image) || self.made.contains_key(&key) {
                continue;
            }
            if self.options.images == Images::NeverPull {
                return Err(Failure::new(format!("cannot bring up service `{name}`")).because(format!(
                    "the image `{image}`, which it needs too, is not there, and `--pull never` keeps it from being pulled"
                )));
            }
            let step = self.plan.add(Action::PullImage { image }, Vec::new(), "not found".to_owned());
            self.made.insert(key, step);
        }
        Ok(())
    }
}

/// How old an image may be by a policy; None if its age is not asked for.
fn oldest(policy: &str) -> Option<Duration> {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    match policy {
        "refresh" => Some(Duration::ZERO),
        "daily" => Some(DAY),
        "weekly" => Some(7 * DAY),
        _ => policy.strip_prefix("every_").and_then(|text| units::duration(text).ok()),
    }
}

/// What is known of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Missing,
    There {
        age: Option<Duration>,
    },
    /// `compose.lock` says which one it must be, so there is nothing newer to look for.
    Pinned {
        is_there: bool,
    },
}

fn bring(service: &Service, images: Images, known: Known) -> Result<Bring> {
    let policy = service.pull_policy.as_deref().unwrap_or_default();
    let can_build = service.build.is_some();
    let (is_there, age) = match known {
        Known::Missing => (false, None),
        Known::There { age } => (true, age),
        Known::Pinned { is_there: true } => return Ok(Bring::Nothing),
        Known::Pinned { is_there: false } if images == Images::NeverPull || policy == "never" => (false, None),
        Known::Pinned { is_there: false } => return Ok(Bring::Pull("compose.lock")),
    };
    match (images, policy) {
        (Images::Build, _) | (Images::Missing, "build") if can_build => {
            return Ok(Bring::Build(if images == Images::Build { "--build" } else { "pull_policy build" }));
        }
        (Images::Pull, _) if !can_build || service.image.is_some() => return Ok(Bring::Pull("--pull always")),
        (Images::Missing | Images::Build | Images::NeverBuild, "always") if !can_build => return Ok(Bring::Pull("pull_policy always")),
        (Images::Missing | Images::Build | Images::NeverBuild, _)
            if !can_build && oldest(policy).is_some_and(|oldest| age.is_some_and(|age| age >= oldest)) =>
        {
            return Ok(Bring::Pull("pull_policy asks for a newer look"));
        }
        _ if is_there => return Ok(Bring::Nothing),
        _ => {}
    }
    match (can_build, images) {
        (true, Images::NeverBuild) => Err(Failure::new("its image is not there, and `--no-build` keeps it from being built")),
        (true, _) => Ok(Bring::Build("not found")),
        (false, Images::NeverPull) => Err(Failure::new("its image is not there, and `--pull never` keeps it from being pulled")),
        (false, _) if policy == "never" => Err(Failure::new("its image is not there, and `pull_policy: never` keeps it from being pulled")),
        (false, _) => Ok(Bring::Pull("not found")),
    }
}
