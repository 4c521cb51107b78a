//! Health checks: a forked process enters the container, runs the test and says how it went; the loop never waits for it.

use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use rustix::pipe::PipeFlags;

use crate::container::CheckResult;
use crate::container::Health;
use crate::container::Status;
use crate::container::Wanted;
use crate::container::checks;
use crate::container::exec;
use crate::container::notes;
use crate::image::Healthcheck;
use crate::units;

use super::Errand;
use super::Supervisor;
use super::complain;

/// Docker's defaults.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;

/// How much longer than its own timeout a probe's process may take before it counts as failed.
const SLACK: Duration = Duration::from_secs(5);

/// The health checks of one run.
#[derive(Debug)]
pub(super) struct Checks {
    test: Vec<String>,
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u32,
    since: Instant,
    due: Instant,
    /// How many have failed in a row.
    failed: u32,
    /// It has been healthy once: the start period is over.
    has_started: bool,
    probe: Option<Probe>,
}

/// A check that is under way.
#[derive(Debug)]
struct Probe {
    /// Says the test's exit code and what it has said.
    pipe: OwnedFd,
    started: String,
    deadline: Instant,
}

impl Checks {
    /// The checks that a container wants, which has been running since then and is known to be so healthy; None if it wants none.
    pub(super) fn of(wanted: &Wanted, since: Instant, health: Option<Health>) -> Option<Checks> {
        let check = wanted.healthcheck.as_ref()?;
        let test = command(check, &["/bin/sh".to_owned(), "-c".to_owned()])?;
        let span = |nanoseconds: Option<i64>, default: Duration| match nanoseconds.and_then(|value| u64::try_from(value).ok()) {
            None | Some(0) => default,
            Some(nanoseconds) => Duration::from_nanos(nanoseconds),
        };
        let mut checks = Checks {
            test,
            interval: span(check.interval, INTERVAL),
            timeout: span(check.timeout, TIMEOUT),
            start_period: span(check.start_period, Duration::ZERO),
            start_interval: span(check.start_interval, START_INTERVAL),
            retries: check.retries.and_then(|retries| u32::try_from(retries).ok()).filter(|retries| *retries > 0).unwrap_or(RETRIES),
            since,
            due: Instant::now(),
            failed: 0,
            has_started: health.is_some_and(|health| health != Health::Starting),
            probe: None,
        };
        checks.due += checks.pause();
        Some(checks)
    }

    fn pause(&self) -> Duration {
        if self.is_starting() { self.start_interval.min(self.interval) } else { self.interval }
    }

    fn is_starting(&self) -> bool {
        !self.has_started && self.since.elapsed() < self.start_period
    }

    pub(super) fn source(&self) -> Option<BorrowedFd<'_>> {
        self.probe.as_ref().map(|probe| probe.pipe.as_fd())
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        Some(self.probe.as_ref().map_or(self.due, |probe| probe.deadline))
    }

    /// Takes in a result; returns what the container's health is now.
    fn judge(&mut self, passed: bool, before: Health) -> Health {
        self.probe = None;
        let starting = self.is_starting();
        self.has_started |= passed;
        self.due = Instant::now() + self.pause();
        if passed {
            self.failed = 0;
            return Health::Healthy;
        }
        if starting {
            return before;
        }
        self.failed += 1;
        if self.failed >= self.retries { Health::Unhealthy } else { before }
    }
}

/// The arguments of the test; a shell text goes to the container's shell.
fn command(check: &Healthcheck, shell: &[String]) -> Option<Vec<String>> {
    let (kind, rest) = check.test.split_first()?;
    match kind.as_str() {
        "NONE" => None,
        "CMD" => Some(rest.to_vec()).filter(|rest| !rest.is_empty()),
        "CMD-SHELL" => Some(shell.iter().cloned().chain(rest.first().cloned()).collect()),
        _ => Some(check.test.clone()), // the oldest form: the command itself
    }
}

impl Supervisor {
    /// A check is due, or has taken too long.
    pub(super) fn check_health(&mut self, id: &str) {
        let late = self.run_of(id).and_then(|run| run.checks.as_ref()).is_some_and(|checks| checks.probe.is_some());
        if late {
            self.judge(id, CheckResult { exit_code: -1, output: "the test does not end".to_owned(), ..CheckResult::default() });
            return;
        }
        let is_paused = self.watched.get(id).is_some_and(|watched| watched.state.status == Status::Paused);
        if is_paused && let Some(checks) = self.run_of(id).and_then(|run| run.checks.as_mut()) {
            checks.due = Instant::now() + checks.interval; // a test would be frozen with the rest
            return;
        }
        if let Err(error) = self.begin_probe(id) {
            let output = format!("cannot begin a health check: {error}");
            complain("cannot begin a health check", error);
            self.judge(id, CheckResult { exit_code: -1, output, ..CheckResult::default() });
        }
    }

    fn begin_probe(&mut self, id: &str) -> std::io::Result<()> {
        let Some(watched) = self.watched.get(id) else { return Ok(()) };
        let Some(checks) = watched.run.as_ref().and_then(|run| run.checks.as_ref()) else { return Ok(()) };
        let (container, pid, test, timeout) = (watched.container.clone(), watched.state.pid, checks.test.clone(), checks.timeout);
        let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        self.fork_job(Errand::Probe, || {
            let (code, said) = exec::probe(&container, pid, test, timeout);
            // One write of less than a pipe holds: it is read whole.
            let _ = File::from(theirs).write_all(&[code.to_ne_bytes().as_slice(), said.as_slice()].concat());
            0
        })?;
        if let Some(checks) = self.run_of(id).and_then(|run| run.checks.as_mut()) {
            checks.probe = Some(Probe { pipe: ours, started: units::now(), deadline: Instant::now() + timeout + SLACK });
        }
        Ok(())
    }

    /// A check has said something, or ended without a word.
    pub(super) fn take_probe(&mut self, id: &str) {
        let Some(probe) = self.run_of(id).and_then(|run| run.checks.as_mut()).and_then(|checks| checks.probe.take()) else { return };
        let mut words = [0; 2 * checks::LONGEST];
        let count = File::from(probe.pipe).read(&mut words).unwrap_or(0);
        let (exit_code, output) = match words[..count].split_first_chunk() {
            Some((code, output)) => (i32::from_ne_bytes(*code), String::from_utf8_lossy(output).into_owned()),
            None => (-1, "the test was lost".to_owned()),
        };
        self.judge(id, CheckResult { start: probe.started, exit_code, output, ..CheckResult::default() });
    }

    fn judge(&mut self, id: &str, mut result: CheckResult) {
        result.end = units::now();
        if result.start.is_empty() {
            result.start = result.end.clone();
        }
        let Some(watched) = self.watched.get_mut(id) else { return };
        let Some(checks) = watched.run.as_mut().and_then(|run| run.checks.as_mut()) else { return };
        let before = watched.state.health.unwrap_or(Health::Starting);
        let now = checks.judge(result.is_good(), before);
        let streak = checks.failed;
        let has_changed = watched.state.health != Some(now);
        watched.state.health = Some(now);
        // A result that cannot be kept changes nothing about the health.
        let _ = checks::add(&self.home, id, (streak, result));
        if has_changed {
            let watched = &self.watched[id];
            self.save(watched);
            let word = match now {
                Health::Starting => "starting",
                Health::Healthy => "healthy",
                Health::Unhealthy => "unhealthy",
            };
            notes::note(&self.home, &watched.container, &format!("health_status: {word}"), &[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(start_period: Duration) -> Checks {
        Checks {
            test: vec!["true".into()],
            interval: INTERVAL,
            timeout: TIMEOUT,
            start_period,
            start_interval: START_INTERVAL,
            retries: 2,
            since: Instant::now(),
            due: Instant::now(),
            failed: 0,
            has_started: false,
            probe: None,
        }
    }

    #[test]
    fn a_container_is_unhealthy_after_enough_failures_in_a_row() {
        let mut checks = checks(Duration::ZERO);
        assert_eq!(checks.judge(false, Health::Starting), Health::Starting);
        assert_eq!(checks.judge(true, Health::Starting), Health::Healthy);
        assert_eq!(checks.judge(false, Health::Healthy), Health::Healthy);
        assert_eq!(checks.judge(false, Health::Healthy), Health::Unhealthy);
        assert_eq!(checks.judge(true, Health::Unhealthy), Health::Healthy);
    }

    #[test]
    fn failures_do_not_count_while_it_starts() {
        let mut checks = checks(Duration::from_secs(60));
        for _ in 0..5 {
            assert_eq!(checks.judge(false, Health::Starting), Health::Starting);
        }
        assert_eq!(checks.judge(true, Health::Starting), Health::Healthy);
        checks.judge(false, Health::Healthy);
        assert_eq!(checks.judge(false, Health::Healthy), Health::Unhealthy, "it has started");
    }

    #[test]
    fn a_test_is_a_command_or_a_text_for_the_shell() {
        let check = |test: &[&str]| Healthcheck { test: test.iter().map(|word| (*word).to_owned()).collect(), ..Healthcheck::default() };
        let shell = ["sh".to_owned(), "-c".to_owned()];
        assert_eq!(command(&check(&["CMD", "a", "b"]), &shell).unwrap(), ["a", "b"]);
        assert_eq!(command(&check(&["CMD-SHELL", "a | b"]), &shell).unwrap(), ["sh", "-c", "a | b"]);
        assert_eq!(command(&check(&["NONE"]), &shell), None);
        assert_eq!(command(&check(&[]), &shell), None);
    }
}
