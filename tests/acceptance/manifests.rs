//! `manifest`: one name for images of several platforms, in a real registry.

use crate::support::Door;
use crate::support::OwnRegistry;
use crate::support::World;

#[test]
fn an_index_is_made_of_images_and_pulled_by_its_name() {
    let world = World::new();
    let registry = OwnRegistry::start(&world, 5001, Door::Open);
    let name = |rest: &str| format!("{}/{rest}", registry.address());
    world.file("Dockerfile", "FROM scratch\nARG KIND\nLABEL kind=$KIND\nCOPY Dockerfile /\n");
    for (platform, tag) in [("linux/amd64", "shop/web:amd64"), ("linux/arm64", "other/web:arm64")] {
        let line = format!("build -q --platform {platform} --build-arg KIND={tag} -t {} .", name(tag));
        world.coracle(&line).succeeds();
        world.coracle(&format!("push -q {}", name(tag))).succeeds();
    }
    let (list, amd64, arm64) = (name("shop/web:all"), name("shop/web:amd64"), name("other/web:arm64"));
    world.coracle(&format!("manifest push {list}")).exits_with(1).complains("manifest create");
    world.coracle(&format!("manifest create {list} {amd64} {arm64}")).succeeds().says(&format!("Created manifest list {list}"));
    world.coracle(&format!("manifest create {list} {amd64}")).exits_with(1).complains("--amend");
    world.coracle(&format!("manifest annotate --variant v8 {list} {arm64}")).succeeds();
    world.coracle(&format!("manifest inspect {list}")).succeeds().says("\"architecture\": \"arm64\"").says("\"variant\": \"v8\"");
    world.coracle(&format!("manifest annotate --arch nonsense {list} {arm64}")).exits_with(1).complains("unsupported os/arch combination");
    let told = world.coracle(&format!("manifest inspect -v {list}")).succeeds().says("\t\t\"OCIManifest\": {").says("\"Raw\": \"");
    assert!(told.stdout.starts_with("[\n\t{\n\t\t\"Ref\": \"127.0.0.1:5001/shop/web:amd64\""), "{}", told.told());
    let digest = world.coracle(&format!("manifest push --purge {list}")).succeeds().line().to_owned();
    assert!(registry.blob(&digest).is_some(), "the registry has no index {digest}");
    world.coracle(&format!("manifest rm {list}")).exits_with(1).complains("no such manifest list");

    world.coracle("image prune -af").succeeds();
    for (platform, tag) in [("linux/arm64", "other/web:arm64"), ("linux/amd64", "shop/web:amd64")] {
        world.coracle(&format!("pull -q --platform {platform} {list}")).succeeds();
        let label = world.coracle(&format!("image inspect --format {{{{.Config.Labels.kind}}}} {list}")).succeeds();
        assert_eq!(label.line(), tag);
    }
    world.coracle(&format!("manifest inspect {list}")).succeeds().says("image.index").says("\t\"manifests\": [");
    let told = world.coracle(&format!("manifest inspect --verbose {list}")).succeeds();
    assert_eq!(told.stdout.matches("\"OCIManifest\"").count(), 2, "{}", told.told());
    world.coracle(&format!("manifest inspect -v {amd64}")).succeeds().says("\t\"Descriptor\": {").says("\"architecture\": \"amd64\"");
    world.coracle("manifest inspect 127.0.0.1:5001/none").exits_with(1).complains("cannot read the manifest `127.0.0.1:5001/none:latest`");
    world.coracle("images --tree").succeeds().says(&list).says("└─ linux/amd64");
}
