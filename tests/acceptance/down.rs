//! `compose down`: everything `up` made goes, and nothing else.

use crate::support::World;
use crate::support::seconds;

/// Nothing of a project is left, and a second `down` has nothing to do.
#[test]
fn nothing_is_left_and_a_second_down_is_no_error() {
    let world = World::with("pair");
    world.run("up -d").succeeds();
    let left = world.container("left");
    left.comes_up();
    world.run("down").succeeds();
    left.goes_down();
    world.is_empty();
    assert_eq!(world.coracle("ps -a -q").succeeds().stdout, "");
    world.run("down").succeeds();
    world.coracle("images").succeeds().says("busybox");
}

/// A PID 1 that does not handle the stop signal could not be stopped by it, so it is not waited for.
#[test]
fn a_program_that_ignores_sigterm_as_pid_one_is_not_waited_for() {
    let world = World::with_file("services: {deaf: {image: busybox, command: sleep 1000}, deafer: {image: busybox, command: sleep 1000}}");
    world.run("up -d").succeeds();
    let told = world.run("down").succeeds();
    assert!(told.took < seconds(5), "{}", told.told());
}

/// One that handles it is given the time it needs, up to `-t`.
#[test]
fn a_program_that_handles_sigterm_is_waited_for() {
    let world = World::with_file(
        "services:\n  slow:\n    image: busybox\n    command: [\"sh\", \"-c\", \"trap 'sleep 1; echo cleaned up; exit 0' TERM; echo ready; while :; do sleep 1000 & wait $$!; done\"]\n",
    );
    world.run("up -d").succeeds();
    crate::support::eventually(seconds(10), || {
        let told = world.run("logs").succeeds();
        if told.stdout.contains("ready") { Ok(()) } else { Err(told.told()) }
    });
    world.run("stop").succeeds();
    world.run("logs").succeeds().says("cleaned up");
    world.coracle("ps -a").succeeds().says("Exited (0)");
}

/// Another project, and a container of none, stay.
#[test]
fn what_is_not_the_projects_stays() {
    let world = World::with("pair");
    world.coracle("run -d --name lone busybox sleep 1000").succeeds();
    world.run("-p other up -d").succeeds();
    world.run("up -d").succeeds();
    world.run("down").succeeds();
    assert!(world.named("lone").runs());
    assert!(world.named("other-left-1").runs());
    world.run("-p other down").succeeds();
    world.coracle("rm -f lone").succeeds();
    world.is_empty();
}

/// A service that the file no longer has is an orphan; `--remove-orphans` removes it.
#[test]
fn orphans_are_removed_when_asked() {
    let world = World::with("pair");
    world.run("up -d").succeeds();
    let right = world.container("right");
    world.file("compose.yaml", "services:\n  left:\n    image: busybox\n    command: sleep 1000\n");
    world.run("up -d").succeeds().complains("orphan");
    assert!(right.runs());
    world.run("up -d --remove-orphans").succeeds();
    right.goes_down();
    world.run("down").succeeds();
    world.is_empty();
}
