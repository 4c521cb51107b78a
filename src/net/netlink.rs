//! A synchronous netlink socket: one request, its answers, no runtime.
//!
//! The socket belongs to the network namespace that its thread was in when it was opened and stays there; that is
//! how a container's namespace is worked on after the thread has gone back to its own ([`super::namespace`]).

use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;

use netlink_packet_core::NLM_F_ACK;
use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_core::NLM_F_REQUEST;
use netlink_packet_core::NetlinkDeserializable;
use netlink_packet_core::NetlinkMessage;
use netlink_packet_core::NetlinkPayload;
use netlink_packet_core::NetlinkSerializable;
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::net::RecvFlags;
use rustix::net::SendFlags;

use crate::sys;

/// The kernel never sends a larger datagram than 32 KiB in answer to a dump (netlink_dump, af_netlink.c).
const LARGEST_DATAGRAM: usize = 64 * 1024;

/// A netlink socket of one namespace.
#[derive(Debug)]
pub(super) struct Channel {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Channel {
    /// Opens a socket for links, addresses and routes in the namespace that the calling thread is in.
    pub(super) fn route() -> io::Result<Channel> {
        Channel::open(NETLINK_ROUTE)
    }

    /// Opens a socket for nftables and connection tracking in the namespace that the calling thread is in.
    pub(super) fn netfilter() -> io::Result<Channel> {
        Channel::open(NETLINK_NETFILTER)
    }

    fn open(protocol: isize) -> io::Result<Channel> {
        Ok(Channel { socket: Socket::new(protocol)?, sequence: 0, buffer: Vec::with_capacity(LARGEST_DATAGRAM) })
    }

    /// Sends one request that changes something and waits for its acknowledgement.
    pub(super) fn change<M>(&mut self, message: M, flags: u16) -> io::Result<()>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
        NetlinkPayload<M>: From<M>,
    {
        let sequence = self.send(vec![(message, flags | NLM_F_ACK)])?;
        self.acknowledged::<M>(sequence, sequence)
    }

    /// Has a process of its own send one request that changes something and wait until the kernel is done with it; returns its pid.
    ///
    /// That process ends with status 0 if all went well. It can be made by one that has threads, for it takes no lock.
    pub(super) fn change_aside<M>(mut self, message: M, flags: u16) -> io::Result<i32>
    where
        M: NetlinkSerializable,
        NetlinkPayload<M>: From<M>,
    {
        let bytes = self.encode(vec![(message, flags | NLM_F_ACK)]);
        let socket = self.socket.as_fd();
        let (pid, _) = sys::clone::clone3(0, None, || request(socket, &bytes))?;
        Ok(pid)
    }

    /// Sends one request for one object and returns it.
    pub(super) fn ask<M>(&mut self, message: M) -> io::Result<M>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
        NetlinkPayload<M>: From<M>,
    {
        self.send(vec![(message, 0)])?;
        let mut answers = Vec::new();
        while answers.is_empty() {
            self.receive(|_, payload| match payload {
                NetlinkPayload::InnerMessage(message) => {
                    answers.push(message);
                    Ok(())
                }
                other => outcome(&other),
            })?;
        }
        Ok(answers.swap_remove(0))
    }

    /// Sends one request for all objects of a kind and returns them.
    pub(super) fn dump<M>(&mut self, message: M) -> io::Result<Vec<M>>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
        NetlinkPayload<M>: From<M>,
    {
        self.send(vec![(message, NLM_F_DUMP)])?;
        let mut answers = Vec::new();
        let mut finished = false;
        while !finished {
            self.receive(|_, payload| match payload {
                NetlinkPayload::InnerMessage(message) => {
                    answers.push(message);
                    Ok(())
                }
                NetlinkPayload::Done(_) => {
                    finished = true;
                    Ok(())
                }
                other => outcome(&other),
            })?;
        }
        Ok(answers)
    }

    /// Sends several messages in one datagram, as nfnetlink wants its batches.
    ///
    /// Only the last but one is acknowledged: batch begin and end get no answer before Linux 6.10, an error is
    /// always answered, and the answers come in order once the whole batch is decided.
    pub(super) fn batch<M>(&mut self, mut messages: Vec<(M, u16)>) -> io::Result<()>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
        NetlinkPayload<M>: From<M>,
    {
        let count = messages.len();
        if count < 3 {
            return Ok(());
        }
        messages[count - 2].1 |= NLM_F_ACK;
        let begin = self.sequence + 1;
        let end = self.send(messages)?;
        self.acknowledged::<M>(begin, end - 1)
    }

    /// Sends messages with ascending sequence numbers; returns the last one.
    fn send<M>(&mut self, messages: Vec<(M, u16)>) -> io::Result<u32>
    where
        M: NetlinkSerializable,
        NetlinkPayload<M>: From<M>,
    {
        let bytes = self.encode(messages);
        self.socket.send(&bytes, 0)?;
        Ok(self.sequence)
    }

    fn encode<M>(&mut self, messages: Vec<(M, u16)>) -> Vec<u8>
    where
        M: NetlinkSerializable,
        NetlinkPayload<M>: From<M>,
    {
        let mut bytes = Vec::new();
        for (message, flags) in messages {
            self.sequence += 1;
            let mut message = NetlinkMessage::from(message);
            message.header.flags = flags | NLM_F_REQUEST;
            message.header.sequence_number = self.sequence;
            message.finalize();
            let start = bytes.len();
            // The kernel aligns each message of a datagram to four bytes (NLMSG_ALIGN).
            bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(&mut bytes[start..start + message.header.length as usize]);
        }
        bytes
    }

    /// Reads answers until that of the message `last`; the first error counts.
    ///
    /// An error in answer to `first` ends the wait too: a batch that is refused as a whole is answered there only.
    /// Answers to earlier requests, left over from such a refusal, are passed over.
    fn acknowledged<M: NetlinkDeserializable>(&mut self, first: u32, last: u32) -> io::Result<()> {
        let mut result = Ok(());
        let mut finished = false;
        while !finished {
            self.receive::<M>(|sequence, payload| {
                if (first..=last).contains(&sequence) {
                    let answer = outcome(&payload);
                    finished |= sequence == last || (sequence == first && answer.is_err());
                    result = std::mem::replace(&mut result, Ok(())).and(answer);
                }
                Ok(())
            })?;
        }
        result
    }

    /// Reads one datagram and shows its messages.
    fn receive<M: NetlinkDeserializable>(&mut self, mut see: impl FnMut(u32, NetlinkPayload<M>) -> io::Result<()>) -> io::Result<()> {
        self.buffer.clear();
        loop {
            match self.socket.recv(&mut self.buffer, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => {
                    received?;
                    break;
                }
            }
        }
        let mut rest = self.buffer.as_slice();
        let mut result = Ok(());
        while rest.len() >= 16 {
            let message = NetlinkMessage::<M>::deserialize(rest).map_err(io::Error::other)?;
            let length = (message.header.length as usize).next_multiple_of(4);
            let (header, payload) = message.into_parts();
            let seen = see(header.sequence_number, payload);
            result = result.and(seen);
            rest = rest.get(length..).unwrap_or_default();
        }
        result
    }
}

/// What the process of [`Channel::change_aside`] does; gives the status that it ends with.
fn request(socket: BorrowedFd<'_>, bytes: &[u8]) -> u8 {
    // Who reads what our maker writes must not wait for our end.
    let alone = rustix::stdio::dup2_stdin(socket).and_then(|()| sys::exec::close_from(1).map_err(|_| rustix::io::Errno::BADF));
    let socket = rustix::stdio::stdin();
    let mut answer = [0; 1024];
    let answered = alone
        .and_then(|()| rustix::net::send(socket, bytes, SendFlags::empty()))
        .and_then(|_| rustix::net::recv(socket, &mut answer, RecvFlags::empty()));
    // After the header, 16 bytes, comes the error's number; 0 is an acknowledgement (netlink(7)).
    let went_well = answered.is_ok_and(|(length, _)| length >= 20 && answer[16..20] == [0; 4]);
    if went_well { 0 } else { 1 }
}

/// What an answer that is not an object says: an acknowledgement or an error.
fn outcome<M>(payload: &NetlinkPayload<M>) -> io::Result<()> {
    match payload {
        NetlinkPayload::Error(message) if message.code.is_some() => Err(message.to_io()),
        NetlinkPayload::Overrun(_) => Err(io::Error::from_raw_os_error(libc::ENOBUFS)),
        _ => Ok(()),
    }
}
