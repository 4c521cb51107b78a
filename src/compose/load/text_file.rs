//! Reads the text files of a project, whatever they turn out to be: none is waited for without an end, none is larger
//! than memory allows.

use std::fs;
use std::fs::File;
use std::io;
use std::io::ErrorKind;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::fs::OFlags;

/// No file is larger than this.
pub(super) const LARGEST: u64 = 8 << 20;

/// How long a named pipe waits for somebody who writes to it. Who has opened it may take his time.
const PATIENCE: Duration = Duration::from_secs(1);

/// A whole text file, if it is one and not too large.
pub(super) fn read(file: &Path) -> io::Result<String> {
    checked(bytes(file)?)
}

/// What a file holds that must not be more than text can be.
pub(super) fn bytes(file: &Path) -> io::Result<Vec<u8>> {
    let metadata = fs::metadata(file)?;
    if metadata.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    if metadata.file_type().is_socket() {
        return Err(io::Error::other("it is a socket"));
    }
    if metadata.len() > LARGEST {
        return Err(too_large());
    }
    if metadata.file_type().is_fifo() {
        return of_pipe(file);
    }
    // What is no plain file does not say how long it is.
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    File::open(file)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn too_large() -> io::Error {
    io::Error::other(format!("it is larger than {} MiB", LARGEST >> 20))
}

/// Reads a pipe. Opened as usual it would wait for ever for somebody to write.
fn of_pipe(file: &Path) -> io::Result<Vec<u8>> {
    let mut pipe = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(file)?;
    let limit = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let is_ready = rustix::event::poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&limit))? > 0;
    let mut bytes = Vec::new();
    let mut first = [0; 4096];
    match pipe.read(&mut first) {
        // Ready and empty: its writer has been there and is gone.
        Ok(0) if !is_ready => return Err(io::Error::other("it is a pipe, and nobody writes to it")),
        Ok(length) => bytes.extend(&first[..length]),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(error) => return Err(error),
    }
    let flags = rustix::fs::fcntl_getfl(&pipe)?;
    rustix::fs::fcntl_setfl(&pipe, flags - OFlags::NONBLOCK)?;
    pipe.take(LARGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of these bytes, if they are UTF-8 and not too many.
pub(super) fn checked(bytes: Vec<u8>) -> io::Result<String> {
    if bytes.len() as u64 > LARGEST {
        return Err(too_large());
    }
    if let Some(place) = bytes.iter().position(|byte| *byte == 0) {
        let line = bytes[..place].iter().filter(|byte| **byte == b'\n').count() + 1;
        return Err(io::Error::other(format!("it is no text: byte {place}, on line {line}, is zero")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..place].iter().filter(|byte| **byte == b'\n').count() + 1;
        io::Error::other(format!("it is not UTF-8 text: see byte {place}, on line {line}"))
    })
}

/// The same, but text in UTF-16 is taken too if a mark at its start says so, as YAML wants it.
pub(super) fn checked_yaml(bytes: Vec<u8>) -> io::Result<String> {
    let of_pair: fn([u8; 2]) -> u16 = match bytes[..] {
        // A mark of UTF-32 begins in the same way.
        [0xff, 0xfe, 0, 0, ..] => return checked(bytes),
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return checked(bytes),
    };
    if bytes.len() as u64 > LARGEST {
        return Err(too_large());
    }
    let (pairs, rest) = bytes[2..].as_chunks::<2>();
    let text: Result<String, _> = char::decode_utf16(pairs.iter().map(|pair| of_pair(*pair))).collect();
    let text = text.ok().filter(|text| rest.is_empty() && !text.contains('\0'));
    text.ok_or_else(|| io::Error::other("it begins as UTF-16 text, but is none"))
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::thread;

    use rustix::fs::CWD;
    use rustix::fs::FileType;
    use rustix::fs::Mode;

    use super::*;

    #[test]
    fn text_of_utf_16_is_read_by_its_mark() {
        let little = b"\xff\xfea\0\xe9\0\n\0".to_vec();
        let big = b"\xfe\xff\0a\0\xe9\0\n".to_vec();
        assert_eq!(checked_yaml(little).unwrap(), "aé\n");
        assert_eq!(checked_yaml(big).unwrap(), "aé\n");
        assert!(checked_yaml(b"\xff\xfea\0\xe9".to_vec()).is_err());
        assert!(checked_yaml(b"\xff\xfe\0\0a\0\0\0".to_vec()).is_err());
        assert_eq!(checked_yaml(b"a".to_vec()).unwrap(), "a");
    }

    #[test]
    fn a_pipe_is_read_if_somebody_writes_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_eq!(read(&path).unwrap_err().to_string(), "it is a pipe, and nobody writes to it");
        thread::scope(|scope| {
            scope.spawn(|| OpenOptions::new().write(true).open(&path).unwrap().write_all(&[b'a'; 100_000]).unwrap());
            assert_eq!(read(&path).unwrap().len(), 100_000);
        });
    }
}
