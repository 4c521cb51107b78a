//! Interrupted at any point, the next command works and nothing half-made is visible.

use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

/// `up` killed at many points: the next `up` always finishes the work, and `down` clears everything.
#[test]
fn a_killed_up_is_finished_by_the_next() {
    let world = World::with("pair");
    world.coracle("pull busybox").succeeds();
    for step in 0..12 {
        let up = world.start("compose up -d");
        // Not a wait for something: the point where it is cut has to differ each time.
        let begun = std::time::Instant::now();
        eventually(seconds(5), || if begun.elapsed().as_millis() >= step * 6 { Ok(()) } else { Err(String::new()) });
        world.cut(&up);
        up.ends();
        world.run("up -d").succeeds();
        assert_eq!(world.run("ps -q").succeeds().stdout.lines().count(), 2);
        world.container("left").comes_up();
        world.container("right").comes_up();
        world.run("down").succeeds();
        world.is_empty();
    }
}

/// What a killed `up` had asked for may be done only now: the next one used to find its ports taken by its own container.
#[test]
fn a_port_that_a_killed_up_still_publishes_is_no_clash() {
    let service = |port: u16| format!("{{image: busybox, command: httpd -f -p 80, ports: ['{port}:80', '{port}:80/udp']}}");
    let world = World::with_file(&format!("services:\n  one: {}\n  two: {}\n", service(8091), service(8092)));
    world.coracle("pull busybox").succeeds();
    for step in 0..12 {
        let up = world.start("compose up -d");
        eventually(seconds(20), || if up.stderr().contains("Starting") { Ok(()) } else { Err("nothing is started".to_owned()) });
        // The point where it is cut has to differ each time.
        let begun = std::time::Instant::now();
        eventually(seconds(5), || if begun.elapsed().as_millis() >= step * 4 { Ok(()) } else { Err(String::new()) });
        world.cut(&up);
        up.ends();
        if step % 2 == 0 {
            world.run("up -d").succeeds();
        }
        // What was only made when it looked may run by now.
        world.run("down -t 0").succeeds();
    }
    world.is_empty();
}

/// A build that is interrupted leaves no image and no process; the next one works.
#[test]
fn an_interrupted_build_leaves_nothing() {
    let world = World::new();
    world.file("Dockerfile", "FROM busybox\nRUN echo begun && sleep 600\n");
    let build = world.start("build -t slow .");
    eventually(seconds(30), || {
        let running = world.processes().iter().any(|process| process.command == "sleep 600");
        if running { Ok(()) } else { Err(format!("the RUN has not begun: {}{}", build.stdout(), build.stderr())) }
    });
    world.signal(&build, "INT");
    let told = build.ends();
    assert!(!told.status.success(), "{}", told.told());
    world.is_empty();
    assert!(!world.coracle("images").succeeds().stdout.contains("slow"));
    world.file("Dockerfile", "FROM busybox\nRUN echo quick\n");
    world.coracle("build -t slow .").succeeds();
    world.coracle("images").succeeds().says("slow");
}

/// A world with 20 MB for all that it keeps, and where that is.
fn on_a_small_disk() -> (World, String) {
    let world = World::new();
    let root = world.root().display().to_string();
    let rule = std::fs::read_to_string(world.root().join("registries.conf")).unwrap();
    world.outside(&["mount", "-t", "tmpfs", "-o", "size=20m", "small", &root]).succeeds();
    world.file("rule", &rule);
    world.outside(&["cp", "rule", &format!("{root}/registries.conf")]).succeeds();
    (world, root)
}

/// With no space left, a pull says so, leaves nothing visible, and works once there is space.
#[test]
fn no_space_is_said_and_leaves_nothing() {
    let (world, root) = on_a_small_disk();
    let told = world.coracle("pull python:3.13-slim").exits_with(1).complains("No space left on device");
    assert_eq!(world.coracle("images -q").succeeds().stdout, "", "{}", told.told());
    world.coracle("pull busybox").succeeds();
    world.coracle("run --rm busybox true").succeeds();
    world.outside(&["mount", "-o", "remount,size=600m", &root]).succeeds();
    world.coracle("pull python:3.13-slim").succeeds();
    eventually(seconds(5), || {
        let told = world.outside(&["umount", &root]);
        if told.status.success() { Ok(()) } else { Err(told.told()) }
    });
}

/// On a full disk the end of a container could not be written down: it could not be removed any more, not with room again either.
#[test]
fn what_ends_on_a_full_disk_has_ended() {
    let (world, root) = on_a_small_disk();
    for name in ["one", "two"] {
        world.coracle(&format!("run -d --name {name} busybox sleep 1000")).succeeds();
    }
    assert!(!world.outside(&["sh", "-c", &format!("cat /dev/zero >{root}/fill")]).status.success());
    world.coracle("kill one two").succeeds();
    let listed = world.coracle("ps -a --format {{.State}}").succeeds();
    assert_eq!(listed.stdout, "exited\nexited\n");
    world.coracle("rm one").succeeds();
    world.outside(&["rm", &format!("{root}/fill")]).succeeds();
    world.coracle("start two").succeeds();
    world.coracle("rm -f two").succeeds();
    eventually(seconds(20), || {
        let told = world.outside(&["umount", &root]);
        if told.status.success() { Ok(()) } else { Err(told.told()) }
    });
}
