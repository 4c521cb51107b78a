//! Networks that nobody is on any more.

use super::*;

fn index_of(name: &str) -> Option<u32> {
    link::find(&mut Channel::route().unwrap(), name).unwrap().map(|link| link.index)
}

#[test]
fn a_bridge_stays_for_a_moment_and_is_used_again() {
    in_own_namespaces("idle::a_bridge_stays_for_a_moment_and_is_used_again", || {
        let world = World::new();
        let before = host_state();
        let network = world.network("net");
        let (first, second) = (Guest::new(&world), Guest::new(&world));
        let caretaker = Caretaker::appoint(&world.home).unwrap().unwrap();
        assert!(Caretaker::appoint(&world.home).unwrap().is_none(), "there is one already");

        world.plug(&first, &["net"]);
        let index = index_of(&network.bridge);
        assert!(index.is_some() && !is_any_idle(&world.home));
        unplug(&world.home, &first.id).unwrap();
        let left = settles_in(&world.home).unwrap().unwrap();
        assert!(left > Duration::ZERO && left <= MOMENT, "{left:?}");
        caretaker.remove_settled(&world.home).unwrap();
        sweep(&world.home).unwrap();
        assert_eq!(index_of(&network.bridge), index, "it was idle for less than a moment, and a sweep leaves it to the caretaker");
        world.plug(&second, &["net"]);
        assert_eq!(index_of(&network.bridge), index);

        thread::sleep(MOMENT);
        caretaker.remove_settled(&world.home).unwrap();
        assert_eq!(index_of(&network.bridge), index, "somebody is on it");
        assert!(!is_any_idle(&world.home));
        unplug(&world.home, &second.id).unwrap();
        thread::sleep(MOMENT);
        assert_eq!(settles_in(&world.home).unwrap(), Some(Duration::ZERO));
        caretaker.remove_settled(&world.home).unwrap();
        assert_eq!(settles_in(&world.home).unwrap(), None);
        assert_eq!(host_state(), before);
    });
}

#[test]
fn what_a_killed_caretaker_left_is_swept() {
    in_own_namespaces("idle::what_a_killed_caretaker_left_is_swept", || {
        let world = World::new();
        let before = host_state();
        let names = ["one", "two", "three"];
        let networks = names.map(|name| world.network(name));
        let (leaving, staying) = (Guest::new(&world), Guest::new(&world));
        world.plug(&leaving, &names);
        world.plug(&staying, &["three"]);
        drop(Caretaker::appoint(&world.home).unwrap());

        unplug(&world.home, &leaving.id).unwrap();
        sweep(&world.home).unwrap();
        assert!(index_of(&networks[0].bridge).is_none() && index_of(&networks[1].bridge).is_none());
        assert!(index_of(&networks[2].bridge).is_some(), "somebody is on it");
        let rules = host_state();
        assert!(rules.contains(&networks[2].bridge) && !rules.contains(&networks[0].bridge), "{rules}");

        // A container that has ended, and whose namespace the kernel has not taken away yet.
        fs::remove_file(world.home.networks().join("three/leases").join("172.19.0.3")).unwrap();
        remove(&world.home, &networks[2]).unwrap();
        assert_eq!(host_state(), before, "its veth goes together with the bridge");
    });
}

/// The first home to come was the one that put back how the host forwards, when it left: under those who still needed it.
#[test]
fn the_last_of_several_homes_puts_the_host_back() {
    in_own_namespaces("idle::the_last_of_several_homes_puts_the_host_back", || {
        let (first, second) = (World::new(), World::new());
        let before = host_state();
        let (one, other) = (Guest::new(&first), Guest::new(&second));
        first.network("net");
        first.plug(&one, &["net"]);
        second.network("net");
        second.plug(&other, &["net"]);
        unplug(&first.home, &one.id).unwrap();
        sweep(&first.home).unwrap();
        assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(), "1\n");
        unplug(&second.home, &other.id).unwrap();
        sweep(&second.home).unwrap();
        assert_eq!(host_state(), before);
    });
}

/// Who was killed after the bridge had gone left the firewall and the forwarding until another network came and went.
#[test]
fn what_was_left_without_its_bridge_is_swept() {
    in_own_namespaces("idle::what_was_left_without_its_bridge_is_swept", || {
        let world = World::new();
        let before = host_state();
        let networks = ["one", "two"].map(|name| world.network(name));
        let guest = Guest::new(&world);
        world.plug(&guest, &["one", "two"]);
        unplug(&world.home, &guest.id).unwrap();
        for network in &networks {
            link::delete(&mut Channel::route().unwrap(), &network.bridge).unwrap();
        }
        remove(&world.home, &networks[0]).unwrap();
        assert_eq!(host_state(), before);

        world.plug(&guest, &["two"]);
        unplug(&world.home, &guest.id).unwrap();
        link::delete(&mut Channel::route().unwrap(), &networks[1].bridge).unwrap();
        fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap(); // so far had the one that was killed come
        sweep(&world.home).unwrap();
        assert_eq!(host_state(), before);
    });
}
