//! `system df`, `system check`, `prune`: what takes room, whether it is whole, and that nothing goes that is used.

use std::fs;
use std::path::PathBuf;

use crate::support::Running;
use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

/// A changed file, a changed blob, and a missing configuration are found; what a registry has is got again.
#[test]
fn damage_is_found_and_repaired() {
    let world = World::new();
    world.coracle("pull -q busybox").succeeds();
    world.coracle("system check").succeeds().says("The store is whole: 1 images, 2 layers, ");
    let layer = layers(&world).into_iter().find(|layer| layer.join("etc/passwd").exists()).unwrap();
    let users = layer.join("etc/passwd");
    let good = fs::read(&users).unwrap();
    fs::write(&users, "intruder::0:0::/:/bin/sh\n").unwrap();
    let blob = largest_blob(&world);
    let mut bytes = fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&blob, bytes).unwrap();
    let id = world.coracle("images -q --no-trunc").succeeds().line().to_owned();
    fs::write(world.root().join("blobs/sha256").join("0".repeat(64)), "nobody's").unwrap();

    let found = world.coracle("system check").exits_with(1).says("its files are not those of its archive").says("(the blob kept for it)");
    assert!(found.stdout.contains("2 things are damaged") && found.stdout.contains("rubbish"), "{}", found.told());
    world.coracle("system check --repair").succeeds().says("-> repaired").says("-> removed");
    assert!(fs::read(&users).unwrap() == good, "another file than before");
    world.coracle("system check -q").succeeds();
    world.coracle("run --rm busybox cat /etc/passwd").succeeds().says("root:x:0:0");

    fs::write(world.root().join("blobs").join(id.replace(':', "/")), "{}").unwrap();
    world.coracle("system check").exits_with(1).says("(its configuration)");
    world.coracle("system check --repair").succeeds().says("-> repaired");
    world.coracle("system check").succeeds();
}

/// Records and layers that were lost: found by name, and made anew from what is still there or from the registry.
#[test]
fn lost_records_are_found_and_made_anew() {
    let world = World::new();
    world.coracle("pull -q busybox").succeeds();
    let id = world.coracle("images -q --no-trunc").succeeds().line().to_owned();
    let first = |place: &str, end: &str| {
        let entries = fs::read_dir(world.root().join(place)).unwrap().flatten().map(|entry| entry.path());
        entries.filter(|path| path.to_string_lossy().ends_with(end)).max().unwrap()
    };
    let repaired = |what: &str| {
        let found = world.coracle("system check").exits_with(1).says(what);
        assert!(!found.stdout.contains("rubbish"), "what is lost is not thrown away: {}", found.told());
        world.coracle("system check --repair").succeeds().says("-> repaired");
        world.coracle("system check").succeeds().says("The store is whole: 1 images, 2 layers, 4 blobs");
        assert_eq!(world.coracle("images -q --no-trunc").succeeds().line(), id);
        world.coracle("run --rm busybox cat /etc/passwd").succeeds().says("root:x:0:0");
    };
    fs::write(first("layers", ".json"), "").unwrap();
    repaired("there is no record of it that can be read");
    fs::remove_file(first("layers", ".json")).unwrap();
    repaired("there is no record of it that can be read");
    fs::remove_dir_all(layers(&world).pop().unwrap()).unwrap();
    repaired("its directory is not there");
    let layer = layers(&world).pop().unwrap();
    fs::remove_dir_all(&layer).unwrap();
    fs::remove_file(layer.with_extension("json")).unwrap();
    repaired("neither its directory nor its record is there");

    fs::write(first("images/ids", ".json"), "{").unwrap();
    let found = world.coracle("system check").exits_with(1).says("the record of image sha256:");
    assert!(!found.stdout.contains("name docker.io"), "{}", found.told());
    world.coracle("system check --repair").succeeds().says("-> repaired");
    assert_eq!(world.coracle("images -q --no-trunc").succeeds().line(), id);
    fs::write(first("images/names", ".json"), "").unwrap();
    world.coracle("images").exits_with(1);
    world
        .coracle("system check --repair")
        .exits_with(1)
        .says("the record of the name docker.io/library/busybox:latest")
        .says("it is removed");
    world.coracle("system check").succeeds();
    world.coracle("tag $ID busybox".replace("$ID", &id).as_str()).succeeds();
    world.coracle("run --rm busybox true").succeeds();
}

/// What a killed command had taken out of sight is freed by the next, even by one that has nothing to do.
#[test]
fn the_trash_is_freed_after_a_crash() {
    let world = World::new();
    world.coracle("pull -q busybox").succeeds();
    let trash = world.root().join("trash");
    for line in ["pull -q busybox", "rmi -f nobody"] {
        // As it is when the one who empties the trash is killed.
        fs::create_dir_all(trash.join("grave/deep")).unwrap();
        fs::write(trash.join("grave/deep/file"), "gone").unwrap();
        world.coracle(line).succeeds();
        eventually(seconds(20), || if entries(&world, "trash") == 0 { Ok(()) } else { Err(format!("{line}: the trash is not emptied")) });
    }
}

/// Docker's rules for images that containers use: what runs keeps its image by any force, what is stopped lets it go.
#[test]
fn images_of_containers_are_removed_by_dockers_rules() {
    let world = World::new();
    world.coracle("pull -q busybox").succeeds();
    let id = world.coracle("images -q --no-trunc").succeeds().line().to_owned();
    world.coracle("run -d --name running busybox sleep 1000").succeeds();
    world.coracle("create --name idle busybox cat /etc/passwd").succeeds();
    let user = world.named("running").id()[..12].to_owned();
    world.coracle("rmi busybox").exits_with(1).complains("unable to remove repository reference \"busybox:latest\" (must force)");
    for line in [format!("rmi {id}"), format!("rmi -f {id}")] {
        world.coracle(&line).exits_with(1).complains("(cannot be forced)").complains(&format!("being used by running container {user}"));
    }
    world.coracle("image prune -af").succeeds().says("Total reclaimed space: 0B");
    world.coracle("images").succeeds().says("busybox");
    world.coracle("rm -f running").succeeds();
    world.coracle(&format!("rmi {id}")).exits_with(1).complains("(must be forced)").complains("being used by stopped container");
    world.coracle(&format!("rmi -f {id}")).succeeds().says("Untagged: busybox:latest").says(&format!("Deleted: {id}"));
    assert_eq!(world.coracle("images -aq").succeeds().line(), "");
    world.coracle("start -a idle").succeeds().says("root:x:0:0");
    world.coracle("system check -q").succeeds();
    world.coracle("rm idle").succeeds();
    eventually(seconds(20), || match entries(&world, "layers") + entries(&world, "blobs/sha256") {
        0 => Ok(()),
        left => Err(format!("{left} things of the image are left")),
    });
}

/// The table has Docker's rows, and its numbers follow what is there.
#[test]
fn the_disk_is_accounted_for() {
    let world = World::new();
    let row = |kind: &str| {
        let table = world.coracle("system df --format {{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Size}}|{{.Reclaimable}}").succeeds();
        table.stdout.lines().find_map(|line| line.strip_prefix(&format!("{kind}|")).map(str::to_owned)).unwrap()
    };
    world.coracle("system df").succeeds().says("TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE");
    assert_eq!(row("Images"), "0|0|0B|0B");
    world
        .file("Dockerfile", "FROM busybox\nRUN --mount=type=cache,target=/c dd if=/dev/zero of=/c/x bs=1M count=3\nRUN echo made >/made\n");
    world.coracle("build -q -t made .").succeeds();
    assert!(row("Images").starts_with("1|0|") || row("Images").starts_with("2|0|"), "{}", row("Images"));
    world
        .coracle("run -d --name writer -v data:/data made sh -c 'dd if=/dev/zero of=/own bs=1M count=5; cp /own /data/; sleep 1000'")
        .succeeds();
    eventually(seconds(20), || if row("Local Volumes").contains("5.24MB") { Ok(()) } else { Err(row("Local Volumes")) });
    assert!(row("Containers").starts_with("1|1|5.24MB|0B"), "{}", row("Containers"));
    assert!(row("Images").contains("|1|"), "{}", row("Images"));
    assert!(row("Build Cache").contains("3.1") || row("Build Cache").contains("3M"), "{}", row("Build Cache"));
    world.coracle_with(&["system", "df", "-v", "--format", "{{range .Volumes}}{{.Name}}={{.Links}} {{end}}"]).succeeds().says("data=1");
    world.coracle("system prune -f --volumes --filter until=1h").exits_with(1).complains("is not supported with");
    world.coracle("system df -v").succeeds().says("UNIQUE SIZE").says("writer").says("data").says("exec.cachemount");
    world.coracle("rm -f writer").succeeds();
    world.coracle("builder prune -f").succeeds().says("Total:");
    world.coracle("rmi made").succeeds();
    world.coracle("system prune -af").succeeds().says("Total reclaimed space:");
    assert_eq!((row("Images").as_str(), row("Build Cache").as_str()), ("0|0|0B|0B", "0|0|0B|0B"));
    eventually(seconds(20), || if entries(&world, "trash") == 0 { Ok(()) } else { Err("the trash is not emptied".to_owned()) });
    assert_eq!(entries(&world, "layers") + entries(&world, "blobs/sha256"), 0, "nothing is left of the images");
}

/// While everything that is unused is pruned all the time, pulls, builds and runs all succeed.
#[test]
fn prune_takes_nothing_from_under_a_running_command() {
    let world = World::new();
    world.file("Dockerfile", "FROM busybox\nRUN echo one >/one\nRUN echo two >/two\nCMD cat /one /two\n");
    world.file("prune.sh", "until test -e stop; do \"$1\" image prune -af >/dev/null 2>>prune.err || exit 1; done\n");
    let program = crate::support::program();
    let pruning = world.start_outside(&["sh", "prune.sh", program.to_str().unwrap()]);
    for round in 0..2 {
        let pulls: Vec<Running> = ["pull -q redis:8", "pull -q busybox", "pull -q busybox"].map(|line| world.start(line)).into();
        let run = world.start("run --rm busybox echo out");
        let build = world.start(&format!("build -q --build-arg ROUND={round} -t made{round} ."));
        for pull in pulls {
            pull.ends().succeeds();
        }
        run.ends().succeeds().says("out");
        build.ends().succeeds();
    }
    world.file("stop", "");
    pruning.ends().succeeds();
    assert_eq!(fs::read_to_string(world.project().join("prune.err")).unwrap(), "");
    world.coracle("image prune -af").succeeds();
    world.coracle("system check").succeeds().says("The store is whole");
}

/// What is old enough, or has a label, goes; the rest stays.
#[test]
fn images_are_pruned_by_age_and_label() {
    let world = World::new();
    world.file("Dockerfile", "FROM busybox\nARG KIND\nLABEL kind=$KIND\n");
    for kind in ["keep", "drop"] {
        world.coracle(&format!("build -q --build-arg KIND={kind} -t {kind} .")).succeeds();
    }
    world.coracle("image prune -f").succeeds().says("Total reclaimed space: 0B");
    world.coracle("image prune -af --filter until=2001-01-01T00:00:00Z").succeeds().says("Total reclaimed space: 0B");
    world.coracle("image prune -af --filter label=kind=drop").succeeds().says("untagged: drop:latest").says("deleted: sha256:");
    let left = world.coracle("images --format {{.Repository}}").succeeds();
    assert!(left.stdout.contains("keep") && !left.stdout.contains("drop"), "{}", left.told());
    world.coracle("image prune -af --filter age=1").exits_with(1).complains("known filters are until");
}

fn layers(world: &World) -> Vec<PathBuf> {
    fs::read_dir(world.root().join("layers")).unwrap().flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn largest_blob(world: &World) -> PathBuf {
    let blobs = fs::read_dir(world.root().join("blobs/sha256")).unwrap().flatten();
    blobs.max_by_key(|entry| entry.metadata().map_or(0, |found| found.len())).unwrap().path()
}

fn entries(world: &World, place: &str) -> usize {
    fs::read_dir(world.root().join(place)).map_or(0, |entries| entries.count())
}
