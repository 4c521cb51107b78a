//! Subnets, and the choice of one that nobody uses. Pure.

use std::fmt;
use std::fmt::Display;
use std::net::Ipv4Addr;

/// A range of IPv4 addresses that share a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subnet {
    base: u32,
    prefix: u8,
}

impl Subnet {
    /// The subnet that an address lies in; None if the prefix is longer than an address.
    pub(super) fn of(address: Ipv4Addr, prefix: u8) -> Option<Subnet> {
        (prefix <= 32).then(|| Subnet { base: address.to_bits() & mask(prefix), prefix })
    }

    /// Reads `172.20.0.0/16`.
    pub(super) fn parse(text: &str) -> Option<Subnet> {
        let (address, prefix) = text.split_once('/')?;
        Subnet::of(address.parse().ok()?, prefix.parse().ok()?)
    }

    pub(super) fn base(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base)
    }

    pub(super) fn prefix(self) -> u8 {
        self.prefix
    }

    /// The address behind the last one, as an interval of nftables ends; None behind 255.255.255.255.
    pub(super) fn end(self) -> Option<Ipv4Addr> {
        let size = 1u64 << (32 - self.prefix);
        u32::try_from(u64::from(self.base) + size).ok().map(Ipv4Addr::from_bits)
    }

    pub(super) fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.base
    }

    /// Whether a machine may have this address: it is in the subnet and neither the first nor the last.
    pub(super) fn hosts_contain(self, address: Ipv4Addr) -> bool {
        let bits = address.to_bits();
        self.contains(address) && bits != self.base && bits != self.base | !mask(self.prefix)
    }

    /// Whether an address of one is an address of the other.
    pub(super) fn overlaps(self, other: Subnet) -> bool {
        let shorter = self.prefix.min(other.prefix);
        self.base & mask(shorter) == other.base & mask(shorter)
    }

    /// The addresses that a machine may have: without the network's own and the broadcast address.
    pub(super) fn hosts(self) -> impl Iterator<Item = Ipv4Addr> {
        let last = self.base | !mask(self.prefix);
        (self.base.saturating_add(1)..last).map(Ipv4Addr::from_bits)
    }
}

impl Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base(), self.prefix)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// Docker's pools, in its order: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/20 to 192.168.240.0/20.
fn pool() -> impl Iterator<Item = Subnet> {
    let large = (17..=31).map(|second| Subnet { base: Ipv4Addr::new(172, second, 0, 0).to_bits(), prefix: 16 });
    let small = (0..=240).step_by(16).map(|third| Subnet { base: Ipv4Addr::new(192, 168, third, 0).to_bits(), prefix: 20 });
    large.chain(small)
}

/// The first subnet of the pools that touches none of those taken.
pub(super) fn first_free(taken: &[Subnet]) -> Option<Subnet> {
    pool().find(|subnet| !taken.iter().any(|other| other.overlaps(*subnet)))
}

/// The hardware address that Docker gives to an IPv4 address: the same address gives the same one, so that
/// the neighbours' caches are right when an address is used again.
pub(super) fn hardware_address(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
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
        assert_eq!(subnet("10.1.2.0/24").end(), Some(Ipv4Addr::new(10, 1, 3, 0)));
        assert_eq!(subnet("0.0.0.0/0").end(), None);
        assert!(subnet("0.0.0.0/0").contains(Ipv4Addr::new(9, 9, 9, 9)));
    }

    #[test]
    fn what_is_not_a_subnet_is_refused() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "fd00::/64", "/8", "10.0.0.0/-1"] {
            assert_eq!(Subnet::parse(text), None, "{text}");
        }
    }
}
