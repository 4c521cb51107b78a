//! A pseudoterminal of the container's own devpts.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;

use oci_spec::runtime::User;
use rustix::fs::OFlags;
use rustix::fs::Uid;
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use super::mounts::Links;
use super::mounts::attach;
use super::mounts::clone_mount;
use super::path::Kind;
use super::path::open_in_root;
use crate::sys::mount::Reach;

/// `DEVPTS_SUPER_MAGIC` of linux/magic.h.
const DEVPTS: u32 = 0x1cd1;

/// Both ends of a terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    pub(super) master: OwnedFd,
    pub(super) slave: OwnedFd,
}

impl Terminal {
    /// Opens a new one.
    pub(super) fn open(root: &OwnedFd, rows: u16, columns: u16) -> io::Result<Terminal> {
        let master = open_in_root(root, Path::new("/dev/pts/ptmx"), OFlags::RDWR | OFlags::NOCTTY)?;
        // The container may have put anything there; only a devpts makes terminals.
        if rustix::fs::fstatfs(&master)?.f_type as u32 != DEVPTS {
            return Err(Errno::NOTTY.into());
        }
        rustix::pty::unlockpt(&master)?;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        if (rows, columns) != (0, 0) {
            rustix::termios::tcsetwinsize(&slave, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
        }
        Ok(Terminal { master, slave })
    }

    /// Makes it the user's own, as a log-in would.
    pub(super) fn give_to(&self, user: &User) -> io::Result<()> {
        Ok(rustix::fs::fchown(&self.slave, Some(Uid::from_raw(user.uid())), None)?)
    }

    /// Shows it as /dev/console.
    pub(super) fn make_console(&self, root: &OwnedFd) -> io::Result<()> {
        let mount = clone_mount(self.slave.as_fd(), Reach::One)?;
        attach(root, Path::new("/dev/console"), &mount, Kind::File, Links::Follow)
    }
}
