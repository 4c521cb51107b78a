//! Waiting for containers to be healthy or to have completed.

use crate::compose::apply::Kind;
use crate::compose::apply::Phase;
use crate::compose::apply::Work;
use crate::compose::plan::Action;
use crate::compose::plan::Condition;
use crate::compose::plan::Step;
use crate::container;
use crate::container::Health;
use crate::container::State;
use crate::container::Status;
use crate::failure::Failure;
use crate::failure::Result;

/// Tells the watch for which containers a step waits.
pub(super) fn announce(work: &Work<'_>, step: &Step) {
    if let Action::Await { containers, .. } = &step.action {
        containers.iter().for_each(|name| work.job.watch.event(Kind::Container, name, Phase::Waiting));
    }
}

/// Whether all that a step waits for is so. A dependency that is not required is given up with a warning.
///
/// # Errors
/// It will never be so.
pub(super) fn is_ready(work: &Work<'_>, step: &Step) -> Result<bool> {
    let Action::Await { condition, containers, required, .. } = &step.action else { return Ok(true) };
    for name in containers {
        let outcome = work.id(name).and_then(|id| container::state(work.job.home, &id)).and_then(|state| check(name, &state, *condition));
        match outcome {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(failure) if *required => {
                work.job.watch.event(Kind::Container, name, Phase::Failed);
                return Err(failure);
            }
            Err(failure) => work.job.watch.warn(&format!("optional dependency left out: {}", failure.what())),
        }
    }
    let reached = if *condition == Condition::Healthy { Phase::Healthy } else { Phase::Completed };
    containers.iter().for_each(|name| work.job.watch.event(Kind::Container, name, reached));
    Ok(true)
}

/// Whether one container is as it should be.
///
/// # Errors
/// It will never be.
pub fn check(name: &str, state: &State, condition: Condition) -> Result<bool> {
    let ended = matches!(state.status, Status::Exited | Status::Dead);
    let failed = |why: String| Err(Failure::new(format!("dependency failed to start: container {name} {why}")));
    match condition {
        Condition::Completed if ended && state.exit_code == 0 => Ok(true),
        Condition::Completed if ended => {
            Err(Failure::new(format!("container {name} didn't complete successfully: exit {}", state.exit_code)))
        }
        Condition::Completed => Ok(false),
        Condition::Healthy if ended => failed(format!("exited ({})", state.exit_code)),
        Condition::Healthy => match state.health {
            Some(Health::Healthy) => Ok(true),
            Some(Health::Unhealthy) => failed("is unhealthy".to_owned()),
            Some(Health::Starting) => Ok(false),
            None if state.status == Status::Running => failed("has no health check".to_owned())
                .map_err(|failure| failure.hint("give its service a `healthcheck:`, or wait for `service_started`")),
            None => Ok(false),
        },
    }
}
