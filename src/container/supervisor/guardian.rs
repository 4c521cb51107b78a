//! The guardian: keeps a supervisor alive, adopts its orphans, holds what must not be closed.
//!
//! ```text
//! guardian                                  supervisor
//!    | -- fork (all descriptors) ------------> |
//!    | <- keep NAME + descriptor ------------- |   it has opened something that must survive it
//!    | <- forget NAME ------------------------ |
//!    | -- reaped ----------------------------> |   an orphan has ended: its status lies in `exit-PID`
//! ```
//!
//! Each sees the other's death as the end of this talk. A dead supervisor is forked anew. A dead guardian is replaced by the
//! supervisor, which forks: the parent half, whose children the containers are, becomes the guardian.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;
use std::time::Instant;

use nix::sys::signal::SigSet;
use nix::sys::signal::Signal;
use nix::sys::signalfd::SfdFlags;
use nix::sys::signalfd::SignalFd;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::process::WaitOptions;
use serde::Deserialize;
use serde::Serialize;

use crate::failure::Failure;
use crate::place::Home;
use crate::runtime;
use crate::sys::child;
use crate::sys::child::Fork;
use crate::sys::memory;

use super::Supervisor;
use super::complain;
use super::nest::LOCK;
use super::nest::Nest;
use super::nest::Store;
use crate::container::client::GUARDIAN;
use crate::container::protocol;
use crate::container::protocol::Reply;

/// The store's name of the socket that commands connect to.
pub(super) const LISTENER: &str = "listener";

/// A supervisor that lives shorter than this has crashed at its start.
const SHORT_LIFE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What the supervisor says to its guardian.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Keeping {
    /// The descriptor that comes with this is to be kept under this name.
    Keep(String),
    Forget(String),
}

/// What the guardian says to its supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Notice {
    Reaped,
}

/// What this process is next.
pub(super) enum Turn {
    Guard(Guardian),
    Supervise(Box<Supervisor>),
    End,
}

/// Plays guardian and supervisor if the command line (`coracle @guardian …`) says so; None if it does not.
pub(in crate::container) fn role(args: &[OsString]) -> Option<ExitCode> {
    let [_, name, key, root, run] = args else { return None };
    if name != GUARDIAN {
        return None;
    }
    let home = Home::at(root, run);
    runtime::take_more_descriptors();
    let first = match detach() {
        Ok(first) => first,
        Err(_) => return Some(ExitCode::FAILURE), // there is nobody to tell
    };
    let mut turn = match nestle(&home, &key.to_string_lossy()) {
        Ok(Some(mut guardian)) => {
            guardian.first = Some(first);
            Turn::Guard(guardian)
        }
        Ok(None) => return Some(ExitCode::SUCCESS), // another one lives: who began us hears our end and asks that one
        Err(error) => {
            let failure = Failure::new(format!("cannot begin a supervisor in {}", home.run().display())).because(error).exit(125);
            let _ = protocol::send(first.as_fd(), &Reply::Failed(failure), None);
            return Some(ExitCode::FAILURE);
        }
    };
    loop {
        turn = match turn {
            Turn::Guard(guardian) => guardian.guard(),
            Turn::Supervise(supervisor) => supervisor.supervise(),
            Turn::End => return Some(ExitCode::SUCCESS),
        };
    }
}

/// Leaves the session, the terminal and the directory of the command that began us; returns the talk that it gave us as standard input.
fn detach() -> io::Result<OwnedFd> {
    rustix::process::setsid()?;
    rustix::process::chdir("/")?;
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    SigSet::empty().thread_set_mask()?;
    let first = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(first)
}

fn nestle(home: &Home, key: &str) -> io::Result<Option<Guardian>> {
    let Some(nest) = Nest::claim(home, key)? else { return Ok(None) };
    let complaints = OpenOptions::new().append(true).open(nest.directory().join(LOCK))?;
    rustix::stdio::dup2_stderr(&complaints)?;
    let mut store = Store::new();
    store.insert(LISTENER.into(), Rc::new(nest.listen()?));
    Ok(Some(Guardian { nest, store, first: None, ward: None, short_lives: 0, has_code: true }))
}

/// The process that keeps a supervisor alive.
#[derive(Debug)]
pub(super) struct Guardian {
    pub(super) nest: Nest,
    pub(super) store: Store,
    /// The talk of the command that began us, for the first supervisor.
    first: Option<OwnedFd>,
    ward: Option<Ward>,
    /// How many supervisors in a row have died at their start.
    short_lives: u32,
    /// Pages of our code are in memory that we shall not need while we sleep.
    has_code: bool,
}

/// The supervisor that lives now.
#[derive(Debug)]
struct Ward {
    pid: i32,
    talk: OwnedFd,
    /// It has said its last word; what comes next is its end.
    is_silent: bool,
    since: Instant,
}

impl Ward {
    fn new(pid: i32, talk: OwnedFd) -> Ward {
        Ward { pid, talk, is_silent: false, since: Instant::now() }
    }
}

impl Guardian {
    /// The guardian that a supervisor becomes whose own has died; `pid` is the other half.
    pub(super) fn of(nest: Nest, store: Store, pid: i32, talk: OwnedFd) -> Guardian {
        Guardian { nest, store, first: None, ward: Some(Ward::new(pid, talk)), short_lives: 0, has_code: true }
    }

    fn guard(mut self) -> Turn {
        let mut children = SigSet::empty();
        children.add(Signal::SIGCHLD);
        let signals =
            children.thread_block().and_then(|()| SignalFd::with_flags(&children, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK));
        let signals = match signals {
            Ok(signals) => signals,
            Err(error) => {
                complain("cannot watch our children", error);
                return Turn::End;
            }
        };
        if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
            complain("cannot become a sub-reaper", error);
        }
        loop {
            if self.ward.is_none()
                && let Some(turn) = self.fork_supervisor(&children)
            {
                return turn;
            }
            self.sleep(&signals);
            self.listen_to_ward();
            if self.reap() {
                return Turn::End;
            }
        }
    }

    /// Returns a turn in the child only.
    fn fork_supervisor(&mut self, children: &SigSet) -> Option<Turn> {
        if self.short_lives > 1 {
            std::thread::sleep((Duration::from_millis(50) * (1 << self.short_lives.min(10))).min(LONGEST_PAUSE));
        }
        let forked = protocol::pair().and_then(|(ours, theirs)| Ok((child::fork()?, ours, theirs)));
        match forked {
            Ok((Fork::Parent(pid), talk, _)) => {
                self.ward = Some(Ward::new(pid, talk));
                self.first = None;
                self.has_code = true;
                None
            }
            Ok((Fork::Child, _, talk)) => {
                let _ = children.thread_unblock();
                let nest = std::mem::replace(&mut self.nest, Nest::none());
                let store = std::mem::take(&mut self.store);
                Some(Turn::Supervise(Box::new(Supervisor::new(nest, store, talk, self.first.take()))))
            }
            Err(error) => {
                complain("cannot fork a supervisor", error);
                std::thread::sleep(Duration::from_millis(500));
                None
            }
        }
    }

    /// Sleeps until a child has ended or the supervisor says something.
    fn sleep(&mut self, signals: &SignalFd) {
        let mut sources = vec![PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
        if let Some(ward) = self.ward.as_ref().filter(|ward| !ward.is_silent) {
            sources.push(PollFd::from_borrowed_fd(ward.talk.as_fd(), PollFlags::IN));
        }
        let limit = match (&self.ward, self.has_code) {
            (None, _) => Some(rustix::event::Timespec { tv_sec: 0, tv_nsec: 1 }),
            (Some(_), true) => Some(rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 }),
            (Some(_), false) => None,
        };
        let is_quiet = rustix::event::poll(&mut sources, limit.as_ref()).is_ok_and(|ready| ready == 0);
        if is_quiet && self.ward.is_some() {
            self.has_code = false;
            let _ = memory::let_go_of_code(); // it is only a courtesy
        }
        while let Ok(Some(_)) = signals.read_signal() {}
    }

    fn listen_to_ward(&mut self) {
        let Some(ward) = &mut self.ward else { return };
        while !ward.is_silent && readable(&ward.talk) {
            match protocol::receive::<Keeping>(ward.talk.as_fd()) {
                Ok(Some((Keeping::Keep(name), Some(descriptor)))) => drop(self.store.insert(name, Rc::new(descriptor))),
                Ok(Some((Keeping::Keep(_), None))) => {}
                Ok(Some((Keeping::Forget(name), _))) => drop(self.store.remove(&name)),
                Ok(None) | Err(_) => ward.is_silent = true,
            }
        }
    }

    /// Takes in every child that has ended; true if the supervisor has ended in good order.
    fn reap(&mut self) -> bool {
        while let Some((pid, status)) = child::ended_child() {
            match &self.ward {
                Some(ward) if ward.pid == pid => {
                    forget_child(pid);
                    if status == 0 {
                        return true;
                    }
                    self.lose_ward(status);
                }
                ward => {
                    if let Err(error) = self.nest.write_exit(pid, status) {
                        complain("cannot write down how a container ended", error);
                    }
                    // Only now: who is killed before leaves the zombie, and its status, to the next of us.
                    forget_child(pid);
                    if let Some(ward) = ward {
                        let _ = protocol::send(ward.talk.as_fd(), &Notice::Reaped, None);
                    }
                }
            }
        }
        // No child at all: somebody else was the supervisor's parent. Its talk tells whether it lives.
        false
    }

    fn lose_ward(&mut self, status: i32) {
        self.listen_to_ward(); // what it said before it died
        let Some(ward) = self.ward.take() else { return };
        complain("the supervisor has died; starting another one", format!("wait status {status}"));
        self.short_lives = if ward.since.elapsed() < SHORT_LIFE { self.short_lives + 1 } else { 0 };
    }
}

fn forget_child(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid);
    // It is our zombie, so this neither waits nor fails.
    let _ = rustix::process::waitpid(pid, WaitOptions::NOHANG);
}

fn readable(socket: &OwnedFd) -> bool {
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut sources = [PollFd::new(socket, PollFlags::IN)];
    rustix::event::poll(&mut sources, Some(&now)).is_ok() && sources[0].revents().contains(PollFlags::IN)
}

/// Says to the guardian what to keep; what cannot be said is said to the log.
pub(super) fn tell(talk: &OwnedFd, keeping: &Keeping, descriptor: Option<&OwnedFd>) {
    if let Err(error) = protocol::send(talk.as_fd(), keeping, descriptor.map(AsFd::as_fd))
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        complain("cannot speak to the guardian", error);
    }
}

impl Nest {
    /// Stands in for a nest that was given away.
    fn none() -> Nest {
        Nest::empty(Home::at(Path::new(""), Path::new("")))
    }
}
