//! The firewall as data: the chains, sets and rules of the one table `coracle`. Pure; prints as `nft` does.
//!
//! The number of rules is fixed. What changes with networks and containers are elements:
//!
//! ```text
//! set bridges   ifname                              every bridge of ours
//! set internal  ifname                              those that have no way out
//! set within    ifname . ifname                     each bridge with itself
//! set subnets   ipv4_addr, intervals                whose traffic is masqueraded on its way out
//! map ports     inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service
//! ```
//!
//! Published on 0.0.0.0 is the element with that address, looked up for packets to any address of the host.

use std::fmt;
use std::fmt::Display;

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

/// The chains; `guard` comes before connection tracking (priority raw), the others at nat's and filter's usual places.
pub(super) const CHAINS: [Chain; 5] = [
    Chain { name: "guard", kind: "filter", hook: Hook::Prerouting, priority: -300 },
    Chain { name: "prerouting", kind: "nat", hook: Hook::Prerouting, priority: -100 },
    Chain { name: "output", kind: "nat", hook: Hook::Output, priority: -100 },
    Chain { name: "postrouting", kind: "nat", hook: Hook::Postrouting, priority: 100 },
    Chain { name: "forward", kind: "filter", hook: Hook::Forward, priority: 0 },
];

/// A rule: the parts in order, each of which must hold for the next to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
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
    /// The same with 0.0.0.0 in the place of the packet's destination.
    ToPublishedAnywhere,
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

/// All rules, chain by chain.
pub(super) fn rules(forwarding: Forwarding) -> Vec<Rule> {
    let rule = |chain: &'static str, parts: &[Part]| Rule { chain, parts: parts.to_vec() };
    let mut rules = vec![
        // Our bridges have route_localnet, and destinations are translated before the kernel looks for martians:
        // without this a neighbour on the same wire could reach what is published on 127.0.0.1 only.
        rule("guard", &[Part::NotFromLoopbackLink, Part::ToLoopbackAddress, Part::Drop]),
        rule("prerouting", &[Part::ToThisHost, Part::ToPublishedAtAddress]),
        rule("prerouting", &[Part::ToThisHost, Part::ToPublishedAnywhere]),
        rule("output", &[Part::ToThisHost, Part::ToPublishedAtAddress]),
        rule("output", &[Part::ToThisHost, Part::ToPublishedAnywhere]),
        rule("postrouting", &[Part::FromSubnetIn("subnets"), Part::OutLinkNotIn("bridges"), Part::Masquerade]),
        // A container that reaches another, or itself, by a published port: the answer must come back through us.
        rule("postrouting", &[Part::FromSubnetIn("subnets"), Part::OutLinkIn("bridges"), Part::Published, Part::Masquerade]),
        // No machine but this one can answer to 127.0.0.1.
        rule("postrouting", &[Part::FromLoopbackAddress, Part::OutLinkIn("bridges"), Part::Masquerade]),
        rule("forward", &[Part::LinksIn("within"), Part::Accept]),
        rule("forward", &[Part::InLinkIn("internal"), Part::Drop]),
        rule("forward", &[Part::OutLinkIn("internal"), Part::Drop]),
        rule("forward", &[Part::OutLinkIn("bridges"), Part::Known, Part::Accept]),
        rule("forward", &[Part::OutLinkIn("bridges"), Part::Published, Part::Accept]),
        rule("forward", &[Part::OutLinkIn("bridges"), Part::Drop]),
    ];
    if forwarding == Forwarding::IsOurs {
        rules.push(rule("forward", &[Part::InLinkNotIn("bridges"), Part::Drop]));
    }
    rules
}

impl Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.parts.iter().map(Part::to_string).collect();
        write!(f, "{}: {}", self.chain, parts.join(" "))
    }
}

impl Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::NotFromLoopbackLink => f.write_str("iifname != \"lo\""),
            Part::ToLoopbackAddress => f.write_str("ip daddr 127.0.0.0/8"),
            Part::FromLoopbackAddress => f.write_str("ip saddr 127.0.0.0/8"),
            Part::FromSubnetIn(set) => write!(f, "ip saddr @{set}"),
            Part::InLinkIn(set) => write!(f, "iifname @{set}"),
            Part::InLinkNotIn(set) => write!(f, "iifname != @{set}"),
            Part::OutLinkIn(set) => write!(f, "oifname @{set}"),
            Part::OutLinkNotIn(set) => write!(f, "oifname != @{set}"),
            Part::LinksIn(set) => write!(f, "iifname . oifname @{set}"),
            Part::Known => f.write_str("ct state established,related"),
            Part::Published => f.write_str("ct status dnat"),
            Part::ToThisHost => f.write_str("fib daddr type local"),
            Part::ToPublishedAtAddress => f.write_str("dnat ip to meta l4proto . ip daddr . th dport map @ports"),
            Part::ToPublishedAnywhere => f.write_str("dnat ip to meta l4proto . ip daddr & 0.0.0.0 . th dport map @ports"),
            Part::Masquerade => f.write_str("masquerade"),
            Part::Accept => f.write_str("accept"),
            Part::Drop => f.write_str("drop"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_these_and_no_more() {
        let printed: Vec<String> = rules(Forwarding::IsOurs).iter().map(Rule::to_string).collect();
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
            "forward: oifname @bridges ct state established,related accept",
            "forward: oifname @bridges ct status dnat accept",
            "forward: oifname @bridges drop",
            "forward: iifname != @bridges drop",
        ];
        assert_eq!(printed, expected);
        assert_eq!(rules(Forwarding::WasOn).len(), expected.len() - 1);
    }
}
