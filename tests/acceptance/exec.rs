//! `exec`: another program in a container that runs.

use crate::support::World;

/// Exit code, environment, directory, user and streams are what was asked for.
#[test]
fn a_command_runs_inside_with_what_was_asked_for() {
    let world = World::with("pair");
    world.run("up -d").succeeds();
    assert_eq!(world.run("exec -T left sh -c 'echo $SIDE; exit 4'").exits_with(4).line(), "left");
    assert_eq!(world.run("exec -T -e SIDE=lee left sh -c 'echo $SIDE'").succeeds().line(), "lee");
    assert_eq!(world.run("exec -T -w /etc left pwd").succeeds().line(), "/etc");
    assert_eq!(world.run("exec -T -u nobody left id -u").succeeds().line(), "65534");
    world.run("exec -T left no-such-program").exits_with(127);
    world.run("exec -T left /etc/passwd").exits_with(126);
    world.run("exec -T nobody-home true").exits_with(1).complains("nobody-home");
    let left = world.container("left");
    let mut cat = world.start(&format!("exec -i {} cat", left.id()));
    cat.types("typed\n");
    assert_eq!(cat.ends().succeeds().stdout, "typed\n");
}

/// It is as confined as the container: same namespaces, capabilities, filter and control group.
#[test]
fn a_command_is_as_confined_as_the_container() {
    let world = World::with("pair");
    world.run("up -d").succeeds();
    let left = world.container("left");
    let told = left
        .sh("grep -E '^(CapEff|CapBnd|Seccomp):' /proc/self/status; (readlink /proc/self/ns/net; readlink /proc/1/ns/net) | uniq | wc -l; echo $$")
        .succeeds();
    let words: Vec<_> = told.stdout.split_whitespace().collect();
    assert_eq!(words[..7], ["CapEff:", "00000000a80425fb", "CapBnd:", "00000000a80425fb", "Seccomp:", "2", "1"], "{}", told.told());
    assert_ne!(words[7], "1");

    let sleeper = world.start(&format!("exec {} sleep 777", left.id()));
    crate::support::eventually(crate::support::seconds(10), || {
        let inside = left.processes();
        if inside.iter().any(|process| process.command == "sleep 777") { Ok(()) } else { Err(format!("not in its cgroup: {inside:?}")) }
    });
    drop(sleeper);
}

/// `-it` is a terminal of the caller's size.
#[test]
fn a_terminal_works() {
    let world = World::with("pair");
    world.run("up -d").succeeds();
    let mut shell = world.start_on_terminal("compose exec left sh");
    shell.types("tty; stty size; echo status-$((40+2))\n");
    shell.prints("/dev/pts/");
    shell.prints("30 100");
    shell.prints("status-42");
    shell.types("exit 5\n");
    shell.ends().exits_with(5);
}

/// A container that does not run is named in the refusal.
#[test]
fn a_stopped_container_is_refused() {
    let world = World::new();
    world.coracle("run --name over busybox true").succeeds();
    world.coracle("exec over true").exits_with(1).complains("over").complains("hint:");
}
