//! Flags of `run`, `stop`, `ps`, `inspect` and the prunes, and what holds an image.

use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

/// An image whose files a container has mounted stays, whoever wants it gone, as long as the container does.
#[test]
fn a_mounted_image_stays_with_its_container() {
    let world = World::new();
    world.coracle("pull busybox").succeeds();
    world.coracle("tag busybox tools:1").succeeds();
    world.file("Dockerfile", "FROM busybox\nRUN echo inside > /file\n");
    world.coracle("build -q -t tools:1 .").succeeds();
    world.coracle("create --name user --mount type=image,source=tools:1,target=/tools busybox cat /tools/file").succeeds();
    world.coracle("rmi tools:1").exits_with(1);
    world.coracle("image prune -a -f").succeeds();
    assert_eq!(world.coracle("start -a user").succeeds().stdout, "inside\n");
    world.coracle("rm user").succeeds();
    world.coracle("rmi tools:1").succeeds();
}

/// `stop --signal` sends that one; `run -a` shows only what it names; flags for other systems are named.
#[test]
fn signals_and_streams_are_as_asked_for() {
    let world = World::new();
    let script = "trap 'echo hup; exit 7' HUP; trap 'exit 8' TERM; echo up; while :; do sleep 0.05; done";
    world.coracle_with(&["run", "-d", "--name", "trapped", "busybox", "sh", "-c", script]).succeeds();
    eventually(seconds(10), || match world.coracle("logs trapped").stdout.as_str() {
        "up\n" => Ok(()),
        other => Err(other.to_owned()),
    });
    world.coracle("stop --signal NOSUCH trapped").exits_with(1);
    world.coracle("stop -s HUP trapped").succeeds();
    assert_eq!(world.coracle("wait trapped").succeeds().line(), "7");
    let told = world.coracle("run --rm -a stderr busybox sh -c 'echo out; echo err >&2'").succeeds();
    assert_eq!((told.stdout.as_str(), told.stderr.as_str()), ("", "err\n"));
    world.coracle("run -d -a stdout busybox true").exits_with(125).complains("--detach");
    world.coracle("run --rm --cpu-count 2 busybox true").succeeds().complains("`--cpu-count` is not carried out");
    world.coracle("run --rm --volume-driver nfs busybox true").exits_with(125).complains("no volume driver `nfs`");
}

/// Prunes take only what their filters say; sizes are what the files of a container take.
#[test]
fn prunes_and_sizes_look_at_what_is_there() {
    let world = World::new();
    world.coracle("run --name kept -l keep=yes busybox sh -c 'dd if=/dev/zero of=/big bs=1024 count=2048 2>/dev/null'").succeeds();
    world.coracle("run --name other busybox true").succeeds();
    world.coracle("network create --label keep=yes inner").succeeds();
    world.coracle("network create outer").succeeds();
    let size: u64 = world.coracle("inspect --size --format {{.SizeRw}} kept").succeeds().line().parse().unwrap();
    assert!((2 << 20..3 << 20).contains(&size), "{size}");
    let told = world.coracle("ps -a -s").succeeds();
    assert!(told.stdout.contains("SIZE") && told.stdout.contains("MB (virtual "), "{}", told.told());
    world.coracle("container prune -f --filter until=1h").succeeds();
    world.coracle("container prune -f --filter label!=keep").succeeds();
    assert_eq!(world.coracle("ps -a --format {{.Names}}").succeeds().stdout, "kept\n");
    world.coracle("network prune -f --filter label=keep").succeeds().says("inner");
    assert!(world.coracle("network ls --format {{.Name}}").succeeds().stdout.contains("outer"));
    world.coracle("container prune -f --filter colour=red").exits_with(1).complains("cannot filter by `colour`");
}
