//! `build`: the instructions, the cache, and what a RUN sees.

use crate::support::World;
use crate::support::seconds;

/// Every instruction of a Dockerfile does what Docker's does.
#[test]
fn every_instruction_does_its_part() {
    let world = World::with("build");
    world.coracle("build -t every --build-arg FLAVOUR=salt .").succeeds();
    let inside =
        |script: &str| world.coracle_with(&["run", "--rm", "--entrypoint", "sh", "every", "-c", script]).succeeds().line().to_owned();
    assert_eq!(inside("cat /made/flavour"), "salt");
    assert_eq!(inside("stat -c %u:%g /made/owned"), "33:33");
    assert_eq!(inside("cat /made/from-first; ls /made/tree"), "first\na\nb");
    assert_eq!(inside("pwd; id -u; echo $GREETING"), "/made\n33\nhello world");
    assert_eq!(inside("ls /made/context"), "kept.txt", "the .dockerignore holds");
    assert_eq!(inside("cat /made/shell"), "by ash");
    assert_eq!(inside("cat /made/here"), "two\nlines");
    assert_eq!(world.coracle("run --rm every").succeeds().line(), "entry with default");
    assert_eq!(world.coracle("run --rm every given").succeeds().line(), "entry with given");
    let said = world.coracle("inspect --format '{{json .Config}}' every").succeeds().stdout;
    for part in ["\"org.example.kind\":\"test\"", "\"8080/tcp\"", "\"SIGINT\"", "\"/made/volume\"", "\"CMD-SHELL\""] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    world.is_empty();
}

/// An unchanged build runs nothing; a change re-runs only what follows it.
#[test]
fn only_what_changed_is_run_again() {
    let world = World::new();
    world.file("Dockerfile", "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /first\nCOPY app /app\nRUN cat /proc/sys/kernel/random/uuid > /second\nCMD cat /first /second\n");
    world.file("app", "one");
    let build = || {
        let told = world.coracle("build -t app .").succeeds();
        let lines: Vec<_> = world.coracle("run --rm app").succeeds().stdout.lines().map(str::to_owned).collect();
        (told, lines)
    };
    let (_, first) = build();
    let (again, second) = build();
    assert_eq!(first, second, "nothing changed: {}", again.told());
    assert!(again.took < seconds(3), "{}", again.told());
    world.file("app", "two");
    let (_, third) = build();
    assert_eq!(third[0], first[0], "before the change");
    assert_ne!(third[1], first[1], "after the change");
    let (_, fourth) = {
        world.coracle("build --no-cache -t app .").succeeds();
        build()
    };
    assert_ne!(fourth[0], third[0]);
    // An image with the same content that was touched only is still the same.
    world.outside(&["touch", "app"]).succeeds();
    assert_eq!(build().1, fourth);
}

/// A RUN has a network, the host's resolver, and is as confined as any container.
#[test]
fn a_run_has_a_network_and_a_resolver() {
    let world = World::new();
    world.answer_names("outer.test", [10, 0, 2, 2]);
    let rule = std::fs::read_to_string(world.root().join("registries.conf")).unwrap();
    let port = rule.split("10.0.2.2:").nth(1).unwrap().split('/').next().unwrap().to_owned();
    world.file(
        "Dockerfile",
        &format!("FROM busybox\nRUN wget -q -O /answer http://outer.test:{port}/v2/ && cat /answer\nRUN grep CapEff /proc/self/status\n"),
    );
    let told = world.coracle("build --progress plain -t net .").succeeds();
    assert!(format!("{}{}", told.stdout, told.stderr).contains("00000000a80425fb"), "{}", told.told());
    world.is_empty();
}

/// Two stages that do not need each other, and one nobody needs: the last is not run.
#[test]
fn a_stage_that_nobody_needs_is_not_run() {
    let world = World::new();
    world.file("Dockerfile", "FROM busybox AS unused\nRUN exit 1\nFROM busybox AS used\nRUN echo used > /used\nFROM busybox\nCOPY --from=used /used /\nCMD cat /used\n");
    world.coracle("build -t staged .").succeeds();
    world.coracle("run --rm staged").succeeds().says("used");
    world.coracle("build --target unused .").exits_with(1);
}

/// Warnings are shown with the lines they are about, and make a check fail; a build only says them.
#[test]
fn a_dockerfile_is_checked() {
    let world = World::new();
    world.file("Dockerfile", "FROM busybox\nENV KIND $KIN\nCMD sleep 1\n");
    let checked = world.coracle("build --check .").exits_with(1);
    let expected = [
        "Check complete, 3 warnings have been found!",
        "",
        "WARNING: LegacyKeyValueFormat - https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/",
        "\"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
        " --> Dockerfile:2:1",
        "  |",
        "2 | ENV KIND $KIN",
        "  | ^^^^^^^^^^^^^",
    ];
    let lines: Vec<_> = checked.stdout.lines().collect();
    let start = lines.iter().position(|line| line.contains("LegacyKeyValueFormat")).unwrap();
    assert_eq!([&lines[..2], &lines[start..start + 6]].concat(), expected, "{}", checked.told());
    checked.says("UndefinedVar").says("JSONArgsRecommended");
    assert!(!world.root().join("layers").exists(), "nothing was pulled for a look");
    world.coracle("build -t said .").succeeds().complains("3 warnings found").complains("JSONArgsRecommended").complains("(line 3)");
    world.file("Dockerfile", "# check=error=true\nFROM busybox\nCMD sleep 1\n");
    world.coracle("build .").exits_with(1).complains("lint violation found for rules: JSONArgsRecommended").complains("Dockerfile:3:1");
    world.file("Dockerfile", "FROM busybox\nCMD [\"sleep\", \"1\"]\n");
    world.coracle("build --check .").succeeds().says("Check complete, no warnings found.");
}
