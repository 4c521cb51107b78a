//! The firewall as data: the chains, sets and rules of the table `coracle`, of which each family of addresses has one. Pure;
//! prints as `nft` does.
//!
//! The number of rules is fixed. What changes with networks and containers are elements:
//!
//! ```text
//! set bridges   ifname                              every bridge of ours
//! set internal  ifname                              those that have no way out
//! set open      ifname                              those whose containers are reached past what is published
//! set routed    ifname                              those whose containers are reached at what is published, by routes
//! set trusted   ifname . ifname                     links, and the bridges that are so for what comes from there
//! set within    ifname . ifname                     each bridge with itself
//! set subnets   ipv4_addr, intervals                whose traffic is masqueraded on its way out
//! set direct    inet_proto . ipv4_addr . inet_service  what is published, at the containers' own addresses
//! map ports     inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service
//! ```
//!
//! Published on 0.0.0.0 is the element with that address, looked up for packets to any address of the host.
//!
//! The table of IPv6 has `ipv6_addr` in their place, and is there only while a network with addresses of it is. What is
//! published on ::1 it cannot lead to a container: the kernel takes no answer for that address from another link
//! (`rt6_need_strict`, net/ipv6/route.c) and has no `route_localnet` for it. [`mod@super::relay`] does that.

use std::fmt;
use std::fmt::Display;
use std::net::IpAddr;

use super::Network;

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const ALL: [Family; 2] = [Family::V4, Family::V6];

    pub(super) fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// The families that a network has addresses of.
    pub(super) fn of_network(network: &Network) -> impl Iterator<Item = Family> {
        let has = |family: &Family| match family {
            Family::V4 => network.ipv4.is_some(),
            Family::V6 => network.ipv6.is_some(),
        };
        Family::ALL.into_iter().filter(has)
    }

    /// As `nft` says it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Family::V4 => "ip",
            Family::V6 => "ip6",
        }
    }
}

/// A chain with its hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) hook: Hook,
    pub(super) priority: i32,
}

/// Where in a packet's way a chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    Prerouting,
    Forward,
    Output,
    Postrouting,
}

/// The chains of a family's table: IPv6 needs no `guard`, as the kernel itself lets nobody in to ::1 (`ip6_rcv_core`).
pub(super) fn chains(family: Family) -> &'static [Chain] {
    match family {
        Family::V4 => &CHAINS,
        Family::V6 => &CHAINS[1..],
    }
}

/// All chains; `guard` comes before connection tracking (priority raw), the others at nat's and filter's usual places.
const CHAINS: [Chain; 5] = [
    Chain { name: "guard", kind: "filter", hook: Hook::Prerouting, priority: -300 },
    Chain { name: "prerouting", kind: "nat", hook: Hook::Prerouting, priority: -100 },
    Chain { name: "output", kind: "nat", hook: Hook::Output, priority: -100 },
    Chain { name: "postrouting", kind: "nat", hook: Hook::Postrouting, priority: 100 },
    Chain { name: "forward", kind: "filter", hook: Hook::Forward, priority: 0 },
];

/// A rule: the parts in order, each of which must hold for the next to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) family: Family,
    pub(super) chain: &'static str,
    pub(super) parts: Vec<Part>,
}

/// A part of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// `iifname != "lo"`
    NotFromLoopbackLink,
    /// `ip daddr 127.0.0.0/8`
    ToLoopbackAddress,
    /// `ip6 daddr != ::1`
    NotToLoopbackAddress,
    /// `ip saddr 127.0.0.0/8`
    FromLoopbackAddress,
    /// `ip saddr @set`
    FromSubnetIn(&'static str),
    /// `iifname @set`
    InLinkIn(&'static str),
    /// `iifname != @set`
    InLinkNotIn(&'static str),
    /// `oifname @set`
    OutLinkIn(&'static str),
    /// `oifname != @set`
    OutLinkNotIn(&'static str),
    /// `iifname . oifname @set`
    LinksIn(&'static str),
    /// `ct state established,related`
    Known,
    /// `ct status dnat`
    Published,
    /// `fib daddr type local`
    ToThisHost,
    /// `dnat ip to meta l4proto . ip daddr . th dport map @ports`
    ToPublishedAtAddress,
    /// The same with 0.0.0.0 or :: in the place of the packet's destination.
    ToPublishedAnywhere,
    /// `meta l4proto . ip daddr . th dport @direct`
    ToPublishedDirectly,
    /// `meta l4proto icmp`
    Icmp,
    Masquerade,
    Accept,
    Drop,
}

/// Whether the host forwarded packets before us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forwarding {
    /// It did: what others forward is none of our business.
    WasOn,
    /// We turned it on, for our bridges: between other links the host must be no router, as before.
    IsOurs,
}

/// All rules of a family, chain by chain.
pub(super) fn rules(family: Family, forwarding: Forwarding) -> Vec<Rule> {
    let rule = |chain: &'static str, parts: &[Part]| Rule { family, chain, parts: parts.to_vec() };
    let mut rules = Vec::new();
    if family == Family::V4 {
        // Our bridges have route_localnet, and destinations are translated before the kernel looks for martians:
        // without this a neighbour on the same wire could reach what is published on 127.0.0.1 only.
        rules.push(rule("guard", &[Part::NotFromLoopbackLink, Part::ToLoopbackAddress, Part::Drop]));
    }
    for chain in ["prerouting", "output"] {
        for publication in [Part::ToPublishedAtAddress, Part::ToPublishedAnywhere] {
            let is_relayed = family == Family::V6 && chain == "output";
            let parts = [Part::NotToLoopbackAddress, Part::ToThisHost, publication];
            rules.push(rule(chain, if is_relayed { &parts } else { &parts[1..] }));
        }
    }
    rules.push(rule("postrouting", &[Part::FromSubnetIn("subnets"), Part::OutLinkNotIn("bridges"), Part::Masquerade]));
    // A container that reaches another, or itself, by a published port: the answer must come back through us.
    rules.push(rule("postrouting", &[Part::FromSubnetIn("subnets"), Part::OutLinkIn("bridges"), Part::Published, Part::Masquerade]));
    if family == Family::V4 {
        // No machine but this one can answer to 127.0.0.1.
        rules.push(rule("postrouting", &[Part::FromLoopbackAddress, Part::OutLinkIn("bridges"), Part::Masquerade]));
    }
    rules.extend([
        rule("forward", &[Part::LinksIn("within"), Part::Accept]),
        rule("forward", &[Part::InLinkIn("internal"), Part::Drop]),
        rule("forward", &[Part::OutLinkIn("internal"), Part::Drop]),
        // From another network of ours the way is by what is published.
        rule("forward", &[Part::InLinkNotIn("bridges"), Part::OutLinkIn("open"), Part::Accept]),
        rule("forward", &[Part::OutLinkIn("bridges"), Part::Known, Part::Accept]),
        rule("forward", &[Part::OutLinkIn("bridges"), Part::Published, Part::Accept]),
        rule("forward", &[Part::OutLinkIn("routed"), Part::Icmp, Part::Accept]),
        rule("forward", &[Part::OutLinkIn("routed"), Part::ToPublishedDirectly, Part::Accept]),
        rule("forward", &[Part::LinksIn("trusted"), Part::ToPublishedDirectly, Part::Accept]),
        rule("forward", &[Part::OutLinkIn("bridges"), Part::Drop]),
    ]);
    if forwarding == Forwarding::IsOurs {
        rules.push(rule("forward", &[Part::InLinkNotIn("bridges"), Part::Drop]));
    }
    rules
}

impl Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.parts.iter().map(|part| part.text(self.family)).collect();
        write!(f, "{}: {}", self.chain, parts.join(" "))
    }
}

impl Part {
    fn text(self, family: Family) -> String {
        let ip = family.word();
        let (loopback, any) = match family {
            Family::V4 => ("127.0.0.0/8", "0.0.0.0"),
            Family::V6 => ("::1", "::"),
        };
        match self {
            Part::NotFromLoopbackLink => "iifname != \"lo\"".to_owned(),
            Part::ToLoopbackAddress => format!("{ip} daddr {loopback}"),
            Part::NotToLoopbackAddress => format!("{ip} daddr != {loopback}"),
            Part::FromLoopbackAddress => format!("{ip} saddr {loopback}"),
            Part::FromSubnetIn(set) => format!("{ip} saddr @{set}"),
            Part::InLinkIn(set) => format!("iifname @{set}"),
            Part::InLinkNotIn(set) => format!("iifname != @{set}"),
            Part::OutLinkIn(set) => format!("oifname @{set}"),
            Part::OutLinkNotIn(set) => format!("oifname != @{set}"),
            Part::LinksIn(set) => format!("iifname . oifname @{set}"),
            Part::Known => "ct state established,related".to_owned(),
            Part::Published => "ct status dnat".to_owned(),
            Part::ToThisHost => "fib daddr type local".to_owned(),
            Part::ToPublishedAtAddress => format!("dnat {ip} to meta l4proto . {ip} daddr . th dport map @ports"),
            Part::ToPublishedAnywhere => format!("dnat {ip} to meta l4proto . {ip} daddr & {any} . th dport map @ports"),
            Part::ToPublishedDirectly => format!("meta l4proto . {ip} daddr . th dport @direct"),
            Part::Icmp => format!("meta l4proto {}", if family == Family::V4 { "icmp" } else { "ipv6-icmp" }),
            Part::Masquerade => "masquerade".to_owned(),
            Part::Accept => "accept".to_owned(),
            Part::Drop => "drop".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_these_and_no_more() {
        let printed: Vec<String> = rules(Family::V4, Forwarding::IsOurs).iter().map(Rule::to_string).collect();
        let expected = [
            "guard: iifname != \"lo\" ip daddr 127.0.0.0/8 drop",
            "prerouting: fib daddr type local dnat ip to meta l4proto . ip daddr . th dport map @ports",
            "prerouting: fib daddr type local dnat ip to meta l4proto . ip daddr & 0.0.0.0 . th dport map @ports",
            "output: fib daddr type local dnat ip to meta l4proto . ip daddr . th dport map @ports",
            "output: fib daddr type local dnat ip to meta l4proto . ip daddr & 0.0.0.0 . th dport map @ports",
            "postrouting: ip saddr @subnets oifname != @bridges masquerade",
            "postrouting: ip saddr @subnets oifname @bridges ct status dnat masquerade",
            "postrouting: ip saddr 127.0.0.0/8 oifname @bridges masquerade",
            "forward: iifname . oifname @within accept",
            "forward: iifname @internal drop",
            "forward: oifname @internal drop",
            "forward: iifname != @bridges oifname @open accept",
            "forward: oifname @bridges ct state established,related accept",
            "forward: oifname @bridges ct status dnat accept",
            "forward: oifname @routed meta l4proto icmp accept",
            "forward: oifname @routed meta l4proto . ip daddr . th dport @direct accept",
            "forward: iifname . oifname @trusted meta l4proto . ip daddr . th dport @direct accept",
            "forward: oifname @bridges drop",
            "forward: iifname != @bridges drop",
        ];
        assert_eq!(printed, expected);
        assert_eq!(rules(Family::V4, Forwarding::WasOn).len(), expected.len() - 1);
    }

    #[test]
    fn ipv6_has_the_same_but_for_loopback() {
        let printed: Vec<String> = rules(Family::V6, Forwarding::IsOurs).iter().map(Rule::to_string).collect();
        let expected = [
            "prerouting: fib daddr type local dnat ip6 to meta l4proto . ip6 daddr . th dport map @ports",
            "prerouting: fib daddr type local dnat ip6 to meta l4proto . ip6 daddr & :: . th dport map @ports",
            "output: ip6 daddr != ::1 fib daddr type local dnat ip6 to meta l4proto . ip6 daddr . th dport map @ports",
            "output: ip6 daddr != ::1 fib daddr type local dnat ip6 to meta l4proto . ip6 daddr & :: . th dport map @ports",
            "postrouting: ip6 saddr @subnets oifname != @bridges masquerade",
            "postrouting: ip6 saddr @subnets oifname @bridges ct status dnat masquerade",
            "forward: iifname . oifname @within accept",
            "forward: iifname @internal drop",
            "forward: oifname @internal drop",
            "forward: iifname != @bridges oifname @open accept",
            "forward: oifname @bridges ct state established,related accept",
            "forward: oifname @bridges ct status dnat accept",
            "forward: oifname @routed meta l4proto ipv6-icmp accept",
            "forward: oifname @routed meta l4proto . ip6 daddr . th dport @direct accept",
            "forward: iifname . oifname @trusted meta l4proto . ip6 daddr . th dport @direct accept",
            "forward: oifname @bridges drop",
            "forward: iifname != @bridges drop",
        ];
        assert_eq!(printed, expected);
    }
}
