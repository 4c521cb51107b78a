//! What goes with a service's start and stop: hooks, providers, and what is refused before anything begins.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::World;

/// Hooks run in the container, in order, with their own user and variables; what depends on it starts after them.
#[test]
fn hooks_go_with_the_start_and_the_stop() {
    let world = World::with_file(
        "name: hooked
services:
  web:
    image: busybox
    command: sleep 1000
    volumes: [\"./notes:/notes\"]
    environment: {WHERE: container}
    post_start:
      - command: [\"sh\", \"-c\", \"echo $$(id -u) $$WHERE $$NAME $$PWD >> /notes/start\"]
        user: \"7\"
        environment: [NAME=hook]
        working_dir: /tmp
      - {command: \"sh -c 'echo second >> /notes/start'\"}
    pre_stop:
      - {command: [\"sh\", \"-c\", \"echo stopping >> /notes/stop\"]}
      - {command: [\"false\"]}
  after:
    image: busybox
    command: sh -c 'cp /notes/start /notes/seen; exec sleep 1000'
    volumes: [\"./notes:/notes\"]
    depends_on: [web]
",
    );
    fs::create_dir(world.project().join("notes")).unwrap();
    fs::set_permissions(world.project().join("notes"), PermissionsExt::from_mode(0o777)).unwrap();
    let note = |name: &str| fs::read_to_string(world.project().join("notes").join(name)).unwrap_or_default();
    fs::write(world.project().join("notes/start"), "").unwrap();
    fs::set_permissions(world.project().join("notes/start"), PermissionsExt::from_mode(0o666)).unwrap();
    world.run("up -d").succeeds();
    assert_eq!(note("start"), "7 container hook /tmp\nsecond\n");
    world.container("after").comes_up();
    crate::support::eventually(crate::support::seconds(10), || match note("seen") == note("start") {
        true => Ok(()),
        false => Err(format!("seen: {}", note("seen"))),
    });
    world.run("up -d").succeeds();
    assert_eq!(note("start").lines().count(), 2, "nothing was started");
    world.run("stop web").succeeds().complains("the hook `false`");
    assert_eq!(note("stop"), "stopping\n");
    world.run("down").succeeds();
    assert_eq!(note("stop"), "stopping\n", "what is down is not stopped");
}

/// A hook that fails is told with its output, and the command fails.
#[test]
fn a_failed_hook_is_a_failure() {
    let world = World::with_file(
        "services:
  web: {image: busybox, command: sleep 1000, post_start: [{command: [\"sh\", \"-c\", \"echo no such table; exit 3\"]}]}
",
    );
    world.run("up -d").exits_with(1).complains("no such table").complains("exit status: 3");
}

/// A policy that is none is refused before an image is pulled, at its place; `config` prints it all the same.
#[test]
fn an_unknown_restart_policy_is_refused_at_its_place() {
    let world = World::with_file("name: p\nservices:\n  web:\n    image: busybox\n    restart: sometimes\n");
    world.run("config").succeeds().says("restart: sometimes");
    for words in ["up -d", "create", "up --dry-run", "run --rm web true"] {
        let told = world.run(words).exits_with(1);
        assert_eq!(
            told.stderr,
            "error: cannot make a container of service `web`
  because: cannot understand `restart: sometimes`
  because: a restart policy is `no`, `always`, `unless-stopped` or `on-failure[:count]`
 --> compose.yaml:5:14
  |
5 |     restart: sometimes
  |              ^^^^^^^^^
",
            "{words}"
        );
    }
    assert_eq!(world.coracle("images -q").succeeds().stdout, "");
}

/// What cannot be given is refused before anything begins, as docker compose refuses it.
#[test]
fn what_cannot_be_given_is_refused() {
    let refused = |service: &str, rest: &str, words: &str| {
        let world = World::with_file(&format!("services:\n  web: {{image: busybox, {service}}}\n{rest}"));
        world.run("up -d").exits_with(1).complains(words);
        assert_eq!(world.coracle("images -q").succeeds().stdout, "");
    };
    refused("secrets: [token]", "secrets: {token: {external: true}}\n", "external secret `token`");
    refused("models: [llm]", "models: {llm: {model: ai/smollm2}}\n", "cannot give it a model");
    refused("storage_opt: {size: 1G}", "", "cannot carry out `storage_opt`");
    refused("runtime: runsc", "", "there is no runtime `runsc`");
}

/// First steps run to their end before the service, each in a container of its own that sees the service's volumes.
#[test]
fn first_steps_run_before_the_service() {
    let world = World::with_file(
        "name: first
services:
  web:
    image: busybox
    command: sh -c 'cp /data/log /data/seen; exec sleep 1000'
    environment: {WHERE: service}
    volumes: [\"data:/data\", \"/own\"]
    deploy: {replicas: 2}
    pre_start:
      - command: [\"sh\", \"-c\", \"echo $$WHERE $$NAME $$(id -u) $$PWD $$$$ >> /data/log; echo here > /own/file\"]
        environment: [NAME=step]
        working_dir: /tmp
      - {command: [\"sh\", \"-c\", \"echo each >> /data/log; cat /own/file >> /data/log || true\"], per_replica: true}
volumes: {data: {}}
",
    );
    world.run("up -d").succeeds();
    let log = || fs::read_to_string(world.root().join("volumes/first_data/_data/log")).unwrap_or_default();
    // The first step is for both containers and sees what the first has; the second is for each.
    assert_eq!(log(), "service step 0 /tmp 1\neach\nhere\neach\n");
    let told = world.coracle("ps -a --format {{.Names}}").succeeds();
    assert_eq!(told.stdout.lines().filter(|name| name.contains("pre_start")).count(), 0, "{}", told.told());
    let seen = fs::read_to_string(world.root().join("volumes/first_data/_data/seen"));
    assert!(seen.is_ok_and(|seen| seen.starts_with("service step")), "the steps came first");
    let before = log();
    world.run("up -d").succeeds();
    assert_eq!(log(), before, "what runs is not prepared again");
    world.run("down -v").succeeds();
}

/// A first step that fails keeps its service down, and says what it said.
#[test]
fn a_failed_first_step_keeps_the_service_down() {
    let world = World::with_file(
        "name: failing
services:
  web: {image: busybox, command: sleep 1000, pre_start: [{command: [\"sh\", \"-c\", \"echo no such table; exit 3\"]}]}
",
    );
    world.run("up -d").exits_with(1).complains("no such table").complains("it ended with status 3");
    let told = world.coracle("ps -a --format {{.Names}}={{.State}}").succeeds();
    assert_eq!(told.stdout, "failing-web-1=created\n");
}

/// A provider comes when what it depends on is healthy, and before what depends on it; each is made once.
#[test]
fn a_provider_comes_in_its_turn() {
    let world = World::with_file(
        "name: turns
services:
  db:
    image: busybox
    command: sh -c 'sleep 0.3; echo ready > /notes/db; exec sleep 1000'
    volumes: [\"./notes:/notes\"]
    healthcheck: {test: test -f /notes/db, interval: 100ms, retries: 100}
  cloud:
    provider: {type: ./provider}
    depends_on: {db: {condition: service_healthy}}
  web: {image: busybox, command: sleep 1000, depends_on: [cloud]}
",
    );
    fs::create_dir(world.project().join("notes")).unwrap();
    let script = "#!/bin/sh\n[ \"$2\" = metadata ] && exit 1\n[ \"$3\" = up ] && echo \"{\\\"type\\\": \\\"setenv\\\", \\\"message\\\": \\\"DB=$(cat notes/db)\\\"}\"\nexit 0\n";
    world.file("provider", script);
    fs::set_permissions(world.project().join("provider"), PermissionsExt::from_mode(0o755)).unwrap();
    world.run("up -d --force-recreate").succeeds();
    let told = world.run("exec -T web sh -c 'echo $CLOUD_DB'");
    assert_eq!(told.stdout, "ready\n", "{}", told.told());
    let before = (world.container("db").id().to_owned(), world.container("web").id().to_owned());
    world.run("up -d").succeeds();
    assert_eq!(before, (world.container("db").id().to_owned(), world.container("web").id().to_owned()), "nothing has changed");
}

const PROVIDER: &str = "#!/bin/sh
echo \"$@\" >> calls
case \"$3\" in
  up)
    echo '{\"type\": \"info\", \"message\": \"making it\"}'
    echo '{\"type\": \"get-service-config\"}'
    read -r config; echo \"$config\" > config
    echo \"{\\\"type\\\": \\\"setenv\\\", \\\"message\\\": \\\"URL=db://$(cat url)\\\"}\"
    echo '{\"type\": \"rawsetenv\", \"message\": \"PLAIN=yes\"}' ;;
  down) echo '{\"type\": \"info\", \"message\": \"taking it down\"}' ;;
  *) exit 1 ;;
esac
";

/// A service that a program provides: its variables reach who depends on it, and it is told of the end.
#[test]
fn a_provided_service_gives_its_variables_to_others() {
    let world = World::with_file(
        "name: cloud
services:
  db:
    provider: {type: ./awesome, options: {type: mysql, size: [\"1\", \"2\"]}}
  app:
    image: busybox
    command: sleep 1000
    depends_on: [db]
  other: {image: busybox, command: sleep 1000}
",
    );
    world.file("awesome", PROVIDER);
    world.file("url", "one");
    fs::set_permissions(world.project().join("awesome"), PermissionsExt::from_mode(0o755)).unwrap();
    world.run("up -d").succeeds().complains("making it");
    let app = world.container("app");
    assert_eq!(app.sh("echo $DB_URL $PLAIN").succeeds().line(), "db://one yes");
    assert_eq!(world.container("other").sh("echo $DB_URL").succeeds().line(), "");
    let read = |name: &str| fs::read_to_string(world.project().join(name)).unwrap();
    assert!(read("calls").contains("compose --project-name=cloud up --size=1 --size=2 --type=mysql db\n"), "{}", read("calls"));
    assert!(read("config").contains("\"provider\""));
    let before = app.id().to_owned();
    world.run("up -d").succeeds();
    assert_eq!(world.container("app").id(), before);
    world.file("url", "two");
    world.run("up -d").succeeds();
    assert_eq!(world.container("app").sh("echo $DB_URL").succeeds().line(), "db://two");
    world.run("down").succeeds();
    assert!(read("calls").ends_with("compose --project-name=cloud down --size=1 --size=2 --type=mysql db\n"), "{}", read("calls"));
    world.file("compose.yaml", "services:\n  db: {provider: {type: no-such-provider}}\n");
    world.run("up -d").exits_with(1).complains("there is no provider `no-such-provider`");
}
