//! `pull`: from a real registry into the store, once.

use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

/// gzip, zstd and plain layers come in; what is there is not fetched again; names and sizes are listed.
#[test]
fn images_come_in_and_are_listed() {
    let world = World::new();
    world.coracle("pull redis:8").succeeds();
    world.coracle("pull busybox").succeeds();
    world.coracle("images").succeeds().says("redis").says("busybox").says("REPOSITORY").says("IMAGE ID");
    world.coracle("run --rm redis:8 redis-server --version").succeeds().says("Redis server v=8.");
    let again = world.coracle("pull -q redis:8").succeeds();
    assert_eq!(again.line(), "docker.io/library/redis:8");
}

/// Layers that two images have in common are there once.
#[test]
fn layers_are_shared() {
    let world = World::new();
    world.coracle("pull redis:8").succeeds();
    assert_eq!(layers(&world), 4);
    world.coracle("pull python:3.13-slim").succeeds();
    assert_eq!(layers(&world), 5, "the base system is the same layer");
    world.coracle("rmi redis:8").succeeds().says("Untagged:").says("Deleted:");
    assert_eq!(layers(&world), 2);
    world.coracle("run --rm python:3.13-slim python --version").succeeds().says("Python 3.13.");
}

/// Two commands pulling the same image do the work once, and both succeed.
#[test]
fn two_at_once_do_the_work_once() {
    let world = World::new();
    let (one, other) = (world.start("pull python:3.13-slim"), world.start("pull python:3.13-slim"));
    let (one, other) = (one.ends(), other.ends());
    assert!(one.status.success() && other.status.success(), "{}\n{}", one.told(), other.told());
    assert_eq!(layers(&world), 2);
    assert_eq!(made_in(&world), 0, "nothing half-made is left");
}

/// A pull that is interrupted, or killed, leaves nothing visible, and the next one works.
#[test]
fn an_interrupted_pull_leaves_nothing_visible() {
    let world = World::new();
    for signal in ["INT", "KILL", "TERM"] {
        let pull = world.start("pull python:3.13-slim");
        // Once something is being made, or it was too quick for us.
        eventually(
            seconds(20),
            || if made_in(&world) > 0 || images(&world) > 0 { Ok(()) } else { Err("the pull has not begun".to_owned()) },
        );
        let quick = images(&world) > 0;
        world.signal(&pull, signal);
        let told = pull.ends();
        assert!(quick || !told.status.success(), "{}", told.told());
        assert!(quick || world.coracle("images -q").succeeds().stdout.is_empty());
        assert!(!told.stderr.contains("panicked"), "{}", told.told());
    }
    world.coracle("pull python:3.13-slim").succeeds();
    world.coracle("run --rm python:3.13-slim python -c 'print(6*7)'").succeeds().says("42");
    assert_eq!(made_in(&world), 0, "the next pull clears away what the killed one left");
}

/// On a disk that is too small a pull fails, says so and leaves all the room there was; on one with room for the image and
/// no more, what would be kept beside it is left out.
#[test]
fn a_full_disk_stays_whole() {
    let world = World::new();
    let place = world.root().join("small");
    std::fs::create_dir(&place).unwrap();
    let small = place.to_str().unwrap();
    let on_disk_of = |size: &str| {
        world.outside(&["mount", "-t", "tmpfs", "-o", &format!("size={size}"), "small", small]).succeeds();
        world.outside(&["cp", world.root().join("registries.conf").to_str().unwrap(), small]).succeeds();
    };
    on_disk_of("40m");
    let told =
        world.coracle(&format!("--root {small} pull -q redis:8")).exits_with(1).complains("No space left").complains("hint: make room");
    assert!(!told.stderr.contains("panicked"), "{}", told.told());
    assert!(world.coracle(&format!("--root {small} images -q")).succeeds().stdout.is_empty());
    world.coracle(&format!("--root {small} pull -q busybox")).succeeds();
    world.coracle(&format!("--root {small} system check")).succeeds().says("The store is whole: 1 images");
    world.outside(&["umount", small]).succeeds();

    on_disk_of("112m");
    world.coracle(&format!("--root {small} pull -q redis:8")).succeeds();
    assert_eq!(world.coracle(&format!("--root {small} images -q")).succeeds().stdout.lines().count(), 1);
    world.outside(&["umount", small]).succeeds();
}

fn layers(world: &World) -> usize {
    std::fs::read_dir(world.root().join("layers")).unwrap().filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().is_dir())).count()
}

fn made_in(world: &World) -> usize {
    std::fs::read_dir(world.root().join("making")).map_or(0, |entries| entries.count())
}

fn images(world: &World) -> usize {
    std::fs::read_dir(world.root().join("images")).map_or(0, |entries| entries.count())
}
