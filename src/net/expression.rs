//! Writes the parts of a rule as nf_tables expressions: what each loads into registers, compares and does.
//!
//! Registers are the 32-bit ones: a concatenation is its fields side by side, each filled up to four bytes.
//! Numbers that packets carry are big-endian, what the kernel keeps itself (connection state, address type) is
//! in the machine's order.

use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::nftables::Bitwise;
use netlink_packet_netfilter::nftables::Cmp;
use netlink_packet_netfilter::nftables::DataAttribute;
use netlink_packet_netfilter::nftables::ExpressionAttribute;
use netlink_packet_netfilter::nftables::Expressions;
use netlink_packet_netfilter::nftables::Immediate;
use netlink_packet_netfilter::nftables::ListAttribute;
use netlink_packet_netfilter::nftables::Lookup;
use netlink_packet_netfilter::nftables::Meta;
use netlink_packet_netfilter::nftables::MetaKey;
use netlink_packet_netfilter::nftables::Operator;
use netlink_packet_netfilter::nftables::Payload;
use netlink_packet_netfilter::nftables::Register;
use netlink_packet_netfilter::nftables::Verdict;
use netlink_packet_netfilter::nftables::VerdictAttribute;

use super::nftables::link_name;
use super::rule::Family;
use super::rule::Part;

const FIRST: Register = Register::Reg1;

/// Which way a packet goes by a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    In,
    Out,
}

/// `iifname "link" accept`, or `oifname`.
pub(super) fn accept(way: Way, link: &str) -> Vec<ListAttribute<ExpressionAttribute>> {
    let key = if way == Way::In { MetaKey::Iifname } else { MetaKey::Oifname };
    let expressions = [load(key, FIRST), compare(Operator::Equal, link_name(link).to_vec()), verdict(libc::NF_ACCEPT)];
    expressions.into_iter().map(ListAttribute::from).collect()
}

/// `ip daddr ADDRESS PROTOCOL dport PORT dnat to ADDRESS:PORT`, the address staying the same.
pub(super) fn redirect(protocol: u8, (address, port): (Ipv4Addr, u16), to: u16) -> Vec<Expressions> {
    let put = |register: Register, bytes: Vec<u8>| {
        Expressions::Immediate(vec![Immediate::DestinationRegister(register), Immediate::Data(DataAttribute::Value(bytes))])
    };
    let (to_address, to_port) = (Register::Reg1, Register::Reg2);
    let family = libc::NFPROTO_IPV4.cast_unsigned();
    vec![
        destination(Family::V4, FIRST, 4),
        compare(Operator::Equal, address.octets().to_vec()),
        load(MetaKey::L4Proto, FIRST),
        compare(Operator::Equal, vec![protocol]),
        payload(TRANSPORT_HEADER, (2, 2), FIRST),
        compare(Operator::Equal, port.to_be_bytes().to_vec()),
        put(to_address, address.octets().to_vec()),
        put(to_port, to.to_be_bytes().to_vec()),
        other("nat", vec![number(1, 1), number(2, family), number(3, to_address.into()), number(5, to_port.into())]),
    ]
}

/// The expressions of a part of a rule.
pub(super) fn expressions_of(family: Family, part: Part) -> Vec<Expressions> {
    let (address, loopback) = match family {
        Family::V4 => (4, vec![127]),
        Family::V6 => (16, Ipv6Addr::LOCALHOST.octets().to_vec()),
    };
    let loopback_length = loopback.len() as u32;
    match part {
        Part::NotFromLoopbackLink => vec![load(MetaKey::Iifname, FIRST), compare(Operator::NotEqual, link_name("lo").to_vec())],
        Part::ToLoopbackAddress => vec![destination(family, FIRST, loopback_length), compare(Operator::Equal, loopback)],
        Part::NotToLoopbackAddress => vec![destination(family, FIRST, loopback_length), compare(Operator::NotEqual, loopback)],
        Part::FromLoopbackAddress => vec![source(family, loopback_length), compare(Operator::Equal, loopback)],
        Part::FromSubnetIn(set) => vec![source(family, address), look_up(set, Found::Wanted)],
        Part::InLinkIn(set) => vec![load(MetaKey::Iifname, FIRST), look_up(set, Found::Wanted)],
        Part::InLinkNotIn(set) => vec![load(MetaKey::Iifname, FIRST), look_up(set, Found::Unwanted)],
        Part::OutLinkIn(set) => vec![load(MetaKey::Oifname, FIRST), look_up(set, Found::Wanted)],
        Part::OutLinkNotIn(set) => vec![load(MetaKey::Oifname, FIRST), look_up(set, Found::Unwanted)],
        Part::LinksIn(set) => {
            vec![load(MetaKey::Iifname, FIRST), load(MetaKey::Oifname, Register::Reg2), look_up(set, Found::Wanted)]
        }
        Part::Known => any_bit_of(conntrack(CT_STATE), ESTABLISHED | RELATED),
        Part::Published => any_bit_of(conntrack(CT_STATUS), DESTINATION_TRANSLATED),
        Part::ToThisHost => vec![destination_type(), compare(Operator::Equal, u32::from(libc::RTN_LOCAL).to_ne_bytes().to_vec())],
        Part::ToPublishedAtAddress => translate(family, vec![destination(family, Register::Reg32_01, address)]),
        Part::ToPublishedAnywhere => {
            translate(family, vec![destination(family, Register::Reg32_01, address), clear(Register::Reg32_01, address)])
        }
        Part::ToPublishedDirectly => published_directly(family, address),
        Part::Icmp => {
            let protocol = if family == Family::V4 { libc::IPPROTO_ICMP } else { libc::IPPROTO_ICMPV6 };
            vec![load(MetaKey::L4Proto, FIRST), compare(Operator::Equal, vec![protocol as u8])]
        }
        Part::Masquerade => vec![other("masq", vec![])],
        Part::Accept => vec![verdict(libc::NF_ACCEPT)],
        Part::Drop => vec![verdict(libc::NF_DROP)],
    }
}

// include/uapi/linux/netfilter/nf_tables.h: bases of a payload, keys of ct, flags of lookup, attributes of fib and nat.
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
const LOOKUP_INVERTED: u32 = 1;
// include/uapi/linux/netfilter/nf_conntrack_common.h; the states are NF_CT_STATE_BIT of them.
const ESTABLISHED: u32 = 1 << 1;
const RELATED: u32 = 1 << 2;
const DESTINATION_TRANSLATED: u32 = 1 << 5;

fn load(key: MetaKey, register: Register) -> Expressions {
    Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(register)])
}

fn payload(base: u32, place: (u32, u32), register: Register) -> Expressions {
    Expressions::Payload(vec![Payload::DestinationRegister(register), Payload::Base(base), Payload::Offset(place.0), Payload::Len(place.1)])
}

fn source(family: Family, bytes: u32) -> Expressions {
    let offset = if family == Family::V4 { 12 } else { 8 };
    payload(NETWORK_HEADER, (offset, bytes), FIRST)
}

fn destination(family: Family, register: Register, bytes: u32) -> Expressions {
    let offset = if family == Family::V4 { 16 } else { 24 };
    payload(NETWORK_HEADER, (offset, bytes), register)
}

fn compare(operator: Operator, value: Vec<u8>) -> Expressions {
    Expressions::Cmp(vec![Cmp::SourceRegister(FIRST), Cmp::Op(operator), Cmp::Data(DataAttribute::Value(value))])
}

/// Zeros where an address was: `ip daddr & 0.0.0.0`. A constant would do, but `nft` cannot print one in this place.
fn clear(register: Register, bytes: u32) -> Expressions {
    mask(register, vec![0; bytes as usize])
}

fn mask(register: Register, bits: Vec<u8>) -> Expressions {
    let nothing = vec![0; bits.len()];
    Expressions::Bitwise(vec![
        Bitwise::SourceRegister(register),
        Bitwise::DestinationRegister(register),
        Bitwise::Length(bits.len() as u32),
        Bitwise::Mask(DataAttribute::Value(bits)),
        Bitwise::Xor(DataAttribute::Value(nothing)),
    ])
}

fn verdict(code: libc::c_int) -> Expressions {
    let verdict = vec![VerdictAttribute::Code(Verdict::Other(code.cast_unsigned()))];
    Expressions::Immediate(vec![Immediate::DestinationRegister(Register::Verdict), Immediate::Data(DataAttribute::Verdict(verdict))])
}

/// Whether a rule goes on when the value is in the set, or when it is not.
#[derive(Clone, Copy, PartialEq)]
enum Found {
    Wanted,
    Unwanted,
}

fn look_up(set: &str, found: Found) -> Expressions {
    let mut attributes = vec![Lookup::Set(set.into()), Lookup::SourceRegister(FIRST)];
    if found == Found::Unwanted {
        attributes.push(Lookup::Flags(LOOKUP_INVERTED));
    }
    Expressions::Lookup(attributes)
}

fn any_bit_of(loaded: Expressions, bits: u32) -> Vec<Expressions> {
    vec![loaded, mask(FIRST, bits.to_ne_bytes().to_vec()), compare(Operator::NotEqual, vec![0; 4])]
}

/// `ct`: NFTA_CT_DREG 1, NFTA_CT_KEY 2.
fn conntrack(key: u32) -> Expressions {
    other("ct", vec![number(1, FIRST.into()), number(2, key)])
}

/// `fib daddr type`: NFTA_FIB_DREG 1, NFTA_FIB_RESULT 2 (ADDRTYPE 3), NFTA_FIB_FLAGS 3 (DADDR 2).
fn destination_type() -> Expressions {
    other("fib", vec![number(1, FIRST.into()), number(2, 3), number(3, 2)])
}

/// Looks protocol, address and port up in the set `direct`.
fn published_directly(family: Family, address: u32) -> Vec<Expressions> {
    let port = if family == Family::V4 { Register::Reg32_02 } else { Register::Reg32_05 };
    vec![
        load(MetaKey::L4Proto, Register::Reg32_00),
        destination(family, Register::Reg32_01, address),
        payload(TRANSPORT_HEADER, (2, 2), port),
        Expressions::Lookup(vec![Lookup::Set("direct".into()), Lookup::SourceRegister(Register::Reg32_00)]),
    ]
}

/// Looks protocol, address and port up in the map and sends the packet where it says; no element, no rule.
///
/// `nat`: NFTA_NAT_TYPE 1 (DNAT 1), NFTA_NAT_FAMILY 2, NFTA_NAT_REG_ADDR_MIN 3, NFTA_NAT_REG_PROTO_MIN 5.
fn translate(family: Family, address: Vec<Expressions>) -> Vec<Expressions> {
    let found = Expressions::Lookup(vec![
        Lookup::Set("ports".into()),
        Lookup::SourceRegister(Register::Reg32_00),
        Lookup::DestinationRegister(Register::Reg32_00),
    ]);
    // Asked for by protocol, address and port; answered with address and port.
    let (asked_port, number_of_family, found_port) = match family {
        Family::V4 => (Register::Reg32_02, libc::NFPROTO_IPV4, Register::Reg32_01),
        Family::V6 => (Register::Reg32_05, libc::NFPROTO_IPV6, Register::Reg32_04),
    };
    let number_of_family = number_of_family.cast_unsigned();
    let translated = vec![number(1, 1), number(2, number_of_family), number(3, Register::Reg32_00.into()), number(5, found_port.into())];
    let mut expressions = vec![load(MetaKey::L4Proto, Register::Reg32_00)];
    expressions.extend(address);
    expressions.extend([payload(TRANSPORT_HEADER, (2, 2), asked_port), found, other("nat", translated)]);
    expressions
}

/// An expression that the crate has no type for.
fn other(name: &str, attributes: Vec<DefaultNla>) -> Expressions {
    Expressions::Other { expression_type: name.into(), attributes }
}

fn number(kind: u16, value: u32) -> DefaultNla {
    DefaultNla::new(kind, value.to_be_bytes().to_vec())
}
