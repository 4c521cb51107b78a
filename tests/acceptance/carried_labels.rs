//! Labels and names: what a project writes on all that is its own, and two projects of one file.

use std::collections::BTreeMap;

use crate::support::World;

const PROJECT: &str = "services:
  web:
    image: busybox
    command: sleep 1000
    depends_on: {db: {condition: service_started, restart: true}}
    volumes: [\"data:/data\"]
    labels: {com.docker.compose.service: mine, own: \"1\"}
  db: {image: busybox, command: sh -c 'echo $$NAME > /data/name; exec sleep 1000', environment: {NAME: $COMPOSE_PROJECT_NAME}, volumes: [\"data:/data\"]}
volumes: {data: {labels: {own: volume}}, named: {name: by-name}, outside: {external: true}}
networks: {default: {labels: {own: network}}}
";

fn labels(world: &World, kind: &str, name: &str) -> BTreeMap<String, String> {
    let format = if kind == "container" { "{{json .Config.Labels}}" } else { "{{json .Labels}}" };
    let words: &[&str] = if kind == "container" { &["inspect", "--type", kind] } else { &[kind, "inspect"] };
    let told = world.coracle_with(&[words, &["--format", format, name]].concat()).succeeds();
    serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {}", told.told()))
}

/// Everything of a project says whose it is, as Docker Compose's does.
#[test]
fn everything_says_whose_it_is() {
    let world = World::with_file(PROJECT);
    world.file("more.yaml", "services: {web: {labels: {more: \"2\"}}}\n");
    world.file("some.env", "A=b\n");
    let words = "-p first -f compose.yaml -f more.yaml --env-file some.env";
    world.run(&format!("{words} up -d")).succeeds();
    let mut found = labels(&world, "container", "first-web-1");
    found.retain(|name, _| !name.starts_with("org.opencontainers.image.")); // the image's own
    let project = world.project().display().to_string();
    let image = world.coracle("images -q --no-trunc busybox").succeeds().line().to_owned();
    let expected = [
        ("com.docker.compose.config-hash", String::new()),
        ("com.docker.compose.container-number", "1".to_owned()),
        ("com.docker.compose.depends_on", "db:service_started:true".to_owned()),
        ("com.docker.compose.image", image),
        ("com.docker.compose.oneoff", "False".to_owned()),
        ("com.docker.compose.project", "first".to_owned()),
        ("com.docker.compose.project.config_files", format!("{project}/compose.yaml,{project}/more.yaml")),
        ("com.docker.compose.project.environment_file", "some.env".to_owned()),
        ("com.docker.compose.project.working_dir", project.clone()),
        ("com.docker.compose.service", "web".to_owned()),
        ("com.docker.compose.version", String::new()),
        ("more", "2".to_owned()),
        ("own", "1".to_owned()),
    ];
    assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), expected.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (name, value) in expected.iter().filter(|(_, value)| !value.is_empty()) {
        assert!(found[*name].ends_with(value.as_str()), "{name}: {}", found[*name]);
    }
    let network = labels(&world, "network", "first_default");
    assert_eq!((network["com.docker.compose.network"].as_str(), network["com.docker.compose.project"].as_str()), ("default", "first"));
    assert!(network.contains_key("com.docker.compose.version") && network.contains_key("com.docker.compose.config-hash"));
    assert_eq!(network["own"], "network");
    let volume = labels(&world, "volume", "first_data");
    assert_eq!((volume["com.docker.compose.volume"].as_str(), volume["com.docker.compose.project"].as_str()), ("data", "first"));
    assert!(volume.contains_key("com.docker.compose.version") && volume.contains_key("com.docker.compose.config-hash"));
    assert_eq!(volume["own"], "volume");

    world.run(&format!("{words} up -d --force-recreate --no-deps web")).succeeds();
    assert_eq!(labels(&world, "container", "first-web-1")["com.docker.compose.replace"], "web-1");
    let id = world.run(&format!("{words} run -d --no-deps db sleep 1000")).succeeds().line().to_owned();
    let one_off = labels(&world, "container", &id);
    assert_eq!((one_off["com.docker.compose.oneoff"].as_str(), one_off["com.docker.compose.slug"].len()), ("True", 64));
    assert!(!one_off.contains_key("com.docker.compose.container-number"));
}

/// Two copies of one file under two names do not meet: not in names, networks, volumes, nor when one goes.
#[test]
fn two_copies_of_a_file_run_side_by_side() {
    let world = World::with_file(PROJECT);
    for name in ["one", "two"] {
        world.run(&format!("-p {name} up -d")).succeeds();
    }
    let address = |name: &str| {
        let told = world.coracle(&format!("exec {name}-web-1 sh -c 'nslookup -type=a db | sed -n s/^Address:.//p | tail -n 1'")).succeeds();
        told.line().to_owned()
    };
    assert_ne!(address("one"), address("two"));
    for name in ["one", "two"] {
        let told = world.coracle(&format!("exec {name}-web-1 sh -c 'until cat /data/name; do sleep 0.1; done'")).succeeds();
        assert_eq!(told.line(), name);
    }
    world.run("-p one down -v").succeeds();
    assert!(world.named("two-web-1").runs());
    let left = world.coracle("volume ls -q").succeeds().stdout;
    assert!(!left.contains("one_data") && left.contains("two_data"), "{left}");
    world.run("-p two plan").exits_with(0);
}
