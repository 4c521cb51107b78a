//! Our standard input on its way to a container: never blocks on a reader that does not read.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use rustix::event::PollFlags;

/// Docker's keys to leave a container alone with its terminal: ctrl-p ctrl-q.
const DETACH: [u8; 2] = [0x10, 0x11];

/// What reading our input led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Bytes,
    /// The detach keys.
    Detach,
    /// Our input has ended and all of it has been passed on.
    End,
}

/// Whether the detach keys mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    Detach,
    Plain,
}

/// Our standard input and where it goes.
#[derive(Debug)]
pub(super) struct Input {
    /// Must not block.
    to: OwnedFd,
    waiting: Vec<u8>,
    keys: Keys,
    /// How many of the detach keys have been pressed.
    pressed: usize,
    ended: bool,
}

impl Input {
    pub(super) fn new(to: OwnedFd, keys: Keys) -> io::Result<Input> {
        rustix::io::ioctl_fionbio(&to, true)?;
        Ok(Input { to, waiting: Vec::new(), keys, pressed: 0, ended: false })
    }

    /// What to poll now: ours for more, or theirs for room.
    pub(super) fn source(&self) -> (BorrowedFd<'_>, PollFlags) {
        if self.waiting.is_empty() { (rustix::stdio::stdin(), PollFlags::IN) } else { (self.to.as_fd(), PollFlags::OUT) }
    }

    /// Passes on what there is.
    ///
    /// # Errors
    /// As read(2) and write(2); a container that reads no more is a broken pipe.
    pub(super) fn pass_on(&mut self) -> io::Result<Heard> {
        if self.waiting.is_empty() && !self.ended {
            let mut bytes = [0; 32 * 1024];
            let count = match rustix::io::read(rustix::stdio::stdin(), &mut bytes) {
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(Heard::Bytes),
                Err(rustix::io::Errno::IO) => 0, // our terminal is gone
                count => count?,
            };
            self.ended = count == 0;
            if self.sift(&bytes[..count]) == Heard::Detach {
                return Ok(Heard::Detach);
            }
        }
        self.push()?;
        Ok(if self.ended && self.waiting.is_empty() { Heard::End } else { Heard::Bytes })
    }

    fn push(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            match rustix::io::write(&self.to, &self.waiting) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(rustix::io::Errno::AGAIN) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes in bytes, holding back the beginning of the detach keys.
    fn sift(&mut self, bytes: &[u8]) -> Heard {
        if self.keys == Keys::Plain {
            self.waiting.extend_from_slice(bytes);
            return Heard::Bytes;
        }
        for byte in bytes {
            if *byte == DETACH[self.pressed] {
                self.pressed += 1;
                if self.pressed == DETACH.len() {
                    self.waiting.clear();
                    return Heard::Detach;
                }
                continue;
            }
            self.waiting.extend_from_slice(&DETACH[..self.pressed]);
            self.pressed = usize::from(*byte == DETACH[0]);
            if self.pressed == 0 {
                self.waiting.push(*byte);
            }
        }
        Heard::Bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sifted(keys: Keys, parts: &[&[u8]]) -> (Vec<u8>, Heard) {
        let (to, _) = rustix::pipe::pipe().map(|(read, write)| (write, read)).unwrap();
        let mut input = Input::new(to, keys).unwrap();
        let mut heard = Heard::Bytes;
        for part in parts {
            heard = input.sift(part);
        }
        (input.waiting, heard)
    }

    #[test]
    fn the_detach_keys_are_found_also_in_two_parts() {
        assert_eq!(sifted(Keys::Detach, &[b"a\x10", b"\x11"]).1, Heard::Detach);
        assert_eq!(sifted(Keys::Detach, &[b"\x10\x10\x11"]).1, Heard::Detach);
        assert_eq!(sifted(Keys::Plain, &[b"\x10\x11"]), (b"\x10\x11".to_vec(), Heard::Bytes));
    }

    #[test]
    fn half_the_detach_keys_are_passed_on() {
        assert_eq!(sifted(Keys::Detach, &[b"a\x10", b"b"]), (b"a\x10b".to_vec(), Heard::Bytes));
        assert_eq!(sifted(Keys::Detach, &[b"\x11"]), (b"\x11".to_vec(), Heard::Bytes));
    }
}
