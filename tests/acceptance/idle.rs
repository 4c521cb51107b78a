//! A bridge that nobody uses any more stays for a moment: a series of runs uses it again, then the host is as before.

use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

/// The number of the default network's bridge, as `ip` prints it before the name.
fn bridge(world: &World) -> Option<String> {
    let listed = world.outside(&["ip", "-o", "link"]).succeeds().stdout;
    listed.lines().find(|line| line.contains(": coracle0")).and_then(|line| line.split(':').next()).map(str::to_owned)
}

/// The next run finds the bridge of the one before; when no more come, it goes, and everything with it.
#[test]
fn a_series_of_runs_uses_one_bridge() {
    let world = World::new();
    // On a machine so slow that the moment is over between two runs, they are tried again.
    eventually(seconds(60), || {
        world.coracle("run --rm busybox true").succeeds();
        let first = bridge(&world).ok_or("the bridge is gone already")?;
        world.coracle("run --rm busybox ip route").succeeds().says("default via 172.17.0.1");
        let second = bridge(&world).ok_or("the bridge is gone already")?;
        if first == second { Ok(()) } else { Err(format!("another bridge: {first}, then {second}")) }
    });
    world.is_empty();
}

/// Whoever is killed that was to remove the bridge, the next command sees to it.
#[test]
fn a_bridge_whose_caretaker_was_killed_goes_with_the_next_command() {
    let world = World::new();
    eventually(seconds(60), || {
        world.coracle("run --rm busybox true").succeeds();
        let engines = world.engines();
        let pids: Vec<String> = engines.iter().map(|engine| engine.pid.to_string()).collect();
        // Some may end meanwhile.
        world.outside(&[&["kill", "-KILL"], pids.iter().map(String::as_str).collect::<Vec<_>>().as_slice()].concat());
        eventually(seconds(10), || if world.engines().is_empty() { Ok(()) } else { Err("they are still there".to_owned()) });
        bridge(&world).map(drop).ok_or("the bridge was removed before its caretaker was killed".to_owned())
    });
    world.coracle("ps").succeeds();
    world.is_empty();
}

/// `down` has removed the bridge of the project's network when it returns.
#[test]
fn down_does_not_leave_the_projects_bridge_for_later() {
    let world = World::with("pair");
    world.run("up -d").succeeds();
    let before = world.outside(&["ip", "-o", "link"]).succeeds();
    assert!(before.stdout.contains(": br-"), "{}", before.told());
    world.run("down").succeeds();
    let after = world.outside(&["ip", "-o", "link"]).succeeds();
    assert!(!after.stdout.contains(": br-"), "{}", after.told());
    world.is_empty();
}
