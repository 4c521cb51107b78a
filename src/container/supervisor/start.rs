//! Starting a container. What an unfinished start leaves is taken down as after a run: by what is there, not by what we remember.

use std::fs;
use std::fs::DirBuilder;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use std::time::Instant;

use oci_spec::runtime::Spec;
use rustix::fs::Gid;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::Uid;

use crate::container::Container;
use crate::container::Health;
use crate::container::NetworkMode;
use crate::container::State;
use crate::container::Status;
use crate::container::checks;
use crate::container::files;
use crate::container::notes;
use crate::container::process;
use crate::container::record;
use crate::container::spec;
use crate::container::view;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::net;
use crate::net::Plugged;
use crate::net::Reservation;
use crate::net::Target;
use crate::place::Home;
use crate::runtime;
use crate::runtime::Cgroup;
use crate::runtime::Create;
use crate::runtime::Created;
use crate::runtime::Root;
use crate::runtime::Stdio;
use crate::runtime::User;
use crate::units;

use super::QUIET;
use super::Run;
use super::Supervisor;
use super::Watched;
use super::health::Checks;
use super::output::Origin;
use super::output::Output;
use super::relays::Relays;

/// Docker's exit status for what is the engine's fault.
const ENGINE: u8 = 125;

/// A new terminal's size until somebody looks at it.
const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

/// Who starts a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// Somebody asked: restarts are counted anew.
    Hand,
    /// Its restart policy.
    Policy,
}

impl Supervisor {
    /// Makes a container run; one that runs is left alone. Returns what this machine could not do.
    pub(super) fn start(&mut self, id: &str, by: By) -> Result<Vec<String>> {
        self.rest_at = Some(Instant::now() + QUIET);
        self.end_last_run(id);
        let mut watched = match self.watched.remove(id) {
            Some(watched) if watched.run.is_some() => {
                self.watched.insert(id.to_owned(), watched);
                return Ok(Vec::new());
            }
            Some(watched) => watched,
            None => self.fresh(id)?,
        };
        watched.restart_at = None;
        if by == By::Hand {
            watched.delay = Duration::ZERO;
            watched.state.restarts = 0;
            watched.state.stopped_by_hand = false;
        }
        let what = format!("cannot start container `{}`", watched.container.name);
        let before = watched.state.clone();
        let outcome = self.bring_up(&mut watched);
        if let Err(failure) = &outcome {
            watched.state = before;
            self.note_failed_start(&mut watched, failure);
        }
        self.watched.insert(id.to_owned(), watched);
        outcome.map_err(|failure| if failure.what() == what { failure } else { failure.within(what) })
    }

    fn fresh(&self, id: &str) -> Result<Watched> {
        let container = record::load(&self.home, id)?.ok_or_else(|| Failure::new(format!("no such container: {id}")))?;
        let state = record::recorded_state(&self.home, id)?;
        Ok(Watched { container, state, run: None, reservation: None, restart_at: None, delay: Duration::ZERO })
    }

    /// Takes back what there is; the container is as before, but for the error.
    fn note_failed_start(&mut self, watched: &mut Watched, failure: &Failure) {
        self.take_down(watched);
        watched.run = None;
        watched.reservation = None;
        self.forget(&watched.container.id, |_| true);
        let before = std::mem::take(&mut watched.state);
        watched.state = State {
            status: if before.started.is_empty() { Status::Created } else { Status::Exited },
            exit_code: i32::from(failure.status()),
            error: failure.what().to_owned(),
            restarts: before.restarts,
            started: before.started,
            finished: before.finished,
            ..State::default()
        };
        self.save(watched);
    }

    /// The steps of a start, in the order that the kernel, or a clean failure, demands.
    fn bring_up(&mut self, watched: &mut Watched) -> Result<Vec<String>> {
        let container = watched.container.clone();
        let (home, id) = (self.home.clone(), container.id.clone());
        let wanted = &container.wanted;
        let ports = self.reserve(watched)?; // a taken port is refused before anything is made
        let directory = make_run_directory(&home, &id)?; // it stands: there is something to take down
        let root = runtime::open_root(&root_of(&home, &container)).map_err(engine)?;
        self.hold_root(&container, &root).map_err(engine)?;
        let user = runtime::resolve_user(&root, &wanted.user, &wanted.group_add).map_err(engine)?;
        let spec = spec::build(&home, &container, &user).map_err(engine)?;
        let (cgroup, mut warnings) = make_cgroup(&container, &directory, &spec)?;
        let (stdio, pipes) = self.open_stdio(&container, &directory, &user)?;
        let created = runtime::create(Create { id: &container.name, spec: &spec, root, cgroup: &cgroup, stdio }).map_err(engine)?;
        self.nest.forget_exit(created.pid); // of another process that had this pid before
        let plugged = plug(&home, &container, &created)?;
        files::write(&home, &container, &plugged).map_err(engine)?; // the child binds them into its root when it goes on
        self.names.announce(&home, &container, &plugged).map_err(engine)?;
        if matches!(wanted.network, NetworkMode::Plugs(_)) {
            let sockets = net::open_name_sockets(created.netns.as_fd()).map_err(engine)?;
            self.serve_names(&container, sockets).map_err(engine)?;
        }
        if !plugged.is_empty() && !ports.is_empty() {
            net::publish(&home, &id, Target::of(&plugged), &ports).map_err(engine)?;
        }
        let relays = Relays::of(watched.reservation.as_ref(), &plugged).map_err(engine)?;
        watched.state = running(&watched.state, &container, created.pid, plugged, ports);
        // Before the program runs: if we are killed now, the next supervisor finds the process and takes it over.
        record::write_state(&home, &id, &watched.state).map_err(engine)?;
        let process = created.start()?;
        warnings.extend(process.warnings);
        plugged_into(&home, &container);
        notes::note(&home, &container, "start", &[]);
        let terminal = process.terminal.map(|terminal| self.keep_terminal(&id, terminal)).transpose()?;
        let origin = pipes.origin(terminal.clone())?;
        let output = Output::open(&home, &id, (origin, &wanted.logging)).doing(|| "cannot open the log").map_err(engine)?;
        let since = Instant::now();
        checks::forget(&home, &id);
        let checks = Checks::of(wanted, since, None);
        let sender = self.begin_sending(&container);
        watched.run =
            Some(Run { pidfd: process.pidfd, cgroup, since, output, terminal, checks, relays, sender, kill_at: None, reaped_by: None });
        Ok(warnings)
    }

    /// Reserves the host ports, or keeps those that a restart has held.
    fn reserve(&mut self, watched: &mut Watched) -> Result<Vec<net::Port>> {
        let NetworkMode::Plugs(plugs) = &watched.container.wanted.network else { return Ok(Vec::new()) };
        if watched.container.wanted.ports.is_empty() {
            return Ok(Vec::new());
        }
        if watched.reservation.is_none() {
            let reservation = net::reserve_for(&self.home, &watched.container.wanted.ports, plugs).map_err(engine)?;
            watched.reservation = Some(self.keep_reservation(&watched.container.id, reservation)?);
        }
        Ok(watched.reservation.as_ref().map(|held| held.ports.clone()).unwrap_or_default())
    }

    /// Lets the guardian hold the ports too; no other program may get them while we are being replaced.
    pub(super) fn keep_reservation(&mut self, id: &str, reservation: Reservation) -> Result<Reservation> {
        for (number, socket) in reservation.sockets.iter().enumerate() {
            let copy = socket.try_clone().doing(|| "cannot keep a port")?;
            self.keep(&format!("port.{number}:{id}"), copy);
        }
        Ok(reservation)
    }

    pub(super) fn keep_terminal(&mut self, id: &str, terminal: OwnedFd) -> Result<Rc<OwnedFd>> {
        rustix::io::ioctl_fionbio(&terminal, true).map_err(io::Error::from).doing(|| "cannot open the terminal").map_err(engine)?;
        Ok(self.keep(&format!("terminal:{id}"), terminal))
    }

    /// Makes the FIFOs of a container's standard streams; our ends are kept over our death, and what is in them with them.
    fn open_stdio(&mut self, container: &Container, directory: &Path, user: &User) -> Result<(Stdio, Pipes)> {
        let opened = (|| {
            let id = &container.id;
            if container.wanted.tty {
                let fifo = self.keep(&format!("out:{id}"), make_fifo(&directory.join("out"), user)?);
                return Ok((Stdio::Terminal { rows: ROWS, columns: COLUMNS }, Pipes { stdout: fifo, stderr: None }));
            }
            let paths = ["out", "err"].map(|name| directory.join(name));
            let stdout = self.keep(&format!("out:{id}"), make_fifo(&paths[0], user)?);
            let stderr = self.keep(&format!("err:{id}"), make_fifo(&paths[1], user)?);
            let stdin = match container.wanted.stdin {
                true => {
                    let path = directory.join("in");
                    // The writing side first, or opening the reading side would wait for it.
                    let writer = make_fifo(&path, user)?;
                    let reader = open(&path, OFlags::RDONLY)?;
                    let writer = reopen_for_writing(&path, writer)?;
                    self.keep(&format!("in:{id}"), writer);
                    reader
                }
                false => open(Path::new("/dev/null"), OFlags::RDONLY)?,
            };
            let stdio = Stdio::Files { stdin, stdout: open(&paths[0], OFlags::RDWR)?, stderr: open(&paths[1], OFlags::RDWR)? };
            io::Result::Ok((stdio, Pipes { stdout, stderr: Some(stderr) }))
        })();
        opened.doing(|| "cannot make the standard streams").map_err(engine)
    }
}

/// Our ends of a container's output.
struct Pipes {
    stdout: Rc<OwnedFd>,
    /// None if there is a terminal.
    stderr: Option<Rc<OwnedFd>>,
}

impl Pipes {
    fn origin(self, terminal: Option<Rc<OwnedFd>>) -> Result<Origin> {
        match (self.stderr, terminal) {
            (Some(stderr), _) => Ok(Origin::Fifos { stdout: self.stdout, stderr }),
            (None, Some(master)) => Ok(Origin::Terminal { master, fifo: self.stdout }),
            (None, None) => Err(Failure::new("cannot find the container's terminal").exit(ENGINE)),
        }
    }
}

/// Keeps 126 and 127, which the runtime gives with care, and makes all else the engine's fault.
fn engine(failure: Failure) -> Failure {
    if failure.status() == 1 { failure.exit(ENGINE) } else { failure }
}

fn running(before: &State, container: &Container, pid: i32, plugged: Vec<Plugged>, ports: Vec<net::Port>) -> State {
    State {
        status: Status::Running,
        pid,
        start_time: process::start_time(pid).unwrap_or(0),
        exit_code: 0,
        oom_killed: false,
        error: String::new(),
        started: units::now(),
        finished: before.finished.clone(),
        restarts: before.restarts,
        stopped_by_hand: false,
        health: container.wanted.healthcheck.as_ref().map(|_| Health::Starting),
        plugged,
        ports,
    }
}

fn make_run_directory(home: &Home, id: &str) -> Result<PathBuf> {
    let directory = home.container_run(id);
    let _ = fs::remove_dir_all(&directory);
    let made = DirBuilder::new().recursive(true).mode(0o711).create(&directory);
    made.map(|()| directory.clone()).doing(|| format!("cannot make {}", directory.display())).map_err(engine)
}

fn root_of(home: &Home, container: &Container) -> Root {
    match view::root_of(home, container) {
        // What goes with the container anyway need not reach the disk.
        Root::Overlay { layers, upper, work } if container.wanted.auto_remove => Root::Scratch { layers, upper, work },
        root => root,
    }
}

fn make_cgroup(container: &Container, directory: &Path, spec: &Spec) -> Result<(Cgroup, Vec<String>)> {
    let path = spec::cgroup_path(container);
    if container.wanted.cgroup_parent.is_some() {
        fs::write(directory.join(spec::CGROUP_NOTE), path.as_os_str().as_encoded_bytes())
            .doing(|| "cannot note the cgroup")
            .map_err(engine)?;
    }
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().clone()).unwrap_or_default();
    Cgroup::create(&path, &resources).map_err(engine)
}

fn plugged_into(home: &Home, container: &Container) {
    if let NetworkMode::Plugs(plugs) = &container.wanted.network {
        plugs.iter().for_each(|plug| notes::note_network(home, container, "connect", &plug.network));
    }
}

fn plug(home: &Home, container: &Container, created: &Created) -> Result<Vec<Plugged>> {
    match &container.wanted.network {
        NetworkMode::Plugs(plugs) => net::plug(home, &container.id, created.netns.as_fd(), plugs).map_err(engine),
        NetworkMode::None => net::plug(home, &container.id, created.netns.as_fd(), &[]).map_err(engine),
        NetworkMode::Host | NetworkMode::Container(_) => Ok(Vec::new()),
    }
}

/// Makes a FIFO that the container's user may open by its name under /proc/self/fd, and opens it so that it neither ends nor blocks.
fn make_fifo(path: &Path, user: &User) -> io::Result<OwnedFd> {
    rustix::fs::mkfifoat(rustix::fs::CWD, path, Mode::RUSR | Mode::WUSR)?;
    let fifo = open(path, OFlags::RDWR | OFlags::NONBLOCK)?;
    rustix::fs::fchown(&fifo, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)))?;
    Ok(fifo)
}

/// A FIFO's reader sees its end when the last writer closes: so ours must not be one that reads, too.
fn reopen_for_writing(path: &Path, both: OwnedFd) -> io::Result<OwnedFd> {
    let writer = open(path, OFlags::WRONLY | OFlags::NONBLOCK)?;
    drop(both);
    Ok(writer)
}

pub(super) fn open(path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())?)
}
