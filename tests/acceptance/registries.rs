//! Registries and stores under difficult conditions: helpers for logins, proxies, few descriptors, a root that cannot be written.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::Door;
use crate::support::OwnRegistry;
use crate::support::Running;
use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

/// Keeps what it is given in files beside it, and writes down what it was asked for.
const HELPER: &str = r#"#!/bin/sh
place=$(dirname "$0")
echo "$1" >>"$place/asked"
case $1 in
store) cat >"$place/kept" ;;
get) read -r address
    test -e "$place/kept" || { echo "credentials not found in native keychain"; exit 1; }; cat "$place/kept" ;;
erase) read -r address; rm -f "$place/kept" ;;
esac
"#;

/// With a helper in the configuration no password is in a file; `login`, `push`, `pull` and `logout` all ask it.
#[test]
fn a_helper_keeps_the_login() {
    let world = World::new();
    let registry = OwnRegistry::start(&world, 5001, Door::Locked);
    let (address, place) = (registry.address(), world.project().display().to_string());
    world.file("docker-credential-drawer", HELPER);
    fs::set_permissions(world.project().join("docker-credential-drawer"), fs::Permissions::from_mode(0o755)).unwrap();
    world.file("auth.json", &format!(r#"{{"credHelpers":{{"{address}":"drawer"}}}}"#));
    let coracle = |line: &str| {
        world.shell(&format!("PATH={place}:$PATH REGISTRY_AUTH_FILE={place}/auth.json; export PATH REGISTRY_AUTH_FILE; {line}"))
    };
    coracle(&format!("printf secret | coracle login -u me --password-stdin {address}")).succeeds().says("Login Succeeded");
    assert!(fs::read_to_string(world.project().join("kept")).unwrap().contains("secret"), "the helper has not got it");
    assert!(!fs::read_to_string(world.project().join("auth.json")).unwrap().contains("auth\""), "the file has it too");
    assert!(!world.root().parent().unwrap().join("home/.docker").exists(), "another file than the named one was written");
    coracle(&format!("coracle pull -q busybox && coracle tag busybox {address}/x && coracle push -q {address}/x")).succeeds();
    coracle(&format!("coracle rmi {address}/x && coracle pull -q {address}/x")).succeeds();
    coracle(&format!("coracle logout {address}")).succeeds();
    assert!(!world.project().join("kept").exists(), "the helper still has it");
    coracle(&format!("coracle push -q {address}/x")).exits_with(1).complains("push access denied");
    let asked = fs::read_to_string(world.project().join("asked")).unwrap();
    assert!(asked.contains("store") && asked.contains("get") && asked.contains("erase"), "{asked}");
}

/// A registry outside is asked through the proxy of the environment, unless NO_PROXY names it.
#[test]
fn a_proxy_stands_between() {
    let world = World::new();
    // A server that takes whole addresses, as the registry does, is proxy enough.
    let registry = OwnRegistry::start(&world, 5001, Door::Open);
    let rules = fs::read_to_string(world.root().join("registries.conf")).unwrap();
    let rule = "[[registry]]\nlocation = \"shop.example\"\ninsecure = true\n";
    fs::write(world.root().join("registries.conf"), format!("{rules}{rule}")).unwrap();
    world.coracle("pull -q busybox").succeeds();
    world.coracle("tag busybox shop.example/x").succeeds();
    let push = |variables: &str| world.shell(&format!("export {variables}; coracle push -q shop.example/x"));
    let proxy = format!("http_proxy=http://me:secret@{0} HTTPS_PROXY=http://{0}", registry.address());
    push(&format!("{proxy} NO_PROXY=.example")).exits_with(1).complains("cannot reach the registry shop.example");
    assert_eq!(registry.blobs(), 0);
    push(&proxy).succeeds();
    assert_eq!(registry.blobs(), 4, "two layers, the configuration and the manifest");
}

/// Too few descriptors, or a root that nobody can write to: a message, and a store that is whole.
#[test]
fn want_of_descriptors_or_rights_is_said() {
    let world = World::new();
    for limit in [8, 11, 14, 17] {
        let told = world.shell(&format!("ulimit -n {limit}; coracle pull -q busybox"));
        assert!(!told.stderr.contains("panicked"), "{}", told.told());
        assert!(told.status.success() || told.stderr.contains("error: "), "{}", told.told());
        world.coracle("system check -q").succeeds();
    }
    world.coracle("pull -q busybox").succeeds();

    let root = world.root().display().to_string();
    world.shell(&format!("mount --bind {root} {root} && mount -o remount,bind,ro {root}")).succeeds();
    world.coracle("pull -q redis:8").exits_with(1).complains("Read-only file system");
    world.coracle("images").succeeds().says("busybox");
    world.coracle("rmi busybox").exits_with(1).complains("Read-only file system").complains("hint: mount the data directory writable");
    world.shell(&format!("umount {root}")).succeeds();
    world.coracle("system check").succeeds().says("The store is whole: 1 images");
}

/// Twenty commands that pull images with layers in common: the registry sends each layer once, and nothing half made is left.
#[test]
fn twenty_at_once_do_each_layer_once() {
    let world = World::new();
    let registry = OwnRegistry::start(&world, 5001, Door::Open);
    let name = |tag: &str| format!("{}/shop:{tag}", registry.address());
    for tag in ["a", "b"] {
        world.file("Dockerfile", &format!("FROM busybox\nCOPY Dockerfile /{tag}\n"));
        world.coracle(&format!("build -q -t {} .", name(tag))).succeeds();
        world.coracle(&format!("push -q {}", name(tag))).succeeds();
    }
    world.coracle("system prune -af").succeeds();
    let pulls: Vec<Running> = (0..20).map(|number| world.start(&format!("pull -q {}", name(["a", "b"][number % 2])))).collect();
    for pull in pulls {
        pull.ends().succeeds();
    }
    let sent = |line: &str| line.contains("\"GET /v2/shop/blobs/sha256:") && line.contains("\" 200 ");
    let log = eventually(seconds(10), || Some(registry.log()).filter(|log| log.lines().any(sent)).ok_or_else(|| registry.log()));
    let digests = |line: &str| line.split("sha256:").nth(1).unwrap()[..64].to_owned();
    let mut layers: Vec<String> = log.lines().filter(|line| sent(line)).map(digests).filter(|digest| is_layer(&registry, digest)).collect();
    layers.sort();
    let all = layers.len();
    layers.dedup();
    assert_eq!((layers.len(), all), (4, 4), "two of busybox and one of each image\n{log}");
    assert_eq!(fs::read_dir(world.root().join("making")).map_or(0, |entries| entries.count()), 0);
    world.coracle("system check").succeeds().says("The store is whole: 2 images");
}

/// Whether a blob is no configuration.
fn is_layer(registry: &OwnRegistry<'_>, hex: &str) -> bool {
    registry.blob(&format!("sha256:{hex}")).is_some_and(|bytes| !bytes.starts_with(b"{"))
}
