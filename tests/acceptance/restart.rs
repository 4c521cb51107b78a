//! Restart policies: who comes back, how often, and who stays down.

use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

/// `on-failure:2` tries twice more; success and `no` end it.
#[test]
fn a_failing_program_is_tried_as_often_as_it_may() {
    let world = World::with("restart");
    world.run("up -d").succeeds();
    eventually(seconds(30), || {
        let told = world.run("logs --no-log-prefix failing");
        if told.stdout.lines().count() == 3 { Ok(()) } else { Err(told.told()) }
    });
    eventually(seconds(10), || {
        let told = world.run("ps -a");
        let ended = |service: &str, code: &str| told.stdout.lines().any(|line| line.contains(service) && line.contains(code));
        if ended("failing", "Exited (3)") && ended("content", "Exited (0)") && ended("once", "Exited (4)") {
            Ok(())
        } else {
            Err(told.told())
        }
    });
    assert_eq!(world.run("logs --no-log-prefix content").succeeds().stdout.lines().count(), 1);
    assert_eq!(world.run("logs --no-log-prefix once").succeeds().stdout.lines().count(), 1);
}

/// `always` and `unless-stopped` come back when killed, and stay down when stopped by hand.
#[test]
fn a_killed_program_comes_back_and_a_stopped_one_does_not() {
    let world = World::with("restart");
    world.run("up -d").succeeds();
    for service in ["steady", "patient"] {
        let container = world.container(service);
        let before = container.comes_up();
        world.kill(&before);
        eventually(seconds(20), || match container.processes().first() {
            Some(process) if process.started != before.started => Ok(()),
            found => Err(format!("{service} has not come back: {found:?}")),
        });
        assert_eq!(world.container(service).id(), container.id());
        world.run(&format!("stop {service}")).succeeds();
        container.goes_down();
    }
    // Each of them would have come back by now: the others did within the first back-off of 100 ms.
    let witness = world.coracle("run --rm --restart no busybox sh -c 'sleep 1; echo a second is over'").succeeds();
    assert_eq!(witness.line(), "a second is over");
    assert!(!world.container("steady").runs() && !world.container("patient").runs());
}
