//! What a container sees as its files.

use super::*;

/// Runs a shell command with some mounts added and gives what it says.
fn with_mounts(world: &World, mounts: Vec<Mount>, command: &str) -> String {
    let mut spec = world.shell(command);
    spec.mounts_mut().as_mut().unwrap().extend(mounts);
    let output = world.run(&spec).unwrap();
    output.stdout + &output.stderr
}

#[test]
fn the_root_is_the_layers_and_what_is_written_goes_to_the_upper_one() {
    alone(|| {
        let world = World::new();
        let said = with_mounts(&world, vec![], "echo kept > /data/file; rm /etc/group; ls /; ls -ld /data");
        assert!(said.starts_with("bin\ndata\ndev\netc\nproc\nroot\nsys\ntmp\n"), "{said}");
        assert_eq!(fs::read_to_string(world.path("upper/data/file")).unwrap(), "kept\n");
        assert!(world.path("root/etc/group").exists());
        let again = with_mounts(&world, vec![], "cat /data/file /etc/group");
        assert_eq!(again, "kept\ncat: can't open '/etc/group': No such file or directory\n");
    });
}

#[test]
fn dev_has_its_nodes_links_and_no_more() {
    alone(|| {
        let world = World::new();
        let said = with_mounts(
            &world,
            vec![],
            "ls /dev | grep -v core; stat -c '%F %t:%T %a' /dev/null /dev/tty; echo x > /dev/full; readlink /dev/stdin; ls /dev/pts",
        );
        let wanted = "fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n\
                      character special file 1:3 666\ncharacter special file 5:0 666\n/proc/self/fd/0\nptmx\n\
                      sh: write error: No space left on device\n";
        assert_eq!(said, wanted);
    });
}

#[test]
fn directories_and_files_of_the_host_show_up_with_their_options() {
    alone(|| {
        let world = World::new();
        fs::create_dir_all(world.path("host/inner")).unwrap();
        fs::write(world.path("host/file"), "the host's\n").unwrap();
        let inner = world.path("host/inner");
        rustix::mount::mount("none", &inner, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
        let (host, file) = (world.path("host"), world.path("host/file"));
        let mounts = || {
            vec![
                mount("/srv/deep/rw", &host, &["rbind"]),
                mount("/srv/ro", &host, &["rbind", "ro"]),
                mount("/srv/rro", &host, &["rbind", "rro"]),
                mount("/srv/flat", &host, &["bind"]),
                mount("/etc/hosts", &file, &["bind", "ro"]),
            ]
        };
        let write = "for d in deep/rw ro ro/inner rro/inner; do echo x 2>/dev/null > /srv/$d/new && echo $d yes || echo $d no; done";
        let said =
            with_mounts(&world, mounts(), &format!("({write}) 2>/dev/null; cat /etc/hosts; ls /srv/flat/inner; ls /srv/deep/rw/inner"));
        assert_eq!(said, "deep/rw yes\nro no\nro/inner yes\nrro/inner no\nthe host's\nnew\n");
        rustix::mount::unmount(&inner, rustix::mount::UnmountFlags::DETACH).unwrap();
    });
}

#[test]
fn a_source_that_is_missing_is_named() {
    alone(|| {
        let world = World::new();
        let mut spec = world.shell("true");
        add_mount(&mut spec, mount("/srv", Path::new("/no/such/place"), &["rbind"]));
        let failure = world.run(&spec).unwrap_err();
        assert_eq!(failure.to_string(), "error: cannot start container `c1`\n  because: bind source path does not exist: /no/such/place");
        assert_eq!(failure.status(), 125);
    });
}

/// Nothing that an image or a volume prepares leads a mount to the host.
#[test]
fn links_in_the_root_do_not_lead_out() {
    alone(|| {
        let world = World::new();
        fs::create_dir(world.path("host")).unwrap();
        fs::create_dir(world.path("outside")).unwrap();
        fs::write(world.path("host/file"), "bound\n").unwrap();
        let (outside, root) = (world.path("outside"), world.path("root"));
        symlink(&outside, root.join("absolute")).unwrap();
        symlink(format!("../../../../../../{}", outside.display()), root.join("climbing")).unwrap();
        fs::remove_dir(root.join("data")).unwrap();
        symlink("/proc/self/root", root.join("data")).unwrap();
        let host = world.path("host");
        let mounts = vec![mount("/absolute/a", &host, &["rbind"]), mount("/climbing/b", &host, &["rbind"])];
        assert_eq!(with_mounts(&world, mounts, "cat /absolute/a/file /climbing/b/file"), "bound\nbound\n");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        let mut spec = world.shell("true");
        add_mount(&mut spec, mount("/data/etc", &host, &["rbind"]));
        assert_eq!(world.run(&spec).unwrap_err().status(), 125);
    });
}

/// Masks are laid by name: a /proc that is elsewhere would not be masked.
#[test]
fn proc_and_sys_are_refused_behind_a_link() {
    alone(|| {
        for name in ["proc", "sys"] {
            let world = World::new();
            fs::remove_dir(world.path("root").join(name)).unwrap();
            symlink("/tmp", world.path("root").join(name)).unwrap();
            let failure = world.run(&world.shell("true")).unwrap_err();
            assert!(failure.to_string().contains("symbolic links"), "{failure}");
        }
    });
}

#[test]
fn tmpfs_shm_and_working_directory_are_made() {
    alone(|| {
        let world = World::new();
        let mut tmpfs = mount("/scratch", Path::new("tmpfs"), &["size=64k", "mode=1777", "noexec"]);
        tmpfs.set_typ(Some("tmpfs".to_owned()));
        let mut spec = world.shell("pwd; stat -c %a /scratch .; dd if=/dev/zero of=/scratch/big bs=1k count=100 2>/dev/null; stat -c %s /scratch/big; grep -c ' /dev/shm .*size=65536k' /proc/mounts");
        add_mount(&mut spec, tmpfs);
        spec.process_mut().as_mut().unwrap().set_cwd("/new/work".into());
        let output = world.run(&spec).unwrap();
        assert_eq!(output.stdout, "/new/work\n1777\n755\n65536\n1\n", "{}", output.stderr);
    });
}

#[test]
fn the_host_sees_nothing_of_it_and_it_nothing_of_the_host() {
    alone(|| {
        let world = World::new();
        let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let process = world.start(&world.shell("sleep 100"));
        assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
        let inside = fs::read_to_string(format!("/proc/{}/mountinfo", process.pid)).unwrap();
        let points: Vec<&str> = inside.lines().map(|line| line.split(' ').nth(4).unwrap()).collect();
        let roots = inside.lines().filter(|line| line.split(' ').nth(4) == Some("/")).count();
        assert_eq!((points[0], roots), ("/", 1));
        assert!(
            points
                .iter()
                .all(|point| ["/", "/proc", "/dev", "/sys"].iter().any(|top| point == top || *top != "/" && point.starts_with(top))),
            "{inside}"
        );
        assert!(inside.lines().all(|line| !line.contains("shared:") && !line.contains("master:")), "{inside}");
        let descriptors = fs::read_dir(format!("/proc/{}/fd", process.pid)).unwrap().count();
        assert_eq!(descriptors, 3);
        world.end(&process);
    });
}

#[test]
fn a_read_only_root_leaves_its_mounts_writable() {
    alone(|| {
        let world = World::new();
        let mut spec = world.shell("echo x > /file; echo y > /dev/shm/file && cat /dev/shm/file");
        spec.root_mut().as_mut().unwrap().set_readonly(Some(true));
        let output = world.run(&spec).unwrap();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("y\n", "sh: can't create /file: Read-only file system\n"));
    });
}

#[test]
fn a_terminal_is_the_containers_own() {
    alone(|| {
        let world = World::new();
        let spec = world.shell("tty; stty size; ls -l /dev/console | cut -c1; echo typed: $(read line; echo $line)");
        let process = world.create(&spec, Stdio::Terminal { rows: 33, columns: 77 }).unwrap().start().unwrap();
        let master = File::from(process.terminal.unwrap());
        std::io::Write::write_all(&mut &master, b"ahoy\n").unwrap();
        let mut said = Vec::new();
        // With its last slave closed a master ends with EIO.
        let _ = (&master).read_to_end(&mut said);
        assert_eq!(wait(&process.pidfd), 0);
        let said = String::from_utf8(said).unwrap().replace('\r', "");
        assert!(said.contains("/dev/pts/0\n") && said.contains("33 77\nc\n") && said.contains("typed: ahoy"), "{said}");
    });
}

/// The kernel refuses an overlay on a directory that a volatile one has written.
#[test]
fn a_scratch_root_can_be_used_again() {
    alone(|| {
        let world = World::new();
        let super::super::Root::Overlay { layers, upper, work } = world.overlay() else { unreachable!() };
        for _ in 0..2 {
            let root =
                open_root(&super::super::Root::Scratch { layers: layers.clone(), upper: upper.clone(), work: work.clone() }).unwrap();
            let spec = world.shell("echo line >> /data/file; sync");
            let stdio = Streams::new(&world).stdio();
            let created = create(Create { id: "c1", spec: &spec, root, cgroup: &world.cgroup, stdio }).unwrap();
            assert_eq!(wait(&created.start().unwrap().pidfd), 0);
        }
        assert_eq!(fs::read_to_string(world.path("upper/data/file")).unwrap(), "line\nline\n");
        assert_eq!(with_mounts(&world, vec![], "cat /data/file"), "line\nline\n");
    });
}

#[test]
fn roots_of_other_kinds_are_opened() {
    alone(|| {
        let world = World::new();
        fs::create_dir_all(world.path("second/etc")).unwrap();
        fs::write(world.path("second/etc/name"), "upper layer").unwrap();
        let read = |root: &super::super::Root, path: &str| {
            let mut text = String::new();
            let file = open_in_root(&open_root(root).unwrap(), Path::new(path), rustix::fs::OFlags::RDONLY)?;
            File::from(file).read_to_string(&mut text).map(|_| text)
        };
        let layers = super::super::Root::Layers(vec![world.path("root"), world.path("second")]);
        assert_eq!(read(&layers, "/etc/name").unwrap(), "upper layer");
        assert!(read(&layers, "/etc/passwd").unwrap().starts_with("root"));
        assert!(read(&super::super::Root::Directory(world.path("second")), "/etc/passwd").is_err());
        assert_eq!(read(&super::super::Root::Layers(vec![world.path("second")]), "/etc/name").unwrap(), "upper layer");
        let missing = open_root(&super::super::Root::Layers(vec![world.path("absent")])).unwrap_err();
        assert!(missing.to_string().contains("absent` is not there"), "{missing}");
        let user = resolve_user(&open_root(&layers).unwrap(), "sailor", &[]).unwrap();
        assert_eq!((user.uid, user.additional_gids), (1000, vec![2000]));
    });
}
