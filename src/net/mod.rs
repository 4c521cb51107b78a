//! Networks: bridges, veth pairs, address leases, published ports and names, all by netlink from this process.
//!
//! ```text
//! record, lease, port       what is on disk: networks, addresses, published ports; all change under one lock
//! plug, replug              a container's way into its networks and out again; a running one's
//! idle                      bridges that nobody needs any more, and who removes them
//! link, netlink, namespace  requests to rtnetlink, the socket they go through, a visit to another namespace
//! rule, firewall            the rules as data, keeping the kernel in step with the disk
//! nftables, expression      how rules, sets and elements are written
//! foreign                   other firewalls on the same host
//! conntrack                 flows that must not outlive a change of rules
//! relay, connection         published ports that the firewall cannot lead to a container
//! zone, names, ask, frame   the name server: what is known, the sockets, what is asked elsewhere
//! redirect                  port 53 of its address, led to the ports it has
//! subnet, choice            free subnets, and what a new network gets
//! holder, resolvers           who has a port, resolv.conf
//! host, neighbours            forwarding, and who else needs it
//! ```
//!
//! A name server needs no thread: a supervisor makes one [`NameServer`], gives it each container's sockets and
//! [`Zone`], and calls [`NameServer::work`] whenever its one descriptor is readable.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::os::fd::OwnedFd;

use serde::Deserialize;
use serde::Serialize;

mod ask;
mod choice;
mod connection;
mod conntrack;
mod expression;
mod firewall;
mod foreign;
mod frame;
mod holder;
mod host;
mod idle;
mod lease;
mod link;
mod names;
mod namespace;
mod neighbours;
mod netlink;
mod nftables;
mod options;
mod plug;
mod port;
mod record;
mod redirect;
mod relay;
mod replug;
mod resolvers;
mod rule;
mod subnet;
#[cfg(test)]
mod tests;
mod zone;

pub use idle::Caretaker;
pub use idle::MOMENT;
pub use idle::is_any_idle;
pub use idle::settles_in;
pub use idle::sweep;
pub use names::NameServer;
pub use names::open_name_sockets;
pub use options::unknown_options;
pub use plug::plug;
pub use plug::unplug;
pub use port::publish;
pub use port::publisher;
pub use port::reserve;
pub use port::reserve_for;
pub use port::unpublish;
pub use record::create;
pub use record::find;
pub use record::list;
pub use record::remove;
pub use relay::Relayed;
pub use relay::hush;
pub use relay::relay;
pub use relay::relayed;
pub use replug::plug_in;
pub use replug::plug_out;
pub use resolvers::host_resolvers;
pub use zone::answer;

/// A network as its record says. Its links exist only while a container is plugged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    pub version: u32,
    /// 64 hexadecimal digits.
    pub id: String,
    pub name: String,
    /// Only `bridge`.
    pub driver: String,
    /// The bridge's link, at most 15 bytes.
    pub bridge: String,
    // Beside the others, where records have it that are older than IPv6.
    #[serde(flatten)]
    pub ipv4: Option<Addresses<Ipv4Addr>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Addresses<Ipv6Addr>>,
    /// No way out and none in.
    pub internal: bool,
    /// Of the driver, by Docker's names.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// RFC 3339.
    pub created: String,
}

/// What a network has of one family of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "A: Deserialize<'de>"))]
pub struct Addresses<A> {
    pub subnet: A,
    pub prefix: u8,
    /// The bridge's own.
    pub gateway: A,
    /// The part of the subnet that is leased to who names no address, as address and prefix; all of it if None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<(A, u8)>,
    /// What is leased to nobody, by what it is kept for.
    #[serde(default = "BTreeMap::new", skip_serializing_if = "BTreeMap::is_empty")]
    pub reserved: BTreeMap<String, A>,
}

/// A network that someone wants; IPv4 from the pools by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub name: String,
    pub ipv4: Option<WantedAddresses>,
    pub ipv6: Option<WantedAddresses>,
    pub internal: bool,
    /// Of the driver, by Docker's names; see [`unknown_options`].
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

/// What is wanted of one family of addresses, as people write it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WantedAddresses {
    /// `172.20.0.0/16`; from the pools if not given.
    pub subnet: Option<String>,
    pub gateway: Option<String>,
    /// `172.20.5.0/24`: where leases are taken from.
    pub range: Option<String>,
    /// What is leased to nobody, by what it is kept for.
    pub reserved: BTreeMap<String, String>,
}

impl WantedAddresses {
    /// Whether these are addresses of IPv6.
    pub fn is_ipv6(&self) -> bool {
        let texts = [&self.subnet, &self.gateway, &self.range];
        texts.into_iter().flatten().chain(self.reserved.values()).next().is_some_and(|text| text.contains(':'))
    }
}

impl Default for Wanted {
    fn default() -> Wanted {
        let ipv4 = Some(WantedAddresses::default());
        Wanted { name: String::new(), ipv4, ipv6: None, internal: false, options: BTreeMap::new(), labels: BTreeMap::new() }
    }
}

/// The network that a lone container is on; made when first needed.
pub const DEFAULT_NETWORK: &str = "bridge";

/// How a container is plugged into one network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plug {
    /// The network's name.
    pub network: String,
    /// The names it answers to there, besides its container name and short id.
    pub aliases: Vec<String>,
    /// A fixed address.
    pub address: Option<Ipv4Addr>,
    /// A fixed address of IPv6.
    #[serde(default)]
    pub ipv6_address: Option<Ipv6Addr>,
    /// More addresses, of 169.254.0.0/16 or fe80::/64.
    #[serde(default)]
    pub link_local: Vec<IpAddr>,
    /// Docker's for the address if None.
    #[serde(default)]
    pub mac: Option<[u8; 6]>,
    /// The name of the link in the container.
    #[serde(default)]
    pub interface: Option<String>,
    /// The network with the highest has the default route; of several the first.
    #[serde(default)]
    pub gateway_priority: i64,
    /// Kernel settings of the link, with `IFNAME` in the place of its name: `net.ipv4.conf.IFNAME.log_martians`.
    #[serde(default)]
    pub sysctls: Vec<(String, String)>,
    /// More names that this container alone knows others by: their name there, and the new one.
    #[serde(default)]
    pub links: Vec<(String, String)>,
}

impl Plug {
    /// A plug into a network without more wishes.
    pub fn into_network(network: &str) -> Plug {
        Plug { network: network.to_owned(), ..Plug::default() }
    }
}

/// Whether the kernel takes a text for the name of a link.
pub fn is_link_name(name: &str) -> bool {
    options::is_link_name(name)
}

impl Plugged {
    /// Its addresses, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let ipv4 = self.ipv4.map(|assigned| assigned.address.into());
        ipv4.into_iter().chain(self.ipv6.map(|assigned| assigned.address.into()))
    }
}

/// A plug that is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plugged {
    pub network: String,
    /// `eth0`, `eth1` …
    pub interface: String,
    // Beside the others, where states have it that are older than IPv6.
    #[serde(flatten)]
    pub ipv4: Option<Assigned<Ipv4Addr>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Assigned<Ipv6Addr>>,
    /// The highest has the default route; of several the first.
    #[serde(default)]
    pub gateway_priority: i64,
    pub mac: [u8; 6],
}

/// What a plug has of one family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned<A> {
    pub address: A,
    pub prefix: u8,
    /// None on an internal network.
    pub gateway: Option<A>,
}

/// A transport protocol whose ports can be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// As ports are written: `80/tcp`.
    pub fn word(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }

    /// The protocol of that name, in small letters or capitals.
    pub fn of_word(word: &str) -> Option<Protocol> {
        [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter().find(|protocol| protocol.word().eq_ignore_ascii_case(word))
    }
}

/// A published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// The host's address; 0.0.0.0 and :: mean all of a family. None, of a port that is not held yet, means all of both.
    pub host_address: Option<IpAddr>,
    /// 0: the kernel chooses; of a port that is held: there is none, as it is reached at the container's own address.
    pub host_port: u16,
    pub container_port: u16,
    pub protocol: Protocol,
}

/// Where published ports lead to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    // The name that it had before IPv6.
    #[serde(rename = "address")]
    pub ipv4: Option<Ipv4Addr>,
    #[serde(rename = "ipv6_address", default)]
    pub ipv6: Option<Ipv6Addr>,
}

/// Host ports, held by bound sockets until dropped.
#[derive(Debug)]
pub struct Reservation {
    /// As asked for, with addresses and chosen ports filled in: what was asked for on all of both families is two.
    pub ports: Vec<Port>,
    pub sockets: Vec<OwnedFd>,
}

/// What one container's name server knows: names in lower case to addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zone {
    pub addresses: BTreeMap<String, Vec<IpAddr>>,
    /// Addresses to the name that a PTR question gets.
    pub names: BTreeMap<IpAddr, String>,
}

/// What to do with a question.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Send this back.
    Reply(Vec<u8>),
    /// Not ours: ask the host's resolvers and send back what they say.
    Forward,
    /// Not a question at all.
    Drop,
}

/// The sockets that a container's name server listens on, inside its network namespace.
#[derive(Debug)]
pub struct NameSockets {
    pub udp: OwnedFd,
    pub tcp: OwnedFd,
}

/// Where a container finds its name server.
pub const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// The host's resolvers and search list, from /etc/resolv.conf (a stub's own upstreams where that only names a stub).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolvers {
    pub servers: Vec<IpAddr>,
    pub search: Vec<String>,
    pub options: Vec<String>,
}
