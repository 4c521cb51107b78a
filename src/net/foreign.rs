//! Other firewalls on the same host: an accept of ours does not overrule their drop, so ours is let decide by a rule in theirs.
//!
//! Docker, ufw and many an administrator give `FORWARD` the policy drop; firewalld ends its chain with a reject. For each
//! bridge two rules are put at the head of such a chain, or into `DOCKER-USER`, which Docker keeps for others:
//!
//! ```text
//! iifname "br-…" accept comment "coracle br-…"
//! oifname "br-…" accept comment "coracle br-…"
//! ```
//!
//! An accept ends only that table's say: what our own chain `forward` drops stays dropped. A firewall that is loaded anew
//! forgets the rules; the next start of the network brings them back. Chains of the old xtables (`iptables-legacy`) are
//! not seen through this interface.

use std::io;

use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_netfilter::NetfilterHeader;
use netlink_packet_netfilter::NetfilterMessage;
use netlink_packet_netfilter::NetfilterMessageInner;
use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::nftables::ChainAttribute;
use netlink_packet_netfilter::nftables::ChainMessage;
use netlink_packet_netfilter::nftables::Hook;
use netlink_packet_netfilter::nftables::HookNumber;
use netlink_packet_netfilter::nftables::InetHookNumber;
use netlink_packet_netfilter::nftables::NfTablesMessage;
use netlink_packet_netfilter::nftables::RuleAttribute;
use netlink_packet_netfilter::nftables::RuleMessage;

use super::Network;
use super::expression;
use super::expression::Way;
use super::netlink::Channel;
use super::nftables;
use super::nftables::Batch;
use super::rule::Family;

/// A chain, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Chain {
    family: NetfilterProtoFamily,
    table: String,
    name: String,
    /// Of a chain that forwarded packets come to: whether it drops what no rule of it lets through.
    drops: Option<bool>,
}

/// Has the host's other firewalls leave forwarded packets of a network's bridge to ours.
///
/// # Errors
/// What the kernel says.
pub(super) fn give_way(channel: &mut Channel, network: &Network) -> io::Result<()> {
    let bridge = network.bridge.as_str();
    let gates = gates(&chains(channel, Family::of_network(network))?);
    let mut batch = Batch::default();
    for gate in &gates {
        if !marked(channel, gate, &[bridge])?.is_empty() {
            continue;
        }
        for way in [Way::Out, Way::In] {
            let attributes = vec![
                RuleAttribute::Table(gate.table.clone()),
                RuleAttribute::Chain(gate.name.clone()),
                RuleAttribute::Expressions(expression::accept(way, bridge)),
                RuleAttribute::UserData(mark(bridge)),
            ];
            // Without NLM_F_APPEND it becomes the first.
            batch.push(gate.family, NfTablesMessage::NewRule(RuleMessage { attributes }), NLM_F_CREATE);
        }
    }
    batch.commit(channel)
}

/// Takes back what [`give_way`] did for these bridges.
///
/// # Errors
/// What the kernel says.
pub(super) fn take_back(channel: &mut Channel, bridges: &[&str]) -> io::Result<()> {
    let mut batch = Batch::default();
    for gate in gates(&chains(channel, Family::ALL.into_iter())?) {
        for handle in marked(channel, &gate, bridges)? {
            let attributes =
                vec![RuleAttribute::Table(gate.table.clone()), RuleAttribute::Chain(gate.name.clone()), RuleAttribute::Handle(handle)];
            batch.push(gate.family, NfTablesMessage::DeleteRule(RuleMessage { attributes }), 0);
        }
    }
    batch.commit(channel)
}

/// Where our rules belong.
fn gates(chains: &[Chain]) -> Vec<Chain> {
    let drops = |chain: &&Chain| match chain.drops {
        Some(drops) => drops || (chain.table == "firewalld" && chain.name == "filter_FORWARD"),
        None => false,
    };
    let mut gates: Vec<Chain> = Vec::new();
    for chain in chains.iter().filter(drops) {
        let is_users = |other: &&Chain| (other.family, &other.table, other.name.as_str()) == (chain.family, &chain.table, "DOCKER-USER");
        let gate = chains.iter().find(is_users).unwrap_or(chain);
        if !gates.contains(gate) {
            gates.push(gate.clone());
        }
    }
    gates
}

/// All chains of others in tables that see forwarded packets of these families.
fn chains(channel: &mut Channel, families: impl Iterator<Item = Family>) -> io::Result<Vec<Chain>> {
    let mut found = Vec::new();
    for family in families.map(nftables::kind).chain([NetfilterProtoFamily::Inet]) {
        let message = NfTablesMessage::GetChain(ChainMessage { attributes: Vec::new() });
        let answers = channel.dump(NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), message))?;
        found.extend(answers.iter().filter_map(|answer| chain(family, answer)));
    }
    found.retain(|chain| chain.table != nftables::TABLE);
    Ok(found)
}

fn chain(family: NetfilterProtoFamily, answer: &NetfilterMessage) -> Option<Chain> {
    let NetfilterMessageInner::NfTables(NfTablesMessage::NewChain(message)) = &answer.inner else { return None };
    let mut chain = Chain { family, table: String::new(), name: String::new(), drops: None };
    let (mut is_forward, mut policy) = (false, libc::NF_ACCEPT.cast_unsigned());
    for attribute in &message.attributes {
        match attribute {
            ChainAttribute::Table(table) => chain.table.clone_from(table),
            ChainAttribute::Name(name) => chain.name.clone_from(name),
            ChainAttribute::Policy(value) => policy = *value,
            ChainAttribute::Hook(hook) => is_forward = hook.contains(&Hook::Number(HookNumber::Inet(InetHookNumber::Forward))),
            _ => {}
        }
    }
    chain.drops = is_forward.then_some(policy == libc::NF_DROP.cast_unsigned());
    Some(chain)
}

/// The handles of our rules for these bridges in a chain.
fn marked(channel: &mut Channel, gate: &Chain, bridges: &[&str]) -> io::Result<Vec<u64>> {
    let marks: Vec<Vec<u8>> = bridges.iter().map(|bridge| mark(bridge)).collect();
    let attributes = vec![RuleAttribute::Table(gate.table.clone()), RuleAttribute::Chain(gate.name.clone())];
    let message = NfTablesMessage::GetRule(RuleMessage { attributes });
    let answers = channel.dump(NetfilterMessage::new(NetfilterHeader::new(gate.family, 0, 0), message))?;
    let rules = answers.iter().filter_map(|answer| match &answer.inner {
        NetfilterMessageInner::NfTables(NfTablesMessage::NewRule(rule)) => Some(&rule.attributes),
        _ => None,
    });
    let ours = rules.filter(|rule| rule.iter().any(|part| matches!(part, RuleAttribute::UserData(data) if marks.contains(data))));
    let handles =
        ours.flat_map(|rule| rule.iter().filter_map(|part| if let RuleAttribute::Handle(handle) = part { Some(*handle) } else { None }));
    Ok(handles.collect())
}

/// A comment as `nft` and `iptables` write it beside a rule: NFTNL_UDATA_RULE_COMMENT is 0 (libnftnl, udata.h).
fn mark(bridge: &str) -> Vec<u8> {
    let text = format!("coracle {bridge}\0");
    let mut bytes = vec![0, text.len() as u8];
    bytes.extend(text.into_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(family: NetfilterProtoFamily, table: &str, name: &str, drops: Option<bool>) -> Chain {
        Chain { family, table: table.into(), name: name.into(), drops }
    }

    #[test]
    fn a_rule_goes_where_packets_would_be_dropped_and_nowhere_else() {
        use NetfilterProtoFamily::IPv4;
        use NetfilterProtoFamily::Inet;
        let printed = |chains: &[Chain]| gates(chains).iter().map(|gate| format!("{} {}", gate.table, gate.name)).collect::<Vec<_>>();
        let docker = [chain(IPv4, "filter", "FORWARD", Some(true)), chain(IPv4, "filter", "DOCKER-USER", None)];
        assert_eq!(printed(&docker), ["filter DOCKER-USER"]);
        assert_eq!(printed(&[chain(IPv4, "filter", "FORWARD", Some(true))]), ["filter FORWARD"]);
        assert_eq!(printed(&[chain(IPv4, "filter", "FORWARD", Some(false)), chain(IPv4, "filter", "DOCKER-USER", None)]), [""; 0]);
        assert_eq!(printed(&[chain(Inet, "firewalld", "filter_FORWARD", Some(false))]), ["firewalld filter_FORWARD"]);
        assert_eq!(printed(&[chain(Inet, "mine", "forward", Some(true)), docker[1].clone()]), ["mine forward"]);
    }
}
