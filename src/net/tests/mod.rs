//! The room on a real kernel: each test in its own user, network and mount namespaces, containers as bare namespaces.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::process::Command;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use nix::sched::CloneFlags;
use rtnetlink::LinkVeth;

use super::netlink::Channel;
use super::*;
use crate::place::Home;

mod idle;
mod ipv6;
mod ipv6_ports;
mod modes;
mod names;
mod plug;
mod ports;
mod records;
mod sctp;

const INSIDE: &str = "CORACLE_NET_TEST";

/// Runs a test's body in a process of its own, in new user, network and mount namespaces.
fn in_own_namespaces(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some_and(|name| name == test) {
        let mut channel = Channel::route().unwrap();
        let lo = link::find(&mut channel, "lo").unwrap().unwrap();
        link::set_up(&mut channel, lo).unwrap();
        return body();
    }
    let path = format!("net::tests::{test}");
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &path, "--include-ignored", "--nocapture", "--test-threads=1"])
        .env(INSIDE, test)
        .output()
        .expect("unshare (util-linux) is installed");
    let said = String::from_utf8_lossy(&status.stdout).into_owned() + &String::from_utf8_lossy(&status.stderr);
    assert!(status.status.success() && said.contains("1 passed"), "{said}");
    println!("{said}");
}

/// A network namespace that stands for a container, or for another host.
struct Guest {
    id: String,
    netns: OwnedFd,
    /// Lives in it.
    process: Child,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Guest {
    fn new(world: &World) -> Guest {
        let id = crate::state::random_hex();
        fs::create_dir_all(world.home.container(&id)).unwrap();
        let made = thread::spawn(|| {
            nix::sched::unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let netns = OwnedFd::from(File::open("/proc/thread-self/ns/net").unwrap());
            (netns, Command::new("sleep").arg("600").spawn().unwrap())
        });
        let (netns, process) = made.join().unwrap();
        Guest { id, netns, process }
    }

    fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let netns = self.netns.try_clone().unwrap();
        let worker = thread::spawn(move || {
            nix::sched::setns(netns.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        worker.join().unwrap()
    }

    /// Answers each connection with the asker's address until the test ends.
    fn serve(&self, address: &str) {
        let address = address.to_owned();
        let listener = self.run(move || TcpListener::bind(address).unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let peer = stream.peer_addr().unwrap().ip().to_string();
                let _ = stream.write_all(peer.as_bytes());
            }
        });
    }

    fn fetch(&self, address: &str) -> io::Result<String> {
        let address = address.to_owned();
        self.run(move || fetch(&address))
    }
}

fn fetch(address: &str) -> io::Result<String> {
    let address: SocketAddr = address.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(1500))?;
    stream.set_read_timeout(Some(Duration::from_millis(1500)))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

struct World {
    home: Home,
    _directory: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        World { home: Home::at(directory.path().join("lib"), directory.path().join("run")), _directory: directory }
    }

    fn network(&self, name: &str) -> Network {
        create(&self.home, &Wanted { name: name.into(), ..Wanted::default() }).unwrap()
    }

    fn plug(&self, guest: &Guest, networks: &[&str]) -> Vec<Plugged> {
        let plugs: Vec<Plug> = networks.iter().map(|name| plug_into(name)).collect();
        plug(&self.home, &guest.id, guest.netns.as_fd(), &plugs).unwrap()
    }
}

fn plug_into(network: &str) -> Plug {
    Plug::into_network(network)
}

fn in_subnet(text: &str) -> Option<WantedAddresses> {
    Some(WantedAddresses { subnet: Some(text.into()), ..WantedAddresses::default() })
}

impl Network {
    fn ipv4(&self) -> &Addresses<Ipv4Addr> {
        self.ipv4.as_ref().unwrap()
    }
}

impl Plugged {
    fn address(&self) -> Ipv4Addr {
        self.ipv4.unwrap().address
    }
}

fn tcp(host_address: impl Into<IpAddr>, host_port: u16, container_port: u16) -> Port {
    Port { host_address: Some(host_address.into()), host_port, container_port, protocol: Protocol::Tcp }
}

fn to(address: Ipv4Addr) -> Target {
    Target { ipv4: Some(address), ipv6: None }
}

/// Everything of the host that we may change: its links, its firewall, its switches.
fn host_state() -> String {
    let links = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let links: Vec<&str> = links.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
    let rules = Command::new("nft").args(["list", "ruleset"]).output().expect("nft is installed");
    assert!(rules.status.success());
    let switches = ["ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv6/conf/lo/accept_ra", "ipv6/conf/default/accept_ra"];
    let switches = switches.map(|name| fs::read_to_string(format!("/proc/sys/net/{name}")).unwrap());
    format!("{links:?}\n{}\n{switches:?}", String::from_utf8_lossy(&rules.stdout))
}

/// Another host, 203.0.113.2, on the wire with this one, 203.0.113.1.
fn other_host(world: &World) -> Guest {
    let other = Guest::new(world);
    let mut here = Channel::route().unwrap();
    let mut there = other.netns_channel();
    wire(&mut here, &other);
    for (channel, name, address) in [(&mut here, "up0", "203.0.113.1"), (&mut there, "up0", "203.0.113.2")] {
        let link = link::find(channel, name).unwrap().unwrap();
        link::add_address(channel, link, address.parse().unwrap(), 24).unwrap();
        link::set_up(channel, link).unwrap();
    }
    link::add_default_route(&mut here, "203.0.113.2".parse().unwrap()).unwrap();
    other
}

fn wire(here: &mut Channel, other: &Guest) {
    use netlink_packet_route::RouteNetlinkMessage;
    use netlink_packet_route::link::InfoData;
    use netlink_packet_route::link::InfoVeth;
    use std::os::fd::AsRawFd;
    let peer = rtnetlink::LinkUnspec::new_with_name("up0").setns_by_fd(other.netns.as_raw_fd()).mtu(1400).build();
    let pair = LinkVeth::new("up0", "up0").set_info_data(InfoData::Veth(InfoVeth::Peer(peer))).mtu(1400).build();
    here.change(RouteNetlinkMessage::NewLink(pair), netlink_packet_core::NLM_F_CREATE).unwrap();
}

impl Guest {
    /// Ends, as a container does: nobody is in its namespace and nobody holds it.
    fn die(&mut self) {
        self.netns = OwnedFd::from(File::open("/dev/null").unwrap());
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn netns_channel(&self) -> Channel {
        namespace::inside(self.netns.as_fd(), Channel::route).unwrap()
    }
}
