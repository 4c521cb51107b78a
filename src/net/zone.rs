//! Answers questions about the names of one container's networks. Pure, but for the order of several addresses.

use std::net::IpAddr;

use hickory_proto::op::Edns;
use hickory_proto::op::Message;
use hickory_proto::op::MessageType;
use hickory_proto::op::Metadata;
use hickory_proto::op::OpCode;
use hickory_proto::op::Query;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::DNSClass;
use hickory_proto::rr::Name;
use hickory_proto::rr::RData;
use hickory_proto::rr::Record;
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::rdata::AAAA;
use hickory_proto::rr::rdata::PTR;

use super::Answer;
use super::Zone;

/// Docker's: seconds that an answer may be kept. A container that is started anew has another address, so what
/// caches, as systemd-resolved or nscd in a container do, is wrong for at most as long as with Docker.
const TIME_TO_LIVE: u32 = 600;

/// What a question without EDNS may be answered with over UDP (RFC 1035, 4.2.1).
const SMALLEST_LIMIT: usize = 512;

/// Bytes of a message's header; shorter is no message.
const HEADER: usize = 12;

/// Answers one DNS message (RFC 1035) from a zone.
///
/// Names are compared without case and without the final dot. A name that is known but has no address of the wanted
/// kind is an empty answer, never "no such name": a resolver that asks for AAAA first would stop there.
pub fn answer(zone: &Zone, question: &[u8]) -> Answer {
    let message = match Message::from_vec(question) {
        Ok(message) => message,
        // Answering an answer would make a loop of two servers.
        Err(_) if question.len() < HEADER || question[2] & 0x80 != 0 => return Answer::Drop,
        Err(_) => return reply(&refused(question, ResponseCode::FormErr)),
    };
    if message.metadata.message_type != MessageType::Query {
        return Answer::Drop;
    }
    if message.metadata.op_code != OpCode::Query {
        return reply(&refused(question, ResponseCode::NotImp));
    }
    let [query] = message.queries.as_slice() else {
        return reply(&refused(question, ResponseCode::FormErr));
    };
    match records(zone, query) {
        Some(records) => reply(&response(&message, query, records)),
        None => Answer::Forward,
    }
}

/// The answer "we could not find out" to a question that was forwarded in vain.
pub(super) fn failed(question: &[u8]) -> Option<Vec<u8>> {
    let query = Message::from_vec(question).ok()?;
    let mut message = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    message.metadata = Metadata::response_from_request(&query.metadata);
    message.metadata.recursion_available = true;
    message.metadata.response_code = ResponseCode::ServFail;
    message.add_queries(query.queries);
    message.to_vec().ok()
}

/// Makes a reply fit what the asker can take over UDP: one that is too long is emptied and marked, and the asker comes
/// again over TCP.
pub(super) fn fit(question: &[u8], reply: Vec<u8>) -> Vec<u8> {
    if reply.len() <= SMALLEST_LIMIT {
        return reply;
    }
    let limit = Message::from_vec(question).ok().map_or(SMALLEST_LIMIT, |message| usize::from(message.max_payload()));
    if reply.len() <= limit.max(SMALLEST_LIMIT) {
        return reply;
    }
    Message::from_vec(&reply).ok().and_then(|message| message.truncate().to_vec().ok()).unwrap_or(reply)
}

fn reply(message: &Message) -> Answer {
    message.to_vec().map_or(Answer::Drop, Answer::Reply)
}

fn refused(question: &[u8], code: ResponseCode) -> Message {
    let id = u16::from_be_bytes([question[0], question[1]]);
    let mut message = Message::new(id, MessageType::Response, OpCode::Query);
    message.metadata.recursion_desired = question[2] & 1 != 0;
    message.metadata.recursion_available = true;
    message.metadata.response_code = code;
    message
}

fn response(question: &Message, query: &Query, records: Vec<Record>) -> Message {
    let mut message = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    message.metadata = Metadata::response_from_request(&question.metadata);
    message.metadata.recursion_available = true;
    message.add_query(query.clone());
    message.add_answers(records);
    if question.edns.is_some() {
        // RFC 6891, 6.1.1: who asks with it must be answered with it.
        let mut edns = Edns::new();
        edns.set_max_payload(1232);
        message.set_edns(edns);
    }
    message
}

/// The records that answer a query; none if the name is not ours to answer for.
fn records(zone: &Zone, query: &Query) -> Option<Vec<Record>> {
    if !matches!(query.query_class(), DNSClass::IN | DNSClass::ANY) {
        return None;
    }
    let record = |data: RData| Record::from_rdata(query.name().clone(), TIME_TO_LIVE, data);
    let kind = query.query_type();
    if let Some(addresses) = zone.addresses.get(&key(query.name())) {
        let data = addresses.iter().filter_map(|address| match address {
            IpAddr::V4(address) if matches!(kind, RecordType::A | RecordType::ANY) => Some(RData::A(A(*address))),
            IpAddr::V6(address) if matches!(kind, RecordType::AAAA | RecordType::ANY) => Some(RData::AAAA(AAAA(*address))),
            _ => None,
        });
        let mut records: Vec<Record> = data.map(record).collect();
        turn(&mut records);
        return Some(records);
    }
    let address = address_of(query.name())?;
    let name = zone.names.get(&address)?;
    let wanted = matches!(kind, RecordType::PTR | RecordType::ANY);
    let name = Name::from_str_relaxed(format!("{}.", name.trim_end_matches('.'))).ok()?;
    Some(if wanted { vec![record(RData::PTR(PTR(name)))] } else { Vec::new() })
}

fn key(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

/// The address that a name below in-addr.arpa or ip6.arpa stands for.
fn address_of(name: &Name) -> Option<IpAddr> {
    let mut name = name.clone();
    name.set_fqdn(true);
    let network = name.parse_arpa_name().ok()?;
    (network.prefix_len() == network.max_prefix_len()).then(|| network.addr())
}

/// Begins with another record each time, so that clients which take the first spread over all.
fn turn(records: &mut [Record]) {
    if records.len() > 1 {
        let mut random = [0u8; 1];
        // Without random bytes the order stays; nothing depends on it.
        let _ = crate::state::fill_randomly(&mut random);
        let start = usize::from(random[0]) % records.len();
        records.rotate_left(start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn zone() -> Zone {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut zone = Zone::default();
        zone.addresses.insert("redis".into(), vec![address("172.18.0.2")]);
        zone.addresses.insert("db.back.internal".into(), vec![address("172.18.0.9")]);
        zone.addresses.insert("web".into(), vec![address("172.18.0.3"), address("172.18.0.4"), address("fd00::3")]);
        zone.names.insert(address("172.18.0.2"), "shop-redis-1.shop_default".into());
        zone.names.insert(address("fd00::3"), "shop-web-1".into());
        zone
    }

    fn question(name: &str, kind: RecordType) -> Vec<u8> {
        let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_str_relaxed(name).unwrap(), kind));
        message.to_vec().unwrap()
    }

    fn ask(name: &str, kind: RecordType) -> Option<Vec<String>> {
        match answer(&zone(), &question(name, kind)) {
            Answer::Reply(bytes) => {
                let reply = Message::from_vec(&bytes).unwrap();
                assert_eq!(reply.metadata.id, 4711);
                assert_eq!(reply.metadata.message_type, MessageType::Response);
                assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
                assert!(reply.metadata.recursion_available && reply.metadata.recursion_desired);
                assert_eq!(reply.queries.len(), 1);
                let mut found: Vec<String> = reply.answers.iter().map(|record| record.data.to_string()).collect();
                found.sort();
                Some(found)
            }
            Answer::Forward => None,
            Answer::Drop => panic!("dropped {name}"),
        }
    }

    #[test]
    fn questions_are_answered_from_the_zone_or_forwarded() {
        use RecordType::*;
        let some = |records: &[&str]| Some(records.iter().map(|record| (*record).to_owned()).collect::<Vec<_>>());
        let cases = [
            ("redis.", A, some(&["172.18.0.2"])),
            ("ReDiS.", A, some(&["172.18.0.2"])),
            ("redis", A, some(&["172.18.0.2"])),
            ("redis.", AAAA, some(&[])),
            ("redis.", MX, some(&[])),
            ("redis.", ANY, some(&["172.18.0.2"])),
            ("db.back.internal.", A, some(&["172.18.0.9"])),
            ("web.", A, some(&["172.18.0.3", "172.18.0.4"])),
            ("web.", AAAA, some(&["fd00::3"])),
            ("back.internal.", A, None),
            ("redis.example.org.", A, None),
            ("example.org.", A, None),
            (".", NS, None),
            ("2.0.18.172.in-addr.arpa.", PTR, some(&["shop-redis-1.shop_default."])),
            ("2.0.18.172.IN-ADDR.ARPA.", PTR, some(&["shop-redis-1.shop_default."])),
            ("2.0.18.172.in-addr.arpa.", A, some(&[])),
            ("3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.", PTR, some(&["shop-web-1."])),
            ("3.0.18.172.in-addr.arpa.", PTR, None),
            ("18.172.in-addr.arpa.", PTR, None),
        ];
        for (name, kind, expected) in cases {
            assert_eq!(ask(name, kind), expected, "{name} {kind}");
        }
    }

    #[test]
    fn several_addresses_take_turns_at_being_first() {
        let first = || match answer(&zone(), &question("web.", RecordType::A)) {
            Answer::Reply(bytes) => Message::from_vec(&bytes).unwrap().answers[0].data.to_string(),
            other => panic!("{other:?}"),
        };
        let firsts: BTreeSet<String> = (0..200).map(|_| first()).collect();
        assert_eq!(firsts.len(), 2);
    }

    #[test]
    fn what_is_no_question_is_dropped_or_refused() {
        assert_eq!(answer(&zone(), b""), Answer::Drop);
        assert_eq!(answer(&zone(), &[0; 11]), Answer::Drop);
        let mut an_answer = question("redis.", RecordType::A);
        an_answer[2] |= 0x80;
        assert_eq!(answer(&zone(), &an_answer), Answer::Drop);
        let cut = &question("redis.", RecordType::A)[..15];
        let code = |bytes: &[u8]| match answer(&zone(), bytes) {
            Answer::Reply(bytes) => Message::from_vec(&bytes).unwrap().metadata.response_code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code(cut), ResponseCode::FormErr);
        let mut update = question("redis.", RecordType::A);
        update[2] |= 5 << 3;
        assert!(matches!(answer(&zone(), &update), Answer::Reply(_) | Answer::Drop));
        for length in 0..cut.len() {
            let _ = answer(&zone(), &cut[..length]);
        }
    }

    #[test]
    fn a_reply_too_long_for_udp_is_emptied_and_marked() {
        let mut zone = zone();
        let many = (0..100u8).map(|last| IpAddr::from([172, 18, 1, last])).collect();
        zone.addresses.insert("many".into(), many);
        let question = question("many.", RecordType::A);
        let Answer::Reply(whole) = answer(&zone, &question) else { panic!("no reply") };
        assert_eq!(Message::from_vec(&whole).unwrap().answers.len(), 100);
        let fitted = fit(&question, whole);
        assert!(fitted.len() <= 512);
        assert!(Message::from_vec(&fitted).unwrap().metadata.truncation);
    }

    #[test]
    fn a_question_asked_with_edns_is_answered_with_it() {
        let mut message = Message::from_vec(&question("redis.", RecordType::A)).unwrap();
        message.set_edns(Edns::new());
        let Answer::Reply(bytes) = answer(&zone(), &message.to_vec().unwrap()) else { panic!("no reply") };
        assert!(Message::from_vec(&bytes).unwrap().edns.is_some());
    }
}
