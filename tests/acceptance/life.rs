//! What is told of containers while they live, and what can be changed of them: events, stats, rename, update.

use std::collections::BTreeSet;

use crate::support::World;
use crate::support::eventually;
use crate::support::limit_of;
use crate::support::seconds;

/// Every step of a container's life is told, to those who ask later and to those who wait.
#[test]
fn what_happens_is_told() {
    let world = World::with_file("services: {web: {image: busybox, command: sh -c 'exit 3', labels: {tier: front}}}");
    let waiting = world.start("events --filter type=container --format '{{.Action}} {{.Actor.Attributes.name}}'");
    world.run("up -d").succeeds();
    waiting.prints("die project-web-1");
    world.cut(&waiting);
    waiting.ends();
    eventually(seconds(10), || if world.container("web").runs() { Err("still there".to_owned()) } else { Ok(()) });
    world.coracle("rename project-web-1 other").succeeds();
    world.run("down").succeeds();
    let told = world.coracle("events --since 0 --until 0s --format '{{.Type}} {{.Action}}'").succeeds();
    let steps: BTreeSet<&str> = told.stdout.lines().collect();
    for step in [
        "container create",
        "container start",
        "container die",
        "container rename",
        "container destroy",
        "network create",
        "network connect",
        "network disconnect",
        "network destroy",
        "image pull",
    ] {
        assert!(steps.contains(step), "no `{step}`: {}", told.told());
    }
    let told = world.coracle("events --since 0 --until 0s --filter event=die --filter label=tier=front").succeeds();
    assert_eq!(told.stdout.lines().count(), 1);
    assert!(told.stdout.contains(" container die ") && told.stdout.contains("exitCode=3"), "{}", told.told());
    world.coracle("events --since 0 --until 0s --format json --filter event=start").succeeds().says("\"status\":\"start\"");
    world.run("events --since 0 --until 0s --json web").succeeds().says("\"action\":\"die\"");
    world.run("-p other events --since 0 --until 0s").succeeds();
}

/// The measures are the control group's, in docker's columns.
#[test]
fn what_is_used_is_shown() {
    let world = World::with_file("services: {busy: {image: busybox, mem_limit: 64m, command: sh -c 'while :; do :; done'}}");
    world.run("up -d").succeeds();
    let told = world.coracle("stats --no-stream").succeeds();
    let head: Vec<_> = told.stdout.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head.join(" "), "CONTAINER ID NAME CPU % MEM USAGE / LIMIT MEM % NET I/O BLOCK I/O PIDS");
    assert!(told.stdout.contains("/ 64MiB"), "{}", told.told());
    let busy = world.run("stats --no-stream --format {{.CPUPerc}} busy").succeeds();
    let share: f64 = busy.line().trim_end_matches('%').parse().unwrap();
    assert!(share > 1.0, "{}", busy.told());
    let streamed = world.start("stats --format '{{.Name}} {{.PIDs}}'");
    streamed.prints("project-busy-1 1\nproject-busy-1 1\n");
    world.cut(&streamed);
    streamed.ends();
    world.coracle("stats --no-stream nobody").exits_with(1).complains("nobody");
    world.run("stop -t 0").succeeds();
    assert!(world.coracle("stats --no-stream").succeeds().line().starts_with("CONTAINER ID "), "nothing but the heading");
    world.coracle("container stats -a --no-stream --format json").succeeds().says("\"MemUsage\":\"0B / 0B\"");
}

/// A container is found by its new name, also by others on its network, and no more by the old one.
#[test]
fn a_container_is_renamed() {
    let world = World::with_file("services: {one: {image: busybox, command: sleep 1000}, two: {image: busybox, command: sleep 1000}}");
    world.run("up -d").succeeds();
    let id = world.container("one").id().to_owned();
    world.coracle("rename project-one-1 fresh").succeeds();
    assert_eq!(world.named("fresh").id(), id);
    world.coracle("inspect project-one-1").exits_with(1);
    world.coracle("rename fresh project-two-1").exits_with(1).complains("hint:");
    world.coracle("rename fresh 'a b'").exits_with(1);
    eventually(seconds(10), || match world.container("two").sh("nslookup fresh").status.success() {
        true => Ok(()),
        false => Err("the new name is not known".to_owned()),
    });
    let told = world.run("up -d").succeeds();
    assert_eq!(world.container("one").id(), id, "{}", told.told());
    world.run("down -t 0").succeeds();
    world.coracle("create --name project-one-1 busybox true").succeeds();
}

/// New limits stand in the control group of the running container, and hold after a restart.
#[test]
fn limits_are_changed_while_it_runs() {
    let world = World::new();
    world.coracle("run -d --name bounded -m 64m busybox sleep 1000").succeeds();
    world.coracle("update -m 128m --pids-limit 30 --cpus 0.5 bounded").succeeds().says("bounded");
    let bounded = world.named("bounded");
    for _ in 0..2 {
        assert_eq!(limit_of(&bounded, "memory", &["memory.limit_in_bytes", "memory.max"]), "134217728");
        assert_eq!(limit_of(&bounded, "pids", &["pids.max"]), "30");
        assert!(limit_of(&bounded, "cpu", &["cpu.max", "cpu.cfs_quota_us"]).starts_with("50000"));
        world.coracle("restart -t 0 bounded").succeeds();
    }
    world.coracle("update -m 32m bounded").succeeds();
    assert_eq!(limit_of(&bounded, "memory", &["memory.limit_in_bytes", "memory.max"]), "33554432");
    world.coracle("update --memory-swap 16m bounded").exits_with(1).complains("hint:");
    world.coracle("update bounded").exits_with(1);
    world.coracle("update --restart always bounded").succeeds();
    let first = bounded.process();
    world.kill(&first);
    let second =
        eventually(seconds(20), || bounded.processes().into_iter().find(|process| *process != first).ok_or_else(|| "no new".to_owned()));
    assert_ne!(first, second);
}
