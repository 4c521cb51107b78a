//! The place where a guardian and its supervisor sit: a directory, its lock, and the descriptors that outlive either of them.

use std::collections::BTreeMap;
use std::fs;
use std::fs::DirBuilder;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::rc::Rc;

use rustix::fs::FlockOperation;
use rustix::fs::Mode;
use rustix::fs::OFlags;

use crate::place::Home;
use crate::state;

use crate::container::client;
use crate::container::client::SOCKET;

/// Descriptors by name; guardian and supervisor both have them, so that they survive one of the two.
pub(super) type Store = BTreeMap<String, Rc<OwnedFd>>;

/// The file in our directory that is locked. What goes wrong is written into it: one file less to make on the way of every start.
pub(super) const LOCK: &str = "lock";
/// Where what went wrong lies at last, in the root.
const COMPLAINTS: &str = "complaints";
const MOST_COMPLAINTS: u64 = 1 << 20;

/// The socket until it can be connected to.
const ASIDE: &str = "socket.new";

/// Connections that nobody has accepted yet: 200 commands may come at once.
const BACKLOG: i32 = 256;

/// The directory of a living supervisor.
#[derive(Debug)]
pub(super) struct Nest {
    pub(super) home: Home,
    pub(super) key: String,
    /// Held by guardian and supervisor together: free when both are dead. None in a helper that we forked.
    lock: Option<File>,
}

impl Nest {
    /// Takes the place; None if it is taken.
    pub(super) fn claim(home: &Home, key: &str) -> io::Result<Option<Nest>> {
        let directory = home.supervisor(key);
        let path = directory.join(LOCK);
        loop {
            DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
            let lock = match OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // an ending one removed the directory
                lock => lock?,
            };
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                outcome => outcome?,
            }
            // What we locked may have been removed by one that ended between our open and our lock.
            if fs::metadata(&path).is_ok_and(|found| lock.metadata().is_ok_and(|ours| ours.ino() == found.ino())) {
                return Ok(Some(Nest { home: home.clone(), key: key.to_owned(), lock: Some(lock) }));
            }
        }
    }

    pub(super) fn empty(home: Home) -> Nest {
        Nest { home, key: String::new(), lock: None }
    }

    pub(super) fn directory(&self) -> PathBuf {
        self.home.supervisor(&self.key)
    }

    /// Opens the socket that commands connect to. Bound aside and moved in place, so that who finds it can connect.
    pub(super) fn listen(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let aside = self.directory().join(ASIDE);
        let _ = fs::remove_file(&aside); // of one that was killed just here
        let directory = rustix::fs::open(self.directory(), flags, Mode::empty())?;
        let (family, kind) = (rustix::net::AddressFamily::UNIX, rustix::net::SocketType::SEQPACKET);
        let how = rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, kind, how, None)?;
        rustix::net::bind(&socket, &client::socket_address(&directory, ASIDE)?)?;
        rustix::net::listen(&socket, BACKLOG)?;
        fs::rename(aside, self.directory().join(SOCKET))?;
        Ok(socket)
    }

    /// From here on no command finds us.
    pub(super) fn hide(&self) {
        let _ = fs::remove_file(self.directory().join(SOCKET));
    }

    /// Leaves nothing behind but what there was to complain about: that goes where it lasts.
    pub(super) fn clear(&self) {
        if let Ok(complaints) = fs::read_to_string(self.directory().join(LOCK))
            && !complaints.is_empty()
        {
            let kept = self.home.root().join(COMPLAINTS);
            if fs::metadata(&kept).is_ok_and(|metadata| metadata.len() > MOST_COMPLAINTS) {
                let _ = fs::remove_file(&kept);
            }
            let _ = state::append_line(&kept, complaints.trim_end());
        }
        let _ = fs::remove_dir_all(self.directory());
    }

    /// Lets go of the lock in a process that must not hold it.
    pub(super) fn unlock_copy(&mut self) {
        // Closing our copy does not free the lock: that belongs to the open file, which guardian and supervisor still have.
        self.lock = None;
    }

    /// Writes down how a process ended that we were the parent of.
    pub(super) fn write_exit(&self, pid: i32, status: i32) -> io::Result<()> {
        let path = self.exit_path(pid);
        let draft = path.with_extension("new");
        fs::write(&draft, status.to_string())?;
        fs::rename(draft, path)
    }

    /// Reads how a process ended.
    pub(super) fn find_exit(&self, pid: i32) -> Option<i32> {
        fs::read_to_string(self.exit_path(pid)).ok()?.parse().ok()
    }

    /// The end of the process is known where it lasts, or was that of another one.
    pub(super) fn forget_exit(&self, pid: i32) {
        let _ = fs::remove_file(self.exit_path(pid));
    }

    fn exit_path(&self, pid: i32) -> PathBuf {
        self.directory().join(format!("exit-{pid}"))
    }
}
