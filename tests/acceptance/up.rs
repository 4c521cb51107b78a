//! `compose up`: from the file to the answered page, and what a second one does.

use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

const WEB: &str = "127.0.0.1:8000";

/// The project of the first page of Compose's own guide: built, pulled, started, answered, taken down.
#[test]
fn web_and_redis_answer_and_go_without_a_trace() {
    let world = World::with("web-redis");
    world.run("up -d").succeeds();
    assert_eq!(world.page(WEB, "/"), "Hello World! I have been seen 1 times.\n");
    assert_eq!(world.page(WEB, "/"), "Hello World! I have been seen 2 times.\n");
    assert_eq!(world.run("exec -T redis redis-cli get hits").succeeds().line(), "2");
    let (web, redis) = (world.container("web"), world.container("redis"));
    let before = (web.process(), redis.process());

    let again = world.run("up -d").succeeds();
    assert_eq!((world.container("web").id(), world.container("redis").id()), (web.id(), redis.id()), "{}", again.told());
    assert_eq!((web.process(), redis.process()), before, "the same processes");
    world.run("ps").succeeds().says("0.0.0.0:8000->5000/tcp").says("web-1").says("redis-1");
    world.run("logs web").succeeds().says("GET / HTTP/1.0");

    let rebuilt = world.run("build").succeeds();
    assert!(rebuilt.took < seconds(5), "nothing changed, nothing is run: {}", rebuilt.told());

    world.run("down").succeeds();
    assert_eq!(world.coracle("ps -a -q").succeeds().stdout, "");
    assert_eq!(world.coracle("network ls").succeeds().stdout.matches("project").count(), 0);
    world.is_empty();
}

/// A named volume, a network of two, a config, a secret and labels; the volume outlives `down`, not `down -v`.
#[test]
fn the_full_file_keeps_its_volume_until_it_is_removed() {
    let world = World::with("web-redis");
    let full = "-f compose.full.yaml";
    world.run(&format!("{full} up -d")).succeeds();
    assert_eq!(world.page(WEB, "/"), "Hello from a config! I have been seen 1 times.\n");
    assert_eq!(world.page(WEB, "/secret"), "11 characters\n");
    world.coracle("network ls").succeeds().says("web-redis-full_back").says("web-redis-full_default");
    world.coracle("ps --filter label=org.example.tier=front --format {{.Names}}").succeeds().says("web-redis-full-web-1");

    world.run(&format!("{full} exec -T redis redis-cli save")).succeeds();
    world.run(&format!("{full} down")).succeeds();
    world.is_empty();
    world.coracle("volume ls -q").succeeds().says("web-redis-full_redis-data");

    world.run(&format!("{full} up -d")).succeeds();
    assert_eq!(world.page(WEB, "/"), "Hello from a config! I have been seen 2 times.\n");
    world.run(&format!("{full} down -v")).succeeds();
    assert_eq!(world.coracle("volume ls -q").succeeds().stdout, "");
    world.is_empty();
}

/// Without `-d` the output of the services is shown by name, and Ctrl-C stops them.
#[test]
fn in_the_foreground_ctrl_c_stops_everything() {
    let world = World::with("pair");
    let up = world.start("compose up");
    up.prints("left-1   | left is up");
    up.prints("right-1  | right is up");
    let left = world.container("left");
    left.comes_up();
    world.signal(&up, "INT");
    let told = up.ends();
    assert!(matches!(told.status.code(), Some(0 | 130)), "{}", told.told());
    left.goes_down();
    world.container("right").goes_down();
    world.is_empty();
    assert_eq!(world.run("ps -a -q").succeeds().stdout.lines().count(), 2, "stopped, not removed");
}

/// Only what has changed is made anew.
#[test]
fn a_change_touches_only_its_service() {
    let world = World::with("pair");
    world.run("up -d").succeeds();
    let before = (world.container("left").id().to_owned(), world.container("right").id().to_owned());
    let text = std::fs::read_to_string(world.project().join("compose.yaml")).unwrap();
    world.file("compose.yaml", &text.replace("SIDE: left", "SIDE: port"));

    world.run("up -d").succeeds();
    assert_ne!(world.container("left").id(), before.0);
    assert_eq!(world.container("right").id(), before.1);
    assert_eq!(world.container("left").sh("echo $SIDE").succeeds().line(), "port");
}

/// A dry run says what would be done, and does none of it.
#[test]
fn a_dry_run_changes_nothing() {
    let world = World::with("pair");
    let told = world.run("up -d --dry-run").exits_with(2);
    let plan = format!("{}{}", told.stdout, told.stderr);
    assert!(plan.contains("left") && plan.contains("right"), "{}", told.told());
    assert_eq!(world.coracle("ps -a -q").succeeds().stdout, "");
    world.is_empty();
}

/// `depends_on` orders the starts; `service_healthy` waits for the check.
#[test]
fn what_is_depended_on_comes_first() {
    let world = World::with("order");
    world.run("up -d").succeeds();
    let (first, last) = (world.container("first"), world.container("last"));
    assert!(first.process().started < last.process().started);
    // The check of `first` succeeds once this file is there, and it is made late.
    first.sh("test -e /ready").succeeds();
    world.run("ps").succeeds().says("(healthy)");
}

/// `stop`, `start` and `restart` keep the containers.
#[test]
fn stop_start_and_restart_keep_the_containers() {
    let world = World::with("pair");
    world.run("up -d").succeeds();
    let left = world.container("left");
    let first = left.process();
    world.run("stop").succeeds();
    left.goes_down();
    world.run("start").succeeds();
    let second = left.comes_up();
    world.run("restart left").succeeds();
    let third = left.comes_up();
    assert!(first != second && second != third);
    assert_eq!(world.container("left").id(), left.id());
}

/// Two `up` at once make each container once.
#[test]
fn two_at_once_make_everything_once() {
    let world = World::with("pair");
    world.coracle("pull busybox").succeeds();
    let (one, other) = (world.start("compose up -d"), world.start("compose up -d"));
    let (one, other) = (one.ends(), other.ends());
    assert!(one.status.success() && other.status.success(), "{}\n{}", one.told(), other.told());
    assert_eq!(world.run("ps -q").succeeds().stdout.lines().count(), 2);
    eventually(seconds(5), || if world.container("left").runs() { Ok(()) } else { Err("left does not run".to_owned()) });
}
