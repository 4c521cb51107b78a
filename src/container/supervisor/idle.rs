//! A supervisor whose container has left a network may be the one that removes what nobody uses any more; see [`net::Caretaker`].

use std::time::Duration;
use std::time::Instant;

use crate::net;
use crate::net::Caretaker;

use super::Errand;
use super::Supervisor;
use super::complain;

/// The duty, and when it is to be done.
#[derive(Debug)]
pub(super) struct Duty {
    caretaker: Caretaker,
    pub(super) due: Instant,
}

impl Supervisor {
    /// Looks after idle networks from now on, unless somebody does already.
    pub(super) fn mind_idle_networks(&mut self) {
        if self.duty.is_some() {
            return;
        }
        match Caretaker::appoint(&self.home) {
            Ok(caretaker) => self.duty = caretaker.map(|caretaker| Duty { caretaker, due: Instant::now() + net::MOMENT }),
            Err(failure) => complain("cannot look after idle networks", failure),
        }
    }

    /// Hands the duty over to a process that does it now and ends: the kernel takes its time.
    pub(super) fn do_duty(&mut self) {
        let Some(Duty { caretaker, .. }) = self.duty.take() else { return };
        match net::settles_in(&self.home) {
            Ok(Some(Duration::ZERO)) | Err(_) => {} // what is wrong, the process finds out too
            Ok(Some(left)) => return self.duty = Some(Duty { caretaker, due: Instant::now() + left }),
            Ok(None) => {
                drop(caretaker);
                return self.mind_what_was_left();
            }
        }
        let home = self.home.clone();
        let forked = self.fork_job(Errand::RemoveIdle, move || match caretaker.remove_settled(&home) {
            Ok(()) => 0,
            Err(failure) => {
                complain("cannot remove the bridges of idle networks", failure);
                1
            }
        });
        if let Err(error) = forked {
            complain("cannot fork, so idle networks stay until the next command", error);
        }
    }

    /// Somebody may have left a network, and found the duty taken that we have just let go of; or it was not idle for long enough.
    pub(super) fn mind_what_was_left(&mut self) {
        if net::is_any_idle(&self.home) {
            self.mind_idle_networks();
        }
    }
}
