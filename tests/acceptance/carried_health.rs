//! Health checks with all their settings, what waits for them, and what goes with a dependency.

use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

const CHECKS: &str = "name: checks
x-usual: &usual {image: busybox, command: sleep 1000}
services:
  listed: {<<: *usual, healthcheck: {test: [CMD, test, -e, /ok], interval: 100ms, retries: 2}}
  spoken: {<<: *usual, healthcheck: {test: \"test -e /ok && test $$0 = /bin/sh\", interval: 100ms, retries: 100}}
  slow: {<<: *usual, healthcheck: {test: sleep 60, interval: 100ms, timeout: 300ms, retries: 1}}
  starting: {<<: *usual, healthcheck: {test: test -e /ok, interval: 1h, start_period: 1h, start_interval: 100ms, retries: 1}}
  none: {<<: *usual, healthcheck: {test: [NONE]}}
  off: {<<: *usual, healthcheck: {disable: true}}
";

/// Forms of the test, retries, time limits, and the quicker steps while a service starts.
#[test]
fn health_is_what_the_checks_say() {
    let world = World::with_file(CHECKS);
    world.run("up -d").succeeds();
    let health = |service: &str| {
        let name = format!("checks-{service}-1");
        world.coracle_with(&["inspect", "--format", "{{with .State.Health}}{{.Status}}{{end}}", &name]).succeeds().stdout
    };
    let becomes = |service: &str, status: &str| {
        eventually(seconds(20), || {
            let found = health(service);
            if found.starts_with(status) { Ok(()) } else { Err(format!("{service}: {found}")) }
        });
    };
    becomes("listed", "unhealthy");
    becomes("slow", "unhealthy");
    // Failures do not count while it starts.
    assert!(health("starting").starts_with("starting"), "{}", health("starting"));
    for service in ["listed", "spoken", "starting"] {
        world.container(service).sh("touch /ok").succeeds();
        becomes(service, "healthy");
    }
    assert_eq!((health("none").trim(), health("off").trim()), ("", ""));
}

const CHAIN: &str = "name: chain
x-usual: &usual {image: busybox, command: sleep 1000}
services:
  prepared: {image: busybox, command: sh -c 'echo done > /notes/prepared'
    , volumes: [\"./notes:/notes\"]}
  db: {<<: *usual, healthcheck: {test: test -e /notes/ready, interval: 100ms, retries: 1000}, volumes: [\"./notes:/notes\"]}
  opener: {image: busybox, command: sh -c 'touch /notes/ready; exec sleep 1000', volumes: [\"./notes:/notes\"]}
  optional: {<<: *usual, profiles: [never]}
  web:
    image: busybox
    command: sh -c 'cat /notes/prepared > /notes/seen; ls /notes >> /notes/seen; exec sleep 1000'
    volumes: [\"./notes:/notes\"]
    depends_on:
      prepared: {condition: service_completed_successfully}
      db: {condition: service_healthy, restart: true}
      opener: {condition: service_started}
      optional: {condition: service_healthy, required: false}
";

/// The three conditions hold before a service starts; it is restarted with what it depends on, if it asks for that.
#[test]
fn a_service_starts_after_what_it_depends_on() {
    let world = World::with_file(CHAIN);
    world.outside(&["mkdir", "notes"]).succeeds();
    world.run("up -d").succeeds();
    let web = world.container("web");
    let seen = || std::fs::read_to_string(world.project().join("notes/seen")).unwrap_or_default();
    eventually(seconds(10), || if seen().starts_with("done\n") && seen().contains("ready") { Ok(()) } else { Err(seen()) });
    assert_eq!(world.run("ps -a -q").succeeds().stdout.lines().count(), 4, "what is optional is not there");
    let before = web.process();
    let opener = world.container("opener").process();
    world.run("restart db").succeeds();
    assert_ne!(web.comes_up(), before);
    assert_eq!(world.container("opener").process(), opener);
}

/// A dependency that fails is a failure of `up`, unless it is not required.
#[test]
fn a_failed_dependency_is_told() {
    let file = |required: bool| {
        format!(
            "name: failing\nservices:\n  job: {{image: busybox, command: sh -c 'exit 3'}}\n  web:\n    image: busybox\n    \
             command: sleep 1000\n    depends_on: {{job: {{condition: service_completed_successfully, required: {required}}}}}\n"
        )
    };
    let world = World::with_file(&file(true));
    let told = world.run("up -d").exits_with(1).complains("job");
    assert!(told.stderr.contains('3'), "{}", told.told());
    assert!(!world.container("web").runs());
    world.file("compose.yaml", &file(false));
    world.run("up -d").succeeds();
    assert!(world.container("web").runs());
}
