//! Where a build's result goes: layouts, archives, registries, and what is said of it there.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::Door;
use crate::support::OwnRegistry;
use crate::support::World;

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).unwrap()
}

/// A blob of a layout, by a descriptor.
fn blob(layout: &Path, descriptor: &Value) -> Value {
    json(&layout.join("blobs/sha256").join(descriptor["digest"].as_str().unwrap().trim_start_matches("sha256:")))
}

/// A layout has the image, its annotations, and what is said of it; it is a base of the next build, and can be loaded.
#[test]
fn a_layout_is_whole_and_can_be_built_upon() {
    let world = World::new();
    world.file("Dockerfile", "FROM busybox\nRUN echo made >/made\n");
    let output = "type=oci,dest=out,tar=false,compression=zstd,annotation.a=1";
    world.coracle(&format!("build -t made:1 -o {output} --annotation index:b=2 --provenance mode=max .")).succeeds();
    let layout = world.project().join("out");
    let top = json(&layout.join("index.json"));
    assert_eq!(top["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], "1");
    let index = blob(&layout, &top["manifests"][0]);
    assert_eq!(index["annotations"]["b"], "2");
    let manifest = blob(&layout, &index["manifests"][0]);
    assert_eq!(manifest["annotations"]["a"], "1");
    let types: Vec<_> = manifest["layers"].as_array().unwrap().iter().map(|layer| layer["mediaType"].as_str().unwrap()).collect();
    assert!(types.iter().all(|kind| kind.ends_with("+zstd")), "{types:?}");
    let said = blob(&layout, &blob(&layout, &index["manifests"][1])["layers"][0]);
    assert_eq!(said["subject"][0]["digest"]["sha256"], index["manifests"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:"));
    let base = &said["predicate"]["buildDefinition"]["resolvedDependencies"][0];
    assert!(base["uri"].as_str().unwrap().starts_with("pkg:docker/busybox@latest") && base["digest"]["sha256"].is_string(), "{base}");

    world.file("Dockerfile", "FROM base\nCOPY --from=base /made /again\n");
    world.coracle("build -t next --build-context base=oci-layout://out:1 .").succeeds();
    world.coracle("run --rm next cat /made /again").succeeds().says("made\nmade");
    world.coracle("build --build-context base=oci-layout://out:2 .").exits_with(1).complains("it has no image `2`").complains("it has 1");
    world.coracle("build -t made:1 -o type=docker,dest=made.tar .").exits_with(1).complains("base");
    world.file("Dockerfile", "FROM busybox\nRUN echo made >/made\n");
    world.coracle("build -t made:1 -o type=docker,dest=made.tar .").succeeds();
    world.coracle("load -i made.tar").succeeds().says("made:1");
    world.coracle("run --rm made:1 cat /made").succeeds().says("made");
}

/// A push sends the image under all its names; the digest that is told is the one it can be pulled by.
#[test]
fn a_build_is_pushed() {
    let world = World::new();
    let registry = OwnRegistry::start(&world, 5001, Door::Open);
    let name = format!("{}/shop/app", registry.address());
    world.file("Dockerfile", "FROM busybox\nRUN echo pushed >/file\nCMD cat /file\n");
    world.coracle(&format!("build --push -t {name}:1 -t {name}:2 --metadata-file told --provenance true .")).succeeds();
    let told = json(&world.project().join("told"));
    let digest = told["containerimage.digest"].as_str().unwrap();
    assert_eq!(told["containerimage.descriptor"]["digest"], digest);
    assert!(registry.blob(digest).is_some(), "{told}");
    world.coracle("image prune -af").succeeds();
    world.coracle(&format!("pull -q {name}@{digest}")).succeeds();
    for version in ["1", "2"] {
        world.coracle(&format!("run --rm {name}:{version}")).succeeds().says("pushed");
    }
    // Without a tag, by its digest alone.
    world.coracle(&format!("build -q -o type=image,push=true,push-by-digest=true,name={name} --metadata-file told .")).succeeds();
    let digest = json(&world.project().join("told"))["containerimage.digest"].as_str().unwrap().to_owned();
    world.coracle(&format!("run --rm {name}@{digest}")).succeeds().says("pushed");
    world.coracle("build --push .").exits_with(1).complains("tag is needed when pushing to registry");
    world
        .coracle(&format!("build --push -t {name}:3 -o type=local,dest=d,colour=red ."))
        .exits_with(125)
        .complains("`colour` is unknown here");
}

/// Images of several platforms go out as one index, with its notes and what is said of each; a common stage is built here.
#[test]
fn several_platforms_are_pushed_as_one() {
    let world = World::new();
    let registry = OwnRegistry::start(&world, 5001, Door::Open);
    let name = format!("{}/shop/app:1", registry.address());
    world.file(
        "Dockerfile",
        "FROM --platform=$BUILDPLATFORM busybox AS tools\nARG TARGETPLATFORM BUILDPLATFORM\nRUN echo $BUILDPLATFORM $TARGETPLATFORM $(uname -m) >/made\n\
         FROM scratch\nCOPY --from=tools /made /\n",
    );
    let notes = "--annotation index:i=1 --annotation manifest-descriptor[linux/arm64]:d=2 --annotation manifest:m=3 --annotation plain=4";
    let flags = format!("--platform linux/amd64,linux/arm64 {notes} --provenance builder-id=https://ci.example/7,mode=max");
    let told = world.coracle(&format!("build --push -t {name} {flags} --metadata-file told .")).succeeds();
    let digest = json(&world.project().join("told"))["containerimage.digest"].as_str().unwrap().to_owned();
    let index: Value = serde_json::from_slice(&registry.blob(&digest).unwrap()).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    let platforms: Vec<&str> = entries.iter().map(|entry| entry["platform"]["architecture"].as_str().unwrap()).collect();
    assert_eq!(platforms, ["amd64", "arm64", "unknown", "unknown"], "{index} {}", told.told());
    assert_eq!((&index["annotations"]["i"], &entries[1]["annotations"]["d"]), (&Value::from("1"), &Value::from("2")), "{index}");
    assert!(entries[0]["annotations"].is_null(), "{index}");
    let manifest: Value = serde_json::from_slice(&registry.blob(entries[0]["digest"].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!((&manifest["annotations"]["m"], &manifest["annotations"]["plain"]), (&Value::from("3"), &Value::from("4")));
    let hung: Value = serde_json::from_slice(&registry.blob(entries[2]["digest"].as_str().unwrap()).unwrap()).unwrap();
    let said: Value = serde_json::from_slice(&registry.blob(hung["layers"][0]["digest"].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(said["predicate"]["runDetails"]["builder"]["id"], "https://ci.example/7");
    for (number, architecture) in [(0, "amd64"), (1, "arm64")] {
        world.file("Dockerfile.look", &format!("FROM {}@{}\n", name.trim_end_matches(":1"), entries[number]["digest"].as_str().unwrap()));
        world.coracle(&format!("build -q --platform linux/{architecture} -f Dockerfile.look -o look .")).succeeds();
        let made = fs::read_to_string(world.project().join("look/made")).unwrap();
        assert!(made.trim_end().contains(&format!(" linux/{architecture} ")), "{made}");
    }
    world.coracle("build -q --annotation a=b -t stored .").succeeds();
    world.coracle("build --annotation a=b -t stored .").succeeds().complains("the store keeps no annotations");
}

/// With a date given, the same sources are the same image to the bit, whenever and wherever they are built.
#[test]
fn a_dated_build_is_the_same_everywhere() {
    let world = World::new();
    let script = "mkdir -p /d/e && date +%N >/dev/null && echo x >/d/e/f && ln -s f /d/e/l";
    world.file("Dockerfile", &format!("FROM busybox\nWORKDIR /a/b\nCOPY file /file\nRUN {script}\n"));
    world.file("file", "1");
    let digest = |root: &str| {
        let program = crate::support::program();
        let build = "build -q --no-cache -o type=oci,dest=out.tar,rewrite-timestamp=true --metadata-file told .";
        let line = format!("SOURCE_DATE_EPOCH=1500000000 {root} {} {build}", program.display());
        world.outside(&["sh", "-c", &line]).succeeds();
        json(&world.project().join("told"))["containerimage.digest"].as_str().unwrap().to_owned()
    };
    let first = digest("");
    world.outside(&["touch", "file"]).succeeds();
    assert_eq!(digest(""), first);
    let listed = world.outside(&["sh", "-c", "rm -rf x && mkdir x && tar -xf out.tar -C x && cat x/blobs/sha256/*"]).succeeds();
    assert!(listed.stdout.contains("\"created\":\"2017-07-14T02:40:00Z\""), "the history is dated");
    let rule = world.root().join("registries.conf");
    let elsewhere = format!("CORACLE_REGISTRIES_CONF={} CORACLE_ROOT={}", rule.display(), world.root().with_extension("2").display());
    assert_eq!(digest(&elsewhere), first);
}

/// The files of a result, as a directory and as an archive, with what is said of them.
#[test]
fn files_come_with_their_provenance() {
    let world = World::new();
    world.file("Dockerfile", "FROM scratch\nCOPY file /dir/\n");
    world.file("file", "content");
    world.coracle("build -o out --provenance true .").succeeds();
    let said = json(&world.project().join("out/provenance.json"));
    assert_eq!(said["subject"][0]["name"], "dir/file");
    assert_eq!(said["predicateType"], "https://slsa.dev/provenance/v1");
    let piped = format!("{} build -q -o - . | tar -tf -", crate::support::program().display());
    world.outside(&["sh", "-c", &piped]).succeeds().says("dir/file");
    world.coracle("build -o type=tar,dest=out.tar --provenance true .").succeeds();
    let listed = world.outside(&["tar", "-tf", "out.tar"]).succeeds();
    assert!(listed.stdout.contains("provenance.json") && listed.stdout.contains("dir/file"), "{}", listed.told());
}

/// Makes the image `scanner`, which runs a line of the shell and has a statement to fill in.
fn build_scanner(world: &World, scan: &str) {
    let statement = r#"{"_type":"x","predicateType":"https://spdx.dev/Document","subject":[],"predicate":{"made":"MADE"}}"#;
    world.file("statement", statement);
    world.file("Dockerfile.scanner", &format!("FROM busybox\nCOPY statement /\nENTRYPOINT [\"sh\", \"-c\", \"{scan}\"]\n"));
    world.coracle("build -q -t scanner -f Dockerfile.scanner .").succeeds();
}

/// A scanner sees the result and what it says goes with the image; the second time nobody asks it.
#[test]
fn a_scanner_lists_what_an_image_is_made_of() {
    let world = World::new();
    let scan = "sed s/MADE/$(cat $BUILDKIT_SCAN_SOURCE/made)-$BUILDKIT_SCAN_EXTRA/ /statement >$BUILDKIT_SCAN_DESTINATION/sbom.spdx.json";
    build_scanner(&world, scan);
    world.file("Dockerfile", "FROM busybox\nRUN echo this >/made\n");
    let build = "build --progress plain -o type=oci,dest=out,tar=false --sbom generator=scanner,EXTRA=more .";
    world.coracle(build).succeeds();
    let layout = world.project().join("out");
    let index = blob(&layout, &json(&layout.join("index.json"))["manifests"][0]);
    let said = blob(&layout, &blob(&layout, &index["manifests"][1])["layers"][0]);
    assert_eq!(said["predicateType"], "https://spdx.dev/Document");
    assert_eq!(said["predicate"]["made"], "this-more");
    let again = world.coracle(build).succeeds();
    assert!(!again.stderr.contains("DONE") || again.stderr.contains("CACHED"), "{}", again.told());
    world.coracle("build --sbom generator=scanner .").succeeds().complains("the store keeps no attestations");
}

/// Other stages and the context are scanned if the Dockerfile or the command line says so.
#[test]
fn a_scanner_looks_at_stages_and_the_context() {
    let world = World::new();
    let scan = "x=${BUILDKIT_SCAN_SOURCE_EXTRAS:-/none}; sed s/MADE/$(cat $BUILDKIT_SCAN_SOURCE/made $x/*/made 2>/dev/null | tr '\\\\n' -)$(ls $x 2>/dev/null | tr '\\\\n' -)/ /statement >$BUILDKIT_SCAN_DESTINATION/sbom.spdx.json";
    build_scanner(&world, scan);
    world.file("context/made", "context\n");
    let stages = "FROM busybox AS tools\nRUN echo tools >/made\nFROM busybox AS other\nRUN echo other >/made\nFROM busybox\n\
        ARG BUILDKIT_SBOM_SCAN_CONTEXT=true\nCOPY --from=tools /made /made\nCOPY --from=other /made /other\nRUN echo this >/made\n";
    world.file("context/Dockerfile", &format!("ARG BUILDKIT_SBOM_SCAN_STAGE=tools\n{stages}"));
    let layout = world.project().join("out");
    let made = || {
        world.coracle("build -o type=oci,dest=out,tar=false --sbom generator=scanner context").succeeds();
        let index = blob(&layout, &json(&layout.join("index.json"))["manifests"][0]);
        blob(&layout, &blob(&layout, &index["manifests"][1])["layers"][0])["predicate"]["made"].clone()
    };
    assert_eq!(made(), "this-context-tools-sbom-context-sbom-tools-");
    world.file("context/Dockerfile", &stages.replace("ARG BUILDKIT_SBOM_SCAN_CONTEXT=true\n", ""));
    assert_eq!(made(), "this-", "nothing beside the result");
}

/// A stage on a directory begins with its files.
#[test]
fn a_stage_stands_on_a_directory() {
    let world = World::new();
    world.file("root/etc/file", "from a directory");
    world.file("Dockerfile", "FROM files AS one\nCOPY Dockerfile /more\nFROM scratch\nCOPY --from=one / /\n");
    world.coracle("build -o out --build-context files=root .").succeeds();
    assert_eq!(fs::read_to_string(world.project().join("out/etc/file")).unwrap(), "from a directory");
    assert!(world.project().join("out/more").is_file());
}
