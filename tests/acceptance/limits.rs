//! Resource limits: what the file says is what the kernel's control group says.

use crate::support::World;
use crate::support::limit_of;
use crate::support::seconds;

/// `mem_limit`, `cpus` and `pids_limit` stand in the files of the container's control group.
#[test]
fn the_limits_stand_in_the_control_group() {
    let world = World::with("limits");
    world.run("up -d").succeeds();
    let bounded = world.container("bounded");
    bounded.comes_up();
    assert_eq!(limit_of(&bounded, "memory", &["memory.limit_in_bytes", "memory.max"]), "67108864");
    assert_eq!(limit_of(&bounded, "pids", &["pids.max"]), "20");
    match limit_of(&bounded, "cpu", &["cpu.max", "cpu.cfs_quota_us"]).as_str() {
        "50000" => assert_eq!(limit_of(&bounded, "cpu", &["cpu.cfs_period_us"]), "100000"),
        both => assert_eq!(both, "50000 100000"),
    }
    let free = world.container("free");
    free.comes_up();
    assert_ne!(limit_of(&free, "memory", &["memory.limit_in_bytes", "memory.max"]), "67108864");
}

/// A program that wants more memory than it may have is killed, and that is said.
#[test]
fn too_much_memory_is_refused_by_the_kernel() {
    let world = World::new();
    world.coracle("run --name greedy -m 16m busybox sh -c 'head -c 100m /dev/zero | tail -c 100m | wc -c'");
    let told = world.coracle("inspect --format {{.State.OOMKilled}} greedy").succeeds();
    assert_eq!(told.line(), "true");
    let told = world.coracle("run --rm -m 16m busybox sh -c 'exec tail -c 100m /dev/zero'").exits_with(137);
    assert!(told.took < seconds(60));
}

/// A fork bomb stops at the number of processes it may have.
#[test]
fn too_many_processes_are_refused_by_the_kernel() {
    let world = World::new();
    let told = world.coracle("run --rm --pids-limit 10 busybox sh -c 'for n in $(seq 30); do sleep 5 & done; wait'");
    assert!(told.stderr.contains("fork"), "{}", told.told());
}

/// A shell that allows few descriptors used to keep its supervisor from starting more than a few containers; these have the shell's limit.
#[test]
fn a_supervisor_has_more_descriptors_than_its_shell() {
    let service = |port: u16| format!("{{image: busybox, command: sleep 1000, ports: ['{port}:80', '{port}:81/udp'], networks: [a, b]}}");
    let services: String = (0..5).map(|number| format!("  s{number}: {}\n", service(8100 + number))).collect();
    let world = World::with_file(&format!("services:\n{services}networks: {{a: {{}}, b: {{}}}}\n"));
    // The soft limit alone: not every machine lets root raise the hard one.
    let line = format!("ulimit -S -n 64 && exec {} compose up -d", crate::support::program().display());
    world.outside(&["sh", "-c", &line]).succeeds();
    for number in 0..5 {
        let process = world.container(&format!("s{number}")).comes_up();
        let limits = std::fs::read_to_string(world.proc().join(process.pid.to_string()).join("limits")).unwrap();
        let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        assert_eq!(files.split_whitespace().nth(3), Some("64"), "{limits}");
    }
    world.run("down -t 0").succeeds();
}
