//! The records of a PAX extended header, and what they say about the entry that follows.

use std::io;

const XATTR: &[u8] = b"SCHILY.xattr.";

/// What extension headers say about the next entry.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Offsets and lengths in turn, as versions 0.0 and 0.1 give them.
    pub(super) sparse_map: Vec<u64>,
    sparse_name: Option<Vec<u8>>,
    sparse_size: Option<u64>,
    sparse_major: u64,
}

impl Extensions {
    /// Takes in the records of one extended header.
    pub(super) fn read_records(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (key, value, rest) = split_record(bytes)?;
            self.set(key, value)?;
            bytes = rest;
        }
        Ok(())
    }

    /// The name of the entry, from whichever header has the last word on it.
    pub(super) fn path_or(&self, of_header: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
        self.sparse_name.clone().or_else(|| self.path.clone()).unwrap_or_else(of_header)
    }

    /// The size of the file with its holes, if these records make it a sparse one.
    pub(super) fn sparse_size(&self) -> Option<u64> {
        self.sparse_size
    }

    /// Whether the map stands before the data (version 1.0) and not in the records.
    pub(super) fn sparse_map_in_data(&self) -> bool {
        self.sparse_major > 0
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        // An empty value takes an earlier one back (pax, "Extended Header").
        let given = !value.is_empty();
        match key {
            b"path" => self.path = given.then(|| without_nul(value)).transpose()?,
            b"linkpath" => self.link = given.then(|| without_nul(value)).transpose()?,
            b"size" => self.size = given.then(|| decimal(value)).transpose()?,
            b"uid" => self.uid = given.then(|| signed(value)).transpose()?,
            b"gid" => self.gid = given.then(|| signed(value)).transpose()?,
            b"mtime" => self.mtime = given.then(|| seconds(value)).transpose()?,
            b"GNU.sparse.name" => self.sparse_name = Some(without_nul(value)?),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse_size = Some(decimal(value)?),
            b"GNU.sparse.major" => self.sparse_major = decimal(value)?,
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => self.sparse_map.push(decimal(value)?),
            b"GNU.sparse.map" => self.sparse_map = value.split(|byte| *byte == b',').map(decimal).collect::<io::Result<_>>()?,
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    self.xattrs.retain(|(old, _)| old != name);
                    self.xattrs.push((without_nul(name)?, value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// Splits the first record, `length key=value\n` where the length counts itself, from the rest.
fn split_record(bytes: &[u8]) -> io::Result<(&[u8], &[u8], &[u8])> {
    let broken = || malformed("a PAX record is malformed");
    let blank = bytes.iter().take(8).position(|byte| *byte == b' ').ok_or_else(broken)?;
    let length = usize::try_from(decimal(&bytes[..blank])?).map_err(|_| broken())?;
    if length > bytes.len() || length < blank + 3 || bytes[length - 1] != b'\n' {
        return Err(broken());
    }
    let record = &bytes[blank + 1..length - 1];
    let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(broken)?;
    if equals == 0 {
        return Err(broken());
    }
    Ok((&record[..equals], &record[equals + 1..], &bytes[length..]))
}

fn without_nul(value: &[u8]) -> io::Result<Vec<u8>> {
    if value.contains(&0) { Err(malformed("a name with a NUL in it")) } else { Ok(value.to_vec()) }
}

fn decimal(text: &[u8]) -> io::Result<u64> {
    std::str::from_utf8(text)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| malformed("a PAX record has a value that is no number"))
}

fn signed(text: &[u8]) -> io::Result<i64> {
    match text.strip_prefix(b"-") {
        Some(rest) => Ok(-i64::try_from(decimal(rest)?).unwrap_or(i64::MAX)),
        None => i64::try_from(decimal(text)?).map_err(|_| malformed("number out of range")),
    }
}

/// `1600000000.123456789` as seconds and nanoseconds; further digits are dropped.
fn seconds(text: &[u8]) -> io::Result<(i64, u32)> {
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &[][..]),
    };
    let negative = whole.starts_with(b"-");
    let whole = signed(whole)?;
    let mut nanoseconds = 0;
    for place in 0..9 {
        let digit = fraction.get(place).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return Err(malformed("a PAX record has a time that is no number"));
        }
        nanoseconds = nanoseconds * 10 + u32::from(digit - b'0');
    }
    // timespec counts nanoseconds forward from the second before.
    Ok(if negative && nanoseconds > 0 { (whole.saturating_sub(1), 1_000_000_000 - nanoseconds) } else { (whole, nanoseconds) })
}

/// An error that says what is wrong with the archive.
pub(super) fn malformed(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Extensions> {
        let mut extensions = Extensions::default();
        extensions.read_records(bytes).map(|()| extensions)
    }

    #[test]
    fn values_may_hold_anything_even_line_breaks() {
        let extensions = read(b"28 SCHILY.xattr.user.a=\0\xff=\n\n12 uid=4711\n13 gid=-4711\n").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(extensions.xattrs, [(b"user.a".to_vec(), b"\0\xff=\n".to_vec())]);
        assert_eq!((extensions.uid, extensions.gid), (Some(4711), Some(-4711)));
    }

    #[test]
    fn broken_records_are_refused() {
        for bytes in [&b"9999 path=x\n"[..], b"0 path=x\n", b"10 path=xy", b"xx path=x\n", b"8 pathx\n", b"13 uid=12abc\n", b"11 size=-3\n"]
        {
            assert!(read(bytes).is_err(), "{:?}", bytes.escape_ascii().to_string());
        }
    }

    #[test]
    fn an_empty_value_takes_the_earlier_one_back() {
        assert_eq!(read(b"10 path=x\n8 path=\n").unwrap_or_else(|error| panic!("{error}")).path, None);
    }

    #[test]
    fn times_have_nanoseconds() {
        assert_eq!(seconds(b"1600000000.123456789").unwrap(), (1_600_000_000, 123_456_789));
        assert_eq!(seconds(b"5.5").unwrap(), (5, 500_000_000));
        assert_eq!(seconds(b"-1.5").unwrap(), (-2, 500_000_000));
        assert!(seconds(b"1e9").is_err());
    }
}
