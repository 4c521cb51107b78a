//! Published ports that the firewall cannot lead to a container (see [`net::relay`]): a process serves them, which we fork when
//! somebody knocks and which ends when all is quiet.
//!
//! ```text
//! somebody knocks      the port's socket is readable: fork, and watch the process instead of the sockets
//! it ends              watch the sockets again
//! the container ends   kill it, and listen no more
//! we are killed        it takes nothing new and serves what is open; the next of us has the sockets from the guardian
//! ```

use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::pipe::PipeFlags;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use rustix::process::WaitOptions;

use crate::failure::Result;
use crate::net;
use crate::net::Plugged;
use crate::net::Relayed;
use crate::net::Reservation;
use crate::net::Target;
use crate::sys::child;
use crate::sys::child::Fork;
use crate::sys::exec;

use super::Supervisor;
use super::complain;

/// Before one is begun again that could not do its work.
const PENANCE: Duration = Duration::from_secs(1);

/// The ports of a container that are relayed while it runs.
#[derive(Debug)]
pub(super) struct Relays {
    ports: Vec<Relayed>,
    /// If somebody has knocked lately.
    process: Option<Relay>,
}

/// A process that serves ports.
#[derive(Debug)]
struct Relay {
    pid: Pid,
    pidfd: OwnedFd,
    /// Nothing is written to it; its end tells that we are gone.
    _leash: OwnedFd,
}

impl Relays {
    /// Listens on the ports that need a relay.
    pub(super) fn of(held: Option<&Reservation>, plugged: &[Plugged]) -> Result<Relays> {
        let ports = held.map_or(Ok(Vec::new()), |held| net::relayed(held, Target::of(plugged)))?;
        Ok(Relays { ports, process: None })
    }

    /// What is readable when there is something to tend.
    pub(super) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let process = self.process.as_ref().map(|process| process.pidfd.as_fd());
        let sockets = self.ports.iter().filter(move |_| process.is_none()).map(|port| port.socket.as_fd());
        process.into_iter().chain(sockets)
    }

    /// The container is elsewhere now: serves what needs a relay there.
    pub(super) fn replace(&mut self, held: Option<&Reservation>, plugged: &[Plugged]) -> Result<()> {
        std::mem::replace(self, Relays { ports: Vec::new(), process: None }).end();
        *self = Relays::of(held, plugged)?;
        Ok(())
    }

    /// Closes this process' copies of the sockets.
    pub(super) fn let_go(&mut self) {
        self.ports.clear();
    }

    /// The container has ended.
    pub(super) fn end(self) {
        if let Some(relay) = &self.process {
            let _ = child::send_signal(relay.pidfd.as_fd(), libc::SIGKILL); // one that has just ended is as good
            let _ = rustix::process::waitpid(Some(relay.pid), WaitOptions::empty());
        }
        net::hush(&self.ports);
    }

    fn fork(&mut self) -> io::Result<()> {
        let (leash, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        match child::fork()? {
            Fork::Parent(pid) => {
                let Some(pid) = Pid::from_raw(pid) else { return Ok(()) };
                let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
                self.process = Some(Relay { pid, pidfd, _leash: ours });
                Ok(())
            }
            Fork::Child => serve(std::mem::take(&mut self.ports), leash),
        }
    }
}

/// The life of a relay.
fn serve(ports: Vec<Relayed>, leash: OwnedFd) -> ! {
    // The ports of other containers are not for us to hold, nor is the talk with the guardian.
    let kept: Vec<BorrowedFd<'_>> = ports.iter().map(|port| port.socket.as_fd()).chain([leash.as_fd()]).collect();
    let served = exec::close_all_but(&kept).and_then(|()| net::relay(ports, leash));
    if let Err(error) = served {
        complain("cannot relay published ports", error);
        std::thread::sleep(PENANCE);
    }
    std::process::exit(0)
}

impl Supervisor {
    /// Somebody has knocked at a relayed port, or a relay has ended.
    pub(super) fn tend_relays(&mut self, id: &str) {
        let Some(relays) = self.run_of(id).map(|run| &mut run.relays) else { return };
        match relays.process.take() {
            // Of one that was forked before we took the guardian's place, the guardian is the parent.
            Some(relay) => drop(rustix::process::waitpid(Some(relay.pid), WaitOptions::NOHANG)),
            None => {
                if let Err(error) = relays.fork() {
                    complain("cannot fork, so a published port is not relayed", error);
                    std::thread::sleep(Duration::from_millis(100)); // whoever knocks goes on knocking
                }
            }
        }
    }
}
