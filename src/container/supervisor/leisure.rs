//! What comes after the end of a container and nobody needs to wait for: its root is unmounted, what was removed is deleted.
//!
//! With the last descriptor of an overlay's root the kernel unmounts it, and for that it writes out the whole file system below, however
//! much there is to write. So the supervisor holds one: else the end of PID 1 would wait for that. A second later a process of its own
//! lets go of it; not at once, for whatever `down` stops next may have to write too, and would wait behind us.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use rustix::pipe::PipeFlags;

use crate::container::Container;
use crate::failure::Doing;
use crate::failure::Result;
use crate::state;

use super::Errand;
use super::Supervisor;
use super::complain;

/// So long after the end of a container there is leisure.
const SOON: Duration = Duration::from_secs(1);

/// How much others have priority over the deletion of what was removed; see nice(2).
const LEISURE: i32 = 10;

/// The root of a container, held open.
#[derive(Debug)]
pub(super) struct Root {
    _descriptor: OwnedFd,
    /// When we let go of it, once the container has ended.
    close_at: Option<Instant>,
}

impl Supervisor {
    /// Holds the root of a container that is about to run, unless nothing of it has to reach the disk.
    pub(super) fn hold_root(&mut self, container: &Container, root: &OwnedFd) -> Result<()> {
        if !container.wanted.auto_remove {
            let held = root.try_clone().doing(|| "cannot hold the root file system")?;
            self.roots.insert(container.id.clone(), Root { _descriptor: held, close_at: None });
        }
        Ok(())
    }

    /// What a container had has been taken back.
    pub(super) fn be_down(&mut self, id: &str) {
        self.announce_down(id);
        if let Some(root) = self.roots.get_mut(id) {
            root.close_at = Some(Instant::now() + SOON);
        }
        self.tidy_soon();
    }

    /// Has what was removed deleted, by and by.
    pub(super) fn tidy_soon(&mut self) {
        self.tidy_at = self.tidy_at.or(Some(Instant::now() + SOON));
    }

    /// When there is leisure next.
    pub(super) fn leisure_deadline(&self) -> Option<Instant> {
        self.roots.values().filter_map(|root| root.close_at).chain(self.tidy_at).min()
    }

    /// Does what is due.
    pub(super) fn use_leisure(&mut self, now: Instant) {
        let is_due = |root: &Root| root.close_at.is_some_and(|due| due <= now);
        let due: Vec<String> = self.roots.iter().filter(|(_, root)| is_due(root)).map(|(id, _)| id.clone()).collect();
        for id in due {
            self.close_root(&id);
        }
        if self.tidy_at.is_some_and(|due| due <= now) {
            self.tidy_at = None;
            self.work_aside(Errand::Tidy, Vec::new());
        }
    }

    /// Lets go of a container's root now, in a process of its own.
    pub(super) fn close_root(&mut self, id: &str) {
        if let Some(root) = self.roots.remove(id) {
            self.work_aside(Errand::CloseRoot(id.to_owned()), vec![root]);
        }
    }

    /// Lets go of what a container's last run left, and waits until that is done: a file system cannot well be mounted twice.
    pub(super) fn end_last_run(&mut self, id: &str) {
        self.wait_until_down(id);
        if self.roots.get(id).is_some_and(|root| root.close_at.is_some()) {
            self.close_root(id);
            self.wait_until_down(id);
        }
    }

    /// Leaves all that is still to be done to a process that outlives us.
    pub(super) fn leave_leisure(&mut self) {
        let roots: Vec<Root> = std::mem::take(&mut self.roots).into_values().collect();
        if self.tidy_at.take().is_some() || !roots.is_empty() {
            self.work_aside(Errand::Tidy, roots);
        }
    }

    /// Has a forked process let go of roots and, if that is the errand, delete what was removed.
    fn work_aside(&mut self, errand: Errand, roots: Vec<Root>) {
        let home = self.home.clone();
        let tidies = errand == Errand::Tidy;
        let forked = held(roots).and_then(|(held, gate)| {
            self.fork_job(errand, move || {
                let (roots, ours) = held;
                drop(ours);
                let _ = rustix::io::read(&gate, &mut [0]);
                drop(roots);
                if tidies {
                    let _ = rustix::process::nice(LEISURE); // it is only a courtesy
                    state::empty_trash(&home);
                }
                0
            })
        });
        if let Err(error) = forked {
            complain("cannot fork, so roots are closed here and what was removed stays for the next time", error);
        }
    }
}

/// What both halves of a fork hold, and the gate that opens when the parent holds it no more: the child's copies must be the last ones.
///
/// The parts of a tuple are dropped in their order, so the parent's end of the gate closes after its roots.
type Held = (Vec<Root>, OwnedFd);

fn held(roots: Vec<Root>) -> io::Result<(Held, OwnedFd)> {
    let (gate, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    Ok(((roots, ours), gate))
}
