//! What a build tells programs: its progress, its metadata, and what can be asked of a Dockerfile.

use std::fs;

use serde_json::Value;

use crate::support::Outcome;
use crate::support::World;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn metadata(world: &World, variable: &str, flags: &str) -> (Outcome, Value) {
    let program = crate::support::program();
    let line = format!("{variable} {} build -q --metadata-file told --iidfile id {flags} .", program.display());
    let told = world.outside(&["sh", "-c", &line]).succeeds();
    (told, json(&fs::read_to_string(world.project().join("told")).unwrap()))
}

/// The keys are buildx's; files are no image and have no id.
#[test]
fn what_was_made_is_told_as_buildx_tells_it() {
    let world = World::new();
    world.file("Dockerfile", "FROM busybox\nARG KIND=1\nRUN echo $KIND\nCMD sleep 1\n");
    let (stored, told) = metadata(&world, "", "-t made:1 -t made:2");
    assert_eq!(told["image.name"], "docker.io/library/made:1,docker.io/library/made:2");
    assert_eq!(told["containerimage.config.digest"], stored.line());
    assert_eq!(fs::read_to_string(world.project().join("id")).unwrap(), stored.line());
    let provenance = &told["buildx.build.provenance"];
    assert!(provenance["materials"][0]["uri"].as_str().unwrap().starts_with("pkg:docker/busybox@latest"), "{told}");
    assert!(provenance["metadata"].is_null() && told["buildx.build.ref"].as_str().unwrap().starts_with("default/default/"), "{told}");
    assert!(told["buildx.build.warnings"].is_null());
    let (_, told) = metadata(&world, "BUILDX_METADATA_PROVENANCE=max BUILDX_METADATA_WARNINGS=1", "--build-arg KIND=2");
    assert_eq!(told["buildx.build.provenance"]["invocation"]["parameters"]["args"]["build-arg:KIND"], "2", "{told}");
    assert!(told["buildx.build.warnings"][0]["url"].as_str().unwrap().contains("json-args-recommended"), "{told}");
    let (_, told) = metadata(&world, "BUILDX_METADATA_PROVENANCE=disabled", "-t made:3 -o type=oci,dest=out.tar");
    assert_eq!(told["image.name"], "docker.io/library/made:3");
    assert!(told["containerimage.descriptor"]["digest"].is_string() && told["buildx.build.provenance"].is_null(), "{told}");
    for output in ["-o files", "-o type=cacheonly"] {
        let (files, told) = metadata(&world, "", output);
        assert!(files.stdout.is_empty() && told["containerimage.digest"].is_null(), "{} {told}", files.told());
        assert_eq!(fs::read_to_string(world.project().join("id")).unwrap(), "", "{output}");
    }
    let program = crate::support::program();
    let line = format!("BUILDX_METADATA_PROVENANCE=some {} build -q --metadata-file told .", program.display());
    world.outside(&["sh", "-c", &line]).exits_with(1).complains("`min`, `max` or `disabled`");
}

/// Each line is an object of BuildKit's protocol; the step that failed says why.
#[test]
fn progress_is_told_to_programs() {
    let world = World::new();
    world.file("Dockerfile", "FROM busybox\nRUN echo 'some words'\nRUN exit 3\n");
    let lines = |told: &Outcome| -> Vec<Value> { told.stderr.lines().filter(|line| line.starts_with('{')).map(json).collect() };
    let told = world.coracle("build --progress rawjson .").exits_with(1);
    let all = lines(&told);
    let vertexes: Vec<&Value> = all.iter().filter_map(|line| line["vertexes"].as_array()).flatten().collect();
    let ended = |vertex: &&&Value| vertex["completed"].is_string();
    assert_eq!(vertexes.iter().filter(ended).count(), 2, "{}", told.told());
    let broken = vertexes.iter().find(|vertex| vertex["error"].is_string()).unwrap();
    assert!(
        broken["name"].as_str().unwrap().contains("RUN exit 3") && broken["error"].as_str().unwrap().contains("exit code: 3"),
        "{broken}"
    );
    let log = all.iter().find_map(|line| line["logs"].as_array()?.first()).unwrap();
    assert_eq!((log["data"].as_str(), log["vertex"].as_str()), (Some("c29tZSB3b3Jkcwo="), vertexes[0]["digest"].as_str()));
    let told = world.coracle("build --progress plain .").exits_with(1);
    assert!(told.stderr.contains("CACHED") && told.stderr.contains("#2 ERROR: process"), "{}", told.told());
}

/// The arguments, secrets and agents of a build, and its stages; without any, nothing is said.
#[test]
fn a_dockerfile_is_asked() {
    let world = World::new();
    world.file(
        "Dockerfile",
        "FROM busybox AS base\n# KIND is what is made\nARG KIND=one\nRUN --mount=type=secret,id=token,required --mount=type=ssh true\n# all is everything\nFROM base AS all\nRUN true\n",
    );
    let outlined = world.coracle("build --call outline .").succeeds();
    let expected = "TARGET:      all\nDESCRIPTION: is everything\n\nBUILD ARG   VALUE   DESCRIPTION\nKIND        one     is what is made\n\n\
        SECRET   REQUIRED\ntoken    true\n\nSSH       REQUIRED\ndefault\n\n";
    assert_eq!(outlined.stdout, expected);
    let outlined = json(&world.coracle("build --call outline,format=json --target base .").succeeds().stdout);
    assert_eq!(outlined["secrets"][0]["location"]["ranges"][0]["start"]["line"], 4, "{outlined}");
    assert_eq!((&outlined["name"], &outlined["ssh"][0]["name"]), (&Value::from("base"), &Value::from("default")));
    world.coracle("build --call targets .").succeeds().says("all (default)   is everything");
    let targets = json(&world.coracle("build --call targets,format=json .").succeeds().stdout);
    assert_eq!((&targets["targets"][1]["base"], targets["targets"][1]["default"].as_bool()), (&Value::from("base"), Some(true)));
    assert!(targets["sources"][0].is_string());
    world.coracle("build --call subrequests.describe .").succeeds().says("outline");
    world.coracle("build --call check --target none .").exits_with(1).complains("\"none\" could not be found");
    world.coracle("build --call what .").exits_with(125).complains("it is one of build, check, outline, targets");
    world.file("Dockerfile", "FROM busybox\n");
    assert_eq!(world.coracle("build --call outline .").succeeds().stdout, "");
    assert!(!world.root().join("layers").exists(), "nothing was pulled for an answer");
}
