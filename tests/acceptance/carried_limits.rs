//! The rarer limits of a service: in the files of its control group, in its process, in what it may open.

use std::fs;
use std::path::PathBuf;

use crate::support::World;
use crate::support::groups;
use crate::support::limit_of;

/// CPU periods, swappiness, block devices, a parent of its own, a device allowed by number.
#[test]
fn every_limit_of_a_service_stands_where_the_kernel_looks() {
    let world = World::new();
    let parent = format!("carried-{}", std::process::id());
    let disk = block_device();
    world.outside(&["mknod", "disk", "b", disk.0.as_str(), disk.1.as_str()]).succeeds();
    let device = world.project().join("disk");
    let number = format!("{}:{}", disk.0, disk.1);
    world.file(
        "compose.yaml",
        &format!(
            "name: carried
services:
  bound:
    image: busybox
    command: sleep 1000
    cpu_period: 50000
    cpu_quota: 20000
    cpu_shares: 512
    cpuset: \"0\"
    oom_score_adj: 300
    mem_limit: 64m
    memswap_limit: 96m
    mem_reservation: 32m
    cgroup_parent: /{parent}
    device_cgroup_rules: [\"b {number} rm\"]
    blkio_config:
      device_read_bps: [{{path: {device}, rate: 12mb}}]
      device_write_iops: [{{path: {device}, rate: 30}}]
    ulimits:
      nofile: {{soft: 100, hard: 200}}
      core: 0
    annotations: {{org.example.note: kept}}
",
            device = device.display()
        ),
    );
    world.run("up -d").succeeds();
    let bound = world.container("bound");
    bound.comes_up();
    assert!(bound.process().cgroups.contains(&format!("/{parent}/{}", bound.id())), "{}", bound.process().cgroups);
    match limit_of(&bound, "cpu", &["cpu.max", "cpu.cfs_quota_us"]).as_str() {
        "20000" => assert_eq!(limit_of(&bound, "cpu", &["cpu.cfs_period_us"]), "50000"),
        both => assert_eq!(both, "20000 50000"),
    }
    assert_eq!(limit_of(&bound, "cpuset", &["cpuset.cpus"]), "0");
    assert_eq!(limit_of(&bound, "memory", &["memory.soft_limit_in_bytes", "memory.low"]), (32 << 20).to_string());
    assert_eq!(bound.proc("oom_score_adj").trim(), "300");
    let rates = limit_of(&bound, "blkio", &["blkio.throttle.read_bps_device", "io.max"]);
    assert!(rates.contains(&number) && rates.contains("12582912"), "{rates}");
    let limits = bound.proc("limits");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["100", "200"]);
    bound.sh(&format!("mknod /disk b {} {} && dd if=/disk of=/dev/null bs=1 count=0", disk.0, disk.1)).succeeds();
    bound.sh("dd if=/dev/null of=/disk conv=notrunc bs=1 count=0").complains("Operation not permitted");
    let told = world.coracle("inspect --format '{{json .HostConfig.Annotations}}' carried-bound-1").succeeds();
    assert_eq!(told.line(), r#"{"org.example.note":"kept"}"#);
    world.run("down").succeeds();
    assert_eq!(groups(&parent), Vec::<PathBuf>::new(), "made for the container, and gone with it");
}

/// Limits that contradict each other are refused before anything is made.
#[test]
fn limits_that_cannot_be_are_refused() {
    let world = World::with_file("services:\n  web: {image: busybox, command: sleep 1, cpus: 1.5, cpu_quota: 20000}\n");
    world.run("up -d").exits_with(1).complains("contradict each other");
    world.coracle("run --rm --blkio-weight 5 busybox true").exits_with(125).complains("10 to 1000");
    world.coracle("run --rm --storage-opt size=1g busybox true").exits_with(125).complains("--storage-opt");
    assert_eq!(world.coracle("ps -a -q").succeeds().stdout, "");
}

/// Any block device of the machine, by its numbers.
fn block_device() -> (String, String) {
    let entries = fs::read_dir("/sys/block").expect("a kernel with block devices").filter_map(|entry| Some(entry.ok()?.path()));
    let mut numbers: Vec<String> = entries.filter_map(|path| fs::read_to_string(path.join("dev")).ok()).collect();
    numbers.sort();
    let (major, minor) = numbers.first().expect("a block device").trim().split_once(':').expect("two numbers");
    (major.to_owned(), minor.to_owned())
}
