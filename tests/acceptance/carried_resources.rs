//! Networks and volumes of the top level: made with their settings, used as they are, or refused.

use crate::support::World;

const PROJECT: &str = "name: parts
services:
  web:
    image: busybox
    command: sleep 1000
    volumes: [\"own:/own\", \"named:/named\", \"outside:/outside\", \"bound:/bound\"]
    networks: {own: {ipv4_address: 10.66.1.77, gw_priority: 1}, outside: {aliases: [other-name]}, six: {ipv6_address: \"fd66::77\"}}
networks:
  own:
    name: my-net
    attachable: true
    ipam: {driver: default, config: [{subnet: 10.66.1.0/24, gateway: 10.66.1.9, aux_addresses: {printer: 10.66.1.10}}]}
  outside: {external: true, name: shared-net}
  six: {enable_ipv6: true, ipam: {config: [{subnet: \"fd66::/64\"}]}}
  unused: {internal: true}
volumes:
  own: {}
  named: {name: my-volume}
  outside: {external: true}
  bound: {driver_opts: {type: none, o: \"bind,ro\", device: $PWD/seed}}
  unused: {}
";

/// Subnets, gateways, fixed addresses, names of one's own, what is there already, and only what is used.
#[test]
fn networks_and_volumes_are_what_the_file_says() {
    let world = World::with_file(PROJECT);
    world.file("seed/note", "seeded\n");
    world.file(".env", &format!("PWD={}\n", world.project().display()));
    world.run("up -d").exits_with(1).complains("external").complains("shared-net");
    world.coracle("network create --subnet 10.66.2.0/24 shared-net").succeeds();
    world.run("up -d").exits_with(1).complains("external").complains("outside");
    world.coracle("volume create outside").succeeds();
    world.coracle("run --rm -v outside:/o busybox sh -c 'echo from outside > /o/note'").succeeds();
    world.run("up -d").succeeds();
    let web = world.container("web");
    let addresses = web.sh("ip -o addr").succeeds().stdout;
    assert!(addresses.contains("10.66.1.77/24") && addresses.contains("10.66.2.") && addresses.contains("fd66::77/64"), "{addresses}");
    assert!(web.sh("ip route").succeeds().stdout.contains("10.66.1.9"));
    assert_eq!(web.sh("cat /outside/note /bound/note").succeeds().stdout, "from outside\nseeded\n");
    web.sh("touch /bound/x").complains("Read-only");
    web.sh("touch /own/x /named/x").succeeds();
    let volumes = world.coracle("volume ls -q").succeeds().stdout;
    assert_eq!(volumes.lines().collect::<Vec<_>>(), ["my-volume", "outside", "parts_bound", "parts_own"]);
    let networks = world.coracle("network ls --format {{.Name}}").succeeds().stdout;
    assert!(networks.contains("my-net") && networks.contains("parts_six") && !networks.contains("unused"), "{networks}");
    world.run("down -v").succeeds();
    // What is not the project's stays.
    assert_eq!(world.coracle("volume ls -q").succeeds().stdout, "outside\n");
    // Nor does a prune touch what somebody has said the place of.
    world.coracle("volume create -o type=tmpfs -o device=tmpfs elsewhere").succeeds();
    world.coracle("volume prune -af").succeeds().says("outside");
    assert_eq!(world.coracle("volume ls -q").succeeds().stdout, "elsewhere\n");
    world.coracle("network ls --format {{.Name}}").succeeds().says("shared-net");
    world.coracle("network rm shared-net").succeeds();
}

/// Drivers and options that there are not, and networks that are somebody else's.
#[test]
fn resources_that_cannot_be_are_refused_by_name() {
    let world = World::new();
    let base = "services:\n  web: {image: busybox, command: sleep 1, networks: [net], volumes: [\"data:/data\"]}\n";
    for (network, volume, reason) in [
        ("driver: overlay", "", "no network driver `overlay`"),
        ("", "driver: cloud", "no volume driver `cloud`"),
        ("", "driver_opts: {type: tmpfs, colour: red}", "`colour`"),
        ("ipam: {config: [{subnet: 10.0.0.0/33}]}", "", "10.0.0.0/33"),
        ("ipam: {config: [{subnet: 10.1.0.0/24, gateway: 10.2.0.1}]}", "", "10.2.0.1"),
    ] {
        world.file("compose.yaml", &format!("{base}networks: {{net: {{{network}}}}}\nvolumes: {{data: {{{volume}}}}}\n"));
        world.run("up -d").exits_with(1).complains(reason);
        assert_eq!(world.coracle("ps -a -q").succeeds().stdout, "");
    }
    let odd = "ipam: {driver: dhcp, options: {a: b}}, driver_opts: {colour: red}";
    world.file("compose.yaml", &format!("{base}networks: {{net: {{{odd}}}}}\nvolumes: {{data: {{}}}}\n"));
    let told = world.run("up -d").succeeds();
    for name in ["ipam.driver: dhcp", "ipam.options", "driver_opts.colour"] {
        assert!(told.stderr.contains(name), "{name}: {}", told.told());
    }
}
