//! The tiny init of `--init`: PID 1 that hands signals on and reaps, while the program is its child.
//!
//! It is a copy of this program that executes nothing, so a container needs no helper binary.

use nix::sys::signal::SigSet;
use nix::sys::signal::SigmaskHow;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitPidFlag;
use nix::sys::wait::WaitStatus;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::talk::During;
use super::talk::Step;
use crate::sys;
use crate::sys::child::Fork;

/// Splits this process: a child takes the rest of the steps, the parent stays as init and ends with the child's status.
pub(super) fn split(rest: impl FnOnce() -> Step) -> Step {
    // fork(2), as a filter that is in place by now may refuse clone3(2), whose flags it cannot read.
    let pid = match sys::child::fork().during(|| "fork for the init process")? {
        Fork::Parent(pid) => pid,
        Fork::Child => {
            stand_apart()?;
            return rest();
        }
    };
    // Whoever waits for the program to run must not wait for us: this closes our end of the channel.
    let _ = sys::exec::close_from(3);
    let _ = rustix::thread::set_name(c"coracle-init");
    sys::clone::exit_at_once(watch(Pid::from_raw(pid)))
}

/// Gives the program a process group of its own, with the terminal: what is typed there must not reach it twice, once through init.
fn stand_apart() -> Step {
    rustix::process::setpgid(None, None).during(|| "make a process group")?;
    if rustix::termios::isatty(rustix::stdio::stdin()) {
        // A background group that takes the terminal is stopped by this signal unless it is blocked; it is reset before execve.
        let _ = SigSet::from_iter([Signal::SIGTTOU]).thread_block();
        rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid()).during(|| "take the terminal")?;
    }
    Ok(())
}

/// Hands on every signal until the child has ended; gives its exit status, 128 + n for signal n.
fn watch(child: Pid) -> u8 {
    // Real-time signals are left out: nix has no names for them, and PID 1 does not die of what it does not handle.
    let everything: SigSet = Signal::iterator().collect();
    let _ = nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&everything), None);
    loop {
        if let Some(status) = reap(child) {
            return status;
        }
        match everything.wait() {
            Ok(Signal::SIGCHLD) | Err(_) => {}
            Ok(signal) => drop(nix::sys::signal::kill(child, signal)),
        }
    }
}

/// Reaps all that have ended; `Some` if the child was among them.
fn reap(child: Pid) -> Option<u8> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == child => return Some(status as u8),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => return Some(128 + signal as u8),
            Ok(WaitStatus::StillAlive) => return None,
            // Nobody left to wait for, our child included.
            Err(nix::errno::Errno::ECHILD) => return Some(125),
            _ => {}
        }
    }
}
