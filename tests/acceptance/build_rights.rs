//! What a RUN may do and see: agents, secrets, privileges, limits; and that nothing of it stays.

use std::fs;
use std::path::Path;

use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

/// The files of the store in which a text can be found.
fn places_of(world: &World, text: &str) -> Vec<String> {
    let found = world.outside(&["grep", "-rlF", text, world.root().to_str().unwrap()]);
    found.stdout.lines().map(str::to_owned).collect()
}

/// An agent's socket is there while the RUN lasts, with the owner and mode that are wanted; the keys stay outside.
#[test]
fn an_agent_is_passed_on() {
    let has = |name: &str| ["/usr/bin", "/usr/local/bin"].iter().any(|place| Path::new(place).join(name).exists());
    if !has("ssh-agent") || !has("ssh-keygen") {
        return;
    }
    let world = World::new();
    world.outside(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "the key", "-f", "key"]).succeeds();
    world.file("Dockerfile", "FROM busybox\nRUN --mount=type=ssh,uid=7,mode=0640 stat -c %F:%u:%a $SSH_AUTH_SOCK > /seen\nRUN ls /run/buildkit > /left 2>&1 || true\n");
    world.coracle("build -t agent --ssh default=key .").succeeds();
    world.coracle("run --rm agent cat /seen /left").succeeds().says("socket:7:640").says("No such file");
    world.file("Dockerfile", "FROM busybox\nRUN --mount=type=ssh,required true\n");
    world.coracle("build .").exits_with(1).complains("no SSH key \"default\" forwarded from the client").complains("`--ssh default`");
    world.coracle("build --ssh default .").exits_with(1).complains("SSH_AUTH_SOCK names no agent");
    world.file("Dockerfile", "FROM busybox\nRUN --mount=type=ssh,required --mount=type=ssh,id=two stat -c %F $SSH_AUTH_SOCK >/seen\n");
    world.file(
        "compose.yaml",
        "name: agents\nservices:\n  one: { build: { context: ., ssh: { default: key, two: key } } }\n  two: { build: . }\n",
    );
    world.run("build one").succeeds();
    world.coracle("run --rm agents-one cat /seen").succeeds().says("socket");
    world.run("build --no-cache two").exits_with(1).complains("no SSH key \"default\" forwarded from the client");
    world.run("build --no-cache --ssh default=key two").succeeds();
    let key = fs::read_to_string(world.project().join("key")).unwrap();
    let line = key.lines().nth(2).unwrap().to_owned();
    assert_eq!(places_of(&world, &line), Vec::<String>::new());
}

/// A secret is read in the RUN and is nowhere afterwards: not in a layer, not in the history, not in the cache.
#[test]
fn a_secret_leaves_nothing() {
    let world = World::new();
    world.file("hidden", "cucumber-sandwich-4711");
    let mounts = "--mount=type=secret,id=file --mount=type=secret,id=word,env=WORD";
    world.file("Dockerfile", &format!("FROM busybox\nRUN {mounts} wc -c < /run/secrets/file > /size; echo ${{#WORD}} >> /size\n"));
    let program = crate::support::program();
    let line =
        format!("WORD=gherkin-0815-gherkin {} build -t hush --secret id=file,src=hidden --secret id=word,env=WORD .", program.display());
    world.outside(&["sh", "-c", &line]).succeeds();
    assert_eq!(world.coracle("run --rm hush cat /size").succeeds().stdout, "22\n20\n");
    world.coracle("run --rm hush ls /run/secrets").exits_with(1);
    assert_eq!(places_of(&world, "cucumber-sandwich"), Vec::<String>::new());
    assert_eq!(places_of(&world, "gherkin-0815"), Vec::<String>::new());
}

/// Privileges and the host's network are given only if the build allows them; limits hold.
#[test]
fn rights_are_given_only_if_allowed() {
    let world = World::new();
    let run = "grep CapEff /proc/self/status; stat -f -c %b:%S /dev/shm; ulimit -n; ip -o link";
    world.file(
        "Dockerfile",
        &format!("FROM busybox\nRUN --security=insecure --network=host ({run}) > /seen\nRUN grep CapEff /proc/self/status > /confined\n"),
    );
    world.coracle("build .").exits_with(1).complains("security.insecure is not allowed").complains("--allow security.insecure");
    world.coracle("build --allow security.insecure .").exits_with(1).complains("network.host is not allowed");
    world.coracle("build -t free --allow security.insecure --allow network.host --shm-size 1m --ulimit nofile=123 .").succeeds();
    let seen = world.coracle("run --rm free cat /seen /confined").succeeds();
    let capabilities: Vec<_> = seen.stdout.lines().filter_map(|line| line.strip_prefix("CapEff:\t")).collect();
    assert!(capabilities[0].ends_with("ffffff") && capabilities[1] == "00000000a80425fb", "{}", seen.told());
    seen.says("256:4096").says("\n123\n").says("tap0");
    world.file("Dockerfile", "FROM busybox\nRUN --device=vendor.com/class=name,required true\n");
    world.coracle("build .").exits_with(1).complains("vendor.com/class=name").complains("Dockerfile:2:");
}

/// A second secret of one RUN used to find the directory of the first one removed.
#[test]
fn a_run_has_several_secrets() {
    let world = World::new();
    world.file("one", "first");
    world.file("two", "second");
    world.file("Dockerfile", "FROM busybox\nRUN --mount=type=secret,id=one --mount=type=secret,id=two,target=/b,mode=0444 --mount=type=secret,id=three,env=THREE cat /run/secrets/one /b | rev >/seen; echo $THREE | rev >>/seen\n");
    let program = crate::support::program();
    let line = format!(
        "THREE=third {} build -q -t several --secret id=one,src=one --secret id=two,src=two --secret id=three,env=THREE .",
        program.display()
    );
    world.outside(&["sh", "-c", &line]).succeeds();
    assert_eq!(world.coracle("run --rm several cat /seen").succeeds().stdout, "dnocestsrifdriht\n");
}

/// `host-gateway` is the address of the host on the command's own network; flags that do nothing are named.
#[test]
fn the_host_has_a_name_in_a_run() {
    let world = World::new();
    world.file(
        "Dockerfile",
        "FROM busybox\nRUN grep -w host /etc/hosts >/seen; ip route >>/seen\nRUN --network=none grep -w host /etc/hosts >>/seen\n",
    );
    let flags = "--add-host host:host-gateway --memory 1g --cpu-quota=-1 --squash --progress tty";
    let told = world.coracle(&format!("build -t gateway {flags} .")).succeeds();
    for flag in ["--memory", "--cpu-quota", "--squash"] {
        assert!(told.stderr.contains(&format!("`{flag}` makes no difference")), "{}", told.told());
    }
    assert!(told.stderr.contains("it is shown as `plain`") && told.stderr.contains("RUN --network=none grep"), "{}", told.told());
    let seen = world.coracle("run --rm gateway cat /seen").succeeds();
    let gateway = seen.stdout.lines().find_map(|line| line.strip_prefix("default via ")?.split(' ').next()).unwrap();
    assert!(seen.stdout.starts_with(&format!("{gateway}\thost\n")) && seen.stdout.ends_with("127.0.0.1\thost\n"), "{}", seen.told());
}

/// A build that was killed used to leave its secrets in files, until the machine was started anew.
#[test]
fn a_killed_build_leaves_no_secret() {
    let world = World::new();
    world.file("hidden", "pickle-sandwich-2342");
    world.file("Dockerfile", "FROM busybox\nRUN --mount=type=secret,id=hidden sleep 1006\n");
    let begin = || {
        let build = world.start("build -q --secret id=hidden,src=hidden .");
        eventually(seconds(30), || {
            let there = world.processes().iter().any(|process| process.command == "sleep 1006");
            if there { Ok(()) } else { Err(format!("no RUN: {}", build.stderr())) }
        });
        assert_eq!(places_of(&world, "pickle-sandwich").len(), 1, "where the RUN reads it");
        build
    };
    let gone = || match places_of(&world, "pickle-sandwich") {
        places if places.is_empty() => Ok(()),
        places => Err(format!("{places:?}")),
    };
    let build = begin();
    world.cut(&build);
    build.ends();
    eventually(seconds(20), gone);
    let build = begin();
    // Nobody is left who could tidy up; the next build does.
    for process in world.engines() {
        world.kill(&process);
    }
    build.ends();
    world.file("Dockerfile", "FROM scratch\nLABEL a=b\n");
    eventually(seconds(20), || {
        world.coracle("build -q .").succeeds();
        gone()?;
        // While the killed are still dying nothing of theirs is taken away.
        world.left()
    });
}
