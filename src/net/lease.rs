//! Leases of addresses: `networks/<name>/leases/<address>`, each holding the id of its container.
//!
//! They are also the count of who uses a network. A lease whose container has no record any more is stale. All
//! functions want [`super::record::lock`] held.

use std::fs;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::Network;
use super::Plug;
use super::holder;
use super::record;
use super::subnet::Subnet;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

/// An address and the container that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) address: Ipv4Addr,
    /// A container's id; empty if its writer died half-way.
    pub(super) holder: String,
}

fn directory(home: &Home, network: &Network) -> PathBuf {
    record::directory(home, &network.name).join("leases")
}

/// All leases of a network, by address.
pub(super) fn list(home: &Home, network: &Network) -> Result<Vec<Lease>> {
    let directory = directory(home, network);
    let doing = || format!("cannot read the leases of network `{}`", network.name);
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.doing(doing)?,
    };
    let mut leases = Vec::new();
    for entry in entries {
        let entry = entry.doing(doing)?;
        let Some(address) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let holder = fs::read_to_string(entry.path()).doing(doing)?;
        leases.push(Lease { address, holder });
    }
    leases.sort_by_key(|lease| lease.address);
    Ok(leases)
}

/// Gives a container an address: the one it has, the one it wants, or the lowest that is free.
///
/// # Errors
/// The wanted address is taken or outside; none is free.
pub(super) fn take(home: &Home, network: &Network, id: &str, plug: &Plug) -> Result<Ipv4Addr> {
    sweep(home, network)?;
    let mut leases = list(home, network)?;
    if let Some(place) = leases.iter().position(|lease| lease.holder == id) {
        let own = leases.swap_remove(place).address;
        if plug.address.is_none_or(|wanted| wanted == own) {
            return Ok(own);
        }
        release(home, network, own)?;
    }
    let address = match plug.address {
        None => lowest(network, &leases)?,
        Some(wanted) => check(home, network, &leases, wanted)?,
    };
    write(home, network, &Lease { address, holder: id.to_owned() })?;
    Ok(address)
}

fn subnet_of(network: &Network) -> Result<Subnet> {
    Subnet::of(network.subnet, network.prefix)
        .ok_or_else(|| Failure::new(format!("the record of network `{}` has no valid prefix", network.name)))
}

fn lowest(network: &Network, leases: &[Lease]) -> Result<Ipv4Addr> {
    let subnet = subnet_of(network)?;
    let is_free = |address: &Ipv4Addr| *address != network.gateway && !leases.iter().any(|lease| lease.address == *address);
    subnet.hosts().find(is_free).ok_or_else(|| {
        Failure::new(format!("network `{}` ({subnet}) has no address left", network.name)).hint("give the network a larger subnet")
    })
}

fn check(home: &Home, network: &Network, leases: &[Lease], wanted: Ipv4Addr) -> Result<Ipv4Addr> {
    let subnet = subnet_of(network)?;
    if !subnet.hosts_contain(wanted) {
        return Err(Failure::new(format!("address {wanted} is not in network `{}` ({subnet})", network.name)));
    }
    if wanted == network.gateway {
        return Err(Failure::new(format!("address {wanted} is the gateway of network `{}`", network.name)));
    }
    let Some(lease) = leases.iter().find(|lease| lease.address == wanted) else { return Ok(wanted) };
    let name = holder::container_name(home, &lease.holder).unwrap_or_else(|| lease.holder.clone());
    Err(Failure::new(format!("address {wanted} is taken by container `{name}`")).hint("choose another address"))
}

fn write(home: &Home, network: &Network, lease: &Lease) -> Result<()> {
    let directory = directory(home, network);
    let written = fs::create_dir_all(&directory)
        .and_then(|()| OpenOptions::new().write(true).create_new(true).open(directory.join(lease.address.to_string())))
        .and_then(|mut file| file.write_all(lease.holder.as_bytes()));
    written.doing(|| format!("cannot lease address {} of network `{}`", lease.address, network.name))
}

/// Takes a lease back; one that is not there is no error.
pub(super) fn release(home: &Home, network: &Network, address: Ipv4Addr) -> Result<()> {
    match fs::remove_file(directory(home, network).join(address.to_string())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.doing(|| format!("cannot release address {address} of network `{}`", network.name)),
    }
}

/// Takes back the leases of containers that are no more.
pub(super) fn sweep(home: &Home, network: &Network) -> Result<()> {
    list(home, network)?.iter().try_for_each(|lease| release_stale(home, network, lease))
}

/// Takes back a lease if its container is no more.
pub(super) fn release_stale(home: &Home, network: &Network, lease: &Lease) -> Result<()> {
    if is_stale(home, lease) { release(home, network, lease.address) } else { Ok(()) }
}

fn is_stale(home: &Home, lease: &Lease) -> bool {
    lease.holder.is_empty() || !home.container(&lease.holder).exists()
}
