//! The name server that a world's host would have: it knows one name.

use std::fs::File;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sched::CloneFlags;
use nix::sched::setns;

const RESPONSE: u16 = 0x8180;
const NO_SUCH_NAME: u16 = 0x8183;
const TYPE_A: [u8; 2] = [0, 1];

/// Answers `name` with `address` on port 53 of `listen` in a network namespace for as long as the count is held.
///
/// Returns how many queries there were.
pub fn serve(namespace: File, listen: &str, name: &str, address: [u8; 4]) -> Arc<AtomicUsize> {
    let asked = Arc::new(AtomicUsize::new(0));
    let held = Arc::downgrade(&asked);
    let (ready, is_ready) = mpsc::channel();
    let (listen, name) = (listen.to_owned(), wire_name(name));
    thread::spawn(move || {
        // setns(2) changes the calling thread only.
        setns(namespace, CloneFlags::CLONE_NEWNET).expect("the world's network namespace can be entered");
        let socket = UdpSocket::bind((listen.as_str(), 53)).expect("port 53 of the world is free");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a limit can be set");
        ready.send(()).expect("somebody waits");
        answer_all(&socket, &held, &name, address);
    });
    is_ready.recv().expect("the name server is there");
    asked
}

fn answer_all(socket: &UdpSocket, held: &Weak<AtomicUsize>, name: &[u8], address: [u8; 4]) {
    let mut query = [0; 512];
    while let Some(asked) = held.upgrade() {
        let Ok((length, asker)) = socket.recv_from(&mut query) else { continue };
        asked.fetch_add(1, Ordering::SeqCst);
        // An asker that has gone away is no fault of ours.
        let _ = socket.send_to(&answer(&query[..length], name, address), asker);
    }
}

fn answer(query: &[u8], name: &[u8], address: [u8; 4]) -> Vec<u8> {
    let question = &query[12..];
    let name_length = question.iter().position(|byte| *byte == 0).map_or(question.len(), |end| end + 1);
    let known = question[..name_length].eq_ignore_ascii_case(name);
    let has_answer = known && question[name_length..].starts_with(&TYPE_A);
    let mut text = query[..2].to_vec();
    text.extend(if known { RESPONSE } else { NO_SUCH_NAME }.to_be_bytes());
    text.extend([0, 1, 0, u8::from(has_answer), 0, 0, 0, 0]);
    text.extend(&question[..(name_length + 4).min(question.len())]);
    if has_answer {
        // A pointer to the question's name, type A, class IN, a minute, four bytes.
        text.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        text.extend(address);
    }
    text
}

fn wire_name(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.') {
        wire.push(u8::try_from(label.len()).expect("a label is short"));
        wire.extend(label.as_bytes());
    }
    wire.push(0);
    wire
}
