//! Exit statuses, and what is printed for scripts: as docker and docker compose have them.

use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

/// A service with a health check that fails, one in a profile.
const TWO: &str = "
services:
  sick:
    image: busybox
    command: sh -c 'echo up; exec sleep 1000'
    stop_grace_period: 0s
    healthcheck: {test: \"echo no such luck; exit 3\", interval: 100ms, retries: 2}
  tool:
    image: busybox
    command: sleep 1000
    stop_grace_period: 0s
    profiles: [tools]
";

/// What a command line is wrong about is told by Docker's exit statuses.
#[test]
fn wrong_words_have_dockers_statuses() {
    let world = World::with_file(TWO);
    let table = [
        ("compose up --nonsense", 1),
        ("compose ls --format nonsense", 1),
        ("compose logs --index 1", 1),
        ("compose start", 1),
        ("compose -p nobody start", 1),
        ("run --nonsense busybox", 125),
        ("run", 1),
        ("ps --nonsense", 125),
        ("version nonsense", 1),
        ("volume", 0),
        ("ps --format {{nonsense}}", 1),
    ];
    for (words, status) in table {
        world.coracle(words).exits_with(status);
    }
}

/// `pause`, `logs --index`, `run` and `exec` say what they could not do, and a container that could not start does not stay.
#[test]
fn what_cannot_be_done_is_told() {
    let world = World::with_file(TWO);
    world.run("up -d").succeeds();
    world.run("unpause sick").exits_with(1).complains("not paused");
    world.run("pause sick").succeeds();
    world.run("pause sick").exits_with(1).complains("paused");
    world.run("unpause sick").succeeds();
    world.run("logs --index 7 sick").exits_with(1);
    world.run("run --rm --no-deps sick no-such-program").exits_with(1).complains("no-such-program");
    assert_eq!(world.coracle("ps -aq").succeeds().stdout.lines().count(), 1, "what was to be removed is gone");
    world.run("exec sick no-such-program").exits_with(127);
    world.run("exec -u nobody-here sick true").exits_with(1);
    // It used to be made.
    world.run("exec -w /not/there sick true").exits_with(127).complains("/not/there");
    assert!(!world.container("sick").sh("ls -d /not").stdout.contains("/not"));
    assert_eq!(world.container("sick").status("Groups").trim(), "0");
    let id = world.run("run -d --no-deps sick sleep 1000").succeeds().line().to_owned();
    assert_eq!(id.len(), 64);
    world.run("down -t 0 --remove-orphans").succeeds();
}

/// `down` leaves the services alone that no active profile enables.
#[test]
fn down_is_for_active_profiles() {
    let world = World::with_file(TWO);
    world.run("--profile tools up -d").succeeds();
    world.run("down").succeeds();
    assert_eq!(world.run("ps -a --services").succeeds().stdout, "tool\n");
    assert!(world.container("tool").runs());
    assert!(world.coracle("network ls --format {{.Name}}").succeeds().stdout.contains("project_default"));
    assert_eq!(world.run("rm -sf tool").succeeds().stdout, "Going to remove project-tool-1\n");
    world.run("--profile tools down").succeeds();
    world.is_empty();
}

/// `inspect` tells the results of the last checks.
#[test]
fn results_of_health_checks_are_kept() {
    let world = World::with_file(TWO);
    world.run("up -d").succeeds();
    eventually(seconds(20), || {
        let told = world.coracle("inspect -f {{.State.Health.FailingStreak}} project-sick-1").succeeds();
        if told.line().parse::<u32>().is_ok_and(|streak| streak > 5) { Ok(()) } else { Err(told.told()) }
    });
    let health = "{{with .State.Health}}{{.Status}} {{len .Log}} {{with index .Log 4}}{{.ExitCode}} {{.Output}}{{end}}{{end}}";
    let told = world.coracle_with(&["inspect", "-f", health, "project-sick-1"]).succeeds();
    assert_eq!(told.stdout, "unhealthy 5 3 no such luck\n\n");
    let fields = "{{.State.Status}} {{json .Config.Entrypoint}} {{.Config.Cmd}} {{.HostConfig.CapAdd}} {{.State.Health.Status}}";
    let told = world.coracle_with(&["inspect", "-f", fields, "project-sick-1"]).succeeds();
    assert_eq!(told.line(), "running null [sh -c echo up; exec sleep 1000] [] unhealthy");
    world.coracle("inspect -f {{.State.Nonsense}} project-sick-1").exits_with(1);
    let told = world.coracle("ps --no-trunc --format {{.Command}}").succeeds();
    assert_eq!(told.line(), "\"sh -c 'echo up; exec sleep 1000'\"");
    world.run("down").succeeds();
}
