//! Every kind of mount of a service, as the container's own mount table and files show it.

use std::fs;

use crate::support::World;

const EVERY_KIND: &str = "name: mounts
services:
  lender:
    image: busybox
    command: sh -c 'echo lent > /lent/note; exec sleep 1000'
    volumes: [\"data:/lent\", \"./seed:/seed\"]
  web:
    image: busybox
    command: sleep 1000
    volumes_from: [\"lender:ro\"]
    tmpfs: [\"/scratch:exec,size=3m,mode=0701,uid=7\"]
    volumes:
      - {type: bind, source: ./tree, target: /flat, read_only: true, bind: {recursive: disabled, propagation: rslave}}
      - {type: volume, source: seeded, target: /part, volume: {nocopy: true, subpath: a/b}}
      - {type: tmpfs, target: /memory, tmpfs: {size: 2m, mode: 0700}}
      - {type: image, source: \"redis:8\", target: /image}
      - {type: image, source: \"redis:8\", target: /image-part, image: {subpath: usr/bin}}
      - {type: volume, source: quick, target: /quick}
      - {type: bind, source: ./made/here, target: /made, bind: {create_host_path: true}}
  other:
    image: busybox
    command: sleep 1000
    depends_on: [web]
    volumes: [\"quick:/also\"]
volumes:
  data: {}
  seeded: {driver: local, driver_opts: {type: none, o: bind, device: ./seed}}
  quick: {driver_opts: {type: tmpfs, device: tmpfs, o: \"size=1m,uid=9\"}}
";

/// Bind, volume, tmpfs and image with their options, and volumes of another service.
#[test]
fn every_kind_of_mount_is_there_with_its_options() {
    let world = World::new();
    fs::create_dir_all(world.project().join("tree/below")).unwrap();
    world.file("seed/a/b/note", "a part\n");
    world.file("compose.yaml", EVERY_KIND);
    world.outside(&["sh", "-c", "mount -t tmpfs below tree/below && touch tree/below/hidden"]).succeeds();
    world.coracle("pull redis:8").succeeds();
    world.run("up -d").succeeds();
    let (web, other) = (world.container("web"), world.container("other"));
    assert_eq!(web.sh("cat /lent/note").succeeds().line(), "lent");
    assert!(web.mount("/lent").contains(" ro,") && web.mount("/seed").contains(" ro,"));
    assert!(!web.sh("touch /lent/x").status.success());
    let scratch = web.mount("/scratch");
    assert!(scratch.contains("size=3072k") && scratch.contains("mode=701") && scratch.contains("uid=7"), "{scratch}");
    assert!(!scratch.contains("noexec") && scratch.contains("nosuid"), "{scratch}");
    let flat = web.mount("/flat");
    assert!(flat.contains(" ro,"), "{flat}");
    assert!(!web.proc("mountinfo").contains("/flat/below"));
    assert!(!web.sh("ls /flat/below/hidden").status.success());
    assert_eq!(web.sh("cat /part/note").succeeds().line(), "a part");
    let memory = web.mount("/memory");
    assert!(memory.contains("size=2048k") && memory.contains("mode=700") && memory.contains("noexec"), "{memory}");
    web.sh("test -d /image/usr/bin && test ! -e /image-part/usr && ls /image-part/ls").succeeds();
    assert!(!web.sh("touch /image/x").status.success());
    // A volume in memory is one for all that have it, and the host's mount table never shows it.
    web.sh("echo shared > /quick/note && stat -c %u /quick | grep -x 9").succeeds();
    assert_eq!(other.sh("cat /also/note").succeeds().line(), "shared");
    assert!(other.mount("/also").contains("size=1024k"));
    assert!(world.project().join("made/here").is_dir());
    world.outside(&["umount", "tree/below"]).succeeds();
}

/// What cannot be mounted is refused before anything is made.
#[test]
fn mounts_that_cannot_be_are_refused() {
    let world = World::with_file(
        "services:
  web:
    image: busybox
    command: sleep 1000
    volumes:
      - {type: bind, source: ./missing, target: /m, bind: {create_host_path: false}}
",
    );
    world.run("up -d").exits_with(1).complains("missing");
    assert!(!world.project().join("missing").exists());
    world.file(
        "compose.yaml",
        "services:
  web: {image: busybox, command: sleep 1000, volumes: [\"data:/data\"]}
volumes:
  data: {driver_opts: {size: 1g}}
",
    );
    world.run("up -d").exits_with(1).complains("`size`");
    assert_eq!(world.coracle("volume ls -q").succeeds().stdout, "");
    world.coracle("run --rm --mount type=image,source=nowhere,target=/x busybox true").exits_with(125).complains("no such image: nowhere");
    world.coracle("run --rm --tmpfs /t:frozen busybox true").exits_with(125).complains("frozen");
}

/// `--volumes-from` and `--mount` do the same for a lone container.
#[test]
fn a_lone_container_has_the_same_mounts() {
    let world = World::new();
    world.coracle("run -d --name lender -v shared:/data busybox sh -c 'echo lent > /data/note; exec sleep 1000'").succeeds();
    let told = world.coracle("run --rm --volumes-from lender:ro busybox sh -c 'until cat /data/note; do sleep 0.1; done; touch /data/x'");
    assert_eq!(told.stdout, "lent\n");
    assert!(told.stderr.contains("Read-only"), "{}", told.told());
    world.coracle("run --rm --mount type=image,source=busybox,target=/tools,image-subpath=bin busybox ls /tools/busybox").succeeds();
    world.coracle("run --rm --tmpfs /t:size=1m,exec busybox grep ' /t tmpfs ' /proc/mounts").succeeds().says("size=1024k");
}
