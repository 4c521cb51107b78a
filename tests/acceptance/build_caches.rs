//! Caches of builds that others share: in a directory, in a registry, in the image itself.

use std::fs;

use crate::support::Door;
use crate::support::OwnRegistry;
use crate::support::World;

const DOCKERFILE: &str = "FROM busybox AS other\nRUN cat /proc/sys/kernel/random/uuid >/other\n\
    FROM busybox\nRUN cat /proc/sys/kernel/random/uuid >/first\nCOPY --from=other /other /\nCMD cat /first /other\n";

/// Forgets everything, so that only what is elsewhere is a cache.
fn forget(world: &World) {
    world.coracle("image prune -af").succeeds();
    world.coracle("builder prune -af").succeeds();
    let left = fs::read_dir(world.root().join("layers")).map_or(0, |found| found.count());
    assert_eq!(left, 0, "a layer is left");
}

fn made(world: &World, name: &str) -> Vec<String> {
    world.coracle(&format!("run --rm {name}")).succeeds().stdout.lines().map(str::to_owned).collect()
}

/// A directory holds what all stages came to, or only what the image is made of.
#[test]
fn a_cache_lies_in_a_directory() {
    let world = World::new();
    world.file("Dockerfile", DOCKERFILE);
    world.coracle("build -q -t app --cache-to type=local,dest=cache,mode=max --cache-to type=local,dest=small .").succeeds();
    let first = made(&world, "app");
    forget(&world);
    let again = world.coracle("build -t app --progress plain --cache-from type=local,src=cache .").succeeds();
    assert_eq!(made(&world, "app"), first, "{}", again.told());
    assert_eq!(again.stderr.matches("CACHED").count(), 3, "{}", again.told());
    // What was brought is ours from then on.
    world.coracle("image prune -af").succeeds();
    world.coracle("build -q -t app .").succeeds();
    assert_eq!(made(&world, "app"), first);
    forget(&world);
    world.coracle("build -q -t app --cache-from type=local,src=small .").succeeds();
    let third = made(&world, "app");
    assert_eq!(third[0], first[0], "the image's own steps");
    assert_ne!(third[1], first[1], "another stage's step is not in the small cache");
    world.file("Dockerfile", "FROM busybox\nRUN echo new\n");
    world.coracle("build --progress plain --cache-from type=local,src=nowhere .").succeeds().complains("the cache `nowhere` is left out");
    world.coracle("build --cache-from type=gha .").exits_with(125).complains("there are registry, local and inline");
}

/// A registry holds a cache beside an image, and an image holds one itself.
#[test]
fn a_cache_lies_in_a_registry() {
    let world = World::new();
    let registry = OwnRegistry::start(&world, 5001, Door::Open);
    let name = |tag: &str| format!("{}/shop/app:{tag}", registry.address());
    world.file("Dockerfile", DOCKERFILE);
    let to = format!("--cache-to type=registry,ref={},mode=max --cache-to type=inline", name("cache"));
    world.coracle(&format!("build -q --push -t {} {to} .", name("1"))).succeeds();
    let first = made(&world, &name("1"));
    forget(&world);
    world.coracle(&format!("build -q -t app --cache-from {} .", name("cache"))).succeeds();
    assert_eq!(made(&world, "app"), first);
    forget(&world);
    let inline = world.coracle(&format!("build -t app --progress plain --cache-from {} .", name("1"))).succeeds();
    assert_eq!(made(&world, "app")[0], first[0], "{}", inline.told());
    // An image that is built on one with a cache in it does not pass it off as its own.
    world.file("Dockerfile", &format!("FROM {}\nLABEL a=b\n", name("1")));
    world.coracle("build -q -t next .").succeeds();
    assert!(!world.coracle("inspect next").succeeds().stdout.contains("build.cache"));
}
