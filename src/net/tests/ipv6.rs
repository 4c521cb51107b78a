//! Networks with IPv6, alone or beside IPv4.

use super::*;

pub(super) fn dual(world: &World, name: &str, subnet: Option<&str>) -> Network {
    let ipv6 = subnet.map_or(Some(WantedAddresses::default()), in_subnet);
    create(&world.home, &Wanted { name: name.into(), ipv6, ..Wanted::default() }).unwrap()
}

impl Plugged {
    fn ipv6_address(&self) -> Ipv6Addr {
        self.ipv6.unwrap().address
    }
}

/// Gives the wire to the other host addresses of IPv6: 2001:db8::1 here, 2001:db8::2 there.
pub(super) fn other_host_with_ipv6(world: &World) -> Guest {
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
        let web_plug = world.plug(&web, &["net"]).remove(0);
        let of = network.ipv6.as_ref().unwrap();
        assert_eq!((of.prefix, of.subnet.octets()[0]), (64, 0xfd));
        assert_eq!(web_plug.ipv6_address().octets()[8..], [0, 0, 0, 0, 0, 0, 0, 3]);
        assert_eq!(web_plug.ipv6.unwrap().gateway, Some(of.gateway));

        let redis_address = redis_plug.ipv6_address();
        assert_eq!(web.fetch(&format!("[{redis_address}]:6379")).unwrap(), web_plug.ipv6_address().to_string());
        assert_eq!(web.fetch("172.17.0.2:6379").unwrap(), "::ffff:172.17.0.3");
        assert_eq!(fetch(&format!("[{redis_address}]:6379")).unwrap(), of.gateway.to_string(), "the host reaches containers");
        assert_eq!(web.fetch("[2001:db8::2]:80").unwrap(), "2001:db8::1", "out, masqueraded");
        assert_eq!(web.fetch("203.0.113.2:80").unwrap(), "203.0.113.1");
        assert_eq!((switch("all", "forwarding"), switch("up0", "accept_ra")), ("1".into(), "2".into()));
        let asks = web.run(|| ["accept_ra", "accept_dad"].map(|name| switch("eth0", name)));
        assert_eq!(asks, ["0", "0"], "its first packet waits for no neighbours to object");

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

#[test]
fn what_ipv6_cannot_do_is_refused_with_the_reason() {
    in_own_namespaces("ipv6::what_ipv6_cannot_do_is_refused_with_the_reason", || {
        let world = World::new();
        let because = |failure: crate::failure::Failure| failure.to_string().lines().nth(1).unwrap().trim().to_owned();
        let ipv6 = || Some(WantedAddresses::default());
        let wanted = Wanted { name: "neither".into(), ipv4: None, ..Wanted::default() };
        assert_eq!(because(create(&world.home, &wanted).unwrap_err()), "because: a network needs addresses of IPv4, of IPv6 or of both");
        let options = [("com.docker.network.driver.mtu".to_owned(), "1000".to_owned())].into();
        let wanted = Wanted { name: "small".into(), ipv6: ipv6(), options, ..Wanted::default() };
        let expected = "because: an MTU of 1000 is too small for IPv6, which needs 1280";
        assert_eq!(because(create(&world.home, &wanted).unwrap_err()), expected);

        dual(&world, "dual", None);
        world.network("four");
        let guest = Guest::new(&world);
        let link_local = |network: &str| [Plug { link_local: vec!["fe80::77".parse().unwrap()], ..plug_into(network) }];
        let refused = plug(&world.home, &guest.id, guest.netns.as_fd(), &link_local("four")).unwrap_err();
        assert_eq!(because(refused), "because: cannot have address fe80::77: network `four` has no IPv6");
        plug(&world.home, &guest.id, guest.netns.as_fd(), &link_local("dual")).unwrap();
        let shown = guest.run(|| fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap());
        assert!(shown.contains("fe800000000000000000000000000077"), "{shown}");
        unplug(&world.home, &guest.id).unwrap();

        // A kernel without IPv6 has no switches of it.
        assert!(Command::new("mount").args(["-t", "tmpfs", "none", "/proc/sys/net"]).status().unwrap().success());
        let wanted = Wanted { name: "six".into(), ipv6: ipv6(), ..Wanted::default() };
        assert_eq!(because(create(&world.home, &wanted).unwrap_err()), "because: this kernel has no IPv6");
        world.network("another");
    });
}

/// The rules in the others' tables of IPv6, as in those of IPv4.
#[test]
fn other_firewalls_let_our_packets_of_ipv6_through() {
    in_own_namespaces("ipv6::other_firewalls_let_our_packets_of_ipv6_through", || {
        let world = World::new();
        let other = other_host_with_ipv6(&world);
        other.serve("[2001:db8::2]:7000");
        let rules = "
            add table ip6 filter
            add chain ip6 filter FORWARD { type filter hook forward priority 0; policy drop; }
            add chain ip6 filter DOCKER-USER
            add rule ip6 filter DOCKER-USER counter return
            add rule ip6 filter FORWARD jump DOCKER-USER
        ";
        let mut nft = Command::new("nft").args(["-f", "-"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        assert!(nft.wait().unwrap().success());
        let before = host_state();
        dual(&world, "net", None);
        world.network("four");
        let (web, four) = (Guest::new(&world), Guest::new(&world));
        let target = Target::of(&world.plug(&web, &["net"]));
        world.plug(&four, &["four"]);
        let rules = host_state();
        let marks = |bridge: &str| rules.matches(&format!("comment \"coracle {bridge}\"")).count();
        let bridge = |name: &str| find(&world.home, name).unwrap().unwrap().bridge;
        assert_eq!((marks(&bridge("net")), marks(&bridge("four"))), (2, 0), "{rules}");
        web.serve("[::]:5000");
        publish(&world.home, &web.id, target, &[tcp(Ipv6Addr::UNSPECIFIED, 8000, 5000)]).unwrap();
        assert_eq!(other.fetch("[2001:db8::1]:8000").unwrap(), "2001:db8::2", "in");
        assert_eq!(web.fetch("[2001:db8::2]:7000").unwrap(), "2001:db8::1", "out");
        for guest in [&web, &four] {
            unplug(&world.home, &guest.id).unwrap();
        }
        sweep(&world.home).unwrap();
        assert_eq!(host_state(), before);
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
    let published = r#"{"version":1,"address":"172.18.0.2","ports":[{"host_address":"0.0.0.0","host_port":8000,"container_port":80,
        "protocol":"tcp"}]}"#;
    let published: port::Published = serde_json::from_str(published).unwrap();
    assert_eq!(published.ports, [tcp(Ipv4Addr::UNSPECIFIED, 8000, 80)]);
    assert!(serde_json::to_string(&published).unwrap().contains("\"address\":\"172.18.0.2\""), "and the other way round");
    let plug: Plug = serde_json::from_str(r#"{"network":"net","aliases":[],"address":null}"#).unwrap();
    assert_eq!(plug, plug_into("net"));
}
