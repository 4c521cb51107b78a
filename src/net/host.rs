//! What a bridge asks of the host besides links: forwarding, turned on once and put back with the last bridge.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::rule::Forwarding;
use crate::failure::Doing;
use crate::failure::Result;
use crate::place::Home;
use crate::state;

const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Holds what was there before us; there only if we changed it.
fn forwarding_before(home: &Home) -> PathBuf {
    home.host().join("ip_forward")
}

/// Whether forwarding is on because of us.
pub(super) fn forwarding(home: &Home) -> Forwarding {
    if forwarding_before(home).exists() { Forwarding::IsOurs } else { Forwarding::WasOn }
}

/// Lets the host forward packets; remembers it first if that is a change.
pub(super) fn turn_forwarding_on(home: &Home) -> Result<()> {
    let now = fs::read_to_string(IP_FORWARD).doing(|| "cannot read whether the host forwards packets")?;
    if now.trim() == "0" {
        state::write_whole(&forwarding_before(home), now.as_bytes())?;
        fs::write(IP_FORWARD, "1").doing(|| format!("cannot let the host forward packets: {IP_FORWARD}"))?;
    }
    Ok(())
}

/// Puts forwarding back as it was before us.
pub(super) fn restore_forwarding(home: &Home) -> Result<()> {
    let path = forwarding_before(home);
    let before = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read.doing(|| format!("cannot read {}", path.display()))?,
    };
    fs::write(IP_FORWARD, before).doing(|| format!("cannot put {IP_FORWARD} back"))?;
    fs::remove_file(&path).doing(|| format!("cannot remove {}", path.display()))
}

/// Sets a bridge's own switches, which go with it.
///
/// `route_localnet`: packets from 127.0.0.1 may leave by it, so that what is published on 127.0.0.1 is reached; the
/// firewall's chain `guard` keeps the other direction shut. IPv6 is off: the network has no addresses of it.
///
/// # Errors
/// As write(2).
pub(super) fn prepare_bridge(bridge: &str) -> io::Result<()> {
    fs::write(format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet"), "1")?;
    turn_ipv6_off(bridge)
}

/// Turns IPv6 off on a link of the namespace that the calling thread is in; a kernel without IPv6 has nothing to turn off.
///
/// # Errors
/// As write(2).
pub(super) fn turn_ipv6_off(link: &str) -> io::Result<()> {
    match fs::write(format!("/proc/sys/net/ipv6/conf/{link}/disable_ipv6"), "1") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        written => written,
    }
}

/// Whether bridges show their packets to the firewall of the level above (br_netfilter).
pub(super) fn bridges_call_firewall() -> bool {
    fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables").is_ok_and(|value| value.trim() != "0")
}
