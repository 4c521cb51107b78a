//! Subnets, and the choice of one that nobody uses. Pure.

use std::fmt;
use std::fmt::Display;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use sha2::Digest;
use sha2::Sha256;

use super::Addresses;
use super::Network;

/// A range of addresses of one family that share a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subnet {
    base: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// The subnet that an address lies in; None if the prefix is longer than an address.
    pub(super) fn of(address: impl Into<IpAddr>, prefix: u8) -> Option<Subnet> {
        let address = address.into();
        (prefix <= width(address)).then(|| Subnet { base: with_bits(address, bits(address) & mask(address, prefix)), prefix })
    }

    /// Reads `172.20.0.0/16` or `fd00:20::/64`.
    pub(super) fn parse(text: &str) -> Option<Subnet> {
        let (address, prefix) = text.split_once('/')?;
        Subnet::of(address.parse::<IpAddr>().ok()?, prefix.parse().ok()?)
    }

    pub(super) fn base(self) -> IpAddr {
        self.base
    }

    pub(super) fn prefix(self) -> u8 {
        self.prefix
    }

    /// The address behind the last one, as an interval of nftables ends; None behind the last one of all.
    pub(super) fn end(self) -> Option<IpAddr> {
        let last = self.last();
        (last != mask(self.base, width(self.base))).then(|| with_bits(self.base, last + 1))
    }

    pub(super) fn contains(self, address: impl Into<IpAddr>) -> bool {
        Subnet::of(address, self.prefix) == Some(self)
    }

    /// Whether all of another one's addresses are in this one.
    pub(super) fn covers(self, other: Subnet) -> bool {
        self.prefix <= other.prefix && self.contains(other.base)
    }

    /// Whether a machine may have this address: it is in the subnet and not the network's own, nor its broadcast address.
    pub(super) fn hosts_contain(self, address: impl Into<IpAddr>) -> bool {
        let address = address.into();
        self.contains(address) && (self.first_host()..=self.last_host()).contains(&bits(address))
    }

    /// Whether an address of one is an address of the other.
    pub(super) fn overlaps(self, other: Subnet) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// All addresses, the first and the last included.
    pub(super) fn addresses(self) -> impl Iterator<Item = IpAddr> {
        (bits(self.base)..=self.last()).map(move |bits| with_bits(self.base, bits))
    }

    /// The addresses that a machine may have.
    pub(super) fn hosts(self) -> impl Iterator<Item = IpAddr> {
        (self.first_host()..=self.last_host()).map(move |bits| with_bits(self.base, bits))
    }

    fn last(self) -> u128 {
        bits(self.base) | (mask(self.base, width(self.base)) & !mask(self.base, self.prefix))
    }

    /// The first address is the network's own; that of all routers (RFC 4291, 2.6.1) in IPv6.
    fn first_host(self) -> u128 {
        bits(self.base).saturating_add(1)
    }

    /// IPv6 knows no broadcast.
    fn last_host(self) -> u128 {
        if self.base.is_ipv4() { self.last().saturating_sub(1) } else { self.last() }
    }
}

impl Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// An address of the family of another.
fn with_bits(like: IpAddr, bits: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::from_bits(bits as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(bits).into(),
    }
}

fn mask(like: IpAddr, prefix: u8) -> u128 {
    let all = u128::MAX >> (128 - u32::from(width(like)));
    all & !all.checked_shr(prefix.into()).unwrap_or(0)
}

impl<A: Copy + Into<IpAddr>> Addresses<A> {
    /// The subnet; None if the record has no valid prefix.
    pub(super) fn all(&self) -> Option<Subnet> {
        Subnet::of(self.subnet, self.prefix)
    }
}

impl Network {
    /// The subnets it has, of either family.
    pub(super) fn subnets(&self) -> impl Iterator<Item = Subnet> {
        let ipv4 = self.ipv4.as_ref().and_then(Addresses::all);
        ipv4.into_iter().chain(self.ipv6.as_ref().and_then(Addresses::all))
    }
}

/// Docker's pools, in its order: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/20 to 192.168.240.0/20.
fn pool() -> impl Iterator<Item = Subnet> {
    let subnet = |address: [u8; 4], prefix| Subnet { base: address.into(), prefix };
    let large = (17..=31).map(move |second| subnet([172, second, 0, 0], 16));
    let small = (0..=240).step_by(16).map(move |third| subnet([192, 168, third, 0], 20));
    large.chain(small)
}

/// The /64s of a prefix that is this machine's own (RFC 4193, 3.2.2): the same ones each time, and hardly another machine's.
///
/// `machine` is something that no other machine has; it cannot be told from the prefix.
fn local_pool(machine: &[u8]) -> impl Iterator<Item = Subnet> {
    let digest = Sha256::new().chain_update(b"coracle ").chain_update(machine).finalize();
    let global = digest.iter().take(5).fold(0xfd, |global: u128, byte| global << 8 | u128::from(*byte));
    (0..=u16::MAX).map(move |number| {
        let base = Ipv6Addr::from_bits(global << 80 | u128::from(number) << 64);
        Subnet { base: base.into(), prefix: 64 }
    })
}

/// The first IPv4 subnet of the pools that touches none of those taken.
pub(super) fn first_free(taken: &[Subnet]) -> Option<Subnet> {
    pool().find(|subnet| !taken.iter().any(|other| other.overlaps(*subnet)))
}

/// The first IPv6 subnet of this machine's own prefix that touches none of those taken.
pub(super) fn first_free_local(machine: &[u8], taken: &[Subnet]) -> Option<Subnet> {
    local_pool(machine).find(|subnet| !taken.iter().any(|other| other.overlaps(*subnet)))
}

/// The hardware address that goes with an address: the same address gives the same one, so that the neighbours' caches
/// are right when an address is used again. For IPv4 it is Docker's.
pub(super) fn hardware_address(address: IpAddr) -> [u8; 6] {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [0x02, 0x42, a, b, c, d]
        }
        IpAddr::V6(address) => {
            let digest = Sha256::digest(address.octets());
            [0x02, digest[0], digest[1], digest[2], digest[3], digest[4]]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        Subnet::parse(text).unwrap()
    }

    #[test]
    fn the_first_subnet_is_dockers_and_the_next_follows() {
        assert_eq!(first_free(&[]).unwrap(), subnet("172.17.0.0/16"));
        assert_eq!(first_free(&[subnet("172.17.0.0/16")]).unwrap(), subnet("172.18.0.0/16"));
    }

    #[test]
    fn a_subnet_that_a_route_covers_or_touches_is_passed_over() {
        let all_of_172 = subnet("172.16.0.0/12");
        let one_host = subnet("192.168.5.7/32");
        assert_eq!(first_free(&[all_of_172]).unwrap(), subnet("192.168.0.0/20"));
        assert_eq!(first_free(&[all_of_172, one_host]).unwrap(), subnet("192.168.16.0/20"));
    }

    #[test]
    fn the_pools_can_be_used_up() {
        let taken: Vec<Subnet> = pool().collect();
        assert_eq!(taken.len(), 31);
        assert_eq!(first_free(&taken), None);
    }

    #[test]
    fn a_subnet_keeps_only_its_prefix_and_knows_its_hosts() {
        assert_eq!(subnet("10.1.2.3/24").to_string(), "10.1.2.0/24");
        assert_eq!(subnet("10.1.2.0/30").hosts().collect::<Vec<_>>(), [Ipv4Addr::new(10, 1, 2, 1), Ipv4Addr::new(10, 1, 2, 2)]);
        assert_eq!(subnet("10.1.2.3/32").hosts().count(), 0);
        assert_eq!(subnet("10.1.2.0/30").addresses().count(), 4);
        assert_eq!(subnet("10.1.2.0/24").end(), Some(Ipv4Addr::new(10, 1, 3, 0).into()));
        assert_eq!(subnet("0.0.0.0/0").end(), None);
        assert!(subnet("0.0.0.0/0").contains(Ipv4Addr::new(9, 9, 9, 9)));
        assert!(!subnet("10.1.2.0/24").hosts_contain(Ipv4Addr::new(10, 1, 2, 255)));
    }

    #[test]
    fn a_subnet_of_ipv6_is_one_too() {
        assert_eq!(subnet("fd00::7:1/112").to_string(), "fd00::7:0/112");
        let hosts: Vec<String> = subnet("fd00::/126").hosts().map(|host| host.to_string()).collect();
        assert_eq!(hosts, ["fd00::1", "fd00::2", "fd00::3"], "the first is all routers', and there is no broadcast");
        assert_eq!(subnet("fd00::/64").end().unwrap().to_string(), "fd00:0:0:1::");
        assert_eq!(subnet("::/0").end(), None);
        assert_eq!(subnet("ffff::/16").end(), None);
        assert!(subnet("::/0").contains(Ipv6Addr::LOCALHOST) && !subnet("::/0").contains(Ipv4Addr::LOCALHOST));
        assert!(subnet("fd00::/8").overlaps(subnet("fd12::/64")) && !subnet("::/0").overlaps(subnet("0.0.0.0/0")));
        assert!(subnet("fd00::/48").covers(subnet("fd00::/64")) && !subnet("fd00::/64").covers(subnet("fd00::/48")));
    }

    #[test]
    fn the_subnets_of_a_machine_are_its_own_and_follow_each_other() {
        let first = first_free_local(b"one", &[]).unwrap();
        assert!(subnet("fd00::/8").covers(first) && first.prefix() == 64);
        assert_eq!(first_free_local(b"one", &[]), Some(first), "always the same");
        assert_ne!(first_free_local(b"two", &[]), Some(first));
        let second = first_free_local(b"one", &[first]).unwrap();
        assert_eq!(Some(second.base()), first.end());
        assert_eq!(first_free_local(b"one", &[subnet("fc00::/7")]), None);
    }

    #[test]
    fn what_is_not_a_subnet_is_refused() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "/8", "10.0.0.0/-1"] {
            assert_eq!(Subnet::parse(text), None, "{text}");
        }
    }
}
