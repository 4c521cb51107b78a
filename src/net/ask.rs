//! One question to the host's resolvers: one server after the other until one knows; never blocks.

use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::time::Duration;
use std::time::Instant;

use rustix::net::AddressFamily;
use rustix::net::SocketFlags;
use rustix::net::SocketType;

use super::frame::Framed;

/// How long one server has. Two silent ones are passed over before a C library's own five seconds are up.
const PATIENCE: Duration = Duration::from_secs(2);

const PORT: u16 = 53;

/// How a question came, and so how it is passed on: a reply marked as cut short is given to who asked over UDP, who
/// then asks again over TCP (RFC 5625, 4.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// A question on its way. Each has a socket of its own, so a port of its own, which a forger would have to guess.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) question: Vec<u8>,
    pub(super) deadline: Instant,
    transport: Transport,
    servers: std::vec::IntoIter<IpAddr>,
    line: Line,
    /// The socket to the server before, until whoever watches it has taken it.
    left: Option<Line>,
    /// What a server said that could not answer; better than nothing if the others cannot either.
    refusal: Option<Vec<u8>>,
}

/// A socket to one server.
#[derive(Debug)]
pub(super) enum Line {
    Udp(UdpSocket),
    Tcp(Framed),
}

impl Line {
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        match self {
            Line::Udp(socket) => socket.as_fd(),
            Line::Tcp(framed) => framed.stream.as_fd(),
        }
    }
}

/// How it stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Wait,
    /// Asks the next server: the socket is another one.
    Moved,
    Answer(Vec<u8>),
    /// No server is left; perhaps one of them said why.
    Failed(Option<Vec<u8>>),
}

impl Ask {
    /// Sends a question to the first server that can be reached; None if there is none.
    pub(super) fn begin(question: &[u8], servers: Vec<IpAddr>, transport: Transport) -> Option<Ask> {
        let mut servers = servers.into_iter();
        let line = Ask::dial_next(question, &mut servers, transport)?;
        let deadline = Instant::now() + PATIENCE;
        Some(Ask { question: question.to_vec(), deadline, transport, servers, line, left: None, refusal: None })
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.line.socket()
    }

    /// After [`Step::Moved`]: the socket that is not to be watched any more.
    pub(super) fn left(&mut self) -> Option<Line> {
        self.left.take()
    }

    /// Whether the socket is to be watched for room to write, too.
    pub(super) fn wants_to_send(&self) -> bool {
        matches!(&self.line, Line::Tcp(framed) if framed.wants_to_send())
    }

    /// Goes on with a socket that is ready.
    pub(super) fn on_ready(&mut self) -> Step {
        match self.pull() {
            Ok(None) => Step::Wait,
            Ok(Some(reply)) if is_refusal(&reply) => {
                self.refusal = Some(reply);
                self.move_on()
            }
            Ok(Some(reply)) => Step::Answer(reply),
            // Nobody listens there, or the stream broke.
            Err(_) => self.move_on(),
        }
    }

    /// Leaves a server that did not answer (in time).
    pub(super) fn move_on(&mut self) -> Step {
        match Ask::dial_next(&self.question, &mut self.servers, self.transport) {
            None => Step::Failed(self.refusal.take()),
            Some(line) => {
                self.left = Some(std::mem::replace(&mut self.line, line));
                self.deadline = Instant::now() + PATIENCE;
                Step::Moved
            }
        }
    }

    fn pull(&mut self) -> io::Result<Option<Vec<u8>>> {
        let reply = match &mut self.line {
            Line::Udp(socket) => {
                let mut buffer = vec![0; 65536];
                match socket.recv(&mut buffer) {
                    Ok(count) => {
                        buffer.truncate(count);
                        Some(buffer)
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                    Err(error) => return Err(error),
                }
            }
            Line::Tcp(framed) => {
                framed.flush()?;
                framed.pull()?
            }
        };
        Ok(reply.filter(|reply| answers(&self.question, reply)))
    }

    fn dial_next(question: &[u8], servers: &mut impl Iterator<Item = IpAddr>, transport: Transport) -> Option<Line> {
        servers.find_map(|server| dial(SocketAddr::new(server, PORT), question, transport).ok())
    }
}

fn dial(server: SocketAddr, question: &[u8], transport: Transport) -> io::Result<Line> {
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    match transport {
        Transport::Udp => {
            let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
            rustix::net::connect(&socket, &server)?;
            let socket = UdpSocket::from(socket);
            socket.send(question)?;
            Ok(Line::Udp(socket))
        }
        Transport::Tcp => {
            let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
            match rustix::net::connect(&socket, &server) {
                Err(rustix::io::Errno::INPROGRESS) | Ok(()) => {}
                Err(error) => return Err(error.into()),
            }
            let mut framed = Framed::new(TcpStream::from(socket));
            framed.push(question);
            Ok(Line::Tcp(framed))
        }
    }
}

/// Whether a message is the answer to a question: same id, the answer bit, and the question repeated.
fn answers(question: &[u8], reply: &[u8]) -> bool {
    reply.len() >= 12 && reply[..2] == question[..2] && reply[2] & 0x80 != 0
}

/// SERVFAIL, NOTIMP, REFUSED: another server may know more. "No such name" is an answer.
fn is_refusal(reply: &[u8]) -> bool {
    matches!(reply[3] & 0x0f, 2 | 4 | 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_with_the_same_id_counts() {
        let question = [7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let mut reply = question;
        assert!(!answers(&question, &reply), "the question itself");
        reply[2] |= 0x80;
        assert!(answers(&question, &reply));
        assert!(!answers(&question, &reply[..11]));
        reply[1] = 8;
        assert!(!answers(&question, &reply));
    }

    #[test]
    fn a_refusal_leads_to_the_next_server_and_no_such_name_does_not() {
        let with_code = |code: u8| [0, 0, 0x80, code, 0, 0, 0, 0, 0, 0, 0, 0];
        let refusals: Vec<u8> = (0..16).filter(|code| is_refusal(&with_code(*code))).collect();
        assert_eq!(refusals, [2, 4, 5]);
    }
}
