//! What a socket knows of its network namespace.

use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;

use super::check;

/// The number of the network namespace that a socket belongs to, which the kernel gives to no other before the next boot.
///
/// `getsockopt(socket, SOL_SOCKET, SO_NETNS_COOKIE, …)`; Linux 5.14.
///
/// # Errors
/// As getsockopt(2); ENOPROTOOPT where the kernel is older.
pub fn namespace_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie: u64 = 0;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which `cookie` has, and how many it wrote; both outlive the call.
    let outcome =
        unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NETNS_COOKIE, (&raw mut cookie).cast(), &raw mut length) };
    check(outcome.into()).map(|_| cookie)
}
