//! Writing to our own standard streams past the standard library's buffer: a part of a line must be seen at once, too.

use std::io;

use rustix::event::PollFd;
use rustix::event::PollFlags;

/// Writes all bytes to our standard output (1) or standard error (2), waiting where that does not block by itself.
///
/// # Errors
/// As write(2).
pub(super) fn write(stream: u8, mut bytes: &[u8]) -> io::Result<()> {
    let to = if stream == 2 { rustix::stdio::stderr() } else { rustix::stdio::stdout() };
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => {
                rustix::event::poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
