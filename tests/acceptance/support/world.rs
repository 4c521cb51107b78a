//! A world of its own for a test: namespaces, a state directory, a project directory, and a way out.
//!
//! ```text
//! test process ── unshare (mount, net, ipc, uts, pid)      the holder; its child is PID 1 and reaps
//!      │          ├── nsenter … env -i … coracle …         every command of the test
//!      │          └── guardians, supervisors, containers   all gone when PID 1 is killed
//!      └── slirp4netns                                     outward: tap0, the host's loopback at 10.0.2.2
//! ```
//!
//! Dropping a world takes its containers down and fails if anything is left, unless the test has failed already.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;

use nix::sched::CloneFlags;
use nix::sched::setns;
use tempfile::TempDir;

use super::Container;
use super::Outcome;
use super::Process;
use super::Running;
use super::command;
use super::leftovers::Before;
use super::process;
use super::registry;
use super::resolver;
use super::wait;

/// What PID 1 of a world does: nothing, and it reaps.
const INIT: &str = "ip link set lo up && echo ready && while :; do sleep 100000 & wait; done";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The world's address on the way out, as slirp4netns gives it.
pub const ADDRESS: &str = "10.0.2.100";

/// Namespaces, state and project directory of one test.
pub struct World {
    holder: Child,
    way_out: Child,
    directory: TempDir,
    before: Option<Before>,
    ids: RefCell<BTreeSet<String>>,
    resolvers: RefCell<Vec<Arc<AtomicUsize>>>,
}

impl World {
    /// Makes a world that reaches the local registry (as `docker.io/library`) and, through it, what the host reaches.
    ///
    /// # Panics
    /// Not root; `unshare`, `slirp4netns`, `ip` or `nft` is missing.
    pub fn new() -> World {
        let registry = registry::address();
        // Short: the path of a socket has at most 107 bytes.
        let directory = tempfile::Builder::new().prefix("coracle-").tempdir_in("/tmp").expect("a directory in /tmp");
        let place = directory.path();
        for name in ["root", "home", "project"] {
            fs::create_dir(place.join(name)).expect("a fresh directory");
        }
        let port = registry.rsplit(':').next().expect("an address has a port");
        let rule = format!("[[registry]]\nprefix = \"docker.io/library\"\nlocation = \"10.0.2.2:{port}/library\"\ninsecure = true\n");
        fs::write(place.join("root/registries.conf"), rule).expect("a fresh file");
        fs::write(place.join("resolv.conf"), "nameserver 10.0.2.3\n").expect("a fresh file");
        let holder = hold(&place.join("resolv.conf"));
        let way_out = open_way_out(holder.id(), &place.join("slirp.log"));
        let mut world = World { holder, way_out, directory, before: None, ids: RefCell::default(), resolvers: RefCell::default() };
        world.before = Some(Before::read(&world));
        world
    }

    /// A world whose project directory is a copy of `tests/projects/NAME` or `tests/acceptance/data/NAME`.
    pub fn with(name: &str) -> World {
        let world = World::new();
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let found = ["projects", "acceptance/data"].iter().map(|place| tests.join(place).join(name)).find(|path| path.is_dir());
        copy(&found.unwrap_or_else(|| panic!("no project {name}")), &world.project());
        world
    }

    /// A world whose project directory has this compose.yaml.
    pub fn with_file(compose: &str) -> World {
        let world = World::new();
        world.file("compose.yaml", compose);
        world
    }

    // ---- places ----

    /// Where commands are run.
    pub fn project(&self) -> PathBuf {
        self.directory.path().join("project")
    }

    /// Coracle's state directory.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// Writes a file of the project.
    pub fn file(&self, name: &str, text: &str) {
        let path = self.project().join(name);
        fs::create_dir_all(path.parent().expect("a file has a directory")).expect("a directory of the project");
        fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }

    /// The world's /proc.
    pub fn proc(&self) -> PathBuf {
        self.holder().join("root/proc")
    }

    /// The directory of the holder in this process' /proc.
    pub(super) fn holder(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}", self.holder.id()))
    }

    // ---- commands ----

    /// Runs `coracle compose ARGUMENTS` in the project directory.
    pub fn run(&self, arguments: &str) -> Outcome {
        self.coracle(&format!("compose {arguments}"))
    }

    /// Runs `coracle ARGUMENTS` in the project directory.
    pub fn coracle(&self, arguments: &str) -> Outcome {
        let words = command::strings(arguments);
        self.coracle_with(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The same with the words as they are.
    pub fn coracle_with(&self, words: &[&str]) -> Outcome {
        let outcome = self.start_with(words).ends();
        self.remember_ids();
        assert!(!outcome.stderr.contains("panicked at"), "a panic: {}", outcome.told());
        outcome
    }

    /// Starts `coracle ARGUMENTS` and does not wait.
    pub fn start(&self, arguments: &str) -> Running {
        let words = command::strings(arguments);
        self.start_with(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn start_with(&self, words: &[&str]) -> Running {
        let program = program();
        let mut line = vec![program.to_str().expect("a path in UTF-8")];
        line.extend(words);
        Running::start(self.command(&line), format!("coracle {}", words.join(" ")))
    }

    /// Starts `coracle ARGUMENTS` on a terminal of 100 columns and 30 rows, its input from [`Running::types`].
    pub fn start_on_terminal(&self, arguments: &str) -> Running {
        let script = format!("stty cols 100 rows 30; exec {} {arguments}", program().display());
        Running::start(self.command(&["script", "-qefc", &script, "/dev/null"]), format!("coracle {arguments} (on a terminal)"))
    }

    /// Runs a line of the shell in which `coracle` is the program under test.
    pub fn shell(&self, line: &str) -> Outcome {
        let outcome = self.outside(&["sh", "-c", &format!("coracle() {{ {} \"$@\"; }}; {line}", program().display())]);
        assert!(!outcome.stderr.contains("panicked at"), "a panic: {}", outcome.told());
        outcome
    }

    /// Runs another program in the world, outside any container.
    pub fn outside(&self, words: &[&str]) -> Outcome {
        Running::start(self.command(words), words.join(" ")).ends()
    }

    /// Starts another program in the world and does not wait.
    pub fn start_outside(&self, words: &[&str]) -> Running {
        Running::start(self.command(words), words.join(" "))
    }

    fn command(&self, words: &[&str]) -> Command {
        let holder = self.holder.id();
        let place = self.directory.path().display();
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={holder}")).args(["--mount", "--net", "--ipc", "--uts"]);
        // The holder itself is outside the PID namespace it has made for its child.
        command.arg(format!("--pid=/proc/{holder}/ns/pid_for_children")).args(["--", "env", "-i", "-C"]);
        command.arg(self.project()).arg(format!("PATH={PATH}")).arg(format!("HOME={place}/home")).arg("LANG=C.UTF-8");
        command.arg(format!("CORACLE_ROOT={place}/root")).arg("TERM=xterm").args(words);
        command
    }

    // ---- looking ----

    /// All processes of the world.
    pub fn processes(&self) -> Vec<Process> {
        process::all(&self.proc())
    }

    /// Our own processes that stay: guardians and supervisors.
    pub fn engines(&self) -> Vec<Process> {
        let program = program();
        self.processes().into_iter().filter(|process| process.runs(&program)).collect()
    }

    /// Kills a process at once.
    pub fn kill(&self, process: &Process) {
        self.outside(&["kill", "-KILL", &process.pid.to_string()]).succeeds();
    }

    /// Sends a signal to a command of ours, such as INT for Ctrl-C.
    pub fn signal(&self, running: &Running, signal: &str) {
        let child = wait::eventually(wait::seconds(5), || child_of(running).ok_or_else(|| "nsenter has no child yet".to_owned()));
        let status = Command::new("kill").arg(format!("-{signal}")).arg(child).status().expect("kill can be started");
        assert!(status.success(), "cannot send {signal}");
    }

    /// Kills a command of ours wherever it is; one that has not begun or has ended by itself is left alone.
    pub fn cut(&self, running: &Running) {
        if let Some(child) = child_of(running) {
            Command::new("kill").args(["-KILL", &child]).stderr(Stdio::null()).status().expect("kill can be started");
        }
    }

    /// The container of a service.
    ///
    /// # Panics
    /// There is none, or more than one.
    #[track_caller]
    pub fn container(&self, service: &str) -> Container<'_> {
        let listed = self.run(&format!("ps -a -q {service}")).succeeds();
        Container::new(self, listed.line().to_owned())
    }

    /// The container with this name or beginning of an id.
    #[track_caller]
    pub fn named(&self, name: &str) -> Container<'_> {
        let listed = self.coracle(&format!("inspect --type container --format {{{{.Id}}}} {name}")).succeeds();
        Container::new(self, listed.line().to_owned())
    }

    /// Fetches `path` over HTTP from an address of the world, such as `127.0.0.1:8000`.
    pub fn fetch(&self, address: &str, path: &str) -> Result<String, String> {
        let namespace = File::open(self.holder().join("ns/net")).expect("the holder has a network namespace");
        let (address, path) = (address.to_owned(), path.to_owned());
        // setns(2) changes the calling thread only, so this thread is given up afterwards.
        let fetched = thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|error| format!("cannot enter the world's network: {error}"))?;
            fetch_here(&address, &path).map_err(|error| format!("{address}{path}: {error}"))
        });
        fetched.join().expect("fetching does not panic")
    }

    /// Waits until the page is there and returns its body.
    #[track_caller]
    pub fn page(&self, address: &str, path: &str) -> String {
        wait::eventually(wait::seconds(30), || self.fetch(address, path))
    }

    /// Makes the world's own resolver one that knows only `name`; returns how often it was asked.
    pub fn answer_names(&self, name: &str, address: [u8; 4]) -> Arc<AtomicUsize> {
        let namespace = File::open(self.holder().join("ns/net")).expect("the holder has a network namespace");
        let asked = resolver::serve(namespace, ADDRESS, name, address);
        // The file itself is changed, as it is mounted over the world's /etc/resolv.conf.
        fs::write(self.directory.path().join("resolv.conf"), format!("nameserver {ADDRESS}\n")).expect("the world's own file");
        self.resolvers.borrow_mut().push(Arc::clone(&asked));
        asked
    }

    /// Listens on a port of the world's loopback.
    pub fn listen(&self, port: u16) -> TcpListener {
        let namespace = File::open(self.holder().join("ns/net")).expect("the holder has a network namespace");
        let bound = thread::spawn(move || {
            // setns(2) changes the calling thread only; the socket stays where it was made.
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("the world's network namespace can be entered");
            TcpListener::bind(("127.0.0.1", port)).expect("the port is free")
        });
        bound.join().expect("the thread ends")
    }

    /// Waits until nothing is left of all that was run, and says what is.
    #[track_caller]
    pub fn is_empty(&self) {
        wait::eventually(wait::seconds(30), || self.left());
    }

    /// Takes away what a test mounted over `/run`, once the host is as it was before: what that was is noted there.
    #[track_caller]
    pub fn uncover_run(&self) {
        wait::eventually(wait::seconds(30), || match self.left() {
            Err(left) if left.contains("ip_forward") => Err(left),
            _ => Ok(()),
        });
        self.outside(&["umount", "-l", "/run"]).succeeds();
    }

    /// Says what is there and was not when the world began.
    pub fn left(&self) -> Result<(), String> {
        self.before.as_ref().expect("a finished world").differences(self)
    }

    /// Whether a process belongs to the world's own machinery.
    pub(super) fn is_ours(process: &Process) -> bool {
        process.command == "sleep 100000"
    }

    /// The ids of all containers this world has ever had.
    pub(super) fn ids_seen(&self) -> BTreeSet<String> {
        self.ids.borrow().clone()
    }

    fn remember_ids(&self) {
        let Ok(entries) = fs::read_dir(self.root().join("containers")) else { return };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        self.ids.borrow_mut().extend(names.filter(|name| name.len() == 64));
    }

    fn take_down(&self) {
        self.remember_ids();
        let listed = self.coracle("ps -a -q").succeeds();
        let ids: Vec<_> = listed.stdout.split_whitespace().collect();
        if !ids.is_empty() {
            let removed = self.coracle_with(&[&["rm", "-f", "-v"], ids.as_slice()].concat());
            assert!(removed.status.success(), "cannot clean up: {}", removed.told());
        }
        self.is_empty();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if thread::panicking() {
            for process in self.processes() {
                eprintln!("process {} of {}: {}", process.pid, process.parent, process.command);
            }
        }
        let taken_down = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            if !thread::panicking() {
                self.take_down()
            }
        }));
        // PID 1 goes with its parent, and everything with PID 1.
        for child in [&mut self.holder, &mut self.way_out] {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Err(reason) = taken_down {
            std::panic::resume_unwind(reason);
        }
    }
}

/// The program under test: `CORACLE_BIN`, or what cargo has built.
pub fn program() -> PathBuf {
    let named = std::env::var_os("CORACLE_BIN").map(PathBuf::from);
    let path = named.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_coracle")));
    fs::canonicalize(&path).unwrap_or_else(|error| panic!("no program {}: {error}", path.display()))
}

fn hold(resolv_conf: &Path) -> Child {
    let script = format!("mount --bind {} /etc/resolv.conf && {INIT}", resolv_conf.display());
    let mut holder = Command::new("unshare")
        .args(["--mount", "--net", "--ipc", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child", "--propagation", "private"])
        .args(["sh", "-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare can be started");
    let mut ready = [0; 6];
    let said = holder.stdout.as_mut().expect("a pipe").read_exact(&mut ready);
    assert!(said.is_ok() && &ready == b"ready\n", "cannot make namespaces: the acceptance tests need root, unshare and ip");
    holder
}

fn open_way_out(holder: u32, log: &Path) -> Child {
    let log = File::create(log).expect("a fresh file");
    let way_out = Command::new("slirp4netns")
        .args(["--configure", "--mtu=1400", "--netns-type=path"])
        .arg(format!("/proc/{holder}/ns/net"))
        .arg("tap0")
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second descriptor"))
        .stderr(log)
        .spawn()
        .expect("slirp4netns can be started");
    wait::eventually(wait::seconds(10), || {
        let routes = Command::new("nsenter").arg(format!("--net=/proc/{holder}/ns/net")).args(["ip", "route"]).output();
        let routes = String::from_utf8_lossy(&routes.expect("ip can be started").stdout).into_owned();
        if routes.contains("default") { Ok(()) } else { Err("slirp4netns has not set up tap0".to_owned()) }
    });
    way_out
}

fn fetch_here(address: &str, path: &str) -> Result<String, String> {
    let parsed = address.parse().map_err(|_| "no address".to_owned())?;
    let mut stream = TcpStream::connect_timeout(&parsed, wait::seconds(5)).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(wait::seconds(20))).map_err(|error| error.to_string())?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(|error| error.to_string())?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("no answer: `{answer}`"))?;
    if head.split(' ').nth(1) == Some("200") { Ok(body.to_owned()) } else { Err(head.lines().next().unwrap_or("").to_owned()) }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a fresh directory");
    for entry in fs::read_dir(from).expect("a project can be listed") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a project can be copied");
        }
    }
}

/// The program behind `nsenter --pid`, which forks.
fn child_of(running: &Running) -> Option<String> {
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.pid())).ok()?;
    children.split_whitespace().next().map(str::to_owned)
}
