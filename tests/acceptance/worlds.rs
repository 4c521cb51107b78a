//! The ground the other tests stand on.

use crate::support::World;

/// A world reaches the registry and the outer name server, and sees none of the host's processes.
#[test]
fn a_world_has_a_way_out_and_is_alone() {
    let world = World::new();
    let registry = world.page(&registry_in(&world), "/v2/library/busybox/tags/list");
    assert!(registry.contains("latest"), "{registry}");
    assert!(world.outside(&["cat", "/etc/resolv.conf"]).succeeds().stdout.contains("10.0.2.3"));
    assert_eq!(world.processes().iter().filter(|process| process.parent == 0).count(), 1);
    assert!(world.engines().is_empty());
    world.is_empty();
}

/// What is left behind is seen: otherwise no test could fail for it.
#[test]
fn a_world_sees_what_is_left_behind() {
    let world = World::new();
    assert_eq!(world.left(), Ok(()));

    world.outside(&["ip", "link", "add", "stray", "type", "bridge"]).succeeds();
    assert!(world.left().unwrap_err().contains("link stray"));
    world.outside(&["ip", "link", "del", "stray"]).succeeds();

    world.outside(&["nft", "add", "table", "ip", "stray"]).succeeds();
    assert!(world.left().unwrap_err().contains("table ip stray"));
    world.outside(&["nft", "delete", "table", "ip", "stray"]).succeeds();

    let sleeper = world.outside(&["sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"]).succeeds();
    assert!(world.left().unwrap_err().contains("sleep 1000"));
    world.outside(&["kill", sleeper.line()]).succeeds();

    world.outside(&["mount", "-t", "tmpfs", "stray", "/mnt"]).succeeds();
    assert!(world.left().unwrap_err().contains("stray"));
    world.outside(&["umount", "/mnt"]).succeeds();
    world.is_empty();
}

fn registry_in(world: &World) -> String {
    let rule = std::fs::read_to_string(world.root().join("registries.conf")).unwrap();
    let location = rule.lines().find_map(|line| line.strip_prefix("location = \"")).unwrap();
    location.trim_end_matches("/library\"").to_owned()
}
