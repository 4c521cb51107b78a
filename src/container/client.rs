//! What a command says to a supervisor, and how a supervisor begins.

use std::collections::BTreeSet;
use std::fs;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use rustix::fs::FlockOperation;
use rustix::fs::Mode;
use rustix::fs::OFlags;

use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::making;
use crate::net;
use crate::place::Home;
use crate::state;

use super::Container;
use super::Grace;
use super::Restart;
use super::State;
use super::Status;
use super::notes;
use super::protocol;
use super::protocol::Reply;
use super::protocol::Request;
use super::protocol::Talk;
use super::record;
use super::sending;
use super::signals;

/// The first argument of the process that keeps a supervisor alive.
pub(super) const GUARDIAN: &str = "@guardian";

/// The socket in a supervisor's directory.
pub(super) const SOCKET: &str = "socket";

/// How long a supervisor may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which supervisor watches a container: its project's, or its own.
pub(super) fn key(container: &Container) -> &str {
    container.wanted.supervisor.as_deref().unwrap_or(&container.id)
}

/// Whether the container's guardian or supervisor lives.
pub(super) fn is_watched(home: &Home, container: &Container) -> bool {
    is_alive(home, key(container))
}

/// Whether the guardian or the supervisor of this key lives: they hold its lock.
pub(super) fn is_alive(home: &Home, key: &str) -> bool {
    let Ok(lock) = File::open(home.supervisor(key).join("lock")) else { return false };
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
}

/// Connects to the supervisor of this key; None if there is none.
fn connect(home: &Home, key: &str) -> io::Result<Option<Talk>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = match rustix::fs::open(home.supervisor(key), flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        opened => opened?,
    };
    let (family, kind) = (rustix::net::AddressFamily::UNIX, rustix::net::SocketType::SEQPACKET);
    let socket = rustix::net::socket_with(family, kind, rustix::net::SocketFlags::CLOEXEC, None)?;
    match rustix::net::connect(&socket, &socket_address(&directory, SOCKET)?) {
        Ok(()) => Ok(Some(Talk::over(socket))),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::CONNREFUSED) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The address of the socket in an open directory: a socket's name has 108 bytes at most, a path may have more.
pub(super) fn socket_address(directory: &OwnedFd, name: &str) -> io::Result<rustix::net::SocketAddrUnix> {
    Ok(rustix::net::SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))?)
}

/// Starts a guardian, which starts the supervisor; what we say to it waits until that hears.
///
/// It leaves our session and process group first of all (and could not if it led a group): a Ctrl-C is for us alone.
/// If another one lives already, it ends at once, and we hear the end of the talk.
fn begin(home: &Home, key: &str) -> io::Result<Talk> {
    let (ours, theirs) = protocol::pair()?;
    Command::new("/proc/self/exe")
        .arg0("coracle")
        .args([GUARDIAN, key])
        .args([home.root(), home.run()])
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .env_clear()
        .current_dir("/")
        .spawn()?;
    Ok(Talk::over(ours))
}

/// Says something to the supervisor of this key, which is begun if need be, and returns the open talk after the answer.
pub(super) fn ask(home: &Home, key: &str, request: &Request) -> Result<(Talk, Reply, Option<OwnedFd>)> {
    ask_all(home, key, &[request])
}

/// Says several things at once, as [`ask`] says one, and returns the open talk after the first answer.
pub(super) fn ask_all(home: &Home, key: &str, requests: &[&Request]) -> Result<(Talk, Reply, Option<OwnedFd>)> {
    let deadline = Instant::now() + PATIENCE;
    let mut last_error = io::Error::from(io::ErrorKind::ConnectionReset);
    loop {
        let attempt = (|| {
            let talk = match connect(home, key)? {
                Some(talk) => talk,
                None => begin(home, key)?,
            };
            requests.iter().try_for_each(|request| talk.say(request))?;
            let heard = talk.hear()?;
            io::Result::Ok(heard.map(|(reply, descriptor)| (talk, reply, descriptor)))
        })();
        match attempt {
            Ok(Some((_, Reply::Failed(failure), _))) => return Err(failure),
            Ok(Some(answered)) => return Ok(answered),
            Ok(None) => {}
            Err(error) => last_error = error,
        }
        if Instant::now() > deadline {
            return Err(Failure::new(format!("cannot reach the supervisor of `{key}`")).because(last_error).exit(125));
        }
        // It is coming or going just now; both take a millisecond or two.
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Says something to the supervisor of this key, which is begun if need be, and leaves the answer to be heard.
pub(super) fn say(home: &Home, key: &str, request: &Request) -> Result<Talk> {
    let said = (|| {
        let talk = match connect(home, key)? {
            Some(talk) => talk,
            None => begin(home, key)?,
        };
        talk.say(request)?;
        io::Result::Ok(talk)
    })();
    said.doing(|| format!("cannot reach the supervisor of `{key}`"))
}

/// Says something to the supervisor of this key if there is one; None if there is none.
pub(super) fn ask_living(home: &Home, key: &str, request: &Request) -> Result<Option<(Talk, Reply, Option<OwnedFd>)>> {
    loop {
        let Some(talk) = connect(home, key).doing(|| format!("cannot reach the supervisor of `{key}`"))? else { return Ok(None) };
        if talk.say(request).is_err() {
            continue;
        }
        match talk.hear().doing(|| format!("cannot hear the supervisor of `{key}`"))? {
            Some((Reply::Failed(failure), _)) => return Err(failure),
            Some((reply, descriptor)) => return Ok(Some((talk, reply, descriptor))),
            None => {}
        }
    }
}

/// Has the container's supervisor, if it has one, delete what was removed: nobody needs to wait for that.
pub(super) fn leave_trash_to_supervisor(home: &Home, container: &Container) -> bool {
    ask_living(home, key(container), &Request::Tidy).is_ok_and(|answer| answer.is_some())
}

/// Waits until its supervisor has let go of a container that is down. Where there is none, and something is left of a run, another one
/// is begun, which takes it back.
pub(super) fn tell_removed(home: &Home, container: &Container) -> Result<()> {
    let request = Request::Removed { id: container.id.clone() };
    if ask_living(home, key(container), &request)?.is_none() && home.container_run(&container.id).exists() {
        ask(home, key(container), &request)?;
    }
    Ok(())
}

/// Starts a container through its supervisor, which is begun or revived if need be; returns, when the program runs,
/// what this machine could not do of what the container asks for.
///
/// # Errors
/// [`crate::failure::Failure::status`] 125, 126, 127 as Docker's; the container is then `Created` (or `Exited`) with `error` set.
pub fn start(home: &Home, id: &str) -> Result<Vec<String>> {
    let container = existing(home, id)?;
    check_log(home, &container)?;
    match ask(home, key(&container), &Request::Start { id: id.to_owned() })? {
        (_, Reply::Started { warnings }, _) => Ok(warnings),
        (_, reply, _) => Err(unexpected(&reply)),
    }
}

/// Refuses to start what could not say a word.
pub(super) fn check_log(home: &Home, container: &Container) -> Result<()> {
    match record::recorded_state(home, &container.id)?.is_up() {
        true => Ok(()),
        false => sending::check(container),
    }
}

/// Stops a container and waits until it has ended; one that does not run is no error.
///
/// PID 1 that neither catches nor handles the stop signal is killed at once.
///
/// # Errors
/// What the supervisor says.
pub fn stop(home: &Home, id: &str, grace: Grace) -> Result<()> {
    stop_by(home, id, grace, None)
}

/// Does so with another signal than the container's own.
///
/// # Errors
/// What the supervisor says; an unknown signal.
pub fn stop_by(home: &Home, id: &str, grace: Grace, signal: Option<&str>) -> Result<()> {
    let container = existing(home, id)?;
    if record::recorded_state(home, id)?.is_up() {
        ask(home, key(&container), &Request::Stop { id: id.to_owned(), grace, signal: signal.map(str::to_owned) })?;
    }
    Ok(())
}

/// Stops a container and starts it again, as [`stop`] and [`start`] do.
///
/// # Errors
/// What the supervisor says.
pub fn restart(home: &Home, id: &str, grace: Grace, signal: Option<&str>) -> Result<Vec<String>> {
    stop_by(home, id, grace, signal)?;
    let warnings = start(home, id)?;
    notes::note(home, &existing(home, id)?, "restart", &[]);
    Ok(warnings)
}

/// Stops a container and waits until its program has ended; what it had may still be being taken back then, for which [`super::remove`]
/// waits.
///
/// # Errors
/// What the supervisor says.
pub fn halt(home: &Home, id: &str, grace: Grace) -> Result<()> {
    let container = existing(home, id)?;
    if record::recorded_state(home, id)?.is_up() {
        // The first answer counts: that of the stop if it ran no more, else that of the wait.
        let (stop, wait) = (Request::Stop { id: id.to_owned(), grace, signal: None }, Request::Wait { id: id.to_owned() });
        ask_all(home, key(&container), &[&stop, &wait])?;
    }
    Ok(())
}

/// Sends a signal (`SIGHUP`, `HUP`, `1`) to a container's PID 1; after SIGKILL, waits until it has ended.
///
/// # Errors
/// It does not run; an unknown signal.
pub fn kill(home: &Home, id: &str, signal: &str) -> Result<()> {
    let container = running(home, id, "kill")?;
    match ask(home, key(&container), &Request::Kill { id: id.to_owned(), signal: signal.to_owned() }) {
        // The supervisor was killed over it, and the next one found the container dead.
        Err(_) if signals::number(signal).is_ok_and(|number| number == libc::SIGKILL) && !record::recorded_state(home, id)?.is_up() => {
            Ok(())
        }
        asked => asked.map(drop),
    }
}

/// Pauses or continues a container.
///
/// # Errors
/// It does not run.
pub fn pause(home: &Home, id: &str, paused: bool) -> Result<()> {
    let container = running(home, id, if paused { "pause" } else { "unpause" })?;
    ask(home, key(&container), &Request::Pause { id: id.to_owned(), paused }).map(drop)
}

/// Waits until a container has ended (and will not be restarted) and returns its exit code.
///
/// # Errors
/// It is not there.
pub fn wait(home: &Home, id: &str) -> Result<i32> {
    let container = existing(home, id)?;
    loop {
        let state = record::recorded_state(home, id)?;
        if !state.is_up() {
            return Ok(state.exit_code);
        }
        if let (_, Reply::Ended { code }, _) = ask(home, key(&container), &Request::Wait { id: id.to_owned() })? {
            return Ok(code);
        }
    }
}

fn existing(home: &Home, id: &str) -> Result<Container> {
    record::load(home, id)?.ok_or_else(|| Failure::new(format!("no such container: {id}")))
}

/// A container that has a process, or will have one again.
pub(super) fn running(home: &Home, id: &str, verb: &str) -> Result<Container> {
    let container = existing(home, id)?;
    let state = record::state(home, id)?;
    if !state.is_up() {
        return Err(Failure::new(format!("cannot {verb} container `{}`", container.name))
            .because("it is not running")
            .hint(format!("start it with `coracle start {}`", container.name)));
    }
    Ok(container)
}

pub(super) fn unexpected(reply: &Reply) -> Failure {
    Failure::new("cannot understand the supervisor").because(format!("it said {reply:?}"))
}

/// Begins the supervisors that should be there and are not (killed together with their guardians, or gone with a reboot).
///
/// # Errors
/// What could not be begun.
pub fn revive(home: &Home) -> Result<()> {
    let mut failures: Vec<Failure> = Vec::new();
    failures.extend(net::sweep(home).err());
    for key in dead_supervisors(home) {
        failures.extend(ask(home, &key, &Request::Revived).err());
    }
    // The run directory goes with a reboot: then only the containers' states know what was there.
    let seen = home.run().join("booted");
    if !seen.exists() && home.containers().exists() {
        state::write_whole(&seen, b"")?;
        making::sweep(home, making::PLAIN, |_, _| {});
        for key in keys_of_old_boot(home)? {
            failures.extend(ask(home, &key, &Request::Booted).err());
        }
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Failure::several("cannot bring back what ran before", failures)),
    }
}

fn dead_supervisors(home: &Home) -> Vec<String> {
    let Some(directory) = home.supervisor("any").parent().map(Path::to_owned) else { return Vec::new() };
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let keys = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    keys.filter(|key| !is_alive(home, key)).collect()
}

fn keys_of_old_boot(home: &Home) -> Result<BTreeSet<String>> {
    let mut keys = BTreeSet::new();
    for container in record::list(home)? {
        let state = record::recorded_state(home, &container.id)?;
        if state.is_up() || starts_with_the_machine(&container, &state) {
            keys.insert(key(&container).to_owned());
        }
    }
    Ok(keys)
}

/// Docker: `always` means also what somebody has stopped, `unless-stopped` does not.
pub(super) fn starts_with_the_machine(container: &Container, state: &State) -> bool {
    state.status == Status::Exited && container.wanted.restart == Restart::Always
}
