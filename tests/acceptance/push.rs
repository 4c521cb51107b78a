//! `push` and `login`: to a real registry, and back with the same digests.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::Door;
use crate::support::OwnRegistry;
use crate::support::World;
use crate::support::program;

/// gzip, zstd and plain layers go out as they came: the manifest has the digest it was pulled by.
#[test]
fn what_was_pulled_is_pushed_to_the_byte() {
    let world = World::new();
    let registry = OwnRegistry::start(&world, 5001, Door::Open);
    let name = format!("{}/shop/redis", registry.address());
    world.coracle("pull -q redis:8").succeeds();
    let digest = told(&world, "{{index .RepoDigests 0}}", "redis:8").split_once('@').unwrap().1.to_owned();
    let id = told(&world, "{{.Id}}", "redis:8");
    world.coracle(&format!("tag redis:8 {name}:8")).succeeds();
    world.coracle(&format!("push {name}:8")).succeeds().says(&format!("8: digest: {digest} size: "));
    assert!(registry.blob(&digest).is_some_and(|bytes| !bytes.is_empty()), "the registry has another manifest");
    assert!(registry.blob(&id).is_some(), "and the configuration");

    world.coracle(&format!("rmi redis:8 {name}:8")).succeeds();
    world.coracle(&format!("pull -q {name}@{digest}")).succeeds();
    assert_eq!(told(&world, "{{.Id}}", &format!("{name}@{digest}")), id);
    world.coracle(&format!("run --rm {name}@{digest} redis-server --version")).succeeds().says("Redis server v=8.");
}

/// What was built is compressed once, has the same digest the next time, and is not sent where it is.
#[test]
fn what_was_built_is_pushed_once() {
    let world = World::new();
    let registry = OwnRegistry::start(&world, 5001, Door::Open);
    let name = |rest: &str| format!("{}/{rest}", registry.address());
    world.file("Dockerfile", "FROM busybox\nRUN seq 100000 >/numbers && ln /numbers /again && rm /bin/vi\nCMD tail -n 1 /again\n");
    world.coracle(&format!("build -q -t {} -t {} .", name("shop/made:1"), name("other/made:1"))).succeeds();
    let first = world.coracle(&format!("push {}", name("shop/made:1"))).succeeds();
    assert_eq!(registry.blobs(), 5, "three layers, the configuration and the manifest");
    let second = world.coracle(&format!("push {}", name("shop/made:1"))).succeeds();
    assert_eq!(first.stdout, second.stdout, "another digest of the same image");
    assert_eq!(second.stderr.matches("Layer already exists").count(), 3, "{}", second.told());
    // In another repository of the registry the layers are mounted.
    let third = world.coracle(&format!("push {}", name("other/made:1"))).succeeds();
    assert_eq!(third.stderr.matches("Layer already exists").count(), 3, "{}", third.told());
    assert_eq!((first.stdout, registry.blobs()), (third.stdout, 5));

    world.coracle(&format!("tag {} {}", name("shop/made:1"), name("shop/made:z"))).succeeds();
    world.coracle(&format!("push -q --compression zstd:9 {}", name("shop/made:z"))).succeeds().says(&name("shop/made:z"));
    assert_eq!(registry.blobs(), 9, "three more layers, one more manifest");
    world.coracle("image prune -af").succeeds();
    for place in ["other/made:1", "shop/made:z"] {
        world.coracle(&format!("pull -q {}", name(place))).succeeds();
        world.coracle(&format!("run --rm {}", name(place))).succeeds().says("100000");
    }
    world.coracle(&format!("pull -q -a {}", name("shop/made"))).succeeds();
    let listed = world.coracle("images --format {{.Repository}}:{{.Tag}}").succeeds();
    assert!(["shop/made:1", "shop/made:z"].iter().all(|tag| listed.stdout.contains(&name(tag))), "{}", listed.told());
}

/// Nobody gets in without a login, with a wrong one, or after logging out.
#[test]
fn a_locked_registry_wants_a_login() {
    let world = World::new();
    let registry = OwnRegistry::start(&world, 5001, Door::Locked);
    let (address, name) = (registry.address(), format!("{}/shop/box", registry.address()));
    world.coracle(&format!("pull -q {name}")).exits_with(1).complains(&format!("docker login {address}"));
    world.coracle("pull -q busybox").succeeds();
    world.coracle(&format!("tag busybox {name}")).succeeds();
    world.coracle(&format!("push {name}")).exits_with(1).complains("push access denied").complains(&format!("coracle login {address}"));
    assert_eq!(registry.blobs(), 0);

    let login = |password: &str| {
        let line = format!("printf '{password}' | {} login -u me --password-stdin {address}", program().display());
        world.outside(&["sh", "-c", &line])
    };
    login("wrong").exits_with(1).complains(&format!("cannot log in to {address}"));
    login("secret").succeeds().says("Login Succeeded").complains("stored unencrypted");
    let file = world.root().parent().unwrap().join("home/.docker/config.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&file).unwrap().contains(&format!("\"{address}\"")));
    world.coracle(&format!("login {address}")).succeeds().says("Login Succeeded").complains("[Username: me]");
    world.coracle(&format!("push {name}")).succeeds().says("latest: digest: sha256:");
    world.coracle(&format!("rmi {name}")).succeeds();
    world.coracle(&format!("pull -q {name}")).succeeds();

    world.coracle(&format!("logout {address}")).succeeds().says(&format!("Removing login credentials for {address}"));
    world.coracle(&format!("logout {address}")).succeeds().says("Not logged in to");
    world.coracle(&format!("push {name}")).exits_with(1).complains("push access denied");
    world.coracle(&format!("login {address}")).exits_with(1).complains("--password-stdin");
}

#[test]
fn what_cannot_be_pushed_says_why() {
    let world = World::new();
    world.coracle("push nothing/here").exits_with(1).complains("does not exist locally with the tag: nothing/here");
    world.coracle("pull -q busybox").succeeds();
    world.coracle("tag busybox 127.0.0.1:9/x").succeeds();
    world.coracle("push 127.0.0.1:9/x").exits_with(1).complains("cannot reach the registry 127.0.0.1:9");
    world.coracle("push --compression lzma 127.0.0.1:9/x").exits_with(125).complains("zstd:9");
    world.coracle("push -a busybox:latest").exits_with(1).complains("name the repository alone");
}

fn told(world: &World, format: &str, image: &str) -> String {
    world.coracle_with(&["image", "inspect", "--format", format, image]).succeeds().line().to_owned()
}
