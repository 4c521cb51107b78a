//! seccomp(2): a filter program for this process and all it will become.

use std::io;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;

use super::check;

/// One instruction of a classic BPF program, `struct sock_filter` of linux/filter.h.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub jump_true: u8,
    pub jump_false: u8,
    pub value: u32,
}

/// `struct sock_fprog`.
#[repr(C)]
struct Program {
    length: u16,
    instructions: *const Instruction,
}

/// Installs a filter; gives the listener if `flags` ask for one (`SECCOMP_FILTER_FLAG_NEW_LISTENER`).
///
/// `seccomp(SECCOMP_SET_MODE_FILTER, flags, program)`, see seccomp(2). Needs no_new_privs or CAP_SYS_ADMIN.
pub fn install(instructions: &[Instruction], flags: u64) -> io::Result<Option<OwnedFd>> {
    let length = u16::try_from(instructions.len()).map_err(|_| io::Error::from(io::ErrorKind::ArgumentListTooLong))?;
    let program = Program { length, instructions: instructions.as_ptr() };
    // SAFETY: the program points to `length` instructions in the kernel's layout, which the call copies.
    let result = check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) })?;
    if flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER == 0 {
        return Ok(None);
    }
    // SAFETY: with this flag the result is a new descriptor that nobody else knows of.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(result as i32) }))
}
