//! Names, ids and what removing them leaves; all on records, without a registry.

use std::fs;

use super::super::Removed;
use super::super::RootFs;
use super::super::Use;
use super::super::commit_image;
use super::super::commit_layer;
use super::super::find;
use super::super::list;
use super::super::remove_orphans;
use super::super::tag;
use super::*;

struct World {
    home: Home,
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        World { home: Home::at(directory.path().join("root"), directory.path().join("run")), directory }
    }

    /// An image of layers that each hold one file of that text.
    fn image(&self, texts: &[&str]) -> String {
        let mut diff_ids = Vec::new();
        for text in texts {
            let upper = self.directory.path().join("upper");
            fs::create_dir(&upper).unwrap();
            fs::write(upper.join("f"), text).unwrap();
            let time = rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 };
            let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
            rustix::fs::utimensat(rustix::fs::CWD, upper.join("f"), &times, rustix::fs::AtFlags::empty()).unwrap();
            diff_ids.push(commit_layer(&self.home, &upper).unwrap().diff_id);
        }
        let rootfs = RootFs { kind: "layers".into(), diff_ids };
        let config = ImageConfig { os: "linux".into(), architecture: "amd64".into(), rootfs, ..ImageConfig::default() };
        commit_image(&self.home, &config).unwrap().id
    }

    fn layers(&self) -> usize {
        fs::read_dir(self.home.layers()).unwrap().flatten().filter(|entry| entry.path().is_dir()).count()
    }
}

fn remove(home: &Home, name: &str, used: &[Use], force: bool) -> Result<Vec<Removed>> {
    super::super::remove(home, name, &|| Ok(used.to_vec()), force).map(|gone| gone.changes)
}

/// A container that was made from the image.
fn container(image: &str, running: bool) -> Use {
    Use { image: image.to_owned(), container: "c".repeat(64), running }
}

#[test]
fn an_image_is_found_by_name_and_by_the_beginning_of_its_id() {
    let world = World::new();
    let id = world.image(&["a"]);
    tag(&world.home, &id, "shop/web:1").unwrap();
    for word in ["shop/web:1", "docker.io/shop/web:1", &id, &id[7..], &id[7..19], &id[..19]] {
        assert_eq!(find(&world.home, word).unwrap().unwrap().id, id, "{word}");
    }
    for word in ["shop/web", "shop/web:2", "0123456789"] {
        assert!(find(&world.home, word).unwrap().is_none(), "{word}");
    }
    assert!(find(&world.home, "NOT/a name").is_err());
}

#[test]
fn an_image_with_a_missing_layer_does_not_come_to_exist() {
    let world = World::new();
    let rootfs = RootFs { kind: "layers".into(), diff_ids: vec![Digest::of(b"nowhere").to_string()] };
    assert!(commit_image(&world.home, &ImageConfig { rootfs, ..ImageConfig::default() }).is_err());
    assert!(list(&world.home).unwrap().is_empty());
}

#[test]
fn a_repeated_layer_is_given_to_overlayfs_once() {
    let world = World::new();
    let id = world.image(&["a", "b", "a"]);
    let image = find(&world.home, &id).unwrap().unwrap();
    assert_eq!(image.config.rootfs.diff_ids.len(), 3);
    let texts: Vec<String> = image.layers.iter().map(|layer| fs::read_to_string(layer.join("f")).unwrap()).collect();
    assert_eq!(texts, ["b", "a"]);
}

#[test]
fn the_last_name_takes_the_image_and_its_own_layers_along() {
    let world = World::new();
    let (one, other) = (world.image(&["base", "one"]), world.image(&["base", "other"]));
    tag(&world.home, &one, "one").unwrap();
    tag(&world.home, &one, "again:1").unwrap();
    tag(&world.home, &other, "other").unwrap();
    assert_eq!(remove(&world.home, "again:1", &[], false).unwrap(), [Removed::Untagged("again:1".into())]);
    let removed = remove(&world.home, "one", &[], false).unwrap();
    assert_eq!(removed[..2], [Removed::Untagged("one:latest".into()), Removed::Deleted(one.clone())]);
    assert_eq!(removed.len(), 3, "one layer goes, the shared one stays: {removed:?}");
    assert_eq!(world.layers(), 2);
    assert!(find(&world.home, &one).unwrap().is_none());
    assert_eq!(find(&world.home, "other").unwrap().unwrap().layers.len(), 2);
    assert!(state::has_trash(&world.home), "out of sight, and not deleted yet");
}

#[test]
fn what_a_container_uses_is_not_removed() {
    let world = World::new();
    let id = world.image(&["a"]);
    tag(&world.home, &id, "web").unwrap();
    for (running, word, force, why) in [
        (true, "web", false, "(must force)\n  because: container cccccccccccc is using"),
        (false, "web", false, "(must force)\n  because: container cccccccccccc is using"),
        (true, &id, false, "(cannot be forced)\n  because: image is being used by running container cccccccccccc"),
        (true, &id, true, "(cannot be forced)\n  because: image is being used by running container cccccccccccc"),
        (false, &id, false, "(must be forced)\n  because: image is being used by stopped container cccccccccccc"),
    ] {
        let refusal = remove(&world.home, word, &[container(&id, running)], force).unwrap_err().to_string();
        assert!(refusal.contains(why), "{running} {word} {force}: {refusal}");
    }
    // One that runs keeps it, without a name.
    assert_eq!(remove(&world.home, "web", &[container(&id, true)], true).unwrap(), [Removed::Untagged("web:latest".into())]);
    assert_eq!(list(&world.home).unwrap()[0].repository, "<none>");
}

#[test]
fn what_only_stopped_containers_use_goes_by_force_and_its_layers_after_them() {
    let world = World::new();
    let id = world.image(&["a"]);
    tag(&world.home, &id, "web").unwrap();
    let used = [container(&id, false)];
    let removed = remove(&world.home, &id, &used, true).unwrap();
    assert_eq!(removed, [Removed::Untagged("web:latest".into()), Removed::Deleted(id.clone())]);
    assert!(list(&world.home).unwrap().is_empty() && find(&world.home, &id[7..19]).unwrap().is_none());
    assert_eq!(find(&world.home, &id).unwrap().unwrap().layers.len(), 1, "its container finds it");
    assert!(remove(&world.home, &id, &used, true).unwrap_err().to_string().contains("no such image"));
    remove_orphans(&world.home, None, &|| Ok(used.to_vec())).unwrap();
    assert_eq!(world.layers(), 1);
    remove_orphans(&world.home, Some(std::slice::from_ref(&id)), &|| Ok(Vec::new())).unwrap();
    assert_eq!(world.layers(), 0);
    assert!(find(&world.home, &id).unwrap().is_none());
}

#[test]
fn one_that_was_removed_is_there_again_when_it_comes_again() {
    let world = World::new();
    let id = world.image(&["a"]);
    remove(&world.home, &id, &[container(&id, false)], true).unwrap();
    assert!(list(&world.home).unwrap().is_empty());
    assert_eq!(world.image(&["a"]), id);
    assert_eq!(list(&world.home).unwrap().len(), 1);
}

#[test]
fn a_digest_is_removed_and_the_tag_stays() {
    let world = World::new();
    let id = world.image(&["a"]);
    let digest = Digest::of(b"manifest");
    for name in ["reg.example/web:1", "reg.example/web:2", "other.example/web:1"] {
        put_name(&world.home, &Reference::parse(name).unwrap(), &id, Some(&digest)).unwrap();
    }
    let exact = format!("reg.example/web@{digest}");
    assert_eq!(remove(&world.home, &exact, &[], false).unwrap(), [Removed::Untagged(exact.clone())]);
    assert_eq!(list(&world.home).unwrap().len(), 3);
    assert!(find(&world.home, &exact).unwrap().is_none() && find(&world.home, "reg.example/web:1").unwrap().is_some());
    assert!(find(&world.home, &format!("other.example/web@{digest}")).unwrap().is_some());
}

#[test]
fn an_id_with_several_names_is_removed_only_by_force() {
    let world = World::new();
    let id = world.image(&["a"]);
    tag(&world.home, &id, "one").unwrap();
    tag(&world.home, &id, "two").unwrap();
    let refusal = remove(&world.home, &id, &[], false).unwrap_err().to_string();
    assert!(refusal.contains("image is referenced in multiple repositories"), "{refusal}");
    assert_eq!(remove(&world.home, &id, &[], true).unwrap().len(), 4);
    assert_eq!(world.layers(), 0);
}

#[test]
fn a_name_longer_than_a_file_name_works() {
    let world = World::new();
    let id = world.image(&["a"]);
    let name = format!("{}:{}", "x/".repeat(120) + "y", "t".repeat(128));
    tag(&world.home, &id, &name).unwrap();
    assert_eq!(find(&world.home, &name).unwrap().unwrap().id, id);
}

#[test]
fn what_somebody_is_at_work_with_is_not_removed() {
    let world = World::new();
    let (held, free) = (world.image(&["a", "base"]), world.image(&["b", "base"]));
    let hold = find(&world.home, &held).unwrap().unwrap();
    assert!(remove(&world.home, &held, &[], true).unwrap_err().to_string().contains("another command is at work with the image"));
    let gone = super::super::prune(&world.home, &|_| true, &|| Ok(Vec::new())).unwrap();
    assert_eq!(gone.changes[0], Removed::Deleted(free));
    assert_eq!((list(&world.home).unwrap().len(), world.layers()), (1, 2));
    drop(hold);
    let gone = super::super::prune(&world.home, &|_| true, &|| Ok(Vec::new())).unwrap();
    assert!(gone.freed > 0 && world.layers() == 0, "{gone:?}");
}
