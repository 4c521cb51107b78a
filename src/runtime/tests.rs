//! Containers that really start, from a root of busybox, in a forked process with its own mount namespace.

use std::fs;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use oci_spec::runtime::LinuxNamespaceType;
use oci_spec::runtime::LinuxResources;
use oci_spec::runtime::Mount;
use rustix::process::WaitId;
use rustix::process::WaitIdOptions;

use super::*;
use crate::failure::Result;
use crate::sys;

mod confinement;
mod lifecycle;
mod rootfs;

/// Where Debian's busybox-static puts it.
const BUSYBOX: &str = "/bin/busybox";

/// Applets that the scenarios use.
const APPLETS: &[&str] = &[
    "cat", "chown", "cp", "date", "dd", "echo", "env", "false", "hostname", "id", "kill", "ln", "ls", "mkdir", "mknod", "mount", "ps",
    "pwd", "readlink", "rm", "sh", "sleep", "stat", "stty", "tail", "test", "touch", "true", "tty", "umount", "unshare", "wc", "grep",
    "cut",
];

/// Runs a scenario in a forked process with one thread and a mount namespace of its own; what it panics with is passed on.
fn alone(scenario: impl FnOnce()) {
    let (mut report, write) = std::io::pipe().unwrap();
    let Some(pid) = sys::clone::fork_of_threads().unwrap() else {
        drop(report);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            sys::clone::unshare(namespaces::MOUNT).unwrap();
            rustix::mount::mount_change("/", rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC)
                .unwrap();
            scenario();
        }));
        let words = outcome.err().map(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "panicked".to_owned()));
        std::io::Write::write_all(&mut &write, words.unwrap_or_default().as_bytes()).unwrap();
        sys::clone::exit_at_once(0);
    };
    drop(write);
    let mut words = String::new();
    report.read_to_string(&mut words).unwrap();
    rustix::process::waitpid(rustix::process::Pid::from_raw(pid), rustix::process::WaitOptions::empty()).unwrap();
    assert!(words.is_empty(), "{words}");
}

/// A root of busybox and a cgroup, both gone in the end.
struct World {
    directory: tempfile::TempDir,
    cgroup: Cgroup,
    warnings: Vec<String>,
}

/// What came out of a container.
#[derive(Debug)]
struct Output {
    status: i32,
    stdout: String,
    stderr: String,
    warnings: Vec<String>,
}

impl World {
    fn new() -> World {
        World::limited(spec::default_spec().linux().as_ref().unwrap().resources().as_ref().unwrap())
    }

    fn limited(resources: &LinuxResources) -> World {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let directory = tempfile::tempdir().unwrap();
        make_root(&directory.path().join("root"));
        let name = format!("coracle-test/{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let (cgroup, warnings) = Cgroup::create(Path::new(&name), resources).unwrap();
        World { directory, cgroup, warnings }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A spec that runs `command` by the shell.
    fn shell(&self, command: &str) -> Spec {
        self.spec(&["sh", "-c", command])
    }

    fn spec(&self, arguments: &[&str]) -> Spec {
        let mut spec = default_spec();
        let process = spec.process_mut().as_mut().unwrap();
        process.set_args(Some(arguments.iter().map(|argument| (*argument).to_owned()).collect()));
        process.set_env(Some(vec!["PATH=/usr/bin:/bin".to_owned()]));
        spec.set_hostname(Some("boat".to_owned()));
        spec
    }

    fn root(&self) -> OwnedFd {
        open_root(&self.overlay()).unwrap()
    }

    fn overlay(&self) -> super::Root {
        let (upper, work) = (self.path("upper"), self.path("work"));
        fs::create_dir_all(&upper).unwrap();
        fs::create_dir_all(&work).unwrap();
        super::Root::Overlay { layers: vec![self.path("root")], upper, work }
    }

    fn create(&self, spec: &Spec, stdio: Stdio) -> Result<Created> {
        create(Create { id: "c1", spec, root: self.root(), cgroup: &self.cgroup, stdio })
    }

    /// Runs to the end.
    fn run(&self, spec: &Spec) -> Result<Output> {
        let streams = Streams::new(self);
        let process = self.create(spec, streams.stdio())?.start()?;
        let status = wait(&process.pidfd);
        Ok(streams.output(status, process.warnings))
    }

    /// Starts and gives the process while it runs.
    fn start(&self, spec: &Spec) -> Process {
        self.create(spec, Streams::new(self).stdio()).unwrap().start().unwrap()
    }

    /// Runs one more process in a running container.
    fn exec(&self, container: &Process, spec: &Spec, command: &[&str]) -> Result<Output> {
        let streams = Streams::new(self);
        let mut process = spec.process().clone().unwrap();
        process.set_args(Some(command.iter().map(|argument| (*argument).to_owned()).collect()));
        let process = exec(container.pid, &self.cgroup, spec, &process, streams.stdio())?;
        let status = wait(&process.pidfd);
        Ok(streams.output(status, process.warnings))
    }

    fn end(&self, process: &Process) {
        self.cgroup.kill().unwrap();
        wait(&process.pidfd);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.cgroup.kill().unwrap();
        self.cgroup.remove().unwrap();
    }
}

/// Files that take what a container says.
struct Streams {
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Streams {
    fn new(world: &World) -> Streams {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Streams { stdout: world.path(&format!("stdout{number}")), stderr: world.path(&format!("stderr{number}")) }
    }

    fn stdio(&self) -> Stdio {
        let stdin = File::open("/dev/null").unwrap().into();
        Stdio::Files { stdin, stdout: File::create(&self.stdout).unwrap().into(), stderr: File::create(&self.stderr).unwrap().into() }
    }

    fn output(&self, status: i32, warnings: Vec<String>) -> Output {
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        Output { status, stdout: read(&self.stdout), stderr: read(&self.stderr), warnings }
    }
}

/// The exit status, 128 + n for signal n.
fn wait(pidfd: &OwnedFd) -> i32 {
    let status = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).unwrap().unwrap();
    status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap())
}

fn make_root(root: &Path) {
    for directory in ["bin", "etc", "tmp", "root", "proc", "sys", "dev", "data"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).expect("these tests need the package busybox-static");
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nsailor:x:1000:1000::/data:/bin/sh\n").unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nsailor:x:1000:\nharbour:x:2000:sailor\n").unwrap();
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
}

fn mount(destination: &str, source: &Path, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount.set_destination(destination.into()).set_source(Some(source.into())).set_typ(Some("bind".to_owned()));
    mount.set_options(Some(options.iter().map(|option| (*option).to_owned()).collect()));
    mount
}

fn add_mount(spec: &mut Spec, mount: Mount) {
    spec.mounts_mut().as_mut().unwrap().push(mount);
}
