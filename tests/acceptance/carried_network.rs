//! What a service says of its networks, and a network of itself, as links, addresses, routes and names show it.

use crate::support::ADDRESS;
use crate::support::Container;
use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

const PROJECT: &str = "name: wires
services:
  web:
    image: busybox
    command: sleep 1000
    links: [\"db:data\"]
    external_links: [\"outsider:friend\"]
    expose: [\"3000-3001\"]
    networks:
      front: {priority: 9, mac_address: 02:42:ac:11:00:98, interface_name: wire0, link_local_ips: [169.254.8.8]}
      back:
        gw_priority: 5
        ipv4_address: 10.77.0.200
        driver_opts: {com.docker.network.endpoint.sysctls: net.ipv4.conf.IFNAME.log_martians=1}
      closed: {}
  db:
    image: busybox
    command: sleep 1000
    networks: [back]
  lone:
    image: busybox
    command: sleep 1000
    networks: [apart]
  other:
    image: busybox
    command: sleep 1000
    networks: [apart]
networks:
  front: {driver_opts: {com.docker.network.driver.mtu: 1300, com.docker.network.bridge.name: wiresbr}}
  back: {ipam: {config: [{subnet: 10.77.0.0/24, ip_range: 10.77.0.128/25, gateway: 10.77.0.1}]}}
  closed: {internal: true}
  apart: {driver_opts: {com.docker.network.bridge.enable_icc: \"false\", com.docker.network.container_iface_prefix: lan}}
";

/// Interfaces, addresses, routes, settings and links are those of the file.
#[test]
fn every_setting_of_a_network_is_carried_out() {
    let world = World::with_file(PROJECT);
    world.run("up --no-start").succeeds();
    world.coracle("run -d --name outsider --network wires_front busybox sleep 1000").succeeds();
    world.run("up -d").succeeds();
    let web = world.container("web");
    let address = web.sh("ip -o -4 addr show wire0").succeeds().stdout;
    assert!(address.contains("169.254.8.8/16"), "{address}");
    assert_eq!(web.sh("cat /sys/class/net/wire0/address /sys/class/net/wire0/mtu").succeeds().stdout, "02:42:ac:11:00:98\n1300\n");
    // By priority first, then by name: `back` is the second, and has the default route.
    assert!(web.sh("ip -o -4 addr show eth1").succeeds().stdout.contains("10.77.0.200/24"));
    let routes = web.sh("ip route").succeeds().stdout;
    assert!(routes.starts_with("default via 10.77.0.1 dev eth1"), "{routes}");
    assert_eq!(web.sh("cat /proc/sys/net/ipv4/conf/eth1/log_martians").succeeds().line(), "1");
    let range = address_of(&world.container("db"), "eth0");
    assert_eq!(range, "10.77.0.128");
    assert_eq!(resolved(&web, "data").as_deref(), Some(range.as_str()));
    assert!(resolved(&web, "friend").is_some());
    assert_eq!(resolved(&world.container("db"), "data"), None, "a link is a name for one service alone");
    world.outside(&["ip", "link", "show", "wiresbr"]).succeeds();
    // On a network without talk, the gateway is reached and the neighbour is not.
    let (lone, other) = (world.container("lone"), world.container("other"));
    let neighbour = address_of(&other, "lan0");
    lone.sh("ping -c 1 -W 5 $(ip route | sed -n 's/default via \\([0-9.]*\\).*/\\1/p')").succeeds();
    assert!(!lone.sh(&format!("ping -c 1 -W 1 {neighbour}")).status.success());
    let exposed = world.coracle("inspect --format '{{json .Config.ExposedPorts}}' wires-web-1").succeeds();
    assert_eq!(exposed.line(), r#"{"3000/tcp":{},"3001/tcp":{}}"#);
}

/// The flags of `run` do the same, and `--link` works where no names are known.
#[test]
fn a_lone_container_has_the_same_settings() {
    let world = World::new();
    world.coracle("network create --opt com.docker.network.driver.mtu=1200 --opt colour=red net").complains("colour=red");
    world.coracle("run -d --name friend busybox sleep 1000").succeeds();
    let told = world.coracle("run --rm --link friend:pal busybox sh -c 'nslookup -type=a pal && nslookup -type=a friend'");
    assert!(told.status.success(), "{}", told.told());
    let words =
        "run --rm --network name=net,alias=me,mac-address=02:42:00:00:00:07,driver-opt=com.docker.network.endpoint.ifname=wan busybox";
    let told = world.coracle(&format!("{words} cat /sys/class/net/wan/address /sys/class/net/wan/mtu")).succeeds();
    assert_eq!(told.stdout, "02:42:00:00:00:07\n1200\n");
    world.coracle("run --rm --mac-address 02:42:00:00:00:08 --link-local-ip 169.254.3.3 busybox ip addr").succeeds().says("169.254.3.3/16");
    world.coracle("network create --opt com.docker.network.driver.mtu=x bad").exits_with(1).complains("com.docker.network.driver.mtu");
    world.coracle("run --rm --network name=net,colour=red busybox true").exits_with(125).complains("colour");
}

fn address_of(container: &Container<'_>, link: &str) -> String {
    let told = container.sh(&format!("ip -o -4 addr show {link}")).succeeds();
    told.stdout.split_whitespace().nth(3).and_then(|address| address.split('/').next()).expect("an address").to_owned()
}

fn resolved(container: &Container<'_>, name: &str) -> Option<String> {
    let told = container.sh(&format!("nslookup -type=a {name}"));
    let answer = told.stdout.rsplit_once("Name:")?.1.lines().find_map(|line| line.strip_prefix("Address: "))?.trim().to_owned();
    told.status.success().then_some(answer)
}

/// What a network's driver is asked for is what the kernel has: no port of the host where it is routed, no address where it is isolated.
#[test]
fn gateway_modes_are_carried_out() {
    let mode = "com.docker.network.bridge.gateway_mode_ipv4";
    let world = World::with_file(&format!(
        "services:\n  web: {{image: busybox, command: httpd -f -p 80, networks: [direct], ports: ['8095:80']}}\n  \
         here: {{image: busybox, command: httpd -f -p 80, networks: [bound], ports: ['8096:80']}}\n  \
         alone: {{image: busybox, command: sleep 1000, networks: [closed]}}\nnetworks:\n  \
         direct: {{driver_opts: {{{mode}: routed}}}}\n  bound: {{driver_opts: {{com.docker.network.bridge.host_binding_ipv4: 127.0.0.1}}}}\n  \
         closed: {{internal: true, driver_opts: {{{mode}: isolated, com.docker.network.bridge.name: closed0}}}}\n"
    ));
    let told = world.run("up -d").succeeds();
    assert!(!told.stderr.contains("not carried out"), "{}", told.told());
    let id = world.container("web").id().to_owned();
    let address = world.coracle_with(&["inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", &id]).succeeds();
    eventually(seconds(20), || match world.fetch(&format!("{}:80", address.line()), "/") {
        Err(answer) if answer.contains("404") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert!(world.fetch("127.0.0.1:8095", "/").is_err_and(|answer| !answer.contains("404")));
    let ports = world.coracle_with(&["inspect", "-f", "{{json .NetworkSettings.Ports}}", &id]).succeeds();
    assert_eq!(ports.line(), r#"{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":""}]}"#);
    let rules = world.outside(&["nft", "list", "table", "ip", "coracle"]).succeeds();
    assert!(rules.stdout.contains(&format!("tcp . {} . 80", address.line())), "{}", rules.told());
    assert_eq!(world.run("port here 80").succeeds().line(), "127.0.0.1:8096");
    eventually(seconds(20), || match world.fetch("127.0.0.1:8096", "/") {
        Err(answer) if answer.contains("404") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert!(world.fetch(&format!("{ADDRESS}:8096"), "/").is_err_and(|answer| !answer.contains("404")));
    assert_eq!(world.outside(&["ip", "-o", "address", "show", "dev", "closed0"]).succeeds().stdout, "");
    world.run("down -t 0").succeeds();
    world.file(
        "compose.yaml",
        &format!("services: {{a: {{image: busybox, networks: [n]}}}}\nnetworks: {{n: {{driver_opts: {{{mode}: isolated}}}}}}\n"),
    );
    world.run("up -d").exits_with(1).complains("must be internal").complains("hint:");
    world.run("down").succeeds();
    world.is_empty();
}
