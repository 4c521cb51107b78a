//! What Compose does with a registry beside pulling: pushing, and asking for digests.

use crate::support::Door;
use crate::support::OwnRegistry;
use crate::support::World;

#[test]
fn what_is_built_is_pushed_and_pinned() {
    let world = World::new();
    let registry = OwnRegistry::start(&world, 5001, Door::Open);
    let address = registry.address();
    let image = format!("{address}/shop/web");
    world.file("Dockerfile", "FROM busybox\nRUN date >/made\n");
    world.file(
        "compose.yaml",
        &format!(
            "services:\n  web:\n    build: {{context: ., tags: [{image}:two]}}\n    image: {image}:one\n    depends_on: [unnamed, base]\n  \
             unnamed: {{build: .}}\n  base: {{build: ., image: {address}/shop/base}}\n"
        ),
    );
    let printed = world.coracle("compose build --print web").succeeds();
    assert!(printed.stdout.contains("\"targets\": [\n        \"web\"\n") && registry.blobs() == 0, "{}", printed.told());
    world.coracle("compose push web").exits_with(1).complains(&format!("{image}:one"));
    world.coracle("compose build -q").succeeds();
    world.coracle("compose --dry-run push web").succeeds().says(&format!("push image {image}:two"));
    assert_eq!(registry.blobs(), 0, "a dry run pushes");
    world.coracle("compose push -q web").succeeds();
    let pushed = registry.blobs();
    assert!(pushed > 0);
    // `base` is not there yet.
    world.coracle("compose config --resolve-image-digests").exits_with(1).complains("shop/base");
    world.coracle("compose push --include-deps web").succeeds().complains("unnamed Skipped");
    let locked = world.coracle("compose config --lock-image-digests --no-interpolate").succeeds();
    let digest = locked.stdout.rsplit_once('@').map(|(_, digest)| digest.trim()).unwrap_or_default();
    assert!(locked.stdout.ends_with(&format!("  web:\n    image: {image}:one@{digest}\n")), "{}", locked.told());
    assert!(registry.blob(digest).is_some(), "{}", locked.told());
    let resolved = world.coracle("compose config --resolve-image-digests").succeeds();
    assert_eq!(resolved.stdout.matches("@sha256:").count(), 2, "{}", resolved.told());

    world.coracle(&format!("rmi {image}:one {image}:two")).succeeds();
    world.file("lock.yaml", &locked.stdout);
    world.coracle("compose -f compose.yaml -f lock.yaml pull -q --ignore-buildable base").succeeds();
    world.coracle(&format!("pull -q {image}:two")).succeeds();

    world.file("Dockerfile", "FROM busybox\nRUN echo other >/made\n");
    world.coracle("compose build -q --push web").succeeds();
    assert!(registry.blobs() > pushed, "nothing new came");
    world.coracle("compose push --ignore-push-failures unnamed").succeeds();
}
