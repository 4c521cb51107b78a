//! `compose watch` and `up --watch`: changed files are copied, and services built, restarted or told.

use std::fs;

use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

const WATCHED: &str = "
services:
  app:
    build: {context: ., dockerfile: Dockerfile}
    command: [sh, -c, \"cat /version; trap 'exit 0' TERM; while :; do sleep 1000 & wait $$!; done\"]
    user: \"7:8\"
    develop:
      watch:
        - {path: ./src, action: sync, target: /tmp/app, ignore: [\"left/\"], initial_sync: true}
        - {path: ./told, action: sync+exec, target: /tmp/told, exec: {command: [sh, -c, \"cat /tmp/told/* >/tmp/heard\"]}}
        - {path: ./conf, action: sync+restart, target: /tmp/conf}
        - {path: ./version, action: rebuild}
";

fn prepare() -> World {
    let world = World::with_file(WATCHED);
    world.file("Dockerfile", "FROM busybox\nCOPY version /version\n");
    world.file("version", "one\n");
    world.file("src/early", "there before\n");
    for directory in ["told", "conf", "src/left"] {
        fs::create_dir_all(world.project().join(directory)).unwrap();
    }
    world
}

/// What the shell says in the container, once it says it.
fn says(world: &World, script: &str, wanted: &str) {
    eventually(seconds(60), || {
        let told = world.run(&format!("exec -T app sh -c '{script}'"));
        if told.stdout.trim() == wanted { Ok(()) } else { Err(format!("{script}: {}", told.told())) }
    });
}

/// Each action does what it says, and nothing is done for what is left out.
#[test]
fn changes_are_carried_into_the_containers() {
    let world = prepare();
    world.run("--dry-run watch").succeeds().says("watch ").says("rebuild");
    let watching = world.start("compose watch");
    eventually(seconds(60), || match watching.stderr().contains("Watch enabled") {
        true => Ok(()),
        false => Err(watching.stderr()),
    });
    says(&world, "cat /tmp/app/early", "there before");
    says(&world, "stat -c %u:%g /tmp/app/early", "7:8");

    world.file("src/left/out", "never");
    world.file("src/deep/new", "new\n");
    says(&world, "cat /tmp/app/deep/new", "new");
    fs::remove_dir_all(world.project().join("src/deep")).unwrap();
    says(&world, "ls -A /tmp/app", "early");

    world.file("told/word", "word\n");
    says(&world, "cat /tmp/heard", "word");

    let before = world.container("app");
    let process = before.process();
    world.file("conf/a", "a\n");
    eventually(seconds(30), || match before.processes().first().is_some_and(|now| *now != process) {
        true => Ok(()),
        false => Err("not restarted".to_owned()),
    });
    says(&world, "cat /tmp/conf/a", "a");
    assert_eq!(world.container("app").id(), before.id());

    world.file("version", "two\n");
    says(&world, "cat /version", "two");
    assert_ne!(world.container("app").id(), before.id());
    world.run("watch --no-up").exits_with(1).complains("another command");
    world.signal(&watching, "INT");
    watching.ends().exits_with(130);
    assert!(world.container("app").runs(), "only the watch ends");
    world.run("down").succeeds();
}

/// In the foreground the output goes on over a rebuild, and Ctrl-C stops all.
#[test]
fn up_watches_too() {
    let world = prepare();
    let up = world.start("compose up --watch");
    up.prints("app-1  | one");
    eventually(seconds(60), || if up.stderr().contains("Watch enabled") { Ok(()) } else { Err(up.stderr()) });
    world.file("version", "two\n");
    up.prints("app-1  | two");
    world.signal(&up, "INT");
    let told = up.ends();
    assert!(matches!(told.status.code(), Some(0 | 130)), "{}", told.told());
    assert_eq!(world.run("ps -q").succeeds().stdout, "");
    world.run("up -d --watch").exits_with(1).complains("--watch");
    world.file("compose.yaml", "services: {app: {image: busybox, command: sleep 1000}}");
    world.run("watch").exits_with(1).complains("develop.watch");
    world.run("down").succeeds();
}
