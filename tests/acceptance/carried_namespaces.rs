//! Namespaces that a service shares with another one or with the host.

use crate::support::World;

/// `pid`, `ipc`, `uts` and `cgroup` lead into the namespaces they name.
#[test]
fn a_service_is_in_the_namespaces_that_it_names() {
    let world = World::with_file(
        "name: shared
services:
  donor:
    image: busybox
    command: sh -c 'echo from the donor > /dev/shm/note; exec sleep 1000'
    ipc: shareable
    healthcheck: {test: test -e /dev/shm/note, interval: 100ms}
  guest:
    image: busybox
    command: sleep 1000
    depends_on: {donor: {condition: service_healthy}}
    pid: service:donor
    ipc: service:donor
    cgroup: private
  homely:
    image: busybox
    command: sleep 1000
    uts: host
    ipc: host
    cgroup: host
    userns_mode: host
  bare:
    image: busybox
    command: sleep 1000
    ipc: none
",
    );
    world.run("up -d").succeeds();
    let [donor, guest, homely, bare] = ["donor", "guest", "homely", "bare"].map(|service| world.container(service));
    for kind in ["pid", "ipc"] {
        assert_eq!(guest.namespace(kind), donor.namespace(kind));
        assert_ne!(bare.namespace(kind), donor.namespace(kind));
    }
    assert_eq!(guest.sh("cat /dev/shm/note").succeeds().line(), "from the donor");
    assert_eq!(guest.sh("grep -c sleep /proc/1/cmdline").succeeds().line(), "1");
    let own = |kind: &str| std::fs::read_link(world.proc().join("1/ns").join(kind)).unwrap().to_string_lossy().into_owned();
    for kind in ["uts", "ipc", "cgroup"] {
        assert_eq!(homely.namespace(kind), own(kind));
        assert_ne!(guest.namespace(kind), own(kind));
    }
    assert!(!bare.proc("mountinfo").contains(" /dev/shm "));
    // What shares the processes of another one ends without it.
    world.run("stop guest").succeeds();
    assert!(donor.runs() && !guest.runs());
}

/// What keeps its IPC to itself is not joined.
#[test]
fn only_a_shareable_ipc_can_be_joined() {
    let world = World::new();
    world.coracle("run -d --name closed busybox sleep 1000").succeeds();
    world.coracle("run --rm --ipc container:closed busybox true").exits_with(125).complains("shareable");
    world.coracle("run --rm --pid container:closed busybox grep -c sleep /proc/1/cmdline").succeeds();
    world.coracle("run --rm --pid container:missing busybox true").exits_with(125).complains("no such container: missing");
    world.coracle("run --rm --uts host --hostname me busybox true").exits_with(125).complains("--uts host");
}
