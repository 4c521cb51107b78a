//! Carries connections and datagrams to a container where the firewall cannot lead them: those to ::1, and those of a
//! family that the container has no address of.
//!
//! One process for all such ports of one container, begun when somebody first knocks: it takes what comes until all has
//! been quiet for a moment, or until whoever began it is gone. Then what is open goes on, and what is new is left to
//! the next one, as the sockets are held elsewhere too.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use rustix::event::Timespec;
use rustix::event::epoll;
use rustix::event::epoll::EventData;
use rustix::event::epoll::EventFlags;
use rustix::net::Shutdown;
use rustix::net::sockopt;

use super::Port;
use super::Protocol;
use super::Reservation;
use super::Target;
use super::connection::Connection;
use crate::failure::Doing;
use crate::failure::Result;

/// How long all is quiet before the process ends.
const QUIET: Duration = Duration::from_secs(5);

/// How long a client's datagrams are remembered as one conversation; Docker's.
const CONVERSATION: Duration = Duration::from_secs(90);

/// Connections and conversations at once; more wait or are lost, as on a wire.
const MOST: usize = 4096;

/// Connections or datagrams taken in one go, so that one port does not starve the others.
const MOST_AT_ONCE: usize = 64;

/// How long we wait for room.
const PAUSE: Duration = Duration::from_millis(10);

/// No datagram is longer.
const LONGEST_DATAGRAM: usize = 64 * 1024;

/// A published port that a relay serves.
#[derive(Debug)]
pub struct Relayed {
    pub socket: OwnedFd,
    pub protocol: Protocol,
    /// Tried in this order.
    to: Vec<SocketAddr>,
}

impl Target {
    /// Which of the container's addresses are tried for what comes to a port past the firewall; none if nothing does.
    fn by_relay(self, port: &Port) -> Vec<IpAddr> {
        if port.host_port == 0 {
            return Vec::new();
        }
        let both = || self.ipv6.map(IpAddr::from).into_iter().chain(self.ipv4.map(IpAddr::from));
        match port.host_address {
            Some(IpAddr::V4(_)) if self.ipv4.is_none() => both().collect(),
            // Who listens on IPv4 alone is found all the same.
            Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED | Ipv6Addr::LOCALHOST)) => both().collect(),
            Some(IpAddr::V6(_)) if self.ipv6.is_none() => both().collect(),
            _ => Vec::new(),
        }
    }
}

/// The ports that need a relay, now that they are published: from here on connections to them wait for one.
///
/// # Errors
/// As listen(2).
pub fn relayed(reservation: &Reservation, target: Target) -> Result<Vec<Relayed>> {
    let mut relayed = Vec::new();
    for (port, socket) in reservation.ports.iter().zip(&reservation.sockets) {
        let to: Vec<SocketAddr> = target.by_relay(port).into_iter().map(|address| (address, port.container_port).into()).collect();
        if to.is_empty() || port.protocol == Protocol::Sctp {
            continue; // SCTP is led by the firewall, or not at all
        }
        let opened = (|| {
            if port.protocol == Protocol::Tcp {
                // For the connections, which have it from here: what lingers of them must not keep the port from its next holder.
                sockopt::set_socket_reuseaddr(socket, true)?;
                rustix::net::listen(socket, 4096)?;
            }
            socket.try_clone()
        })();
        let socket = opened.doing(|| format!("cannot listen on port {}", port.host_port))?;
        relayed.push(Relayed { socket, protocol: port.protocol, to });
    }
    Ok(relayed)
}

/// Refuses connections to relayed ports from now on. The ports stay ours, until the sockets are closed.
pub fn hush(ports: &[Relayed]) {
    for port in ports.iter().filter(|port| port.protocol == Protocol::Tcp) {
        // Of a socket that listens this is the end of listening alone, as its number was asked for by name (`tcp_disconnect`).
        let _ = rustix::net::shutdown(&port.socket, Shutdown::Both);
        // One that does not listen could be shared by anybody who wants to.
        let _ = sockopt::set_socket_reuseaddr(&port.socket, false);
    }
}

/// Serves ports until all is quiet, or until the other end of the leash is closed and what is open has ended.
///
/// # Errors
/// What the kernel says of epoll; never what it says of one connection.
pub fn relay(ports: Vec<Relayed>, leash: OwnedFd) -> io::Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    // A pipe's reading end hangs up when nobody has the writing end any more; nothing is ever written.
    epoll::add(&epoll, &leash, EventData::new_u64(LEASH), EventFlags::empty())?;
    let mut relay = Relay { epoll, leash: Some(leash), sources: BTreeMap::new(), next: LEASH + 1, quiet_since: Instant::now() };
    for Relayed { socket, protocol, to } in ports {
        relay.add(match protocol {
            Protocol::Tcp => Source::Listener { listener: socket.into(), to },
            Protocol::Sctp => continue,
            Protocol::Udp => Source::Datagrams { socket: socket.into(), to, answers: BTreeMap::new() },
        })?;
    }
    while !relay.is_over() {
        relay.work()?;
    }
    Ok(())
}

/// The leash's place among the sources.
const LEASH: u64 = 0;

struct Relay {
    epoll: OwnedFd,
    /// None once it is closed on the other end.
    leash: Option<OwnedFd>,
    sources: BTreeMap<u64, Source>,
    next: u64,
    quiet_since: Instant,
}

/// Something that can be ready.
enum Source {
    Listener {
        listener: TcpListener,
        to: Vec<SocketAddr>,
    },
    Connection(Connection),
    Datagrams {
        socket: UdpSocket,
        to: Vec<SocketAddr>,
        /// By client, the number of the source that its answers come from.
        answers: BTreeMap<SocketAddr, u64>,
    },
    /// A conversation of datagrams with the container.
    Answers {
        socket: UdpSocket,
        client: SocketAddr,
        /// The number of the source that the client asked.
        asked: u64,
        last: Instant,
    },
}

impl Relay {
    fn is_over(&self) -> bool {
        let is_quiet = !self.sources.values().any(|source| matches!(source, Source::Connection(_) | Source::Answers { .. }));
        is_quiet && (self.leash.is_none() || self.quiet_since.elapsed() >= QUIET)
    }

    fn work(&mut self) -> io::Result<()> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(64);
        let limit = Timespec { tv_sec: QUIET.as_secs().cast_signed(), tv_nsec: 0 };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events {
            self.quiet_since = Instant::now();
            match event.data.u64() {
                LEASH => self.let_loose(),
                token => self.on_ready(token),
            }
        }
        self.forget_all(|source| matches!(source, Source::Answers { last, .. } if last.elapsed() > CONVERSATION));
        Ok(())
    }

    /// Who began us is gone: nothing new is taken any more.
    fn let_loose(&mut self) {
        if let Some(leash) = self.leash.take() {
            let _ = epoll::delete(&self.epoll, &leash);
        }
        self.forget_all(|source| !matches!(source, Source::Connection(_)));
    }

    fn on_ready(&mut self, token: u64) {
        let room = MOST.saturating_sub(self.sources.len()).min(MOST_AT_ONCE);
        match self.sources.get_mut(&token) {
            None => {}
            Some(Source::Listener { listener, to }) => {
                let begun: Vec<Connection> =
                    accept(listener, room).into_iter().filter_map(|client| Connection::begin(client, to).ok()).collect();
                if begun.is_empty() {
                    std::thread::sleep(PAUSE); // no room or no descriptors: it is ready all the time
                }
                for connection in begun {
                    let _ = self.add(Source::Connection(connection)); // unwatched, it is closed, and the client hears that
                }
            }
            Some(Source::Connection(connection)) => {
                let goes_on = connection.work(&self.epoll) && connection.watch(&self.epoll, token).is_ok();
                if !goes_on {
                    self.forget(token);
                }
            }
            Some(Source::Datagrams { socket, .. }) => {
                for (datagram, client) in receive(|buffer| socket.recv_from(buffer)) {
                    self.pass_on(token, client, &datagram);
                }
            }
            Some(Source::Answers { .. }) => self.answer(token),
        }
    }

    /// Passes a client's datagram on by the socket of its own that it has.
    fn pass_on(&mut self, asked: u64, client: SocketAddr, datagram: &[u8]) {
        let has_room = self.sources.len() < MOST;
        let Some(Source::Datagrams { to, answers, .. }) = self.sources.get(&asked) else { return };
        let token = match answers.get(&client) {
            Some(token) => *token,
            None if !has_room => return,
            None => {
                let Ok(socket) = converse(to) else { return };
                let Ok(token) = self.add(Source::Answers { socket, client, asked, last: Instant::now() }) else { return };
                if let Some(Source::Datagrams { answers, .. }) = self.sources.get_mut(&asked) {
                    answers.insert(client, token);
                }
                token
            }
        };
        if let Some(Source::Answers { socket, last, .. }) = self.sources.get_mut(&token) {
            *last = Instant::now();
            let _ = socket.send(datagram); // what is lost is lost, as on a wire
        }
    }

    fn answer(&mut self, token: u64) {
        let Some(Source::Answers { socket, client, asked, last }) = self.sources.get_mut(&token) else { return };
        *last = Instant::now();
        let (client, asked) = (*client, *asked);
        let datagrams = receive(|buffer| socket.recv(buffer).map(|count| (count, client)));
        if let Some(Source::Datagrams { socket, .. }) = self.sources.get(&asked) {
            for (datagram, client) in datagrams {
                let _ = socket.send_to(&datagram, client);
            }
        }
    }

    fn add(&mut self, mut source: Source) -> io::Result<u64> {
        let token = self.next;
        self.next += 1;
        match &mut source {
            Source::Connection(connection) => connection.watch(&self.epoll, token)?,
            Source::Listener { listener, .. } => watch(&self.epoll, listener.as_fd(), token)?,
            Source::Datagrams { socket, .. } | Source::Answers { socket, .. } => watch(&self.epoll, socket.as_fd(), token)?,
        }
        self.sources.insert(token, source);
        Ok(token)
    }

    fn forget_all(&mut self, is_meant: impl Fn(&Source) -> bool) {
        let tokens: Vec<u64> = self.sources.iter().filter(|(_, source)| is_meant(source)).map(|(token, _)| *token).collect();
        tokens.into_iter().for_each(|token| self.forget(token));
    }

    /// The watch of a socket that others have copies of must be ended by name (epoll(7), Q6).
    fn forget(&mut self, token: u64) {
        match self.sources.remove(&token) {
            Some(Source::Listener { listener, .. }) => drop(epoll::delete(&self.epoll, &listener)),
            Some(Source::Datagrams { socket, .. }) => drop(epoll::delete(&self.epoll, &socket)),
            Some(Source::Answers { client, asked, .. }) => {
                if let Some(Source::Datagrams { answers, .. }) = self.sources.get_mut(&asked) {
                    answers.remove(&client);
                }
            }
            Some(Source::Connection(_)) | None => {}
        }
    }
}

fn watch(epoll: &OwnedFd, socket: BorrowedFd<'_>, token: u64) -> io::Result<()> {
    Ok(epoll::add(epoll, socket, EventData::new_u64(token), EventFlags::IN)?)
}

fn accept(listener: &TcpListener, most: usize) -> Vec<TcpStream> {
    let accepted = std::iter::from_fn(|| listener.accept().ok()).take(most);
    accepted.filter(|(stream, _)| stream.set_nonblocking(true).is_ok()).map(|(stream, _)| stream).collect()
}

fn receive(mut read: impl FnMut(&mut [u8]) -> io::Result<(usize, SocketAddr)>) -> Vec<(Vec<u8>, SocketAddr)> {
    let mut buffer = vec![0; LONGEST_DATAGRAM];
    let mut datagrams = Vec::new();
    while datagrams.len() < MOST_AT_ONCE
        && let Ok((count, from)) = read(&mut buffer)
    {
        datagrams.push((buffer[..count].to_vec(), from));
    }
    datagrams
}

/// A socket for one client's datagrams to the first address that can be reached.
fn converse(to: &[SocketAddr]) -> io::Result<UdpSocket> {
    let mut result = Err(io::ErrorKind::NotFound.into());
    for address in to {
        let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        result = UdpSocket::bind((any, 0)).and_then(|socket| {
            socket.connect(address)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        if result.is_ok() {
            break;
        }
    }
    result
}
