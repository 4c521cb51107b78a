//! Containers in and out of networks.

use super::*;

#[test]
fn two_containers_reach_each_other_and_leave_nothing_behind() {
    in_own_namespaces("plug::two_containers_reach_each_other_and_leave_nothing_behind", || {
        let world = World::new();
        let _other = other_host(&world);
        let before = host_state();
        let network = world.network("shop_default");
        assert_eq!(host_state(), before, "a network without containers has no links");

        let (web, redis) = (Guest::new(&world), Guest::new(&world));
        let redis_plug = world.plug(&redis, &["shop_default"]).remove(0);
        let web_plug = world.plug(&web, &["shop_default"]).remove(0);
        assert_eq!(network.ipv4().subnet, Ipv4Addr::new(172, 17, 0, 0));
        assert_eq!(redis_plug.address(), Ipv4Addr::new(172, 17, 0, 2));
        assert_eq!(web_plug.address(), Ipv4Addr::new(172, 17, 0, 3));
        assert_eq!(web_plug.mac, [2, 0x42, 172, 17, 0, 3]);

        redis.serve("0.0.0.0:6379");
        assert_eq!(web.fetch("172.17.0.2:6379").unwrap(), "172.17.0.3");
        assert_eq!(web.run(repeated_calls), "0", "the first packet was lost");
        assert_eq!(web.fetch("127.0.0.1:1").unwrap_err().kind(), io::ErrorKind::ConnectionRefused, "lo is up");
        assert_eq!(fetch("172.17.0.2:6379").unwrap(), "172.17.0.1", "the host reaches containers");
        assert_eq!(link::find(&mut web.netns_channel(), "eth0").unwrap().unwrap().mtu, 1400);

        unplug(&world.home, &web.id).unwrap();
        assert_eq!(fetch("172.17.0.2:6379").unwrap(), "172.17.0.1", "the other container stays");
        unplug(&world.home, &redis.id).unwrap();
        sweep(&world.home).unwrap();
        assert_eq!(host_state(), before);
        unplug(&world.home, &redis.id).unwrap();
        remove(&world.home, &network).unwrap();
        assert_eq!(list(&world.home).unwrap(), []);
    });
}

/// How often a connection was asked for again in this thread's network namespace: `TCPSynRetrans` of netstat.
fn repeated_calls() -> String {
    let text = fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:")).map(str::split_whitespace);
    let (names, numbers) = (lines.next().unwrap(), lines.next().unwrap());
    names.zip(numbers).find(|(name, _)| *name == "TCPSynRetrans").unwrap().1.to_owned()
}

#[test]
fn a_dead_container_is_unplugged_with_its_namespace() {
    in_own_namespaces("plug::a_dead_container_is_unplugged_with_its_namespace", || {
        let world = World::new();
        let before = host_state();
        world.network("net");
        let (mut web, mut redis) = (Guest::new(&world), Guest::new(&world));
        world.plug(&web, &["net"]);
        world.plug(&redis, &["net"]);
        for guest in [&mut web, &mut redis] {
            guest.die();
            unplug(&world.home, &guest.id).unwrap();
        }
        sweep(&world.home).unwrap();
        let started = Instant::now();
        while host_state() != before {
            assert!(started.elapsed() < Duration::from_secs(5), "{}", host_state());
            thread::yield_now();
        }
    });
}

#[test]
fn an_internal_network_has_no_way_out_and_none_in() {
    in_own_namespaces("plug::an_internal_network_has_no_way_out_and_none_in", || {
        let world = World::new();
        let other = other_host(&world);
        other.serve("203.0.113.2:80");
        create(&world.home, &Wanted { name: "vault".into(), internal: true, ..Wanted::default() }).unwrap();
        world.network("front");
        let (both, inner, outer) = (Guest::new(&world), Guest::new(&world), Guest::new(&world));
        let plugged = world.plug(&both, &["vault", "front"]);
        world.plug(&inner, &["vault"]);
        world.plug(&outer, &["front"]);
        assert_eq!((plugged[0].ipv4.unwrap().gateway, plugged[1].interface.as_str()), (None, "eth1"));

        both.serve("0.0.0.0:5000");
        assert_eq!(inner.fetch("172.17.0.2:5000").unwrap(), "172.17.0.3", "within");
        assert_eq!(both.fetch("203.0.113.2:80").unwrap(), "203.0.113.1", "by its other network, masqueraded");
        assert_eq!(outer.fetch("203.0.113.2:80").unwrap(), "203.0.113.1");
        assert!(inner.fetch("203.0.113.2:80").is_err(), "no route");
        link::add_default_route(&mut inner.netns_channel(), Ipv4Addr::new(172, 17, 0, 1).into()).unwrap();
        assert!(inner.fetch("203.0.113.2:80").is_err(), "a route of its own making does not help");
        assert!(outer.fetch("172.17.0.2:5000").is_err(), "from another network");
        for guest in [&both, &inner, &outer] {
            unplug(&world.home, &guest.id).unwrap();
        }
    });
}

#[test]
fn a_plug_that_fails_leaves_nothing() {
    in_own_namespaces("plug::a_plug_that_fails_leaves_nothing", || {
        let world = World::new();
        let before = host_state();
        world.network("net");
        let web = Guest::new(&world);
        let plugs = [plug_into("net"), plug_into("missing")];
        let failure = plug(&world.home, &web.id, web.netns.as_fd(), &plugs).unwrap_err().to_string();
        assert!(
            failure.starts_with("error: cannot plug the container into network `missing`\n  because: there is no such network"),
            "{failure}"
        );
        sweep(&world.home).unwrap();
        assert_eq!(host_state(), before);

        // Killed in the middle: a bridge without an address, a pair that nobody took back, a lease of nobody.
        let kept = Guest::new(&world);
        world.plug(&kept, &["net"]);
        world.plug(&web, &["net"]);
        fs::remove_file(world.home.networks().join("net/leases/172.17.0.3")).unwrap();
        let mut web_again = Guest::new(&world);
        web_again.id.clone_from(&web.id);
        assert_eq!(world.plug(&web_again, &["net"])[0].address(), Ipv4Addr::new(172, 17, 0, 3));
        fs::remove_dir_all(world.home.container(&kept.id)).unwrap();
        unplug(&world.home, &web.id).unwrap();
        sweep(&world.home).unwrap();
        let left = host_state();
        assert!(!left.contains("coracle") && !left.contains("br-"), "{left}");
    });
}

/// Prints what the room costs; `cargo test --release --lib net::tests::the_cost -- --ignored --nocapture`.
#[test]
#[ignore = "measures, decides nothing"]
fn the_cost_of_each_step() {
    in_own_namespaces("plug::the_cost_of_each_step", || {
        let world = World::new();
        let _other = other_host(&world);
        world.network("net");
        let mut guests: Vec<Guest> = (0..40).map(|_| Guest::new(&world)).collect();
        let mut costs: Vec<(&str, Vec<Duration>)> = Vec::new();
        let mut note = |what: &'static str, started: Instant| match costs.iter_mut().find(|(known, _)| *known == what) {
            Some((_, all)) => all.push(started.elapsed()),
            None => costs.push((what, vec![started.elapsed()])),
        };
        for round in 0..20 {
            let (first, second) = (&guests[round * 2], &guests[round * 2 + 1]);
            let started = Instant::now();
            let one = world.plug(first, &["net"]).remove(0);
            note("plug, the bridge made", started);
            let started = Instant::now();
            world.plug(second, &["net"]);
            note("plug, bridge there", started);
            let started = Instant::now();
            let held = reserve(&world.home, &[Port { host_address: None, ..tcp(Ipv4Addr::UNSPECIFIED, 8000, 80) }]).unwrap();
            note("reserve", started);
            let started = Instant::now();
            publish(&world.home, &first.id, to(one.address()), &held.ports).unwrap();
            note("publish", started);
            let started = Instant::now();
            unpublish(&world.home, &first.id).unwrap();
            note("unpublish", started);
            let started = Instant::now();
            drop(open_name_sockets(first.netns.as_fd()).unwrap());
            note("name sockets", started);
            let started = Instant::now();
            unplug(&world.home, &second.id).unwrap();
            note("unplug, alive", started);
            world.plug(second, &["net"]);
            guests[round * 2 + 1].die();
            let started = Instant::now();
            unplug(&world.home, &guests[round * 2 + 1].id).unwrap();
            note("unplug, dead", started);
            guests[round * 2].die();
            let started = Instant::now();
            unplug(&world.home, &guests[round * 2].id).unwrap();
            note("unplug, dead, the last", started);
            let started = Instant::now();
            sweep(&world.home).unwrap();
            note("sweep", started);
        }
        for (what, mut all) in costs {
            all.sort();
            println!("{what:24} least {:?} median {:?} most {:?}", all[0], all[all.len() / 2], all[all.len() - 1]);
        }
    });
}
