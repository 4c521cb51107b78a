//! Which addresses a new network gets: what is wanted, checked against the other networks and the host's routes.

use std::fs;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use netlink_packet_route::AddressFamily;

use super::Addresses;
use super::Network;
use super::Wanted;
use super::WantedAddresses;
use super::host;
use super::link;
use super::netlink::Channel;
use super::resolvers;
use super::subnet;
use super::subnet::Subnet;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;

/// The addresses of either family that a network gets.
pub(super) type Chosen = (Option<Addresses<Ipv4Addr>>, Option<Addresses<Ipv6Addr>>);

/// Chooses a network's addresses beside the networks that are there.
///
/// # Errors
/// No subnet is free; the wanted one overlaps; an address that is none, or not of the subnet; no IPv6 in this kernel.
pub(super) fn choose(channel: &mut Channel, networks: &[Network], wanted: &Wanted) -> Result<Chosen> {
    if wanted.ipv4.is_none() && wanted.ipv6.is_none() {
        return Err(Failure::new("a network needs addresses of IPv4, of IPv6 or of both"));
    }
    if wanted.ipv6.is_some() && !host::has_ipv6() {
        return Err(Failure::new("this kernel has no IPv6")
            .hint("make the network without IPv6, or boot a kernel that has it (without `ipv6.disable=1`)"));
    }
    let ipv4 = wanted.ipv4.as_ref().map(|wanted| settle(channel, networks, wanted)).transpose()?;
    let ipv6 = wanted.ipv6.as_ref().map(|wanted| settle(channel, networks, wanted)).transpose()?;
    Ok((ipv4, ipv6))
}

/// What differs between the families.
trait Family: Copy + Into<IpAddr> {
    const NAME: &str;
    const EXAMPLE: &str;
    const KIND: AddressFamily;
    /// The longest prefix that leaves room for a gateway and a container.
    const LONGEST: u8;

    fn of(address: IpAddr) -> Option<Self>;
    fn first_free(taken: &[Subnet]) -> Option<Subnet>;
}

impl Family for Ipv4Addr {
    const NAME: &str = "IPv4";
    const EXAMPLE: &str = "172.28.0.0/16";
    const KIND: AddressFamily = AddressFamily::Inet;
    const LONGEST: u8 = 30;

    fn of(address: IpAddr) -> Option<Ipv4Addr> {
        if let IpAddr::V4(address) = address { Some(address) } else { None }
    }

    fn first_free(taken: &[Subnet]) -> Option<Subnet> {
        subnet::first_free(taken)
    }
}

impl Family for Ipv6Addr {
    const NAME: &str = "IPv6";
    const EXAMPLE: &str = "fd00:28::/64";
    const KIND: AddressFamily = AddressFamily::Inet6;
    const LONGEST: u8 = 126;

    fn of(address: IpAddr) -> Option<Ipv6Addr> {
        let IpAddr::V6(address) = address else { return None };
        let is_for_containers = !address.is_multicast() && !address.is_unicast_link_local() && address.to_ipv4_mapped().is_none();
        is_for_containers.then_some(address)
    }

    fn first_free(taken: &[Subnet]) -> Option<Subnet> {
        // Without the first, as in an image that was never booted, networks still get a prefix that is nobody else's.
        let files = ["/etc/machine-id", "/proc/sys/kernel/random/boot_id"];
        let machine = files.iter().find_map(|path| fs::read(path).ok().filter(|id| id.len() >= 32)).unwrap_or_default();
        subnet::first_free_local(&machine, taken)
    }
}

fn settle<A: Family>(channel: &mut Channel, networks: &[Network], wanted: &WantedAddresses) -> Result<Addresses<A>> {
    let subnet = choose_subnet::<A>(channel, networks, wanted.subnet.as_deref())?;
    let range = wanted.range.as_ref().map(|text| match Subnet::parse(text) {
        Some(range) if subnet.covers(range) => Ok(range),
        Some(range) => Err(Failure::new(format!("the range {range} is not in subnet {subnet}"))),
        None => Err(Failure::new(format!("`{text}` is not a range of addresses")).hint(format!("write it as `{subnet}`"))),
    });
    let range = range.transpose()?;
    let address = |what: &str, text: &str| match text.parse::<IpAddr>().ok().filter(|address| subnet.hosts_contain(*address)) {
        Some(address) => Ok(address),
        None => Err(Failure::new(format!("{what} {text} is not a host's address in subnet {subnet}"))),
    };
    let reserved = wanted.reserved.iter().map(|(what, text)| Ok((what.clone(), address(&format!("the address of `{what}`"), text)?)));
    let reserved = reserved.collect::<Result<Vec<(String, IpAddr)>>>()?;
    let gateway = match &wanted.gateway {
        Some(text) => address("gateway", text)?,
        None => {
            let is_free = |address: &IpAddr| subnet.hosts_contain(*address) && reserved.iter().all(|(_, other)| other != address);
            range.unwrap_or(subnet).addresses().find(is_free).ok_or_else(|| Failure::new(format!("subnet {subnet} has no room")))?
        }
    };
    let narrow = |address: IpAddr| A::of(address).ok_or_else(|| Failure::new(format!("{address} is not an {} address", A::NAME)));
    Ok(Addresses {
        subnet: narrow(subnet.base())?,
        prefix: subnet.prefix(),
        gateway: narrow(gateway)?,
        range: range.map(|range| Ok((narrow(range.base())?, range.prefix()))).transpose()?,
        reserved: reserved.into_iter().map(|(what, address)| Ok((what, narrow(address)?))).collect::<Result<_>>()?,
    })
}

fn choose_subnet<A: Family>(channel: &mut Channel, networks: &[Network], wanted: Option<&str>) -> Result<Subnet> {
    let covered = link::covered(channel, A::KIND).doing(|| "cannot read the host's routes")?;
    let Some(text) = wanted else {
        let servers = resolvers::host_resolvers().servers;
        let servers = servers.iter().filter_map(|server| Subnet::of(*server, if server.is_ipv4() { 32 } else { 128 }));
        let taken: Vec<Subnet> = networks.iter().flat_map(Network::subnets).chain(covered).chain(servers).collect();
        return A::first_free(&taken).ok_or_else(|| {
            Failure::new(format!("no {} subnet is free: all of the pools are taken by networks or routes", A::NAME))
                .hint("remove networks that are not used, or name a subnet of your own")
        });
    };
    let is_for_containers = |subnet: &Subnet| A::of(subnet.base()).is_some() && (1..=A::LONGEST).contains(&subnet.prefix());
    let subnet = Subnet::parse(text).filter(is_for_containers).ok_or_else(|| {
        Failure::new(format!("`{text}` is not an {} subnet for containers", A::NAME)).hint(format!(
            "write it as `{}`; at most `/{}`",
            A::EXAMPLE,
            A::LONGEST
        ))
    })?;
    if let Some(other) = networks.iter().find(|network| network.subnets().any(|other| other.overlaps(subnet))) {
        return Err(Failure::new(format!("subnet {subnet} overlaps that of network `{}`", other.name)).hint("choose another subnet"));
    }
    if let Some(route) = covered.iter().find(|route| route.overlaps(subnet)) {
        return Err(Failure::new(format!("subnet {subnet} overlaps the host's {route}")).hint("choose another subnet"));
    }
    Ok(subnet)
}
