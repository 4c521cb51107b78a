//! `coracle run`: exit codes, the view from inside, isolation.

use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

/// The exit code is the program's, or Docker's 125, 126, 127 and 128+n.
#[test]
fn the_exit_code_is_the_programs_or_dockers() {
    let world = World::new();
    world.coracle("run --rm busybox true").succeeds();
    world.coracle("run --rm busybox sh -c 'exit 3'").exits_with(3);
    world.coracle("run --rm busybox sh -c 'sh -c \"kill -9 \\$\\$\"; exit $?'").exits_with(137);
    world.coracle("run --rm busybox /etc/passwd").exits_with(126);
    world.coracle("run --rm busybox no-such-program").exits_with(127).complains("no-such-program");
    world.coracle("run --rm --no-such-flag busybox true").exits_with(125);
    world.coracle("run --rm no-such-image:1 true").exits_with(125);
    assert_eq!(world.coracle("ps -a -q").succeeds().stdout, "");
    world.is_empty();
}

/// Standard output, standard error and standard input are the program's own.
#[test]
fn the_three_streams_are_the_programs() {
    let world = World::new();
    let told = world.coracle("run --rm busybox sh -c 'echo out; echo err >&2'").succeeds();
    assert_eq!((told.stdout.as_str(), told.stderr.ends_with("err\n")), ("out\n", true), "{}", told.told());

    let mut cat = world.start("run --rm -i busybox cat");
    cat.types("one line\nand another\n");
    let told = cat.ends().succeeds();
    assert_eq!(told.stdout, "one line\nand another\n");
}

/// Not a byte of a long output is lost, and its end is waited for.
#[test]
fn a_megabyte_of_output_arrives_whole() {
    let world = World::new();
    let told = world.coracle("run --rm busybox sh -c 'seq 1 150000'").succeeds();
    let numbers: Vec<_> = told.stdout.lines().collect();
    assert_eq!((numbers.len(), numbers.first(), numbers.last()), (150_000, Some(&"1"), Some(&"150000")));
}

/// `-it` is a terminal with the caller's size, on which Ctrl-C interrupts the program.
#[test]
fn a_terminal_works() {
    let world = World::new();
    let mut shell = world.start_on_terminal("run --rm -it busybox sh");
    shell.types("tty; stty size\n");
    shell.prints("/dev/pts/0");
    shell.prints("30 100");
    shell.types("sleep 1000\n");
    // Before it runs, the shell's line editor would have the key for itself.
    eventually(seconds(10), || match world.processes().iter().any(|process| process.command == "sleep 1000") {
        true => Ok(()),
        false => Err("no sleep".to_owned()),
    });
    shell.types("\u{3}");
    shell.types("echo interrupted with $?\n");
    shell.prints("interrupted with 130");
    shell.types("exit 7\n");
    shell.ends().exits_with(7);
    world.is_empty();
}

/// What the flags say is what the program sees.
#[test]
fn the_flags_reach_the_program() {
    let world = World::new();
    let inside =
        |flags: &str, script: &str| world.coracle(&format!("run --rm {flags} busybox sh -c '{script}'")).succeeds().line().to_owned();
    assert_eq!(inside("-e COLOUR=blue", "echo $COLOUR $HOME"), "blue /root");
    assert_eq!(inside("-w /made/here", "pwd"), "/made/here");
    assert_eq!(inside("-u 1234:5678", "id -u; id -g"), "1234\n5678");
    assert_eq!(inside("-u www-data", "id -un"), "www-data");
    assert_eq!(inside("--hostname ship", "hostname; cat /etc/hostname"), "ship\nship");
    assert_eq!(inside("--read-only", "touch /x 2>/dev/null || echo refused"), "refused");
    assert_eq!(inside("--tmpfs /scratch", "touch /scratch/x && echo written"), "written");
    assert_eq!(inside("--add-host far:192.0.2.9", "grep far /etc/hosts | tr -s \"\\t\" \" \""), "192.0.2.9 far");
    assert_eq!(inside("--network none", "ip -o link | grep -c UP"), "1");
    assert_eq!(inside("--cap-drop ALL", "grep CapEff /proc/self/status").split('\t').next_back(), Some("0000000000000000"));
    let listed = world.coracle("run --rm --entrypoint cat busybox /etc/hostname").succeeds();
    assert_eq!(listed.line().len(), 12, "the short id is the host name: {}", listed.told());
}

/// Bind mounts and volumes hold what was written; a volume is filled from the image.
#[test]
fn mounts_hold_what_was_written() {
    let world = World::new();
    world.file("shared/note", "from outside\n");
    let shared = world.project().join("shared").display().to_string();
    world.coracle(&format!("run --rm -v {shared}:/s busybox sh -c 'cat /s/note; echo inside > /s/answer'")).succeeds().says("from outside");
    assert_eq!(std::fs::read_to_string(world.project().join("shared/answer")).unwrap(), "inside\n");
    world.coracle(&format!("run --rm -v {shared}:/s:ro busybox touch /s/x")).exits_with(1);

    world.coracle("run --rm -v kept:/etc busybox sh -c 'echo kept > /etc/kept'").succeeds();
    world.coracle("run --rm -v kept:/v busybox sh -c 'cat /v/kept; grep -c root /v/passwd'").succeeds().says("kept\n1");
    world.coracle("volume ls -q").succeeds().says("kept");
    world.coracle("volume rm kept").succeeds();
    assert_eq!(world.coracle("volume ls -q").succeeds().stdout, "");
}

/// A container is confined as Docker confines it.
#[test]
fn a_container_is_confined_as_dockers() {
    let world = World::new();
    world.coracle("run -d --name confined busybox sleep 1000").succeeds();
    let confined = world.named("confined");
    confined.comes_up();
    assert_eq!(confined.status("CapEff"), "00000000a80425fb");
    assert_eq!(confined.status("CapBnd"), "00000000a80425fb");
    assert_eq!(confined.status("CapInh"), "0000000000000000");
    assert_eq!(confined.status("Seccomp"), "2");
    let inside = |script: &str| confined.sh(script).stdout.trim().to_owned();
    assert_eq!(inside("head -c 1 /proc/kcore | wc -c; ls /proc/acpi /sys/firmware 2>/dev/null | grep -v : | grep -c ."), "0\n0");
    assert_eq!(inside("echo 1 2>/dev/null > /proc/sys/kernel/hostname || echo refused"), "refused");
    assert_eq!(inside("touch /sys/x 2>/dev/null || echo refused"), "refused");
    assert_eq!(inside("mount -t tmpfs t /mnt 2>/dev/null || echo refused"), "refused");
    assert_eq!(inside("unshare -U true 2>/dev/null || echo refused"), "refused");
    assert_eq!(
        inside("ls /dev | grep -v core | tr \"\\n\" \" \""),
        "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    );
    assert_eq!(inside("head -c 1 /dev/zero | wc -c; echo x > /dev/null; echo $?"), "1\n0");
    assert_eq!(inside("mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg 2>/dev/null | wc -c"), "0", "a device the controller keeps away");
    assert_eq!(inside("cat /proc/1/comm"), "sleep");
    let seen: usize = inside("ls -d /proc/[0-9]* | wc -l").parse().unwrap();
    assert!((2..=4).contains(&seen), "PID 1, the shell and its two commands, not {seen}");
}

/// `-d` prints the id and leaves; `ps`, `logs`, `stop`, `rm` then find it by name, id and beginning of the id.
#[test]
fn a_detached_container_can_be_found_and_removed() {
    let world = World::new();
    let id = world.coracle("run -d --name lone busybox sh -c 'echo begun; sleep 1000'").succeeds().line().to_owned();
    assert_eq!(id.len(), 64);
    assert!(world.named("lone").runs());
    world.coracle("ps").succeeds().says(&id[..12]).says("lone").says("Up ");
    eventually(seconds(10), || {
        let told = world.coracle("logs lone").succeeds();
        if told.stdout == "begun\n" { Ok(()) } else { Err(told.told()) }
    });
    world.coracle("run -d --name lone busybox true").exits_with(125).complains("lone");
    world.coracle("rm lone").exits_with(1).complains("lone");
    let stopped = world.coracle(&format!("stop {}", &id[..8])).succeeds();
    assert!(stopped.took < seconds(5), "a PID 1 that does not handle SIGTERM is not waited for: {}", stopped.told());
    world.coracle("ps -a").succeeds().says("Exited (137)");
    world.is_empty();
    world.coracle("rm lone").succeeds().says("lone");
    assert_eq!(world.coracle("ps -a -q").succeeds().stdout, "");
}
