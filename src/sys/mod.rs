//! System calls that neither rustix nor nix has: the only `unsafe`.
//!
//! One function, one call, our types, no policy; returns `io::Result` and knows nothing of containers.

pub mod child;
pub mod clone;
pub mod device_filter;
pub mod environment;
pub mod exec;
pub mod memory;
pub mod mount;
pub mod network;
pub mod seccomp;
pub mod signal;

use std::io;

use libc::c_long;

/// Turns the result of a raw system call into ours: -1 means "see errno".
fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
