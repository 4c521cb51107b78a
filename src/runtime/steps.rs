//! What a new process does between clone3 and its program, in the order that the kernel demands.

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;

use oci_spec::runtime::LinuxSeccomp;
use oci_spec::runtime::Process as ProcessSpec;
use oci_spec::runtime::Spec;
use oci_spec::runtime::User;
use rustix::fs::Mode;
use rustix::process::DumpableBehavior;

use super::Stdio;
use super::cgroup::Doors;
use super::cgroup::Hierarchy;
use super::devices;
use super::fence;
use super::hooks;
use super::hooks::Hooks;
use super::hooks::Moment;
use super::identity;
use super::kernel_settings;
use super::mounts;
use super::namespaces;
use super::namespaces::Namespaces;
use super::path::Kind;
use super::path::open_or_make;
use super::program::Program;
use super::seccomp;
use super::talk::Child;
use super::talk::During;
use super::talk::Step;
use super::talk::Trouble;
use super::terminal::Terminal;
use crate::sys;

/// How a process enters its cgroups and namespaces.
#[derive(Debug)]
pub(super) struct Entry {
    /// The ways into its cgroups.
    pub(super) doors: Doors,
    /// Namespaces to join, in this order.
    pub(super) joined: Vec<(u64, OwnedFd)>,
    /// Whether to make a cgroup namespace, once in the cgroup that becomes its root.
    pub(super) new_cgroup_namespace: bool,
}

/// The first process of a container, all that it needs.
#[derive(Debug)]
pub(super) struct First<'a> {
    pub(super) spec: &'a Spec,
    pub(super) process: &'a ProcessSpec,
    pub(super) root: OwnedFd,
    pub(super) stdio: Stdio,
    pub(super) entry: Entry,
    /// The container's own cgroup directories of version 1, to be shown inside; none on version 2.
    pub(super) hierarchies: Vec<Hierarchy>,
}

/// Runs a step list; returns the status to end with when it did not come to its program.
pub(super) fn carry_out(child: &Child, steps: impl FnOnce(&Child) -> Step) -> u8 {
    let Err(trouble) = steps(child) else { return 125 };
    child.give_up(&trouble);
    trouble.status
}

/// Joins cgroups and namespaces; the host's files are still in reach.
pub(super) fn enter(entry: &mut Entry) -> Step {
    entry.doors.enter().during(|| "join the cgroup")?;
    if entry.new_cgroup_namespace {
        sys::clone::unshare(namespaces::CGROUP).during(|| "make a cgroup namespace")?;
    }
    namespaces::join(&entry.joined)
}

/// From the maker's word to the program of a container.
pub(super) fn first(mut first: First<'_>, child: &Child) -> Step {
    let linux = first.spec.linux().clone().unwrap_or_default();
    let program = Program::of(first.process)?;
    let filter = linux.seccomp().as_ref().map(compile).transpose()?;
    enter(&mut first.entry)?;
    if !child.wait() {
        return Err(Trouble::new("the engine gave up the start"));
    }
    let own = Namespaces::of(first.spec).new;
    become_root(own)?; // in a user namespace we are nobody until we say so
    rustix::process::umask(Mode::empty()); // the modes below are meant as they are
    name_host(first.spec, own)?;
    kernel_settings::set(linux.sysctl().as_ref(), own)?; // through the host's /proc, which a container cannot have tampered with
    set_oom_score(first.process.oom_score_adj(), child)?;
    hide()?; // a PID namespace that is joined has others in it
    let prepared = mounts::prepare(first.spec.mounts().as_deref().unwrap_or_default())?; // shared with the host, until the next line
    mounts::part_from_host(linux.rootfs_propagation().as_deref())?;
    mounts::attach_root(&first.root)?;
    mounts::mount_all(&first.root, prepared, &first.hierarchies)?;
    devices::create(&first.root, linux.devices().as_deref().unwrap_or_default())?;
    let terminal = connect(&first.root, first.stdio, first.process.user(), child)?; // needs the devpts just mounted
    if terminal.is_some() {
        terminal.iter().try_for_each(|terminal| terminal.make_console(&first.root)).during(|| "make /dev/console")?;
    }
    fence::mask(&first.root, linux.masked_paths().as_deref().unwrap_or_default())?; // needs /dev/null
    fence::protect(&first.root, linux.readonly_paths().as_deref().unwrap_or_default())?;
    make_working_directory(&first.root, first.process.cwd())?;
    let hooks = Hooks::of(first.spec);
    let own_pid = run_hooks(hooks.as_ref(), &first.root)?; // programs of the host, which must still be in reach
    if is_read_only(first.spec) {
        mounts::make_read_only(&first.root)?; // after everything that makes a mount point
    }
    mounts::enter_root(&first.root)?; // from here on the host's files are out of reach
    if let Some(hooks) = hooks.filter(|hooks| hooks.has(Moment::StartContainer)) {
        hooks.run(Moment::StartContainer, own_pid).map_err(Trouble::new)?; // programs of the container
    }
    drop(first.root);
    settle(first.process, filter.as_deref(), child)?;
    run(program, child)
}

fn compile(profile: &LinuxSeccomp) -> Step<Vec<sys::seccomp::Instruction>> {
    seccomp::compile(profile).map_err(|failure| Trouble::new(failure.to_string().replace("error: ", "").replace("\n  because: ", ": ")))
}

/// Runs the hooks that prepare the root, and returns our number on the host, which later ones are told too.
fn run_hooks(hooks: Option<&Hooks>, root: &OwnedFd) -> Step<i32> {
    let Some(hooks) = hooks else { return Ok(0) };
    let pid = hooks::own_pid();
    if hooks.has(Moment::CreateContainer) {
        hooks.write_bundle(root).during(|| "write the configuration for the hooks")?;
        hooks.run(Moment::CreateContainer, pid).map_err(Trouble::new)?;
    }
    Ok(pid)
}

/// Until execve we are the host's program: nobody in the container may look into us, or at our file, through /proc/PID.
fn hide() -> Step {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).during(|| "hide from the container")
}

fn is_read_only(spec: &Spec) -> bool {
    spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false)
}

/// Limits and identity: each line takes away what the next ones no longer need.
pub(super) fn settle(process: &ProcessSpec, filter: Option<&[sys::seccomp::Instruction]>, child: &Child) -> Step {
    let no_new_privileges = process.no_new_privileges().unwrap_or(false);
    identity::limit_resources(process.rlimits().as_deref().unwrap_or_default(), child)?;
    identity::own_streams(process.user());
    identity::limit_bounds(process.capabilities().as_ref())?; // needs CAP_SETPCAP
    if no_new_privileges {
        rustix::thread::set_no_new_privs(true).during(|| "give up new privileges")?;
    } else {
        install(filter)?; // without no_new_privs this needs CAP_SYS_ADMIN
    }
    identity::become_user(process.user())?;
    enter_directory(process.cwd())?; // as the user, who may not be allowed to
    identity::limit_capabilities(process.capabilities().as_ref())?;
    if no_new_privileges {
        install(filter)?; // as late as can be: the steps above need calls that a profile may refuse
    }
    Ok(())
}

/// The last steps, which end this program.
pub(super) fn run(program: Program, child: &Child) -> Step {
    child.ready();
    sys::exec::close_from_on_exec(3).during(|| "close what the program is not to have")?;
    sys::signal::reset_all().during(|| "reset the signals")?;
    Err(program.execute())
}

fn install(filter: Option<&[sys::seccomp::Instruction]>) -> Step {
    let Some(filter) = filter else { return Ok(()) };
    sys::seccomp::install(filter, 0).during(|| "install the seccomp filter").map(drop)
}

/// Puts the streams on 0, 1 and 2, in a session of its own; gives the terminal if there is one.
pub(super) fn connect(root: &OwnedFd, stdio: Stdio, user: &User, child: &Child) -> Step<Option<Terminal>> {
    // Refused only for the leader of a session, which has one of its own already.
    let _ = rustix::process::setsid();
    match stdio {
        Stdio::Files { stdin, stdout, stderr } => {
            place([stdin, stdout, stderr])?;
            Ok(None)
        }
        Stdio::Terminal { rows, columns } => {
            let terminal = Terminal::open(root, rows, columns).during(|| "open a terminal")?;
            terminal.give_to(user).during(|| "give the terminal to its user")?;
            child.send_terminal(&terminal.master).during(|| "hand over the terminal")?;
            rustix::process::ioctl_tiocsctty(&terminal.slave).during(|| "take the terminal as ours")?;
            for set in [rustix::stdio::dup2_stdin, rustix::stdio::dup2_stdout, rustix::stdio::dup2_stderr] {
                set(&terminal.slave).during(|| "use the terminal")?;
            }
            Ok(Some(terminal))
        }
    }
}

fn place(streams: [OwnedFd; 3]) -> Step {
    let copy = |stream: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(stream, 3);
    // First out of the way of 0, 1 and 2: they may be numbered so, in any order.
    let [stdin, stdout, stderr] = [copy(&streams[0]), copy(&streams[1]), copy(&streams[2])];
    // Dropping them would close what is about to be put in their place.
    streams.into_iter().for_each(std::mem::forget);
    rustix::stdio::dup2_stdin(stdin.during(|| "use the standard input")?).during(|| "use the standard input")?;
    rustix::stdio::dup2_stdout(stdout.during(|| "use the standard output")?).during(|| "use the standard output")?;
    rustix::stdio::dup2_stderr(stderr.during(|| "use the standard error")?).during(|| "use the standard error")
}

fn become_root(own: u64) -> Step {
    if own & namespaces::USER == 0 {
        return Ok(());
    }
    let (uid, gid) = (rustix::fs::Uid::ROOT, rustix::fs::Gid::ROOT);
    rustix::thread::set_thread_res_gid(gid, gid, gid).during(|| "become root of the user namespace")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).during(|| "become root of the user namespace")
}

/// Names the container's host; without a namespace for it, it would be the machine that gets the name.
fn name_host(spec: &Spec, own: u64) -> Step {
    if own & namespaces::UTS == 0 {
        return Ok(());
    }
    if let Some(name) = spec.hostname() {
        rustix::system::sethostname(name.as_bytes()).during(|| format!("set the host name {name}"))?;
    }
    if let Some(name) = spec.domainname() {
        rustix::system::setdomainname(name.as_bytes()).during(|| format!("set the domain name {name}"))?;
    }
    Ok(())
}

/// Sets the OOM score; lowering it needs CAP_SYS_RESOURCE, and going without is a warning.
pub(super) fn set_oom_score(score: Option<i32>, child: &Child) -> Step {
    let Some(score) = score else { return Ok(()) };
    match std::fs::write("/proc/self/oom_score_adj", score.to_string()) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            child.warn(&format!("oom_score_adj {score} is not set: this machine does not let us lower it"));
            Ok(())
        }
        outcome => outcome.during(|| format!("set oom_score_adj to {score}")),
    }
}

fn make_working_directory(root: &OwnedFd, path: &Path) -> Step {
    open_or_make(root, path, Kind::Directory).during(|| format!("make the working directory {}", path.display())).map(drop)
}

pub(super) fn enter_directory(path: &Path) -> Step {
    let changed = rustix::process::chdir(path);
    let is_missing = changed.is_err_and(|error| error == rustix::io::Errno::NOENT);
    let missing = |trouble: Trouble| if is_missing { Trouble { status: 127, ..trouble } } else { trouble };
    changed.during(|| format!("change to the working directory {}", path.display())).map_err(missing)?;
    // A descriptor of the host left open could lead out: the kernel then names no place (getcwd(3)).
    let place = rustix::process::getcwd(Vec::new()).during(|| "find the working directory")?;
    if !place.as_bytes().starts_with(b"/") {
        return Err(Trouble::new(format!("the working directory {} is outside of the container", path.display())));
    }
    Ok(())
}

/// The root of the mount namespace we are in.
pub(super) fn own_root() -> Step<OwnedFd> {
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::open("/", flags, Mode::empty()).during(|| "open /")
}

/// The one more process of a running container.
#[derive(Debug)]
pub(super) struct More<'a> {
    pub(super) process: &'a ProcessSpec,
    pub(super) spec: &'a Spec,
    pub(super) stdio: Stdio,
    pub(super) doors: Doors,
    /// The container's first process.
    pub(super) container: OwnedFd,
    /// `CLONE_NEW*` bits of the namespaces to enter, without the PID namespace.
    pub(super) namespaces: u64,
}

/// From the maker's word to one more program in a running container.
pub(super) fn more(more: More<'_>, child: &Child) -> Step {
    hide()?;
    let program = Program::of(more.process)?;
    let linux = more.spec.linux().as_ref();
    let filter = linux.and_then(|linux| linux.seccomp().as_ref()).map(compile).transpose()?;
    if !child.wait() {
        return Err(Trouble::new("the engine gave up the start"));
    }
    set_oom_score(more.process.oom_score_adj(), child)?; // through the host's /proc
    enter(&mut Entry { doors: more.doors, joined: Vec::new(), new_cgroup_namespace: false })?;
    sys::clone::setns(more.container.as_fd(), more.namespaces).during(|| "enter the container")?; // the host is out of reach
    drop(more.container);
    connect(&own_root()?, more.stdio, more.process.user(), child)?;
    settle(more.process, filter.as_deref(), child)?;
    run(program, child)
}
