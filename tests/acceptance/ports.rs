//! Published ports: who can reach them, and who is told that one is taken.

use crate::support::ADDRESS;
use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

/// A port published everywhere answers on loopback and on the host's address; one on loopback only there.
#[test]
fn a_port_answers_where_it_was_published() {
    let world = World::with("ports");
    world.run("up -d").succeeds();
    assert_eq!(world.page("127.0.0.1:8081", "/"), "everywhere\n");
    assert_eq!(world.page(&format!("{ADDRESS}:8081"), "/"), "everywhere\n");
    assert_eq!(world.page("127.0.0.1:8082", "/"), "loopback\n");
    assert!(world.fetch(&format!("{ADDRESS}:8082"), "/").is_err(), "loopback only");
    assert_eq!(world.run("port everywhere 80").succeeds().line(), "0.0.0.0:8081");

    let chosen = world.run("port chosen 80").succeeds().line().to_owned();
    let port = chosen.rsplit(':').next().unwrap().to_owned();
    assert_eq!(world.page(&format!("127.0.0.1:{port}"), "/"), "chosen\n");

    // A container reaches another's published port by the host's address.
    let told = world.run(&format!("exec -T chosen wget -q -O - http://{ADDRESS}:8081/")).succeeds();
    assert_eq!(told.stdout, "everywhere\n");

    world.run("down").succeeds();
    assert!(world.fetch("127.0.0.1:8081", "/").is_err());
    world.is_empty();
}

/// A taken port is refused before anything starts, with the name of who has it.
#[test]
fn a_taken_port_is_refused_by_name_before_anything_starts() {
    let world = World::with("ports");
    world.coracle("pull busybox").succeeds();
    let holder = world.outside(&["sh", "-c", "python3 -m http.server 8081 >/dev/null 2>&1 & echo $!"]).succeeds().line().to_owned();
    eventually(seconds(20), || world.fetch("127.0.0.1:8081", "/"));
    let told = world.run("up -d").exits_with(1).complains("8081").complains(&holder).complains("python3").complains("hint:");
    assert_eq!(world.coracle("ps -q").succeeds().stdout, "", "{}", told.told());
    world.outside(&["kill", &holder]).succeeds();
    world.run("up -d").succeeds();
    assert_eq!(world.page("127.0.0.1:8081", "/"), "everywhere\n");
}

/// Two containers of ours that want the same port: the second is told whose it is.
#[test]
fn a_port_of_another_container_is_refused_with_its_name() {
    let world = World::new();
    world.coracle("run -d --name owner -p 8085:80 busybox httpd -f -p 80").succeeds();
    world.coracle("run -d --name late -p 8085:80 busybox httpd -f -p 80").exits_with(125).complains("8085").complains("owner");
    world.coracle("rm -f owner").succeeds();
    world.coracle("rm -f late");
    world.coracle("run -d --name late -p 8085:80 busybox httpd -f -p 80").succeeds();
}

/// What the supervisor does for one container in a process of its own used to hold the ports of all others, until it ended.
#[test]
fn a_port_is_free_while_another_container_is_being_probed() {
    let probe = "{test: 'touch /begun; sleep 1000', interval: 1s, timeout: 1000s}";
    let compose = format!(
        "services:\n  probed: {{image: busybox, command: sleep 1000, healthcheck: {probe}, depends_on: [web]}}\n  \
         web: {{image: busybox, command: httpd -f -p 80, ports: ['8086:80']}}\n"
    );
    let world = World::with_file(&compose);
    world.run("up -d").succeeds();
    let begun = || world.run("exec -T probed ls /begun");
    eventually(seconds(20), || if begun().status.success() { Ok(()) } else { Err("no probe has begun".to_owned()) });
    world.run("rm -s -f web").succeeds();
    world.coracle("run -d --name other -p 8086:80 busybox httpd -f -p 80").succeeds();
    world.coracle("rm -f other").succeeds();
}

/// A port of SCTP is published where the kernel has SCTP, and refused by that name where it has none.
#[test]
fn sctp_is_published_or_refused_by_name() {
    let world = World::with_file("services:\n  web: {image: busybox, command: sleep 1000, ports: [\"36412:36412/sctp\"]}\n");
    let probe = "import socket; socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)";
    match world.outside(&["python3", "-c", probe]).status.success() {
        true => {
            world.run("up -d").succeeds();
            assert_eq!(world.run("port --protocol sctp web 36412").succeeds().line(), "0.0.0.0:36412");
        }
        false => {
            world.run("up -d").exits_with(1).complains("port 36412").complains("this kernel has no SCTP");
            assert_eq!(world.coracle("ps -q").succeeds().stdout, "");
        }
    }
    world.coracle("run --rm -p 80/smtp busybox true").exits_with(125).complains("only tcp, udp and sctp");
}
