//! `logs`: every line, in order, by service; the end of a file, and what is yet to come.

use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

const COUNTING: &str =
    "services:\n  counter:\n    image: busybox\n    command: sh -c 'for n in 1 2 3 4 5; do echo line $$n; done; echo complaint >&2'\n";

fn finished(world: &World) {
    eventually(seconds(20), || {
        let told = world.run("ps -a");
        if told.stdout.contains("Exited (0)") { Ok(()) } else { Err(told.told()) }
    });
}

/// Both streams are kept, with the service's name before each line unless asked otherwise.
#[test]
fn lines_carry_the_services_name() {
    let world = World::with_file(COUNTING);
    world.run("up -d").succeeds();
    finished(&world);
    let told = world.run("logs").succeeds();
    for line in ["counter-1  | line 1\n", "counter-1  | line 5\n", "counter-1  | complaint\n"] {
        assert!(told.stdout.contains(line), "{}", told.told());
    }
    let told = world.run("logs --no-log-prefix --tail 3 counter").succeeds();
    assert_eq!(told.stdout.lines().filter(|line| line.starts_with("line")).collect::<Vec<_>>(), ["line 4", "line 5"]);
    let stamped = world.run("logs -t --no-log-prefix --tail 1").succeeds();
    assert!(stamped.stdout.starts_with("20") && stamped.stdout.contains("T"), "{}", stamped.told());
}

/// Of a container alone, standard error goes to standard error.
#[test]
fn the_streams_of_a_lone_container_stay_apart() {
    let world = World::new();
    world.coracle("run -d --name two busybox sh -c 'echo out; echo err >&2; printf unfinished'").succeeds();
    world.coracle("wait two").succeeds().says("0");
    let told = world.coracle("logs two").succeeds();
    assert_eq!((told.stdout.as_str(), told.stderr.as_str()), ("out\nunfinished", "err\n"));
}

/// `-f` shows lines as they come and ends with the last container.
#[test]
fn following_ends_with_the_container() {
    let world = World::new();
    world.file("go", "");
    world.coracle("run -d --name slow -v ./:/p busybox sh -c 'echo early; while [ ! -s /p/go ]; do sleep 0.1; done; echo late'").succeeds();
    let follower = world.start("logs -f slow");
    follower.prints("early\n");
    world.file("go", "now");
    let told = follower.ends().succeeds();
    assert_eq!(told.stdout, "early\nlate\n");
}
