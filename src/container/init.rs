//! The tiny init of `--init`: our own program as PID 1 of a container, which passes signals on and reaps what nobody waits for.
//!
//! In the container it is `/sbin/docker-init`, as Docker calls it, bind mounted: so it must need no libraries.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::process::ExitCode;

use nix::sys::signal::SigSet;
use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::WaitOptions;

use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::sys::child;
use crate::sys::child::Fork;

use super::streams;

/// Where our program is in the container.
pub(super) const INSIDE: &str = "/sbin/docker-init";

/// Says why our program cannot be an init: it needs libraries that the container need not have.
///
/// # Errors
/// It is linked dynamically.
pub(super) fn check() -> Result<()> {
    let what = || "cannot give the container an init";
    let program = File::open("/proc/self/exe").doing(what)?;
    match needs_interpreter(&program).doing(what)? {
        false => Ok(()),
        true => Err(Failure::new(what())
            .because("this `coracle` is linked dynamically, and its libraries are not in the container")
            .hint("use the static binary that `scripts/static` makes")
            .exit(125)),
    }
}

/// Whether a 64-bit ELF file has a `PT_INTERP` segment, see elf(5).
fn needs_interpreter(program: &File) -> io::Result<bool> {
    const INTERPRETER: u32 = 3;
    let mut header = [0; 64];
    program.read_exact_at(&mut header, 0)?;
    let short = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let table = u64::from_le_bytes(header[32..40].try_into().unwrap_or_default());
    let (size, count) = (short(54), short(56));
    for number in 0..count {
        let mut kind = [0; 4];
        program.read_exact_at(&mut kind, table + u64::from(size) * u64::from(number))?;
        if u32::from_le_bytes(kind) == INTERPRETER {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Plays the init if the command line says so (`/sbin/docker-init -- PROGRAM …`); None if it does not.
pub(super) fn role(args: &[OsString]) -> Option<ExitCode> {
    let [name, dashes, program, rest @ ..] = args else { return None };
    if Path::new(name) != Path::new(INSIDE) || dashes != "--" {
        return None;
    }
    let all = SigSet::all();
    let before = all.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK).ok()?;
    match child::fork() {
        Ok(Fork::Parent(pid)) => Some(watch(Pid::from_raw(pid)?, &all)),
        Ok(Fork::Child) => {
            let _ = before.thread_set_mask();
            let error = Command::new(program).args(rest).exec();
            let _ = streams::write(2, format!("exec: {}: {error}\n", program.display()).as_bytes());
            Some(ExitCode::from(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }))
        }
        Err(_) => Some(ExitCode::from(125)),
    }
}

/// Passes signals on and reaps until the program has ended; its end is ours.
fn watch(program: Pid, signals: &SigSet) -> ExitCode {
    loop {
        match signals.wait() {
            Ok(nix::sys::signal::Signal::SIGCHLD) => {
                while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
                    if pid == program {
                        let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
                        return ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255));
                    }
                }
            }
            Ok(signal) => {
                if let Some(signal) = Signal::from_named_raw(signal as i32) {
                    let _ = rustix::process::kill_process(program, signal); // it may have ended just now
                }
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_told_from_a_static_one() {
        let dynamic = File::open(std::env::current_exe().unwrap()).unwrap();
        let expected = cfg!(target_env = "gnu");
        assert_eq!(needs_interpreter(&dynamic).unwrap(), expected);
    }

    #[test]
    fn only_the_name_in_the_container_makes_an_init() {
        let args = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(role(&args(&["coracle", "--", "true"])).is_none());
        assert!(role(&args(&["/sbin/docker-init", "true"])).is_none());
    }
}
