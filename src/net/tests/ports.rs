//! Published ports, and the firewall around them.

use super::*;

#[test]
fn published_ports_are_reached_from_everywhere_they_should() {
    in_own_namespaces("ports::published_ports_are_reached_from_everywhere_they_should", || {
        let world = World::new();
        let other = other_host(&world);
        let before = host_state();
        world.network("front");
        world.network("back");
        let (web, neighbour, stranger) = (Guest::new(&world), Guest::new(&world), Guest::new(&world));
        let web_plug = world.plug(&web, &["front"]).remove(0);
        world.plug(&neighbour, &["front"]);
        world.plug(&stranger, &["back"]);
        web.serve("0.0.0.0:5000");
        let ports = [tcp(Ipv4Addr::UNSPECIFIED, 8000, 5000), tcp(Ipv4Addr::LOCALHOST, 8001, 5000)];
        let reservation = reserve(&world.home, &ports).unwrap();
        publish(&world.home, &web.id, to(web_plug.address()), &reservation.ports).unwrap();

        let gateway = "172.17.0.1";
        assert_eq!(fetch("127.0.0.1:8000").unwrap(), gateway);
        assert_eq!(fetch("127.0.0.1:8001").unwrap(), gateway);
        assert_eq!(fetch("203.0.113.1:8000").unwrap(), "203.0.113.1");
        assert_eq!(other.fetch("203.0.113.1:8000").unwrap(), "203.0.113.2", "the real address of the asker is seen");
        assert_eq!(neighbour.fetch("203.0.113.1:8000").unwrap(), gateway, "by way of the host");
        assert_eq!(neighbour.fetch("172.17.0.1:8000").unwrap(), gateway);
        assert_eq!(web.fetch("203.0.113.1:8000").unwrap(), gateway, "itself, by its published port");
        assert_eq!(stranger.fetch("203.0.113.1:8000").unwrap(), gateway, "published is published");

        assert!(fetch("203.0.113.1:8001").is_err(), "on loopback only");
        assert!(other.fetch("203.0.113.1:8001").is_err());
        assert!(stranger.fetch("172.17.0.2:5000").is_err(), "another network");

        // A neighbour on the wire that routes our subnets to us.
        let mut there = other.netns_channel();
        route(&mut there, Ipv4Addr::new(172, 17, 0, 0), 16);
        assert!(other.fetch("172.17.0.2:5000").is_err(), "the container itself is not reached from outside");

        unpublish(&world.home, &web.id).unwrap();
        assert_eq!(fetch("127.0.0.1:8000").unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        unpublish(&world.home, &web.id).unwrap();
        for guest in [&web, &neighbour, &stranger] {
            unplug(&world.home, &guest.id).unwrap();
        }
        sweep(&world.home).unwrap();
        assert_eq!(host_state(), before);
    });
}

fn route(channel: &mut Channel, destination: Ipv4Addr, prefix: u8) {
    let message = rtnetlink::RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(destination, prefix)
        .gateway(Ipv4Addr::new(203, 0, 113, 1))
        .build();
    channel.change(netlink_packet_route::RouteNetlinkMessage::NewRoute(message), netlink_packet_core::NLM_F_CREATE).unwrap();
}

#[test]
fn loopback_is_out_of_reach_for_others() {
    in_own_namespaces("ports::loopback_is_out_of_reach_for_others", || {
        let world = World::new();
        let other = other_host(&world);
        world.network("net");
        let web = Guest::new(&world);
        let address = world.plug(&web, &["net"])[0].address();
        web.serve("0.0.0.0:5000");
        publish(&world.home, &web.id, to(address), &[tcp(Ipv4Addr::LOCALHOST, 8000, 5000)]).unwrap();
        let secret = TcpListener::bind("127.0.0.1:9000").unwrap();
        thread::spawn(move || secret.incoming().count());

        // `lo` is down there, so 127.0.0.1 can be routed to us.
        route(&mut other.netns_channel(), Ipv4Addr::LOCALHOST, 32);
        other.run(|| fs::write("/proc/sys/net/ipv4/conf/up0/route_localnet", "1").unwrap());
        assert!(other.fetch("127.0.0.1:8000").is_err(), "published on loopback, reached over the wire");
        let by_gateway = Guest::new(&world);
        world.plug(&by_gateway, &["net"]);
        // Without its own 127.0.0.1 it can route that to us.
        let own = rtnetlink::AddressMessageBuilder::<Ipv4Addr>::new().index(1).address(Ipv4Addr::LOCALHOST, 8).build();
        by_gateway.netns_channel().change(netlink_packet_route::RouteNetlinkMessage::DelAddress(own), 0).unwrap();
        by_gateway.run(|| fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1").unwrap());
        let mut inside = by_gateway.netns_channel();
        let message = rtnetlink::RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(Ipv4Addr::LOCALHOST, 32)
            .gateway(Ipv4Addr::new(172, 17, 0, 1))
            .build();
        inside.change(netlink_packet_route::RouteNetlinkMessage::NewRoute(message), netlink_packet_core::NLM_F_CREATE).unwrap();
        assert!(by_gateway.fetch("127.0.0.1:9000").is_err(), "a container reaches the host's loopback");

        // The same attacks succeed without the chain, so it is the chain that keeps them out.
        Command::new("nft").args(["flush", "chain", "ip", "coracle", "guard"]).status().unwrap();
        assert!(other.fetch("127.0.0.1:8000").is_ok());
        assert!(by_gateway.fetch("127.0.0.1:9000").is_ok());
        for guest in [&web, &by_gateway] {
            unplug(&world.home, &guest.id).unwrap();
        }
    });
}

#[test]
fn a_taken_port_is_refused_with_its_holder() {
    in_own_namespaces("ports::a_taken_port_is_refused_with_its_holder", || {
        let world = World::new();
        let taken = TcpListener::bind("127.0.0.1:8080").unwrap();
        let wanted = [tcp(Ipv4Addr::LOCALHOST, 0, 80), tcp(Ipv4Addr::LOCALHOST, 8080, 80)];
        let pid = std::process::id();
        let name = fs::read_to_string("/proc/self/comm").unwrap();
        let expected = format!(
            "error: cannot publish port 8080\n  because: port 8080 on 127.0.0.1 is taken by process {pid} ({})\n\
             hint: choose another host port in `ports:`, or stop that process",
            name.trim()
        );
        assert_eq!(reserve(&world.home, &wanted).unwrap_err().to_string(), expected);
        drop(taken);

        let first = reserve(&world.home, &wanted).unwrap();
        assert_ne!(first.ports[0].host_port, 0);
        world.network("net");
        let web = Guest::new(&world);
        let address = world.plug(&web, &["net"])[0].address();
        fs::create_dir_all(world.home.names()).unwrap();
        fs::write(world.home.names().join("web"), &web.id).unwrap();
        publish(&world.home, &web.id, to(address), &first.ports).unwrap();
        let anywhere = [tcp(Ipv4Addr::UNSPECIFIED, 8080, 80)];
        let refused = reserve(&world.home, &anywhere).unwrap_err().to_string();
        assert!(refused.contains("because: port 8080 is taken by container `web`"), "{refused}");

        // Its supervisor is killed, the sockets are gone: the port still leads to the container.
        drop(first);
        let late = reserve(&world.home, &anywhere).unwrap();
        let refused = publish(&world.home, "another", to(address), &late.ports).unwrap_err().to_string();
        assert!(refused.contains("because: port 8080 is taken by container `web`"), "{refused}");
        // Its container is removed without a word: the record is stale.
        fs::remove_dir_all(world.home.container(&web.id)).unwrap();
        publish(&world.home, "another", to(address), &late.ports).unwrap();
        unplug(&world.home, "another").unwrap();
        unplug(&world.home, &web.id).unwrap();
    });
}

/// Used to be refused for a minute: the connections of the server before were still in TIME_WAIT.
#[test]
fn a_port_with_only_leftover_connections_is_free() {
    in_own_namespaces("ports::a_port_with_only_leftover_connections_is_free", || {
        let world = World::new();
        let server = TcpListener::bind("127.0.0.1:8080").unwrap();
        let client = TcpStream::connect("127.0.0.1:8080").unwrap();
        drop(server.accept().unwrap());
        drop(client);
        drop(server);
        assert!(fs::read_to_string("/proc/self/net/tcp").unwrap().contains(":1F90"), "nothing is left over");
        let wanted = [tcp(Ipv4Addr::LOCALHOST, 8080, 80)];
        let held = reserve(&world.home, &wanted).unwrap();
        assert!(reserve(&world.home, &wanted).is_err(), "reserved twice");
        drop(held);
    });
}

#[test]
fn a_flushed_table_is_made_again() {
    in_own_namespaces("ports::a_flushed_table_is_made_again", || {
        let world = World::new();
        let before = host_state();
        world.network("net");
        let (web, api) = (Guest::new(&world), Guest::new(&world));
        let web_plug = world.plug(&web, &["net"]).remove(0);
        let api_plug = world.plug(&api, &["net"]).remove(0);
        web.serve("0.0.0.0:80");
        api.serve("0.0.0.0:80");
        publish(&world.home, &web.id, to(web_plug.address()), &[tcp(Ipv4Addr::UNSPECIFIED, 8000, 80)]).unwrap();
        let whole = host_state();
        assert!(Command::new("nft").args(["flush", "ruleset"]).status().unwrap().success());
        assert!(fetch("127.0.0.1:8000").is_err());
        publish(&world.home, &api.id, to(api_plug.address()), &[tcp(Ipv4Addr::UNSPECIFIED, 8001, 80)]).unwrap();
        assert!(fetch("127.0.0.1:8000").is_ok() && fetch("127.0.0.1:8001").is_ok());
        unpublish(&world.home, &api.id).unwrap();
        assert_eq!(host_state(), whole);
        assert!(Command::new("nft").args(["flush", "ruleset"]).status().unwrap().success());
        for guest in [&web, &api] {
            unplug(&world.home, &guest.id).unwrap();
        }
        sweep(&world.home).unwrap();
        assert_eq!(host_state(), before);
    });
}

/// The encoding, read back by `nft`: what the kernel holds is what the rules say.
#[test]
fn the_kernel_holds_the_rules_as_they_are_printed() {
    in_own_namespaces("ports::the_kernel_holds_the_rules_as_they_are_printed", || {
        // A new namespace takes this over from the host, which may well be a router.
        fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        let world = World::new();
        let ipv6 = Some(WantedAddresses::default());
        create(&world.home, &Wanted { name: "net".into(), ipv6, ..Wanted::default() }).unwrap();
        let web = Guest::new(&world);
        world.plug(&web, &["net"]);
        for (family, word) in [(rule::Family::V4, "ip"), (rule::Family::V6, "ip6")] {
            let listed = Command::new("nft").args(["list", "table", word, "coracle"]).output().unwrap();
            let mut chain = String::new();
            let mut found = Vec::new();
            for line in String::from_utf8_lossy(&listed.stdout).lines().map(str::trim) {
                if let Some(name) = line.strip_prefix("chain ") {
                    chain = name.trim_end_matches(" {").to_owned();
                } else if !chain.is_empty() && !line.is_empty() && line != "}" && !line.starts_with("type ") {
                    found.push(format!("{chain}: {line}"));
                }
            }
            let wanted: Vec<String> = rule::rules(family, rule::Forwarding::IsOurs).iter().map(rule::Rule::to_string).collect();
            assert_eq!(found, wanted);
        }
        unplug(&world.home, &web.id).unwrap();
    });
}

/// A client that had begun before the port was published used to reach nobody for as long as it went on.
#[test]
fn a_udp_client_that_began_too_early_is_served_once_the_port_is_published() {
    in_own_namespaces("ports::a_udp_client_that_began_too_early_is_served_once_the_port_is_published", || {
        let world = World::new();
        world.network("net");
        let (web, next) = (Guest::new(&world), Guest::new(&world));
        let addresses = [&web, &next].map(|guest| world.plug(guest, &["net"])[0].address());
        for (guest, text) in [(&web, "first"), (&next, "second")] {
            let socket = guest.run(|| UdpSocket::bind("0.0.0.0:53").unwrap());
            thread::spawn(move || {
                let mut buffer = [0; 64];
                while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                    socket.send_to(text.as_bytes(), from).unwrap();
                }
            });
        }
        let ports = [Port { protocol: Protocol::Udp, ..tcp(Ipv4Addr::UNSPECIFIED, 5300, 53) }];
        let _held = reserve(&world.home, &ports).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let ask = || {
            client.send_to(b"?", "127.0.0.1:5300").unwrap();
            let mut buffer = [0; 64];
            client.recv_from(&mut buffer).ok().map(|(count, _)| String::from_utf8_lossy(&buffer[..count]).into_owned())
        };
        assert_eq!(ask(), None);
        publish(&world.home, &web.id, to(addresses[0]), &ports).unwrap();
        assert_eq!(ask().as_deref(), Some("first"));
        unpublish(&world.home, &web.id).unwrap();
        assert_eq!(ask(), None);
        publish(&world.home, &next.id, to(addresses[1]), &ports).unwrap();
        assert_eq!(ask().as_deref(), Some("second"));
        for guest in [&web, &next] {
            unplug(&world.home, &guest.id).unwrap();
        }
    });
}

/// Docker, ufw and firewalld drop what is forwarded and not theirs: each is told to leave our links to us, and then forgotten.
#[test]
fn other_firewalls_let_our_packets_through() {
    in_own_namespaces("ports::other_firewalls_let_our_packets_through", || {
        let world = World::new();
        let other = other_host(&world);
        other.serve("203.0.113.2:7000");
        let rules = "
            add table ip filter
            add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }
            add chain ip filter DOCKER-USER
            add rule ip filter DOCKER-USER counter return
            add rule ip filter FORWARD jump DOCKER-USER
            add table inet firewalld
            add chain inet firewalld filter_FORWARD { type filter hook forward priority 10; policy accept; }
            add rule inet firewalld filter_FORWARD limit rate 5/second log prefix \"no: \"
            add rule inet firewalld filter_FORWARD reject with icmpx admin-prohibited
        ";
        let mut nft = Command::new("nft").args(["-f", "-"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        assert!(nft.wait().unwrap().success());
        let before = host_state();

        world.network("front");
        world.network("hidden");
        let (web, hidden) = (Guest::new(&world), Guest::new(&world));
        let address = world.plug(&web, &["front"])[0].address();
        world.plug(&hidden, &["hidden"]);
        web.serve("0.0.0.0:5000");
        publish(&world.home, &web.id, to(address), &[tcp(Ipv4Addr::UNSPECIFIED, 8000, 5000)]).unwrap();
        assert_eq!(other.fetch("203.0.113.1:8000").unwrap(), "203.0.113.2", "in");
        assert_eq!(web.fetch("203.0.113.2:7000").unwrap(), "203.0.113.1", "out");
        route(&mut other.netns_channel(), Ipv4Addr::new(172, 17, 0, 0), 16);
        assert!(other.fetch("172.17.0.2:5000").is_err(), "what we do not let through stays out");
        assert!(hidden.fetch("172.17.0.2:5000").is_err(), "another network");

        for guest in [&web, &hidden] {
            unplug(&world.home, &guest.id).unwrap();
            sweep(&world.home).unwrap();
        }
        assert_eq!(host_state(), before);
    });
}

/// An unprotected network's containers are reached by routes at every port; those of others are not.
#[test]
fn an_unprotected_network_is_open_to_who_has_a_route() {
    in_own_namespaces("ports::an_unprotected_network_is_open_to_who_has_a_route", || {
        let world = World::new();
        let other = other_host(&world);
        world.network("closed");
        let options = [("com.docker.network.bridge.gateway_mode_ipv4".to_owned(), "nat-unprotected".to_owned())].into();
        create(&world.home, &Wanted { name: "open".into(), options, ..Wanted::default() }).unwrap();
        let (reached, hidden) = (Guest::new(&world), Guest::new(&world));
        let addresses = [(&reached, "open"), (&hidden, "closed")].map(|(guest, network)| world.plug(guest, &[network])[0].address());
        reached.serve("0.0.0.0:5000");
        hidden.serve("0.0.0.0:5000");
        route(&mut other.netns_channel(), Ipv4Addr::new(172, 16, 0, 0), 12);
        assert_eq!(other.fetch(&format!("{}:5000", addresses[0])).unwrap(), "203.0.113.2");
        assert!(other.fetch(&format!("{}:5000", addresses[1])).is_err());
        for guest in [&reached, &hidden] {
            unplug(&world.home, &guest.id).unwrap();
        }
        sweep(&world.home).unwrap();
    });
}
