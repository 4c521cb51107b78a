//! The name server of all containers of one supervisor, without a thread.
//!
//! It has one descriptor, an epoll(7) of its own that holds the containers' sockets, the questions on their way to the
//! host's resolvers and a timer. In the supervisor's loop:
//!
//! ```text
//! let mut names = NameServer::new(host_resolvers().servers)?;
//! watch(names.as_fd(), READABLE);
//! names.add(id, open_name_sockets(netns)?, zone)?;      a container starts; copies of the sockets may live elsewhere
//! names.set_zone(id, zone);                             another one came or went
//! names.work();                                         whenever the descriptor is readable; never blocks
//! names.remove(id);                                     a container ended
//! ```

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::SocketAddrV4;
use std::net::TcpListener;
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
use rustix::net::AddressFamily;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::time::Itimerspec;
use rustix::time::TimerfdClockId;
use rustix::time::TimerfdFlags;
use rustix::time::TimerfdTimerFlags;

use super::Answer;
use super::NAME_SERVER;
use super::NameSockets;
use super::Zone;
use super::ask::Ask;
use super::ask::Step;
use super::ask::Transport;
use super::frame::Framed;
use super::namespace;
use super::netlink::Channel;
use super::redirect;
use super::redirect::Ports;
use super::zone;
use crate::failure::Doing;
use crate::failure::Result;

/// Questions and streams at once, over all containers; more are dropped, and whoever asked asks again.
const MOST_SOURCES: usize = 1024;

/// How long a stream may be silent.
const STREAM_PATIENCE: Duration = Duration::from_secs(10);

/// Datagrams read in one go, so that one busy container does not starve the supervisor's other work.
const MOST_AT_ONCE: usize = 64;

/// The timer's place among the sources.
const TIMER: u64 = 0;

/// The name server of all containers of one supervisor.
#[derive(Debug)]
pub struct NameServer {
    epoll: OwnedFd,
    timer: OwnedFd,
    servers: Vec<IpAddr>,
    zones: BTreeMap<String, Zone>,
    sources: BTreeMap<u64, Source>,
    next: u64,
}

/// Something that can be ready, and the container it is for.
#[derive(Debug)]
struct Source {
    container: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Datagrams(UdpSocket),
    Listener(TcpListener),
    Stream { framed: Framed, deadline: Instant },
    Ask { ask: Ask, client: Client },
}

/// Who wants to know.
#[derive(Debug, Clone, Copy)]
enum Client {
    /// By the container's datagram socket.
    Datagram {
        socket: u64,
        address: SocketAddr,
    },
    Stream(u64),
}

impl AsFd for NameServer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl NameServer {
    /// Makes a name server that asks these when it does not know.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn new(servers: Vec<IpAddr>) -> Result<NameServer> {
        let made = (|| {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
            epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
            Ok(NameServer { epoll, timer, servers, zones: BTreeMap::new(), sources: BTreeMap::new(), next: TIMER + 1 })
        })();
        made.map_err(|error: rustix::io::Errno| std::io::Error::from(error)).doing(|| "cannot make the name server")
    }

    /// Answers on a container's sockets from now on.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn add(&mut self, container_id: &str, sockets: NameSockets, zone: Zone) -> Result<()> {
        self.remove(container_id);
        self.zones.insert(container_id.to_owned(), zone);
        let kinds = [Kind::Datagrams(sockets.udp.into()), Kind::Listener(sockets.tcp.into())];
        for kind in kinds {
            let added = self.watch(Source { container: container_id.to_owned(), kind });
            added.map_err(std::io::Error::from).doing(|| "cannot watch the container's name sockets")?;
        }
        Ok(())
    }

    /// Changes what a container's questions are answered from.
    pub fn set_zone(&mut self, container_id: &str, zone: Zone) {
        if let Some(place) = self.zones.get_mut(container_id) {
            *place = zone;
        }
    }

    /// Stops answering a container and closes its sockets here.
    pub fn remove(&mut self, container_id: &str) {
        self.zones.remove(container_id);
        let tokens: Vec<u64> =
            self.sources.iter().filter(|(_, source)| source.container == container_id).map(|(token, _)| *token).collect();
        for token in tokens {
            self.forget(token);
        }
    }

    /// Does what there is to do; never blocks.
    pub fn work(&mut self) {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(MOST_AT_ONCE);
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        if epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&at_once)).is_err() {
            return;
        }
        for event in events {
            match event.data.u64() {
                TIMER => self.on_time(),
                token => self.on_ready(token),
            }
        }
        self.set_timer();
    }

    fn on_ready(&mut self, token: u64) {
        let Some(source) = self.sources.get_mut(&token) else { return };
        let container = source.container.clone();
        match &mut source.kind {
            Kind::Datagrams(socket) => {
                let questions = receive(socket);
                for (question, address) in questions {
                    self.answer(&container, &question, Client::Datagram { socket: token, address });
                }
            }
            Kind::Listener(listener) => {
                let Ok((stream, _)) = listener.accept() else { return };
                if self.sources.len() < MOST_SOURCES && stream.set_nonblocking(true).is_ok() {
                    let kind = Kind::Stream { framed: Framed::new(stream), deadline: Instant::now() + STREAM_PATIENCE };
                    // Without a watch the stream is closed, which says enough to the other side.
                    let _ = self.watch(Source { container, kind });
                }
            }
            Kind::Stream { framed, deadline } => {
                *deadline = Instant::now() + STREAM_PATIENCE;
                let (questions, end) = read_all(framed);
                self.rewatch(token);
                for question in questions {
                    self.answer(&container, &question, Client::Stream(token));
                }
                if end.is_err() {
                    self.forget(token);
                }
            }
            Kind::Ask { ask, .. } => {
                let step = ask.on_ready();
                self.take_step(token, step);
            }
        }
    }

    fn answer(&mut self, container: &str, question: &[u8], client: Client) {
        let Some(zone) = self.zones.get(container) else { return };
        match zone::answer(zone, question) {
            Answer::Reply(reply) => self.send(client, question, reply),
            Answer::Drop => {}
            Answer::Forward => {
                let transport = match client {
                    Client::Datagram { .. } => Transport::Udp,
                    Client::Stream(_) => Transport::Tcp,
                };
                let ask = if self.sources.len() < MOST_SOURCES { Ask::begin(question, self.servers.clone(), transport) } else { None };
                let watched = ask.map(|ask| self.watch(Source { container: container.to_owned(), kind: Kind::Ask { ask, client } }));
                if !matches!(watched, Some(Ok(_))) {
                    self.send_failure(client, question);
                }
            }
        }
    }

    fn send(&mut self, client: Client, question: &[u8], reply: Vec<u8>) {
        let token = match client {
            Client::Datagram { socket, .. } => socket,
            Client::Stream(stream) => stream,
        };
        let Some(source) = self.sources.get_mut(&token) else { return };
        match (&mut source.kind, client) {
            (Kind::Datagrams(socket), Client::Datagram { address, .. }) => {
                // A full buffer loses the reply, as a wire might: the asker asks again.
                let _ = socket.send_to(&zone::fit(question, reply), address);
            }
            (Kind::Stream { framed, .. }, _) => {
                framed.push(&reply);
                if framed.flush().is_ok() {
                    self.rewatch(token);
                } else {
                    self.forget(token);
                }
            }
            _ => {}
        }
    }

    fn send_failure(&mut self, client: Client, question: &[u8]) {
        if let Some(reply) = zone::failed(question) {
            self.send(client, question, reply);
        }
    }

    fn take_step(&mut self, token: u64, step: Step) {
        match step {
            Step::Wait => self.rewatch(token),
            Step::Moved => {
                let Some(mut source) = self.sources.remove(&token) else { return };
                if let Kind::Ask { ask, .. } = &mut source.kind
                    && let Some(left) = ask.left()
                {
                    let _ = epoll::delete(&self.epoll, left.socket());
                }
                // Without a watch it is as if the question had never been asked; whoever asked asks again.
                let _ = self.watch(source);
            }
            Step::Answer(reply) => self.finish(token, Some(reply)),
            Step::Failed(refusal) => self.finish(token, refusal),
        }
    }

    fn finish(&mut self, token: u64, reply: Option<Vec<u8>>) {
        let Some(Source { kind: Kind::Ask { ask, client }, .. }) = self.forget(token) else { return };
        match reply {
            Some(reply) => self.send(client, &ask.question, reply),
            None => self.send_failure(client, &ask.question),
        }
    }

    fn on_time(&mut self) {
        // Reading it makes it not ready; it is not needed otherwise.
        let _ = rustix::io::read(&self.timer, &mut [0u8; 8]);
        let now = Instant::now();
        let late: Vec<u64> = self
            .sources
            .iter()
            .filter(|(_, source)| source.deadline().is_some_and(|deadline| deadline <= now))
            .map(|(token, _)| *token)
            .collect();
        for token in late {
            match self.sources.get_mut(&token).map(|source| &mut source.kind) {
                Some(Kind::Ask { ask, .. }) => {
                    let step = ask.move_on();
                    self.take_step(token, step);
                }
                _ => drop(self.forget(token)),
            }
        }
    }

    fn set_timer(&self) {
        let first = self.sources.values().filter_map(Source::deadline).min();
        // Zero would stop the timer (timerfd_settime(2)); one that is late must still go off.
        let wait =
            first.map_or(Duration::ZERO, |deadline| deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
        let at = Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: i64::from(wait.subsec_nanos()) };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
        let _ = rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once);
    }

    fn watch(&mut self, source: Source) -> rustix::io::Result<u64> {
        let token = self.next;
        self.next += 1;
        epoll::add(&self.epoll, source.socket(), EventData::new_u64(token), source.interest())?;
        self.sources.insert(token, source);
        Ok(token)
    }

    fn rewatch(&mut self, token: u64) {
        if let Some(source) = self.sources.get(&token) {
            let _ = epoll::modify(&self.epoll, source.socket(), EventData::new_u64(token), source.interest());
        }
    }

    /// The watch is ended by name: a copy of the socket in another process would keep it alive (epoll(7), Q6).
    fn forget(&mut self, token: u64) -> Option<Source> {
        let source = self.sources.remove(&token)?;
        let _ = epoll::delete(&self.epoll, source.socket());
        Some(source)
    }
}

impl Source {
    fn socket(&self) -> BorrowedFd<'_> {
        match &self.kind {
            Kind::Datagrams(socket) => socket.as_fd(),
            Kind::Listener(listener) => listener.as_fd(),
            Kind::Stream { framed, .. } => framed.stream.as_fd(),
            Kind::Ask { ask, .. } => ask.socket(),
        }
    }

    fn interest(&self) -> EventFlags {
        let sends = match &self.kind {
            Kind::Datagrams(_) | Kind::Listener(_) => false,
            Kind::Stream { framed, .. } => framed.wants_to_send(),
            Kind::Ask { ask, .. } => ask.wants_to_send(),
        };
        if sends { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.kind {
            Kind::Datagrams(_) | Kind::Listener(_) => None,
            Kind::Stream { deadline, .. } => Some(*deadline),
            Kind::Ask { ask, .. } => Some(ask.deadline),
        }
    }
}

fn read_all(framed: &mut Framed) -> (Vec<Vec<u8>>, std::io::Result<()>) {
    let mut questions = Vec::new();
    if let Err(error) = framed.flush() {
        return (questions, Err(error));
    }
    while questions.len() < MOST_AT_ONCE {
        match framed.pull() {
            Ok(Some(question)) => questions.push(question),
            Ok(None) => break,
            Err(error) => return (questions, Err(error)),
        }
    }
    (questions, Ok(()))
}

fn receive(socket: &UdpSocket) -> Vec<(Vec<u8>, SocketAddr)> {
    let mut buffer = [0; 4096];
    let mut questions = Vec::new();
    while questions.len() < MOST_AT_ONCE
        && let Ok((count, address)) = socket.recv_from(&mut buffer)
    {
        questions.push((buffer[..count].to_vec(), address));
    }
    questions
}

/// Opens the sockets of a name server at 127.0.0.11, UDP and TCP, non-blocking and close-on-exec, inside a network namespace
/// whose `lo` is up; the calling thread is there for a moment.
///
/// They have ports of their own, which port 53 is led to, so that a container may bind that itself. Where the kernel has
/// no rules for it, they have port 53.
///
/// # Errors
/// What the kernel says.
pub fn open_name_sockets(netns: BorrowedFd<'_>) -> Result<NameSockets> {
    let doing = || format!("cannot open the container's name server at {NAME_SERVER}");
    let opened = namespace::inside(netns, || Ok((listen_at(0, 0)?, Channel::netfilter()?)));
    let (sockets, mut channel) = opened.doing(doing)?;
    let led = sockets.ports().and_then(|ports| redirect::lead(&mut channel, ports));
    match led {
        Ok(()) => Ok(sockets),
        Err(_) => namespace::inside(netns, || listen_at(53, 53)).doing(doing),
    }
}

fn listen_at(udp_port: u16, tcp_port: u16) -> io::Result<NameSockets> {
    let udp = bound(SocketType::DGRAM, udp_port)?;
    let tcp = bound(SocketType::STREAM, tcp_port)?;
    rustix::net::listen(&tcp, 64)?;
    Ok(NameSockets { udp, tcp })
}

fn bound(kind: SocketType, port: u16) -> rustix::io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(NAME_SERVER, port))?;
    Ok(socket)
}

impl NameSockets {
    fn ports(&self) -> io::Result<Ports> {
        let port = |socket: &OwnedFd| -> io::Result<u16> {
            let address = SocketAddr::try_from(rustix::net::getsockname(socket)?).map_err(|_| io::ErrorKind::InvalidData)?;
            Ok(address.port())
        };
        Ok(Ports { udp: port(&self.udp)?, tcp: port(&self.tcp)? })
    }
}
