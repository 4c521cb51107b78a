//! Processes that we watch: fork, signals by number, and how one ended that somebody else has reaped.

use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;

/// On which side of a [`fork`] we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// In the old process; the new one's pid.
    Parent(i32),
    Child,
}

/// Makes a copy of this process, which must have one thread.
///
/// fork(2) by way of the C library, whose own state (its locks, its idea of our pid) is then right in the child.
///
/// # Errors
/// As fork(2); a process with more threads is refused with EBUSY.
pub fn fork() -> io::Result<Fork> {
    if !has_one_thread()? {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    // SAFETY: the hazard of fork is a lock that another thread holds and that the child then waits for; there is no other thread,
    // as was just read from the kernel, and none can begin meanwhile because only we could begin it.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

fn has_one_thread() -> io::Result<bool> {
    // "." and ".." do not come out of read_dir.
    Ok(std::fs::read_dir("/proc/self/task")?.take(2).count() == 1)
}

/// Sends a signal, real-time ones included, to the process that a pidfd names.
///
/// `pidfd_send_signal(pidfd, signal, NULL, 0)`; rustix knows the named signals only.
///
/// # Errors
/// As pidfd_send_signal(2).
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let no_info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: the kernel reads no memory of ours, as the siginfo pointer is null, and reports a bad descriptor or signal as an error.
    match unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, 0u32) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// A child that has ended, its pid and wait status, left unreaped; None if all of them live or there is none.
///
/// `waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT)`; nix does not know real-time signals, rustix does not tell the pid.
pub fn ended_child() -> Option<(i32, i32)> {
    // SAFETY: siginfo_t is a C structure of integers and pointers, for which all zeroes is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is a whole siginfo_t and outlives the call; the kernel keeps no reference to it.
    let outcome = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) };
    // SAFETY: waitid has filled in the fields of a SIGCHLD, or left the zeroes.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if outcome != 0 || pid == 0 {
        return None;
    }
    Some((pid, if info.si_code == libc::CLD_EXITED { (status & 0xFF) << 8 } else { status & 0x7F }))
}

/// Field for field `struct pidfd_info` of linux/pidfd.h in its first published size.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroupid: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ids: [u32; 8],
    exit_code: i32,
}

const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// `_IOWR(0xFF, 11, struct pidfd_info)`; the size is part of the number, the kernel takes every size from the first one on.
const PIDFD_GET_INFO: u64 = (3 << 30) | ((size_of::<PidfdInfo>() as u64) << 16) | (0xFF << 8) | 11;

/// How a process ended that its parent has reaped, as a wait status; None if the kernel does not know (yet).
///
/// `ioctl(pidfd, PIDFD_GET_INFO)` with `PIDFD_INFO_EXIT`, Linux 6.15: works for processes that are not our children,
/// if the descriptor was opened before they were reaped.
pub fn exit_of_reaped(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let mut asked = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the number says how large the structure is, `asked` is of that size and outlives the call, and all its fields are
    // integers, for which the kernel may write any value.
    let outcome = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO as _, &raw mut asked) };
    (outcome == 0 && asked.mask & PIDFD_INFO_EXIT != 0).then_some(asked.exit_code)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::process::Pid;
    use rustix::process::PidfdFlags;

    use super::*;

    #[test]
    fn a_process_with_threads_is_not_forked() {
        // The test runner has more than one thread.
        let other = std::thread::spawn(fork);
        assert_eq!(other.join().unwrap().unwrap_err().raw_os_error(), Some(libc::EBUSY));
    }

    /// In a process of its own, as it looks at all children: the test runner has others.
    #[test]
    fn an_ended_child_is_seen_until_it_is_reaped() {
        if std::env::var_os("CORACLE_TEST_ENDED_CHILD").is_none() {
            let again = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "sys::child::tests::an_ended_child_is_seen_until_it_is_reaped"])
                .env("CORACLE_TEST_ENDED_CHILD", "1")
                .output()
                .unwrap();
            assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stdout));
            return;
        }
        assert_eq!(ended_child(), None);
        for (script, wanted) in [("exit 7", 7 << 8), ("kill -9 $$", 9), ("kill -34 $$", 34)] {
            let mut child = std::process::Command::new("bash").args(["-c", script]).spawn().unwrap();
            let found = (0..1000).find_map(|_| {
                std::thread::sleep(std::time::Duration::from_millis(5));
                ended_child()
            });
            assert_eq!(found, Some((child.id() as i32, wanted)), "{script}");
            assert_eq!(ended_child(), found, "still there");
            child.wait().unwrap();
            assert_eq!(ended_child(), None);
        }
    }

    #[test]
    fn a_signal_ends_a_process_and_the_kernel_still_knows_how() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = rustix::process::pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        assert_eq!(exit_of_reaped(pidfd.as_fd()), None);
        send_signal(pidfd.as_fd(), libc::SIGTERM).unwrap();
        child.wait().unwrap();
        if let Some(status) = exit_of_reaped(pidfd.as_fd()) {
            assert_eq!(libc::WTERMSIG(status), libc::SIGTERM);
        }
        assert_eq!(send_signal(pidfd.as_fd(), libc::SIGTERM).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}
