//! Servers that a thread of the test plays inside a world: proxies, givers of tokens, registries that misbehave.

use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sched::CloneFlags;
use nix::sched::setns;

use super::World;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `GET /v2/`
    pub line: String,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Asked {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// `/v2/`
    pub fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }
}

/// A server that answers until it is dropped, and remembers what it was asked.
pub struct Played {
    asked: Arc<Mutex<Vec<Asked>>>,
    over: Arc<AtomicBool>,
}

impl Played {
    /// Answers every request at 127.0.0.1 of the world, one for each connection, by `answer`.
    pub fn start(world: &World, port: u16, answer: impl Fn(&Asked, TcpStream) + Send + Sync + 'static) -> Played {
        let namespace = File::open(world.holder().join("ns/net")).expect("the holder has a network namespace");
        let played = Played { asked: Arc::default(), over: Arc::default() };
        let (asked, over, answer) = (Arc::clone(&played.asked), Arc::clone(&played.over), Arc::new(answer));
        let (ready, is_ready) = mpsc::channel();
        thread::spawn(move || {
            // setns(2) changes the calling thread and those it begins.
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("the world's network namespace can be entered");
            let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
            listener.set_nonblocking(true).expect("a listener can be made not to wait");
            ready.send(()).expect("the test waits");
            while !over.load(Ordering::Relaxed) {
                let Ok((connection, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
                thread::spawn(move || {
                    connection.set_nonblocking(false).expect("a connection can be made to wait");
                    let Some(request) = read(&connection) else { return };
                    asked.lock().unwrap().push(request.clone());
                    answer(&request, connection);
                });
            }
        });
        is_ready.recv().expect("the server begins");
        played
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Answers and hangs up.
pub fn reply(mut to: TcpStream, status: &str, headers: &[&str], body: &str) {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let _ = write!(to, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len());
}

/// Lets the one who asked talk with `target`, as a proxy does.
pub fn join(mut client: TcpStream, target: &str) {
    let Ok(mut server) = TcpStream::connect(target) else { return reply(client, "502 Bad Gateway", &[], "") };
    let _ = client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
    let (Ok(mut from), Ok(mut to)) = (client.try_clone(), server.try_clone()) else { return };
    let there = thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let _ = io::copy(&mut server, &mut client);
    let _ = client.shutdown(Shutdown::Both);
    let _ = there.join();
}

fn read(connection: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut asked = Asked { line: line.trim_end().trim_end_matches(" HTTP/1.1").to_owned(), headers, body: String::new() };
    let length = asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    reader.take(length).read_to_string(&mut asked.body).ok()?;
    (!asked.line.is_empty()).then_some(asked)
}
