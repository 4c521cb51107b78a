//! A process as /proc shows it, named by pid and start time so that another one under its pid is not taken for it.

use std::fs;
use std::path::PathBuf;

/// A process that was there once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pid: i32,
    start_time: u64,
}

/// What a signal would do to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaction {
    /// It has a handler, or has blocked the signal and may be waiting for it.
    Handles,
    /// It leaves the signal to the kernel, which does nothing for PID 1 of a PID namespace.
    Default,
}

impl Process {
    /// The process with this pid that was started at this time (field 22 of /proc/PID/stat).
    pub(super) fn named(pid: i32, start_time: u64) -> Process {
        Process { pid, start_time }
    }

    /// Whether it is there, dead but not yet reaped included.
    pub(super) fn is_alive(self) -> bool {
        self.pid > 0 && start_time(self.pid) == Some(self.start_time)
    }
}

/// Field 22 of /proc/PID/stat; None if there is no such process.
pub(super) fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(proc_file(pid, "stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything, parentheses included.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// What `signal` would do to a process; one that is gone reacts as by default.
pub(super) fn reaction(pid: i32, signal: i32) -> Reaction {
    let status = fs::read_to_string(proc_file(pid, "status")).unwrap_or_default();
    reaction_in(&status, signal)
}

fn reaction_in(status: &str, signal: i32) -> Reaction {
    // A blocked signal waits for its receiver even in PID 1 (kernel/signal.c, sig_ignored): inits read it with sigwait or signalfd.
    let bit = 1u64 << (signal - 1).clamp(0, 63);
    let has = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & bit != 0)
    };
    if has("SigCgt:") || has("SigBlk:") { Reaction::Handles } else { Reaction::Default }
}

fn proc_file(pid: i32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_alive_and_nobody_else_under_our_pid_is() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let started = start_time(pid).unwrap();
        assert!(Process::named(pid, started).is_alive());
        assert!(!Process::named(pid, started + 1).is_alive());
        assert!(!Process::named(0, 0).is_alive());
    }

    #[test]
    fn a_signal_that_is_caught_or_blocked_is_handled() {
        let status = "Name:\tx\nSigBlk:\t0000000000010000\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000004002\n";
        assert_eq!(reaction_in(status, 15), Reaction::Handles);
        assert_eq!(reaction_in(status, 17), Reaction::Handles);
        assert_eq!(reaction_in(status, 13), Reaction::Default);
        assert_eq!(reaction_in(status, 1), Reaction::Default);
    }
}
