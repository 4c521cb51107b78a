//! Leases of addresses: `networks/<name>/leases/<address>`, each holding the id of its container.
//!
//! They are also the count of who uses a network. A lease whose container has no record any more is stale. All
//! functions want [`super::record::lock`] held.

use std::fs;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use super::Addresses;
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
    pub(super) address: IpAddr,
    /// A container's id; empty if its writer died half-way.
    pub(super) holder: String,
}

/// Holds a file for each lease; changed when one is taken or released.
pub(super) fn directory(home: &Home, network: &Network) -> PathBuf {
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

/// Gives a container an address of each family that the network has: the one it has, the one it wants, or the lowest that
/// is free.
///
/// # Errors
/// The wanted address is taken or outside, or the network does not have its family; none is free.
pub(super) fn take(home: &Home, network: &Network, id: &str, plug: &Plug) -> Result<Vec<IpAddr>> {
    sweep(home, network)?;
    let taken = list(home, network)?;
    let claim = Claim { home, network, id, taken: &taken };
    let wanted = (plug.address.map(IpAddr::from), plug.ipv6_address.map(IpAddr::from));
    let taken = [claim.take(Pool::of(network.ipv4.as_ref())?, wanted.0)?, claim.take(Pool::of(network.ipv6.as_ref())?, wanted.1)?];
    Ok(taken.into_iter().flatten().collect())
}

/// Where the addresses of one family are leased from.
struct Pool {
    subnet: Subnet,
    range: Option<Subnet>,
    gateway: IpAddr,
    reserved: Vec<(String, IpAddr)>,
}

impl Pool {
    fn of<A: Copy + Into<IpAddr>>(addresses: Option<&Addresses<A>>) -> Result<Option<Pool>> {
        let Some(addresses) = addresses else { return Ok(None) };
        Ok(Some(Pool {
            subnet: addresses.all().ok_or_else(|| Failure::new("the network's record has no valid prefix"))?,
            range: addresses.range.and_then(|(base, prefix)| Subnet::of(base, prefix)),
            gateway: addresses.gateway.into(),
            reserved: addresses.reserved.iter().map(|(what, address)| (what.clone(), (*address).into())).collect(),
        }))
    }

    /// What is leased to who names no address.
    fn candidates(&self) -> Box<dyn Iterator<Item = IpAddr> + '_> {
        let is_ours = |address: &IpAddr| *address != self.gateway && self.reserved.iter().all(|(_, reserved)| reserved != address);
        match self.range {
            None => Box::new(self.subnet.hosts().filter(is_ours)),
            Some(range) => Box::new(range.addresses().filter(|address| self.subnet.hosts_contain(*address)).filter(is_ours)),
        }
    }
}

/// A container that is to have an address of a network, and what others have.
struct Claim<'a> {
    home: &'a Home,
    network: &'a Network,
    id: &'a str,
    taken: &'a [Lease],
}

impl Claim<'_> {
    fn take(&self, pool: Option<Pool>, wanted: Option<IpAddr>) -> Result<Option<IpAddr>> {
        let Some(pool) = pool else { return wanted.map_or(Ok(None), |wanted| Err(self.has_no_such(wanted))) };
        let is_own = |lease: &&Lease| lease.holder == self.id && lease.address.is_ipv4() == pool.gateway.is_ipv4();
        if let Some(own) = self.taken.iter().find(is_own).map(|lease| lease.address) {
            if wanted.is_none_or(|wanted| wanted == own) {
                return Ok(Some(own));
            }
            release(self.home, self.network, own)?;
        }
        let address = match wanted {
            None => self.lowest(&pool)?,
            Some(wanted) => self.check(&pool, wanted)?,
        };
        write(self.home, self.network, &Lease { address, holder: self.id.to_owned() })?;
        Ok(Some(address))
    }

    fn has_no_such(&self, wanted: IpAddr) -> Failure {
        let (family, key) = if wanted.is_ipv4() { ("IPv4", "enable_ipv4") } else { ("IPv6", "enable_ipv6") };
        Failure::new(format!("cannot have address {wanted}: network `{}` has no {family}", self.network.name))
            .hint(format!("make the network with `{key}: true`, or leave the address out"))
    }

    fn lowest(&self, pool: &Pool) -> Result<IpAddr> {
        let is_free = |address: &IpAddr| !self.taken.iter().any(|lease| lease.address == *address);
        pool.candidates().find(is_free).ok_or_else(|| match pool.range {
            None => Failure::new(format!("network `{}` ({}) has no address left", self.network.name, pool.subnet))
                .hint("give the network a larger subnet"),
            Some(range) => Failure::new(format!("network `{}` has no address left in its range {range}", self.network.name))
                .hint("give the network a larger range"),
        })
    }

    fn check(&self, pool: &Pool, wanted: IpAddr) -> Result<IpAddr> {
        let name = &self.network.name;
        if !pool.subnet.hosts_contain(wanted) {
            return Err(Failure::new(format!("address {wanted} is not in network `{name}` ({})", pool.subnet)));
        }
        if wanted == pool.gateway {
            return Err(Failure::new(format!("address {wanted} is the gateway of network `{name}`")));
        }
        if let Some((what, _)) = pool.reserved.iter().find(|(_, reserved)| *reserved == wanted) {
            return Err(Failure::new(format!("address {wanted} of network `{name}` is kept for `{what}`")).hint("choose another address"));
        }
        let Some(lease) = self.taken.iter().find(|lease| lease.address == wanted && lease.holder != self.id) else { return Ok(wanted) };
        let holder = holder::container_name(self.home, &lease.holder).unwrap_or_else(|| lease.holder.clone());
        Err(Failure::new(format!("address {wanted} is taken by container `{holder}`")).hint("choose another address"))
    }
}

fn write(home: &Home, network: &Network, lease: &Lease) -> Result<()> {
    let directory = directory(home, network);
    let written = fs::create_dir_all(&directory)
        .and_then(|()| OpenOptions::new().write(true).create_new(true).open(directory.join(lease.address.to_string())))
        .and_then(|mut file| file.write_all(lease.holder.as_bytes()));
    written.doing(|| format!("cannot lease address {} of network `{}`", lease.address, network.name))
}

/// Takes a lease back; one that is not there is no error.
pub(super) fn release(home: &Home, network: &Network, address: IpAddr) -> Result<()> {
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

/// Whether a lease is that of a container that is no more.
pub(super) fn is_stale(home: &Home, lease: &Lease) -> bool {
    lease.holder.is_empty() || !home.container(&lease.holder).exists()
}
