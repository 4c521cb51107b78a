//! Signals as execve(2) passes them on: what is ignored or blocked stays so in the new program.

use std::io;

use super::check;

/// Sets every signal to its default action and blocks none.
///
/// `sigaction(n, SIG_DFL)` for each n but SIGKILL and SIGSTOP, then `sigprocmask(SIG_SETMASK, {})`; see signal(7).
pub fn reset_all() -> io::Result<()> {
    for number in (1..=libc::SIGRTMAX()).filter(|number| ![libc::SIGKILL, libc::SIGSTOP].contains(number)) {
        // SAFETY: installs no code of ours. The C library keeps two real-time signals for itself and answers EINVAL for them; their
        // state is the kernel's default already, as it only ever catches them, and a caught signal is reset by execve(2).
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    // SAFETY: the set is made empty before it is read; the old mask is not asked for.
    let result = unsafe {
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut())
    };
    check(result.into()).map(drop)
}
