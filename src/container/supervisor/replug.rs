//! A running container comes onto a network or leaves one: what its record says is made so.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::OFlags;

use crate::container::NetworkMode;
use crate::container::files;
use crate::container::notes;
use crate::container::record;
use crate::failure::Doing;
use crate::failure::Result;
use crate::net;
use crate::net::Plugged;
use crate::net::Target;

use super::Supervisor;
use super::start;

impl Supervisor {
    /// Plugs a running container into the networks that its record has and it is not on, and takes it out of the others.
    pub(super) fn replug(&mut self, id: &str) -> Result<()> {
        let Some(watched) = self.watched.get(id).filter(|watched| watched.run.is_some()) else { return Ok(()) };
        let NetworkMode::Plugs(plugs) = &watched.container.wanted.network else { return Ok(()) };
        let before = &watched.state.plugged;
        let is_wanted = |plugged: &Plugged| plugs.iter().any(|plug| plug.network == plugged.network);
        let (mut after, gone): (Vec<Plugged>, Vec<Plugged>) = before.iter().cloned().partition(is_wanted);
        let more = plugs.iter().filter(|plug| !before.iter().any(|plugged| plugged.network == plug.network));
        let more: Vec<_> = more.cloned().collect();
        if gone.is_empty() && more.is_empty() {
            return Ok(());
        }
        let netns = start::open(Path::new(&format!("/proc/{}/ns/net", watched.state.pid)), OFlags::RDONLY)
            .doing(|| "cannot open the container's network namespace")?;
        let home = self.home.clone();
        let mut outcome = Ok(());
        for gone in &gone {
            outcome = outcome.and_then(|()| net::plug_out(&home, id, netns.as_fd(), (gone, &after)));
        }
        for plug in &more {
            outcome = outcome.and_then(|()| net::plug_in(&home, id, netns.as_fd(), (plug, &after)).map(|plugged| after.push(plugged)));
        }
        // What was done is known, even if something else could not be done.
        let known = self.plugs_changed(id, after);
        if !gone.is_empty() {
            self.mind_idle_networks();
        }
        outcome.and(known)
    }

    /// Lets everybody know where a container is now: the record, the firewall, its own /etc/hosts, the name servers.
    fn plugs_changed(&mut self, id: &str, after: Vec<Plugged>) -> Result<()> {
        let Some(watched) = self.watched.get_mut(id) else { return Ok(()) };
        let before = std::mem::replace(&mut watched.state.plugged, after);
        let (container, after) = (&watched.container, &watched.state.plugged);
        record::write_state(&self.home, id, &watched.state)?;
        files::write_hosts_again(&self.home, container, (&before, after))?;
        let target = Target::of(after);
        if !watched.state.ports.is_empty() && target != Target::of(&before) {
            match after.is_empty() {
                true => net::unpublish(&self.home, id)?,
                false => net::publish(&self.home, id, target, &watched.state.ports)?,
            }
            if let Some(run) = &mut watched.run {
                run.relays.replace(watched.reservation.as_ref(), after)?;
            }
        }
        self.names.announce(&self.home, container, after)?;
        for (action, these, those) in [("disconnect", &before, after), ("connect", after, &before)] {
            let moved = these.iter().filter(|plugged| !those.iter().any(|other| other.network == plugged.network));
            moved.for_each(|plugged| notes::note_network(&self.home, container, action, &plugged.network));
        }
        Ok(())
    }
}
