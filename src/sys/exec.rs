//! The last things before and the call that replaces this program: close_range(2), execve(2).

use std::ffi::CStr;
use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;

use super::check;

/// Marks every descriptor from `first` on as closed by execve(2).
///
/// `close_range(first, ~0, CLOSE_RANGE_CLOEXEC)`, see close_range(2); Linux 5.11.
pub fn close_from_on_exec(first: u32) -> io::Result<()> {
    // SAFETY: sets a flag on descriptors, closes none.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Closes every descriptor from `first` on; only for a process that owns none of them any more and is about to do nothing else.
///
/// `close_range(first, ~0, 0)`, see close_range(2); Linux 5.9.
pub fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: what still holds such a descriptor in this process is never used or dropped again, as the caller promises.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(drop)
}

/// Closes every descriptor from 3 on but these; only for a process that uses and drops no other any more.
///
/// `close_range(first, last, 0)` for each gap between them, see close_range(2); Linux 5.9.
pub fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<u32> = kept.iter().map(|kept| kept.as_raw_fd().cast_unsigned()).collect();
    kept.sort_unstable();
    let mut first = 3;
    for kept in kept {
        if kept > first {
            // SAFETY: what still holds such a descriptor in this process is never used or dropped again, as the caller promises.
            check(unsafe { libc::syscall(libc::SYS_close_range, first, kept - 1, 0) })?;
        }
        first = first.max(kept + 1);
    }
    close_from(first)
}

/// Replaces this program; returns only the reason why not.
///
/// `execve(path, argv, envp)`, see execve(2).
pub fn execve(path: &CStr, arguments: &Strings, environment: &Strings) -> io::Error {
    // SAFETY: both lists end with a null pointer and point to C strings that live as long as the lists.
    unsafe { libc::execve(path.as_ptr(), arguments.pointers.as_ptr(), environment.pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// A null-terminated list of C strings, as execve(2) takes it.
#[derive(Debug)]
pub struct Strings {
    // The pointers go into these; a CString's text does not move with it.
    _texts: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl Strings {
    /// Makes the list; a text with a NUL inside is refused.
    pub fn new(texts: &[String]) -> io::Result<Strings> {
        let texts: Vec<CString> = texts.iter().map(|text| CString::new(text.as_str())).collect::<Result<_, _>>()?;
        let pointers = texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
        Ok(Strings { _texts: texts, pointers })
    }
}
