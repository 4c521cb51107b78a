//! Made, started, ended; exit statuses; one more process inside.

use super::*;

#[test]
fn a_program_runs_and_its_status_is_known() {
    alone(|| {
        let world = World::new();
        let output = world.run(&world.shell("echo hello; echo oops >&2; exit 7")).unwrap();
        assert_eq!((output.status, output.stdout.as_str(), output.stderr.as_str()), (7, "hello\n", "oops\n"));
        assert_eq!(output.warnings, Vec::<String>::new());
    });
}

#[test]
fn what_cannot_be_executed_is_told_in_dockers_words_and_statuses() {
    alone(|| {
        let world = World::new();
        fs::write(world.path("root/bin/plain"), "text").unwrap();
        fs::write(world.path("root/bin/script"), "#!/no/such/shell\n").unwrap();
        fs::write(world.path("root/bin/garbage"), "\x7fELFgarbage").unwrap();
        for name in ["script", "garbage"] {
            fs::set_permissions(world.path("root/bin").join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let cases = [
            ("nothing", 127, "exec: \"nothing\": executable file not found in $PATH"),
            ("/no/thing", 127, "exec: \"/no/thing\": stat /no/thing: no such file or directory"),
            ("plain", 126, "exec: \"/bin/plain\": permission denied"),
            ("/tmp", 126, "exec: \"/tmp\": is a directory"),
            ("garbage", 126, "exec /bin/garbage: exec format error"),
            ("script", 127, "exec /bin/script: no such file or directory (the interpreter it names is not there)"),
        ];
        for (program, status, because) in cases {
            let failure = world.run(&world.spec(&[program])).unwrap_err();
            assert_eq!(failure.to_string(), format!("error: cannot start container `c1`\n  because: {because}"));
            assert_eq!(failure.status(), status, "{program}");
        }
        assert!(world.cgroup.pids().unwrap().is_empty());
    });
}

#[test]
fn a_process_that_is_not_started_goes_with_its_handle() {
    alone(|| {
        let world = World::new();
        let created = world.create(&world.shell("echo never"), Streams::new(&world).stdio()).unwrap();
        let pid = created.pid;
        assert_eq!(world.cgroup.pids().unwrap(), [pid]);
        assert_ne!(rustix::fs::fstat(&created.netns).unwrap().st_ino, fs::metadata("/proc/self/ns/net").map(|found| ino(&found)).unwrap());
        drop(created);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    });
}

fn ino(found: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(found)
}

#[test]
fn a_running_process_is_adopted_killed_and_gone() {
    alone(|| {
        let world = World::new();
        let process = world.start(&world.shell("sleep 100 & sleep 100"));
        assert!(adopt(process.pid, process.start_time).unwrap().is_some());
        world.cgroup.kill().unwrap();
        assert_eq!(wait(&process.pidfd), 137);
        assert!(adopt(process.pid, process.start_time).unwrap().is_none());
        world.cgroup.remove().unwrap();
        assert!(world.cgroup.version_1().is_empty());
    });
}

#[test]
fn one_more_process_shares_the_container_and_its_limits() {
    alone(|| {
        let world = World::new();
        let spec = world.shell("echo made > /tmp/by-first; sleep 100");
        let container = world.start(&spec);
        let output = world.exec(
            &container,
            &spec,
            &["sh", "-c", "cat /tmp/by-first; hostname; cat /proc/1/comm; grep -c Seccomp: /proc/self/status"],
        );
        let output = output.unwrap();
        assert_eq!((output.stdout.as_str(), output.status), ("made\nboat\nsleep\n1\n", 0), "{}", output.stderr);
        let status =
            |pid: &str| world.exec(&container, &spec, &["grep", "-E", "^(Cap|Seccomp|NoNew)", &format!("/proc/{pid}/status")]).unwrap();
        assert_eq!(status("1").stdout, status("self").stdout);
        let cgroups = |pid: &str| world.exec(&container, &spec, &["cat", &format!("/proc/{pid}/cgroup")]).unwrap().stdout;
        assert_eq!(cgroups("1"), cgroups("self"));
        let failure = world.exec(&container, &spec, &["nothing"]).unwrap_err();
        assert_eq!(failure.status(), 127);
        world.end(&container);
        assert_eq!(world.exec(&container, &spec, &["true"]).unwrap_err().status(), 125);
    });
}

/// Prints medians; run it alone: `cargo test --release -- --ignored --nocapture how_long`.
#[test]
#[ignore = "a measurement, not a check"]
fn how_long_a_start_takes() {
    alone(|| {
        let mut times: [Vec<u128>; 5] = Default::default();
        for _ in 0..100 {
            let mut clock = std::time::Instant::now();
            let mut lap = |times: &mut Vec<u128>| {
                times.push(clock.elapsed().as_micros());
                clock = std::time::Instant::now();
            };
            let world = World::new();
            let spec = world.spec(&["true"]);
            let root = world.root();
            lap(&mut times[0]);
            let stdio = Streams::new(&world).stdio();
            let created = create(Create { id: "c1", spec: &spec, root, cgroup: &world.cgroup, stdio }).unwrap();
            lap(&mut times[1]);
            let process = created.start().unwrap();
            lap(&mut times[2]);
            wait(&process.pidfd);
            lap(&mut times[3]);
            world.cgroup.remove().unwrap();
            lap(&mut times[4]);
        }
        for (name, times) in ["prepare", "create", "start", "end", "remove"].iter().zip(&mut times) {
            times.sort_unstable();
            println!("{name:8} {:6} us", times[times.len() / 2]);
        }
    });
}
