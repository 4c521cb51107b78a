//! The talk between a command and a supervisor: JSON messages on a Unix socket that keeps their borders (`SOCK_SEQPACKET`).
//!
//! ```text
//! command                              supervisor
//!    | -- start ---------------------->  |  makes the container run
//!    | <- started (warnings) or failed - |
//!    | -- wait ----------------------->  |
//!    | <- ended (exit code) -----------  |  once it has ended and will not be restarted
//!    |                                   |
//!    | -- follow (what it has seen) -->  |  of the log
//!    | <- more ------------------------  |  once there is more
//!    |                                   |
//!    | -- stop (grace) --------------->  |  signals it
//!    | <- done ------------------------  |  once it is down and what it had is taken back
//!    |                                   |
//!    | -- kill, pause, removed, … ----->  |
//!    | <- done or failed --------------  |  at once
//!    |                                   |
//!    | -- terminal ------------------->  |
//!    | <- done + descriptor -----------  |  the master of its pseudoterminal, by SCM_RIGHTS
//! ```
//!
//! Answers come in the order of the requests, but for those that are waited for. End of file before an answer means that the supervisor is gone: the request is sent
//! again to the next one. That does no harm: to start what runs or to stop what does not is no error.

use std::io;
use std::io::IoSlice;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;

use rustix::net::RecvAncillaryBuffer;
use rustix::net::RecvAncillaryMessage;
use rustix::net::RecvFlags;
use rustix::net::SendAncillaryBuffer;
use rustix::net::SendAncillaryMessage;
use rustix::net::SendFlags;
use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;

use super::Grace;

/// The longest message; a failure with many reasons is a few hundred bytes.
const LONGEST: usize = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    Start {
        id: String,
    },
    Wait {
        id: String,
    },
    /// The container's log has more than so many records.
    Follow {
        id: String,
        seen: u64,
    },
    Stop {
        id: String,
        grace: Grace,
        /// The container's own if None.
        #[serde(default)]
        signal: Option<String>,
    },
    Kill {
        id: String,
        signal: String,
    },
    Pause {
        id: String,
        paused: bool,
    },
    /// The master of the container's terminal.
    Terminal {
        id: String,
    },
    /// The container shall see the end of its standard input once nobody else writes to it.
    CloseStdin {
        id: String,
    },
    /// The container is about to be removed.
    Removed {
        id: String,
    },
    /// The container's record has changed.
    Amended {
        id: String,
    },
    /// What was removed can be deleted.
    Tidy,
    /// The machine has booted: what is always to run shall run again.
    Booted,
    /// The supervisor before this one died together with its guardian.
    Revived,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    Done,
    /// With what this machine could not do.
    Started {
        warnings: Vec<String>,
    },
    Ended {
        code: i32,
    },
    /// There is more in the log.
    More,
    Failed(Failure),
}

/// Sends a message, with a descriptor if there is one.
pub(super) fn send(socket: BorrowedFd<'_>, message: &impl Serialize, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    loop {
        match rustix::net::sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            outcome => return outcome.map(drop).map_err(Into::into),
        }
    }
}

/// Receives a message and the descriptor that came with it; the other side's end is `Ok(None)`.
pub(super) fn receive<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> io::Result<Option<(T, Option<OwnedFd>)>> {
    let mut bytes = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            outcome => break outcome?,
        }
    };
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    if received.bytes == 0 {
        return Ok(None);
    }
    Ok(Some((serde_json::from_slice(&bytes[..received.bytes])?, descriptor)))
}

/// Makes two joined sockets of the protocol's kind.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (family, kind) = (rustix::net::AddressFamily::UNIX, rustix::net::SocketType::SEQPACKET);
    Ok(rustix::net::socketpair(family, kind, rustix::net::SocketFlags::CLOEXEC, None)?)
}

/// The other side of a supervisor's socket, as a command has it.
#[derive(Debug)]
pub(super) struct Talk {
    socket: OwnedFd,
}

impl Talk {
    pub(super) fn over(socket: OwnedFd) -> Talk {
        Talk { socket }
    }

    pub(super) fn say(&self, request: &Request) -> io::Result<()> {
        send(self.socket.as_fd(), request, None)
    }

    /// The next answer; None if the supervisor is gone.
    pub(super) fn hear(&self) -> io::Result<Option<(Reply, Option<OwnedFd>)>> {
        receive(self.socket.as_fd())
    }
}

impl AsFd for Talk {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_whole_with_its_descriptor() {
        let (ours, theirs) = pair().unwrap();
        let request = Request::Stop { id: "a".repeat(64), grace: Grace::Seconds(3), signal: None };
        send(ours.as_fd(), &request, Some(theirs.as_fd())).unwrap();
        send(ours.as_fd(), &Request::Revived, None).unwrap();
        let (heard, descriptor) = receive::<Request>(theirs.as_fd()).unwrap().unwrap();
        assert_eq!(heard, request);
        assert!(descriptor.is_some());
        drop(descriptor);
        let (heard, descriptor) = receive::<Request>(theirs.as_fd()).unwrap().unwrap();
        assert_eq!(heard, Request::Revived);
        assert!(descriptor.is_none());
        drop(ours);
        assert!(receive::<Request>(theirs.as_fd()).unwrap().is_none());
    }

    #[test]
    fn a_failure_arrives_with_all_its_parts() {
        let (ours, theirs) = pair().unwrap();
        let failure = Failure::new("cannot start `web`").because("no").hint("do").exit(127);
        send(ours.as_fd(), &Reply::Failed(failure.clone()), None).unwrap();
        let Some((Reply::Failed(heard), None)) = receive(theirs.as_fd()).unwrap() else { panic!("something else came") };
        assert_eq!(heard.to_string(), failure.to_string());
        assert_eq!(heard.status(), 127);
    }
}
