//! `compose pull --lock` and `up --locked`: the images a stack was tried with, whatever their tags mean by now.

use std::fs;

use crate::support::Door;
use crate::support::OwnRegistry;
use crate::support::World;

#[test]
fn a_locked_stack_keeps_its_images() {
    let world = World::new();
    let registry = OwnRegistry::start(&world, 5001, Door::Open);
    let name = format!("{}/shop/web:1", registry.address());
    publish(&world, &name, "first");
    world.file("compose.yaml", &format!("services:\n  web:\n    image: {name}\n    command: sleep 1000\n"));
    world.run("up -d --locked").exits_with(1).complains("compose pull --lock");
    world.run("pull --lock").succeeds().complains("1 images are locked in");
    let lock = fs::read_to_string(world.project().join("compose.lock")).unwrap();
    assert!(lock.contains(&format!("\"{name}\": \"sha256:")), "{lock}");

    publish(&world, &name, "second");
    world.coracle("image prune -af").succeeds();
    world.run("up -d --dry-run --locked").exits_with(2).says("(compose.lock)");
    world.run("up -d --locked").succeeds();
    assert_eq!(said(&world), "first");
    let id = world.container("web").id().to_owned();
    world.run("up -d --locked").succeeds();
    assert_eq!(world.container("web").id(), id, "nothing has changed");

    world.run("up -d --pull always").succeeds();
    assert_eq!(said(&world), "second");
    world.run("up -d --locked").succeeds();
    assert_eq!(said(&world), "first");

    fs::write(world.project().join("compose.lock"), "{\"version\": 1, \"images\": {}}").unwrap();
    world.run("up -d --locked").exits_with(1).complains(&format!("it does not name the image `{name}`"));
    world.run("down").succeeds();
}

/// Builds an image that says so, and pushes it.
fn publish(world: &World, name: &str, text: &str) {
    world.file("image/Dockerfile", &format!("FROM busybox\nRUN echo {text} >/said\n"));
    world.coracle(&format!("build -q -t {name} image")).succeeds();
    world.coracle(&format!("push -q {name}")).succeeds();
    world.coracle(&format!("rmi {name}")).succeeds();
}

fn said(world: &World) -> String {
    world.run("exec -T web cat /said").succeeds().line().to_owned()
}
