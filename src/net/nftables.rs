//! Writes the firewall's rules, sets and elements as nf_tables messages. Knows the encoding, not the policy.
//!
//! Registers are the 32-bit ones: a concatenation is its fields side by side, each filled up to four bytes.
//! Numbers that packets carry are big-endian, what the kernel keeps itself (connection state, address type) is
//! in the machine's order.

use std::io;
use std::net::Ipv4Addr;

use netlink_packet_core::DefaultNla;
use netlink_packet_core::NLM_F_APPEND;
use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_netfilter::NetfilterHeader;
use netlink_packet_netfilter::NetfilterMessage;
use netlink_packet_netfilter::NetfilterMessageInner;
use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::nftables::Bitwise;
use netlink_packet_netfilter::nftables::ChainAttribute;
use netlink_packet_netfilter::nftables::ChainMessage;
use netlink_packet_netfilter::nftables::Cmp;
use netlink_packet_netfilter::nftables::DataAttribute;
use netlink_packet_netfilter::nftables::ExpressionAttribute;
use netlink_packet_netfilter::nftables::Expressions;
use netlink_packet_netfilter::nftables::HookNumber;
use netlink_packet_netfilter::nftables::Immediate;
use netlink_packet_netfilter::nftables::InetHookNumber;
use netlink_packet_netfilter::nftables::ListAttribute;
use netlink_packet_netfilter::nftables::Lookup;
use netlink_packet_netfilter::nftables::Meta;
use netlink_packet_netfilter::nftables::MetaKey;
use netlink_packet_netfilter::nftables::NfTablesMessage;
use netlink_packet_netfilter::nftables::Operator;
use netlink_packet_netfilter::nftables::Payload;
use netlink_packet_netfilter::nftables::Register;
use netlink_packet_netfilter::nftables::RuleAttribute;
use netlink_packet_netfilter::nftables::RuleMessage;
use netlink_packet_netfilter::nftables::SetAttribute;
use netlink_packet_netfilter::nftables::SetElementAttribute;
use netlink_packet_netfilter::nftables::SetElementFlags;
use netlink_packet_netfilter::nftables::SetElementList;
use netlink_packet_netfilter::nftables::SetElementMessage;
use netlink_packet_netfilter::nftables::SetFlags;
use netlink_packet_netfilter::nftables::SetMessage;
use netlink_packet_netfilter::nftables::TableAttribute;
use netlink_packet_netfilter::nftables::TableMessage;
use netlink_packet_netfilter::nftables::Verdict;
use netlink_packet_netfilter::nftables::VerdictAttribute;
use netlink_packet_netfilter::none::ControlMessage;

use super::netlink::Channel;
use super::rule::CHAINS;
use super::rule::Chain;
use super::rule::Forwarding;
use super::rule::Hook;
use super::rule::Part;
use super::rule::Rule;
use super::rule::rules;

/// The name of our table.
pub(super) const TABLE: &str = "coracle";

// Types as `nft` numbers them; the kernel only stores them, `nft list` reads them.
const IPV4_ADDRESS: u32 = 7;
const PROTOCOL: u32 = 12;
const SERVICE: u32 = 13;
const LINK_NAME: u32 = 41;

/// The bytes of a link's name in a register: IFNAMSIZ.
const LINK_NAME_BYTES: usize = 16;

/// An element of one of the sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Element {
    /// In `bridges` or `internal`.
    Bridge { set: &'static str, name: String },
    /// In `within`.
    Within { name: String },
    /// In `subnets`: from the first address up to the one before `end`.
    Subnet { base: Ipv4Addr, end: Option<Ipv4Addr> },
    /// In `ports`; the protocol by its number.
    Port { protocol: u8, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16) },
}

/// Changes that happen together or not at all.
#[derive(Debug, Default)]
pub(super) struct Batch {
    messages: Vec<(NetfilterMessage, u16)>,
}

impl Batch {
    /// Makes sure that the table stands with all its chains, sets and rules; elements are left alone.
    pub(super) fn ensure_table(&mut self, forwarding: Forwarding) {
        self.push(NfTablesMessage::NewTable(TableMessage { attributes: vec![TableAttribute::Name(TABLE.into())] }), NLM_F_CREATE);
        for (id, set) in sets().into_iter().enumerate() {
            self.push(NfTablesMessage::NewSet(set.message(id as u32 + 1)), NLM_F_CREATE);
        }
        for chain in CHAINS {
            self.push(NfTablesMessage::NewChain(chain_message(chain)), NLM_F_CREATE);
            let all_rules = vec![RuleAttribute::Table(TABLE.into()), RuleAttribute::Chain(chain.name.into())];
            self.push(NfTablesMessage::DeleteRule(RuleMessage { attributes: all_rules }), 0);
        }
        for rule in rules(forwarding) {
            self.push(NfTablesMessage::NewRule(rule_message(&rule)), NLM_F_CREATE | NLM_F_APPEND);
        }
    }

    /// Removes the table and all that is in it.
    pub(super) fn delete_table(&mut self) {
        self.push(NfTablesMessage::DeleteTable(TableMessage { attributes: vec![TableAttribute::Name(TABLE.into())] }), 0);
    }

    /// Adds elements; one that is there already with the same target is no error, with another it is.
    pub(super) fn add(&mut self, elements: &[Element]) {
        for element in elements {
            self.push(NfTablesMessage::NewSetElement(element_message(element)), NLM_F_CREATE);
        }
    }

    /// Removes elements.
    pub(super) fn delete(&mut self, elements: &[Element]) {
        for element in elements {
            self.push(NfTablesMessage::DeleteSetElement(element_message(element)), 0);
        }
    }

    fn push(&mut self, message: NfTablesMessage, flags: u16) {
        self.push_for(NetfilterProtoFamily::IPv4, message, flags);
    }

    /// Adds any change, to a table of any family.
    pub(super) fn push_for(&mut self, family: NetfilterProtoFamily, message: NfTablesMessage, flags: u16) {
        self.messages.push((NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), message), flags));
    }

    /// Has the kernel carry the changes out.
    pub(super) fn commit(self, channel: &mut Channel) -> io::Result<()> {
        let mut messages = vec![(control(ControlMessage::BatchBegin), 0)];
        messages.extend(self.messages);
        messages.push((control(ControlMessage::BatchEnd), 0));
        channel.batch(messages)
    }
}

fn control(message: ControlMessage) -> NetfilterMessage {
    let subsystem = libc::NFNL_SUBSYS_NFTABLES as u16;
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, subsystem), message)
}

/// Whether our table is there.
pub(super) fn has_table(channel: &mut Channel) -> io::Result<bool> {
    let message = NfTablesMessage::GetTable(TableMessage { attributes: vec![TableAttribute::Name(TABLE.into())] });
    match channel.ask(NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::IPv4, 0, 0), message)) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        answer => answer.map(|_| true),
    }
}

/// The names of the bridges in the set `bridges`; none if there is no table.
pub(super) fn bridges(channel: &mut Channel) -> io::Result<Vec<String>> {
    let attributes = vec![SetElementList::Table(TABLE.into()), SetElementList::Set("bridges".into())];
    let message = NfTablesMessage::GetSetElement(SetElementMessage { attributes });
    let header = NetfilterHeader::new(NetfilterProtoFamily::IPv4, 0, 0);
    let answers = match channel.dump(NetfilterMessage::new(header, message)) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(Vec::new()),
        answers => answers?,
    };
    Ok(answers.iter().flat_map(names_in).collect())
}

fn names_in(message: &NetfilterMessage) -> Vec<String> {
    let NetfilterMessageInner::NfTables(NfTablesMessage::NewSetElement(message)) = &message.inner else { return Vec::new() };
    let elements = message.attributes.iter().filter_map(|attribute| match attribute {
        SetElementList::Elements(elements) => Some(elements),
        _ => None,
    });
    let parts = elements.flatten().filter_map(|element| match element {
        ListAttribute::Element(parts) => Some(parts),
        _ => None,
    });
    let keys = parts.flatten().filter_map(|part| match part {
        SetElementAttribute::Key(DataAttribute::Value(bytes)) => Some(bytes),
        _ => None,
    });
    keys.map(|bytes| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()).collect()
}

/// A set or map as it is declared.
struct Set {
    name: &'static str,
    flags: SetFlags,
    key: &'static [(u32, usize)],
    target: &'static [(u32, usize)],
}

fn sets() -> [Set; 5] {
    const LINK: (u32, usize) = (LINK_NAME, LINK_NAME_BYTES);
    const ADDRESS: (u32, usize) = (IPV4_ADDRESS, 4);
    const PORT: (u32, usize) = (SERVICE, 4);
    [
        Set { name: "bridges", flags: SetFlags::empty(), key: &[LINK], target: &[] },
        Set { name: "internal", flags: SetFlags::empty(), key: &[LINK], target: &[] },
        Set { name: "within", flags: SetFlags::empty(), key: &[LINK, LINK], target: &[] },
        Set { name: "subnets", flags: SetFlags::Interval, key: &[ADDRESS], target: &[] },
        Set { name: "ports", flags: SetFlags::Map, key: &[(PROTOCOL, 4), ADDRESS, PORT], target: &[ADDRESS, PORT] },
    ]
}

impl Set {
    fn message(&self, id: u32) -> SetMessage {
        let mut attributes = vec![
            SetAttribute::Table(TABLE.into()),
            SetAttribute::Name(self.name.into()),
            SetAttribute::Flags(self.flags),
            SetAttribute::KeyType(type_of(self.key)),
            SetAttribute::KeyLen(length_of(self.key)),
            SetAttribute::Id(id),
        ];
        if self.key[0].0 == LINK_NAME {
            // For `nft list` only (libnftnl, udata.h): KEYBYTEORDER 0 of 4 bytes, host order 1, as strings have it.
            let userdata = [[0, 4].as_slice(), &1u32.to_ne_bytes()].concat();
            attributes.push(SetAttribute::UserData(userdata));
        }
        if !self.target.is_empty() {
            attributes.push(SetAttribute::DataType(type_of(self.target)));
            attributes.push(SetAttribute::DataLen(length_of(self.target)));
        }
        SetMessage { attributes }
    }
}

/// `nft` packs the types of a concatenation six bits each.
fn type_of(fields: &[(u32, usize)]) -> u32 {
    fields.iter().fold(0, |packed, (kind, _)| packed << 6 | kind)
}

fn length_of(fields: &[(u32, usize)]) -> u32 {
    fields.iter().map(|(_, length)| *length as u32).sum()
}

fn chain_message(chain: Chain) -> ChainMessage {
    use netlink_packet_netfilter::nftables::Hook as HookAttribute;
    let hook = match chain.hook {
        Hook::Prerouting => InetHookNumber::PreRouting,
        Hook::Forward => InetHookNumber::Forward,
        Hook::Output => InetHookNumber::LocalOut,
        Hook::Postrouting => InetHookNumber::PostRouting,
    };
    let priority = chain.priority.cast_unsigned();
    let hook = vec![HookAttribute::Number(HookNumber::Inet(hook)), HookAttribute::Priority(priority)];
    ChainMessage {
        attributes: vec![
            ChainAttribute::Table(TABLE.into()),
            ChainAttribute::Name(chain.name.into()),
            ChainAttribute::Hook(hook),
            ChainAttribute::Type(chain.kind.into()),
        ],
    }
}

fn element_message(element: &Element) -> SetElementMessage {
    let (set, elements) = match element {
        Element::Bridge { set, name } => (*set, vec![key(link_name(name).to_vec())]),
        Element::Within { name } => ("within", vec![key([link_name(name), link_name(name)].concat())]),
        Element::Subnet { base, end } => {
            let mut ends = vec![key(base.octets().to_vec())];
            ends.extend(end.map(|end| {
                let mut parts = key(end.octets().to_vec());
                parts.push(SetElementAttribute::Flags(SetElementFlags::IntervalEnd));
                parts
            }));
            ("subnets", ends)
        }
        Element::Port { protocol, from, to } => {
            let mut parts = key([vec![*protocol, 0, 0, 0], address_and_port(*from)].concat());
            parts.push(SetElementAttribute::Data(DataAttribute::Value(address_and_port(*to))));
            ("ports", vec![parts])
        }
    };
    let elements = elements.into_iter().map(ListAttribute::Element).collect();
    SetElementMessage {
        attributes: vec![SetElementList::Table(TABLE.into()), SetElementList::Set(set.into()), SetElementList::Elements(elements)],
    }
}

fn key(bytes: Vec<u8>) -> Vec<SetElementAttribute> {
    vec![SetElementAttribute::Key(DataAttribute::Value(bytes))]
}

fn link_name(name: &str) -> [u8; LINK_NAME_BYTES] {
    let mut bytes = [0; LINK_NAME_BYTES];
    for (place, byte) in bytes.iter_mut().zip(name.bytes().take(LINK_NAME_BYTES - 1)) {
        *place = byte;
    }
    bytes
}

fn address_and_port((address, port): (Ipv4Addr, u16)) -> Vec<u8> {
    [address.octets(), [port.to_be_bytes()[0], port.to_be_bytes()[1], 0, 0]].concat()
}

fn rule_message(rule: &Rule) -> RuleMessage {
    let expressions = rule.parts.iter().flat_map(|part| expressions_of(*part)).map(ListAttribute::from).collect();
    RuleMessage {
        attributes: vec![
            RuleAttribute::Table(TABLE.into()),
            RuleAttribute::Chain(rule.chain.into()),
            RuleAttribute::Expressions(expressions),
        ],
    }
}

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

fn expressions_of(part: Part) -> Vec<Expressions> {
    match part {
        Part::NotFromLoopbackLink => vec![load(MetaKey::Iifname, FIRST), compare(Operator::NotEqual, link_name("lo").to_vec())],
        Part::ToLoopbackAddress => vec![destination(FIRST, 1), compare(Operator::Equal, vec![127])],
        Part::FromLoopbackAddress => vec![source(1), compare(Operator::Equal, vec![127])],
        Part::FromSubnetIn(set) => vec![source(4), look_up(set, Found::Wanted)],
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
        Part::ToPublishedAtAddress => translate(vec![destination(Register::Reg32_01, 4)]),
        Part::ToPublishedAnywhere => translate(vec![destination(Register::Reg32_01, 4), clear(Register::Reg32_01)]),
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

fn source(bytes: u32) -> Expressions {
    payload(NETWORK_HEADER, (12, bytes), FIRST)
}

fn destination(register: Register, bytes: u32) -> Expressions {
    payload(NETWORK_HEADER, (16, bytes), register)
}

fn compare(operator: Operator, value: Vec<u8>) -> Expressions {
    Expressions::Cmp(vec![Cmp::SourceRegister(FIRST), Cmp::Op(operator), Cmp::Data(DataAttribute::Value(value))])
}

/// A zero where an address was: `ip daddr & 0.0.0.0`. A constant would do, but `nft` cannot print one in this place.
fn clear(register: Register) -> Expressions {
    mask(register, 0)
}

fn mask(register: Register, bits: u32) -> Expressions {
    Expressions::Bitwise(vec![
        Bitwise::SourceRegister(register),
        Bitwise::DestinationRegister(register),
        Bitwise::Length(4),
        Bitwise::Mask(DataAttribute::Value(bits.to_ne_bytes().to_vec())),
        Bitwise::Xor(DataAttribute::Value(vec![0; 4])),
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
    vec![loaded, mask(FIRST, bits), compare(Operator::NotEqual, vec![0; 4])]
}

/// `ct`: NFTA_CT_DREG 1, NFTA_CT_KEY 2.
fn conntrack(key: u32) -> Expressions {
    other("ct", vec![number(1, FIRST.into()), number(2, key)])
}

/// `fib daddr type`: NFTA_FIB_DREG 1, NFTA_FIB_RESULT 2 (ADDRTYPE 3), NFTA_FIB_FLAGS 3 (DADDR 2).
fn destination_type() -> Expressions {
    other("fib", vec![number(1, FIRST.into()), number(2, 3), number(3, 2)])
}

/// Looks protocol, address and port up in the map and sends the packet where it says; no element, no rule.
///
/// `nat`: NFTA_NAT_TYPE 1 (DNAT 1), NFTA_NAT_FAMILY 2, NFTA_NAT_REG_ADDR_MIN 3, NFTA_NAT_REG_PROTO_MIN 5.
fn translate(address: Vec<Expressions>) -> Vec<Expressions> {
    let found = Expressions::Lookup(vec![
        Lookup::Set("ports".into()),
        Lookup::SourceRegister(Register::Reg32_00),
        Lookup::DestinationRegister(Register::Reg32_00),
    ]);
    let family = libc::NFPROTO_IPV4.cast_unsigned();
    let translated = vec![number(1, 1), number(2, family), number(3, Register::Reg32_00.into()), number(5, Register::Reg32_01.into())];
    let mut expressions = vec![load(MetaKey::L4Proto, Register::Reg32_00)];
    expressions.extend(address);
    expressions.extend([payload(TRANSPORT_HEADER, (2, 2), Register::Reg32_02), found, other("nat", translated)]);
    expressions
}

/// An expression that the crate has no type for.
fn other(name: &str, attributes: Vec<DefaultNla>) -> Expressions {
    Expressions::Other { expression_type: name.into(), attributes }
}

fn number(kind: u16, value: u32) -> DefaultNla {
    DefaultNla::new(kind, value.to_be_bytes().to_vec())
}
