//! syslog, over every way and in every form that Docker has.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::io::Write;
use std::net::TcpStream;
use std::net::ToSocketAddrs;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixDatagram;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use jiff::Zoned;
use jiff::tz::TimeZone;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustls::ClientConnection;
use rustls::StreamOwned;

use super::super::Container;
use super::super::Line;
use super::describe;

mod tls;

/// The options that are syslog's own.
pub const OPTIONS: [&str; 7] = [
    "syslog-address",
    "syslog-facility",
    "syslog-format",
    "syslog-tls-ca-cert",
    "syslog-tls-cert",
    "syslog-tls-key",
    "syslog-tls-skip-verify",
];

/// Where a host's own syslog listens.
const LOCAL: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

const PORT: &str = "514";

/// How long the other side may take for anything.
const PATIENCE: Duration = Duration::from_secs(5);

/// In the order of their numbers; 12 to 15 have no names of Docker's.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "", "", "", "", "local0",
    "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
const DAEMON: usize = 3;

/// See syslog(3).
const ERROR: usize = 3;
const INFORMATION: usize = 6;

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As programs write it to their own host's syslog.
    Unix,
    Rfc3164,
    Rfc5424,
    Rfc5424Micro,
}

/// Where a syslog listens.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Address {
    Local,
    Unix(PathBuf),
    UnixDatagram(PathBuf),
    /// Host and port.
    Udp(String),
    Tcp(String),
    Tls(String),
}

enum Connection {
    UnixDatagram(UnixDatagram),
    Unix(UnixStream),
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A syslog, and what each line says of the container.
pub(super) struct Syslog {
    address: Address,
    facility: usize,
    form: Form,
    tag: String,
    host: String,
    trust: tls::Trust,
    connection: Option<Connection>,
}

/// Refuses options that mean nothing.
pub fn check(options: &BTreeMap<String, String>) -> Result<(), String> {
    address(options)?;
    facility(options)?;
    form(options).map(drop)
}

fn address(options: &BTreeMap<String, String>) -> Result<Address, String> {
    let Some(text) = options.get("syslog-address").filter(|text| !text.is_empty()) else { return Ok(Address::Local) };
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let path = || match fs::metadata(rest) {
        Ok(_) => Ok(PathBuf::from(rest)),
        Err(error) => Err(format!("there is no socket `{rest}`: {error}")),
    };
    match scheme {
        "unix" => path().map(Address::Unix),
        "unixgram" => path().map(Address::UnixDatagram),
        "udp" => Ok(Address::Udp(with_port(rest))),
        "tcp" => Ok(Address::Tcp(with_port(rest))),
        "tcp+tls" => Ok(Address::Tls(with_port(rest))),
        _ => Err(format!("`syslog-address: {text}` begins with none of unix://, unixgram://, udp://, tcp:// and tcp+tls://")),
    }
}

fn with_port(address: &str) -> String {
    let host_end = address.rfind(']').unwrap_or(0);
    if address[host_end..].contains(':') { address.to_owned() } else { format!("{address}:{PORT}") }
}

fn facility(options: &BTreeMap<String, String>) -> Result<usize, String> {
    let Some(text) = options.get("syslog-facility").filter(|text| !text.is_empty()) else { return Ok(DAEMON) };
    let number = text.parse().ok().filter(|number| *number < FACILITIES.len());
    let named = || FACILITIES.iter().position(|name| name == text);
    number.or_else(named).ok_or_else(|| format!("there is no syslog facility `{text}`"))
}

fn form(options: &BTreeMap<String, String>) -> Result<Form, String> {
    match options.get("syslog-format").map_or("", String::as_str) {
        "" => Ok(Form::Unix),
        "rfc3164" => Ok(Form::Rfc3164),
        "rfc5424" => Ok(Form::Rfc5424),
        "rfc5424micro" => Ok(Form::Rfc5424Micro),
        other => Err(format!("the syslog format `{other}` is none of rfc3164, rfc5424 and rfc5424micro")),
    }
}

impl Syslog {
    pub(super) fn of(container: &Container) -> Result<Syslog, String> {
        let options = &container.wanted.logging.options;
        Ok(Syslog {
            address: address(options)?,
            facility: facility(options)?,
            form: form(options)?,
            tag: describe::tag(container)?,
            host: describe::host_name(),
            trust: tls::Trust::of(options),
            connection: None,
        })
    }

    pub(super) fn connect(&mut self) -> io::Result<()> {
        self.connection = Some(match &self.address {
            Address::Local => local()?,
            Address::Unix(path) => Connection::Unix(stream(path)?),
            Address::UnixDatagram(path) => Connection::UnixDatagram(datagram(path)?),
            Address::Udp(address) => {
                let to = resolve(address)?;
                let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
                socket.connect(to)?;
                Connection::Udp(socket)
            }
            Address::Tcp(address) => Connection::Tcp(connect(address)?),
            Address::Tls(address) => {
                let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host).trim_matches(['[', ']']);
                Connection::Tls(Box::new(self.trust.greet(host, connect(address)?)?))
            }
        });
        Ok(())
    }

    /// Sends a line; where the connection has ended meanwhile, over another one.
    pub(super) fn send(&mut self, line: &Line) -> io::Result<()> {
        if self.connection.as_ref().is_none_or(Connection::is_over) {
            self.connect()?;
        }
        let message = self.message(line);
        let Some(connection) = &mut self.connection else { return Err(io::ErrorKind::NotConnected.into()) };
        let sent = connection.write(&message);
        if sent.is_err() {
            self.connection = None;
        }
        sent
    }

    fn message(&self, line: &Line) -> Vec<u8> {
        let severity = if line.stream == 2 { ERROR } else { INFORMATION };
        let priority = self.facility * 8 + severity;
        let (tag, host, id) = (&self.tag, &self.host, std::process::id());
        let written = Timestamp::from_nanosecond(i128::from(line.time)).unwrap_or_else(|_| Timestamp::now());
        let written = written.to_zoned(TimeZone::system());
        let short = || written.strftime("%b %e %H:%M:%S").to_string();
        let head = match self.form {
            Form::Unix => format!("<{priority}>{} {tag}[{id}]: ", short()),
            Form::Rfc3164 => format!("<{priority}>{} {host} {tag}[{id}]: ", short()),
            Form::Rfc5424 => format!("<{priority}>1 {} {host} {tag} {id} {tag} - ", long(&written, "%Y-%m-%dT%H:%M:%S")),
            Form::Rfc5424Micro => format!("<{priority}>1 {} {host} {tag} {id} {tag} - ", long(&written, "%Y-%m-%dT%H:%M:%S.%6f")),
        };
        let mut message = head.into_bytes();
        message.extend_from_slice(&line.bytes);
        if !message.ends_with(b"\n") {
            message.push(b'\n');
        }
        if matches!(self.address, Address::Tls(_)) && matches!(self.form, Form::Rfc5424 | Form::Rfc5424Micro) {
            // RFC 5425: each message says its length.
            let mut framed = format!("{} ", message.len()).into_bytes();
            framed.append(&mut message);
            return framed;
        }
        message
    }
}

/// RFC 3339, where UTC is `Z`.
fn long(moment: &Zoned, form: &str) -> String {
    let zone = if moment.offset().is_zero() { "Z".to_owned() } else { moment.strftime("%:z").to_string() };
    format!("{}{zone}", moment.strftime(form))
}

fn local() -> io::Result<Connection> {
    for path in LOCAL {
        if let Ok(socket) = datagram(&PathBuf::from(path)) {
            return Ok(Connection::UnixDatagram(socket));
        }
        if let Ok(socket) = stream(&PathBuf::from(path)) {
            return Ok(Connection::Unix(socket));
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, format!("no syslog listens at {}", LOCAL.join(", "))))
}

fn datagram(path: &PathBuf) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn stream(path: &PathBuf) -> io::Result<UnixStream> {
    let socket = UnixStream::connect(path)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn resolve(address: &str) -> io::Result<std::net::SocketAddr> {
    address.to_socket_addrs()?.next().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("`{address}` has no address")))
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("`{address}` has no address"));
    for to in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&to, PATIENCE) {
            Ok(socket) => {
                socket.set_write_timeout(Some(PATIENCE))?;
                socket.set_read_timeout(Some(PATIENCE))?;
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) => last = io::Error::new(error.kind(), format!("{to}: {error}")),
        }
    }
    Err(last)
}

impl Connection {
    fn write(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Connection::UnixDatagram(socket) => socket.send(message).map(drop),
            Connection::Udp(socket) => socket.send(message).map(drop),
            Connection::Unix(socket) => socket.write_all(message),
            Connection::Tcp(socket) => socket.write_all(message),
            Connection::Tls(stream) => stream.write_all(message).and_then(|()| stream.flush()),
        }
    }

    /// Whether the other side has closed a stream: what is written then is lost without a word.
    fn is_over(&self) -> bool {
        let socket: BorrowedFd<'_> = match self {
            Connection::UnixDatagram(_) | Connection::Udp(_) => return false,
            Connection::Unix(socket) => socket.as_fd(),
            Connection::Tcp(socket) => socket.as_fd(),
            Connection::Tls(stream) => stream.sock.as_fd(),
        };
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut sources = [PollFd::new(&socket, PollFlags::RDHUP)];
        rustix::event::poll(&mut sources, Some(&now)).is_ok_and(|ready| ready > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn addresses_and_facilities_are_read() {
        let read = |text: &str| address(&options(&[("syslog-address", text)]));
        assert_eq!(read(""), Ok(Address::Local));
        assert_eq!(read("udp://logs"), Ok(Address::Udp("logs:514".into())));
        assert_eq!(read("tcp://[::1]"), Ok(Address::Tcp("[::1]:514".into())));
        assert_eq!(read("tcp+tls://[::1]:6514"), Ok(Address::Tls("[::1]:6514".into())));
        assert!(read("unixgram:///nowhere").is_err());
        let read = |text: &str| facility(&options(&[("syslog-facility", text)]));
        assert_eq!((read(""), read("local7"), read("0")), (Ok(3), Ok(23), Ok(0)));
        assert!(read("24").is_err());
    }

    fn syslog(address: Address, form: Form) -> Syslog {
        let trust = tls::Trust::of(&options(&[]));
        Syslog { address, facility: DAEMON, form, tag: "web".into(), host: "here".into(), trust, connection: None }
    }

    #[test]
    fn each_form_is_written_as_docker_writes_it() {
        let line = Line { stream: 1, time: 1_764_000_000_123_456_789, bytes: b"hello\n".to_vec() };
        let id = std::process::id();
        let written = |address, form| String::from_utf8(syslog(address, form).message(&line)).unwrap();
        assert!(written(Address::Local, Form::Unix).ends_with(&format!(" web[{id}]: hello\n")));
        let plain = written(Address::Local, Form::Rfc3164);
        assert!(plain.starts_with("<30>Nov 2") && plain.ends_with(&format!(" here web[{id}]: hello\n")), "{plain}");
        let new = written(Address::Local, Form::Rfc5424Micro);
        assert!(new.starts_with("<30>1 2025-11-2") && new.contains(".123456"), "{new}");
        assert!(new.ends_with(&format!(" here web {id} web - hello\n")), "{new}");
        let framed = written(Address::Tls("x".into()), Form::Rfc5424);
        let (length, message) = framed.split_once(' ').unwrap();
        assert_eq!(length.parse(), Ok(message.len()));
        let wrong = Line { stream: 2, ..line.clone() };
        assert!(syslog(Address::Local, Form::Unix).message(&wrong).starts_with(b"<27>"));
    }
}
