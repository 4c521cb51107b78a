//! What a new process and the one that made it say to each other.
//!
//! ```text
//! maker                                    child
//!   | ------------ clone3 -------------------> |  joins its cgroups and namespaces, waits
//!   | -- "G" go -----------------------------> |  builds its root
//!   | <------- "T" + descriptor, the terminal -|  only with a terminal
//!   | <------- "W" a warning ------------------|  any number of them
//!   | <------- "X" all is ready ---------------|  last step: execve
//!   | <------- end of file --------------------|  the program runs (close-on-exec)
//!   | <------- "F" status, words --------------|  or: what went wrong, then the child ends
//! ```
//!
//! An end of file without an "X" before it is a child that was killed. A maker that goes away ends a child that still waits.

use std::cell::RefCell;
use std::fmt::Display;
use std::io;
use std::io::IoSlice;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use rustix::net::AddressFamily;
use rustix::net::RecvAncillaryBuffer;
use rustix::net::RecvAncillaryMessage;
use rustix::net::RecvFlags;
use rustix::net::SendAncillaryBuffer;
use rustix::net::SendAncillaryMessage;
use rustix::net::SendFlags;
use rustix::net::SocketFlags;
use rustix::net::SocketType;

/// A message is cut at this length.
const LONGEST: usize = 4096;

/// Why a child could not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// 125, 126 or 127, as Docker's exit statuses.
    pub(super) status: u8,
    pub(super) words: String,
}

/// A step of a child.
pub(super) type Step<T = ()> = std::result::Result<T, Trouble>;

impl Trouble {
    /// The engine could not do something.
    pub(super) fn new(words: impl Into<String>) -> Trouble {
        Trouble { status: 125, words: words.into() }
    }
}

/// Says what a step was about, in the kernel's words: `mount proc on /proc: Operation not permitted (os error 1)`.
pub(super) trait During<T> {
    fn during<W: Display>(self, words: impl FnOnce() -> W) -> Step<T>;
}

impl<T, E: Into<io::Error>> During<T> for std::result::Result<T, E> {
    fn during<W: Display>(self, words: impl FnOnce() -> W) -> Step<T> {
        self.map_err(|error| Trouble::new(format!("{}: {}", words(), error.into())))
    }
}

/// Makes the two ends.
pub(super) fn pair() -> io::Result<(Maker, Child)> {
    let (maker, child) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((Maker(RefCell::new(Some(maker))), Child(child)))
}

/// The end of the process that waits for the other to get ready.
#[derive(Debug)]
pub(super) struct Maker(RefCell<Option<OwnedFd>>);

/// What became of a child.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) terminal: Option<OwnedFd>,
    pub(super) warnings: Vec<String>,
}

impl Maker {
    /// For the child, which has a copy: as long as it holds this end, it could not see that the maker has gone.
    pub(super) fn forget(&self) {
        drop(self.0.take());
    }

    /// Lets the child go on and listens to it until it runs its program or gives up.
    pub(super) fn go(self) -> Step<Outcome> {
        let Some(socket) = self.0.into_inner() else { return Err(Trouble::new("the channel to the new process is closed")) };
        match rustix::net::send(&socket, b"G", SendFlags::NOSIGNAL) {
            // It has given up before it was told to go; the reason lies in the channel.
            Ok(_) | Err(rustix::io::Errno::PIPE) => {}
            Err(error) => return Err(error).during(|| "tell the new process to go on"),
        }
        let mut outcome = Outcome::default();
        let mut ready = false;
        loop {
            let (message, descriptor) = receive(&socket).during(|| "listen to the new process")?;
            let text = |from: usize| String::from_utf8_lossy(message.get(from..).unwrap_or_default()).into_owned();
            match message.first() {
                Some(b'T') => outcome.terminal = descriptor,
                Some(b'W') => outcome.warnings.push(text(1)),
                Some(b'X') => ready = true,
                Some(b'F') => return Err(Trouble { status: message.get(1).copied().unwrap_or(125), words: text(2) }),
                Some(_) => {}
                None if ready => return Ok(outcome),
                None => return Err(Trouble::new("the new process was killed before it was ready")),
            }
        }
    }
}

/// The child's end.
#[derive(Debug)]
pub(super) struct Child(OwnedFd);

impl Child {
    /// Waits for the maker's word; `false` if the maker has gone.
    pub(super) fn wait(&self) -> bool {
        let mut word = [0];
        loop {
            match rustix::io::read(&self.0, &mut word) {
                Err(rustix::io::Errno::INTR) => {}
                outcome => return outcome == Ok(1),
            }
        }
    }

    /// Passes on something that is worth knowing and did not stop us.
    pub(super) fn warn(&self, words: &str) {
        self.say(b"W", words);
    }

    /// Says that only the last step is left.
    pub(super) fn ready(&self) {
        self.say(b"X", "");
    }

    /// Says why it ends here.
    pub(super) fn give_up(&self, trouble: &Trouble) {
        self.say(&[b'F', trouble.status], &trouble.words);
    }

    fn say(&self, head: &[u8], words: &str) {
        let mut message = head.to_vec();
        message.extend_from_slice(words.as_bytes());
        message.truncate(LONGEST);
        // With nobody listening any more there is nobody to tell. write(2), as a seccomp profile may refuse sendto(2).
        let _ = rustix::io::write(&self.0, &message);
    }

    /// Hands over the terminal's master.
    pub(super) fn send_terminal(&self, master: impl AsFd) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [master.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        rustix::net::sendmsg(&self.0, &[IoSlice::new(b"T")], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

/// One message; an empty one is the end.
fn receive(socket: &OwnedFd) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut message = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let length = loop {
        match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut message)], &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            // A child that is killed with our "G" unread resets the connection.
            Err(rustix::io::Errno::CONNRESET) => break 0,
            outcome => break outcome?.bytes,
        }
    };
    message.truncate(length);
    let descriptor = ancillary.drain().find_map(|part| match part {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok((message, descriptor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_child_says_arrives() {
        let (maker, child) = pair().unwrap();
        child.warn("cannot raise the limit");
        child.send_terminal(std::fs::File::open("/dev/null").unwrap()).unwrap();
        child.ready();
        drop(child);
        let outcome = maker.go().unwrap();
        assert_eq!(outcome.warnings, ["cannot raise the limit"]);
        assert!(outcome.terminal.is_some());
    }

    #[test]
    fn trouble_keeps_its_status_and_words() {
        let (maker, child) = pair().unwrap();
        child.ready();
        let trouble = Trouble { status: 127, words: "exec: \"foo\": executable file not found in $PATH".into() };
        child.give_up(&trouble);
        drop(child);
        assert_eq!(maker.go().unwrap_err(), trouble);
    }

    /// A child that died half-way was taken for one that had executed its program.
    #[test]
    fn an_end_before_the_last_step_is_no_success() {
        let (maker, child) = pair().unwrap();
        drop(child);
        assert_eq!(maker.go().unwrap_err().status, 125);
    }

    #[test]
    fn a_waiting_child_notices_that_its_maker_is_gone() {
        let (maker, child) = pair().unwrap();
        drop(maker);
        assert!(!child.wait());
    }
}
