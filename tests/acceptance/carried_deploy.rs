//! `deploy`, and what of a service is not carried out: named once, and no reason to make anything anew.

use crate::support::World;
use crate::support::limit_of;

const PROJECT: &str = "name: deployed
services:
  web:
    image: busybox
    command: sleep 1000
    deploy:
      replicas: 2
      resources:
        limits: {cpus: \"0.25\", memory: 64m, pids: 33}
        reservations: {memory: 32m, cpus: \"0.1\"}
      restart_policy: {condition: on-failure, max_attempts: 2, delay: 5s}
      placement: {constraints: [node.role==manager]}
      update_config: {order: start-first}
      labels: {a: b}
    ports: [{target: 80, app_protocol: http}]
    cpu_percent: 50
";

/// Limits and replicas are there; the rest is named in one line, and only where a container is made.
#[test]
fn deploy_is_carried_out_as_far_as_one_machine_can() {
    let world = World::with_file(PROJECT);
    let told = world.run("up -d").succeeds();
    let lines: Vec<&str> = told.stderr.lines().filter(|line| line.contains("not carried out")).collect();
    assert_eq!(
        lines,
        ["warning: service `web`: `cpu_percent`, `deploy.labels`, `deploy.placement`, `deploy.resources.reservations.cpus`, \
          `deploy.restart_policy.delay`, `deploy.update_config` and `ports.app_protocol` are not carried out"]
    );
    for number in ["1", "2"] {
        let web = world.named(&format!("deployed-web-{number}"));
        assert_eq!(limit_of(&web, "memory", &["memory.limit_in_bytes", "memory.max"]), (64 << 20).to_string());
        assert_eq!(limit_of(&web, "memory", &["memory.soft_limit_in_bytes", "memory.low"]), (32 << 20).to_string());
        assert_eq!(limit_of(&web, "pids", &["pids.max"]), "33");
        assert!(limit_of(&web, "cpu", &["cpu.cfs_quota_us", "cpu.max"]).starts_with("25000"));
    }
    let policy = world.coracle("inspect --format '{{json .HostConfig.RestartPolicy}}' deployed-web-1").succeeds();
    assert!(policy.stdout.contains("on-failure") && policy.stdout.contains('2'), "{}", policy.stdout);
    assert!(!world.run("up -d").succeeds().stderr.contains("not carried out"));
    assert_eq!(world.run("config").succeeds().stderr, "");
    world.run("plan").succeeds();
}

/// What a container is not made with may change; what it is made with calls for another one, and that is said.
#[test]
fn a_container_is_made_anew_for_what_it_is_made_with() {
    let world = World::new();
    let file = |lines: &str| {
        world.file(
            "compose.yaml",
            &format!("name: same\nservices:\n  web:\n    image: busybox\n    command: sleep 1000\n    {lines}\n  db: {{image: busybox, command: sleep 1000}}\n"),
        )
    };
    file("labels: {a: b}");
    world.run("up -d").succeeds();
    let before = world.container("web").id().to_owned();
    for lines in [
        "x-note: 1",
        "depends_on: [db]",
        "profiles: []",
        "attach: false",
        "pull_policy: missing",
        "scale: 1",
        "build: .",
        "develop: {watch: [{path: ., action: rebuild}]}",
        "deploy: {replicas: 1, update_config: {order: start-first}, placement: {constraints: [a==b]}}",
    ] {
        file(&format!("labels: {{a: b}}\n    {lines}"));
        let told = world.run("plan");
        assert_eq!(told.status.code(), Some(0), "{lines}: {}", told.told());
    }
    let changes = [
        ("labels: {a: c}", "labels.a"),
        ("labels: {a: c}\n    environment: {A: b}", "environment.A"),
        ("labels: {a: c}\n    environment: {A: b}\n    deploy: {resources: {limits: {pids: 50}}}", "deploy.resources.limits.pids"),
    ];
    for (lines, reason) in changes {
        file(lines);
        world.run("plan").exits_with(2).says(&format!("recreate container same-web-1 (config changed: {reason})"));
        world.run("up -d").succeeds();
        world.run("plan").exits_with(0);
    }
    assert_ne!(world.container("web").id(), before);
}

/// A volume keeps what it was made with, and that is said.
#[test]
fn a_volume_with_other_settings_is_told() {
    let file = |options: &str| {
        format!(
            "name: kept\nservices:\n  web: {{image: busybox, command: sleep 1000, volumes: [\"data:/data\", {{type: volume, target: /own, \
             volume: {{labels: {{org.example.own: \"yes\"}}}}}}]}}\nvolumes:\n  data: {{driver_opts: {{type: tmpfs, device: tmpfs, o: \"{options}\"}}}}\n"
        )
    };
    let world = World::with_file(&file("size=1m"));
    world.run("up -d").succeeds();
    let own = world.coracle("volume ls -q --filter label=org.example.own=yes").succeeds();
    assert_eq!(own.line().len(), 64, "{}", own.told());
    world.file("compose.yaml", &file("size=2m"));
    world.run("up -d").succeeds().complains("volume `kept_data` was made with other settings");
    assert!(world.container("web").mount("/data").contains("size=1024k"));
    world.run("down -v").succeeds();
    world.run("up -d").succeeds();
    assert!(world.container("web").mount("/data").contains("size=2048k"));
}
