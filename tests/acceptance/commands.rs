//! The commands of `compose` beside `up` and `down`, and their flags: as docker compose has them.

use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

/// A service that ends by itself, one that depends on it to restart with, one that never ends.
const THREE: &str = "
services:
  base:
    image: busybox
    command: [sh, -c, \"trap 'exit 0' TERM; while :; do sleep 1000 & wait $$!; done\"]
    volumes: [\"kept:/data\"]
  user:
    image: busybox
    command: [sh, -c, \"trap 'exit 0' TERM; while :; do sleep 1000 & wait $$!; done\"]
    depends_on: {base: {condition: service_started, restart: true}}
  job:
    image: busybox
    command: [sh, -c, \"read line < /proc/1/environ; exit 3\"]
    profiles: [once]
volumes:
  kept:
  idle:
";

/// What is there already is said to run; a dry run and `plan` say the same and do nothing.
#[test]
fn what_is_planned_is_what_is_done() {
    let world = World::with_file(THREE);
    let plan = world.run("plan").exits_with(2);
    let dry = world.run("up -d --dry-run").exits_with(2);
    assert_eq!(plan.stdout, dry.stdout);
    assert!(plan.stdout.contains("create container project-base-1") && !plan.stdout.contains("idle"), "{}", plan.told());
    world.run("--all-resources plan").exits_with(2).says("create volume project_idle");
    world.run("plan --format json").exits_with(2).says("\"action\": \"create-container\"");
    assert_eq!(world.coracle("ps -a -q").succeeds().stdout, "");

    world.run("up -d").succeeds();
    let again = world.run("up -d").succeeds();
    world.run("up -d --dry-run").succeeds();
    assert!(again.stderr.contains(" Container project-base-1  Running\n"), "{}", again.told());
    assert_eq!(world.run("plan").exits_with(0).stdout, "");
    let before = world.container("base").process();
    for verb in ["stop", "restart", "kill", "pause", "rm -sf", "down -v", "scale base=2", "up --force-recreate -d", "run --rm base true"] {
        // Only `up` tells by its exit status that there is something to do.
        let told = world.run(&format!("--dry-run {verb}")).exits_with(if verb.starts_with("up") { 2 } else { 0 });
        assert!(told.stdout.starts_with("1. "), "{}", told.told());
    }
    assert_eq!(world.container("base").process(), before);
    world.run("up -d --remove-orphans --no-recreate --force-recreate").exits_with(1);
    world.run("up -d --abort-on-container-exit").exits_with(1).complains("--abort-on-container-exit");
    world.run("down -v").succeeds();
}

/// The lists have docker compose's columns.
#[test]
fn the_lists_have_their_columns() {
    let world = World::with_file(THREE);
    world.run("up -d --scale base=2").succeeds();
    let heads = [
        ("ps", "NAME IMAGE COMMAND SERVICE CREATED STATUS PORTS"),
        ("ls", "NAME STATUS CONFIG FILES"),
        ("images", "CONTAINER REPOSITORY TAG PLATFORM IMAGE ID SIZE CREATED"),
        ("top", "SERVICE # UID PID PPID C STIME TTY TIME CMD"),
        ("volumes", "DRIVER VOLUME NAME"),
    ];
    for (verb, head) in heads {
        let told = world.run(verb).succeeds();
        assert_eq!(told.stdout.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" "), head, "{verb}");
    }
    assert_eq!(world.run("ps --services").succeeds().stdout, "base\nuser\n");
    assert_eq!(world.run("ps --format {{.Name}}={{.State}} user").succeeds().line(), "project-user-1=running");
    assert_eq!(world.run("images -q").succeeds().stdout.lines().count(), 1, "each image once");
    assert_eq!(world.run("volumes -q base").succeeds().line(), "project_kept");
    assert_eq!(world.run("volumes -q user").succeeds().line(), "");
    assert_eq!(world.run("ls -q --filter name=^proj.ct$").succeeds().line(), "project");
    assert_eq!(world.coracle("ps -q --filter name=base-[12]$").succeeds().stdout.lines().count(), 2);
    assert_eq!(world.coracle("ps -q --filter name=^ase").succeeds().stdout, "");
    world.file("compose.yaml", "services: {user: {image: busybox, command: sleep 1000}}");
    assert_eq!(world.run("ps --services --orphans=false").succeeds().line(), "user");
    assert_eq!(world.run("ps --services").succeeds().stdout, "base\nuser\n");
    world.run("kill --dry-run").succeeds().says("kill container project-user-1");
    world.run("down --remove-orphans -v -t 0").succeeds();
    world.is_empty();
}

/// `restart`, `scale`, `wait` and `down` of single services touch what they are meant to.
#[test]
fn single_services_are_meant() {
    let world = World::with_file(THREE);
    world.run("up -d").succeeds();
    let (base, user) = (world.container("base").comes_up(), world.container("user").comes_up());
    world.run("restart --no-deps base").succeeds();
    assert_eq!(world.container("user").process(), user, "left alone");
    world.run("restart base").succeeds();
    assert_ne!(world.container("user").comes_up(), user, "asks to be restarted with it");
    assert_ne!(world.container("base").comes_up(), base);

    world.run("scale user=2").succeeds();
    assert_eq!(world.run("ps -q user").succeeds().stdout.lines().count(), 2);
    let waiting = world.start("compose wait base");
    world.run("stop base").succeeds();
    let told = waiting.ends().exits_with(0);
    assert!(told.stdout.contains("exited with status code 0"), "{}", told.told());
    // It used to depend on the moment whether the end was told or refused.
    world.run("wait base").exits_with(0).says("exited with status code 0");
    world.run("start --wait --wait-timeout 30 base").succeeds();
    assert!(world.container("base").runs());

    world.run("down user").succeeds();
    assert_eq!(world.run("ps -a --services").succeeds().line(), "base", "only what was named");
    assert_eq!(world.run("-p other ps -q").succeeds().stdout, "");
    world.run("publish registry/name").exits_with(1).complains("hint:");
    world.run("version --short").succeeds();
    let waiting = world.start("compose wait --down-project base");
    world.run("stop base").succeeds();
    waiting.ends();
    eventually(seconds(10), || if world.coracle("ps -a -q").succeeds().stdout.is_empty() { Ok(()) } else { Err("not down".to_owned()) });
    world.run("down -v").succeeds();
}

/// `run` and `up` end with the codes that they are asked for.
#[test]
fn exit_codes_are_those_of_the_containers() {
    let world = World::with_file(THREE);
    world.run("run --rm -T job").exits_with(3);
    world.run("run --rm -T --pull never -e A=b --env-from-file vars base sh -c 'exit 4'").exits_with(1).complains("vars");
    world.file("vars", "A=\"from a file\"\nB=two\n");
    let told = world.run("run --rm -T --no-deps --env-from-file vars -e B=here base sh -c 'echo $A $B'").succeeds();
    assert_eq!(told.line(), "from a file here");
    world.run("run --rm -T --cap-drop ALL --entrypoint \"sh -c 'grep CapEff /proc/self/status'\" base").succeeds().says("0000000000000000");
    world.run("--profile once up --exit-code-from job").exits_with(3);
    world.run("--profile once up --abort-on-container-failure --no-attach base").exits_with(3);
    world.run("--profile once up --abort-on-container-exit --attach job").exits_with(3);
    world.run("--profile once down -v").succeeds();
}

/// What an `up` in the foreground stops in the end is what it was asked for, not what that depends on, nor anything else.
#[test]
fn an_attached_up_leaves_the_others_alone() {
    let image = "image: busybox, stop_grace_period: 0s";
    let job = format!("{{{image}, command: sh -c 'exit 3', depends_on: [db], profiles: [jobs]}}");
    let world = World::with_file(&format!("services:\n  db: {{{image}, command: sleep 1000}}\n  job: {job}\n"));
    world.run("up -d").succeeds();
    let before = world.container("db").process();
    world.run("up --abort-on-container-exit job").exits_with(3);
    assert_eq!(world.container("db").process(), before);
}

/// `attach` joins a service's container, and its keys leave it alone.
#[test]
fn a_service_is_joined_and_left() {
    let world = World::with_file("services: {talker: {image: busybox, tty: true, stdin_open: true, command: sh}}");
    world.run("up -d").succeeds();
    let mut attached = world.start_on_terminal("compose attach --detach-keys ctrl-x,y talker");
    attached.types("echo $((40+2))\n");
    attached.prints("42");
    attached.types("\u{18}y");
    attached.ends().exits_with(0);
    let mut running = world.start_on_terminal("compose exec talker sh");
    running.types("echo $((40+3)); sleep 555\n");
    running.prints("43");
    running.types("\u{10}\u{11}");
    running.ends().exits_with(0);
    let sleeps = |process: &crate::support::Process| process.command == "sleep 555";
    assert!(world.container("talker").processes().iter().any(sleeps), "the command goes on");
}
