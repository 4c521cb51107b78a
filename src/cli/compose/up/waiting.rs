//! `up --wait`

use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::cli::progress::ObjectWatch;
use crate::compose::Kind;
use crate::compose::Phase;
use crate::compose::Watch;
use crate::compose::model::Project;
use crate::compose::observe;
use crate::compose::observe::FoundContainer;
use crate::container::Health;
use crate::container::Status;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

/// Between two looks.
const GLANCE: Duration = Duration::from_millis(50);

/// Waits until every container of these services runs, or is healthy if it has a health check.
///
/// # Errors
/// One has ended or is unhealthy; the time is over.
pub fn until_ready(
    home: &Home,
    (project, services): (&Project, &[String]),
    (watch, limit): (&ObjectWatch<'_>, Option<Duration>),
) -> Result<()> {
    let begun = Instant::now();
    let mut seen_ready: Vec<String> = Vec::new();
    loop {
        let found = observe::observe_by_name(home, &project.name)?;
        let chosen = |container: &&FoundContainer| !container.one_off && (services.is_empty() || services.contains(&container.service));
        let mut open = Vec::new();
        for container in found.containers.iter().filter(chosen) {
            if !is_ready(container, is_job(project, &container.service))? {
                open.push(container.name.clone());
            } else if !seen_ready.contains(&container.name) {
                watch.event(Kind::Container, &container.name, if container.health.is_some() { Phase::Healthy } else { Phase::Running });
                seen_ready.push(container.name.clone());
            }
        }
        if open.is_empty() {
            return Ok(());
        }
        if limit.is_some_and(|limit| begun.elapsed() > limit) {
            return Err(Failure::new("application not healthy after the time that `--wait-timeout` gave it")
                .because(format!("{} is not ready", open.join(", "))));
        }
        if watch.interrupted() {
            return Err(Failure::new("interrupted").exit(130));
        }
        thread::sleep(GLANCE);
    }
}

/// Whether others wait for it to complete: then an end is what is wanted.
fn is_job(project: &Project, service: &str) -> bool {
    let waits = |dependency: &crate::compose::model::Dependency| dependency.condition == "service_completed_successfully";
    project.services.values().any(|other| other.depends_on.get(service).is_some_and(waits))
}

fn is_ready(container: &FoundContainer, is_job: bool) -> Result<bool> {
    match (container.status, container.health) {
        (Status::Exited, _) if is_job && container.exit_code == 0 => Ok(true),
        (Status::Exited | Status::Dead, _) => Err(Failure::new(format!("container {} exited ({})", container.name, container.exit_code))),
        (_, Some(Health::Unhealthy)) => Err(Failure::new(format!("container {} is unhealthy", container.name))),
        (Status::Running, None | Some(Health::Healthy)) => Ok(true),
        _ => Ok(false),
    }
}
