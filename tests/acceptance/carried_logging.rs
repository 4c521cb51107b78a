//! Log drivers and their options: how much is kept, and what of it can be read.

use std::fs;
use std::io;
use std::io::BufRead;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;

use crate::support::Process;
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
    logging: {driver: json-file, options: {max-size: 100k, max-file: \"3\", compress: \"true\"}}
  silent:
    image: busybox
    command: sh -c 'echo secret; exec sleep 1000'
    logging: {driver: none}
",
    );
    world.run("up -d").succeeds().complains("`logging.options.compress` is not carried out");
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
    world.coracle("run --rm --log-driver fluentd busybox true").exits_with(125).complains("`fluentd` is not carried out here");
    world.coracle("run --rm --log-driver syslog --log-opt colour=red busybox true").exits_with(125).complains("no option `colour`");
    assert_eq!(world.coracle("ps -a -q").succeeds().stdout, "");
}

/// What somebody has heard so far.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    /// Listens at a path until the test is over.
    fn at(path: &Path) -> Heard {
        let socket = UnixDatagram::bind(path).unwrap_or_else(|error| panic!("cannot listen at {}: {error}", path.display()));
        let heard = Heard::default();
        let all = heard.clone();
        thread::spawn(move || {
            let mut space = vec![0; 1 << 17];
            while let Ok(length) = socket.recv(&mut space) {
                all.add(&String::from_utf8_lossy(&space[..length]));
            }
        });
        heard
    }

    /// Listens in the world's network for one connection.
    fn on_port(world: &World, port: u16) -> Heard {
        let listener = world.listen(port);
        let heard = Heard::default();
        let all = heard.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                io::BufReader::new(stream).lines().map_while(Result::ok).for_each(|line| all.add(&line));
            }
        });
        heard
    }

    fn add(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn waits_for(&self, end: &str) -> Vec<String> {
        eventually(seconds(30), || {
            let all = self.all();
            match all.iter().any(|line| line.trim_end().ends_with(end)) {
                true => Ok(all),
                false => Err(format!("no `{end}` among {} lines, the last: {:?}", all.len(), all.last())),
            }
        })
    }
}

/// The child of the guardian that has a sender for a child.
fn supervisor(world: &World) -> Process {
    eventually(seconds(10), || {
        let engines = world.engines();
        let between = |process: &&Process| {
            engines.iter().any(|other| other.pid == process.parent) && engines.iter().any(|other| other.parent == process.pid)
        };
        engines.iter().find(between).cloned().ok_or_else(|| format!("no supervisor with a sender: {engines:?}"))
    })
}

/// A syslog hears every line once and in order, while supervisors are killed, and `logs` shows them too.
#[test]
fn a_syslog_hears_every_line_once_whoever_is_killed() {
    let world = World::new();
    let socket = world.project().join("log.sock");
    let heard = Heard::at(&socket);
    world.file(
        "compose.yaml",
        &format!(
            "name: told
services:
  web:
    image: busybox
    command: sh -c 'n=0; while [ $$n -lt 4000 ]; do n=$$((n+1)); echo line $$n; done; echo wrong >&2; echo last; exec sleep 1000'
    logging:
      driver: syslog
      options: {{syslog-address: 'unixgram://{}', syslog-facility: local3, syslog-format: rfc5424micro, tag: '{{{{.Name}}}}/x'}}
",
            socket.display()
        ),
    );
    world.run("up -d").succeeds();
    for _ in 0..3 {
        let victim = supervisor(&world);
        world.kill(&victim);
        supervisor(&world);
    }
    let all = heard.waits_for("last");
    let lines: Vec<&str> = all.iter().filter(|text| text.starts_with("<158>1 ")).map(|text| text.trim_end()).collect();
    assert_eq!(lines.len(), 4001, "the last: {:?}", lines.last());
    for (number, line) in lines[..4000].iter().enumerate() {
        assert!(line.contains(" told-web-1/x ") && line.ends_with(&format!(" - line {}", number + 1)), "{number}: {line}");
    }
    assert!(all.iter().any(|text| text.starts_with("<155>1 ") && text.ends_with(" - wrong\n")), "what is wrong is an error");
    let told = world.run("logs --no-log-prefix -n 2 web").succeeds();
    assert!(told.stdout.contains("last\n") && told.stdout.contains("wrong\n"), "{}", told.told());
    world.run("down -t 0").succeeds();
}

/// What nobody takes keeps a container from starting; once somebody does, the last words of a container arrive too.
#[test]
fn a_syslog_that_is_not_there_is_said_at_the_start() {
    let world = World::new();
    let words = "--log-driver syslog --log-opt syslog-address=tcp://127.0.0.1:1514 --log-opt cache-disabled=true";
    world.coracle(&format!("run --name early {words} busybox true")).exits_with(125).complains("finds nobody");
    let heard = Heard::on_port(&world, 1514);
    let told = world.coracle(&format!("run --rm {words} --log-opt tag=x busybox sh -c 'echo one; printf two'")).succeeds();
    assert_eq!(told.stdout, "one\ntwo");
    let all = heard.waits_for("two");
    assert!(all[0].starts_with("<30>") && all[0].contains(" x[") && all[0].ends_with("]: one"), "{all:?}");
    world.coracle("start early").succeeds();
    world.coracle("logs early").exits_with(1).complains("cache-disabled");
}

/// The journal gets the fields that Docker gives it.
#[test]
fn a_journal_gets_lines_with_their_container() {
    let world = World::new();
    let words = "--log-driver journald --log-opt labels=com.example.part --log-opt env-regex=^CITY -l com.example.part=seven -e CITY=Rome";
    world.outside(&["mount", "-t", "tmpfs", "none", "/run"]).succeeds();
    world.coracle(&format!("run --rm {words} busybox true")).exits_with(125).complains("no journal");
    world.outside(&["mkdir", "-p", "/run/systemd/journal"]).succeeds();
    let heard = Heard::at(&world.proc().join("../run/systemd/journal/socket"));
    world.coracle(&format!("run --name teller {words} busybox sh -c 'echo hello; echo wrong >&2'")).succeeds();
    let entry = |message: &str| {
        eventually(seconds(20), || {
            let found = heard.all().into_iter().find(|entry| entry.lines().any(|field| field == format!("MESSAGE={message}")));
            found.ok_or_else(|| format!("no `{message}` among {:?}", heard.all()))
        })
    };
    let (hello, wrong) = (entry("hello"), entry("wrong"));
    let id = world.named("teller").id().to_owned();
    let fields = ["PRIORITY=6", "CONTAINER_NAME=teller", "COM_EXAMPLE_PART=seven", "CITY=Rome", "IMAGE_NAME=busybox"];
    let ids = [format!("CONTAINER_ID_FULL={id}"), format!("CONTAINER_ID={0}", &id[..12]), format!("CONTAINER_TAG={0}", &id[..12])];
    for field in fields.into_iter().chain(ids.iter().map(String::as_str)) {
        assert!(hello.lines().any(|line| line == field), "no {field} in {hello}");
    }
    assert!(wrong.lines().any(|line| line == "PRIORITY=3"), "{wrong}");
    assert_eq!(world.coracle("logs teller").succeeds().stdout, "hello\n");
    world.coracle("rm -f teller").succeeds();
    drop(heard);
    world.uncover_run();
}

/// `logs --details` shows what the options of the log ask for.
#[test]
fn details_of_a_log_are_shown() {
    let world = World::new();
    let words = "--log-opt labels-regex=^part --log-opt env=CITY --log-opt tag={{.Name}} -l part.a=x -l other=y -e 'CITY=New Rome'";
    world.coracle(&format!("run --name detailed {words} busybox echo hello")).succeeds();
    assert_eq!(world.coracle("logs --details detailed").succeeds().stdout, "CITY=New+Rome,part.a=x,tag=detailed hello\n");
}
