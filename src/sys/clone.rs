//! clone3(2): a child in new namespaces and in its cgroup, with a pidfd, in one call.

use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;

use super::check;

/// `CLONE_INTO_CGROUP`; libc's constant of this name is 0, because it overflows `c_int`.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `CLONE_CLEAR_SIGHAND`: handlers of the parent become the default in the child; Linux 5.5.
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;

/// `struct clone_args` of linux/sched.h, as of Linux 5.7 (`CLONE_ARGS_SIZE_VER2`).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Makes a child process that runs `child` and ends with the status it returns; gives its pid and pidfd.
///
/// `clone3({flags | CLONE_PIDFD | CLONE_CLEAR_SIGHAND, exit_signal = SIGCHLD, cgroup}, size)`, see clone(2). Nothing of the memory is
/// shared, so the child goes on in a copy of this stack, as after fork(2). `namespaces` are `CLONE_NEW*` bits and nothing else.
///
/// The C library does not hear of this child: the caller must have one thread, or a lock that another thread held stays held in the child.
pub fn clone3(namespaces: u64, cgroup: Option<BorrowedFd<'_>>, child: impl FnOnce() -> u8) -> io::Result<(i32, OwnedFd)> {
    let mut pidfd: libc::c_int = -1;
    let mut arguments = CloneArgs {
        flags: namespaces | CLONE_CLEAR_SIGHAND | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: the structure has the kernel's layout and the size passed is its own; `pidfd` outlives the call. Without CLONE_VM and with no
    // stack given the child has its own copy of everything this function uses, exactly as after fork(2).
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<CloneArgs>()) })?;
    if pid == 0 {
        // A panic must not unwind into the copy of the caller: it would go on as if it were the parent.
        let status = std::panic::catch_unwind(AssertUnwindSafe(child)).unwrap_or(125);
        exit_at_once(status);
    }
    // SAFETY: the kernel has put a new descriptor there, as CLONE_PIDFD promises, and nobody else knows of it.
    Ok((pid as i32, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// Ends this process without running anything that its program had registered for its end.
///
/// `_exit(status)`, see _exit(2).
pub fn exit_at_once(status: u8) -> ! {
    // SAFETY: the call does not return and touches no memory of ours.
    unsafe { libc::_exit(i32::from(status)) }
}

/// Gives this process new namespaces without a new process.
///
/// `unshare(flags)`, see unshare(2). Only for a process with one thread: `CLONE_NEW*` bits and nothing else.
pub fn unshare(namespaces: u64) -> io::Result<()> {
    // SAFETY: with CLONE_NEW* bits only, no descriptor table or memory becomes unshared.
    check(unsafe { libc::unshare(namespaces as libc::c_int) }.into()).map(drop)
}

/// Moves this process into the namespaces of another one (`target` is a pidfd) or into a single one (`target` is its file).
///
/// `setns(target, kinds)`, see setns(2); `kinds` are `CLONE_NEW*` bits.
pub fn setns(target: BorrowedFd<'_>, kinds: u64) -> io::Result<()> {
    // SAFETY: takes any descriptor and reports a wrong one; it is borrowed and stays open for the call.
    check(unsafe { libc::setns(target.as_raw_fd(), kinds as libc::c_int) }.into()).map(drop)
}

/// Copies a process that may have threads, as the test runner has; `None` in the child, which has one.
///
/// `fork()`, see fork(2). The C library readies its allocator for the child.
#[cfg(test)]
pub fn fork_of_threads() -> io::Result<Option<i32>> {
    // SAFETY: the child may allocate, as glibc readies its locks for that; what else another thread held, tests do not touch.
    let pid = check(unsafe { libc::fork() }.into())?;
    Ok(if pid == 0 { None } else { Some(pid as i32) })
}
