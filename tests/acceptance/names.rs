//! Names: services, containers, aliases and links, and what goes on to the host's resolver.

use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

/// Each way to name another container of the project leads to it.
#[test]
fn a_container_finds_the_others_by_every_name() {
    let world = World::with("names");
    world.run("up -d").succeeds();
    for name in ["server", "names-server-1", "pet", world.container("server").id().get(..12).unwrap()] {
        let told = world.run(&format!("exec -T client wget -q -O - http://{name}/"));
        assert_eq!(told.stdout, "served\n", "{name}: {}", told.told());
    }
}

/// A service on another network cannot be named nor reached.
#[test]
fn networks_keep_their_own_names() {
    let world = World::with("names");
    world.run("up -d").succeeds();
    world.run("exec -T stranger nslookup server").exits_with(1);
    let address = world.run("exec -T server hostname -i").succeeds().line().to_owned();
    let told = world.run(&format!("exec -T stranger wget -q -T 2 -O - http://{address}/"));
    assert!(!told.status.success(), "{}", told.told());
}

/// A name that is nobody's here goes to the host's resolver, as the host has it now.
#[test]
fn an_unknown_name_goes_to_the_hosts_resolver() {
    let world = World::with("names");
    let asked = world.answer_names("outer.test", [192, 0, 2, 77]);
    world.run("up -d").succeeds();
    let told = world.run("exec -T client nslookup -type=a outer.test");
    assert!(told.stdout.contains("192.0.2.77"), "{}", told.told());
    world.run("exec -T client nslookup -type=a nowhere.test").exits_with(1);
    assert!(asked.load(std::sync::atomic::Ordering::SeqCst) > 0);
}

/// A container that is restarted is found at its new address; one that is stopped is not found.
#[test]
fn names_follow_the_containers() {
    let world = World::with("names");
    world.run("up -d").succeeds();
    world.run("stop server").succeeds();
    world.run("exec -T client nslookup -type=a server").exits_with(1);
    world.run("start server").succeeds();
    eventually(seconds(10), || {
        let told = world.run("exec -T client wget -q -O - http://server/");
        if told.stdout == "served\n" { Ok(()) } else { Err(told.told()) }
    });
}

/// Port 53 is the container's own: a name server of its own used to find the address in use.
#[test]
fn a_container_may_serve_names_itself() {
    let world = World::with_file(
        "name: own
services:
  server: {image: busybox, command: \"sh -c 'sleep 1000 | nc -l -p 53 > /got'\"}
  client: {image: busybox, command: sleep 1000}
",
    );
    world.run("up -d").succeeds();
    eventually(seconds(10), || {
        let told = world.run("exec -T client sh -c 'echo asked | nc -w 2 server 53'");
        if told.status.success() { Ok(()) } else { Err(told.told()) }
    });
    eventually(seconds(10), || {
        let told = world.run("exec -T server cat /got");
        if told.stdout == "asked\n" { Ok(()) } else { Err(told.told()) }
    });
    world.run("exec -T server nslookup -type=a client").succeeds();
}
