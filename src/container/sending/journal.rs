//! systemd's journal, in its own notation: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>.

use std::io;
use std::io::IoSlice;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;

use rustix::fs::MemfdFlags;
use rustix::fs::SealFlags;
use rustix::net::SendAncillaryBuffer;
use rustix::net::SendAncillaryMessage;
use rustix::net::SendFlags;

use super::super::Container;
use super::super::Line;
use super::describe;

const SOCKET: &str = "/run/systemd/journal/socket";

/// See syslog(3): what comes on standard error is an error.
const INFORMATION: u8 = 6;
const ERROR: u8 = 3;

/// The journal, and what each line says of the container.
pub(super) struct Journal {
    /// Fields, as they are sent.
    about: Vec<u8>,
    socket: Option<UnixDatagram>,
}

impl Journal {
    pub(super) fn of(container: &Container) -> Result<Journal, String> {
        let tag = describe::tag(container)?;
        let short: String = container.id.chars().take(12).collect();
        let mut about = Vec::new();
        let fields = [
            ("CONTAINER_ID", short.as_str()),
            ("CONTAINER_ID_FULL", &container.id),
            ("CONTAINER_NAME", &container.name),
            ("CONTAINER_TAG", &tag),
            ("IMAGE_NAME", &container.wanted.image),
            ("SYSLOG_IDENTIFIER", &tag),
        ];
        for (name, value) in fields {
            add(&mut about, name, value.as_bytes());
        }
        for (name, value) in describe::extra(container) {
            let name = field_name(&name);
            if !name.is_empty() {
                add(&mut about, &name, value.as_bytes());
            }
        }
        Ok(Journal { about, socket: None })
    }

    pub(super) fn connect(&mut self) -> io::Result<()> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(SOCKET).map_err(|error| io::Error::new(error.kind(), format!("there is no journal at {SOCKET}: {error}")))?;
        self.socket = Some(socket);
        Ok(())
    }

    pub(super) fn send(&mut self, line: &Line) -> io::Result<()> {
        let entry = self.entry(line);
        if self.socket.is_none() {
            self.connect()?;
        }
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        let sent = match socket.send(&entry) {
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => send_file(socket, &entry),
            sent => sent.map(drop),
        };
        if sent.is_err() {
            self.socket = None; // the journal may have been started again
        }
        sent
    }

    fn entry(&self, line: &Line) -> Vec<u8> {
        let mut entry = Vec::with_capacity(self.about.len() + line.bytes.len() + 128);
        let priority = if line.stream == 2 { ERROR } else { INFORMATION };
        add(&mut entry, "PRIORITY", priority.to_string().as_bytes());
        add(&mut entry, "SYSLOG_TIMESTAMP", crate::units::time_text(line.time).as_bytes());
        let (message, is_whole) = match line.bytes.strip_suffix(b"\n") {
            Some(message) => (message, true),
            None => (line.bytes.as_slice(), false),
        };
        add(&mut entry, "MESSAGE", message);
        if !is_whole {
            add(&mut entry, "CONTAINER_PARTIAL_MESSAGE", b"true");
        }
        entry.extend_from_slice(&self.about);
        entry
    }
}

/// Adds a field: `NAME=value`, or, of a value with line breaks, its name, its length and itself.
fn add(entry: &mut Vec<u8>, name: &str, value: &[u8]) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value);
    entry.push(b'\n');
}

/// The journal knows names of capitals, digits and `_`, which do not begin with `_`.
fn field_name(name: &str) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' };
    name.chars().map(letter).collect::<String>().trim_start_matches('_').to_owned()
}

/// Sends what is too long for a datagram as a sealed file in memory.
fn send_file(socket: &UnixDatagram, entry: &[u8]) -> io::Result<()> {
    let memory = rustix::fs::memfd_create("journal", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = std::fs::File::from(memory);
    file.write_all(entry)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [file.as_fd()];
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(&[])], &mut ancillary, SendFlags::empty())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_line_breaks_says_its_length() {
        let mut entry = Vec::new();
        add(&mut entry, "A", b"one");
        add(&mut entry, "B", b"one\ntwo");
        assert_eq!(entry, b"A=one\nB\n\x07\0\0\0\0\0\0\0one\ntwo\n");
        assert_eq!(field_name("com.example/color-x"), "COM_EXAMPLE_COLOR_X");
        assert_eq!(field_name("_hidden"), "HIDDEN");
    }
}
