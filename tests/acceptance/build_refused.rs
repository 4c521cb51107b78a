//! What a build refuses before it begins, and what it leaves when it fails.

use std::fs;

use crate::support::World;
use crate::support::eventually;
use crate::support::groups;
use crate::support::seconds;

/// Names, limits and networks that cannot be used to be found at the end of a build, or never if its steps were cached.
#[test]
fn what_cannot_be_is_refused_before_anything_is_run() {
    let world = World::new();
    world.file("Dockerfile", "FROM busybox\nRUN echo ran\n");
    for (flags, reason) in [
        ("-t UPPER", "must be lowercase"),
        ("-o type=image,name=UPPER", "must be lowercase"),
        ("--cache-to type=registry,ref=BAD//", "cannot use the cache `BAD//`"),
        ("--cache-from BAD//", "cannot use the cache `BAD//`"),
        ("--ulimit nope=1", "there is no such limit"),
        ("--network nope", "there is no such network"),
        ("--network container:x", "does not share the network of a container"),
        ("-o type=tar,dest=/tmp", "it is a directory"),
        ("-o Dockerfile", "it is there and no directory"),
    ] {
        let told = world.coracle(&format!("build {flags} ."));
        assert!(!told.status.success() && told.stderr.contains(reason), "{flags}: {}", told.told());
        assert!(!world.root().join("layers").exists(), "nothing was pulled for {flags}");
    }
    // A parent that leads out of the control groups used to be made where it led to.
    world.coracle("build --cgroup-parent a/../../b .").exits_with(125).complains("without `..`");
    world.coracle("build --cache-to type=s3,bucket=b .").exits_with(125).complains("the type `s3`");
}

/// The RUN is in a group below the one that is named; what was made for it goes with it.
#[test]
fn a_run_is_put_below_a_group() {
    let world = World::new();
    let parent = format!("parent-of-build-{}", std::process::id());
    world.file("Dockerfile", "FROM busybox\nRUN sleep 1004\n");
    let build = world.start(&format!("build -q --cgroup-parent /{parent}/inner ."));
    let run = eventually(seconds(30), || {
        let found = world.processes().into_iter().find(|process| process.command == "sleep 1004");
        found.ok_or_else(|| format!("the RUN has not begun: {}", build.stderr()))
    });
    assert!(run.cgroups.contains(&format!("/{parent}/inner/build-")), "{}", run.cgroups);
    world.kill(&run);
    build.ends().exits_with(1).complains("exit code: 137");
    assert!(groups(&parent).is_empty(), "{:?}", groups(&parent));
}

/// A result that does not fit on its disk used to leave a part of an archive where the whole of an older one was.
#[test]
fn an_archive_comes_whole_or_not_at_all() {
    let world = World::new();
    world.file("Dockerfile", "FROM busybox\n");
    world.outside(&["sh", "-c", "mkdir small && mount -t tmpfs -o size=256k small small && echo old >small/out.tar"]).succeeds();
    for kind in ["oci", "docker", "tar"] {
        let told = world.coracle(&format!("build -q -o type={kind},dest=small/out.tar ."));
        told.exits_with(1).complains("cannot write small/out.tar").complains("No space left on device");
        let there = world.outside(&["sh", "-c", "ls -A small; cat small/out.tar"]).succeeds();
        assert_eq!(there.stdout, "out.tar\nold\n", "{kind}");
    }
    world.outside(&["umount", "small"]).succeeds();
    world.coracle("build -q -o type=tar,dest=new/out.tar .").succeeds();
    assert!(fs::metadata(world.project().join("new/out.tar")).unwrap().len() > 1 << 20);
}

/// A disk that is full: the step fails with the kernel's word, nothing of it stays, and with room the build goes on.
#[test]
fn a_full_disk_costs_the_step_only() {
    let world = World::new();
    world.outside(&["sh", "-c", "mkdir small && mount -t tmpfs -o size=8m small small"]).succeeds();
    let dockerfile = |size: usize| {
        let text = format!("FROM busybox\nRUN cat /proc/sys/kernel/random/uuid >/id\nRUN dd if=/dev/zero of=/big bs=1M count={size}\n");
        world.file("Dockerfile", &text);
    };
    let program = crate::support::program();
    let rule = world.root().join("registries.conf");
    let small = |arguments: &str| {
        let place = format!("CORACLE_REGISTRIES_CONF={} CORACLE_ROOT=$PWD/small", rule.display());
        world.outside(&["sh", "-c", &format!("{place} {} {arguments}", program.display())])
    };
    dockerfile(40);
    small("build --progress plain -t big .").exits_with(1).complains("No space left on device").complains("Dockerfile:3:1");
    let making = world.outside(&["sh", "-c", "ls small/making"]).succeeds();
    assert_eq!(making.stdout, "", "nothing is left in the making");
    dockerfile(1);
    let told = small("build --progress plain -t big .").succeeds();
    assert_eq!(told.stderr.matches("CACHED").count(), 1, "{}", told.told());
    small("run --rm big sh -c 'wc -c <big'").succeeds().says("1048576");
    small("rmi -f big").succeeds();
    // The network of the small store goes before the store.
    eventually(seconds(30), || match world.left() {
        Err(left) if left.contains("coracle0") => Err(left),
        _ => Ok(()),
    });
    eventually(seconds(20), || {
        let busy = world.outside(&["umount", "small"]);
        if busy.status.success() { Ok(()) } else { Err(busy.told()) }
    });
}
