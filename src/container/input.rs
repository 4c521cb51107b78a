//! Our standard input on its way to a container: never blocks on a reader that does not read.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use rustix::event::PollFlags;

/// The most keys that a sequence to leave a container alone may have.
const MOST_KEYS: usize = 8;

/// The keys that, typed one after the other, leave a container alone with its terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DetachKeys {
    keys: [u8; MOST_KEYS],
    length: usize,
}

impl Default for DetachKeys {
    /// Docker's: ctrl-p ctrl-q.
    fn default() -> DetachKeys {
        DetachKeys { keys: [0x10, 0x11, 0, 0, 0, 0, 0, 0], length: 2 }
    }
}

impl DetachKeys {
    /// Reads `ctrl-p,ctrl-q`, `a`, `ctrl-a,d`; an empty text means none.
    ///
    /// # Errors
    /// Not such a list.
    pub fn read(text: &str) -> std::result::Result<DetachKeys, String> {
        let mut read = DetachKeys { keys: [0; MOST_KEYS], length: 0 };
        for word in text.split(',').filter(|word| !word.is_empty()) {
            if read.length == MOST_KEYS {
                return Err(format!("there may be {MOST_KEYS} keys at most"));
            }
            read.keys[read.length] =
                key(word).ok_or_else(|| format!("there is no key `{word}`: write a letter, or `ctrl-` and a letter"))?;
            read.length += 1;
        }
        Ok(read)
    }

    fn keys(&self) -> &[u8] {
        &self.keys[..self.length]
    }
}

/// The byte that a terminal sends for a key.
fn key(word: &str) -> Option<u8> {
    if let [byte] = word.as_bytes() {
        return Some(*byte);
    }
    match word.strip_prefix("ctrl-")?.as_bytes() {
        [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
        [sign @ (b'@' | b'[' | b'\\' | b']' | b'^' | b'_')] => Some(sign - b'@'),
        _ => None,
    }
}

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
    Detach(DetachKeys),
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
        let detach = match &self.keys {
            Keys::Detach(keys) if !keys.keys().is_empty() => *keys,
            _ => {
                self.waiting.extend_from_slice(bytes);
                return Heard::Bytes;
            }
        };
        let detach = detach.keys();
        for byte in bytes {
            if *byte == detach[self.pressed] {
                self.pressed += 1;
                if self.pressed == detach.len() {
                    self.waiting.clear();
                    return Heard::Detach;
                }
                continue;
            }
            self.waiting.extend_from_slice(&detach[..self.pressed]);
            self.pressed = usize::from(*byte == detach[0]);
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

    const USUAL: Keys = Keys::Detach(DetachKeys { keys: [0x10, 0x11, 0, 0, 0, 0, 0, 0], length: 2 });

    #[test]
    fn detach_keys_are_read_as_docker_reads_them() {
        assert_eq!(DetachKeys::read("ctrl-p,ctrl-q"), Ok(DetachKeys::default()));
        assert_eq!(DetachKeys::read("ctrl-a,d").unwrap().keys(), [1, b'd']);
        assert_eq!(DetachKeys::read("ctrl-\\").unwrap().keys(), [0x1c]);
        assert!(DetachKeys::read("ctrl-1").is_err());
        assert_eq!(sifted(Keys::Detach(DetachKeys::read("x").unwrap()), &[b"ax"]).1, Heard::Detach);
        assert_eq!(sifted(Keys::Detach(DetachKeys::read("").unwrap()), &[b"\x10\x11"]).0, b"\x10\x11");
    }

    #[test]
    fn the_detach_keys_are_found_also_in_two_parts() {
        assert_eq!(sifted(USUAL, &[b"a\x10", b"\x11"]).1, Heard::Detach);
        assert_eq!(sifted(USUAL, &[b"\x10\x10\x11"]).1, Heard::Detach);
        assert_eq!(sifted(Keys::Plain, &[b"\x10\x11"]), (b"\x10\x11".to_vec(), Heard::Bytes));
    }

    #[test]
    fn half_the_detach_keys_are_passed_on() {
        assert_eq!(sifted(USUAL, &[b"a\x10", b"b"]), (b"a\x10b".to_vec(), Heard::Bytes));
        assert_eq!(sifted(USUAL, &[b"\x11"]), (b"\x11".to_vec(), Heard::Bytes));
    }
}
