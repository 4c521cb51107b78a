//! Ctrl-C and its like, asked for instead of suffered: a command that must end in good order looks whether it was told to.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use nix::sys::signal::SigSet;
use nix::sys::signal::Signal;
use nix::sys::signalfd::SfdFlags;
use nix::sys::signalfd::SignalFd;

use crate::failure::Doing;
use crate::failure::Result;

/// SIGINT and SIGTERM, blocked while this lives. What we start has its own mask.
#[derive(Debug)]
pub struct Interrupt {
    signals: SignalFd,
    before: SigSet,
    count: AtomicU32,
}

impl Interrupt {
    /// Begins to hold the signals back; threads begun later hold them back too.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn hold() -> Result<Interrupt> {
        let wanted: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
        let held = (|| {
            let before = wanted.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK)?;
            let signals = SignalFd::with_flags(&wanted, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
            Ok(Interrupt { signals, before, count: AtomicU32::new(0) })
        })();
        held.map_err(|error: nix::Error| std::io::Error::from(error)).doing(|| "cannot wait for signals")
    }

    /// How often we have been told to end.
    pub fn count(&self) -> u32 {
        while let Ok(Some(_)) = self.signals.read_signal() {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        // A signal that is still held back ends us now, as it should.
        let _ = self.before.thread_set_mask();
    }
}
