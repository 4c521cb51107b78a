//! Keeps a layer's blob beside its directory, so that what is pushed or saved is, to the byte, what was pulled.
//!
//! A compressed blob is kept as it came; a plain tar stream is kept in zstd. Keeping is a favour and no duty: where
//! the disk has no room for it the layer is as good without.

use std::fs;
use std::fs::File;
use std::io;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::path::Path;

use serde::Deserialize;
use serde::Serialize;
use sha2::Digest as _;
use sha2::Sha256;

use super::compression::Compression;
use super::digest::Digest;
use super::store;
use crate::failure::Doing;
use crate::failure::Result;
use crate::making::DraftFile;
use crate::place::Home;

/// For plain streams: about as fast as the disk, and a third of the size.
const QUICK: i32 = 1;

/// A file under `blobs/` from which a layer's tar stream can be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) digest: String,
    pub(super) size: u64,
    pub(super) compression: Compression,
    /// It came plain and was compressed by us, in a form that is nobody else's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) repacked: bool,
}

impl Kept {
    /// Opens the file; none if it is not there.
    pub(super) fn open(&self, home: &Home) -> Result<Option<File>> {
        let path = store::blob_path(home, &Digest::parse(&self.digest)?);
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some).doing(|| format!("cannot read {}", path.display())),
        }
    }
}

/// What is in a stream that is compressed so.
pub(super) fn plain<'a>(file: impl Read + Send + 'a, compression: Compression) -> io::Result<Box<dyn Read + Send + 'a>> {
    let reader = BufReader::with_capacity(256 << 10, file);
    Ok(match compression {
        Compression::None => Box::new(reader),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(reader)?),
    })
}

/// Writes what comes in to a draft.
pub(super) struct Keeper<'a> {
    home: &'a Home,
    sink: Sink,
}

enum Sink {
    Unopened,
    Whole(DraftFile, u64),
    Packed(zstd::stream::write::Encoder<'static, Hashed>),
    GivenUp,
}

struct Hashed {
    draft: DraftFile,
    hasher: Sha256,
    written: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.draft.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.draft.file.flush()
    }
}

impl<'a> Keeper<'a> {
    pub(super) fn new(home: &'a Home) -> Keeper<'a> {
        Keeper { home, sink: Sink::Unopened }
    }

    /// The stream begins and is compressed so.
    pub(super) fn begin(&mut self, compression: Compression) {
        let opened = DraftFile::begin(self.home).and_then(|draft| match compression {
            Compression::None => {
                let hashed = Hashed { draft, hasher: Sha256::new(), written: 0 };
                zstd::stream::write::Encoder::new(hashed, QUICK).map(Sink::Packed)
            }
            _ => Ok(Sink::Whole(draft, 0)),
        });
        self.sink = opened.unwrap_or(Sink::GivenUp);
    }

    /// More of the stream.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let written = match &mut self.sink {
            Sink::Whole(draft, size) => {
                *size += bytes.len() as u64;
                draft.file.write_all(bytes)
            }
            Sink::Packed(encoder) => encoder.write_all(bytes),
            Sink::Unopened | Sink::GivenUp => return,
        };
        if written.is_err() {
            self.sink = Sink::GivenUp;
        }
    }

    /// The stream ended well and has this digest.
    pub(super) fn finish(self, digest: &Digest, compression: Compression) -> Option<KeptDraft> {
        match self.sink {
            Sink::Whole(draft, size) => {
                Some(KeptDraft { draft, kept: Kept { digest: digest.to_string(), size, compression, repacked: false } })
            }
            Sink::Packed(encoder) => {
                let hashed = encoder.finish().ok()?;
                let digest = Digest::finish(hashed.hasher).to_string();
                let kept = Kept { digest, size: hashed.written, compression: Compression::Zstd, repacked: true };
                Some(KeptDraft { draft: hashed.draft, kept })
            }
            Sink::Unopened | Sink::GivenUp => None,
        }
    }
}

/// A whole file that has not got its name yet.
#[derive(Debug)]
pub(super) struct KeptDraft {
    draft: DraftFile,
    kept: Kept,
}

impl KeptDraft {
    pub(super) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Gives the file its name among the blobs.
    pub(super) fn commit(self, home: &Home) -> Result<()> {
        let path = store::blob_path(home, &Digest::parse(&self.kept.digest)?);
        let placed = fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).and_then(|()| fs::rename(self.draft.path(), &path));
        placed.doing(|| format!("cannot store {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept_of(compression: Compression, bytes: &[u8]) -> (tempfile::TempDir, Home, Kept) {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(directory.path().join("root"), directory.path().join("run"));
        let mut keeper = Keeper::new(&home);
        keeper.begin(compression);
        bytes.chunks(1000).for_each(|part| keeper.take(part));
        let draft = keeper.finish(&Digest::of(bytes), compression).unwrap();
        let kept = draft.kept().clone();
        draft.commit(&home).unwrap();
        assert_eq!(fs::read_dir(home.making()).unwrap().count(), 0);
        (directory, home, kept)
    }

    #[test]
    fn a_compressed_blob_is_kept_as_it_is_and_a_plain_one_comes_back_plain() {
        let bytes = b"a tar stream, or so ".repeat(5000);
        let (_directory, home, kept) = kept_of(Compression::Gzip, &bytes);
        assert_eq!((kept.digest.as_str(), kept.size), (Digest::of(&bytes).as_str(), bytes.len() as u64));
        let (_other, home_of_plain, plain_one) = kept_of(Compression::None, &bytes);
        assert!(plain_one.size < kept.size && plain_one.compression == Compression::Zstd);
        let mut back = Vec::new();
        let file = plain_one.open(&home_of_plain).unwrap().unwrap();
        plain(file, plain_one.compression).unwrap().read_to_end(&mut back).unwrap();
        assert_eq!(back, bytes);
        fs::remove_dir_all(home.blobs()).unwrap();
        assert!(kept.open(&home).unwrap().is_none());
    }

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::at(directory.path().join("root"), directory.path().join("run"));
        let mut keeper = Keeper::new(&home);
        keeper.begin(Compression::Zstd);
        keeper.take(b"beginning");
        drop(keeper);
        assert_eq!(fs::read_dir(home.making()).unwrap().count(), 0);
    }
}
