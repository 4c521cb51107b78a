//! What a user is told: the whole of standard error, for every bad input we could think of.

use crate::support::World;

/// Runs a compose file that cannot be right and returns the complaint.
fn complaint(compose: &str) -> String {
    let world = World::with_file(compose);
    let told = world.run("up -d");
    assert_eq!(told.status.code(), Some(1), "{}", told.told());
    assert_eq!(told.stdout, "");
    assert_eq!(world.coracle("ps -a -q").succeeds().stdout, "", "nothing half made");
    told.stderr
}

fn golden(found: &str, wanted: &[&str]) {
    assert_eq!(found, wanted.join("\n") + "\n", "\n--- found\n{found}---");
}

#[test]
fn no_file() {
    let world = World::new();
    let told = world.run("up").exits_with(1).complains("cannot").complains("compose.yaml").complains("hint:");
    assert_eq!(told.stderr.matches("error:").count(), 1);
}

#[test]
fn an_unknown_key() {
    let found = complaint("services:\n  web:\n    build: .\n    imagee: busybox\n");
    golden(
        &found,
        &[
            "error: cannot load project `project`",
            "  because: service `web` has no key `imagee`",
            " --> compose.yaml:4:5",
            "  |",
            "4 |     imagee: busybox",
            "  |     ^^^^^^",
            "hint: did you mean `image`?",
        ],
    );
}

#[test]
fn a_wrong_type() {
    let found = complaint("services:\n  web:\n    image: busybox\n    ports: 80\n");
    assert!(found.contains(" --> compose.yaml:4:12\n") && found.contains("4 |     ports: 80\n") && found.contains("ports"), "{found}");
}

#[test]
fn broken_yaml() {
    let found = complaint("services:\n  web: [\n");
    assert!(found.starts_with("error: cannot") && found.contains(" --> compose.yaml:"), "{found}");
}

/// All faults of a file at once, not one a run.
#[test]
fn several_faults_at_once() {
    let found = complaint(
        "services:\n  web:\n    imagee: busybox\n    build: .\n    privileged: [maybe]\n  db:\n    image: busybox\n    depends_on: [nobody]\n",
    );
    for place in ["3 faults", "compose.yaml:3:5", "compose.yaml:5:", "nobody"] {
        assert!(found.contains(place), "no {place} in\n{found}");
    }
}

#[test]
fn an_unknown_image() {
    let found = complaint("services:\n  web:\n    image: no-such-image:9\n");
    assert!(found.contains("error: cannot") && found.contains("no-such-image:9") && found.contains("hint:"), "{found}");
}

#[test]
fn an_unreachable_registry() {
    let world = World::new();
    world
        .coracle("pull 127.0.0.1:9/nothing:1")
        .exits_with(1)
        .complains("error: cannot")
        .complains("127.0.0.1:9")
        .complains("efused")
        .complains("hint:");
}

#[test]
fn an_unknown_instruction() {
    let world = World::new();
    world.file("Dockerfile", "FROM busybox\nRUNN true\nCOPPY a b\n");
    let told = world.coracle("build .").exits_with(1);
    for part in ["Dockerfile:2:1", "RUNN true", "^^^^", "`RUN`", "Dockerfile:3:1"] {
        assert!(told.stderr.contains(part), "no {part} in {}", told.told());
    }
}

#[test]
fn a_failing_run() {
    let world = World::new();
    world.file("Dockerfile", "FROM busybox\nRUN echo why it failed && exit 5\n");
    let told = world.coracle("build -t never .").exits_with(1).complains("Dockerfile:2:1").complains("why it failed").complains("5");
    assert!(!told.stderr.contains("panicked"));
    assert!(!world.coracle("images").succeeds().stdout.contains("never"));
    world.is_empty();
}

#[test]
fn a_missing_copy_source() {
    let world = World::new();
    world.file("Dockerfile", "FROM busybox\nCOPY  missing.txt /\n");
    world.coracle("build .").exits_with(1).complains("Dockerfile:2:7").complains("missing.txt").complains("hint:");
}

#[test]
fn no_dockerfile() {
    let world = World::new();
    world.coracle("build .").exits_with(1).complains("error: cannot").complains("Dockerfile");
}

#[test]
fn an_unknown_service() {
    let world = World::with("pair");
    world.run("up -d lefd").exits_with(1).complains("lefd").complains("hint: the services are left, right");
    assert_eq!(world.coracle("ps -a -q").succeeds().stdout, "");
}

#[test]
fn an_unknown_container() {
    let world = World::new();
    world.coracle("logs nobody").exits_with(1).complains("nobody");
    world.coracle("stop nobody").exits_with(1).complains("nobody");
    world.coracle("exec nobody true").exits_with(1).complains("nobody");
}
