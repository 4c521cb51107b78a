//! A layer of the store as a blob again: as it was kept, or written anew from its directory.

use std::io;
use std::io::Read;

use sha2::Digest as _;
use sha2::Sha256;

use super::compression::Compression;
use super::digest::Digest;
use super::keep;
use super::keep::Kept;
use super::layer_records;
use super::layer_records::LayerRecord;
use super::manifest::Blob;
use super::tar_writer::Writer;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::state;

const CHUNK: usize = 256 << 10;

/// What takes the bytes of a blob.
pub(super) type Sink<'a> = dyn FnMut(&[u8]) -> io::Result<()> + 'a;

/// A layer of the store.
pub(super) struct LayerBlob<'a> {
    home: &'a Home,
    key: String,
    pub(super) record: LayerRecord,
    pub(super) diff_id: Digest,
}

impl<'a> LayerBlob<'a> {
    /// Finds the layer by the name of its directory.
    pub(super) fn find(home: &'a Home, key: &str) -> Result<LayerBlob<'a>> {
        let record: LayerRecord = state::read_json(&layer_records::layer_record(home, key))?;
        let diff_id = Digest::parse(&record.diff_id)?;
        Ok(LayerBlob { home, key: key.to_owned(), record, diff_id })
    }

    /// The blob it can be given as without work: as it came, or plain.
    pub(super) fn ready(&self) -> Result<Blob> {
        if let Some(kept) = self.original()? {
            return Ok(Blob { digest: Digest::parse(&kept.digest)?, size: kept.size, compression: Some(kept.compression) });
        }
        Ok(Blob { digest: self.diff_id.clone(), size: self.record.tar_size, compression: Some(Compression::None) })
    }

    /// What was kept, if it is there and as it came.
    pub(super) fn original(&self) -> Result<Option<&Kept>> {
        let kept = self.record.kept.as_ref().filter(|kept| !kept.repacked);
        Ok(match kept {
            Some(kept) if self.has(kept)? => Some(kept),
            _ => None,
        })
    }

    fn has(&self, kept: &Kept) -> Result<bool> {
        Ok(kept.open(self.home)?.is_some_and(|file| file.metadata().is_ok_and(|found| found.len() == kept.size)))
    }

    /// Writes what [`LayerBlob::ready`] speaks of.
    pub(super) fn write_ready(&self, sink: &mut Sink<'_>) -> Result<()> {
        match self.original()?.map(|kept| kept.open(self.home)).transpose()?.flatten() {
            Some(file) => {
                let digest = self.original()?.map(|kept| kept.digest.clone()).unwrap_or_default();
                self.checked(&Digest::parse(&digest)?, sink, |sink| pump(file, sink))
            }
            None => self.write_plain(sink),
        }
    }

    /// Writes the plain tar stream.
    pub(super) fn write_plain(&self, sink: &mut Sink<'_>) -> Result<()> {
        let kept = self.record.kept.as_ref();
        let file = kept.map(|kept| kept.open(self.home)).transpose()?.flatten();
        match (kept, file) {
            (Some(kept), Some(file)) => self.checked(&self.diff_id, sink, |sink| pump(keep::plain(file, kept.compression)?, sink)),
            _ => self.checked(&self.diff_id, sink, |sink| {
                let mut writer = Writer::new(sink);
                writer.tree(&layer_records::layer_directory(self.home, &self.key))?;
                writer.finish().map(drop)
            }),
        }
    }

    /// Lets `write` write and compares the digest of what it wrote with the one it must have.
    fn checked(&self, digest: &Digest, sink: &mut Sink<'_>, write: impl FnOnce(&mut Sink<'_>) -> io::Result<()>) -> Result<()> {
        let cannot = || format!("cannot give layer {} again", self.diff_id.short());
        let mut hasher = Sha256::new();
        write(&mut |bytes: &[u8]| {
            hasher.update(bytes);
            sink(bytes)
        })
        .doing(cannot)?;
        let found = Digest::finish(hasher);
        if found == *digest {
            return Ok(());
        }
        let failure = Failure::new(cannot()).because(format!("what the store has of it has the digest {found}, not {digest}"));
        Err(failure.hint("repair the store: coracle system check --repair"))
    }
}

/// Gives all that can be read to the sink.
pub(super) fn pump(mut from: impl Read, sink: &mut Sink<'_>) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => sink(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
