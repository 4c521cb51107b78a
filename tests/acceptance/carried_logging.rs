//! Log drivers and their options: how much is kept, and what of it can be read.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

/// A log with `max-size` and `max-file` stays small on disk, and its end can be read.
#[test]
fn a_log_stays_as_small_as_it_is_to_be() {
    let world = World::with_file(
        "name: chatter
services:
  small:
    image: busybox
    command: sh -c 'seq 1 200000; echo last words; exec sleep 1000'
    logging: {driver: json-file, options: {max-size: 100k, max-file: \"3\", tag: x}}
  silent:
    image: busybox
    command: sh -c 'echo secret; exec sleep 1000'
    logging: {driver: none}
",
    );
    world.run("up -d").succeeds().complains("`logging.options.tag` is not carried out");
    eventually(seconds(20), || {
        let told = world.run("logs --no-log-prefix -n 1 small");
        if told.stdout == "last words\n" { Ok(()) } else { Err(told.told()) }
    });
    let log = fs::metadata(world.root().join("containers").join(world.container("small").id()).join("log.1")).unwrap();
    assert!(log.len() > 1 << 20, "all of it was written");
    assert!(log.blocks() * 512 < 400 << 10, "{} bytes are on disk", log.blocks() * 512);
    let whole = world.run("logs --no-log-prefix small").succeeds().stdout;
    assert!(whole.len() > 150 << 10 && whole.len() < 310 << 10, "{} bytes can be read", whole.len());
    let first: usize = whole.lines().next().unwrap().parse().expect("a whole line");
    assert!(whole.starts_with(&format!("{first}\n{}\n", first + 1)) && whole.ends_with("200000\nlast words\n"));
    let told = world.run("logs silent").succeeds();
    assert!(!told.stdout.contains("secret") && told.stderr.contains("`none`"), "{}", told.told());
}

/// Without a log, who is attached sees everything all the same.
#[test]
fn output_without_a_log_is_for_who_is_attached() {
    let world = World::new();
    let told = world.coracle("run --name quiet --log-driver none busybox seq 1 500000").succeeds();
    assert_eq!(told.stdout.lines().count(), 500_000);
    world.coracle("logs quiet").exits_with(1).complains("`none`");
    let told = world.coracle("inspect --format '{{json .HostConfig.LogConfig}}' quiet").succeeds();
    assert_eq!(told.line(), r#"{"Type":"none","Config":{}}"#);
}

/// A driver or an option that nobody knows is refused before anything is made.
#[test]
fn unknown_log_drivers_are_refused() {
    let world = World::with_file("services:\n  web: {image: busybox, command: sleep 1, logging: {driver: smoke}}\n");
    world.run("up -d").exits_with(1).complains("there is no log driver `smoke`");
    world.coracle("run --rm --log-opt max-size=much busybox true").exits_with(125).complains("max-size");
    world.coracle("run --rm --log-driver fluentd busybox true").succeeds().complains("`driver: fluentd` is not carried out");
    assert_eq!(world.coracle("ps -a -q").succeeds().stdout, "");
}
