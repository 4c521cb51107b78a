//! Reads a tar stream entry by entry: POSIX (ustar, PAX), GNU and pre-POSIX forms, sparse files included.
//!
//! Headers are decoded by the `tar` crate's [`Header`]; the walk from one to the next is ours, because the crate's
//! own reads extension records without a bound, splits PAX records at line breaks (binary xattrs have some) and
//! does not know PAX sparse files. Every size that the archive names is checked before it is believed.

use std::io;
use std::io::BufRead;
use std::io::Seek;

use tar::Header;

use super::pax::Extensions;
use super::pax::malformed;

const BLOCK: u64 = 512;
/// Go's reader has the same bound for PAX records; no file system of Linux takes a longer name.
const LONGEST_EXTENSION: u64 = 1 << 20;
/// More pieces than any file needs whose data fits in memory as a map: 16 bytes each.
const MOST_PIECES: u64 = 1 << 20;

/// What an entry makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    Fifo,
    Character,
    Block,
}

/// One entry, its names as they stand in the archive.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: Kind,
    /// Only the permission bits, setuid, setgid and sticky included.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds since 1970 and nanoseconds.
    pub(super) mtime: (i64, u32),
    /// The size of the file that is made.
    pub(super) size: u64,
    pub(super) device: (u32, u32),
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the data goes, if not all of it from the start on.
    pub(super) pieces: Option<Vec<Piece>>,
}

/// A run of data in a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// A tar stream and where we are in it.
pub(super) struct Archive<R> {
    input: R,
    /// Data of the current entry that nobody has taken yet.
    left: u64,
    /// What fills the last block.
    padding: u64,
}

impl<R: BufRead> Archive<R> {
    pub(super) fn new(input: R) -> Archive<R> {
        Archive { input, left: 0, padding: 0 }
    }

    /// The next entry that makes something; what is left of the one before is skipped.
    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut extensions = Extensions::default();
        loop {
            self.finish_entry()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let size = number(&header.as_old().size)?;
            let size = u64::try_from(size).map_err(|_| malformed("negative size"))?;
            match header.as_old().linkflag[0] {
                b'x' => extensions.read_records(&self.extension(size)?)?,
                // A global header speaks of the archive as a whole (git writes a commit id); Docker ignores it too.
                b'g' => self.begin(size)?,
                b'L' => extensions.path = Some(until_nul(&self.extension(size)?).to_vec()),
                b'K' => extensions.link = Some(until_nul(&self.extension(size)?).to_vec()),
                _ => return self.entry(&header, size, extensions).map(Some),
            }
        }
    }

    /// Hands the next `length` bytes of data to `take`, in pieces as they come.
    pub(super) fn data(&mut self, mut length: u64, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        if length > self.left {
            return Err(malformed("more data expected than the entry has"));
        }
        self.left -= length;
        while length > 0 {
            let ready = self.input.fill_buf()?;
            if ready.is_empty() {
                return Err(malformed("the archive ends inside a file"));
            }
            let part = ready.len().min(usize::try_from(length).unwrap_or(usize::MAX));
            take(&ready[..part])?;
            self.input.consume(part);
            length -= part as u64;
        }
        Ok(())
    }

    /// Reads on to the very end of the stream, which may be far behind the end of the archive.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        loop {
            let ready = self.input.fill_buf()?.len();
            if ready == 0 {
                return Ok(());
            }
            self.input.consume(ready);
        }
    }

    /// Gives back the stream.
    pub(super) fn into_inner(self) -> R {
        self.input
    }

    fn begin(&mut self, size: u64) -> io::Result<()> {
        if size > i64::MAX as u64 {
            return Err(malformed("size out of range"));
        }
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK) - size;
        Ok(())
    }

    fn finish_entry(&mut self) -> io::Result<()> {
        self.data(self.left, |_| Ok(()))?;
        // The very last entry's padding may be missing: then the next header is missing too.
        while self.padding > 0 {
            let ready = self.input.fill_buf()?.len() as u64;
            if ready == 0 {
                self.padding = 0;
            }
            let part = ready.min(self.padding);
            self.input.consume(part as usize);
            self.padding -= part;
        }
        Ok(())
    }

    /// The next block as a header; none at the end of the archive or of the stream.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut header = Header::new_old();
        let bytes = header.as_mut_bytes();
        let mut filled = 0;
        while filled < bytes.len() {
            let ready = self.input.fill_buf()?;
            if ready.is_empty() && filled == 0 {
                return Ok(None);
            }
            if ready.is_empty() {
                return Err(malformed("the archive ends inside a header"));
            }
            let part = ready.len().min(bytes.len() - filled);
            bytes[filled..filled + part].copy_from_slice(&ready[..part]);
            self.input.consume(part);
            filled += part;
        }
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        check_sum(&header)?;
        Ok(Some(header))
    }

    /// The whole data of an extension header.
    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > LONGEST_EXTENSION {
            return Err(malformed("an extension header is longer than 1 MiB"));
        }
        self.begin(size)?;
        let mut bytes = Vec::new();
        self.data(size, |part| {
            bytes.extend_from_slice(part);
            Ok(())
        })?;
        Ok(bytes)
    }

    fn entry(&mut self, header: &Header, size: u64, extensions: Extensions) -> io::Result<Entry> {
        let size = extensions.size.unwrap_or(size);
        self.begin(size)?;
        let old = header.as_old();
        let path = extensions.path_or(|| header.path_bytes().into_owned());
        let kind = kind(old.linkflag[0], &path)?;
        let device = if matches!(kind, Kind::Character | Kind::Block) { device(header)? } else { (0, 0) };
        let mut entry = Entry {
            path,
            kind,
            // Some writers put the file's type into the upper bits.
            mode: (number(&old.mode)? & 0o7777) as u32,
            uid: id(extensions.uid.map_or_else(|| number(&old.uid), Ok)?)?,
            gid: id(extensions.gid.map_or_else(|| number(&old.gid), Ok)?)?,
            mtime: extensions.mtime.map_or_else(|| number(&old.mtime).map(|seconds| (seconds, 0)), Ok)?,
            size,
            device,
            pieces: None,
            link: extensions.link.clone().unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned()),
            xattrs: Vec::new(),
        };
        if kind == Kind::File {
            self.find_pieces(&mut entry, header, &extensions)?;
        }
        entry.xattrs = extensions.xattrs;
        Ok(entry)
    }

    /// Finds out whether the file is sparse, in any of the four ways to say so, and checks what is said.
    fn find_pieces(&mut self, entry: &mut Entry, header: &Header, extensions: &Extensions) -> io::Result<()> {
        let (pieces, real_size) = if header.as_old().linkflag[0] == b'S' {
            self.gnu_pieces(header)?
        } else if let Some(real_size) = extensions.sparse_size() {
            let map = if extensions.sparse_map_in_data() { self.map_in_data()? } else { extensions.sparse_map.clone() };
            (pairs(&map)?, real_size)
        } else {
            return Ok(());
        };
        let mut end = 0;
        let mut total = 0u64;
        for piece in &pieces {
            let past = piece.offset.checked_add(piece.length).ok_or_else(|| malformed("sparse map out of range"))?;
            if piece.offset < end || past > real_size {
                return Err(malformed("sparse map overlaps itself or the end of the file"));
            }
            end = past;
            total += piece.length;
        }
        if total > self.left || real_size > i64::MAX as u64 {
            return Err(malformed("sparse map says more than there is"));
        }
        entry.size = real_size;
        entry.pieces = Some(pieces);
        Ok(())
    }

    fn gnu_pieces(&mut self, header: &Header) -> io::Result<(Vec<Piece>, u64)> {
        let gnu = header.as_gnu().ok_or_else(|| malformed("sparse file without a GNU header"))?;
        let mut map = Vec::new();
        let mut push = |slots: &[tar::GnuSparseHeader]| -> io::Result<()> {
            for slot in slots.iter().filter(|slot| slot.offset[0] != 0 && slot.numbytes[0] != 0) {
                map.push(unsigned(&slot.offset)?);
                map.push(unsigned(&slot.numbytes)?);
            }
            Ok(())
        };
        push(&gnu.sparse)?;
        let mut more = gnu.is_extended();
        let mut blocks = 0;
        while more {
            blocks += 1;
            // The extension blocks stand before the data and are not counted in its size.
            let mut block = tar::GnuExtSparseHeader::new();
            self.read_block(block.as_mut_bytes())?;
            push(&block.sparse)?;
            more = block.is_extended();
            if blocks * 21 > MOST_PIECES {
                return Err(malformed("sparse map has too many pieces"));
            }
        }
        Ok((pairs(&map)?, unsigned(&gnu.realsize)?))
    }

    fn read_block(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.input.read_exact(bytes).map_err(|_| malformed("the archive ends inside a sparse map"))
    }

    /// PAX 1.0: the map is decimal lines at the start of the data, filled up to a whole block.
    fn map_in_data(&mut self) -> io::Result<Vec<u64>> {
        let mut numbers: Vec<u64> = Vec::new();
        let mut current: Option<u64> = None;
        let mut wanted = 1;
        while (numbers.len() as u64) < wanted {
            let mut block = Vec::with_capacity(BLOCK as usize);
            self.data(BLOCK, |part| {
                block.extend_from_slice(part);
                Ok(())
            })?;
            for byte in block {
                match byte {
                    _ if numbers.len() as u64 == wanted => break,
                    b'0'..=b'9' => {
                        let grown = current.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(u64::from(byte - b'0')));
                        current = Some(grown.ok_or_else(|| malformed("sparse map out of range"))?);
                    }
                    b'\n' => numbers.push(current.take().ok_or_else(|| malformed("sparse map has an empty line"))?),
                    _ => return Err(malformed("sparse map is not a list of numbers")),
                }
                if numbers.len() == 1 && wanted == 1 {
                    if numbers[0] > MOST_PIECES {
                        return Err(malformed("sparse map has too many pieces"));
                    }
                    wanted = 1 + 2 * numbers[0];
                }
            }
        }
        Ok(numbers.split_off(1))
    }
}

impl<R: BufRead + Seek> Archive<R> {
    /// Where in the stream the data of the current entry begins.
    pub(super) fn position(&mut self) -> io::Result<u64> {
        self.input.stream_position()
    }

    /// Goes past the data of the current entry without reading it.
    pub(super) fn skip(&mut self) -> io::Result<()> {
        let whole = self.left.saturating_add(self.padding);
        let forward = i64::try_from(whole).map_err(|_| malformed("size out of range"))?;
        self.input.seek_relative(forward)?;
        (self.left, self.padding) = (0, 0);
        Ok(())
    }
}

fn pairs(map: &[u64]) -> io::Result<Vec<Piece>> {
    if map.len() % 2 == 1 || map.len() as u64 / 2 > MOST_PIECES {
        return Err(malformed("sparse map is not made of pairs"));
    }
    Ok(map.chunks(2).map(|pair| Piece { offset: pair[0], length: pair[1] }).collect())
}

fn kind(flag: u8, path: &[u8]) -> io::Result<Kind> {
    Ok(match flag {
        // Before POSIX a directory was a file whose name ends in a slash.
        0 if path.ends_with(b"/") => Kind::Directory,
        0 | b'0' | b'7' | b'S' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::Character,
        b'4' => Kind::Block,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        other => return Err(malformed(format!("unknown type `{}` of an entry", char::from(other).escape_default()))),
    })
}

fn device(header: &Header) -> io::Result<(u32, u32)> {
    // The fields stand at the same place in both POSIX and GNU headers.
    let bytes = header.as_bytes();
    let part = |field: &[u8], bits: u32| -> io::Result<u32> {
        let number = unsigned(field)?;
        if number >> bits != 0 { Err(malformed("device number out of range")) } else { Ok(number as u32) }
    };
    Ok((part(&bytes[329..337], 12)?, part(&bytes[337..345], 20)?))
}

fn id(number: i64) -> io::Result<u32> {
    // The last one is (uid_t)-1, which chown takes as "leave it".
    u32::try_from(number).ok().filter(|id| *id != u32::MAX).ok_or_else(|| malformed("owner out of range"))
}

fn unsigned(field: &[u8]) -> io::Result<u64> {
    u64::try_from(number(field)?).map_err(|_| malformed("negative number in a header"))
}

/// A number of a header: octal text, or GNU's big-endian binary form with the top bit set.
fn number(field: &[u8]) -> io::Result<i64> {
    if field[0] & 0x80 != 0 {
        return binary(field);
    }
    let start = field.iter().position(|byte| !matches!(byte, b' ' | 0)).unwrap_or(field.len());
    let digits = field[start..].split(|byte| matches!(byte, b' ' | 0)).next().unwrap_or_default();
    digits.iter().try_fold(0i64, |sum, byte| match byte {
        b'0'..=b'7' => sum.checked_mul(8).map(|sum| sum + i64::from(byte - b'0')).ok_or_else(|| malformed("number out of range")),
        _ => Err(malformed("a number in a header is not octal")),
    })
}

fn binary(field: &[u8]) -> io::Result<i64> {
    let negative = field[0] & 0x40 != 0;
    let mut value: i128 = if negative { -1 } else { 0 };
    for (place, byte) in field.iter().enumerate() {
        let byte = if place == 0 && !negative { byte & 0x7f } else { *byte };
        value = (value << 8) | i128::from(byte);
    }
    i64::try_from(value).map_err(|_| malformed("number out of range"))
}

fn check_sum(header: &Header) -> io::Result<()> {
    let bytes = header.as_bytes();
    let stated = number(&header.as_old().cksum)?;
    let others = || bytes[..148].iter().chain(&bytes[156..]);
    let unsigned: i64 = others().map(|byte| i64::from(*byte)).sum::<i64>() + 8 * 32;
    // Some old writers summed signed chars.
    let matches = stated == unsigned || stated == others().map(|byte| i64::from(*byte as i8)).sum::<i64>() + 8 * 32;
    if matches { Ok(()) } else { Err(malformed("the checksum of a header does not match: not a tar archive, or a damaged one")) }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(name: &str, flag: u8, size: u64) -> Vec<u8> {
        let mut header = Header::new_ustar();
        header.set_path(name).unwrap();
        header.set_entry_type(tar::EntryType::new(flag));
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(size);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    fn with_data(name: &str, flag: u8, data: &[u8]) -> Vec<u8> {
        let mut bytes = block(name, flag, data.len() as u64);
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    fn paths(bytes: &[u8]) -> io::Result<Vec<String>> {
        let mut archive = Archive::new(bytes);
        let mut paths = Vec::new();
        while let Some(entry) = archive.next()? {
            paths.push(String::from_utf8(entry.path).unwrap());
        }
        Ok(paths)
    }

    #[test]
    fn entries_come_in_order_and_data_is_skipped() {
        let bytes = [with_data("a", b'0', &[1; 700]), with_data("b", b'0', b"x"), vec![0; 1024]].concat();
        assert_eq!(paths(&bytes).unwrap(), ["a", "b"]);
    }

    #[test]
    fn a_cut_archive_is_refused() {
        let whole = with_data("a", b'0', &[1; 700]);
        assert!(paths(&whole[..600]).is_err());
        assert!(paths(&whole[..300]).is_err());
    }

    #[test]
    fn names_of_extensions_replace_the_headers() {
        let bytes =
            [with_data("x", b'x', b"12 path=pax\n"), with_data("short", b'0', b"1"), with_data("L", b'L', b"long\0"), block("s", b'0', 0)]
                .concat();
        assert_eq!(paths(&bytes).unwrap(), ["pax", "long"]);
    }

    #[test]
    fn an_endless_extension_is_not_read() {
        assert!(paths(&block("x", b'x', 1 << 40)).unwrap_err().to_string().contains("1 MiB"));
    }

    #[test]
    fn numbers_are_octal_or_binary_and_never_wrap() {
        assert_eq!(number(b"0000755\0").unwrap(), 0o755);
        assert_eq!(number(b"  755 \0\0").unwrap(), 0o755);
        assert_eq!(number(&[0; 8]).unwrap(), 0);
        assert_eq!(number(&[0x80, 0, 0, 0, 1, 0, 0, 7]).unwrap(), (1 << 24) + 7);
        assert_eq!(number(&[0xff; 8]).unwrap(), -1);
        assert!(number(b"zzzzzzz\0").is_err());
        assert!(number(&[0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(id((1 << 32) + 7).is_err());
        assert!(id(-5).is_err());
    }

    #[test]
    fn a_sparse_map_must_fit_its_file() {
        let sparse = |map: &str, real: &str| {
            let record = |key: &str, value: &str| {
                let body = format!(" {key}={value}\n");
                let mut length = body.len() + 1;
                while length != body.len() + length.to_string().len() {
                    length = body.len() + length.to_string().len();
                }
                format!("{length}{body}")
            };
            let records = record("GNU.sparse.size", real) + &record("GNU.sparse.map", map);
            let bytes = [with_data("x", b'x', records.as_bytes()), with_data("s", b'0', &[7; 1024])].concat();
            Archive::new(&bytes[..]).next().map(|entry| entry.unwrap().pieces.unwrap().len())
        };
        assert_eq!(sparse("0,512,4096,512", "8192").unwrap(), 2);
        assert!(sparse("0,512,256,512", "8192").is_err());
        assert!(sparse("0,512,8000,512", "8192").is_err());
        assert!(sparse("0,512,4096", "8192").is_err());
        assert!(sparse("0,512,4096,5120", "819200").is_err());
    }
}
