//! DNS messages over TCP: two bytes of length, then the message (RFC 1035, 4.2.2); never blocks.

use std::io;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;

/// A non-blocking stream of messages.
#[derive(Debug)]
pub(super) struct Framed {
    pub(super) stream: TcpStream,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
}

impl Framed {
    pub(super) fn new(stream: TcpStream) -> Framed {
        Framed { stream, inbox: Vec::new(), outbox: Vec::new() }
    }

    /// Puts a message in the queue; [`Framed::flush`] sends it. One that is too long to be a message is left out.
    pub(super) fn push(&mut self, message: &[u8]) {
        if let Ok(length) = u16::try_from(message.len()) {
            self.outbox.extend_from_slice(&length.to_be_bytes());
            self.outbox.extend_from_slice(message);
        }
    }

    /// Sends what can be sent now.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.outbox.is_empty() {
            match self.stream.write(&self.outbox) {
                Ok(count) => drop(self.outbox.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether something waits to be sent.
    pub(super) fn wants_to_send(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Reads what is there and returns the first whole message, if there is one; ask again for the next.
    ///
    /// # Errors
    /// As read(2); the end of the stream is an error too.
    pub(super) fn pull(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(message) = self.take() {
                return Ok(Some(message));
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.inbox.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let (length, rest) = self.inbox.split_at_checked(2)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let message = rest.get(..length)?.to_vec();
        self.inbox.drain(..2 + length);
        Some(message)
    }
}
