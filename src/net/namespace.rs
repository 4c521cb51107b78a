//! Network namespaces: a visit to another, there and back; who is in one.

use std::fs;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;

use rustix::thread::LinkNameSpaceType;
use rustix::thread::move_into_link_name_space;

/// Runs `work` with the calling thread inside a network namespace. What it opens there stays there.
///
/// Other threads do not move. Should the way back fail, the process ends: everything it did from then on would
/// be done in a container's namespace, and a supervisor that died is started again by its guardian.
pub(super) fn inside<T>(netns: BorrowedFd<'_>, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let home = File::open("/proc/thread-self/ns/net")?;
    move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))?;
    let result = work();
    if move_into_link_name_space(home.as_fd(), Some(LinkNameSpaceType::Network)).is_err() {
        std::process::abort();
    }
    result
}

/// The number by which /proc names a network namespace.
pub(super) fn number(netns: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(rustix::fs::fstat(netns)?.st_ino)
}

/// Whether a process is in the network namespace of that number.
pub(super) fn is_inhabited(number: u64) -> bool {
    let name = format!("net:[{number}]");
    let Ok(processes) = fs::read_dir("/proc") else { return true };
    let numbered = processes.flatten().filter(|entry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit());
    let mut namespaces = numbered.filter_map(|entry| fs::read_link(entry.path().join("ns/net")).ok());
    namespaces.any(|namespace| namespace.as_os_str() == name.as_str())
}
