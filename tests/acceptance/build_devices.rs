//! What a RUN is given of the machine by name, and a shell where it failed.

use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

const SPEC: &str = r#"{"cdiVersion": "0.6.0", "kind": "example.com/part", "devices": [
    {"name": "one", "containerEdits": {"env": ["PART=one"], "deviceNodes": [{"path": "/dev/part", "hostPath": "/dev/zero"}]}},
    {"name": "two", "containerEdits": {"env": ["OTHER=two"]}}]}"#;

/// A device is there while the RUN lasts, if the build allows it; an optional one may be missing, a required one not.
#[test]
fn a_run_is_given_devices_by_name() {
    let world = World::new();
    world.file("part.json", SPEC);
    world.outside(&["sh", "-c", "mount -t tmpfs run /run && mkdir /run/cdi && cp part.json /run/cdi/"]).succeeds();
    world.file(
        "Dockerfile",
        "FROM busybox\nRUN --device=example.com/part=one,required echo $PART $(stat -c %t:%T /dev/part) >/one\n\
         RUN --device=example.com/part=* echo $PART $OTHER >/all\nRUN --device=example.com/none=x test ! -e /dev/part && echo without >/none\n",
    );
    world
        .coracle("build .")
        .exits_with(1)
        .complains("is requested by the build but not allowed")
        .complains("`--allow device=example.com/part=one`");
    world.coracle("build -t parts --allow device=example.com/part .").succeeds().complains("there is no device \"example.com/none=x\"");
    let seen = world.coracle("run --rm parts sh -c 'cat /one /all /none; ls /dev/part'");
    assert_eq!(seen.stdout, "one 1:5\none two\nwithout\n", "{}", seen.told());
    // What a spec says of itself: a word for several devices, and that every build may have them.
    let notes = ["device.class", "device.autoallow"].map(|key| format!("\"org.mobyproject.buildkit.{key}\""));
    let spec =
        SPEC.replacen("\"devices\"", &format!("\"annotations\": {{{}: \"parts\", {}: \"true\"}}, \"devices\"", notes[0], notes[1]), 1);
    world.file("part.json", &spec);
    world.outside(&["cp", "part.json", "/run/cdi/"]).succeeds();
    world.file("Dockerfile", "FROM busybox\nRUN --device=parts,required echo $PART $OTHER >/class\n");
    world.coracle("build -t class .").succeeds();
    world.coracle("run --rm class cat /class").succeeds().says("one two");
    world.file("Dockerfile", "FROM busybox\nRUN --device=example.com/none=x,required true\n");
    world.coracle("build --allow device .").exits_with(1).complains("required device \"example.com/none=x\" is not registered");
    world.uncover_run();
}

/// The shell sees what the failed command left; its end is the build's, and nothing is left.
#[test]
fn a_failed_step_can_be_looked_at() {
    let world = World::new();
    world.file("Dockerfile", "FROM busybox\nENV KIND=special\nRUN echo half >/made; exit 3\n");
    let mut build = world.start_on_terminal("build --debug -t broken .");
    build.prints("a shell in the root of the failed step");
    build.types("echo $KIND-$(cat /made)-$((40+2))\n");
    build.prints("special-half-42");
    assert!(world.processes().iter().any(|process| process.command == "/bin/sh"), "the shell is in the container");
    build.types("exit\n");
    let told = build.ends().exits_with(1);
    assert!(told.stdout.contains("exit code: 3"), "{}", told.told());
    eventually(seconds(20), || world.left());
    let told = world.coracle("build --debug -t broken .").exits_with(1);
    told.complains("`--debug` opens no shell").complains("exit code: 3");
}
