//! The one static binary: runs where there is nothing else.

use std::fs;

use crate::support::World;
use crate::support::eventually;
use crate::support::program;
use crate::support::seconds;

/// In a root with no library, no shell and no configuration the program still runs a container.
///
/// Only for a static program: `scripts/test` names one by CORACLE_BIN.
#[test]
fn an_empty_root_is_enough() {
    let world = World::new();
    let root = world.project().join("empty");
    for directory in ["proc", "sys", "dev", "tmp", "etc", "var"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::copy(program(), root.join("coracle")).unwrap();
    fs::copy(world.root().join("registries.conf"), root.join("registries.conf")).unwrap();
    let here = root.display();
    let tried = world.outside(&["chroot", &here.to_string(), "/coracle", "version"]);
    if tried.stderr.contains("No such file or directory") && std::env::var_os("CORACLE_BIN").is_none() {
        // The dynamic program of a debug build: its loader is not in there.
        return;
    }
    tried.succeeds();
    // A mount of its own, as every root is that was not merely changed into.
    let mounts = format!(
        "mount --bind {here} {here} && mount -t proc proc {here}/proc && mount --rbind /sys {here}/sys && mount --rbind /dev {here}/dev && \
         mkdir -p {here}/var/lib/coracle && mv {here}/registries.conf {here}/var/lib/coracle/ && cp /etc/resolv.conf {here}/etc/"
    );
    world.outside(&["sh", "-c", &mounts]).succeeds();
    let run = format!("exec env -i $(command -v chroot) {here} /coracle run --rm busybox echo from nothing");
    let told = world.outside(&["sh", "-c", &run]);
    // What follows the container's end puts the host's settings back, through this very /proc.
    let binary = root.join("coracle");
    eventually(seconds(20), || {
        let busy: Vec<_> = world.processes().into_iter().filter(|process| process.runs(&binary)).collect();
        if busy.is_empty() { Ok(()) } else { Err(format!("still at work: {busy:?}")) }
    });
    world.outside(&["umount", "-R", "-l", &here.to_string()]).succeeds();
    assert_eq!(told.succeeds().stdout, "from nothing\n");
}
