//! Sends a container's output on to where its log driver says: a process for each such container, forked by its supervisor.
//!
//! ```text
//! container -> FIFO -> log.1, log.2 (kept a while, for `logs`) -> sender -> syslog, journald
//! ```
//!
//! How far it has come is noted in `log.sent` after each line: who is killed, or the sender of the next run, goes on there. Whoever
//! cannot reach the other side tries again and again; meanwhile the container goes on writing into its log, and waits once that is
//! twice as long as it may be (or loses lines, with `mode: non-blocking`).

mod describe;
mod journal;
mod syslog;

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;
use std::time::Instant;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::fs::FlockOperation;

use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

use super::Container;
use super::Line;
use super::LogDriver;
use super::Logs;
use super::log_files;
use super::log_files::Beginning;
use super::logs;

pub use describe::attributes;
pub(super) use describe::check as check_tag;
pub(super) use syslog::OPTIONS as SYSLOG_OPTIONS;
pub(super) use syslog::check as check_syslog;

/// What the supervisor says when the container has ended and its log is whole.
const ENDED: u8 = b'e';

/// How long what is left is tried to be sent after that.
const LAST_TRY: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Longer than this nothing is waited for without looking around.
const LOOK_AROUND: Duration = Duration::from_secs(60);

/// Where lines go.
enum Destination {
    Syslog(Box<syslog::Syslog>),
    Journal(journal::Journal),
}

/// Finds out whether a container's output can be sent where it is to go; as Docker, before the container is started.
///
/// # Errors
/// It cannot.
pub(super) fn check(container: &Container) -> Result<()> {
    let Some(mut destination) = Destination::of(container)? else { return Ok(()) };
    destination.connect().map_err(|error| {
        let what = format!("cannot begin the log of container `{}`", container.name);
        let failure =
            Failure::new(what).because(format!("the log driver `{}` finds nobody: {error}", container.wanted.logging.driver.name()));
        failure.hint("start what takes the log, or choose another `--log-driver`").exit(125)
    })
}

/// What a sender needs of the container's directory, opened while that is surely there.
#[derive(Debug)]
pub(super) struct Files {
    logs: Logs,
    sent: File,
}

impl Files {
    pub(super) fn open(home: &Home, id: &str) -> Result<Files> {
        let logs = logs::logs_to_send(home, id)?;
        let path = log_files::sent_path(home, id);
        let sent = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let sent = sent.map_err(|error| Failure::new(format!("cannot open {}", path.display())).because(error))?;
        Ok(Files { logs, sent })
    }

    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.logs.descriptors().chain([self.sent.as_fd()]).collect()
    }
}

/// Sends a container's log until the container has ended (`leash` says so) or its supervisor has.
pub(super) fn send(container: &Container, files: Files, leash: &OwnedFd) -> Result<()> {
    let Some(destination) = Destination::of(container)? else { return Ok(()) };
    let Files { logs, sent } = files;
    let buffer = container.wanted.logging.buffer;
    let mut sender = Sender { logs, sent, destination, leash, buffer, give_up_at: None, pause: FIRST_PAUSE, orphaned: false };
    sender.begin().map_err(|error| Failure::new("cannot go on sending a log").because(error))?;
    sender.live()
}

struct Sender<'a> {
    logs: Logs,
    sent: File,
    destination: Destination,
    leash: &'a OwnedFd,
    /// What may be unsent before lines are lost; None: none is.
    buffer: Option<u64>,
    /// Once the container has ended.
    give_up_at: Option<Instant>,
    pause: Duration,
    /// The supervisor is dead; the next one forks another of us.
    orphaned: bool,
}

impl Sender<'_> {
    /// Takes over from the one before us, which may still be at its last line.
    fn begin(&mut self) -> io::Result<()> {
        while let Err(error) = rustix::fs::flock(&self.sent, FlockOperation::NonBlockingLockExclusive) {
            match error {
                rustix::io::Errno::WOULDBLOCK => self.look_at_leash(Duration::from_millis(50)),
                error => return Err(error.into()),
            }
            if self.orphaned {
                return Ok(());
            }
        }
        let mut place = [0; log_files::RECORD];
        if self.sent.read_at(&mut place, 0)? == place.len() {
            self.logs.go_to(Beginning::decode(&place))?;
        }
        Ok(())
    }

    fn live(&mut self) -> Result<()> {
        while !self.orphaned {
            // Asked before the log is read: what was written before an end is then surely seen.
            self.look_at_leash(Duration::ZERO);
            let has_ended = self.give_up_at.is_some();
            self.send_what_is_there()?;
            if has_ended {
                self.logs.finish();
                self.send_what_is_there()?;
                return Ok(());
            }
            if !self.orphaned && self.give_up_at.is_none() {
                self.logs.wait_with(self.leash.as_fd(), LOOK_AROUND)?;
            }
        }
        Ok(())
    }

    fn send_what_is_there(&mut self) -> Result<()> {
        while !self.orphaned
            && let Some(line) = self.logs.next()?
        {
            if !self.deliver(&line) {
                return Ok(());
            }
            let noted = self.sent.write_all_at(&self.logs.place().encode(), 0);
            noted.map_err(|error| Failure::new("cannot note what has been sent of a log").because(error))?;
            self.pause = FIRST_PAUSE;
        }
        Ok(())
    }

    /// False if it cannot be, and is not to be tried any more.
    fn deliver(&mut self, line: &Line) -> bool {
        loop {
            let Err(error) = self.destination.send(line) else { return true };
            if self.pause == FIRST_PAUSE {
                super::supervisor::complain("cannot send a log, trying again", error);
            }
            if self.buffer.is_some_and(|most| self.logs.behind() > most) {
                return true; // it is lost, as was asked for
            }
            self.look_at_leash(self.pause);
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            if self.orphaned || self.give_up_at.is_some_and(|due| due <= Instant::now()) {
                return false;
            }
        }
    }

    /// Waits for a while, but for no longer than until there is something to hear.
    fn look_at_leash(&mut self, limit: Duration) {
        if self.give_up_at.is_some() {
            return std::thread::sleep(limit);
        }
        let limit = Timespec { tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(limit.subsec_nanos()) };
        let ready = rustix::event::poll(&mut [PollFd::new(self.leash, PollFlags::IN)], Some(&limit)).is_ok_and(|ready| ready > 0);
        if !ready {
            return;
        }
        let mut heard = [0];
        match rustix::io::read(self.leash, &mut heard) {
            Ok(1) if heard == [ENDED] => self.give_up_at = Some(Instant::now() + LAST_TRY),
            _ => self.orphaned = true,
        }
    }
}

/// Lets a sender know that the container has ended and its log is whole.
pub(super) fn say_ended(leash: &OwnedFd) {
    let _ = rustix::io::write(leash, &[ENDED]); // one that is gone needs to hear nothing
}

impl Destination {
    /// None: nothing is to be sent.
    fn of(container: &Container) -> Result<Option<Destination>> {
        let bad = |reason: String| Failure::new("cannot understand the options of the log driver").because(reason);
        Ok(match container.wanted.logging.driver {
            LogDriver::Syslog => Some(Destination::Syslog(Box::new(syslog::Syslog::of(container).map_err(bad)?))),
            LogDriver::Journald => Some(Destination::Journal(journal::Journal::of(container).map_err(bad)?)),
            LogDriver::JsonFile | LogDriver::Local | LogDriver::None => None,
        })
    }

    fn connect(&mut self) -> io::Result<()> {
        match self {
            Destination::Syslog(syslog) => syslog.connect(),
            Destination::Journal(journal) => journal.connect(),
        }
    }

    fn send(&mut self, line: &Line) -> io::Result<()> {
        match self {
            Destination::Syslog(syslog) => syslog.send(line),
            Destination::Journal(journal) => journal.send(line),
        }
    }
}
