//! Networks and addresses on disk.

use super::*;

/// Two projects started at once must not get one subnet.
#[test]
fn networks_made_at_once_have_subnets_of_their_own() {
    in_own_namespaces("records::networks_made_at_once_have_subnets_of_their_own", || {
        let world = World::new();
        let makers: Vec<_> = (0..20)
            .map(|number| {
                let home = world.home.clone();
                thread::spawn(move || create(&home, &Wanted { name: format!("n{number}"), ..Wanted::default() }).unwrap().ipv4().subnet)
            })
            .collect();
        let mut subnets: Vec<Ipv4Addr> = makers.into_iter().map(|maker| maker.join().unwrap()).collect();
        subnets.sort();
        subnets.dedup();
        assert_eq!(subnets.len(), 20);
    });
}

#[test]
fn a_fixed_address_is_given_or_refused() {
    in_own_namespaces("records::a_fixed_address_is_given_or_refused", || {
        let world = World::new();
        let wanted = Wanted { name: "net".into(), ipv4: in_subnet("10.9.8.0/29"), ..Wanted::default() };
        let network = create(&world.home, &wanted).unwrap();
        assert_eq!((network.ipv4().gateway, network.ipv4().prefix), (Ipv4Addr::new(10, 9, 8, 1), 29));
        let guests: Vec<Guest> = (0..6).map(|_| Guest::new(&world)).collect();
        let take = |guest: &Guest, last: Option<u8>| {
            let address = last.map(|last| Ipv4Addr::new(10, 9, 8, last));
            plug(&world.home, &guest.id, guest.netns.as_fd(), &[Plug { address, ..plug_into("net") }])
        };
        assert_eq!(take(&guests[0], Some(3)).unwrap()[0].address().octets()[3], 3);
        let because = |failure: crate::failure::Failure| failure.to_string().lines().nth(1).unwrap().to_owned();
        let holder = &guests[0].id;
        assert_eq!(
            because(take(&guests[1], Some(3)).unwrap_err()),
            format!("  because: address 10.9.8.3 is taken by container `{holder}`")
        );
        assert_eq!(because(take(&guests[1], Some(1)).unwrap_err()), "  because: address 10.9.8.1 is the gateway of network `net`");
        assert_eq!(because(take(&guests[1], Some(7)).unwrap_err()), "  because: address 10.9.8.7 is not in network `net` (10.9.8.0/29)");
        let rest: Vec<u8> = guests[1..5].iter().map(|guest| take(guest, None).unwrap()[0].address().octets()[3]).collect();
        assert_eq!(rest, [2, 4, 5, 6]);
        assert_eq!(because(take(&guests[5], None).unwrap_err()), "  because: network `net` (10.9.8.0/29) has no address left");
        let refused = remove(&world.home, &network).unwrap_err().to_string();
        assert!(refused.contains("is plugged into it"), "{refused}");
        for guest in &guests {
            unplug(&world.home, &guest.id).unwrap();
        }
        remove(&world.home, &network).unwrap();
    });
}

#[test]
fn networks_are_found_made_and_refused() {
    in_own_namespaces("records::networks_are_found_made_and_refused", || {
        let world = World::new();
        let _other = other_host(&world);
        let bridge = find(&world.home, "bridge").unwrap().unwrap();
        assert_eq!((bridge.bridge.as_str(), bridge.ipv4().subnet), ("coracle0", Ipv4Addr::new(172, 17, 0, 0)));
        let net = world.network("shop_default");
        assert_eq!(net.bridge, format!("br-{}", &net.id[..12]));
        assert_eq!(find(&world.home, &net.id[..8]).unwrap().as_ref(), Some(&net));
        assert_eq!(find(&world.home, "shop_default").unwrap().as_ref(), Some(&net));
        assert_eq!(find(&world.home, "../networks/shop_default").unwrap(), None);
        assert_eq!(list(&world.home).unwrap(), [bridge.clone(), net]);
        let refusal = |name: &str, subnet: Option<&str>| {
            let wanted =
                Wanted { name: name.into(), ipv4: subnet.map_or(Some(WantedAddresses::default()), in_subnet), ..Wanted::default() };
            create(&world.home, &wanted).unwrap_err().to_string()
        };
        assert_eq!(
            refusal("shop_default", None),
            "error: cannot create network `shop_default`\n  because: there is a network of that name"
        );
        assert!(refusal("a/b", None).contains("letters, digits and `_.-`"));
        assert!(refusal("host", None).contains("`host` is not a network"));
        assert!(refusal("x", Some("172.18.7.0/24")).contains("overlaps that of network `shop_default`"));
        assert!(refusal("x", Some("203.0.113.0/25")).contains("overlaps the host's 203.0.113.0/24"));
        assert!(refusal("x", Some("fd00::/64")).contains("is not an IPv4 subnet"));
        assert!(remove(&world.home, &bridge).is_err());
    });
}
