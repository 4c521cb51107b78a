//! Reads the extended attributes of a file.

use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;

/// Names and values, sorted by name; none on a file system that has no such thing.
pub(super) fn of(file: &impl AsFd) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let names = match sized(|buffer| rustix::fs::flistxattr(file, buffer)) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        names => names?,
    };
    let mut all = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        match sized(|buffer| rustix::fs::fgetxattr(file, name, buffer)) {
            // Removed since it was listed.
            Err(Errno::NODATA) => {}
            value => all.push((name.to_vec(), value?)),
        }
    }
    all.sort();
    Ok(all)
}

/// Calls with a buffer that grows until it is large enough.
fn sized(call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 1024];
    loop {
        match call(&mut buffer) {
            Err(Errno::RANGE) => buffer.resize(buffer.len() * 4, 0),
            length => {
                buffer.truncate(length?);
                return Ok(buffer);
            }
        }
    }
}
