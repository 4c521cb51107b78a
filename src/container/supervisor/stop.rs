//! Signals: stop, kill, pause.

use std::os::fd::AsFd;
use std::time::Duration;
use std::time::Instant;

use crate::container::Grace;
use crate::container::Share;
use crate::container::Status;
use crate::container::notes;
use crate::container::process;
use crate::container::process::Reaction;
use crate::container::record;
use crate::container::signals;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::sys::child;

use super::Supervisor;
use super::complain;

/// Docker's: seconds between the stop signal and SIGKILL.
const PATIENCE: u64 = 10;

impl Supervisor {
    /// Signals a container to stop; it is down when [`Supervisor::is_down`] says so.
    pub(super) fn stop(&mut self, id: &str, grace: Grace, signal: Option<&str>) -> Result<()> {
        let Some(watched) = self.watched.get_mut(id) else { return Ok(()) };
        let wanted = &watched.container.wanted;
        let usual = wanted.stop_signal.as_deref().filter(|text| !text.is_empty()).unwrap_or("SIGTERM");
        let signal = signals::number(signal.unwrap_or(usual))?;
        watched.state.stopped_by_hand = true;
        let seconds = match grace {
            Grace::AsMade => Some(wanted.stop_timeout.unwrap_or(PATIENCE)),
            Grace::Seconds(seconds) => Some(seconds),
            Grace::Forever => None,
        };
        // In a PID namespace of its own it is PID 1, for which the kernel drops signals that it does not handle.
        let deaf = wanted.pid == Share::Own && process::reaction(watched.state.pid, signal) == Reaction::Default;
        let paused = watched.state.status == Status::Paused;
        let Some(run) = &mut watched.run else {
            if watched.restart_at.take().is_some() {
                self.give_up_restart(id);
            } else if let Some(watched) = self.watched.get(id)
                && record::recorded_state(&self.home, id).is_ok_and(|recorded| recorded.is_up())
            {
                self.save(watched); // there was no room for it when it ended
            }
            return Ok(());
        };
        let sent = if seconds == Some(0) || deaf { libc::SIGKILL } else { signal };
        notes::note(&self.home, &watched.container, "kill", &[("signal", sent.to_string())]);
        if seconds == Some(0) || deaf {
            self.kill_all_of(id);
            return Ok(());
        }
        let _ = child::send_signal(run.pidfd.as_fd(), signal); // one that has just ended is as good as stopped
        run.kill_at = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        if paused {
            self.pause(id, false)?;
        }
        Ok(())
    }

    /// A container that waited for its next run will not have one.
    fn give_up_restart(&mut self, id: &str) {
        if let Some(watched) = self.watched.remove(id) {
            self.rest(watched);
        }
    }

    /// Whether nothing of a container is left that a stop would have to wait for.
    pub(super) fn is_down(&self, id: &str) -> bool {
        self.watched.get(id).is_none_or(|watched| !watched.state.is_up()) && !self.is_being_taken_down(id)
    }

    /// Sends SIGKILL to PID 1, whose namespace dies with it, and to what else is in the cgroup.
    pub(super) fn kill_all_of(&mut self, id: &str) {
        let Some(watched) = self.watched.get_mut(id) else { return };
        let Some(run) = &mut watched.run else { return };
        let _ = child::send_signal(run.pidfd.as_fd(), libc::SIGKILL);
        if watched.state.status == Status::Paused
            && let Err(failure) = run.cgroup.freeze(false)
        {
            complain("cannot continue a paused container", failure); // frozen processes do not die
        }
    }

    /// Sends a signal to PID 1; returns its number.
    pub(super) fn kill(&mut self, id: &str, signal: &str) -> Result<i32> {
        let number = signals::number(signal)?;
        let watched = self.watched.get_mut(id).ok_or_else(|| not_running(id))?;
        let stop_signal = watched.container.wanted.stop_signal.as_deref().unwrap_or("SIGTERM");
        // Docker: who sends the stop signal or SIGKILL does not want it back.
        let final_signal = number == libc::SIGKILL || signals::number(stop_signal).is_ok_and(|stop| stop == number);
        let paused = watched.state.status == Status::Paused;
        let run = watched.run.as_mut().ok_or_else(|| not_running(id))?;
        child::send_signal(run.pidfd.as_fd(), number).doing(|| format!("cannot send {signal} to the container"))?;
        if final_signal && !watched.state.stopped_by_hand {
            watched.state.stopped_by_hand = true;
            // The next of us, should we be killed now, must not start it again.
            let watched = &self.watched[id];
            self.save(watched);
        }
        notes::note(&self.home, &self.watched[id].container, "kill", &[("signal", number.to_string())]);
        if paused && number == libc::SIGKILL {
            self.pause(id, false)?;
        }
        Ok(number)
    }

    /// Stops or continues all processes of a container.
    pub(super) fn pause(&mut self, id: &str, paused: bool) -> Result<()> {
        let watched = self.watched.get_mut(id).ok_or_else(|| not_running(id))?;
        let run = watched.run.as_mut().ok_or_else(|| not_running(id))?;
        let status = if paused { Status::Paused } else { Status::Running };
        if watched.state.status == status {
            let already = if paused { "is paused already" } else { "is not paused" };
            return Err(Failure::new(format!("container `{}` {already}", watched.container.name)));
        }
        run.cgroup.freeze(paused)?;
        watched.state.status = status;
        let watched = &self.watched[id];
        self.save(watched);
        notes::note(&self.home, &watched.container, if paused { "pause" } else { "unpause" }, &[]);
        Ok(())
    }
}

pub(super) fn not_running(id: &str) -> Failure {
    Failure::new(format!("container {id} is not running"))
}
