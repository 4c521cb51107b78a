//! Host ports: reserved by bound sockets, led to containers by elements of the firewall's one map.
//!
//! What is published for a container is also on disk, `published/<id>.json` in the run directory, so that another
//! process can end it, and so that a clash can name the container.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::net::AddressFamily;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::net::ipproto;
use serde::Deserialize;
use serde::Serialize;

use super::Plug;
use super::Plugged;
use super::Port;
use super::Protocol;
use super::Reservation;
use super::Target;
use super::firewall;
use super::holder;
use super::holder::Holder;
use super::nftables::Element;
use super::options;
use super::options::Mode;
use super::plug;
use super::plug::by_rank;
use super::record;
use super::rule::Family;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::state;

/// How many ports that the kernel chose for one family may be taken for the other.
const MOST_TRIES: usize = 16;

/// How long a port may be on its way from a process of ours that is done with it; longer on a machine under load.
const PASSING: Duration = Duration::from_secs(1);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(5);

/// What is published for one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Published {
    version: u32,
    #[serde(flatten)]
    target: Target,
    pub(super) ports: Vec<Port>,
}

fn directory(home: &Home) -> PathBuf {
    home.run().join("published")
}

fn record_of(home: &Home, container_id: &str) -> PathBuf {
    directory(home).join(format!("{container_id}.json"))
}

/// Reserves host ports: all or none.
///
/// A TCP socket is bound but does not listen: the firewall leads connections past it, and where it does not (the
/// port is not published yet) they are refused, not left hanging.
///
/// # Errors
/// A port is taken; the failure names the holder: "port 8080 on 127.0.0.1 is taken by process 4121 (nginx)",
/// or "… by container `web`".
pub fn reserve(home: &Home, ports: &[Port]) -> Result<Reservation> {
    reserve_by(home, ports, &Entrance::default())
}

/// Reserves host ports for a container that is to have these plugs; see [`reserve`]. By a network whose gateway mode is `routed` a port is
/// open at the container's own address, and there is none of the host: it is 0 then.
///
/// # Errors
/// As [`reserve`]; a network that is not there.
pub fn reserve_for(home: &Home, ports: &[Port], plugs: &[Plug]) -> Result<Reservation> {
    reserve_by(home, ports, &Entrance::of(home, plugs)?)
}

fn reserve_by(home: &Home, ports: &[Port], entrance: &Entrance) -> Result<Reservation> {
    let mut reservation = Reservation { ports: Vec::new(), sockets: Vec::new() };
    for port in ports {
        let port = &Port { host_address: port.host_address.or(entrance.binding), ..*port };
        let (routed, port) = entrance.split(port);
        for routed in routed {
            // It holds nothing: each port has its socket.
            let socket = open(Protocol::Tcp, Ipv4Addr::UNSPECIFIED.into()).doing(|| "cannot open a socket")?;
            reservation.sockets.push(socket);
            reservation.ports.push(routed);
        }
        let Some(port) = &port else { continue };
        let held = hold_soon(home, port);
        for (port, socket) in held.map_err(|(port, error)| refusal(home, &port, &error))? {
            reservation.sockets.push(socket);
            reservation.ports.push(port);
        }
    }
    Ok(reservation)
}

/// How what is published comes to a container.
#[derive(Debug, Default, PartialEq, Eq)]
struct Entrance {
    /// By IPv4, by IPv6.
    ways: [Way; 2],
    /// Where ports are published that name no address of the host.
    binding: Option<IpAddr>,
}

/// How what is published comes to a container by one family of addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Way {
    /// By a port of the host.
    #[default]
    Host,
    /// By routes, to its own address.
    Routes,
    /// Not at all: it has no address of the family, and what is published is reached by routes of the other.
    None,
}

impl Entrance {
    /// By the networks that [`Target::of`] will choose.
    fn of(home: &Home, plugs: &[Plug]) -> Result<Entrance> {
        let mut ranked: Vec<&Plug> = plugs.iter().collect();
        ranked.sort_by_key(|plug| -plug.gateway_priority); // stable
        let mut networks = Vec::new();
        for plug in ranked {
            networks.push(plug::network(home, &plug.network).doing(|| format!("cannot find network `{}`", plug.network))?);
        }
        let options = Family::ALL.map(|family| {
            let of_family = || networks.iter().filter(move |network| Family::of_network(network).any(|of| of == family));
            let network = of_family().find(|network| !network.internal).or(of_family().next());
            network.and_then(|network| options::read(&network.options).ok()) // what cannot be read was refused long ago
        });
        let ways = Family::ALL.map(|family| {
            let of = |family: Family| options[usize::from(family == Family::V6)].as_ref().map(|options| options.mode(family));
            match (of(family), Family::ALL.into_iter().filter_map(of).any(|mode| mode == Mode::Routed)) {
                (Some(Mode::Routed), _) => Way::Routes,
                (None, true) => Way::None,
                _ => Way::Host,
            }
        });
        Ok(Entrance { ways, binding: options.into_iter().flatten().find_map(|options| options.binding) })
    }

    /// What of a port is reached by routes, and what is to be held.
    fn split(&self, port: &Port) -> (Vec<Port>, Option<Port>) {
        let everywhere = [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)];
        let is_wanted = |address: &IpAddr| port.host_address.is_none_or(|host| host.is_ipv4() == address.is_ipv4());
        let wanted: Vec<(IpAddr, Way)> = everywhere.into_iter().zip(self.ways).filter(|(address, _)| is_wanted(address)).collect();
        if wanted.iter().all(|(_, way)| *way == Way::Host) {
            return (Vec::new(), Some(*port)); // of both families the same number
        }
        let routed = wanted.iter().filter(|(_, way)| *way == Way::Routes);
        let routed = routed.map(|(address, _)| Port { host_address: Some(*address), host_port: 0, ..*port });
        let held = wanted.iter().find(|(_, way)| *way == Way::Host);
        (routed.collect(), held.map(|(address, _)| Port { host_address: port.host_address.or(Some(*address)), ..*port }))
    }
}

/// What holds a port, or which one could not be held and why.
type Held<T> = std::result::Result<T, (Port, io::Error)>;

/// Holds a port, if need be when a process of ours has let go of it: a guardian hears a little later than its supervisor that a
/// container has ended, and what a killed one held the kernel closes in its own time.
fn hold_soon(home: &Home, port: &Port) -> Held<Vec<(Port, OwnedFd)>> {
    let begun = Instant::now();
    loop {
        let held = if port.host_address.is_some() { hold(port).map(|held| vec![held]) } else { hold_everywhere(port) };
        match held {
            Err((taken, error)) if is_passing(home, &taken, &error) && begun.elapsed() < PASSING => thread::sleep(PAUSE),
            held => return held,
        }
    }
}

/// Whether a port is held by a socket of ours that leads to no container.
fn is_passing(home: &Home, port: &Port, error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EADDRINUSE)
        && match find_holder(home, port) {
            None => true, // one that is bound and does not listen is in no list
            Some(Holder::Process { pid, .. }) => holder::is_ours(pid),
            Some(Holder::Container(_)) => false,
        }
}

/// Holds one port of all addresses, the same number of both families. A host without IPv6 has only the other.
fn hold_everywhere(port: &Port) -> Held<Vec<(Port, OwnedFd)>> {
    // What the kernel chose in vain stays with us meanwhile, so that it chooses another one.
    let mut chosen_in_vain = Vec::new();
    loop {
        let (ipv4, socket) = hold(&Port { host_address: Some(Ipv4Addr::UNSPECIFIED.into()), ..*port })?;
        let wanted = Port { host_address: Some(Ipv6Addr::UNSPECIFIED.into()), ..ipv4 };
        match hold(&wanted) {
            Ok(ipv6) => return Ok(vec![(ipv4, socket), ipv6]),
            Err((_, error)) if matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) => {
                return Ok(vec![(ipv4, socket)]);
            }
            Err(_) if port.host_port == 0 && chosen_in_vain.len() < MOST_TRIES => chosen_in_vain.push(socket),
            Err(fault) => return Err(fault),
        }
    }
}

/// Holds one port. What the kernel chose is asked for again by number: only so does a socket keep it when it listens no more
/// (SOCK_BINDPORT_LOCK, net/ipv4/af_inet.c).
fn hold(port: &Port) -> Held<(Port, OwnedFd)> {
    let mut tries = 0;
    loop {
        let chosen = match port.host_port {
            0 => bind(port).map(|(_, host_port)| Port { host_port, ..*port }).map_err(|error| (*port, error))?,
            _ => *port,
        };
        match bind(&chosen) {
            Ok((socket, _)) => return Ok((chosen, socket)),
            Err(_) if port.host_port == 0 && tries < MOST_TRIES => tries += 1,
            Err(error) => return Err((chosen, error)),
        }
    }
}

fn bind(port: &Port) -> io::Result<(OwnedFd, u16)> {
    let address = SocketAddr::new(port.host_address.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), port.host_port);
    let socket = open(port.protocol, address.ip())?;
    match rustix::net::bind(&socket, &address) {
        // Connections of a server that has gone linger for a minute; they are no reason to refuse the port. A socket
        // that may share the port with them must listen, or a second reservation could share it too (tcp(7), ip(7)).
        Err(rustix::io::Errno::ADDRINUSE) if port.protocol == Protocol::Tcp && holder::only_leftovers_hold(port) => {
            rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
            rustix::net::bind(&socket, &address)?;
            rustix::net::listen(&socket, 0)?;
        }
        bound => bound?,
    }
    match SocketAddr::try_from(rustix::net::getsockname(&socket)?) {
        Ok(name) => Ok((socket, name.port())),
        Err(error) => Err(io::Error::from(error)),
    }
}

fn open(protocol: Protocol, address: IpAddr) -> io::Result<OwnedFd> {
    let (kind, protocol) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, None),
        Protocol::Udp => (SocketType::DGRAM, None),
        Protocol::Sctp => (SocketType::STREAM, Some(ipproto::SCTP)),
    };
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, protocol)?;
    if address.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?; // the other family's port is another one
    }
    Ok(socket)
}

fn refusal(home: &Home, port: &Port, error: &io::Error) -> Failure {
    let failure = Failure::new(format!("cannot publish port {}", port.host_port));
    let place = match port.host_address {
        Some(address) if !address.is_unspecified() => format!("port {} on {address}", port.host_port),
        _ => format!("port {}", port.host_port),
    };
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => {
            let (holder, way_out) = match find_holder(home, port) {
                Some(Holder::Container(name)) => (format!(" by container `{name}`"), "stop that container"),
                Some(Holder::Process { pid, name }) => (format!(" by process {pid} ({name})"), "stop that process"),
                None => (String::new(), "free this one"),
            };
            failure.because(format!("{place} is taken{holder}")).hint(format!("choose another host port in `ports:`, or {way_out}"))
        }
        Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT) => failure
            .because(format!("{} is not an address of this host", port.host_address.map(|address| address.to_string()).unwrap_or_default()))
            .hint("leave the address out, or name one that `ip address` shows"),
        Some(libc::EPROTONOSUPPORT | libc::ESOCKTNOSUPPORT) => {
            failure.because(format!("{place}: this kernel has no SCTP")).hint("load its module with `modprobe sctp`")
        }
        Some(libc::EACCES) => failure
            .because(format!("{place}: {error}"))
            .hint("ports below net.ipv4.ip_unprivileged_port_start (1024) are for root; choose a higher one"),
        _ => failure.because(format!("{place}: {error}")),
    }
}

/// The container that has published a port so that another one cannot have it, by its id.
pub fn publisher(home: &Home, port: &Port) -> Option<String> {
    let published = all(home).unwrap_or_default();
    published.into_iter().find(|(_, published)| published.ports.iter().any(|held| held.clashes_with(port))).map(|(id, _)| id)
}

fn find_holder(home: &Home, port: &Port) -> Option<Holder> {
    match publisher(home, port) {
        Some(id) => {
            let name = holder::container_name(home, &id).unwrap_or_else(|| id.chars().take(12).collect());
            Some(Holder::Container(name))
        }
        None => holder::process(port),
    }
}

impl Port {
    /// Whether two published ports cannot be there at once.
    pub fn clashes_with(&self, other: &Port) -> bool {
        let addresses_clash = match (self.host_address, other.host_address) {
            (Some(one), Some(other)) => {
                one.is_ipv4() == other.is_ipv4() && (one == other || one.is_unspecified() || other.is_unspecified())
            }
            _ => true,
        };
        // 0 is none of the host.
        self.protocol == other.protocol && self.host_port == other.host_port && self.host_port != 0 && addresses_clash
    }
}

impl Target {
    /// Where the ports of a container that is plugged in so lead to: by the network that
    /// it has its default route by, so that answers go the way that questions come; if it has none, by the first.
    pub fn of(plugged: &[Plugged]) -> Target {
        let ranked = by_rank(plugged);
        let ipv4 = ranked.iter().filter_map(|plugged| plugged.ipv4);
        let ipv6 = ranked.iter().filter_map(|plugged| plugged.ipv6);
        Target {
            ipv4: ipv4.clone().find(|assigned| assigned.gateway.is_some()).or(ipv4.clone().next()).map(|assigned| assigned.address),
            ipv6: ipv6.clone().find(|assigned| assigned.gateway.is_some()).or(ipv6.clone().next()).map(|assigned| assigned.address),
        }
    }

    /// Where the firewall leads a port; None if it cannot.
    fn by_firewall(self, port: &Port) -> Option<(IpAddr, IpAddr)> {
        let from = port.host_address.filter(|_| port.host_port != 0)?;
        self.of_family(from).filter(|_| from != IpAddr::from(Ipv6Addr::LOCALHOST)).map(|to| (from, to))
    }

    /// The container's address of the same family.
    fn of_family(self, address: IpAddr) -> Option<IpAddr> {
        if address.is_ipv4() { self.ipv4.map(IpAddr::from) } else { self.ipv6.map(IpAddr::from) }
    }
}

/// Leads reserved ports to a container: elements of the port maps, one atomic batch. What was published for this
/// container before is replaced.
///
/// # Errors
/// A port leads to another container; what the kernel says. Nothing is led then.
pub fn publish(home: &Home, container_id: &str, target: Target, ports: &[Port]) -> Result<()> {
    let _lock = record::lock(home)?;
    let path = record_of(home, container_id);
    let before: Option<Published> = state::find_json(&path)?;
    let published = Published { version: 1, target, ports: ports.to_vec() };
    if ports.is_empty() {
        return unpublish_locked(home, container_id);
    }
    refuse_clashes(home, container_id, ports)?;
    state::write_json(&path, &published)?;
    let gone = before.as_ref().map(elements_of).unwrap_or_default();
    let done = firewall::replace(home, &gone, &elements_of(&published)).doing(|| "cannot publish the container's ports");
    if done.is_err() {
        let _ = match before {
            Some(before) => state::write_json(&path, &before),
            None => fs::remove_file(&path).doing(|| "cannot remove a record"),
        };
    }
    done
}

/// A supervisor that was killed with its guardian holds no socket any more, but its containers are still reached.
fn refuse_clashes(home: &Home, container_id: &str, ports: &[Port]) -> Result<()> {
    for (id, published) in all(home)?.into_iter().filter(|(id, _)| id != container_id) {
        let Some(port) = ports.iter().find(|port| published.ports.iter().any(|held| held.clashes_with(port))) else { continue };
        if home.container(&id).exists() {
            return Err(refusal(home, port, &io::Error::from_raw_os_error(libc::EADDRINUSE)));
        }
        unpublish_locked(home, &id)?;
    }
    Ok(())
}

/// Ends what [`publish`] began for this container; doing it twice is no error.
///
/// # Errors
/// What the kernel says.
pub fn unpublish(home: &Home, container_id: &str) -> Result<()> {
    let _lock = record::lock(home)?;
    unpublish_locked(home, container_id)
}

/// Ends it for a caller that holds [`record::lock`].
pub(super) fn unpublish_locked(home: &Home, container_id: &str) -> Result<()> {
    let path = record_of(home, container_id);
    let Some(published) = state::find_json::<Published>(&path)? else { return Ok(()) };
    // The record goes first: should the table be missing, what is on disk is what the repair makes.
    fs::remove_file(&path).doing(|| format!("cannot remove {}", path.display()))?;
    firewall::replace(home, &elements_of(&published), &[]).doing(|| "cannot end the publishing of the container's ports")
}

/// What is published for all containers, by id.
fn all(home: &Home) -> Result<Vec<(String, Published)>> {
    let entries = match fs::read_dir(directory(home)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.doing(|| "cannot read what is published")?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.doing(|| "cannot read what is published")?.path();
        let (Some(id), Some("json")) = (path.file_stem().and_then(|id| id.to_str()), path.extension().and_then(|end| end.to_str())) else {
            continue;
        };
        if let (false, Some(published)) = (id.starts_with('.'), state::find_json(&path)?) {
            found.push((id.to_owned(), published));
        }
    }
    Ok(found)
}

/// The map's elements for all that is published.
pub(super) fn all_elements(home: &Home) -> Result<Vec<Element>> {
    Ok(all(home)?.iter().flat_map(|(_, published)| elements_of(published)).collect())
}

fn elements_of(published: &Published) -> Vec<Element> {
    let mut elements = Vec::new();
    for port in &published.ports {
        let protocol = port.protocol.number();
        if let Some((from, to)) = published.target.by_firewall(port) {
            elements.push(Element::Port { protocol, from: (from, port.host_port), to: (to, port.container_port) });
        }
        let own = port.host_address.and_then(|address| published.target.of_family(address));
        // One that is published twice is open once.
        let direct = own.map(|own| Element::Direct { protocol, to: (own, port.container_port) });
        if let Some(direct) = direct.filter(|direct| !elements.contains(direct)) {
            elements.push(direct);
        }
    }
    elements
}

impl Protocol {
    /// Its number in an IP header.
    fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }
}
