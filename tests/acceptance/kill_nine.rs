//! SIGKILL on any of our processes: no container dies, no line is lost or doubled, names and ports go on.

use std::fs::File;

use nix::fcntl::Flock;
use nix::fcntl::FlockArg;

use crate::support::Process;
use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

/// The guardian is the parent of the supervisor.
fn roles(world: &World) -> (Process, Process) {
    eventually(seconds(10), || {
        let engines = world.engines();
        let supervisor = engines.iter().find(|process| engines.iter().any(|other| other.pid == process.parent));
        let supervisor = supervisor.ok_or_else(|| format!("no guardian with a supervisor: {engines:?}"))?.clone();
        let guardian = engines.into_iter().find(|process| process.pid == supervisor.parent).expect("it was found above");
        Ok((guardian, supervisor))
    })
}

/// Both are there again, and neither is `killed`.
fn recover(world: &World, killed: &[&Process]) {
    eventually(seconds(10), || {
        let engines = world.engines();
        let fresh =
            engines.iter().filter(|process| !killed.iter().any(|dead| dead.pid == process.pid && dead.started == process.started)).count();
        if fresh >= 2 { Ok(()) } else { Err(format!("not there again: {engines:?}")) }
    });
}

/// Whichever of ours is killed while requests are served, the page and the name go on.
#[test]
fn web_and_redis_go_on_whoever_is_killed() {
    let world = World::with("web-redis");
    world.run("up -d").succeeds();
    world.page("127.0.0.1:8000", "/");
    let (web, redis) = (world.container("web"), world.container("redis"));
    let before = (web.process(), redis.process());
    for victims in ["supervisor", "guardian", "both", "supervisor", "guardian"] {
        let (guardian, supervisor) = roles(&world);
        let hits_before = hits(&world);
        match victims {
            "supervisor" => world.kill(&supervisor),
            "guardian" => world.kill(&guardian),
            _ => {
                world.kill(&guardian);
                world.kill(&supervisor);
            }
        }
        world.fetch("127.0.0.1:8000", "/").unwrap_or_else(|error| panic!("{victims} killed: {error}"));
        // The next command brings both back if both are gone.
        world.run("ps").succeeds();
        recover(&world, &[]);
        let told = world.run("exec -T web python -c 'import socket; print(socket.gethostbyname(\"redis\"))'");
        assert!(told.status.success(), "{victims} killed: {}", told.told());
        assert!(hits(&world) > hits_before);
        assert_eq!((web.process(), redis.process()), before, "{victims} killed: the containers are the same");
    }
    world.run("down").succeeds();
    world.is_empty();
}

fn hits(world: &World) -> u64 {
    let page = world.page("127.0.0.1:8000", "/");
    page.split_whitespace().filter_map(|word| word.parse().ok()).next().unwrap_or_else(|| panic!("no number in {page}"))
}

/// Lines written while the supervisor is killed again and again are all there, once, in order.
#[test]
fn no_line_is_lost_or_doubled() {
    let world = World::new();
    world
        .coracle("run -d --name writer busybox sh -c 'n=0; while [ $n -lt 20000 ]; do n=$((n+1)); echo line $n; done; echo end'")
        .succeeds();
    for _ in 0..5 {
        // The guardian's turn comes elsewhere: with both dead when the writer ends, nobody could know how it did.
        let engines = world.engines();
        let Some(victim) = engines.iter().find(|process| engines.iter().any(|other| other.pid == process.parent)) else { break };
        // It may have ended by itself meanwhile, with the writer.
        world.outside(&["kill", "-KILL", &victim.pid.to_string()]);
        recover_or_ended(&world);
    }
    world.coracle("wait writer").succeeds().says("0");
    let told = eventually(seconds(10), || {
        let told = world.coracle("logs writer").succeeds();
        if told.stdout.ends_with("end\n") {
            Ok(told)
        } else {
            Err(format!("the end is not there: …{}", &told.stdout[told.stdout.len().saturating_sub(200)..]))
        }
    });
    let wanted: String = (1..=20_000).map(|number| format!("line {number}\n")).collect::<String>() + "end\n";
    assert!(told.stdout == wanted, "{} bytes instead of {}", told.stdout.len(), wanted.len());
}

fn recover_or_ended(world: &World) {
    eventually(seconds(10), || {
        let running = world.named("writer").runs();
        if world.engines().len() >= 2 || !running { Ok(()) } else { Err(format!("{:?}", world.engines())) }
    });
}

/// The exit code of a container that ended while nobody watched is still known.
#[test]
fn an_exit_code_outlives_the_supervisor() {
    let world = World::new();
    world.file("go", "");
    world.coracle("run -d --name ending -v ./:/p busybox sh -c 'while [ ! -s /p/go ]; do sleep 0.05; done; exit 9'").succeeds();
    let (_, supervisor) = roles(&world);
    world.file("go", "now");
    world.kill(&supervisor);
    assert_eq!(world.coracle("wait ending").succeeds().line(), "9");
}

/// A restart policy goes on after the supervisor was killed.
#[test]
fn a_restart_policy_outlives_the_supervisor() {
    let world = World::new();
    world.coracle("run -d --name steady --restart always busybox sleep 1000").succeeds();
    let steady = world.named("steady");
    let before = steady.comes_up();
    let (_, supervisor) = roles(&world);
    world.kill(&supervisor);
    world.kill(&before);
    eventually(seconds(10), || match steady.processes().first() {
        Some(process) if process.started != before.started => Ok(()),
        found => Err(format!("has not come back: {found:?}")),
    });
    world.coracle("rm -f steady").succeeds();
    world.is_empty();
}

/// What a container had is taken back by a process of its own, and by another one if that is killed over it.
#[test]
fn a_killed_take_down_is_done_again() {
    let world = World::new();
    world.coracle("run -d --rm --name brief busybox sleep 1000").succeeds();
    let (guardian, supervisor) = roles(&world);
    let held = hold_networks(&world);
    world.coracle("kill brief").succeeds();
    // It cannot go on while we hold the lock.
    let job = eventually(seconds(10), || {
        let found = world.engines().into_iter().find(|process| process.parent == supervisor.pid);
        found.ok_or_else(|| format!("no process takes down the container: {:?}", world.engines()))
    });
    world.kill(&job);
    drop(held);
    world.is_empty();

    // The same with everything killed but the guardian, and with everything: then the next command sees to it.
    for all in [false, true] {
        world.coracle("run -d --rm --name brief busybox sleep 1000").succeeds();
        let held = hold_networks(&world);
        world.coracle("kill brief").succeeds();
        eventually(seconds(10), || if world.engines().len() >= 3 { Ok(()) } else { Err("nothing is taken down".to_owned()) });
        let (own_guardian, _) = roles(&world);
        assert_ne!(own_guardian.pid, guardian.pid, "the first one has ended with its container");
        let mut victims = world.engines();
        // The guardian first, if at all: else it would begin another supervisor.
        victims.sort_by_key(|victim| victim.pid != own_guardian.pid);
        for victim in victims.iter().filter(|victim| all || victim.pid != own_guardian.pid) {
            world.outside(&["kill", "-KILL", &victim.pid.to_string()]);
        }
        drop(held);
        if all {
            world.coracle("ps").succeeds();
        }
        world.is_empty();
    }
}

/// Who removes a container whose start was cut takes back what the start had made, even if nobody knows of its supervisor any more.
#[test]
fn a_start_that_was_cut_leaves_nothing_when_the_container_is_removed() {
    let world = World::new();
    world.coracle("run --rm busybox true").succeeds();
    world.is_empty();
    world.coracle("create --name cut busybox sleep 1000").succeeds();
    let held = hold_networks(&world);
    let start = world.start("start cut");
    let made = world.root().join("run/containers");
    // Its program has been cloned, and waits for what waits for the lock.
    let is_made = || made.read_dir().is_ok_and(|mut all| all.next().is_some()) && world.engines().len() >= 3;
    eventually(seconds(20), || if is_made() { Ok(()) } else { Err("nothing is made".to_owned()) });
    world.cut(&start);
    kill_both(&world);
    drop(held);
    start.ends();
    eventually(seconds(10), || if world.engines().is_empty() { Ok(()) } else { Err("they are still there".to_owned()) });
    world.outside(&["sh", "-c", &format!("rm -rf {}/run/supervisors/*", world.root().display())]).succeeds();
    world.coracle("rm cut").succeeds();
    world.is_empty();
}

/// While `up` waits for a container to be healthy, there is somebody who looks after its health, whoever is killed.
#[test]
fn a_wait_for_health_outlives_guardian_and_supervisor() {
    let health = "{test: test -s /p/go, interval: 1s, retries: 100}";
    let world = World::with_file(&format!(
        "services:\n  slow: {{image: busybox, command: sleep 1000, volumes: ['./:/p'], healthcheck: {health}}}\n  \
         last: {{image: busybox, command: sleep 1000, depends_on: {{slow: {{condition: service_healthy}}}}}}\n"
    ));
    world.file("go", "");
    let up = world.start("compose up -d");
    eventually(seconds(30), || if up.stderr().contains("Waiting") { Ok(()) } else { Err(up.stderr()) });
    kill_both(&world);
    world.file("go", "now");
    up.ends().succeeds();
    world.container("last").comes_up();
    world.run("kill").succeeds();
    let listed = world.run("ps -a --format {{.State}}").succeeds();
    assert_eq!(listed.stdout, "exited\nexited\n", "who kills a container finds it dead");
    world.run("down").succeeds();
}

/// Kills guardian and supervisor while a command runs that is the parent of the guardian.
fn kill_both(world: &World) {
    let is_ours = |process: &Process| process.command.contains("@guardian");
    let mut victims: Vec<Process> = world.engines().into_iter().filter(is_ours).collect();
    let parents: Vec<u32> = victims.iter().map(|victim| victim.parent).collect();
    // The guardian first: else it would begin another supervisor.
    victims.sort_by_key(|victim| !parents.contains(&victim.pid));
    assert!(victims.len() >= 2, "{victims:?}");
    for victim in victims {
        world.outside(&["kill", "-KILL", &victim.pid.to_string()]);
    }
}

/// Takes the lock under which networks change.
fn hold_networks(world: &World) -> Flock<File> {
    let file = File::open(world.root().join("run/locks/net")).expect("a container has been on a network");
    Flock::lock(file, FlockArg::LockExclusive).expect("a lock that nobody holds for long")
}
