//! Networks that nobody is on any more. Their bridges stay for a moment: the next container is often not far, and both
//! to make a bridge and to remove one keeps it waiting (a grace period of RCU, twenty milliseconds and more).
//!
//! ```text
//! unplug      the last container leaves a network: the mark `idle-networks` is made before its lease goes
//! Caretaker   at most one for each home, held by a supervisor: a moment later it removes what is still idle, and the mark
//! remove      a network's own removal takes its bridge at once, and leaves the firewall to the others: `left-networks/`
//! sweep       finds the mark and no caretaker, for that was killed: removes all that is idle; every command looks
//! ```

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::Network;
use super::firewall;
use super::lease;
use super::link;
use super::netlink::Channel;
use super::plug;
use super::record;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::state;
use crate::state::Lock;

/// How long a network stays idle before its bridge is removed.
pub const MOMENT: Duration = Duration::from_millis(500);

/// Which idle networks lose their bridges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    /// Those that have been idle for [`MOMENT`].
    Settled,
}

/// The duty to remove the bridges of idle networks; free again when this is dropped, or its holder dies.
///
/// Who gives it up looks for the mark once more: somebody may have left a network meanwhile and found the duty taken.
#[derive(Debug)]
pub struct Caretaker {
    _lock: Lock,
}

impl Caretaker {
    /// Takes the duty, if nobody has it.
    ///
    /// # Errors
    /// The lock cannot be made.
    pub fn appoint(home: &Home) -> Result<Option<Caretaker>> {
        Ok(Lock::attempt(home, "idle-networks")?.map(|lock| Caretaker { _lock: lock }))
    }

    /// Removes the bridges of networks that have been idle for [`MOMENT`]; if none is idle then, the mark goes too.
    ///
    /// # Errors
    /// What could not be removed.
    pub fn remove_settled(&self, home: &Home) -> Result<()> {
        remove(home, Which::Settled)
    }
}

/// Whether a network has been left and not looked after since.
pub fn is_any_idle(home: &Home) -> bool {
    mark(home).exists()
}

/// When the first of the idle bridges will have been so for [`MOMENT`]; None if there is no mark.
///
/// # Errors
/// A record that cannot be read; what the kernel says.
pub fn settles_in(home: &Home) -> Result<Option<Duration>> {
    if !is_any_idle(home) {
        return Ok(None);
    }
    let mut channel = Channel::route().doing(|| "cannot reach the kernel's links")?;
    let mut first: Option<Duration> = None;
    for network in record::list(home)? {
        let stands = link::find(&mut channel, &network.bridge).doing(|| format!("cannot look at link {}", network.bridge))?.is_some();
        if stands && lease::list(home, &network)?.is_empty() {
            let left = MOMENT.saturating_sub(idle_for(home, &network));
            first = Some(first.map_or(left, |first| first.min(left)));
        }
    }
    Ok(first.or(Some(Duration::ZERO))) // then only the mark is left to be removed
}

/// Removes the bridges of all idle networks at once, unless there is a caretaker for them.
///
/// # Errors
/// What could not be removed.
pub fn sweep(home: &Home) -> Result<()> {
    while is_any_idle(home) {
        let Some(_duty) = Caretaker::appoint(home)? else { break };
        remove(home, Which::All)?;
    }
    Ok(())
}

fn mark(home: &Home) -> PathBuf {
    home.run().join("idle-networks")
}

/// Notes that a network is about to be idle; the caller holds [`record::lock`].
pub(super) fn note(home: &Home) -> Result<()> {
    if is_any_idle(home) { Ok(()) } else { state::write_whole(&mark(home), b"") }
}

fn remove(home: &Home, which: Which) -> Result<()> {
    let _lock = record::lock(home)?;
    let mut idle = Vec::new();
    let mut is_one_left = false;
    for network in record::list(home)? {
        lease::sweep(home, &network)?;
        if !lease::list(home, &network)?.is_empty() {
            continue;
        }
        match which == Which::All || idle_for(home, &network) >= MOMENT {
            true => idle.push(network),
            false => is_one_left = true,
        }
    }
    remove_links(&idle, link::delete_all)?;
    firewall::expel(home, &idle)?;
    forget_left(home)?;
    if is_one_left { Ok(()) } else { plug::remove_file(&mark(home)) }
}

/// How long ago a network's last lease went.
fn idle_for(home: &Home, network: &Network) -> Duration {
    let changed = fs::metadata(lease::directory(home, network)).and_then(|metadata| metadata.modified());
    // A time to come is that of a clock that was set back since.
    changed.ok().and_then(|changed| changed.elapsed().ok()).unwrap_or(Duration::MAX)
}

/// Removes the bridge of a network that is about to be forgotten. What the host does for it stays for a caretaker: to close the
/// firewall's socket after a removal is to wait for a grace period. The caller holds [`record::lock`], and sweeps without it.
pub(super) fn leave(home: &Home, network: &Network) -> Result<()> {
    let stood = remove_links(std::slice::from_ref(network), link::make_vanish)?;
    // Somebody may have been killed between removing the one and the other.
    if !stood.is_empty() || firewall::knows(home, network)? {
        note(home)?;
        state::write_json(&left(home).join(format!("{}.json", network.id)), network)?;
    }
    Ok(())
}

/// Takes networks out of the firewall that have been removed meanwhile. The caller holds [`record::lock`].
pub(super) fn forget_left(home: &Home) -> Result<()> {
    let doing = || "cannot read which networks have been removed";
    let entries = match fs::read_dir(left(home)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.doing(doing)?,
    };
    let mut networks = Vec::new();
    let mut notes = Vec::new();
    for entry in entries {
        let note = entry.doing(doing)?.path();
        networks.extend(state::find_json::<Network>(&note)?);
        notes.push(note);
    }
    firewall::expel(home, &networks)?;
    notes.iter().try_for_each(|note| plug::remove_file(note))
}

fn left(home: &Home) -> PathBuf {
    home.run().join("left-networks")
}

/// Removes the links of networks without containers; returns those that had any.
fn remove_links(networks: &[Network], remove: fn(&mut Channel, &[String]) -> io::Result<()>) -> Result<Vec<Network>> {
    if networks.is_empty() {
        return Ok(Vec::new());
    }
    let mut channel = Channel::route().doing(|| "cannot reach the kernel's links")?;
    let mut standing = Vec::new();
    let mut links = Vec::new();
    for network in networks {
        let doing = || format!("cannot look at link {}", network.bridge);
        let Some(bridge) = link::find(&mut channel, &network.bridge).doing(doing)? else { continue };
        // The veths of containers that have just ended go with their namespaces, which takes a while.
        let ports = link::ports_of(&mut channel, bridge).doing(doing)?;
        links.extend(ports.into_iter().filter(|name| plug::is_host_end(name)));
        links.push(network.bridge.clone());
        standing.push(network.clone());
    }
    remove(&mut channel, &links).map_err(|error| Failure::new(format!("cannot remove links {}", links.join(", "))).because(error))?;
    Ok(standing)
}
