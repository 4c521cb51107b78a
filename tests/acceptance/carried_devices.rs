//! Devices by name: what a vendor's spec asks for is in the container.

use crate::support::World;

const SPEC: &str = r#"{
  "cdiVersion": "0.6.0",
  "kind": "example.com/part",
  "containerEdits": {"env": ["PART_ALL=yes"]},
  "devices": [{
    "name": "one",
    "containerEdits": {
      "env": ["PART=one"],
      "deviceNodes": [{"path": "/dev/part", "hostPath": "/dev/zero", "permissions": "r"}],
      "mounts": [{"hostPath": "/etc/os-release", "containerPath": "/part/release", "options": ["ro", "bind"]}],
      "hooks": [{"hookName": "createContainer", "path": "PLACE/hook", "args": ["hook", "arg"], "env": ["FROM=spec"]}],
      "additionalGids": [4242]
    }
  }]
}"#;

/// The hook writes into the root that the bundle's configuration names.
const HOOK: &str = "#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
state=$(cat)
bundle=$(echo \"$state\" | sed 's/.*\"bundle\":\"\\([^\"]*\\)\".*/\\1/')
root=$(sed 's/.*\"root\":{\"path\":\"\\([^\"]*\\)\".*/\\1/' $bundle/config.json)
echo \"$0 $1 $FROM\" > $root/hooked
";

/// Variables, nodes, mounts, groups and hooks of a spec, for a service and for a lone container.
#[test]
fn a_device_by_name_brings_all_that_its_spec_says() {
    let world = World::new();
    let place = world.project().display().to_string();
    world.file("part.json", &SPEC.replace("PLACE", &place));
    world.file("hook", HOOK);
    // The machine's is left alone: ours lies over it in the world's mount namespace.
    world.outside(&["sh", "-c", "chmod +x hook && mount -t tmpfs run /run && mkdir /run/cdi && cp part.json /run/cdi/"]).succeeds();
    world.file(
        "compose.yaml",
        "name: parts\nservices:\n  web: {image: busybox, command: sleep 1000, user: \"7\", devices: [\"example.com/part=one\"]}\n",
    );
    world.run("up -d").succeeds();
    let web = world.container("web");
    let told = world.outside(&["sh", "-c", &format!("tr '\\0' '\\n' < /proc/{}/environ", web.process().pid)]).succeeds();
    assert!(told.stdout.contains("PART=one\n") && told.stdout.contains("PART_ALL=yes\n"), "{}", told.told());
    assert!(web.status("Groups").split_whitespace().any(|group| group == "4242"));
    web.sh("head -c 1 /dev/part | wc -c | grep -x 1").succeeds();
    assert_eq!(web.sh("stat -c '%t %T %u' /dev/part").succeeds().line(), "1 5 7", "it is the user's");
    assert!(web.mount("/part/release").contains(" ro,"));
    assert!(web.sh("cat /hooked").succeeds().line().ends_with("hook arg spec"), "{}", web.sh("cat /hooked").told());
    let told = world.coracle("run --rm --device example.com/part=one busybox sh -c 'echo $PART; cat /hooked'").succeeds();
    assert!(told.stdout.starts_with("one\n") && told.stdout.contains("arg spec"), "{}", told.told());
    world.coracle("run --rm --device example.com/part=two busybox true").exits_with(125).complains("has only one");
    world.run("down -t 0").succeeds();
    world.uncover_run();
}

/// Without a spec there are no GPUs, and that is said before anything is made.
#[test]
fn gpus_without_a_spec_are_refused() {
    let world = World::with_file("services:\n  web: {image: busybox, command: sleep 1000, gpus: all}\n");
    world.outside(&["mount", "-t", "tmpfs", "run", "/run"]).succeeds();
    world.run("up -d").exits_with(1).complains("nvidia.com/gpu=all").complains("nvidia-ctk cdi generate");
    world.coracle("run --rm --gpus 1 busybox true").exits_with(125).complains("nvidia.com/gpu=0");
    world.coracle("run --rm --gpus driver=smoke busybox true").exits_with(125).complains("smoke");
    world.uncover_run();
}
