//! Docker's own first project, unchanged: read and planned here, run where Docker Hub answers.

use crate::support::World;

/// The file is understood as it stands.
#[test]
fn the_file_is_understood() {
    let world = World::with("getting-started");
    let mut services: Vec<_> = world.run("config --services").succeeds().stdout.lines().map(str::to_owned).collect();
    services.sort();
    assert_eq!(services, ["redis", "web"]);
    let told = world.run("config").succeeds();
    for line in ["name: project", "    image: redis:alpine", "        target: 5000", "        published: \"8000\""] {
        assert!(told.stdout.contains(line), "no `{line}`: {}", told.told());
    }
    world.run("config --images").succeeds().says("redis:alpine").says("project-web");
}

/// The plan names every step, and nothing is fetched or made for it.
#[test]
fn the_plan_names_every_step() {
    let world = World::with("getting-started");
    let told = world.run("up --dry-run").exits_with(2);
    let plan = format!("{}{}", told.stdout, told.stderr);
    for word in ["redis:alpine", "build", "web", "network"] {
        assert!(plan.contains(word), "no `{word}` in the plan: {}", told.told());
    }
    assert_eq!(world.coracle("images -q").succeeds().stdout, "");
}
