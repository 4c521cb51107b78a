//! `network connect` and `network disconnect`.

use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

#[test]
fn a_running_container_changes_its_networks() {
    let world = World::new();
    for line in [
        "pull -q busybox",
        "network create --subnet 172.30.1.0/24 --gateway 172.30.1.1 front",
        "network create --subnet 172.30.2.0/24 --gateway 172.30.2.1 back",
        "run -d --name server --network back -p 8085:80 busybox httpd -f -p 80",
        "run -d --name client --network front busybox sleep 1000",
    ] {
        world.coracle(line).succeeds();
    }
    let inside = |line: &str| world.coracle(&format!("exec client {line}"));
    inside("nslookup -type=a server").exits_with(1);
    world.coracle("network connect --alias app --ip 172.30.2.77 back client").succeeds();
    world.coracle("network connect back client").exits_with(1).complains("already exists in network back");
    assert!(inside("ip -4 addr show eth1").succeeds().stdout.contains("inet 172.30.2.77/24"));
    inside("wget -q -O /dev/null http://server/").exits_with(1).complains("404");
    inside("cat /etc/hosts").succeeds().says("172.30.2.77\t");
    world.coracle("exec server nslookup -type=a app").succeeds().says("172.30.2.77");
    inside("ip route").succeeds().says("default via 172.30.1.1 ");
    let listed =
        world.coracle_with(&["inspect", "-f", "{{range $k, $v := .NetworkSettings.Networks}}{{$k}}={{$v.IPAddress}} {{end}}", "client"]);
    listed.succeeds().says("back=172.30.2.77 front=172.30.1.");

    // The way out follows; what is left is not to be seen any more.
    world.coracle("network disconnect front client").succeeds();
    inside("ip addr show eth0").exits_with(1);
    inside("ip route").succeeds().says("default via 172.30.2.1 ");
    world.coracle("network disconnect front client").exits_with(1).complains("is not connected to network front");
    world.coracle("network rm front").succeeds();

    // Published ports go where the container goes, and it keeps its plugs over a restart.
    world.coracle("network create --subnet 172.30.3.0/24 --gateway 172.30.3.1 other").succeeds();
    world.coracle("network connect --gw-priority 9 other server").succeeds();
    world.coracle("network disconnect back server").succeeds();
    assert!(world.fetch("127.0.0.1:8085", "/").is_err_and(|answer| answer.contains("404")));
    world.coracle("exec client nslookup -type=a server").exits_with(1);
    world.coracle("restart -t 0 server").succeeds();
    eventually(seconds(10), || match world.fetch("127.0.0.1:8085", "/") {
        Err(answer) if answer.contains("404") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    world.coracle("network disconnect other server").succeeds();
    assert!(world.fetch("127.0.0.1:8085", "/").is_err_and(|answer| !answer.contains("404")));
    world.coracle("network connect other server").succeeds();
    assert!(world.fetch("127.0.0.1:8085", "/").is_err_and(|answer| answer.contains("404")));
    world.coracle("rm -f server client").succeeds();
    world.is_empty();
}

#[test]
fn what_cannot_be_plugged_says_why_and_stays() {
    let world = World::new();
    for line in [
        "pull -q busybox",
        "network create --subnet 172.30.1.0/24 net",
        "run -d --name lone busybox sleep 1000",
        "create --name none --network none busybox",
        "create --name still busybox",
    ] {
        world.coracle(line).succeeds();
    }
    world.coracle("network connect nowhere lone").exits_with(1).complains("network nowhere not found");
    world.coracle("network connect net nobody").exits_with(1).complains("nobody");
    world.coracle("network connect --ip 10.0.0.1 net lone").exits_with(1).complains("10.0.0.1");
    world.coracle("exec lone ip addr show eth1").exits_with(1);
    world.coracle("network connect net none").exits_with(1).complains("no network");
    // After what went wrong it works, and one that does not run has it at its start.
    world.coracle("network connect net lone").succeeds();
    world.coracle("exec lone ip addr show eth1").succeeds();
    world.coracle("network connect net still").succeeds();
    world.coracle("network disconnect bridge still").succeeds();
    let listed = world.coracle_with(&["ps", "-a", "--format", "{{.Names}} {{.Networks}}"]).succeeds();
    assert!(listed.stdout.contains("still net\n") && listed.stdout.contains("lone bridge,net\n"), "{}", listed.told());
}
