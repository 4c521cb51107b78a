//! Leads what a container asks at its name server's address, port 53, to the ports that the server really listens on.
//!
//! Two rules in the container's own network namespace, so that port 53 is free there for a program that binds it on all
//! addresses, as name servers do:
//!
//! ```text
//! table ip coracle { chain names { type nat hook output priority -100
//!     ip daddr 127.0.0.11 udp dport 53 dnat to 127.0.0.11:<port>
//!     ip daddr 127.0.0.11 tcp dport 53 dnat to 127.0.0.11:<port>
//! } }
//! ```
//!
//! Connection tracking gives the answers the port back that was asked.

use std::io;

use netlink_packet_core::NLM_F_APPEND;
use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_netfilter::nftables::ListAttribute;
use netlink_packet_netfilter::nftables::NfTablesMessage;
use netlink_packet_netfilter::nftables::RuleAttribute;
use netlink_packet_netfilter::nftables::RuleMessage;
use netlink_packet_netfilter::nftables::TableAttribute;
use netlink_packet_netfilter::nftables::TableMessage;

use super::NAME_SERVER;
use super::expression;
use super::netlink::Channel;
use super::nftables;
use super::nftables::Batch;
use super::nftables::TABLE;
use super::rule::Chain;
use super::rule::Family;
use super::rule::Hook;

const CHAIN: Chain = Chain { name: "names", kind: "nat", hook: Hook::Output, priority: -100 };

/// Where names are asked for.
const PORT: u16 = 53;

/// The ports that a name server listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) udp: u16,
    pub(super) tcp: u16,
}

/// Makes the rules, in the place of those that may be there; `channel` was opened in the container's namespace.
pub(super) fn lead(channel: &mut Channel, ports: Ports) -> io::Result<()> {
    let kind = nftables::kind(Family::V4);
    let mut batch = Batch::default();
    batch.push(kind, NfTablesMessage::NewTable(TableMessage { attributes: vec![TableAttribute::Name(TABLE.into())] }), NLM_F_CREATE);
    batch.push(kind, NfTablesMessage::NewChain(nftables::chain_message(CHAIN)), NLM_F_CREATE);
    let of_chain = || vec![RuleAttribute::Table(TABLE.into()), RuleAttribute::Chain(CHAIN.name.into())];
    batch.push(kind, NfTablesMessage::DeleteRule(RuleMessage { attributes: of_chain() }), 0);
    for (protocol, to) in [(libc::IPPROTO_UDP, ports.udp), (libc::IPPROTO_TCP, ports.tcp)] {
        let expressions = expression::redirect(protocol as u8, (NAME_SERVER, PORT), to);
        let mut attributes = of_chain();
        attributes.push(RuleAttribute::Expressions(expressions.into_iter().map(ListAttribute::from).collect()));
        batch.push(kind, NfTablesMessage::NewRule(RuleMessage { attributes }), NLM_F_CREATE | NLM_F_APPEND);
    }
    batch.commit(channel)
}
