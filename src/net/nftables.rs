//! Writes the firewall's rules, sets and elements as nf_tables messages. Knows the encoding, not the policy.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::NLM_F_APPEND;
use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_netfilter::NetfilterHeader;
use netlink_packet_netfilter::NetfilterMessage;
use netlink_packet_netfilter::NetfilterMessageInner;
use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::nftables::ChainAttribute;
use netlink_packet_netfilter::nftables::ChainMessage;
use netlink_packet_netfilter::nftables::DataAttribute;
use netlink_packet_netfilter::nftables::HookNumber;
use netlink_packet_netfilter::nftables::InetHookNumber;
use netlink_packet_netfilter::nftables::ListAttribute;
use netlink_packet_netfilter::nftables::NfTablesMessage;
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
use netlink_packet_netfilter::none::ControlMessage;

use super::expression::expressions_of;
use super::netlink::Channel;
use super::rule::Chain;
use super::rule::Family;
use super::rule::Forwarding;
use super::rule::Hook;
use super::rule::Rule;
use super::rule::chains;
use super::rule::rules;

/// The name of our tables.
pub(super) const TABLE: &str = "coracle";

// Types as `nft` numbers them; the kernel only stores them, `nft list` reads them.
const IPV4_ADDRESS: u32 = 7;
const IPV6_ADDRESS: u32 = 8;
const PROTOCOL: u32 = 12;
const SERVICE: u32 = 13;
const LINK_NAME: u32 = 41;

/// The bytes of a link's name in a register: IFNAMSIZ.
const LINK_NAME_BYTES: usize = 16;

/// An element of one of the sets of a family's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Element {
    /// In `bridges`, `internal`, `open` or `routed`.
    Bridge { family: Family, set: &'static str, name: String },
    /// In `within`.
    Within { family: Family, name: String },
    /// In `trusted`: a link, and the bridge that it leads to.
    Trusted { family: Family, link: String, bridge: String },
    /// In `direct`; the protocol by its number.
    Direct { protocol: u8, to: (IpAddr, u16) },
    /// In `subnets`: from the first address up to the one before `end`.
    Subnet { base: IpAddr, end: Option<IpAddr> },
    /// In `ports`; the protocol by its number. Both addresses are of one family.
    Port { protocol: u8, from: (IpAddr, u16), to: (IpAddr, u16) },
}

impl Element {
    /// Whose table it is in.
    pub(super) fn family(&self) -> Family {
        match self {
            Element::Bridge { family, .. } | Element::Within { family, .. } | Element::Trusted { family, .. } => *family,
            Element::Direct { to, .. } => Family::of(to.0),
            Element::Subnet { base, .. } => Family::of(*base),
            Element::Port { from, .. } => Family::of(from.0),
        }
    }
}

/// Changes that happen together or not at all.
#[derive(Debug, Default)]
pub(super) struct Batch {
    messages: Vec<(NetfilterMessage, u16)>,
}

impl Batch {
    /// Makes sure that a family's table stands with all its chains, sets and rules; elements are left alone.
    pub(super) fn ensure_table(&mut self, family: Family, forwarding: Forwarding) {
        let kind = kind(family);
        self.push(kind, NfTablesMessage::NewTable(TableMessage { attributes: vec![TableAttribute::Name(TABLE.into())] }), NLM_F_CREATE);
        for (id, set) in sets(family).into_iter().enumerate() {
            self.push(kind, NfTablesMessage::NewSet(set.message(id as u32 + 1)), NLM_F_CREATE);
        }
        for chain in chains(family) {
            self.push(kind, NfTablesMessage::NewChain(chain_message(*chain)), NLM_F_CREATE);
            let all_rules = vec![RuleAttribute::Table(TABLE.into()), RuleAttribute::Chain(chain.name.into())];
            self.push(kind, NfTablesMessage::DeleteRule(RuleMessage { attributes: all_rules }), 0);
        }
        for rule in rules(family, forwarding) {
            self.push(kind, NfTablesMessage::NewRule(rule_message(&rule)), NLM_F_CREATE | NLM_F_APPEND);
        }
    }

    /// Removes a family's table and all that is in it.
    pub(super) fn delete_table(&mut self, family: Family) {
        let attributes = vec![TableAttribute::Name(TABLE.into())];
        self.push(kind(family), NfTablesMessage::DeleteTable(TableMessage { attributes }), 0);
    }

    /// Adds elements; one that is there already with the same target is no error, with another it is.
    pub(super) fn add(&mut self, elements: &[Element]) {
        for element in elements {
            self.push(kind(element.family()), NfTablesMessage::NewSetElement(element_message(element)), NLM_F_CREATE);
        }
    }

    /// Removes elements.
    pub(super) fn delete(&mut self, elements: &[Element]) {
        for element in elements {
            self.push(kind(element.family()), NfTablesMessage::DeleteSetElement(element_message(element)), 0);
        }
    }

    /// Adds any change, to a table of any kind.
    pub(super) fn push(&mut self, kind: NetfilterProtoFamily, message: NfTablesMessage, flags: u16) {
        self.messages.push((NetfilterMessage::new(NetfilterHeader::new(kind, 0, 0), message), flags));
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

/// How netfilter calls a family.
pub(super) fn kind(family: Family) -> NetfilterProtoFamily {
    match family {
        Family::V4 => NetfilterProtoFamily::IPv4,
        Family::V6 => NetfilterProtoFamily::IPv6,
    }
}

/// Whether our table of a family is there.
pub(super) fn has_table(channel: &mut Channel, family: Family) -> io::Result<bool> {
    let message = NfTablesMessage::GetTable(TableMessage { attributes: vec![TableAttribute::Name(TABLE.into())] });
    match channel.ask(NetfilterMessage::new(NetfilterHeader::new(kind(family), 0, 0), message)) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        answer => answer.map(|_| true),
    }
}

/// The names of the bridges in a family's set `bridges`; none if there is no table.
pub(super) fn bridges(channel: &mut Channel, family: Family) -> io::Result<Vec<String>> {
    let attributes = vec![SetElementList::Table(TABLE.into()), SetElementList::Set("bridges".into())];
    let message = NfTablesMessage::GetSetElement(SetElementMessage { attributes });
    let header = NetfilterHeader::new(kind(family), 0, 0);
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

/// A set or map as it is declared; of each field of key and target, its type and bytes.
struct Set {
    name: &'static str,
    flags: SetFlags,
    key: Vec<(u32, usize)>,
    target: Vec<(u32, usize)>,
}

fn sets(family: Family) -> [Set; 9] {
    const LINK: (u32, usize) = (LINK_NAME, LINK_NAME_BYTES);
    const PORT: (u32, usize) = (SERVICE, 4);
    let address = match family {
        Family::V4 => (IPV4_ADDRESS, 4),
        Family::V6 => (IPV6_ADDRESS, 16),
    };
    let set = |name, flags, key: &[(u32, usize)], target: &[(u32, usize)]| Set { name, flags, key: key.to_vec(), target: target.to_vec() };
    [
        set("bridges", SetFlags::empty(), &[LINK], &[]),
        set("internal", SetFlags::empty(), &[LINK], &[]),
        set("open", SetFlags::empty(), &[LINK], &[]),
        set("routed", SetFlags::empty(), &[LINK], &[]),
        set("trusted", SetFlags::empty(), &[LINK, LINK], &[]),
        set("within", SetFlags::empty(), &[LINK, LINK], &[]),
        set("subnets", SetFlags::Interval, &[address], &[]),
        set("direct", SetFlags::empty(), &[(PROTOCOL, 4), address, PORT], &[]),
        set("ports", SetFlags::Map, &[(PROTOCOL, 4), address, PORT], &[address, PORT]),
    ]
}

impl Set {
    fn message(&self, id: u32) -> SetMessage {
        let mut attributes = vec![
            SetAttribute::Table(TABLE.into()),
            SetAttribute::Name(self.name.into()),
            SetAttribute::Flags(self.flags),
            SetAttribute::KeyType(type_of(&self.key)),
            SetAttribute::KeyLen(length_of(&self.key)),
            SetAttribute::Id(id),
        ];
        if self.key[0].0 == LINK_NAME {
            // For `nft list` only (libnftnl, udata.h): KEYBYTEORDER 0 of 4 bytes, host order 1, as strings have it.
            let userdata = [[0, 4].as_slice(), &1u32.to_ne_bytes()].concat();
            attributes.push(SetAttribute::UserData(userdata));
        }
        if !self.target.is_empty() {
            attributes.push(SetAttribute::DataType(type_of(&self.target)));
            attributes.push(SetAttribute::DataLen(length_of(&self.target)));
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

pub(super) fn chain_message(chain: Chain) -> ChainMessage {
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
        Element::Bridge { set, name, .. } => (*set, vec![key(link_name(name).to_vec())]),
        Element::Within { name, .. } => ("within", vec![key([link_name(name), link_name(name)].concat())]),
        Element::Trusted { link, bridge, .. } => ("trusted", vec![key([link_name(link), link_name(bridge)].concat())]),
        Element::Direct { protocol, to } => ("direct", vec![key([vec![*protocol, 0, 0, 0], address_and_port(*to)].concat())]),
        Element::Subnet { base, end } => {
            let mut ends = vec![key(octets(*base))];
            ends.extend(end.map(|end| {
                let mut parts = key(octets(end));
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

/// A link's name as a register holds it.
pub(super) fn link_name(name: &str) -> [u8; LINK_NAME_BYTES] {
    let mut bytes = [0; LINK_NAME_BYTES];
    for (place, byte) in bytes.iter_mut().zip(name.bytes().take(LINK_NAME_BYTES - 1)) {
        *place = byte;
    }
    bytes
}

fn address_and_port((address, port): (IpAddr, u16)) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    [octets(address), vec![high, low, 0, 0]].concat()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn rule_message(rule: &Rule) -> RuleMessage {
    let expressions = rule.parts.iter().flat_map(|part| expressions_of(rule.family, *part)).map(ListAttribute::from).collect();
    RuleMessage {
        attributes: vec![
            RuleAttribute::Table(TABLE.into()),
            RuleAttribute::Chain(rule.chain.into()),
            RuleAttribute::Expressions(expressions),
        ],
    }
}
