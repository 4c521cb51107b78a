//! Networks with IPv6: addresses, names, published ports, and the host as it was before.

use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

/// What a container's links have, as its kernel shows it: 32 digits each.
fn addresses(world: &World, service: &str) -> Vec<String> {
    let listed = world.container(service).sh("cat /proc/net/if_inet6").succeeds();
    listed.stdout.lines().filter(|line| line.ends_with("eth0")).filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn setting(world: &World, name: &str) -> String {
    world.outside(&["cat", &format!("/proc/sys/net/ipv6/conf/{name}")]).succeeds().line().to_owned()
}

/// Both families lead in, out and across; with the last container the host forwards no more.
#[test]
fn a_project_has_ipv6_where_it_asks_for_it() {
    let world = World::with("ipv6");
    world.run("up -d").succeeds();
    assert!(addresses(&world, "web").contains(&"fd000081000000000000000000000081".to_owned()));
    assert_eq!(addresses(&world, "plain"), [""; 0], "not asked for");
    assert_eq!(setting(&world, "all/forwarding"), "1");
    let web = world.container("web");
    for line in ["default via fd00:81::1 ", "fd00:81::/64 "] {
        web.sh("ip -6 route").succeeds().says(line);
    }
    web.sh("cat /etc/hosts").succeeds().says(&format!("fd00:81::81\t{}", &web.id()[..12]));

    let asker = world.container("asker");
    assert_eq!(asker.sh("wget -q -O - http://[fd00:81::81]/").succeeds().stdout, "web\n");
    asker.sh("nslookup -type=aaaa web 127.0.0.11").succeeds().says("fd00:81::81");
    asker.sh("nslookup fd00:81::81 127.0.0.11").succeeds().says("-web-1");
    assert_eq!(asker.sh("ping -6 -c 1 -W 5 web").status.code(), Some(0));

    // One by the firewall, one to loopback alone, one to a container that has no IPv6.
    for (port, page) in [(8081, "web\n"), (8082, "web\n"), (8083, "plain\n")] {
        assert_eq!(world.page(&format!("[::1]:{port}"), "/"), page);
    }
    assert_eq!(world.page("127.0.0.1:8081", "/"), "web\n");
    assert!(world.fetch("127.0.0.1:8082", "/").is_err(), "of IPv6 only");
    assert_eq!(world.page("[fd00:81::1]:8081", "/"), "web\n");
    assert!(world.fetch("[fd00:81::1]:8082", "/").is_err(), "loopback only");
    world.coracle("ps").succeeds().says("0.0.0.0:8081->80/tcp, [::]:8081->80/tcp, [::1]:8082->80/tcp");
    world.coracle(&format!("port {} 80", web.id())).succeeds().says("0.0.0.0:8081\n[::]:8081\n[::1]:8082\n");
    let told = world.coracle(&format!("inspect --format '{{{{json .NetworkSettings.Networks}}}}' {}", web.id())).succeeds();
    told.says("\"GlobalIPv6Address\":\"fd00:81::81\"").says("\"IPv6Gateway\":\"fd00:81::1\"");

    world.run("down").succeeds();
    world.is_empty();
}

/// What is relayed goes on when whoever began it is killed, and when the container is started again.
#[test]
fn what_is_relayed_outlives_its_supervisor() {
    let world = World::with("ipv6");
    world.run("up -d plain").succeeds();
    assert_eq!(world.page("[::1]:8083", "/"), "plain\n");
    let engines = world.engines();
    let guardian = engines.iter().find(|process| !engines.iter().any(|other| other.pid == process.parent)).expect("a guardian");
    let supervisor = engines.iter().find(|process| process.parent == guardian.pid).expect("its supervisor");
    let relay = engines.iter().find(|process| process.parent == supervisor.pid).expect("the supervisor's relay");
    world.kill(supervisor);
    assert_eq!(world.page("[::1]:8083", "/"), "plain\n");
    eventually(seconds(20), || match world.processes().contains(relay) {
        true => Err("the relay of the killed supervisor takes what is new".to_owned()),
        false => Ok(()),
    });
    world.run("restart -t 0 plain").succeeds();
    assert_eq!(world.page("[::1]:8083", "/"), "plain\n");
    world.run("down -t 0").succeeds();
    assert!(world.fetch("[::1]:8083", "/").is_err());
    world.is_empty();
}

/// Without a subnet a network gets one of its own; another choice of families makes another network.
#[test]
fn a_network_gets_the_families_that_are_asked_for() {
    let world =
        World::with_file("services:\n  web:\n    image: busybox\n    command: sleep 1000\nnetworks:\n  default:\n    enable_ipv6: true\n");
    let enabled = |world: &World| {
        let told = world.coracle("network inspect --format {{.EnableIPv4}},{{.EnableIPv6}} project_default").succeeds();
        told.line().to_owned()
    };
    world.run("up -d").succeeds();
    assert_eq!(enabled(&world), "true,true");
    let found = addresses(&world, "web");
    assert!(found.iter().any(|address| address.starts_with("fd") && address.ends_with("0000000000000002")), "{found:?}");
    world.file(
        "compose.yaml",
        "services:\n  web:\n    image: busybox\n    command: sleep 1000\nnetworks:\n  default:\n    enable_ipv4: false\n    enable_ipv6: true\n",
    );
    world.run("up -d").succeeds();
    assert_eq!(enabled(&world), "false,true");
    assert_eq!(world.container("web").sh("ip -4 address show eth0").succeeds().stdout, "", "no IPv4");
    world.run("down -t 0").succeeds();

    world.coracle("network create --ipv6 --subnet fd00:82::/64 --gateway fd00:82::99 --ip-range fd00:82::a:0/112 six").succeeds();
    world.coracle("run -d --name one --network six --ip6 fd00:82::7 busybox sleep 1000").succeeds();
    let told = world.coracle("run --rm --network six busybox sh -c 'cat /etc/hosts; ip -6 route'").succeeds();
    told.says("fd00:82::a:0\t").says("default via fd00:82::99");
    world.coracle("run --rm --network six --ip6 fd00:82::7 busybox true").exits_with(125).complains("is taken by container `one`");
    world.coracle("network create --ipv6 --subnet fd00:82:0:0:1::/80 seven").exits_with(1).complains("overlaps that of network `six`");
    world.coracle("rm -f one").succeeds();
    world.coracle("network rm six").succeeds();
    world.is_empty();
}
