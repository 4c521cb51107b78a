//! The gateway modes of bridges, and what else their options say of who reaches whom.

use super::*;

fn network_with(world: &World, name: &str, internal: bool, options: &[(&str, &str)]) -> crate::failure::Result<Network> {
    let options = options.iter().map(|(name, value)| (format!("com.docker.network.bridge.{name}"), (*value).to_owned())).collect();
    create(&world.home, &Wanted { name: name.into(), internal, options, ..Wanted::default() })
}

/// Published as `-p 8080:5000`; whoever serves 6000 has not published it.
fn publish_5000(world: &World, guest: &Guest, network: &str) -> (Ipv4Addr, Reservation) {
    let plugged = world.plug(guest, &[network]);
    guest.serve("0.0.0.0:5000");
    guest.serve("0.0.0.0:6000");
    let wanted = Port { host_address: None, ..tcp(Ipv4Addr::UNSPECIFIED, 8080, 5000) };
    let held = reserve_for(&world.home, &[wanted], &[plug_into(network)]).unwrap();
    publish(&world.home, &guest.id, Target::of(&plugged), &held.ports).unwrap();
    (plugged[0].address(), held)
}

fn routes_here(other: &Guest) {
    let mut there = other.netns_channel();
    link::replace_default_route(&mut there, "203.0.113.1".parse().unwrap()).unwrap();
}

#[test]
fn a_routed_network_has_no_nat_and_what_is_published_open() {
    in_own_namespaces("modes::a_routed_network_has_no_nat_and_what_is_published_open", || {
        let world = World::new();
        let other = other_host(&world);
        routes_here(&other);
        let before = host_state();
        network_with(&world, "routed", false, &[("gateway_mode_ipv4", "routed")]).unwrap();
        world.network("usual");
        let (guest, neighbour) = (Guest::new(&world), Guest::new(&world));
        let (address, held) = publish_5000(&world, &guest, "routed");
        assert_eq!(held.ports, [tcp(Ipv4Addr::UNSPECIFIED, 0, 5000)], "no port of the host, and none of IPv6");
        world.plug(&neighbour, &["usual"]);

        assert_eq!(other.fetch(&format!("{address}:5000")).unwrap(), "203.0.113.2");
        assert!(other.fetch(&format!("{address}:6000")).is_err(), "it is not published");
        assert!(neighbour.fetch(&format!("{address}:5000")).is_ok(), "from another network too");
        assert!(neighbour.fetch(&format!("{address}:6000")).is_err());
        assert!(other.fetch("203.0.113.1:8080").is_err());
        drop(TcpListener::bind("0.0.0.0:8080").unwrap());
        other.serve("203.0.113.2:7000");
        assert_eq!(guest.fetch("203.0.113.2:7000").unwrap(), address.to_string(), "out under its own address");
        assert_eq!(neighbour.fetch("203.0.113.2:7000").unwrap(), "203.0.113.1");

        for guest in [&guest, &neighbour] {
            unplug(&world.home, &guest.id).unwrap();
        }
        sweep(&world.home).unwrap();
        assert_eq!(host_state(), before);
    });
}

#[test]
fn a_trusted_link_reaches_what_is_published_directly() {
    in_own_namespaces("modes::a_trusted_link_reaches_what_is_published_directly", || {
        let world = World::new();
        let other = other_host(&world);
        routes_here(&other);
        network_with(&world, "trusting", false, &[("trusted_host_interfaces", "up0:vpn0")]).unwrap();
        let (guest, closed) = (Guest::new(&world), Guest::new(&world));
        let (address, held) = publish_5000(&world, &guest, "trusting");
        assert_eq!(other.fetch(&format!("{address}:5000")).unwrap(), "203.0.113.2");
        assert!(other.fetch(&format!("{address}:6000")).is_err());
        assert_eq!(other.fetch("203.0.113.1:8080").unwrap(), "203.0.113.2");
        unplug(&world.home, &guest.id).unwrap();
        drop(held);

        world.network("usual");
        let (address, _held) = publish_5000(&world, &closed, "usual");
        assert!(other.fetch(&format!("{address}:5000")).is_err());
        assert_eq!(other.fetch("203.0.113.1:8080").unwrap(), "203.0.113.2");
        unplug(&world.home, &closed.id).unwrap();
    });
}

#[test]
fn ports_without_an_address_are_published_where_the_network_says() {
    in_own_namespaces("modes::ports_without_an_address_are_published_where_the_network_says", || {
        let world = World::new();
        let other = other_host(&world);
        network_with(&world, "here", false, &[("host_binding_ipv4", "127.0.0.1")]).unwrap();
        let guest = Guest::new(&world);
        let (_, held) = publish_5000(&world, &guest, "here");
        assert_eq!(held.ports, [tcp(Ipv4Addr::LOCALHOST, 8080, 5000)]);
        assert!(fetch("127.0.0.1:8080").is_ok());
        assert!(other.fetch("203.0.113.1:8080").is_err());
        let named = reserve_for(&world.home, &[tcp(Ipv4Addr::new(203, 0, 113, 1), 8081, 5000)], &[plug_into("here")]).unwrap();
        assert_eq!(named.ports, [tcp(Ipv4Addr::new(203, 0, 113, 1), 8081, 5000)]);
        unplug(&world.home, &guest.id).unwrap();
    });
}

#[test]
fn an_isolated_network_is_out_of_the_hosts_reach() {
    in_own_namespaces("modes::an_isolated_network_is_out_of_the_hosts_reach", || {
        let world = World::new();
        let isolated = [("gateway_mode_ipv4", "isolated")];
        let refused = network_with(&world, "open", false, &isolated).unwrap_err().to_string();
        assert!(refused.contains("must be internal"), "{refused}");
        let network = network_with(&world, "closed", true, &isolated).unwrap();
        let (one, other) = (Guest::new(&world), Guest::new(&world));
        let address = world.plug(&one, &["closed"])[0].address();
        world.plug(&other, &["closed"]);
        one.serve("0.0.0.0:5000");
        assert!(other.fetch(&format!("{address}:5000")).is_ok());
        assert!(fetch(&format!("{address}:5000")).is_err());
        let listed = Command::new("ip").args(["-o", "address", "show", "dev", &network.bridge]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&listed.stdout), "", "the bridge has an address");
        for guest in [&one, &other] {
            unplug(&world.home, &guest.id).unwrap();
        }
    });
}
