//! Our own terminal: raw while a container has it, its size, and signals as events.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::panic;
use std::sync::Once;

use nix::sys::signal::SigSet;
use nix::sys::signal::SigmaskHow;
use nix::sys::signal::Signal;
use nix::sys::signalfd::SfdFlags;
use nix::sys::signalfd::SignalFd;
use rustix::termios::OptionalActions;
use rustix::termios::Termios;
use rustix::termios::Winsize;

/// Our terminal in raw mode; it is as before when this is dropped, and should we panic.
#[derive(Debug)]
pub(super) struct Raw {
    before: Termios,
}

impl Raw {
    /// Makes the terminal of our standard input raw; None if that is no terminal.
    pub(super) fn enter() -> io::Result<Option<Raw>> {
        let stdin = rustix::stdio::stdin();
        if !rustix::termios::isatty(stdin) {
            return Ok(None);
        }
        let before = rustix::termios::tcgetattr(stdin)?;
        restore_on_panic(&before);
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(stdin, OptionalActions::Drain, &raw)?;
        Ok(Some(Raw { before }))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &self.before);
    }
}

/// A release build aborts when it panics: nothing is dropped then.
fn restore_on_panic(before: &Termios) {
    static ONCE: Once = Once::new();
    let before = before.clone();
    ONCE.call_once(move || {
        let next = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &before);
            next(info);
        }));
    });
}

/// The size of our terminal: that of standard output, or input; None if neither is one.
pub(super) fn size() -> Option<Winsize> {
    let size = |stream: BorrowedFd<'_>| rustix::termios::tcgetwinsize(stream).ok();
    size(rustix::stdio::stdout()).or_else(|| size(rustix::stdio::stdin())).filter(|size| size.ws_row > 0 && size.ws_col > 0)
}

/// Gives a container's terminal the size of ours.
pub(super) fn pass_size(master: impl AsFd) {
    if let Some(size) = size() {
        let _ = rustix::termios::tcsetwinsize(master, size); // a terminal that is gone has no size
    }
}

/// Signals that come to us, to be read instead of suffered; as before when dropped.
#[derive(Debug)]
pub(super) struct Signals {
    descriptor: SignalFd,
    before: SigSet,
}

/// What is passed on to a container, as far as it can come to us.
const PASSED_ON: [Signal; 6] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

impl Signals {
    pub(super) fn catch() -> io::Result<Signals> {
        let mut caught = SigSet::empty();
        PASSED_ON.into_iter().for_each(|signal| caught.add(signal));
        caught.add(Signal::SIGWINCH);
        let before = caught.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let descriptor = SignalFd::with_flags(&caught, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Signals { descriptor, before })
    }

    /// The next signal that has come.
    pub(super) fn next(&self) -> Option<i32> {
        let signal = self.descriptor.read_signal().ok().flatten()?;
        i32::try_from(signal.ssi_signo).ok()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        while self.next().is_some() {} // what came just before the end is not to kill us now
        let _ = self.before.thread_set_mask();
    }
}
