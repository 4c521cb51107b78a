//! Containers whose output is sent elsewhere have a process each that does it; see [`sending`].
//!
//! It outlives the container by what is left to send, and us not at all: the next supervisor forks another one.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::pipe::PipeFlags;

use crate::container::Container;
use crate::container::sending;
use crate::container::sending::Files;
use crate::sys::exec;

use super::Errand;
use super::Run;
use super::Supervisor;
use super::complain;

/// Before one is forked again that could not do its work.
const PENANCE: Duration = Duration::from_secs(1);

/// Tells the sender of a container that this has ended.
pub(super) fn finish(run: &mut Run) {
    if let Some(leash) = run.sender.take() {
        sending::say_ended(&leash);
    }
}

impl Supervisor {
    /// Forks the process that sends a container's output; what holds it, or None if there is nothing to send.
    pub(super) fn begin_sending(&mut self, container: &Container) -> Option<OwnedFd> {
        if !container.wanted.logging.driver.sends() {
            return None;
        }
        match self.fork_sender(container) {
            Ok(leash) => Some(leash),
            Err(error) => {
                complain("cannot send a container's output on", error);
                None
            }
        }
    }

    /// A sender has ended: of a container that still runs, it was killed, or could not go on.
    pub(super) fn send_on(&mut self, id: &str) {
        let container = self.watched.get(id).filter(|watched| watched.run.as_ref().is_some_and(|run| run.sender.is_some()));
        let Some(container) = container.map(|watched| watched.container.clone()) else { return };
        let sender = self.begin_sending(&container);
        if let Some(run) = self.run_of(id) {
            run.sender = sender;
        }
    }

    fn fork_sender(&mut self, container: &Container) -> std::io::Result<OwnedFd> {
        let files = Files::open(&self.home, &container.id).map_err(|failure| std::io::Error::other(failure.to_string()))?;
        let (leash, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let container = container.clone();
        self.fork_job(Errand::Send(container.id.clone()), move || {
            // The FIFOs and ports of containers are not for it to hold.
            let kept: Vec<_> = files.descriptors().into_iter().chain([leash.as_fd()]).collect();
            if exec::close_all_but(&kept).is_err() {
                return 1;
            }
            match sending::send(&container, files, &leash) {
                Ok(()) => 0,
                Err(failure) => {
                    complain("cannot send a container's output", failure);
                    std::thread::sleep(PENANCE);
                    1
                }
            }
        })?;
        Ok(ours)
    }
}
