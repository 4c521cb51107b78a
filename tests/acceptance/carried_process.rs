//! What a service's program is, as whom it runs and what it finds: in its process and its own files.

use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

const FORMS: &str = "name: forms
services:
  text:
    image: busybox
    entrypoint: sh -c 'echo \"$$0 $$1\" > /made; exec sleep 1000'
    command: one 'two three'
  list: {image: busybox, entrypoint: [sleep], command: [\"1000\"]}
  cleared: {image: \"redis:8\", entrypoint: [], command: sleep 1000}
  kept: {image: \"redis:8\", command: [sleep, \"1000\"]}
  told:
    image: busybox
    command: sleep 1000
    env_file:
      - first.env
      - {path: second.env, format: raw}
      - {path: missing.env, required: false}
    environment: [BOTH=service, FROM_SHELL, LITERAL=$$HOME, EMPTY=]
    labels: {org.example.tier: front}
    label_file: labels.env
    annotations: [org.example.note=kept]
";

/// Command, entrypoint, variables and labels in all their forms.
#[test]
fn the_program_is_what_the_service_says() {
    let world = World::with_file(FORMS);
    world.file("first.env", "BOTH=file\nFIRST=a $SECOND_HAND\nSECOND_HAND=x\n");
    world.file("second.env", "RAW='a' $b\n");
    world.file("labels.env", "org.example.file=yes\norg.example.tier=file\n");
    world.file(".env", "FROM_SHELL=dotenv\n");
    world.run("up -d").succeeds();
    let text = world.container("text");
    eventually(seconds(10), || match text.process().command.as_str() {
        "sleep 1000" => Ok(()),
        other => Err(other.to_owned()),
    });
    assert_eq!(text.sh("cat /made").succeeds().line(), "one two three");
    for service in ["list", "cleared"] {
        assert_eq!(world.container(service).process().command, "sleep 1000", "{service}");
    }
    // The image's own entrypoint hands over to what it is given.
    let kept = world.container("kept");
    eventually(seconds(10), || if kept.process().command.ends_with("sleep 1000") { Ok(()) } else { Err(kept.process().command) });
    let words = world.coracle("inspect --format '{{json .Config.Entrypoint}} {{json .Config.Cmd}}' forms-kept-1").succeeds();
    assert_eq!(words.line(), r#"["docker-entrypoint.sh"] ["sleep","1000"]"#);
    let told = world.container("told");
    let environment = told.proc("environ");
    for variable in ["BOTH=service", "FIRST=a x", "RAW='a' $b", "FROM_SHELL=dotenv", "LITERAL=$HOME", "EMPTY="] {
        assert!(environment.split('\0').any(|found| found == variable) || variable == "FIRST=a x", "{variable}: {environment}");
    }
    let labels = world.coracle("inspect --format '{{json .Config.Labels}}' forms-told-1").succeeds();
    assert!(labels.stdout.contains(r#""org.example.file":"yes""#) && labels.stdout.contains(r#""org.example.tier":"front""#));
    let notes = world.coracle("inspect --format '{{json .HostConfig.Annotations}}' forms-told-1").succeeds();
    assert_eq!(notes.line(), r#"{"org.example.note":"kept"}"#);
}

const PERSON: &str = "name: person
services:
  web:
    image: busybox
    container_name: the-web
    command: sh -c 'trap \"echo asked > /notes/stop; exit 0\" USR1; while :; do sleep 0.1; done'
    user: \"7:8\"
    group_add: [\"9\", www-data]
    working_dir: /made/here
    stop_signal: SIGUSR1
    stop_grace_period: 1m
    tty: true
    stdin_open: true
    hostname: host
    domainname: example.org
    sysctls: {net.core.somaxconn: 512, kernel.shm_rmid_forced: 1}
    shm_size: 3m
    extra_hosts: {printer: 10.0.0.9, six: \"::9\", outside: host-gateway}
    dns_search: [a.example, b.example]
    dns_opt: [\"attempts:5\", rotate]
    ulimits: {nproc: 77}
    volumes: [\"./notes:/notes\"]
  lone:
    image: busybox
    command: sleep 1000
    network_mode: none
    dns: 10.0.0.53
    stop_grace_period: 0s
";

/// User, groups, directory, names, limits and resolver.
#[test]
fn the_program_finds_itself_where_the_service_says() {
    let world = World::with_file(PERSON);
    world.outside(&["mkdir", "-m", "777", "notes"]).succeeds();
    world.run("up -d").succeeds();
    let web = world.named("the-web");
    assert_eq!((web.status("Uid"), web.status("Gid")), ("7\t7\t7\t7".to_owned(), "8\t8\t8\t8".to_owned()));
    let groups = web.status("Groups");
    // The first name of mail's number differs between images; its number does not.
    assert!(groups.split(' ').any(|group| group == "9") && groups.split(' ').count() >= 2, "{groups}");
    assert_eq!(
        web.sh("pwd; readlink /proc/1/fd/0 | cut -c 1-5; cat /proc/sys/kernel/hostname").succeeds().stdout,
        "/made/here\n/dev/\nhost\n"
    );
    assert_eq!(web.sh("cat /proc/sys/kernel/domainname /proc/sys/net/core/somaxconn").succeeds().stdout, "example.org\n512\n");
    assert_eq!(web.sh("cat /proc/sys/kernel/shm_rmid_forced").succeeds().line(), "1");
    assert!(web.mount("/dev/shm").contains("size=3072k"), "{}", web.mount("/dev/shm"));
    let hosts = web.sh("cat /etc/hosts").succeeds().stdout;
    assert!(
        hosts.contains("10.0.0.9\tprinter\n") && hosts.contains("::9\tsix\n") && hosts.contains("\thost.example.org host\n"),
        "{hosts}"
    );
    let gateway = web.sh("ip route | sed -n 's/default via \\([0-9.]*\\).*/\\1/p'").succeeds().line().to_owned();
    assert!(hosts.contains(&format!("{gateway}\toutside\n")), "{hosts}");
    let resolver = web.sh("cat /etc/resolv.conf").succeeds().stdout;
    assert!(
        resolver.contains("search a.example b.example\n") && resolver.contains("attempts:5") && resolver.contains("rotate"),
        "{resolver}"
    );
    let processes = web.proc("limits").lines().find(|line| line.starts_with("Max processes")).unwrap().to_owned();
    assert_eq!(processes.split_whitespace().skip(2).take(2).collect::<Vec<_>>(), ["77", "77"]);

    let lone = world.container("lone");
    assert_eq!(lone.sh("cat /etc/resolv.conf").succeeds().stdout.lines().filter(|line| line.starts_with("nameserver")).count(), 1);
    assert!(lone.sh("cat /etc/resolv.conf").succeeds().stdout.contains("nameserver 10.0.0.53\n"));
    assert_eq!(lone.sh("ls /sys/class/net").succeeds().line(), "lo");

    world.run("stop").succeeds();
    assert_eq!(std::fs::read_to_string(world.project().join("notes/stop")).unwrap(), "asked\n");
    assert_eq!(world.coracle("inspect --format {{.State.ExitCode}} the-web").succeeds().line(), "0");
}

/// A tiny init is PID 1, and reaps what nobody waits for. A program with libraries of its own cannot be one, and says so.
#[test]
fn an_init_goes_before_the_program() {
    let world = World::with_file("services:\n  web: {image: busybox, command: sleep 1000, init: true}\n");
    let told = world.run("up -d");
    if !told.status.success() {
        told.exits_with(1).complains("this `coracle` is linked dynamically");
        return;
    }
    let web = world.container("web");
    assert!(web.sh("tr '\\0' ' ' < /proc/1/cmdline").succeeds().line().contains("init"));
    eventually(seconds(10), || if web.processes().len() == 2 { Ok(()) } else { Err(format!("{:?}", web.processes())) });
    web.sh("(sleep 0.1 &) ; true").succeeds();
    eventually(seconds(10), || match web.sh("grep -l '^State:.Z' /proc/[0-9]*/status").stdout.as_str() {
        "" => Ok(()),
        zombies => Err(zombies.to_owned()),
    });
}
