//! Plugs containers into networks and takes them out: leases, bridges, veth pairs, routes.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::path::PathBuf;

use super::Addresses;
use super::Assigned;
use super::DEFAULT_NETWORK;
use super::Network;
use super::Plug;
use super::Plugged;
use super::firewall;
use super::host;
use super::idle;
use super::lease;
use super::link;
use super::link::Link;
use super::link::Pair;
use super::namespace;
use super::neighbours;
use super::netlink::Channel;
use super::options;
use super::options::Mode;
use super::port;
use super::record;
use super::rule::Family;
use super::subnet::hardware_address;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::state;

/// `lo` is the first link of every network namespace (LOOPBACK_IFINDEX, include/net/flow.h).
const LOOPBACK: Link = Link { index: 1, mtu: 65536, is_up: false };

/// A container has left no more networks than this while it was on one further down.
const MOST_MISSING: usize = 8;

/// Plugs a container's network namespace into networks, in order: `eth0` on the first; the first with a way out has
/// the default route, for each family of addresses, unless a plug says otherwise.
///
/// Brings up `lo`, makes the bridges that are not there, the host's side (forwarding, masquerading), leases the
/// addresses. The calling thread is in the container's namespace for a moment; without networks there is only `lo`.
///
/// # Errors
/// What could not be made; what was made is taken back.
pub fn plug(home: &Home, container_id: &str, netns: BorrowedFd<'_>, plugs: &[Plug]) -> Result<Vec<Plugged>> {
    let mut guest = namespace::inside(netns, Channel::route).doing(|| "cannot enter the container's network namespace")?;
    link::set_up(&mut guest, LOOPBACK).doing(|| "cannot bring up `lo` in the container")?;
    if plugs.is_empty() {
        return Ok(Vec::new());
    }
    let _lock = record::lock(home)?;
    let mut host = Channel::route().doing(|| "cannot reach the kernel's links")?;
    let mut container = Container { home, id: container_id, netns, host: &mut host, guest: &mut guest };
    let plugged = plugs.iter().enumerate().map(|(place, plug)| {
        container.plug_one(place, plug).doing(|| format!("cannot plug the container into network `{}`", plug.network))
    });
    let plugged = plugged.collect::<Result<Vec<Plugged>>>().and_then(|plugged| {
        for gateway in ways_out(&plugged) {
            link::add_default_route(container.guest, gateway).doing(|| "cannot set the default route")?;
        }
        let number = namespace::number(netns).doing(|| "cannot look at the container's network namespace")?;
        state::write_json(&namespace_record(home, container_id), &number)?;
        Ok(plugged)
    });
    if plugged.is_err() {
        // What failed is what the user needs to know; what cannot be undone now, the next `unplug` tries again.
        let _ = unplug_locked(home, container_id);
    }
    plugged
}

/// The gateway of each family: that of the highest priority, of several the first.
pub(super) fn ways_out(plugged: &[Plugged]) -> impl Iterator<Item = IpAddr> {
    let plugged = by_rank(plugged);
    let ipv4 = plugged.iter().find_map(|plugged| plugged.ipv4.and_then(|assigned| assigned.gateway));
    let ipv6 = plugged.iter().find_map(|plugged| plugged.ipv6.and_then(|assigned| assigned.gateway));
    ipv4.map(IpAddr::from).into_iter().chain(ipv6.map(IpAddr::from))
}

/// Plugs in the order in which they are looked at for a way out.
pub(super) fn by_rank(plugged: &[Plugged]) -> Vec<&Plugged> {
    let mut ranked: Vec<&Plugged> = plugged.iter().collect();
    ranked.sort_by_key(|plugged| -plugged.gateway_priority); // stable
    ranked
}

/// A container on its way into its networks.
pub(super) struct Container<'a> {
    pub(super) home: &'a Home,
    pub(super) id: &'a str,
    pub(super) netns: BorrowedFd<'a>,
    pub(super) host: &'a mut Channel,
    pub(super) guest: &'a mut Channel,
}

impl Container<'_> {
    pub(super) fn plug_one(&mut self, place: usize, plug: &Plug) -> Result<Plugged> {
        let network = network(self.home, &plug.network)?;
        let addresses = lease::take(self.home, &network, self.id, plug)?;
        let bridge = bridge(self.home, self.host, &network)?;
        let options = options::read(&network.options)?;
        let mut plugged = plugged(&network, &addresses)?;
        if let (Some(address), None) = (plug.link_local.iter().find(|address| address.is_ipv6()), plugged.ipv6) {
            return Err(Failure::new(format!("cannot have address {address}: network `{}` has no IPv6", network.name)));
        }
        plugged.gateway_priority = plug.gateway_priority;
        plugged.interface = plug.interface.clone().unwrap_or_else(|| format!("{}{place}", options.interface));
        plugged.mac = plug.mac.unwrap_or(plugged.mac);
        self.make_pair(place, bridge, &plugged).doing(|| "cannot make the veth pair")?;
        if !options.icc {
            link::isolate(self.host, &host_end(self.id, place)).doing(|| "cannot keep the container from others")?;
        }
        self.set_up(&plugged, plug).doing(|| format!("cannot set up `{}` in the container", plugged.interface))?;
        for (name, value) in &plug.sysctls {
            let set = namespace::inside(self.netns, || host::set_of_link(&plugged.interface, name, value));
            set.doing(|| format!("cannot set `{name}` to `{value}` in the container"))?;
        }
        Ok(plugged)
    }

    fn make_pair(&mut self, place: usize, bridge: Link, plugged: &Plugged) -> io::Result<()> {
        let host_end = &host_end(self.id, place);
        let pair = Pair { host_end, bridge, netns: self.netns, container_end: &plugged.interface, mac: plugged.mac };
        match link::create_pair(self.host, &pair) {
            // Left over from a start that nobody undid, or about to go with the namespace of the run before.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                link::delete(self.host, host_end)?;
                link::create_pair(self.host, &pair)?;
            }
            made => made?,
        }
        host::turn_ipv6_off(host_end)?;
        if host::bridges_call_firewall() {
            link::allow_hairpin(self.host, host_end)?;
        }
        Ok(())
    }

    fn set_up(&mut self, plugged: &Plugged, plug: &Plug) -> io::Result<()> {
        namespace::inside(self.netns, || match plugged.ipv6 {
            None => host::turn_ipv6_off(&plugged.interface),
            Some(_) => host::prepare_ipv6(&plugged.interface),
        })?;
        let link = link::find(self.guest, &plugged.interface)?.ok_or(io::ErrorKind::NotFound)?;
        if let Some(assigned) = plugged.ipv4 {
            link::add_address(self.guest, link, assigned.address.into(), assigned.prefix)?;
        }
        if let Some(assigned) = plugged.ipv6 {
            link::add_address(self.guest, link, assigned.address.into(), assigned.prefix)?;
        }
        for address in &plug.link_local {
            let prefix = if address.is_ipv4() { 16 } else { 64 };
            link::add_address(self.guest, link, *address, prefix)?;
        }
        link::set_up(self.guest, link)
    }
}

/// What a container gets of a network with these addresses.
fn plugged(network: &Network, addresses: &[IpAddr]) -> Result<Plugged> {
    let ipv4 = addresses.iter().find_map(|address| if let IpAddr::V4(address) = address { Some(*address) } else { None });
    let ipv6 = addresses.iter().find_map(|address| if let IpAddr::V6(address) = address { Some(*address) } else { None });
    let first = addresses.first().ok_or_else(|| Failure::new(format!("the record of network `{}` has no addresses", network.name)))?;
    Ok(Plugged {
        network: network.name.clone(),
        interface: String::new(),
        gateway_priority: 0,
        ipv4: ipv4.zip(network.ipv4.as_ref()).map(|(address, of)| assigned(network, of, address)),
        ipv6: ipv6.zip(network.ipv6.as_ref()).map(|(address, of)| assigned(network, of, address)),
        mac: hardware_address(*first),
    })
}

fn assigned<A: Copy>(network: &Network, of: &Addresses<A>, address: A) -> Assigned<A> {
    Assigned { address, prefix: of.prefix, gateway: (!network.internal).then_some(of.gateway) }
}

/// The host's end of a container's veth pair: found by the id alone, 15 bytes as the kernel allows.
pub(super) fn host_end(container_id: &str, place: usize) -> String {
    let start: String = container_id.chars().take(9).collect();
    format!("veth{start}{place:02x}")
}

/// Whether a link has a name as [`host_end`] gives them.
pub(super) fn is_host_end(name: &str) -> bool {
    name.len() == 15 && name.strip_prefix("veth").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

pub(super) fn network(home: &Home, name: &str) -> Result<Network> {
    if name == DEFAULT_NETWORK {
        return record::default(home);
    }
    record::by_name(home, name)?.ok_or_else(|| Failure::new("there is no such network").hint("see `coracle network ls`"))
}

/// The network's bridge, made if it is not there. Being up is its last step: a bridge that is up is whole.
fn bridge(home: &Home, host: &mut Channel, network: &Network) -> Result<Link> {
    let doing = || format!("cannot make bridge {}", network.bridge);
    match link::find(host, &network.bridge).doing(doing)? {
        Some(link) if link.is_up => return Ok(link),
        // Its maker died half-way.
        Some(_) => drop(link::delete(host, &network.bridge).doing(doing)?),
        None => {}
    }
    idle::forget_left(home)?; // their subnets may be ours by now; and the last one turns forwarding off
    let neighbours = neighbours::lock(home)?; // until it stands, and counts
    neighbours.note(network)?;
    host::turn_forwarding_on(home, network)?;
    firewall::admit(home, network)?;
    make_bridge(host, network).doing(doing)
}

fn make_bridge(host: &mut Channel, network: &Network) -> io::Result<Link> {
    let options = options::read(&network.options).ok();
    let wanted = options.as_ref().and_then(|options| options.mtu);
    let mtu = wanted.map_or_else(|| link::uplink_mtu(host), Ok)?;
    let is_isolated = |family| options.as_ref().is_some_and(|options| options.mode(family) == Mode::Isolated);
    let ipv4 = network.ipv4.as_ref().map(|addresses| (IpAddr::from(addresses.gateway), addresses.prefix));
    let ipv6 = network.ipv6.as_ref().map(|addresses| (IpAddr::from(addresses.gateway), addresses.prefix));
    let (gateway, _) = ipv4.or(ipv6).ok_or(io::ErrorKind::InvalidData)?;
    link::create_bridge(host, &network.bridge, hardware_address(gateway), mtu)?;
    let link = link::find(host, &network.bridge)?.ok_or(io::ErrorKind::NotFound)?;
    host::prepare_bridge(network)?;
    if is_isolated(Family::V6) {
        host::turn_ipv6_off(&network.bridge)?; // else it gets an address of its link alone
    }
    for (address, prefix) in ipv4.into_iter().chain(ipv6).filter(|(address, _)| !is_isolated(Family::of(*address))) {
        link::add_address(host, link, address, prefix)?;
    }
    link::set_up(host, link)?;
    Ok(link)
}

/// Takes back all that [`plug`] did for this container alone. Goes on after an error; doing it twice is no error.
///
/// A bridge that nobody uses any more, and what the host does for it, stays for a [`super::Caretaker`].
///
/// # Errors
/// All that went wrong.
pub fn unplug(home: &Home, container_id: &str) -> Result<()> {
    let _lock = record::lock(home)?;
    unplug_locked(home, container_id)
}

fn unplug_locked(home: &Home, container_id: &str) -> Result<()> {
    let mut faults = Vec::new();
    let mut note = |done: Result<()>| faults.extend(done.err());
    note(port::unpublish_locked(home, container_id));
    match Channel::route().doing(|| "cannot reach the kernel's links") {
        Err(failure) => note(Err(failure)),
        Ok(mut host) => note(delete_pairs(home, &mut host, container_id)),
    }
    for network in record::list(home)? {
        note(leave(home, &network, container_id));
    }
    match faults.len() {
        0 => Ok(()),
        1 => Err(faults.swap_remove(0)),
        _ => Err(Failure::several("cannot unplug the container", faults)),
    }
}

/// Removes a container's veth pairs, unless nobody is in its namespace any more: then the kernel removes them with it,
/// and to ask for it would be to wait for a grace period of RCU, twenty milliseconds and more.
fn delete_pairs(home: &Home, host: &mut Channel, container_id: &str) -> Result<()> {
    let record = namespace_record(home, container_id);
    if state::find_json::<u64>(&record)?.is_some_and(|number| !namespace::is_inhabited(number)) {
        return remove_file(&record);
    }
    let mut names = Vec::new();
    let mut missing = 0;
    for place in 0.. {
        let name = host_end(container_id, place);
        match link::find(host, &name).doing(|| format!("cannot look for link {name}"))? {
            Some(_) => names.push(name),
            None if missing == MOST_MISSING => break,
            None => missing += 1,
        }
    }
    link::delete_all(host, &names).map_err(|error| Failure::new(format!("cannot remove links {}", names.join(", "))).because(error))?;
    remove_file(&record)
}

/// Holds the number of the container's network namespace.
pub(super) fn namespace_record(home: &Home, container_id: &str) -> PathBuf {
    home.run().join("plugged").join(format!("{container_id}.json"))
}

pub(super) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.doing(|| format!("cannot remove {}", path.display())),
    }
}

/// Takes back a container's leases of a network; if nobody else has one, the network is idle from then on.
pub(super) fn leave(home: &Home, network: &Network, container_id: &str) -> Result<()> {
    let leases = lease::list(home, network)?;
    let (own, others): (Vec<_>, Vec<_>) = leases.iter().partition(|lease| lease.holder == container_id);
    if own.is_empty() {
        return Ok(());
    }
    if others.iter().all(|lease| lease::is_stale(home, lease)) {
        idle::note(home)?; // first: who comes after us if we are killed now knows that there is something to look after
    }
    own.iter().try_for_each(|lease| lease::release(home, network, lease.address))
}
