//! What builds keep: how much of it stays, what goes first, what is listed.

use std::fs;

use crate::support::Outcome;
use crate::support::World;
use crate::support::eventually;
use crate::support::program;
use crate::support::seconds;

/// Builds a layer of 3 MB from a file of that name, with a limit of 8 MB, and keeps no image of it.
fn build_limited(world: &World, name: &str) -> Outcome {
    let program = program();
    world.file("Dockerfile", &format!("FROM scratch\nCOPY {name} /\n"));
    let words = ["env", "CORACLE_BUILD_CACHE=max=8MB", program.to_str().unwrap()];
    world.outside(&[&words[..], &["build", "--progress", "plain", "--output", "type=cacheonly", "."]].concat()).succeeds()
}

/// The sizes of all that is kept, by what it is.
fn kept(world: &World) -> Vec<String> {
    let listed = world.coracle_with(&["builder", "du", "--format", "{{.Description}}"]).succeeds();
    let mut lines: Vec<_> = listed.stdout.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Over the limit, what was used longest ago goes: not the oldest, and nothing of a running build's.
#[test]
fn the_longest_unused_goes_when_it_is_too_much() {
    let world = World::new();
    for name in ["a", "b", "c"] {
        fs::write(world.project().join(name), vec![name.as_bytes()[0]; 3 << 20]).unwrap();
    }
    build_limited(&world, "a");
    build_limited(&world, "b");
    assert_eq!(kept(&world), ["COPY a /", "COPY b /"]);
    build_limited(&world, "a").complains("CACHED");
    build_limited(&world, "c");
    eventually(seconds(20), || match kept(&world) {
        kept if kept == ["COPY a /", "COPY c /"] => Ok(()),
        kept => Err(format!("{kept:?}")),
    });
    let layers = fs::read_dir(world.root().join("layers")).unwrap().flatten().filter(|entry| entry.path().is_dir()).count();
    assert_eq!(layers, 2, "the layer itself has gone");
    build_limited(&world, "a").complains("CACHED");
    // A setting that nobody can understand is said, and the build is well.
    let program = program();
    let words = ["env", "CORACLE_BUILD_CACHE=most=1", program.to_str().unwrap(), "build", "--output", "type=cacheonly", "."];
    world.outside(&words).succeeds().complains("there is no `most`").complains("write `max=20GB`");
}

/// Downloads and cache mounts are listed and go, too; what is meant can be chosen.
#[test]
fn everything_that_is_kept_is_listed_and_pruned() {
    let world = World::new();
    let rule = fs::read_to_string(world.root().join("registries.conf")).unwrap();
    let port = rule.split("10.0.2.2:").nth(1).unwrap().split('/').next().unwrap().to_owned();
    world.file(
        "Dockerfile",
        &format!("FROM busybox\nADD http://10.0.2.2:{port}/v2/ /answer\nRUN --mount=type=cache,id=things,target=/c echo 1 >/c/x\n"),
    );
    world.coracle("build -q -t keeps .").succeeds();
    let types = |world: &World| {
        let listed = world.coracle_with(&["buildx", "du", "--format", "{{.Type}} {{.Description}}"]).succeeds();
        let mut lines: Vec<_> = listed.stdout.lines().filter(|line| !line.starts_with("regular")).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let listed = types(&world);
    assert!(listed.contains(&"exec.cachemount things".to_owned()), "{listed:?}");
    assert!(listed.contains(&format!("source.http http://10.0.2.2:{port}/v2/")), "{listed:?}");
    world.coracle("buildx du --verbose").succeeds().says("Type:\t\texec.cachemount").says("Description:\tthings").says("Shared:\t");
    world.coracle("builder du --filter type=nonsense").exits_with(1).complains("the types are regular");
    world.coracle("builder prune -f --filter type=exec.cachemount").succeeds();
    assert!(!types(&world).iter().any(|line| line.contains("things")), "{:?}", types(&world));
    let mounts = fs::read_dir(world.root().join("build/mounts")).unwrap().count();
    assert_eq!(mounts, 0);
    world.coracle("builder prune -f --filter until=1h").succeeds().says("Total:\t0B");
    world.coracle("builder prune -f --keep-storage 1GB").succeeds().says("Total:\t0B");
    world.coracle("builder prune -f --max-used-space 1").succeeds();
    assert_eq!(types(&world), Vec::<String>::new());
}
