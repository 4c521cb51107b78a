//! Builds that are killed, and builds beside each other: every step is done once, and nothing is left.

use std::fs;

use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

/// Waits until a command of a RUN is there, by its command line.
fn comes(world: &World, command: &str) {
    eventually(seconds(30), || {
        let there = world.processes().iter().any(|process| process.command == command);
        if there { Ok(()) } else { Err(format!("no `{command}`")) }
    });
}

/// The lines that all RUNs have written to the cache mount `log`.
fn log(world: &World) -> Vec<String> {
    let mut lines = Vec::new();
    for mount in fs::read_dir(world.root().join("build/mounts")).into_iter().flatten().flatten() {
        let text = fs::read_to_string(mount.path().join("mounted/log")).unwrap_or_default();
        lines.extend(text.lines().map(str::to_owned));
    }
    lines.sort();
    lines
}

/// A step that stays the first time, and writes down that it was carried out.
fn step(name: &str, first: &str) -> String {
    format!(
        "RUN --mount=type=cache,id=log,target=/log echo {name} >>/log/log; mkdir /log/{name} 2>/dev/null && {first}; cat /proc/sys/kernel/random/uuid >/{name}\n"
    )
}

/// The build alone is killed, then everything of ours: the next one goes on from the last finished step.
#[test]
fn a_killed_build_goes_on_from_its_last_step() {
    let world = World::new();
    world.file("Dockerfile", &format!("FROM busybox\n{}{}{}", step("one", "true"), step("two", "sleep 1001"), step("three", "sleep 1002")));
    let build = world.start("build -q -t killed .");
    comes(&world, "sleep 1001");
    world.cut(&build);
    build.ends();
    world.is_empty();
    assert_eq!(log(&world), ["one", "two"]);
    let build = world.start("build -q -t killed .");
    comes(&world, "sleep 1002");
    assert_eq!(log(&world), ["one", "three", "two", "two"], "the first step was done before");
    // The process of the RUN as well: nobody is left who could tidy up.
    for process in world.engines() {
        world.kill(&process);
    }
    build.ends();
    let again = world.coracle("build -t killed --progress plain .").succeeds();
    assert_eq!(log(&world), ["one", "three", "three", "two", "two"], "{}", again.told());
    assert_eq!(again.stderr.matches("CACHED").count(), 2, "{}", again.told());
    world.coracle("run --rm killed cat /one /two /three").succeeds();
    // The next build sweeps; what is younger than it can tell is left for the one after it.
    world.file("Dockerfile", "FROM scratch\nLABEL a=b\n");
    eventually(seconds(30), || {
        world.coracle("build -q .").succeeds();
        let making = fs::read_dir(world.root().join("making")).map_or(0, |found| found.count());
        if making > 0 {
            return Err(format!("{making} directories in the making are left"));
        }
        world.left()
    });
}

/// Two equal builds at once: each step is carried out by one of them.
#[test]
fn two_equal_builds_do_each_step_once() {
    let world = World::new();
    world.file("Dockerfile", &format!("FROM busybox\n{}{}", step("one", "sleep 1"), step("two", "sleep 1")));
    let builds = [world.start("build -q -t first ."), world.start("build -q -t second .")];
    let told = builds.map(|build| build.ends().succeeds());
    assert_eq!(log(&world), ["one", "two"], "{}", told[0].told());
    let seen = |name: &str| world.coracle(&format!("run --rm {name} cat /one /two")).succeeds().stdout;
    assert_eq!(seen("first"), seen("second"));
}

/// RUNs that lock the same cache mounts in other orders, or one of them twice, used to wait for each other for ever.
#[test]
fn locked_cache_mounts_wait_in_one_order() {
    let world = World::new();
    let mount = |id: &str, number: usize| format!("--mount=type=cache,sharing=locked,id={id},target=/{id}{number}");
    let mut text = String::new();
    for number in 0..6 {
        let (one, other) = if number % 2 == 0 { ("x", "y") } else { ("y", "x") };
        let mounts = [mount(one, 1), mount(other, 1), mount(one, 2)].join(" ");
        text += &format!(
            "FROM busybox AS s{number}\nRUN {mounts} mkdir /x1/busy /y1/busy && echo {number} >>/y1/log && rmdir /x1/busy /y1/busy && touch /done{number}\n"
        );
    }
    text += "FROM busybox\n";
    (0..6).for_each(|number| text += &format!("COPY --from=s{number} /done{number} /\n"));
    world.file("Dockerfile", &text);
    let build = world.start("build -q -t locked .");
    eventually(seconds(30), || if log(&world).len() == 6 { Ok(()) } else { Err(format!("{:?} {}", log(&world), build.stderr())) });
    build.ends().succeeds();
}

/// A stage that waited for what another build held used to be deaf: the build stayed until the other had ended.
#[test]
fn a_build_that_waits_for_another_hears_of_its_own_failure() {
    let world = World::new();
    let mount = "--mount=type=cache,sharing=locked,id=held,target=/held";
    world.file("Dockerfile", &format!("FROM busybox\nRUN {mount} sleep 1005\n"));
    world.file(
        "waits",
        &format!("FROM busybox AS mount\nRUN {mount} true\nFROM busybox AS step\nRUN {mount} sleep 1005\nFROM busybox AS broken\nRUN sleep 1; exit 7\nFROM busybox\nCOPY --from=mount / /\nCOPY --from=step / /\nCOPY --from=broken / /\n"),
    );
    let holder = world.start("build -q .");
    comes(&world, "sleep 1005");
    let told = world.start("build -q -f waits .").ends().exits_with(1);
    assert!(told.stderr.contains("exit code: 7"), "{}", told.told());
    comes(&world, "sleep 1005");
    world.cut(&holder);
    holder.ends();
    eventually(seconds(30), || world.left());
}
