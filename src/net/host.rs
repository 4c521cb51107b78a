//! What a bridge asks of the host besides links: forwarding, turned on once and put back with the last bridge.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use super::Network;
use super::neighbours;
use super::rule::Family;
use super::rule::Forwarding;
use crate::failure::Doing;
use crate::failure::Result;
use crate::place::Home;
use crate::state;

const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// One directory for each link, and `all` and `default`.
const IPV6_SWITCHES: &str = "/proc/sys/net/ipv6/conf";

/// Holds what was there before the first of us; there only if it was changed.
fn forwarding_before(home: &Home, family: Family) -> Result<PathBuf> {
    let name = match family {
        Family::V4 => "ip_forward",
        Family::V6 => "ipv6.json",
    };
    Ok(neighbours::directory(home)?.join(name))
}

/// How the host's links were before it forwarded IPv6 for us.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Ipv6Before {
    /// Links that forwarded alone.
    forwarding: Vec<String>,
    /// Links that took addresses and routes from router advertisements, as long as they do not forward (`accept_ra` 1).
    heeding_routers: Vec<String>,
}

/// Whether forwarding is on because of us.
pub(super) fn forwarding(home: &Home, family: Family) -> Result<Forwarding> {
    Ok(if forwarding_before(home, family)?.exists() { Forwarding::IsOurs } else { Forwarding::WasOn })
}

/// Lets the host forward packets as a network needs it; remembers it first if that is a change. The caller holds the lock of
/// [`neighbours`].
pub(super) fn turn_forwarding_on(home: &Home, network: &Network) -> Result<()> {
    for family in Family::of_network(network) {
        match family {
            Family::V4 => turn_ipv4_forwarding_on(home)?,
            Family::V6 => turn_ipv6_forwarding_on(home)?,
        }
    }
    Ok(())
}

fn turn_ipv4_forwarding_on(home: &Home) -> Result<()> {
    let now = fs::read_to_string(IP_FORWARD).doing(|| "cannot read whether the host forwards packets")?;
    if now.trim() == "0" {
        state::write_whole(&forwarding_before(home, Family::V4)?, now.as_bytes())?;
        fs::write(IP_FORWARD, "1").doing(|| format!("cannot let the host forward packets: {IP_FORWARD}"))?;
    }
    Ok(())
}

/// A link that forwards heeds router advertisements only if `accept_ra` is 2, so those that had 1 get that first: the
/// kernel drops their default routes at the very moment that it begins to forward (`rt6_purge_dflt_routers`).
fn turn_ipv6_forwarding_on(home: &Home) -> Result<()> {
    let doing = || "cannot let the host forward packets of IPv6";
    if ipv6_switch("all", "forwarding").doing(doing)? != "0" {
        return Ok(());
    }
    let path = forwarding_before(home, Family::V6)?;
    // It is there if we were killed half-way: then some have been changed already.
    let mut before: Ipv6Before = state::find_json(&path)?.unwrap_or_default();
    let note = |links: &mut Vec<String>, link: &String| links.extend((!links.contains(link)).then(|| link.clone()));
    for link in ipv6_links().doing(doing)? {
        if ipv6_switch(&link, "accept_ra").is_ok_and(|value| value == "1") {
            note(&mut before.heeding_routers, &link);
        }
        if ipv6_switch(&link, "forwarding").is_ok_and(|value| value != "0") {
            note(&mut before.forwarding, &link);
        }
    }
    state::write_json(&path, &before)?;
    for link in &before.heeding_routers {
        set_ipv6_switch(link, "accept_ra", "2").doing(doing)?;
    }
    set_ipv6_switch("all", "forwarding", "1").doing(doing)
}

/// Puts a family's forwarding back as it was before the first of us; the caller holds the lock of [`neighbours`].
pub(super) fn restore_forwarding(home: &Home, family: Family) -> Result<()> {
    let path = forwarding_before(home, family)?;
    match family {
        Family::V4 => {
            let before = match fs::read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                read => read.doing(|| format!("cannot read {}", path.display()))?,
            };
            fs::write(IP_FORWARD, before).doing(|| format!("cannot put {IP_FORWARD} back"))?;
        }
        Family::V6 => {
            let Some(before) = state::find_json::<Ipv6Before>(&path)? else { return Ok(()) };
            let doing = || "cannot put back how the host forwards IPv6";
            set_ipv6_switch("all", "forwarding", "0").doing(doing)?;
            for link in &before.forwarding {
                set_ipv6_switch(link, "forwarding", "1").doing(doing)?;
            }
            // Somebody else may have had a say since.
            let ours = before.heeding_routers.iter().filter(|link| ipv6_switch(link, "accept_ra").is_ok_and(|value| value == "2"));
            ours.into_iter().try_for_each(|link| set_ipv6_switch(link, "accept_ra", "1")).doing(doing)?;
        }
    }
    fs::remove_file(&path).doing(|| format!("cannot remove {}", path.display()))
}

/// The names of the host's links, and `default` for those to come.
fn ipv6_links() -> io::Result<Vec<String>> {
    let entries = fs::read_dir(IPV6_SWITCHES)?.flatten();
    Ok(entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name != "all").collect())
}

fn ipv6_switch(link: &str, switch: &str) -> io::Result<String> {
    Ok(fs::read_to_string(format!("{IPV6_SWITCHES}/{link}/{switch}"))?.trim().to_owned())
}

/// Sets a link's switch; a link that is gone has none.
fn set_ipv6_switch(link: &str, switch: &str, value: &str) -> io::Result<()> {
    match fs::write(format!("{IPV6_SWITCHES}/{link}/{switch}"), value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        written => written,
    }
}

/// Sets a bridge's own switches, which go with it.
///
/// `route_localnet`: packets from 127.0.0.1 may leave by it, so that what is published on 127.0.0.1 is reached; the
/// firewall's chain `guard` keeps the other direction shut. IPv6 is off where the network has no addresses of it.
///
/// # Errors
/// As write(2).
pub(super) fn prepare_bridge(network: &Network) -> io::Result<()> {
    fs::write(format!("/proc/sys/net/ipv4/conf/{}/route_localnet", network.bridge), "1")?;
    if network.ipv6.is_some() { prepare_ipv6(&network.bridge) } else { turn_ipv6_off(&network.bridge) }
}

/// Whether this kernel has IPv6.
pub(super) fn has_ipv6() -> bool {
    fs::exists("/proc/sys/net/ipv6").is_ok_and(|there| there)
}

/// Makes a link fit for addresses that we give it: it asks no router for others and waits for no neighbour to object.
///
/// # Errors
/// As write(2).
pub(super) fn prepare_ipv6(link: &str) -> io::Result<()> {
    set_ipv6_switch(link, "accept_ra", "0")?;
    set_ipv6_switch(link, "accept_dad", "0")?;
    set_ipv6_switch(link, "disable_ipv6", "0")
}

/// Turns IPv6 off on a link of the namespace that the calling thread is in; a kernel without IPv6 has nothing to turn off.
///
/// # Errors
/// As write(2).
pub(super) fn turn_ipv6_off(link: &str) -> io::Result<()> {
    set_ipv6_switch(link, "disable_ipv6", "1")
}

/// Sets a kernel setting of a link of the namespace that the calling thread is in; `IFNAME` in its name stands for the link.
///
/// # Errors
/// A name that is not one of a link's; as write(2).
pub(super) fn set_of_link(link: &str, name: &str, value: &str) -> io::Result<()> {
    let parts: Vec<&str> = name.split('.').map(|part| if part == "IFNAME" { link } else { part }).collect();
    let is_good = parts.first() == Some(&"net") && parts.iter().all(|part| !part.is_empty() && !part.contains('/'));
    if !is_good {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no setting of a link"));
    }
    fs::write(format!("/proc/sys/{}", parts.join("/")), value)
}

/// Whether bridges show their packets to the firewall of the level above (br_netfilter).
pub(super) fn bridges_call_firewall() -> bool {
    let switches = ["/proc/sys/net/bridge/bridge-nf-call-iptables", "/proc/sys/net/bridge/bridge-nf-call-ip6tables"];
    switches.iter().any(|path| fs::read_to_string(path).is_ok_and(|value| value.trim() != "0"))
}
