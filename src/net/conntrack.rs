//! Makes the kernel forget UDP flows to ports whose target has changed.
//!
//! Addresses are translated for the first packet of a flow only. A client that keeps sending from one port has one flow
//! for as long as it does: without this it would go on reaching nobody, or the container before.

use std::io;

use netlink_packet_netfilter::NetfilterHeader;
use netlink_packet_netfilter::NetfilterMessage;
use netlink_packet_netfilter::NetfilterMessageInner;
use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::conntrack::ConntrackAttribute;
use netlink_packet_netfilter::conntrack::ConntrackMessage;
use netlink_packet_netfilter::conntrack::ProtoTuple;
use netlink_packet_netfilter::conntrack::Protocol;
use netlink_packet_netfilter::conntrack::Tuple;

use super::netlink::Channel;
use super::nftables;
use super::rule::Family;

/// Forgets the UDP flows of a family whose first packet went to one of these ports, at whatever address.
pub(super) fn forget_udp(channel: &mut Channel, family: Family, ports: &[u16]) -> io::Result<()> {
    let kind = nftables::kind(family);
    for flow in channel.dump(message(kind, ConntrackMessage::Get(Vec::new())))? {
        let Some(tuple) = origin(&flow).filter(|tuple| is_udp_to(tuple, ports)) else { continue };
        let gone = message(kind, ConntrackMessage::Delete(vec![ConntrackAttribute::CtaTupleOrig(tuple.to_vec())]));
        match channel.change(gone, 0) {
            // It ended by itself.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            deleted => deleted?,
        }
    }
    Ok(())
}

fn message(kind: NetfilterProtoFamily, message: ConntrackMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(kind, 0, 0), message)
}

/// The addresses and ports of a flow's first packet, before any translation.
fn origin(flow: &NetfilterMessage) -> Option<&[Tuple]> {
    let NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)) = &flow.inner else { return None };
    attributes.iter().find_map(|attribute| match attribute {
        ConntrackAttribute::CtaTupleOrig(tuple) => Some(tuple.as_slice()),
        _ => None,
    })
}

fn is_udp_to(tuple: &[Tuple], ports: &[u16]) -> bool {
    let parts: Vec<&ProtoTuple> = tuple
        .iter()
        .filter_map(|part| match part {
            Tuple::Proto(parts) => Some(parts),
            _ => None,
        })
        .flatten()
        .collect();
    parts.iter().any(|part| matches!(part, ProtoTuple::Protocol(Protocol::Udp)))
        && parts.iter().any(|part| matches!(part, ProtoTuple::DestinationPort(port) if ports.contains(port)))
}
