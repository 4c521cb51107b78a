//! `save`, `load`, `import` and `history`: images in archives, there and back.

use std::fs;

use crate::support::World;

/// Layers as they were pulled, in one archive with those of another image; loaded, they run and are saved the same again.
#[test]
fn images_survive_an_archive() {
    let world = World::new();
    for name in ["redis:8", "busybox"] {
        world.coracle(&format!("pull -q {name}")).succeeds();
    }
    world.coracle("tag busybox shop/box:1").succeeds();
    world.coracle("save -o all.tar redis:8 shop/box busybox").succeeds();
    let ids = world.coracle("images -q --no-trunc").succeeds().stdout;
    let digest = world.coracle("inspect --format {{.RootFS.Layers}} redis:8").succeeds().stdout;
    world.coracle("rmi redis:8 busybox shop/box:1").succeeds();
    assert_eq!(entries(&world, "layers"), 0, "nothing is left to take from");
    assert_eq!(entries(&world, "blobs/sha256"), 0, "nor any blob");

    let loaded = world.coracle("load -i all.tar").succeeds();
    assert_eq!(loaded.line(), "Loaded image: redis:8\nLoaded image: shop/box:1\nLoaded image: busybox:latest");
    assert_eq!(world.coracle("images -q --no-trunc").succeeds().stdout, ids);
    assert_eq!(world.coracle("inspect --format {{.RootFS.Layers}} redis:8").succeeds().stdout, digest);
    world.coracle("run --rm redis:8 redis-server --version").succeeds().says("Redis server v=8.");
    world.coracle("save -o again.tar redis:8 shop/box busybox").succeeds();
    let read = |name: &str| fs::read(world.project().join(name)).unwrap();
    assert!(read("all.tar") == read("again.tar"), "another archive of the same images");
}

/// What was built here has no compressed layers: they are written anew, with whiteouts, and come to the same image.
#[test]
fn a_built_image_survives_a_compressed_archive_on_standard_input() {
    let world = World::new();
    world.file("Dockerfile", "FROM busybox\nRUN rm /bin/vi && echo made >/made && ln /made /linked\nCMD cat /linked\n");
    world.coracle("build -q -t made .").succeeds();
    let id = world.coracle("inspect --format {{.Id}} made").succeeds().stdout;
    world.coracle("save made -o made.tar").succeeds();
    world.outside(&["gzip", "made.tar"]).succeeds();
    world.coracle("rmi made").succeeds();
    let program = crate::support::program();
    let line = format!("{} load <made.tar.gz", program.display());
    world.outside(&["sh", "-c", &line]).succeeds().says("Loaded image: made:latest");
    assert_eq!(world.coracle("inspect --format {{.Id}} made").succeeds().stdout, id);
    world.coracle("run --rm made").succeeds().says("made");
    world.coracle("run --rm made ls /bin/vi").exits_with(1);
    let told = world.coracle("history made").succeeds().says("IMAGE").says("<missing>").says("rm /bin/vi");
    assert!(told.stdout.lines().nth(1).unwrap().starts_with(&id[7..19]), "{}", told.told());
}

/// All compressions that Docker reads: from a file and from a pipe.
#[test]
fn archives_come_compressed_in_every_way() {
    let world = World::new();
    world.coracle("pull -q busybox").succeeds();
    world.coracle("save -o box.tar busybox").succeeds();
    let compress = "import bz2, gzip, lzma; plain = open('box.tar', 'rb').read(); \
        [open('box.' + name, 'wb').write(made.compress(plain)) for name, made in (('gz', gzip), ('bz2', bz2), ('xz', lzma))]";
    world.outside(&["python3", "-c", compress]).succeeds();
    for name in ["gz", "bz2", "xz"] {
        for line in [format!("coracle load -i box.{name}"), format!("cat box.{name} | coracle load")] {
            world.coracle("rmi busybox").succeeds();
            world.shell(&line).succeeds().says("Loaded image: busybox:latest");
        }
    }
    world.outside(&["sh", "-c", "head -c 100000 box.xz >cut.xz"]).succeeds();
    world.coracle("load -i cut.xz").exits_with(1).complains("cannot copy the archive to the store");
    assert_eq!(entries(&world, "making"), 0);
}

/// A file system in a tar archive becomes an image of one layer, with what the changes say.
#[test]
fn a_file_system_is_imported() {
    let world = World::new();
    world.coracle("pull -q busybox").succeeds();
    let layers = world.root().join("layers");
    let layer = fs::read_dir(&layers).unwrap().flatten().find(|entry| entry.path().join("bin/busybox").exists()).unwrap();
    world.outside(&["tar", "czf", "fs.tar.gz", "-C", &layer.path().display().to_string(), "."]).succeeds();
    let words =
        ["import", "-c", "CMD [\"/bin/busybox\", \"echo\", \"imported\"]", "-c", "ENV A=b", "-m", "by hand", "fs.tar.gz", "shop/fs"];
    let id = world.coracle_with(&words).succeeds();
    assert!(id.line().starts_with("sha256:"), "{}", id.told());
    world.coracle("run --rm shop/fs").succeeds().says("imported");
    world.coracle("inspect --format '{{.Comment}} {{.Config.Env}}' shop/fs").succeeds().says("by hand [A=b]");
    world.coracle_with(&["import", "-c", "RUN true", "fs.tar.gz"]).exits_with(1).complains("changes are CMD");
    world.coracle("import /etc/passwd bad").exits_with(1).complains("cannot unpack layer");
    world.coracle("import --platform windows/amd64 fs.tar.gz bad").exits_with(1).complains("operating system is not supported");
    world.coracle("import fs.tar.gz shop/BAD").exits_with(1).complains("must be lowercase");
}

/// Every refusal says what is wrong, and leaves neither a file nor an image.
#[test]
fn what_cannot_be_saved_or_loaded_is_refused() {
    let world = World::new();
    world.coracle("save -o x.tar nothing").exits_with(1).complains("no such image: nothing");
    assert_eq!(fs::read_dir(world.project()).unwrap().count(), 0);
    world.file("junk", &"junk".repeat(500));
    world.coracle("load -i junk").exits_with(1).complains("hint: what is wanted is a tar archive");
    world.coracle("load -i nowhere").exits_with(1).complains("cannot open `nowhere`");
    world.coracle("pull -q busybox").succeeds();
    world.coracle("save -o x.tar --platform linux/s390x busybox").exits_with(1).complains("for linux/s390x");
    let told = world.start_on_terminal("save busybox").ends();
    assert!(told.stdout.contains("cannot save to a terminal"), "{}", told.told());
}

/// A name has one image here, for one platform: what asks for another gets no answer. `rmi -f` forgives only what is gone.
#[test]
fn what_is_for_another_platform_is_refused() {
    let world = World::new();
    world.coracle("pull -q busybox").succeeds();
    let own = world.coracle("image inspect --format {{.Os}}/{{.Architecture}} busybox").succeeds().line().to_owned();
    for command in ["image inspect", "history", "rmi"] {
        world.coracle(&format!("{command} --platform linux/s390x busybox")).exits_with(1).complains("not for linux/s390x");
    }
    world.coracle(&format!("image inspect --platform {own} busybox")).succeeds().says("RepoTags");
    world.coracle(&format!("history --platform {own} busybox")).succeeds();
    world.coracle("rmi -f BOX").exits_with(1).complains("must be lowercase");
    world.coracle("rmi -f nobody").succeeds().complains("no such image");
    world.coracle(&format!("rmi --platform {own} busybox")).succeeds().says("Deleted: sha256:");
}

fn entries(world: &World, place: &str) -> usize {
    fs::read_dir(world.root().join(place)).map_or(0, |entries| entries.count())
}
