//! Links, addresses and routes: what Coracle asks of rtnetlink, one request each.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::Duration;

use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_core::NLM_F_EXCL;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::address::AddressHeaderFlags;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::InfoBridgePort;
use netlink_packet_route::link::InfoData;
use netlink_packet_route::link::InfoPortData;
use netlink_packet_route::link::InfoPortKind;
use netlink_packet_route::link::InfoVeth;
use netlink_packet_route::link::LinkAttribute;
use netlink_packet_route::link::LinkExtentMask;
use netlink_packet_route::link::LinkFlags;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::route::RouteAddress;
use netlink_packet_route::route::RouteAttribute;
use netlink_packet_route::route::RouteMessage;
use rtnetlink::AddressMessageBuilder;
use rtnetlink::LinkBridge;
use rtnetlink::LinkMessageBuilder;
use rtnetlink::LinkUnspec;
use rtnetlink::LinkVeth;
use rtnetlink::RouteMessageBuilder;
use rustix::process::WaitOptions;

use super::netlink::Channel;
use super::subnet::Subnet;

/// A link that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) mtu: u32,
    pub(super) is_up: bool,
}

/// A veth pair to be made: one end on a bridge here, the other in a container.
#[derive(Debug)]
pub(super) struct Pair<'a> {
    pub(super) host_end: &'a str,
    pub(super) bridge: Link,
    pub(super) netns: BorrowedFd<'a>,
    pub(super) container_end: &'a str,
    pub(super) mac: [u8; 6],
}

/// A veth uses one queue unless it is told otherwise, but has room for one for each CPU: then the kernel gives up the others, for each
/// end after a grace period of RCU (veth_init_queues, drivers/net/veth.c).
const ONE_QUEUE: LinkAttribute = LinkAttribute::NumTxQueues(1);

/// The MTU where no route leads out.
const USUAL_MTU: u32 = 1500;

/// Finds a link by name.
pub(super) fn find(channel: &mut Channel, name: &str) -> io::Result<Option<Link>> {
    let mut message = LinkUnspec::new_with_name(name).build();
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    match channel.ask(RouteNetlinkMessage::GetLink(message)) {
        Ok(RouteNetlinkMessage::NewLink(link)) => Ok(Some(read(&link))),
        Ok(_) => Err(io::Error::from(io::ErrorKind::InvalidData)),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(link: &LinkMessage) -> Link {
    let mtu = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    });
    Link { index: link.header.index, mtu: mtu.unwrap_or(USUAL_MTU), is_up: link.header.flags.contains(LinkFlags::Up) }
}

/// Makes a bridge that is not up yet. Its hardware address is given, or it would change with its ports.
pub(super) fn create_bridge(channel: &mut Channel, name: &str, mac: [u8; 6], mtu: u32) -> io::Result<()> {
    let message = LinkBridge::new(name).address(mac.to_vec()).mtu(mtu).down().build();
    channel.change(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Makes a veth pair with both ends where they belong, so that neither is ever seen elsewhere.
///
/// The host's end is up and on the bridge; the container's end is down, for a veth cannot be up before its peer
/// is registered (veth_open, drivers/net/veth.c).
pub(super) fn create_pair(channel: &mut Channel, pair: &Pair<'_>) -> io::Result<()> {
    let peer = LinkUnspec::new_with_name(pair.container_end)
        .address(pair.mac.to_vec())
        .mtu(pair.bridge.mtu)
        .setns_by_fd(pair.netns.as_raw_fd())
        .append_extra_attribute(ONE_QUEUE)
        .build();
    let message = LinkVeth::new(pair.host_end, pair.container_end)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .controller(pair.bridge.index)
        .mtu(pair.bridge.mtu)
        .append_extra_attribute(ONE_QUEUE)
        .up()
        .build();
    channel.change(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Lets a bridge send frames back out of the port they came from: a container reaches its own published port.
///
/// Needed only where br_netfilter translates addresses already on the bridge.
pub(super) fn allow_hairpin(channel: &mut Channel, name: &str) -> io::Result<()> {
    set_port(channel, name, InfoBridgePort::HairpinMode(true))
}

/// Keeps a port of a bridge from all others that are kept so; the bridge itself they reach.
pub(super) fn isolate(channel: &mut Channel, name: &str) -> io::Result<()> {
    set_port(channel, name, InfoBridgePort::Isolated(true))
}

fn set_port(channel: &mut Channel, name: &str, setting: InfoBridgePort) -> io::Result<()> {
    let message = LinkMessageBuilder::<LinkUnspec>::new()
        .name(name)
        .set_port_kind(InfoPortKind::Bridge)
        .set_port_data(InfoPortData::BridgePort(vec![setting]))
        .build();
    channel.change(RouteNetlinkMessage::NewLink(message), 0)
}

/// Brings a link up.
pub(super) fn set_up(channel: &mut Channel, link: Link) -> io::Result<()> {
    let message = LinkUnspec::new_with_index(link.index).up().build();
    channel.change(RouteNetlinkMessage::SetLink(message), 0)
}

/// Gives a link an address, and with it the route to its subnet.
///
/// One of IPv6 is not asked for on the link first (RFC 4862, 5.4), which takes a second: leases keep it ours.
pub(super) fn add_address(channel: &mut Channel, link: Link, address: IpAddr, prefix: u8) -> io::Result<()> {
    let message = match address {
        IpAddr::V4(address) => AddressMessageBuilder::<Ipv4Addr>::new().index(link.index).address(address, prefix).build(),
        IpAddr::V6(address) => {
            let mut message = AddressMessageBuilder::<Ipv6Addr>::new().index(link.index).address(address, prefix).build();
            message.header.flags |= AddressHeaderFlags::Nodad;
            message
        }
    };
    channel.change(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// What is there gives way: NLM_F_REPLACE of linux/netlink.h.
const REPLACE: u16 = 0x100;

/// Makes a gateway the way to everywhere else of its family, where there is none yet.
pub(super) fn add_default_route(channel: &mut Channel, gateway: IpAddr) -> io::Result<()> {
    set_default_route(channel, gateway, NLM_F_EXCL)
}

/// Makes a gateway the way to everywhere else of its family, in the place of another.
pub(super) fn replace_default_route(channel: &mut Channel, gateway: IpAddr) -> io::Result<()> {
    set_default_route(channel, gateway, REPLACE)
}

fn set_default_route(channel: &mut Channel, gateway: IpAddr, if_there: u16) -> io::Result<()> {
    let message = match gateway {
        IpAddr::V4(gateway) => RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).build(),
        IpAddr::V6(gateway) => RouteMessageBuilder::<Ipv6Addr>::new().gateway(gateway).build(),
    };
    channel.change(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | if_there)
}

/// Removes a link; says whether it was there.
pub(super) fn delete(channel: &mut Channel, name: &str) -> io::Result<bool> {
    let message = LinkUnspec::new_with_name(name).build();
    match channel.change(RouteNetlinkMessage::DelLink(message), 0) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes links, which may be gone already, and waits once for all of them until the kernel is done.
pub(super) fn delete_all(channel: &mut Channel, names: &[String]) -> io::Result<()> {
    match removal(channel, names)? {
        Some(message) => ignore_missing(channel.change(RouteNetlinkMessage::DelLink(message), 0)),
        None => Ok(()),
    }
}

/// Removes links, which may be gone already, and comes back as soon as nobody finds them any more.
///
/// That is the first thing the kernel does. Then it waits for two grace periods of RCU; a process of its own does that for us.
pub(super) fn make_vanish(channel: &mut Channel, names: &[String]) -> io::Result<()> {
    let Some(message) = removal(channel, names)? else { return Ok(()) };
    let remover = Channel::route()?.change_aside(RouteNetlinkMessage::DelLink(message), 0)?;
    let mut pause = Duration::from_micros(100);
    while is_any_listed(names)? {
        if has_ended(remover) {
            return delete_all(channel, names); // it was killed, or refused: then we hear why
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(())
}

/// Between two looks at whether links are gone.
const LONGEST_PAUSE: Duration = Duration::from_millis(1);

/// From the kernel's list of links, which can be read while it removes some; rtnetlink would have us wait.
fn is_any_listed(names: &[String]) -> io::Result<bool> {
    let listed = fs::read_to_string("/proc/thread-self/net/dev")?;
    let mut listed = listed.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim());
    Ok(listed.any(|name| names.iter().any(|wanted| wanted == name)))
}

fn has_ended(child: i32) -> bool {
    !matches!(rustix::process::waitpid(rustix::process::Pid::from_raw(child), WaitOptions::NOHANG), Ok(None))
}

/// The request that removes links in one go, so that there is one wait for all of them; None if there are none.
///
/// rtnetlink removes a group of links in one (`rtnl_group_dellink`), so several get a number that nobody else has.
fn removal(channel: &mut Channel, names: &[String]) -> io::Result<Option<LinkMessage>> {
    match names {
        [] => return Ok(None),
        [name] => return Ok(Some(LinkUnspec::new_with_name(name).build())),
        _ => {}
    }
    let group = unused_group()?;
    for name in names {
        let mut message = LinkUnspec::new_with_name(name).build();
        message.attributes.push(LinkAttribute::Group(group));
        ignore_missing(channel.change(RouteNetlinkMessage::SetLink(message), 0))?;
    }
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::Group(group));
    Ok(Some(message))
}

/// 0 is everybody's; people number theirs by hand.
fn unused_group() -> io::Result<u32> {
    let mut bytes = [0; 4];
    crate::state::fill_randomly(&mut bytes)?;
    Ok(u32::from_ne_bytes(bytes) | 1 << 31)
}

fn ignore_missing(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|error| if error.raw_os_error() == Some(libc::ENODEV) { Ok(()) } else { Err(error) })
}

/// The names of a bridge's ports.
pub(super) fn ports_of(channel: &mut Channel, bridge: Link) -> io::Result<Vec<String>> {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::Controller(bridge.index), LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
    let links = channel.dump(RouteNetlinkMessage::GetLink(message))?;
    Ok(links.iter().filter_map(|link| name_of_port(link, bridge)).collect())
}

/// A kernel that does not know the filter shows all links.
fn name_of_port(message: &RouteNetlinkMessage, bridge: Link) -> Option<String> {
    let RouteNetlinkMessage::NewLink(link) = message else { return None };
    let is_port = link.attributes.contains(&LinkAttribute::Controller(bridge.index));
    let name = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    });
    name.filter(|_| is_port)
}

/// The MTU of the link that the default route leaves by.
pub(super) fn uplink_mtu(channel: &mut Channel) -> io::Result<u32> {
    // A public address, only looked up; nothing is sent. Cheaper than all routes where a router knows a million.
    let far = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(Ipv4Addr::new(1, 1, 1, 1), 32).build();
    let route = match channel.ask(RouteNetlinkMessage::GetRoute(far)) {
        Ok(RouteNetlinkMessage::NewRoute(route)) => route,
        Ok(_) => return Ok(USUAL_MTU),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL)) => {
            return Ok(USUAL_MTU);
        }
        Err(error) => return Err(error),
    };
    let Some(index) = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    }) else {
        return Ok(USUAL_MTU);
    };
    match channel.ask(RouteNetlinkMessage::GetLink(LinkUnspec::new_with_index(index).build()))? {
        // Loopback's 65536 is nobody's uplink.
        RouteNetlinkMessage::NewLink(link) => Ok(Some(read(&link).mtu).filter(|mtu| *mtu < 65536).unwrap_or(USUAL_MTU)),
        _ => Ok(USUAL_MTU),
    }
}

/// All subnets of a family that a route or an address of this namespace covers; the default route covers nothing.
pub(super) fn covered(channel: &mut Channel, family: AddressFamily) -> io::Result<Vec<Subnet>> {
    let mut routes = RouteMessage::default();
    routes.header.address_family = family;
    let mut addresses = AddressMessage::default();
    addresses.header.family = family;
    let mut found = channel.dump(RouteNetlinkMessage::GetRoute(routes))?;
    found.extend(channel.dump(RouteNetlinkMessage::GetAddress(addresses))?);
    Ok(found.iter().filter_map(covered_by).collect())
}

fn covered_by(message: &RouteNetlinkMessage) -> Option<Subnet> {
    match message {
        RouteNetlinkMessage::NewRoute(route) if route.header.destination_prefix_length > 0 => {
            route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(base)) => Subnet::of(*base, route.header.destination_prefix_length),
                RouteAttribute::Destination(RouteAddress::Inet6(base)) => Subnet::of(*base, route.header.destination_prefix_length),
                _ => None,
            })
        }
        RouteNetlinkMessage::NewAddress(address) => address.attributes.iter().find_map(|attribute| match attribute {
            // Where there is no peer, IPv6 has IFA_ADDRESS alone; with one, that is the peer's.
            AddressAttribute::Local(local) | AddressAttribute::Address(local @ IpAddr::V6(_)) => {
                Subnet::of(*local, address.header.prefix_len)
            }
            _ => None,
        }),
        _ => None,
    }
}
