//! RUN as its own process: one thread, one container, nothing left afterwards.

use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use nix::sched::CloneFlags;
use oci_spec::runtime::LinuxNamespaceType;
use oci_spec::runtime::LinuxResources;
use oci_spec::runtime::Mount;
use oci_spec::runtime::MountBuilder;
use oci_spec::runtime::Spec;
use oci_spec::runtime::UserBuilder;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::fs::CWD;
use rustix::mount::MountPropagationFlags;
use rustix::mount::MoveMountFlags;
use rustix::process::WaitId;
use rustix::process::WaitIdOptions;

use crate::build::job::Access;
use crate::build::job::Job;
use crate::build::job::JobMount;
use crate::build::job::Network;
use crate::build::job::Report;
use crate::build::job::Rights;
use crate::build::job::Talk;
use crate::build::root::Root;
use crate::build::stubs::Stubs;
use crate::build::supplies::GATEWAY;
use crate::container;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::net;
use crate::place::Home;
use crate::runtime;
use crate::runtime::Cgroup;
use crate::runtime::Create;
use crate::runtime::Process;
use crate::runtime::Stdio;
use crate::runtime::Trust;
use crate::state;

/// What the command's machine is called; BuildKit's name, which some scripts look for.
pub(super) const HOSTNAME: &str = "buildkitsandbox";

/// Plays the role: reads a job, carries it out, reports.
pub(super) fn main() -> ExitCode {
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    let job = read.map_err(|error| error.to_string()).and_then(|_| serde_json::from_str::<Job>(&line).map_err(|error| error.to_string()));
    let report = match job {
        Ok(job) => carry_out(&job).unwrap_or_else(|failure| Report { reasons: reasons(&failure), ..Report::default() }),
        Err(error) => Report { reasons: vec![format!("cannot understand the job: {error}")], ..Report::default() },
    };
    let text = serde_json::to_vec(&report).expect("a report is plain data");
    let told = rustix::stdio::stdout().try_clone_to_owned().and_then(|report| File::from(report).write_all(&text));
    if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A failure as lines, the widest statement first.
fn reasons(failure: &Failure) -> Vec<String> {
    let text = failure.to_string();
    let clean = |line: &str| line.trim_start().trim_start_matches("error: ").trim_start_matches("because: ").to_owned();
    text.lines().map(clean).collect()
}

/// Where the cgroup of a job is, below the one we were started in.
fn cgroup_path(id: &str, parent: Option<&str>) -> PathBuf {
    Path::new(parent.map_or("coracle", |parent| parent.trim_matches('/'))).join(id)
}

/// The parent that the build named, written down beside the job: who cleans up after a kill knows the draft only.
const PARENT: &str = "cgroup-parent";

fn carry_out(job: &Job) -> Result<Report> {
    let home = Home::at(&job.home.0, &job.home.1);
    if let Some(parent) = &job.limits.cgroup_parent {
        std::fs::write(job.draft.join("files").join(PARENT), parent).doing(|| "cannot write the cgroup of RUN down")?;
    }
    let outcome = run(&home, job);
    let cleaned = clean(&home, &job.id, &job.draft.join("files"));
    if is_orphan() {
        let _ = state::discard(&home, &job.draft);
        // Secrets that the build would have removed.
        let _ = std::fs::remove_dir_all(home.build_run(&job.id));
        let _ = net::sweep(&home);
    }
    let mut report = outcome?;
    if let Err(failure) = cleaned {
        report.notes.push(reasons(&failure).join(": "));
    }
    Ok(report)
}

/// Takes away what a job has on the machine besides its files, which are below `files`; doing it twice is no error.
///
/// # Errors
/// All that could not be taken away.
pub(super) fn clean(home: &Home, id: &str, files: &Path) -> Result<()> {
    let parent = std::fs::read_to_string(files.join(PARENT)).ok();
    let cgroup = Cgroup { path: cgroup_path(id, parent.as_deref()) };
    let killed = cgroup.kill();
    // The bridge stays for the next RUN. A moment after the build it goes, by the process that empties the trash.
    let unplugged = net::unplug(home, id);
    let removed = cgroup.remove();
    let failures: Vec<Failure> = [killed, unplugged, removed].into_iter().filter_map(Result::err).collect();
    if failures.is_empty() { Ok(()) } else { Err(Failure::several("cannot clean up after RUN", failures)) }
}

fn run(home: &Home, job: &Job) -> Result<Report> {
    // Scratch: no layer in the store waits for the disk, and to unmount an overlay would be to wait for all that is written to it.
    let overlay = runtime::Root::Scratch { layers: job.layers.clone(), upper: job.upper.clone(), work: job.work.clone() };
    let root = runtime::open_root(&overlay)?;
    // The same mount by another descriptor: to look at it, before and after.
    let seen = Root::of(root.try_clone().doing(|| "cannot keep the root open")?);
    let spec = spec(job, &root, mounts(job)?)?;
    let stubs = Stubs::missing(&seen, &spec).doing(|| "cannot read the root")?;
    let (cgroup, notes) = Cgroup::create(&cgroup_path(&job.id, job.limits.cgroup_parent.as_deref()), &LinuxResources::default())?;
    let created = runtime::create(Create { id: &job.id, spec: &spec, root, cgroup: &cgroup, stdio: stdio(job.talk)? })?;
    if let Network::Plug(network) = &job.network {
        let plug = net::Plug::into_network(network);
        let plugged = net::plug(home, &job.id, created.netns.as_fd(), &[plug])?;
        name_gateway(&job.draft.join("files/hosts"), &plugged).doing(|| "cannot write /etc/hosts for RUN")?;
    }
    let process = created.start()?;
    let status = wait(&process, &cgroup)?;
    let out_of_memory = cgroup.oom_kills().is_ok_and(|kills| kills > 0);
    cgroup.kill()?;
    stubs.remove(&seen).doing(|| "cannot tidy the root")?;
    Ok(Report { status: Some(status), notes, out_of_memory, ..Report::default() })
}

/// Writes the host's address in the place of the word for it; the file is mounted, so it stays the same one.
fn name_gateway(hosts: &Path, plugged: &[net::Plugged]) -> io::Result<()> {
    let text = std::fs::read_to_string(hosts)?;
    if !text.contains(GATEWAY) {
        return Ok(());
    }
    let ipv4 = plugged.iter().find_map(|plug| plug.ipv4.and_then(|assigned| assigned.gateway)).map(|gateway| gateway.to_string());
    let ipv6 = || plugged.iter().find_map(|plug| plug.ipv6.and_then(|assigned| assigned.gateway)).map(|gateway| gateway.to_string());
    let gateway = ipv4.or_else(ipv6).unwrap_or_else(|| "127.0.0.1".to_owned());
    let line = |line: &str| line.strip_prefix(GATEWAY).map_or_else(|| format!("{line}\n"), |name| format!("{gateway}{name}\n"));
    std::fs::write(hosts, text.lines().map(line).collect::<String>())
}

/// The command writes to our standard error and reads nothing, or the terminal is its own.
fn stdio(talk: Talk) -> Result<Stdio> {
    let nothing = || "cannot open the streams of RUN";
    if talk == Talk::Terminal {
        let terminal = File::options().read(true).write(true).open("/dev/tty").doing(nothing)?;
        let copy = || terminal.try_clone().map(OwnedFd::from).doing(nothing);
        return Ok(Stdio::Files { stdin: copy()?, stdout: copy()?, stderr: copy()? });
    }
    let null = File::open("/dev/null").doing(nothing)?;
    let output = || rustix::stdio::stderr().try_clone_to_owned().doing(nothing);
    Ok(Stdio::Files { stdin: null.into(), stdout: output()?, stderr: output()? })
}

/// Waits for the end of the command, or ends it when the build is gone.
fn wait(process: &Process, cgroup: &Cgroup) -> Result<i32> {
    let waiting = || "cannot wait for RUN";
    let stdin = io::stdin();
    let mut alone = false;
    loop {
        let mut fds = vec![PollFd::new(&process.pidfd, PollFlags::IN)];
        if !alone {
            fds.push(PollFd::new(&stdin, PollFlags::IN));
        }
        match rustix::event::poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            outcome => outcome.map_err(io::Error::from).doing(waiting)?,
        };
        if fds.get(1).is_some_and(|fd| !fd.revents().is_empty()) {
            alone = true;
            cgroup.kill()?;
        } else if !fds[0].revents().is_empty() {
            break;
        }
    }
    let ended = rustix::process::waitid(WaitId::PidFd(process.pidfd.as_fd()), WaitIdOptions::EXITED);
    let ended = ended.map_err(io::Error::from).doing(waiting)?;
    let ended = ended.ok_or_else(|| Failure::new(waiting()))?;
    Ok(ended.exit_status().unwrap_or_else(|| 128 + ended.terminating_signal().unwrap_or(0)))
}

/// Whether the build has let go of us.
fn is_orphan() -> bool {
    let stdin = io::stdin();
    let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    let readable = rustix::event::poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0);
    readable && matches!(stdin.lock().read(&mut [0]), Ok(0) | Err(_))
}

fn spec(job: &Job, root: &OwnedFd, mounts: Vec<Mount>) -> Result<Spec> {
    let mut spec = runtime::default_spec();
    let wanted = if job.user.is_empty() { "0" } else { &job.user };
    let found = runtime::resolve_user(root, wanted, &[])?;
    // As containerd does: the group of the user is one of its groups.
    let mut groups = found.additional_gids;
    if !groups.contains(&found.gid) {
        groups.insert(0, found.gid);
    }
    let user = UserBuilder::default().uid(found.uid).gid(found.gid).additional_gids(groups).build();
    let user = user.map_err(|error| Failure::new("cannot describe the user of RUN").because(error))?;
    let mut env = job.env.clone();
    if !env.iter().any(|line| line.starts_with("HOME=")) {
        env.push(format!("HOME={}", found.home.unwrap_or_else(|| "/".to_owned())));
    }
    let mut process = spec.process().clone().unwrap_or_default();
    process.set_args(Some(job.args.clone()));
    process.set_env(Some(env));
    process.set_cwd(PathBuf::from(&job.directory));
    process.set_user(user);
    process.set_terminal(Some(false));
    let ulimits = job.limits.ulimits.iter().map(|(name, soft, hard)| container::ulimit(name, *soft, *hard));
    let ulimits = ulimits.collect::<Result<Vec<_>>>()?;
    if !ulimits.is_empty() {
        process.set_rlimits(Some(ulimits));
    }
    spec.set_process(Some(process));
    spec.set_hostname(Some(HOSTNAME.to_owned()));
    let mut all = spec.mounts().clone().unwrap_or_default();
    for shm in all.iter_mut().filter(|mount| mount.destination() == Path::new("/dev/shm")) {
        if let (Some(size), Some(options)) = (job.limits.shm_size, shm.options_mut()) {
            options.retain(|option| !option.starts_with("size="));
            options.push(format!("size={size}"));
        }
    }
    all.extend(mounts);
    spec.set_mounts(Some(all));
    container::give_cdi_devices(&mut spec, &job.devices, &job.draft.join("files"))?;
    if job.rights == Rights::All {
        runtime::apply_trust(&mut spec, &Trust { privileged: true, ..Trust::default() })?;
    }
    if job.network == Network::Host
        && let Some(mut linux) = spec.linux().clone()
    {
        let mut namespaces = linux.namespaces().clone().unwrap_or_default();
        namespaces.retain(|namespace| namespace.typ() != LinuxNamespaceType::Network);
        linux.set_namespaces(Some(namespaces));
        spec.set_linux(Some(linux));
    }
    Ok(spec)
}

fn mounts(job: &Job) -> Result<Vec<Mount>> {
    if job.mounts.iter().any(|mount| matches!(mount, JobMount::Stage { .. })) {
        own_mounts().doing(|| "cannot mount for RUN")?;
    }
    job.mounts.iter().map(mount).collect()
}

/// From here on nobody else sees what we mount, and it is gone with us.
fn own_mounts() -> io::Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNS)?;
    Ok(rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}

fn mount(mount: &JobMount) -> Result<Mount> {
    let (kind, source, target, options) = match mount {
        JobMount::Bind { source, target, access } => ("bind", source.clone(), target, bind_options(*access)),
        JobMount::Stage { layers, path, target, place, scratch } => {
            let root = match scratch {
                Some((upper, work)) => runtime::Root::Scratch { layers: layers.clone(), upper: upper.clone(), work: work.clone() },
                None => runtime::Root::Layers(layers.clone()),
            };
            let access = if scratch.is_some() { Access::ReadWrite } else { Access::ReadOnly };
            let source = attach(&runtime::open_root(&root)?, place, path).doing(|| format!("cannot mount `{path}` for RUN"))?;
            ("bind", source, target, bind_options(access))
        }
        JobMount::Tmpfs { target, size } => {
            let mut options = vec!["nosuid".to_owned(), "nodev".to_owned()];
            options.extend(size.map(|size| format!("size={size}")));
            ("tmpfs", PathBuf::from("tmpfs"), target, options)
        }
    };
    let built = MountBuilder::default().typ(kind).source(source).destination(target).options(options).build();
    built.map_err(|error| Failure::new(format!("cannot describe the mount on `{target}`")).because(error))
}

fn bind_options(access: Access) -> Vec<String> {
    let access = if access == Access::ReadOnly { "ro" } else { "rw" };
    vec!["rbind".to_owned(), access.to_owned()]
}

/// Gives a root a place, and says where a path of it is then; links are followed inside the root.
fn attach(root: &OwnedFd, place: &Path, path: &str) -> io::Result<PathBuf> {
    std::fs::create_dir_all(place)?;
    rustix::mount::move_mount(root, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    let inside = Root::at(place)?;
    let resolved = inside.resolve(Path::new(path))?;
    if inside.find(&resolved)?.is_none() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("\"{path}\": not found")));
    }
    Ok(place.join(resolved))
}
