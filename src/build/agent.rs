//! ssh agents that a build passes on: to RUN by a socket of its own, to git by the agent's.
//!
//! Keys stay where they are: what goes over the socket is a request to sign.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use rustix::process::Pid;
use rustix::process::Signal;

use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::state;

/// The agents of a build, by what `--ssh` calls them.
#[derive(Debug, Default)]
pub(super) struct Agents {
    sockets: BTreeMap<String, PathBuf>,
    /// Agents of our own, for keys that were named: what keeps each alive, and its process.
    own: Vec<(Child, Option<Pid>)>,
    directory: Option<PathBuf>,
}

impl Agents {
    /// Finds or starts them.
    ///
    /// # Errors
    /// No agent where one is said to be; a key that no agent takes.
    pub(super) fn begin(home: &Home, wanted: &BTreeMap<String, Vec<PathBuf>>) -> Result<Agents> {
        let mut agents = Agents::default();
        for (id, paths) in wanted {
            let cannot = || format!("cannot pass on the ssh agent `{id}`");
            let is_socket = |path: &PathBuf| fs::metadata(path).is_ok_and(|found| found.file_type().is_socket());
            let socket = match paths.as_slice() {
                [] => std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from).filter(is_socket).ok_or_else(|| {
                    let failure = Failure::new(cannot()).because("SSH_AUTH_SOCK names no agent");
                    failure.hint(format!("start one with `eval $(ssh-agent)`, or name a key: `--ssh {id}=FILE`"))
                })?,
                [one] if is_socket(one) => one.clone(),
                keys => agents.start(home, keys).doing(cannot)?,
            };
            agents.sockets.insert(id.clone(), std::path::absolute(&socket).unwrap_or(socket));
        }
        Ok(agents)
    }

    pub(super) fn socket(&self, id: &str) -> Option<&Path> {
        self.sockets.get(id).map(PathBuf::as_path)
    }

    /// Starts an agent with these keys.
    fn start(&mut self, home: &Home, keys: &[PathBuf]) -> Result<PathBuf> {
        for key in keys {
            fs::metadata(key).doing(|| format!("cannot read the key {}", key.display()))?;
        }
        let directory = match &self.directory {
            Some(directory) => directory.clone(),
            None => self.directory.insert(home.build_run(&format!("agents-{}", &state::random_hex()[..12]))).clone(),
        };
        let cannot = || "cannot start an agent for the keys";
        fs::create_dir_all(&directory).doing(cannot)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).doing(cannot)?;
        let name = format!("agent-{}", self.own.len());
        // The command keeps the agent alive until our end of its standard input is closed, even by a kill: some seconds more.
        let mut command = Command::new("ssh-agent");
        command.args(["-a", &name, "sh", "-c", "echo $SSH_AGENT_PID && exec cat"]).current_dir(&directory);
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut agent =
            started.map_err(|error| Failure::new(cannot()).because(error).hint("install ssh-agent, or name an agent's socket"))?;
        let mut ready = String::new();
        if let Some(output) = agent.stdout.take() {
            BufReader::new(output).read_line(&mut ready).doing(cannot)?;
        }
        self.own.push((agent, ready.trim().parse().ok().and_then(Pid::from_raw)));
        let socket = directory.join(name);
        for key in keys {
            let added = Command::new("ssh-add").arg(key).env("SSH_AUTH_SOCK", &socket).stdin(Stdio::null()).output().doing(cannot)?;
            if !added.status.success() {
                let said = String::from_utf8_lossy(&added.stderr).trim().to_owned();
                let failure = Failure::new(format!("cannot give the key {} to an agent", key.display())).because(said);
                return Err(failure.hint("a key with a passphrase must be given to your own agent first, with `ssh-add`"));
            }
        }
        Ok(socket)
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        for (keeper, agent) in &mut self.own {
            if let Some(agent) = agent {
                let _ = rustix::process::kill_process(*agent, Signal::TERM);
            }
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        }
        if let Some(directory) = &self.directory {
            let _ = fs::remove_dir_all(directory);
        }
    }
}

/// Who may use a socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Access {
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
}

/// A socket that leads to an agent; gone when it is let go.
#[derive(Debug)]
pub(super) struct Forward {
    path: PathBuf,
    over: Arc<AtomicBool>,
}

impl Forward {
    /// Begins to pass on what comes at `path` to the agent.
    ///
    /// # Errors
    /// As bind(2).
    pub(super) fn begin(agent: &Path, path: PathBuf, access: Access) -> io::Result<Forward> {
        let listener = through(&path, |path| UnixListener::bind(path))?;
        chown(&path, Some(access.uid), Some(access.gid))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(access.mode))?;
        let over = Arc::new(AtomicBool::new(false));
        let (ended, agent) = (over.clone(), agent.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                // Without an agent the client sees the end at once.
                if let Ok(server) = through(&agent, |path| UnixStream::connect(path)) {
                    std::thread::spawn(move || pass(client, server));
                }
            }
        });
        Ok(Forward { path, over })
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // Wakes the listener, which then sees that it is over.
        let _ = through(&self.path, |path| UnixStream::connect(path));
        let _ = fs::remove_file(&self.path);
    }
}

/// Does something with a socket by a short name: the kernel takes no more than 108 bytes.
fn through<T>(path: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let directory = fs::File::open(path.parent().unwrap_or(Path::new("/")))?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string());
    act(&short.join(path.file_name().unwrap_or_default()))
}

fn pass(client: UnixStream, server: UnixStream) {
    let (Ok(mut from_client), Ok(mut to_server)) = (client.try_clone(), server.try_clone()) else { return };
    let there = std::thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let (mut from_server, mut to_client) = (server, client);
    let _ = io::copy(&mut from_server, &mut to_client);
    let _ = to_client.shutdown(Shutdown::Both);
    let _ = there.join();
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_said_to_the_socket_reaches_the_agent() {
        let place = tempfile::tempdir().unwrap();
        // Longer than a socket's name may be.
        let long = place.path().join("x".repeat(120));
        fs::create_dir(&long).unwrap();
        let agent = long.join("agent");
        let listener = through(&agent, |path| UnixListener::bind(path)).unwrap();
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut asked = [0; 4];
            client.read_exact(&mut asked).unwrap();
            client.write_all(&asked).unwrap();
        });
        let access = Access { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw(), mode: 0o600 };
        let forward = Forward::begin(&agent, long.join("forward"), access).unwrap();
        let mut client = through(&long.join("forward"), |path| UnixStream::connect(path)).unwrap();
        client.write_all(b"sign").unwrap();
        let mut answer = [0; 4];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"sign");
        drop(forward);
        assert!(!long.join("forward").exists());
    }

    #[test]
    fn an_agent_that_is_not_there_is_named() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::at(place.path(), place.path().join("run"));
        let wanted = BTreeMap::from([("other".to_owned(), vec![place.path().join("key")])]);
        let told = Agents::begin(&home, &wanted).unwrap_err().to_string();
        assert!(told.contains("`other`") && told.contains("cannot read the key"), "{told}");
    }
}
