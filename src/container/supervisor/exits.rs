//! What happens when a container's process has ended: the end is found out, everything is taken back, and it is started again or not.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use rustix::process::WaitId;
use rustix::process::WaitIdOptions;

use crate::container::Container;
use crate::container::NetworkMode;
use crate::container::Restart;
use crate::container::Status;
use crate::container::Volumes;
use crate::container::create;
use crate::container::notes;
use crate::container::record;
use crate::container::record::UNSEEN_EXIT;
use crate::container::spec;
use crate::net;
use crate::place::Home;
use crate::runtime::Cgroup;
use crate::state;
use crate::sys::child;
use crate::units;

use super::Errand;
use super::Supervisor;
use super::Watched;
use super::complain;
use super::senders;
use super::start::By;

/// Docker's: the first restart waits so long, each further one twice as long as the one before.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A run as long as this makes the next restart a first one.
const GOOD_RUN: Duration = Duration::from_secs(10);

const ENDED: WaitIdOptions = WaitIdOptions::EXITED.union(WaitIdOptions::NOHANG);

/// How long a process that somebody else reaps may stay unreaped before we stop waiting for its exit code.
const REAPING: Duration = Duration::from_secs(3);

/// The end of a run, as far as it decides what comes next.
#[derive(Debug, Clone, Copy)]
struct Ended {
    code: i32,
    by_hand: bool,
    restarts: u32,
    ran: Duration,
    last_delay: Duration,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Stay,
    Restart { after: Duration },
}

fn next(policy: Restart, ended: Ended) -> Next {
    let again = match policy {
        Restart::No => false,
        Restart::Always | Restart::UnlessStopped => true,
        Restart::OnFailure(most) => ended.code != 0 && (most == 0 || ended.restarts < most),
    };
    if !again || ended.by_hand {
        return Next::Stay;
    }
    let after = match ended.last_delay {
        Duration::ZERO => FIRST_DELAY,
        _ if ended.ran >= GOOD_RUN => FIRST_DELAY,
        last => (last * 2).min(LONGEST_DELAY),
    };
    Next::Restart { after }
}

/// Docker's exit code of a wait status: 128+n for signal n.
pub(super) fn exit_code(wait_status: i32) -> i32 {
    if libc::WIFSIGNALED(wait_status) { 128 + libc::WTERMSIG(wait_status) } else { libc::WEXITSTATUS(wait_status) }
}

/// What a container has on the host, besides its files.
pub(super) struct Belongings {
    id: String,
    cgroup: PathBuf,
    ports: bool,
    network: bool,
}

impl Belongings {
    pub(super) fn of(container: &Container) -> Belongings {
        let network = matches!(container.wanted.network, NetworkMode::Plugs(_));
        Belongings { id: container.id.clone(), cgroup: spec::cgroup_path(container), ports: !container.wanted.ports.is_empty(), network }
    }

    /// Those of a container of which nothing more is known.
    pub(super) fn of_unknown(home: &Home, id: &str) -> Belongings {
        Belongings { id: id.to_owned(), cgroup: spec::cgroup_of_unknown(home, id), ports: true, network: true }
    }

    /// Takes everything back; what is not there is no error, and an error is no reason to stop.
    pub(super) fn give_back(&self, home: &Home) {
        let cgroup = Cgroup { path: self.cgroup.clone() };
        let mut failures = Vec::new();
        // PID 1 is dead and its namespace with it; but a container in the host's PID namespace can leave processes behind.
        failures.extend(cgroup.kill().err());
        if self.ports {
            failures.extend(net::unpublish(home, &self.id).err());
        }
        if self.network {
            failures.extend(net::unplug(home, &self.id).err());
        }
        failures.extend(cgroup.remove().err());
        // Last: where it stands, there is something to take back.
        failures.extend(state::discard(home, &home.container_run(&self.id)).err());
        for failure in failures {
            complain("cannot take back what a container had", failure);
        }
    }
}

impl Supervisor {
    /// A container's process has ended, or has been reaped: finds out how it ended, as soon as that can be known.
    pub(super) fn look_after_process(&mut self, id: &str) {
        let Some(watched) = self.watched.get_mut(id) else { return };
        let pid = watched.state.pid;
        let Some(run) = &mut watched.run else { return };
        let code = match rustix::process::waitid(WaitId::PidFd(run.pidfd.as_fd()), ENDED | WaitIdOptions::NOWAIT) {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Some(code),
                (None, Some(signal)) => Some(128 + signal),
                (None, None) => None,
            },
            Ok(None) => return,
            // Not our child: a supervisor before us started it. Its parent is the guardian, or init if the guardian died too.
            Err(_) => self.nest.find_exit(pid).or_else(|| child::exit_of_reaped(run.pidfd.as_fd())).map(exit_code),
        };
        match (code, run.reaped_by) {
            (Some(code), _) => {
                let pidfd = run.pidfd.try_clone();
                self.end(id, code);
                // Only now that the code is on disk: if we are killed before, it is still there for the next of us.
                if let Ok(pidfd) = pidfd {
                    let _ = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), ENDED);
                }
                self.nest.forget_exit(pid);
            }
            (None, None) => run.reaped_by = Some(Instant::now() + REAPING),
            (None, Some(due)) if due <= Instant::now() => self.end(id, UNSEEN_EXIT),
            (None, Some(_)) => {}
        }
    }

    /// A run is over: its output is taken in, what comes next is decided, and what it had is taken back.
    pub(super) fn end(&mut self, id: &str, code: i32) {
        let Some(mut watched) = self.watched.remove(id) else { return };
        let ran = watched.run.as_ref().map_or(Duration::ZERO, |run| run.since.elapsed());
        if let Some(run) = &mut watched.run {
            run.output.drain();
            run.output.close();
            senders::finish(run);
            watched.state.oom_killed = run.cgroup.oom_kills().is_ok_and(|kills| kills > 0);
        }
        self.note_end(&watched, (code, ran));
        if let Some(run) = watched.run.take() {
            run.relays.end();
        }
        let ended =
            Ended { code, by_hand: watched.state.stopped_by_hand, restarts: watched.state.restarts, ran, last_delay: watched.delay };
        watched.state.exit_code = code;
        watched.state.pid = 0;
        watched.state.start_time = 0;
        watched.state.finished = units::now();
        watched.state.plugged.clear();
        watched.state.health = None;
        match next(watched.container.wanted.restart, ended) {
            Next::Restart { after } => {
                self.take_down(&watched);
                watched.state.status = Status::Restarting;
                watched.delay = after;
                watched.restart_at = Some(Instant::now() + after);
                self.forget(id, |name| !name.starts_with("port."));
                self.save(&watched);
                self.watched.insert(id.to_owned(), watched);
            }
            Next::Stay => self.rest(watched),
        }
    }

    fn note_end(&self, watched: &Watched, (code, ran): (i32, Duration)) {
        let container = &watched.container;
        if watched.state.oom_killed {
            notes::note(&self.home, container, "oom", &[]);
        }
        let more = [("exitCode", code.to_string()), ("execDuration", ran.as_secs().to_string())];
        notes::note(&self.home, container, "die", &more);
        if let NetworkMode::Plugs(plugs) = &container.wanted.network {
            plugs.iter().for_each(|plug| notes::note_network(&self.home, container, "disconnect", &plug.network));
        }
        if watched.state.stopped_by_hand {
            notes::note(&self.home, container, "stop", &[]);
        }
    }

    /// A container is down for good. Who waits for its exit code hears it at once; what is slow to take back, a process of its own
    /// takes back.
    pub(super) fn rest(&mut self, mut watched: Watched) {
        let container = watched.container.clone();
        let code = watched.state.exit_code;
        let slow = Belongings::of(&container);
        self.names.withdraw(&self.home, &container.id);
        if !container.wanted.ports.is_empty()
            && let Err(failure) = net::unpublish(&self.home, &container.id)
        {
            complain("cannot unpublish the ports of a container", failure);
        }
        watched.state.status = Status::Exited;
        watched.state.ports.clear();
        watched.reservation = None; // from here on its ports are free
        self.forget(&container.id, |_| true);
        if container.wanted.auto_remove {
            // What it was would be written only to be removed; if we are killed before that, the next of us finds its end as we did.
            if let Err(failure) = create::erase(&self.home, &container, Volumes::Remove) {
                complain("cannot remove a container", failure);
            }
        } else {
            self.save(&watched);
            self.watched.insert(container.id.clone(), watched);
        }
        self.announce_end(&container.id, code);
        let home = self.home.clone();
        if slow.network {
            self.mind_idle_networks(); // before there are any: else a command might think that nobody does
        }
        let forked = self.fork_job(Errand::TakeDown(container.id.clone()), || {
            slow.give_back(&home);
            0
        });
        if let Err(error) = forked {
            complain("cannot fork, taking down a container here", error);
            Belongings::of(&container).give_back(&self.home);
            self.be_down(&container.id);
        }
    }

    /// Takes back what a process of ours was killed over; here, so that nobody can kill it again without killing us.
    pub(super) fn take_down_again(&mut self, id: &str) {
        complain("a process that took down a container was killed, doing it again", id);
        Belongings::of_unknown(&self.home, id).give_back(&self.home);
        self.be_down(id);
    }

    /// Takes back all that a start made, or as much of it as an unfinished one made.
    pub(super) fn take_down(&mut self, watched: &Watched) {
        self.names.withdraw(&self.home, &watched.container.id);
        let belongings = Belongings::of(&watched.container);
        if belongings.network {
            self.mind_idle_networks();
        }
        belongings.give_back(&self.home);
        self.close_root(&watched.container.id);
    }

    /// Starts a container whose pause is over.
    pub(super) fn restart(&mut self, id: &str) {
        if let Some(watched) = self.watched.get_mut(id) {
            watched.restart_at = None;
            watched.state.restarts += 1;
        }
        if let Err(failure) = self.start(id, By::Policy) {
            complain("cannot restart a container", &failure);
            if let Some(watched) = self.watched.remove(id) {
                self.rest(watched);
            }
        }
    }

    /// Writes a state down; only a container that is gone has none.
    pub(super) fn save(&self, watched: &Watched) {
        if let Err(failure) = record::write_state(&self.home, &watched.container.id, &watched.state) {
            complain("cannot write a container's state", failure);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: Ended = Ended { code: 1, by_hand: false, restarts: 0, ran: Duration::ZERO, last_delay: Duration::ZERO };

    #[test]
    fn the_policy_decides_about_a_restart() {
        let first = Next::Restart { after: FIRST_DELAY };
        let good = Ended { code: 0, ..FAILED };
        let third = Ended { restarts: 3, ..FAILED };
        let stopped = Ended { by_hand: true, ..FAILED };
        let table = [
            (Restart::No, FAILED, Next::Stay),
            (Restart::Always, FAILED, first),
            (Restart::Always, good, first),
            (Restart::Always, stopped, Next::Stay),
            (Restart::UnlessStopped, good, first),
            (Restart::UnlessStopped, stopped, Next::Stay),
            (Restart::OnFailure(0), good, Next::Stay),
            (Restart::OnFailure(0), third, first),
            (Restart::OnFailure(3), FAILED, first),
            (Restart::OnFailure(3), third, Next::Stay),
        ];
        for (policy, ended, expected) in table {
            assert_eq!(next(policy, ended), expected, "{policy:?} {ended:?}");
        }
    }

    #[test]
    fn restarts_wait_longer_and_longer_until_a_run_was_good() {
        let after = |last_delay, ran| next(Restart::Always, Ended { last_delay, ran, ..FAILED });
        let wait = |after| Next::Restart { after };
        assert_eq!(after(FIRST_DELAY, Duration::ZERO), wait(Duration::from_millis(200)));
        assert_eq!(after(Duration::from_secs(50), Duration::ZERO), wait(LONGEST_DELAY));
        assert_eq!(after(Duration::from_secs(50), GOOD_RUN), wait(FIRST_DELAY));
    }

    #[test]
    fn a_signal_is_128_and_its_number() {
        assert_eq!(exit_code(0), 0);
        assert_eq!(exit_code(3 << 8), 3);
        assert_eq!(exit_code(libc::SIGKILL), 137);
        assert_eq!(exit_code(libc::SIGSEGV | 0x80), 139);
    }
}
