//! What a service may do: capabilities, system calls, paths and devices, tried in its container.

use crate::support::World;

const PROFILE: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}"#;

const PROJECT: &str = "name: rights
x-usual: &usual {image: busybox, command: sleep 1000}
services:
  usual: *usual
  more: {<<: *usual, cap_add: [NET_ADMIN, CAP_SYS_TIME], cap_drop: [CHOWN]}
  bare: {<<: *usual, cap_drop: [ALL], security_opt: [\"no-new-privileges:true\"]}
  free: {<<: *usual, privileged: true}
  filtered: {<<: *usual, security_opt: [\"seccomp:./profile.json\"]}
  open: {<<: *usual, security_opt: [seccomp=unconfined, systempaths=unconfined, apparmor=unconfined, \"label:disable\"]}
  sealed: {<<: *usual, read_only: true, tmpfs: [/tmp]}
  device: {<<: *usual, cap_add: [SYSLOG], devices: [\"/dev/kmsg:/dev/notes:r\", {source: /dev/null, target: /dev/other}]}
";

/// The number of a capability's bit, from linux/capability.h.
const CHOWN: u32 = 0;
const NET_ADMIN: u32 = 12;
const SYS_TIME: u32 = 25;

/// Capabilities, seccomp, masked paths, a read-only root and devices.
#[test]
fn a_service_may_do_what_its_file_says() {
    let world = World::with_file(PROJECT);
    world.file("profile.json", PROFILE);
    world.run("up -d").succeeds();
    let rights = |service: &str| u64::from_str_radix(&world.container(service).status("CapEff"), 16).unwrap();
    let has = |service: &str, bit: u32| rights(service) & (1 << bit) != 0;
    assert!(has("usual", CHOWN) && !has("usual", NET_ADMIN) && !has("usual", SYS_TIME));
    assert!(!has("more", CHOWN) && has("more", NET_ADMIN) && has("more", SYS_TIME));
    world.container("more").sh("ip link set lo down").succeeds();
    assert!(!world.container("usual").sh("ip link set lo down").status.success());

    let bare = world.container("bare");
    assert_eq!((rights("bare"), bare.status("CapBnd").trim_matches('0'), bare.status("NoNewPrivs").as_str()), (0, "", "1"));
    assert_eq!(world.container("usual").status("NoNewPrivs"), "0");

    let free = world.container("free");
    let all: u32 = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim().parse().unwrap();
    assert!((0..=all).filter(|bit| has("free", *bit)).count() > 30, "{:x}", rights("free"));
    assert_eq!(free.status("Seccomp"), "0");
    assert!(free.mount("/sys").contains(" rw,"));
    free.sh("mkdir /m && mount -t tmpfs x /m && test -e /dev/kmsg").succeeds();

    let (usual, filtered, open) = (world.container("usual"), world.container("filtered"), world.container("open"));
    assert_eq!((usual.status("Seccomp"), filtered.status("Seccomp"), open.status("Seccomp")), ("2".into(), "2".into(), "0".into()));
    filtered.sh("mkdir /x").complains("Operation not permitted");
    usual.sh("mkdir /x").succeeds();
    // What the kernel has in /proc for its own is hidden or read-only, unless it is asked for.
    assert!(usual.mount("/proc/sys").contains(" ro,"));
    let timers = |service: &str| world.container(service).sh("head -c 1 /proc/timer_list | wc -c").succeeds().line().to_owned();
    assert_eq!((timers("usual"), timers("open")), ("0".to_owned(), "1".to_owned()));
    assert!(!open.proc("mountinfo").contains(" /proc/"), "{}", open.proc("mountinfo"));

    let sealed = world.container("sealed");
    sealed.sh("touch /x").complains("Read-only file system");
    sealed.sh("touch /tmp/x").succeeds();

    let device = world.container("device");
    device.sh("test -c /dev/notes && : < /dev/notes").succeeds();
    device.sh(": > /dev/notes").complains("Operation not permitted");
    device.sh(": > /dev/other").succeeds();
    assert_eq!(device.sh("stat -c '%t %T' /dev/notes /dev/other").succeeds().stdout, "1 b\n1 3\n");
    world.run("down -t 0").succeeds();
}

/// What the kernel has nothing of is told by name; what is none is refused before anything is made.
#[test]
fn rights_that_cannot_be_given_are_named() {
    let world = World::new();
    let file = |option: &str| world.file("compose.yaml", &format!("services:\n  web: {{image: busybox, command: sleep 1000, {option}}}\n"));
    if !std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        file("security_opt: [\"label:type:web_t\"]");
        world.run("up -d").succeeds().complains("service `web`: `security_opt: label:type:web_t` is not carried out");
    }
    for (option, reason) in [
        ("security_opt: [colour=red]", "colour=red"),
        ("security_opt: [\"seccomp=missing.json\"]", "missing.json"),
        ("cap_add: [FLY]", "FLY"),
        ("userns_mode: keep-id", "userns_mode: keep-id"),
        ("sysctls: {kernel.panic: 1}", "kernel.panic"),
    ] {
        file(option);
        world.run("up -d").exits_with(1).complains(reason);
    }
}
