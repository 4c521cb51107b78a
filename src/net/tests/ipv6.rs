//! Networks with IPv6, alone or beside IPv4.

use super::*;

fn dual(world: &World, name: &str, subnet: Option<&str>) -> Network {
    let ipv6 = subnet.map_or(Some(WantedAddresses::default()), in_subnet);
    create(&world.home, &Wanted { name: name.into(), ipv6, ..Wanted::default() }).unwrap()
}

impl Plugged {
    fn ipv6_address(&self) -> Ipv6Addr {
        self.ipv6.unwrap().address
    }
}

/// Gives the wire to the other host addresses of IPv6: 2001:db8::1 here, 2001:db8::2 there.
fn other_host_with_ipv6(world: &World) -> Guest {
    let other = other_host(world);
    let mut here = Channel::route().unwrap();
    let mut there = other.netns_channel();
    for (channel, address) in [(&mut here, "2001:db8::1"), (&mut there, "2001:db8::2")] {
        let link = link::find(channel, "up0").unwrap().unwrap();
        link::add_address(channel, link, address.parse().unwrap(), 64).unwrap();
    }
    other
}

fn switch(link: &str, name: &str) -> String {
    fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{link}/{name}")).unwrap().trim().to_owned()
}

#[test]
fn containers_reach_each_other_and_the_world_by_either_family() {
    in_own_namespaces("ipv6::containers_reach_each_other_and_the_world_by_either_family", || {
        let world = World::new();
        let other = other_host_with_ipv6(&world);
        other.serve("[2001:db8::2]:80");
        other.serve("203.0.113.2:80");
        fs::write("/proc/sys/net/ipv6/conf/up0/accept_ra", "1").unwrap();
        let before = host_state();
        let network = dual(&world, "net", None);
        let (web, redis) = (Guest::new(&world), Guest::new(&world));
        let redis_plug = world.plug(&redis, &["net"]).remove(0);
        redis.serve("[::]:6379");
        let started = Instant::now();
        let web_plug = world.plug(&web, &["net"]).remove(0);
        let of = network.ipv6.as_ref().unwrap();
        assert_eq!((of.prefix, of.subnet.octets()[0]), (64, 0xfd));
        assert_eq!(web_plug.ipv6_address().octets()[8..], [0, 0, 0, 0, 0, 0, 0, 3]);
        assert_eq!(web_plug.ipv6.unwrap().gateway, Some(of.gateway));

        let redis_address = redis_plug.ipv6_address();
        assert_eq!(web.fetch(&format!("[{redis_address}]:6379")).unwrap(), web_plug.ipv6_address().to_string());
        assert!(started.elapsed() < Duration::from_millis(900), "it waited for neighbours to object");
        assert_eq!(web.fetch("172.17.0.2:6379").unwrap(), "::ffff:172.17.0.3");
        assert_eq!(fetch(&format!("[{redis_address}]:6379")).unwrap(), of.gateway.to_string(), "the host reaches containers");
        assert_eq!(web.fetch("[2001:db8::2]:80").unwrap(), "2001:db8::1", "out, masqueraded");
        assert_eq!(web.fetch("203.0.113.2:80").unwrap(), "203.0.113.1");
        assert_eq!((switch("all", "forwarding"), switch("up0", "accept_ra")), ("1".into(), "2".into()));
        let asks = web.run(|| ["accept_ra", "accept_dad"].map(|name| switch("eth0", name)));
        assert_eq!(asks, ["0", "0"]);

        unplug(&world.home, &web.id).unwrap();
        assert_eq!(switch("all", "forwarding"), "1");
        unplug(&world.home, &redis.id).unwrap();
        sweep(&world.home).unwrap();
        assert_eq!(host_state(), before);
        assert_eq!((switch("all", "forwarding"), switch("up0", "accept_ra")), ("0".into(), "1".into()));
        remove(&world.home, &network).unwrap();
    });
}

#[test]
fn a_network_without_ipv4_has_none_and_one_without_ipv6_neither() {
    in_own_namespaces("ipv6::a_network_without_ipv4_has_none_and_one_without_ipv6_neither", || {
        let world = World::new();
        let other = other_host_with_ipv6(&world);
        other.serve("[2001:db8::2]:80");
        let before = host_state();
        let wanted = Wanted { name: "six".into(), ipv4: None, ipv6: in_subnet("fd00:6::/64"), ..Wanted::default() };
        create(&world.home, &wanted).unwrap();
        world.network("four");
        let (six, four, both) = (Guest::new(&world), Guest::new(&world), Guest::new(&world));
        let plugged = world.plug(&six, &["six"]).remove(0);
        assert_eq!((plugged.ipv4, plugged.ipv6_address()), (None, "fd00:6::2".parse().unwrap()));
        assert_eq!(six.fetch("[2001:db8::2]:80").unwrap(), "2001:db8::1");
        assert_eq!(six.fetch("203.0.113.2:80").unwrap_err().raw_os_error(), Some(libc::ENETUNREACH));

        world.plug(&four, &["four"]);
        assert_eq!(four.run(|| switch("eth0", "disable_ipv6")), "1");
        let bridge = find(&world.home, "four").unwrap().unwrap().bridge;
        assert_eq!(switch(&bridge, "disable_ipv6"), "1");

        let plugged = world.plug(&both, &["four", "six"]);
        assert_eq!((plugged[0].ipv6, plugged[1].ipv4), (None, None));
        assert_eq!(both.fetch("[2001:db8::2]:80").unwrap(), "2001:db8::1", "each family has its own way out");
        for guest in [&six, &four, &both] {
            unplug(&world.home, &guest.id).unwrap();
        }
        sweep(&world.home).unwrap();
        assert_eq!(host_state(), before);
    });
}

#[test]
fn an_internal_network_has_no_way_out_by_ipv6_either() {
    in_own_namespaces("ipv6::an_internal_network_has_no_way_out_by_ipv6_either", || {
        let world = World::new();
        let other = other_host_with_ipv6(&world);
        other.serve("[2001:db8::2]:80");
        let ipv6 = in_subnet("fd00:6::/64");
        create(&world.home, &Wanted { name: "vault".into(), internal: true, ipv6, ..Wanted::default() }).unwrap();
        dual(&world, "front", Some("fd00:7::/64"));
        let (inner, outer) = (Guest::new(&world), Guest::new(&world));
        assert_eq!(world.plug(&inner, &["vault"])[0].ipv6.unwrap().gateway, None);
        world.plug(&outer, &["front"]);
        inner.serve("[fd00:6::2]:5000");
        assert!(inner.fetch("[2001:db8::2]:80").is_err(), "no route");
        link::add_default_route(&mut inner.netns_channel(), "fd00:6::1".parse().unwrap()).unwrap();
        assert!(inner.fetch("[2001:db8::2]:80").is_err(), "a route of its own making does not help");
        assert!(outer.fetch("[fd00:6::2]:5000").is_err(), "from another network");
        assert_eq!(outer.fetch("[2001:db8::2]:80").unwrap(), "2001:db8::1");
        for guest in [&inner, &outer] {
            unplug(&world.home, &guest.id).unwrap();
        }
    });
}

#[test]
fn addresses_of_both_families_are_fixed_kept_and_refused() {
    in_own_namespaces("ipv6::addresses_of_both_families_are_fixed_kept_and_refused", || {
        let world = World::new();
        let _other = other_host_with_ipv6(&world);
        let of = |subnet: &str, range: &str, reserved: &str| WantedAddresses {
            subnet: Some(subnet.into()),
            gateway: None,
            range: Some(range.into()),
            reserved: [("router".to_owned(), reserved.to_owned())].into(),
        };
        let ipv4 = of("10.9.0.0/16", "10.9.8.0/30", "10.9.8.2");
        let ipv6 = of("fd00:9::/64", "fd00:9::8:0/126", "fd00:9::8:2");
        let wanted = Wanted { name: "net".into(), ipv4: Some(ipv4), ipv6: Some(ipv6), ..Wanted::default() };
        let network = create(&world.home, &wanted).unwrap();
        assert_eq!(find(&world.home, "net").unwrap(), Some(network.clone()), "as it is on disk");
        assert_eq!(network.ipv4().gateway, Ipv4Addr::new(10, 9, 8, 0), "in a range the first is one as any other");
        let guests: Vec<Guest> = (0..4).map(|_| Guest::new(&world)).collect();
        let take = |guest: &Guest, last: Option<u16>| {
            let ipv6_address = last.map(|last| Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, last));
            let plugs = [Plug { ipv6_address, ..plug_into("net") }];
            plug(&world.home, &guest.id, guest.netns.as_fd(), &plugs).map(|plugged| (plugged[0].address(), plugged[0].ipv6_address()))
        };
        let addresses = |ipv4: &str, ipv6: &str| (ipv4.parse::<Ipv4Addr>().unwrap(), ipv6.parse::<Ipv6Addr>().unwrap());
        assert_eq!(take(&guests[0], None).unwrap(), addresses("10.9.8.1", "fd00:9::8:1"));
        assert_eq!(take(&guests[1], Some(0x77)).unwrap(), addresses("10.9.8.3", "fd00:9::77"), "outside of the range is for those who ask");
        let because = |failure: crate::failure::Failure| failure.to_string().lines().nth(1).unwrap().trim().to_owned();
        assert_eq!(because(take(&guests[2], None).unwrap_err()), "because: network `net` has no address left in its range 10.9.8.0/30");
        unplug(&world.home, &guests[0].id).unwrap();
        let holder = &guests[1].id;
        assert_eq!(
            because(take(&guests[2], Some(0x77)).unwrap_err()),
            format!("because: address fd00:9::77 is taken by container `{holder}`")
        );
        let address = Some("fd00:9::8:2".parse().unwrap());
        let plugs = [Plug { ipv6_address: address, ..plug_into("net") }];
        let refused = plug(&world.home, &guests[2].id, guests[2].netns.as_fd(), &plugs).unwrap_err();
        assert_eq!(because(refused), "because: address fd00:9::8:2 of network `net` is kept for `router`");
        world.network("four");
        let plugs = [Plug { ipv6_address: address, ..plug_into("four") }];
        let refused = plug(&world.home, &guests[2].id, guests[2].netns.as_fd(), &plugs).unwrap_err();
        assert_eq!(because(refused), "because: cannot have address fd00:9::8:2: network `four` has no IPv6");
        unplug(&world.home, &guests[1].id).unwrap();

        let refusal = |ipv6: WantedAddresses| {
            because(create(&world.home, &Wanted { name: "x".into(), ipv6: Some(ipv6), ..Wanted::default() }).unwrap_err())
        };
        let subnet = |text: &str| in_subnet(text).unwrap();
        assert_eq!(refusal(subnet("fd00:9::/48")), "because: subnet fd00:9::/48 overlaps that of network `net`");
        assert_eq!(refusal(subnet("2001:db8::/48")), "because: subnet 2001:db8::/48 overlaps the host's 2001:db8::/64");
        for text in ["10.0.0.0/8", "fd00::/127", "fe80::/64", "ff05::/16", "x"] {
            assert_eq!(refusal(subnet(text)), format!("because: `{text}` is not an IPv6 subnet for containers"));
        }
        let gateway = WantedAddresses { gateway: Some("fd00:a::1".into()), ..subnet("fd00:b::/64") };
        assert_eq!(refusal(gateway), "because: gateway fd00:a::1 is not a host's address in subnet fd00:b::/64");
        let range = WantedAddresses { range: Some("fd00:a::/80".into()), ..subnet("fd00:b::/64") };
        assert_eq!(refusal(range), "because: the range fd00:a::/80 is not in subnet fd00:b::/64");
    });
}

/// What was written before there was IPv6 is a network, and a plug, of IPv4.
#[test]
fn records_older_than_ipv6_are_read() {
    let network = r#"{"version":1,"id":"ab","name":"net","driver":"bridge","bridge":"br-ab","subnet":"172.18.0.0","prefix":16,
        "gateway":"172.18.0.1","internal":false,"labels":{},"created":"2026-11-25T09:00:00Z"}"#;
    let network: Network = serde_json::from_str(network).unwrap();
    let ipv4 = network.ipv4();
    assert_eq!((ipv4.subnet, ipv4.prefix, ipv4.gateway), (Ipv4Addr::new(172, 18, 0, 0), 16, Ipv4Addr::new(172, 18, 0, 1)));
    assert_eq!(network.ipv6, None);
    let plugged = r#"{"network":"net","interface":"eth0","address":"172.18.0.2","prefix":16,"gateway":null,"mac":[2,66,172,18,0,2]}"#;
    let plugged: Plugged = serde_json::from_str(plugged).unwrap();
    let ipv4 = Assigned { address: Ipv4Addr::new(172, 18, 0, 2), prefix: 16, gateway: None };
    assert_eq!((plugged.ipv4, plugged.ipv6), (Some(ipv4), None));
    let plug: Plug = serde_json::from_str(r#"{"network":"net","aliases":[],"address":null}"#).unwrap();
    assert_eq!(plug, plug_into("net"));
}

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
    in_own_namespaces("ipv6::a_published_port_is_reached_by_either_family_and_with_the_real_address", || {
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
    in_own_namespaces("ipv6::a_container_without_ipv6_is_reached_by_it_too", || {
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
    in_own_namespaces("ipv6::a_relay_lets_finish_what_is_open_and_leaves_the_rest_to_the_next", || {
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
    in_own_namespaces("ipv6::the_loopback_of_ipv6_is_out_of_reach_for_others", || {
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
    in_own_namespaces("ipv6::a_taken_port_of_ipv6_is_refused_with_its_holder", || {
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
