//! What a container may not do, and who it is.

use oci_spec::runtime::LinuxMemory;
use oci_spec::runtime::LinuxPids;
use oci_spec::runtime::PosixRlimitBuilder;
use oci_spec::runtime::PosixRlimitType;

use super::*;

fn says(world: &World, spec: &Spec) -> String {
    let output = world.run(spec).unwrap();
    output.stdout + &output.stderr
}

fn without(spec: &mut Spec, kind: LinuxNamespaceType) {
    let namespaces = spec.linux_mut().as_mut().unwrap().namespaces_mut().as_mut().unwrap();
    namespaces.retain(|namespace| namespace.typ() != kind);
}

#[test]
fn capabilities_and_filter_are_dockers() {
    alone(|| {
        let world = World::new();
        let said = says(&world, &world.shell("grep -E '^(Cap|Seccomp:|NoNew)' /proc/self/status"));
        let have = caps::read(None, caps::CapSet::Bounding).unwrap();
        assert!(have.contains(&caps::Capability::CAP_AUDIT_WRITE), "this machine lacks what the test counts on");
        let set = "00000000a80425fb";
        let wanted =
            format!("CapInh:\t{0:016}\nCapPrm:\t{set}\nCapEff:\t{set}\nCapBnd:\t{set}\nCapAmb:\t{0:016}\nNoNewPrivs:\t0\nSeccomp:\t2\n", 0);
        assert_eq!(said, wanted);
    });
}

#[test]
fn forbidden_things_are_refused() {
    alone(|| {
        let world = World::new();
        let attempts = [
            "mount -t tmpfs none /tmp",
            "unshare -m true",
            "unshare -U true",
            "hostname other",
            "echo 1 > /proc/sys/kernel/sysrq",
            "echo b > /proc/sysrq-trigger",
            "echo x > /sys/kernel/uevent_seqnum",
            "mkdir /sys/fs/cgroup/memory/inner",
            "mknod /tmp/disk b 254 0 && cat /tmp/disk",
        ];
        for attempt in attempts {
            let output = world.run(&world.shell(attempt)).unwrap();
            assert_ne!(output.status, 0, "{attempt}: {output:?}");
        }
        let masked = "cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c; ls /sys/firmware /proc/scsi /proc/acpi 2>/dev/null | grep -v : | grep -c .";
        assert_eq!(says(&world, &world.shell(masked)), "0\n0\n");
    });
}

#[test]
fn a_user_of_the_image_has_its_ids_groups_and_no_capabilities() {
    alone(|| {
        let world = World::new();
        let mut spec = world.shell("id; grep -E '^Cap(Prm|Eff)' /proc/self/status; echo out > /dev/stdout; touch /root/x");
        let user = resolve_user(&world.root(), "sailor", &[]).unwrap();
        let process = spec.process_mut().as_mut().unwrap();
        process.user_mut().set_uid(user.uid).set_gid(user.gid).set_additional_gids(Some(user.additional_gids));
        let (read, write) = std::io::pipe().unwrap();
        let stdin = File::open("/dev/null").unwrap().into();
        let stdio = Stdio::Files { stdin, stdout: write.try_clone().unwrap().into(), stderr: write.into() };
        let process = world.create(&spec, stdio).unwrap().start().unwrap();
        let mut said = String::new();
        File::from(OwnedFd::from(read)).read_to_string(&mut said).unwrap();
        wait(&process.pidfd);
        let none = "0000000000000000";
        let wanted = format!(
            "uid=1000(sailor) gid=1000(sailor) groups=1000(sailor),2000(harbour)\nCapPrm:\t{none}\nCapEff:\t{none}\nout\ntouch: /root/x: Permission denied\n"
        );
        assert_eq!(said.replace("groups=2000(harbour)", "groups=1000(sailor),2000(harbour)"), wanted);
    });
}

#[test]
fn no_new_privileges_and_a_users_own_profile_hold() {
    alone(|| {
        let world = World::new();
        let mut spec = world.shell("grep -E '^(NoNew|Seccomp:)' /proc/self/status; mkdir /tmp/new");
        let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}"#;
        let trust = Trust { no_new_privileges: true, seccomp: SeccompChoice::Profile(profile.to_owned()), ..Trust::default() };
        apply_trust(&mut spec, &trust).unwrap();
        let wanted = "NoNewPrivs:\t1\nSeccomp:\t2\nmkdir: can't create directory '/tmp/new': No space left on device\n";
        assert_eq!(says(&world, &spec), wanted);
    });
}

#[test]
fn a_privileged_container_may_mount_and_sees_devices() {
    alone(|| {
        let resources = {
            let mut spec = default_spec();
            apply_trust(&mut spec, &Trust { privileged: true, ..Trust::default() }).unwrap();
            spec.linux().as_ref().unwrap().resources().clone().unwrap()
        };
        let world = World::limited(&resources);
        let mut spec = world.shell("mount -t tmpfs none /tmp && echo mounted; grep Seccomp: /proc/self/status; ls -l /dev/kmsg | cut -c1");
        apply_trust(&mut spec, &Trust { privileged: true, ..Trust::default() }).unwrap();
        let said = says(&world, &spec);
        assert!(said.starts_with("mounted\nSeccomp:\t0\n"), "{said}");
    });
}

#[test]
fn namespaces_are_new_joined_or_the_hosts() {
    alone(|| {
        let world = World::new();
        let show = "for n in net ipc uts pid mnt cgroup; do readlink /proc/self/ns/$n; done";
        let host: Vec<String> = ["net", "ipc", "uts", "pid"]
            .iter()
            .map(|name| fs::read_link(format!("/proc/self/ns/{name}")).unwrap().display().to_string())
            .collect();
        let own = says(&world, &world.shell(show));
        assert!(host.iter().all(|name| !own.contains(name.as_str())), "{own}");

        let mut spec = world.shell(show);
        for kind in [LinuxNamespaceType::Network, LinuxNamespaceType::Ipc, LinuxNamespaceType::Uts, LinuxNamespaceType::Pid] {
            without(&mut spec, kind);
        }
        let shared = says(&world, &spec);
        assert!(host.iter().all(|name| shared.contains(name.as_str())), "{shared}");

        let first = world.start(&world.shell("sleep 100"));
        let mut spec = world.shell(show);
        for namespace in spec.linux_mut().as_mut().unwrap().namespaces_mut().as_mut().unwrap() {
            let name = match namespace.typ() {
                LinuxNamespaceType::Network => "net",
                LinuxNamespaceType::Pid => "pid",
                _ => continue,
            };
            namespace.set_path(Some(format!("/proc/{}/ns/{name}", first.pid).into()));
        }
        let joined = says(&world, &spec);
        for name in ["net", "pid"] {
            let theirs = fs::read_link(format!("/proc/{}/ns/{name}", first.pid)).unwrap();
            assert!(joined.contains(theirs.to_str().unwrap()), "{joined}");
        }
        world.end(&first);
    });
}

/// With no mount namespace of its own the root was laid over the host's.
#[test]
fn a_container_without_a_mount_namespace_is_refused() {
    alone(|| {
        let world = World::new();
        let mut spec = world.shell("true");
        without(&mut spec, LinuxNamespaceType::Mount);
        assert_eq!(world.run(&spec).unwrap_err().status(), 125);
    });
}

#[test]
fn what_this_machine_cannot_raise_is_a_warning() {
    alone(|| {
        let world = World::new();
        let mut spec = world.shell("ulimit -n; ulimit -c; cat /proc/self/oom_score_adj");
        let limit = |kind: PosixRlimitType, number: u64| PosixRlimitBuilder::default().typ(kind).soft(number).hard(number).build().unwrap();
        let high = 1 << 40;
        let process = spec.process_mut().as_mut().unwrap();
        process.set_rlimits(Some(vec![limit(PosixRlimitType::RlimitNofile, high), limit(PosixRlimitType::RlimitCore, 0)]));
        process.set_oom_score_adj(Some(300));
        let output = world.run(&spec).unwrap();
        let have = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap();
        assert_eq!(output.stdout, format!("{have}\n0\n300\n"));
        assert_eq!(output.warnings, [format!("ulimit `nofile` stays at {have}: this machine does not let us raise it")]);
    });
}

#[test]
fn limits_of_memory_and_processes_hold() {
    alone(|| {
        let mut resources = LinuxResources::default();
        let mut memory = LinuxMemory::default();
        memory.set_limit(Some(16 << 20)).set_swap(Some(16 << 20));
        let mut pids = LinuxPids::default();
        pids.set_limit(8);
        resources.set_memory(Some(memory)).set_pids(Some(pids));
        let world = World::limited(&resources);
        assert_eq!(world.warnings, Vec::<String>::new());
        let output = world.run(&world.shell("dd if=/dev/zero of=/dev/null bs=64M count=1")).unwrap();
        assert_eq!(output.status, 137, "{output:?}");
        assert_eq!(world.cgroup.oom_kills().unwrap(), 1);
        let output = world.run(&world.shell("for n in 1 2 3 4 5 6 7 8 9 10; do sleep 5 & done")).unwrap();
        assert!(output.stderr.contains("can't fork"), "{output:?}");
        assert_eq!(world.cgroup.usage().unwrap().memory_limit, Some(16 << 20));
    });
}

#[test]
fn the_filter_tells_programs_what_they_can_bear() {
    alone(|| {
        let world = World::new();
        // busybox's unshare needs CAP_SYS_ADMIN by the filter; its ENOSYS for clone3 is what C libraries fall back from.
        let said = says(&world, &world.shell("unshare -n true"));
        assert_eq!(said, "unshare: unshare(0x40000000): Operation not permitted\n");
    });
}
