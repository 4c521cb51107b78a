//! Ports published on addresses of IPv6, by the firewall and by relays.

use super::ipv6::dual;
use super::ipv6::other_host_with_ipv6;
use super::*;

/// Relays in a thread what is published past the firewall, until the leash is dropped.
fn relay_for(held: &Reservation, target: Target) -> (OwnedFd, thread::JoinHandle<()>) {
    let ports = relayed(held, target).unwrap();
    let (leash, ours) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (ours, thread::spawn(move || relay(ports, leash).unwrap()))
}

fn anywhere(host_port: u16, container_port: u16) -> Port {
    Port { host_address: None, ..tcp(Ipv4Addr::UNSPECIFIED, host_port, container_port) }
}

#[test]
fn a_published_port_is_reached_by_either_family_and_with_the_real_address() {
    in_own_namespaces("ipv6_ports::a_published_port_is_reached_by_either_family_and_with_the_real_address", || {
        let world = World::new();
        let other = other_host_with_ipv6(&world);
        let before = host_state();
        let network = dual(&world, "net", None);
        let (web, neighbour) = (Guest::new(&world), Guest::new(&world));
        let target = Target::of(&world.plug(&web, &["net"]));
        world.plug(&neighbour, &["net"]);
        web.serve("[::]:5000");
        let held = reserve(&world.home, &[anywhere(0, 5000), tcp(Ipv6Addr::LOCALHOST, 8001, 5000)]).unwrap();
        let number = held.ports[0].host_port;
        let addresses: Vec<String> = held.ports.iter().map(|port| port.host_address.unwrap().to_string()).collect();
        assert_eq!(addresses, ["0.0.0.0", "::", "::1"]);
        assert_eq!(held.ports[1].host_port, number, "one number for both");
        publish(&world.home, &web.id, target, &held.ports).unwrap();
        let (leash, relay) = relay_for(&held, target);

        let gateway = network.ipv6.as_ref().unwrap().gateway.to_string();
        assert_eq!(other.fetch(&format!("[2001:db8::1]:{number}")).unwrap(), "2001:db8::2", "the real address of the asker is seen");
        assert_eq!(other.fetch(&format!("203.0.113.1:{number}")).unwrap(), "::ffff:203.0.113.2");
        assert_eq!(fetch(&format!("[2001:db8::1]:{number}")).unwrap(), "2001:db8::1");
        assert_eq!(neighbour.fetch(&format!("[2001:db8::1]:{number}")).unwrap(), gateway, "by way of the host");
        assert_eq!(web.fetch(&format!("[2001:db8::1]:{number}")).unwrap(), gateway, "itself, by its published port");
        assert_eq!(fetch(&format!("[::1]:{number}")).unwrap(), gateway);
        assert_eq!(fetch("[::1]:8001").unwrap(), gateway);
        assert!(fetch("[2001:db8::1]:8001").is_err(), "on loopback only");
        assert!(fetch("127.0.0.1:8001").is_err(), "of its family only");
        // A neighbour on the wire that routes our subnets to us.
        let of = network.ipv6.as_ref().unwrap();
        let route = rtnetlink::RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(of.subnet, of.prefix)
            .gateway("2001:db8::1".parse().unwrap())
            .build();
        let add = netlink_packet_route::RouteNetlinkMessage::NewRoute(route);
        other.netns_channel().change(add, netlink_packet_core::NLM_F_CREATE).unwrap();
        assert!(other.fetch(&format!("[{}]:5000", target.ipv6.unwrap())).is_err(), "the container itself is not reached from outside");

        unpublish(&world.home, &web.id).unwrap();
        drop(leash);
        relay.join().unwrap();
        assert!(other.fetch(&format!("[2001:db8::1]:{number}")).is_err());
        for guest in [&web, &neighbour] {
            unplug(&world.home, &guest.id).unwrap();
        }
        sweep(&world.home).unwrap();
        assert_eq!(host_state(), before);
    });
}

#[test]
fn a_container_without_ipv6_is_reached_by_it_too() {
    in_own_namespaces("ipv6_ports::a_container_without_ipv6_is_reached_by_it_too", || {
        let world = World::new();
        let other = other_host_with_ipv6(&world);
        world.network("net");
        let web = Guest::new(&world);
        let target = Target::of(&world.plug(&web, &["net"]));
        let udp = Port { protocol: Protocol::Udp, ..anywhere(5300, 53) };
        let held = reserve(&world.home, &[anywhere(8000, 5000), anywhere(8001, 5001), udp]).unwrap();
        publish(&world.home, &web.id, target, &held.ports).unwrap();
        let (leash, relay) = relay_for(&held, target);
        web.serve("0.0.0.0:5000");
        assert_eq!(fetch("127.0.0.1:8000").unwrap(), "172.17.0.1");
        assert_eq!(fetch("[::1]:8000").unwrap(), "172.17.0.1");
        assert_eq!(other.fetch("[2001:db8::1]:8000").unwrap(), "172.17.0.1");
        assert_eq!(fetch("[::1]:8001").unwrap_err().kind(), io::ErrorKind::ConnectionReset, "nobody listens in the container");

        let echo = web.run(|| UdpSocket::bind("0.0.0.0:53").unwrap());
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((count, from)) = echo.recv_from(&mut buffer) {
                echo.send_to(&buffer[..count], from).unwrap();
            }
        });
        let client = UdpSocket::bind("[::1]:0").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        for text in ["one", "two"] {
            client.send_to(text.as_bytes(), "[::1]:5300").unwrap();
            let mut buffer = [0; 64];
            let (count, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..count], from.to_string().as_str()), (text.as_bytes(), "[::1]:5300"));
        }
        drop((leash, relay));
        unplug(&world.home, &web.id).unwrap();
    });
}

#[test]
fn a_relay_lets_finish_what_is_open_and_leaves_the_rest_to_the_next() {
    in_own_namespaces("ipv6_ports::a_relay_lets_finish_what_is_open_and_leaves_the_rest_to_the_next", || {
        let world = World::new();
        world.network("net");
        let web = Guest::new(&world);
        let target = Target::of(&world.plug(&web, &["net"]));
        let held = reserve(&world.home, &[anywhere(8000, 5000), anywhere(8001, 5001)]).unwrap();
        publish(&world.home, &web.id, target, &held.ports).unwrap();
        let (leash, relay) = relay_for(&held, target);
        web.serve("0.0.0.0:5000");
        // All of a large answer comes, after the client has said all it has to say; and the leash ends only what is new.
        let server = web.run(|| TcpListener::bind("0.0.0.0:5001").unwrap());
        let size = 8 << 20;
        let server = thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut asked = String::new();
            stream.read_to_string(&mut asked).unwrap();
            stream.write_all(&vec![7; size]).unwrap();
            asked
        });
        let mut stream = TcpStream::connect("[::1]:8001").unwrap();
        stream.write_all(b"all").unwrap();
        let mut first = [0; 1];
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        stream.read_exact(&mut first).unwrap();
        drop(leash);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert_eq!((server.join().unwrap().as_str(), rest.len()), ("all", size - 1));
        relay.join().unwrap();
        // Others hold the sockets: who knocks now waits for the next relay.
        let waiting = thread::spawn(|| fetch("[::1]:8000").unwrap());
        let (_leash, _relay) = relay_for(&held, target);
        assert_eq!(waiting.join().unwrap(), "172.17.0.1");

        // A container that is about to be started again keeps its ports, and whoever comes is refused meanwhile.
        let held = reserve(&world.home, &[anywhere(0, 5000)]).unwrap();
        let number = held.ports[0].host_port;
        hush(&relayed(&held, target).unwrap());
        assert_eq!(fetch(&format!("[::1]:{number}")).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert!(reserve(&world.home, &[anywhere(number, 5000)]).is_err());
        assert!(TcpListener::bind(format!("[::]:{number}")).is_err(), "which asks to share it");
        let (leash, relay) = relay_for(&held, target);
        assert_eq!(fetch(&format!("[::1]:{number}")).unwrap(), "172.17.0.1");
        drop((held, leash));
        relay.join().unwrap();
        assert!(fs::read_to_string("/proc/thread-self/net/tcp6").unwrap().contains(&format!(":{number:04X} ")), "nothing is left over");
        assert!(reserve(&world.home, &[anywhere(number, 5000)]).is_ok(), "connections that linger are in the way");
        unplug(&world.home, &web.id).unwrap();
    });
}

/// Loopback that others could reach would be none.
#[test]
fn the_loopback_of_ipv6_is_out_of_reach_for_others() {
    in_own_namespaces("ipv6_ports::the_loopback_of_ipv6_is_out_of_reach_for_others", || {
        let world = World::new();
        let other = other_host_with_ipv6(&world);
        dual(&world, "net", Some("fd00:9::/64"));
        let (web, neighbour) = (Guest::new(&world), Guest::new(&world));
        let target = Target::of(&world.plug(&web, &["net"]));
        world.plug(&neighbour, &["net"]);
        web.serve("[::]:5000");
        let held = reserve(&world.home, &[tcp(Ipv6Addr::LOCALHOST, 8000, 5000)]).unwrap();
        publish(&world.home, &web.id, target, &held.ports).unwrap();
        let (_leash, _relay) = relay_for(&held, target);
        assert!(fetch("[::1]:8000").is_ok());
        for (guest, gateway) in [(&other, "2001:db8::1"), (&neighbour, "fd00:9::1")] {
            assert!(guest.fetch(&format!("[{gateway}]:8000")).is_err());
            // Without its own ::1 it can route that to us.
            let mut channel = guest.netns_channel();
            let own = rtnetlink::AddressMessageBuilder::<Ipv6Addr>::new().index(1).address(Ipv6Addr::LOCALHOST, 128).build();
            let _ = channel.change(netlink_packet_route::RouteNetlinkMessage::DelAddress(own), 0); // none while `lo` is down
            let route = rtnetlink::RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(Ipv6Addr::LOCALHOST, 128)
                .gateway(gateway.parse().unwrap())
                .build();
            channel.change(netlink_packet_route::RouteNetlinkMessage::NewRoute(route), netlink_packet_core::NLM_F_CREATE).unwrap();
            assert!(guest.fetch("[::1]:8000").is_err(), "published on loopback, reached over the wire");
        }
        for guest in [&web, &neighbour] {
            unplug(&world.home, &guest.id).unwrap();
        }
    });
}

#[test]
fn a_taken_port_of_ipv6_is_refused_with_its_holder() {
    in_own_namespaces("ipv6_ports::a_taken_port_of_ipv6_is_refused_with_its_holder", || {
        let world = World::new();
        let socket = rustix::net::socket(rustix::net::AddressFamily::INET6, rustix::net::SocketType::STREAM, None).unwrap();
        rustix::net::sockopt::set_ipv6_v6only(&socket, true).unwrap();
        rustix::net::bind(&socket, &"[::1]:8080".parse::<SocketAddr>().unwrap()).unwrap();
        rustix::net::listen(&socket, 1).unwrap();
        let refused = reserve(&world.home, &[anywhere(8080, 80)]).unwrap_err().to_string();
        let pid = std::process::id();
        assert!(refused.contains(&format!("because: port 8080 is taken by process {pid} (")), "{refused}");
        assert!(reserve(&world.home, &[tcp(Ipv4Addr::UNSPECIFIED, 8080, 80)]).is_ok(), "IPv4's is another one");
        let refused = reserve(&world.home, &[tcp(Ipv6Addr::LOCALHOST, 8080, 80)]).unwrap_err().to_string();
        assert!(refused.contains(&format!("because: port 8080 on ::1 is taken by process {pid} (")), "{refused}");
        let refused = reserve(&world.home, &[tcp("2001:db8::9".parse::<Ipv6Addr>().unwrap(), 8080, 80)]).unwrap_err().to_string();
        assert!(refused.contains("because: 2001:db8::9 is not an address of this host"), "{refused}");
    });
}

/// A client of UDP that keeps sending from one port is one flow, which must follow its port.
#[test]
fn a_udp_client_of_ipv6_follows_the_published_port() {
    in_own_namespaces("ipv6_ports::a_udp_client_of_ipv6_follows_the_published_port", || {
        let world = World::new();
        let other = other_host_with_ipv6(&world);
        dual(&world, "net", None);
        let (web, next) = (Guest::new(&world), Guest::new(&world));
        let targets = [&web, &next].map(|guest| Target::of(&world.plug(guest, &["net"])));
        for (guest, text) in [(&web, "first"), (&next, "second")] {
            let socket = guest.run(|| UdpSocket::bind("[::]:53").unwrap());
            thread::spawn(move || {
                let mut buffer = [0; 64];
                while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                    socket.send_to(text.as_bytes(), from).unwrap();
                }
            });
        }
        let ports = [Port { protocol: Protocol::Udp, ..tcp(Ipv6Addr::UNSPECIFIED, 5300, 53) }];
        let _held = reserve(&world.home, &ports).unwrap();
        let client = other.run(|| UdpSocket::bind("[2001:db8::2]:0").unwrap());
        client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let ask = || {
            client.send_to(b"?", "[2001:db8::1]:5300").unwrap();
            let mut buffer = [0; 64];
            client.recv_from(&mut buffer).ok().map(|(count, _)| String::from_utf8_lossy(&buffer[..count]).into_owned())
        };
        assert_eq!(ask(), None);
        publish(&world.home, &web.id, targets[0], &ports).unwrap();
        assert_eq!(ask().as_deref(), Some("first"));
        unpublish(&world.home, &web.id).unwrap();
        publish(&world.home, &next.id, targets[1], &ports).unwrap();
        assert_eq!(ask().as_deref(), Some("second"));
        for guest in [&web, &next] {
            unplug(&world.home, &guest.id).unwrap();
        }
    });
}
