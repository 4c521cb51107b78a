//! `buildx`: what scripts ask of builders before they build, and images as registries have them.

use serde_json::Value;

use crate::support::Door;
use crate::support::OwnRegistry;
use crate::support::World;

/// What the actions that set up a builder do: make one, look at it, build with it, remove it.
#[test]
fn a_script_makes_itself_a_builder() {
    let world = World::new();
    world.file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    let version = world.coracle("buildx version").succeeds();
    let word = version.line().split(' ').nth(1).unwrap().to_owned();
    assert!(word.starts_with('v') && word[1..].split('.').all(|part| part.parse::<u32>().is_ok()), "{word}");
    world.coracle("buildx inspect --bootstrap").succeeds().says("Name:   default\nDriver: docker\n").says("Platforms:        linux/");
    world.coracle("buildx build --builder mine .").exits_with(1).complains("no builder \"mine\" found");
    let flags = ["--driver", "docker-container", "--buildkitd-flags", "--allow-insecure-entitlement network.host", "--use"];
    let made = world.coracle_with(&[&["buildx", "create", "--name", "mine"][..], &flags].concat()).succeeds();
    assert_eq!(made.stdout, "mine\n");
    assert!(made.stderr.contains("`--buildkitd-flags` makes no difference"), "{}", made.told());
    world.coracle("buildx create --name mine").exits_with(1).complains("existing instance for \"mine\"");
    world.coracle("buildx create --name mine --append").succeeds();
    world.coracle("buildx inspect mine").succeeds().says("Driver: docker-container");
    world.coracle("buildx inspect").succeeds().says("Name:   mine\n");
    let listed = world.coracle("buildx ls").succeeds();
    assert!(
        listed.stdout.starts_with("NAME/NODE") && listed.stdout.contains("mine*") && listed.stdout.contains(" \\_ default"),
        "{}",
        listed.told()
    );
    let rows = world.coracle("buildx ls --format json").succeeds();
    let current: Vec<bool> =
        rows.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["Current"].as_bool().unwrap()).collect();
    assert_eq!(current, [false, true]);
    world.coracle("buildx build -q --builder mine -t built .").succeeds();
    world.coracle("buildx --builder mine build -q -t built .").succeeds();
    world.coracle("buildx du --builder mine").succeeds();
    world.coracle("buildx stop mine").succeeds();
    world.coracle("buildx rm mine").succeeds().complains("mine removed");
    world.coracle("buildx rm").exits_with(1).complains("cannot remove the builder `default`");
    world.coracle("buildx use mine").exits_with(1).complains("no builder \"mine\" found");
    world.coracle("buildx use default").succeeds();
    world.coracle("buildx create --driver kubernetes").exits_with(1).complains("`kubernetes` is elsewhere");
    world.coracle("buildx create tcp://elsewhere:1234").exits_with(1).complains("`tcp://elsewhere:1234` is elsewhere");
    world.coracle("buildx bake --print web").exits_with(1).complains("`coracle compose build`");
    world.coracle("buildx history ls").exits_with(1).complains("builds leave no records");
}

/// Images of two names become one, with what is said of them; it is pulled by platform, and looked at as it lies there.
#[test]
fn images_in_registries_become_one() {
    let world = World::new();
    let registry = OwnRegistry::start(&world, 5001, Door::Open);
    let name = |rest: &str| format!("{}/{rest}", registry.address());
    world.file("Dockerfile", "FROM scratch\nARG KIND\nLABEL kind=$KIND\nCOPY Dockerfile /\n");
    for (architecture, repository) in [("amd64", "one/web"), ("arm64", "other/web")] {
        let flags = format!("--platform linux/{architecture} --build-arg KIND={architecture} --provenance mode=max");
        world.coracle(&format!("build -q {flags} -t {} --push .", name(&format!("{repository}:1")))).succeeds();
    }
    let (one, other, whole) = (name("one/web:1"), name("other/web:1"), name("one/web:all"));
    world.coracle(&format!("buildx imagetools create {one} {other}")).exits_with(1).complains("can't push with no tags specified");
    let shown = world.coracle(&format!("buildx imagetools create --dry-run {one} {other}")).succeeds();
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["manifests"].as_array().unwrap().len(), 4, "two images, and what is said of each");
    world.coracle(&format!("buildx imagetools inspect {whole}")).exits_with(1).complains("not found");
    let create = format!("buildx imagetools create -t {whole} -t {} --annotation index:a=b {one} {other}", name("one/web:too"));
    let told = world.coracle(&create).succeeds();
    let digest = told.stderr.split(' ').nth(1).unwrap().to_owned();
    assert!(registry.blob(&digest).is_some(), "{}", told.told());
    let seen = world.coracle(&format!("buildx imagetools inspect {whole}")).succeeds();
    seen.says(&format!("Digest:    {digest}\n"))
        .says("  Platform:    unknown/unknown\n")
        .says("vnd.docker.reference.type:   attestation-manifest");
    let format = |template: &str| {
        world.coracle_with(&["buildx", "imagetools", "inspect", "--format", template, &whole]).succeeds().line().to_owned()
    };
    assert_eq!(format("{{.Manifest.Digest}} {{.Manifest.MediaType}}"), format!("{digest} application/vnd.oci.image.index.v1+json"));
    assert_eq!(format("{{range .Manifest.Manifests}}{{.Platform.Architecture}} {{end}}"), "amd64 unknown arm64 unknown ");
    assert_eq!(format("{{(index .Image \"linux/arm64\").Config.Labels.kind}}"), "arm64");
    let said: Value = serde_json::from_str(&format("{{json .Provenance}}")).unwrap();
    let request = &said["linux/amd64"]["SLSA"]["buildDefinition"]["externalParameters"]["request"];
    assert_eq!(request["args"]["build-arg:KIND"], "amd64", "{said}");
    let raw = world.coracle(&format!("buildx imagetools inspect --raw {whole}")).succeeds();
    assert_eq!(serde_json::from_str::<Value>(&raw.stdout).unwrap()["annotations"]["a"], "b");
    world.coracle("image prune -af").succeeds();
    for architecture in ["arm64", "amd64"] {
        world.coracle(&format!("pull -q --platform linux/{architecture} {whole}")).succeeds();
        let label = world.coracle(&format!("image inspect --format {{{{.Config.Labels.kind}}}} {whole}")).succeeds();
        assert_eq!(label.line(), architecture);
    }
    // One of the platforms alone; none at all.
    let part = world.coracle(&format!("buildx imagetools create --dry-run -p linux/arm64 {whole}")).succeeds();
    assert_eq!(serde_json::from_str::<Value>(&part.stdout).unwrap()["manifests"].as_array().unwrap().len(), 2);
    world.coracle(&format!("buildx imagetools create --dry-run -p linux/s390x {whole}")).exits_with(1).complains("none of the manifests");
}
