//! Files into containers and out of them: cp, export, diff, commit.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::support::World;
use crate::support::eventually;
use crate::support::program;
use crate::support::seconds;

const FILES: &str = "
services:
  box:
    image: busybox
    command: [sh, -c, \"mkdir -p /made/deep; echo inside >/made/deep/file; ln -s /made/deep/file /link; chown 7:8 /made/deep/file; \
      echo seen >/scratch/file; touch /ready; trap 'exit 0' TERM; while :; do sleep 1000 & wait $$!; done\"]
    volumes: [\"kept:/kept\", \"./shown:/shown:ro\"]
    tmpfs: [/scratch]
volumes: {kept: {}}
";

fn up(world: &World) {
    world.file("shown/file", "the host's\n");
    world.run("up -d").succeeds();
    eventually(seconds(10), || match world.run("exec -T box test -e /ready").status.success() {
        true => Ok(()),
        false => Err("not ready".to_owned()),
    });
}

/// Copies go both ways, into volumes and mounts too, and mean what the ends of the paths say; running or not.
#[test]
fn files_go_in_and_out() {
    let world = World::with_file(FILES);
    up(&world);
    let read = |name: &str| fs::read_to_string(world.project().join(name)).unwrap_or_else(|error| format!("{name}: {error}"));
    world.file("tree/a", "one\n");
    world.file("tree/sub/b", "two\n");
    for state in ["running", "stopped"] {
        world.run("cp tree box:/kept").succeeds();
        world.coracle("cp tree/. project-box-1:/kept/content").succeeds();
        world.coracle(&format!("cp -a project-box-1:/made/deep/file out-{state}")).succeeds();
        assert_eq!(read(&format!("out-{state}")), "inside\n");
        let owner = fs::metadata(world.project().join(format!("out-{state}"))).unwrap();
        assert_eq!((owner.uid(), owner.gid()), (7, 8));
        world.coracle(&format!("cp project-box-1:/made mine-{state}")).succeeds();
        assert_eq!(fs::metadata(world.project().join(format!("mine-{state}/deep/file"))).unwrap().uid(), 0, "without -a they are ours");
        world.coracle(&format!("cp -L project-box-1:link followed-{state}")).succeeds();
        assert_eq!(read(&format!("followed-{state}")), "inside\n");
        world.coracle(&format!("cp project-box-1:/shown/. shown-{state}")).succeeds();
        assert_eq!(read(&format!("shown-{state}/file")), "the host's\n");
        world.coracle("cp tree/a project-box-1:/shown/no").exits_with(1).complains("Read-only");
        world.coracle("cp project-box-1:/none .").exits_with(1).complains("/none");
        world.coracle("cp tree project-box-1:/made/deep/file").exits_with(1);
        if state == "running" {
            world.coracle("cp project-box-1:/scratch/file scratch").succeeds();
            assert_eq!(read("scratch"), "seen\n");
            world.run("stop").succeeds();
        }
    }
    let volume = world.root().join("volumes/project_kept/_data");
    assert_eq!(fs::read_to_string(volume.join("tree/sub/b")).unwrap(), "two\n");
    assert_eq!(fs::read_to_string(volume.join("content/a")).unwrap(), "one\n");
    world.coracle("create --name fresh -v kept2:/a/b busybox true").succeeds();
    world.coracle("cp tree fresh:/a/b").succeeds();
    world.coracle("cp fresh:/a/b/tree/a back").succeeds();
    assert_eq!(read("back"), "one\n");
    world.run("down -v").succeeds();
}

/// A link that the container makes leads to nothing of the host, neither way.
#[test]
fn a_container_cannot_lead_a_copy_astray() {
    let world = World::with_file(FILES);
    up(&world);
    let secret = world.project().join("secret");
    fs::write(&secret, "the host's own").unwrap();
    let place = secret.display();
    let box_ = world.container("box");
    box_.sh(&format!("ln -s {place} /leak; ln -s /../../../../..{} /climb; ln -s / /kept/top", world.project().display())).succeeds();
    world.coracle("cp -L project-box-1:/leak stolen").exits_with(1);
    world.coracle("cp -L project-box-1:/climb/secret stolen").exits_with(1);
    world.file("evil", "overwritten");
    world.coracle("cp evil project-box-1:/leak").exits_with(1);
    world.coracle("cp evil project-box-1:/climb/secret").exits_with(1);
    world.coracle("cp evil project-box-1:/kept/top/file").succeeds();
    assert_eq!(box_.sh("cat /file").succeeds().line(), "overwritten", "its own root");
    assert_eq!(fs::read_to_string(&secret).unwrap(), "the host's own");
    // While it swaps a directory and a link as fast as it can.
    let swaps = "while :; do mkdir -p /race; rm -rf /race; ln -s /etc /race; rm /race; done";
    let swapping = world.start(&format!("exec {} sh -c '{swaps}'", box_.id()));
    for _ in 0..20 {
        world.coracle("cp evil project-box-1:/race/passwd-of-host");
    }
    world.cut(&swapping);
    assert!(!std::path::Path::new("/etc/passwd-of-host").exists());
    world.run("down -v -t 0").succeeds();
}

/// Archives on the standard streams, whole file systems, what was changed, and images made of it.
#[test]
fn what_was_changed_can_be_kept() {
    let world = World::with_file(FILES);
    up(&world);
    let told = world.coracle("diff project-box-1").succeeds();
    let lines: Vec<&str> = told.stdout.lines().collect();
    for line in ["A /link", "A /made", "A /made/deep", "A /made/deep/file", "A /ready"] {
        assert!(lines.contains(&line), "no {line}: {}", told.told());
    }
    assert!(!told.stdout.contains("/etc") && !told.stdout.contains("/proc"), "our own places: {}", told.told());
    world.container("box").sh("rm /bin/vi; echo more >>/etc/passwd").succeeds();
    let told = world.coracle("container diff project-box-1").succeeds().says("D /bin/vi").says("C /bin\n");
    assert!(told.stdout.contains("C /etc/passwd") || told.stdout.contains("A /etc/passwd"), "{}", told.told());

    let binary = program();
    let pipe = format!("{0} cp project-box-1:/made - | {0} cp - project-box-1:/kept", binary.display());
    world.outside(&["sh", "-c", &pipe]).succeeds();
    assert_eq!(world.container("box").sh("stat -c %u:%g /kept/made/deep/file").succeeds().line(), "7:8");
    world.coracle("export -o all.tar project-box-1").succeeds();
    let listed = world.outside(&["tar", "tf", "all.tar"]).succeeds();
    assert!(listed.stdout.contains("made/deep/file\n") && listed.stdout.contains("bin/busybox\n"), "{}", listed.told());
    assert!(!listed.stdout.contains("kept/made") && !listed.stdout.contains("proc/1"), "mounts are left out");

    let words = ["commit", "-m", "kept", "-c", "CMD [\"cat\", \"/made/deep/file\"]", "-c", "ENV A=b", "project-box-1", "shop/box:kept"];
    let id = world.coracle_with(&words).succeeds().line().to_owned();
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(world.coracle("run --rm shop/box:kept").succeeds().line(), "inside");
    assert_eq!(world.coracle("run --rm shop/box:kept sh -c 'echo $A; ls /bin/vi'").exits_with(1).line(), "b");
    world.coracle("history shop/box:kept").succeeds().says("kept");
    world.run("commit box again").succeeds();
    world.coracle("run --rm --entrypoint test again -e /made/deep/file").succeeds();
    world.run("down -v -t 0").succeeds();
}
