//! One connection that [`mod@super::relay`] carries: from a client to a server, both ways, until both have said all.

use std::io;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll;
use rustix::event::epoll::EventData;
use rustix::event::epoll::EventFlags;
use rustix::net::AddressFamily;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::net::sockopt;

/// What is under way in one direction at most.
const BUFFER: usize = 64 * 1024;

/// Rounds before other connections have their turn.
const MOST_AT_ONCE: usize = 16;

/// A client's connection, and ours to the server for it.
#[derive(Debug)]
pub(super) struct Connection {
    client: TcpStream,
    server: TcpStream,
    /// The servers to try if this one does not answer; None once one has.
    others: Option<Vec<SocketAddr>>,
    up: Flow,
    down: Flow,
    /// What client and server are watched for.
    watched: (EventFlags, EventFlags),
}

/// What goes one way.
#[derive(Debug, Default)]
struct Flow {
    /// Read and not written yet, from `start` on.
    waiting: Vec<u8>,
    start: usize,
    /// The one side has said all.
    ended: bool,
    /// The other side knows.
    closed: bool,
}

impl Connection {
    /// Begins to connect to the first server that can be reached.
    ///
    /// # Errors
    /// There is none; the client has heard it.
    pub(super) fn begin(client: TcpStream, servers: &[SocketAddr]) -> io::Result<Connection> {
        let mut others = servers.to_vec();
        match dial(&mut others).and_then(|server| keep_alive(&client).map(|()| server)) {
            Ok(server) => {
                let watched = (EventFlags::empty(), EventFlags::empty());
                Ok(Connection { client, server, others: Some(others), up: Flow::default(), down: Flow::default(), watched })
            }
            Err(error) => {
                refuse(&client);
                Err(error)
            }
        }
    }

    /// Carries what there is to carry; never blocks. False once there is nothing left.
    pub(super) fn work(&mut self, epoll: &OwnedFd) -> bool {
        match self.carry(epoll) {
            Ok(goes_on) => goes_on,
            Err(_) => {
                // As if there were no one between the two.
                refuse(&self.client);
                refuse(&self.server);
                false
            }
        }
    }

    fn carry(&mut self, epoll: &OwnedFd) -> io::Result<bool> {
        if let Some(others) = &mut self.others {
            match sockopt::socket_error(&self.server)? {
                Ok(()) if self.server.peer_addr().is_err() => return Ok(true), // not yet
                Ok(()) => self.others = None,
                Err(error) if others.is_empty() => return Err(error.into()),
                Err(_) => {
                    let server = dial(others)?;
                    let _ = epoll::delete(epoll, &self.server);
                    self.watched.1 = EventFlags::empty();
                    self.server = server;
                    return Ok(true);
                }
            }
        }
        self.up.carry(&self.client, &self.server)?;
        self.down.carry(&self.server, &self.client)?;
        Ok(!(self.up.closed && self.down.closed))
    }

    /// Watches both sides, under one number, for what can be done next.
    ///
    /// A side of which nothing is wanted is not watched at all: a hang-up is always told, and would be told without end.
    pub(super) fn watch(&mut self, epoll: &OwnedFd, token: u64) -> io::Result<()> {
        let flags = |reads: bool, writes: bool| {
            let flags = if reads { EventFlags::IN } else { EventFlags::empty() };
            if writes { flags | EventFlags::OUT } else { flags }
        };
        let (client, server) = match self.others {
            Some(_) => (flags(false, false), flags(false, true)),
            None => {
                let (up, down) = (&self.up, &self.down);
                (flags(up.wants_more(), down.has_some()), flags(down.wants_more(), up.has_some()))
            }
        };
        change(epoll, token, (&self.client, self.watched.0, client))?;
        change(epoll, token, (&self.server, self.watched.1, server))?;
        self.watched = (client, server);
        Ok(())
    }
}

impl Flow {
    fn wants_more(&self) -> bool {
        self.waiting.is_empty() && !self.ended
    }

    fn has_some(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn carry(&mut self, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
        for _ in 0..MOST_AT_ONCE {
            if self.has_some() {
                let Some(count) = unless_it_would_block(to.write(&self.waiting[self.start..]))? else { return Ok(()) };
                self.start += count;
                if self.start == self.waiting.len() {
                    self.waiting.clear();
                    self.start = 0;
                }
            } else if !self.ended {
                self.waiting.resize(BUFFER, 0);
                let read = unless_it_would_block(from.read(&mut self.waiting));
                self.waiting.truncate(read.as_ref().map_or(0, |count| count.unwrap_or(0)));
                match read? {
                    None => {
                        self.waiting = Vec::new(); // a quiet connection takes no memory
                        return Ok(());
                    }
                    Some(count) => self.ended = count == 0,
                }
            } else {
                if !self.closed {
                    self.closed = true;
                    to.shutdown(Shutdown::Write)?;
                }
                return Ok(());
            }
        }
        Ok(())
    }
}

fn unless_it_would_block(done: io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        done => done.map(Some),
    }
}

fn change(epoll: &OwnedFd, token: u64, (socket, before, now): (&TcpStream, EventFlags, EventFlags)) -> io::Result<()> {
    let data = EventData::new_u64(token);
    match (before.is_empty(), now.is_empty()) {
        _ if before == now => Ok(()),
        (true, false) => Ok(epoll::add(epoll, socket, data, now)?),
        (false, true) => Ok(epoll::delete(epoll, socket)?),
        _ => Ok(epoll::modify(epoll, socket, data, now)?),
    }
}

/// Begins to connect to the first of these that can be reached, and takes it and those before it out of the list.
fn dial(servers: &mut Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut result = Err(io::ErrorKind::NotFound.into());
    while result.is_err() && !servers.is_empty() {
        let address = servers.remove(0);
        result = (|| {
            let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
            match rustix::net::connect(&socket, &address) {
                Err(rustix::io::Errno::INPROGRESS) | Ok(()) => {}
                Err(error) => return Err(error.into()),
            }
            let stream = TcpStream::from(socket);
            keep_alive(&stream)?;
            Ok(stream)
        })();
    }
    result
}

/// A container that is gone answers nothing, and nobody else may tell us.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(10))?;
    Ok(sockopt::set_tcp_keepcnt(stream, 3)?)
}

/// Has the other side hear a reset when the stream is dropped, not an orderly end.
fn refuse(stream: &TcpStream) {
    let _ = sockopt::set_socket_linger(stream.as_fd(), Some(Duration::ZERO));
}
