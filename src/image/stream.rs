//! One layer from the wire to its directory in one pass.
//!
//! ```text
//! thread 1:  registry -> sha256 of what came -> inflate -> chunks
//! thread 2:  chunks -> sha256 of the tar -> unpack
//! ```

use std::fmt;
use std::io;
use std::io::BufRead;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;

use sha2::Digest as _;
use sha2::Sha256;

use super::Watch;
use super::archive::Archive;
use super::digest::Digest;
use super::manifest::Blob;
use super::registry::Chunk;
use super::registry::Download;
use super::registry::Remote;
use super::registry::Trouble;
use super::unpack::Unpacked;
use super::unpack::unpack;
use crate::failure::Failure;
use crate::failure::Result;

const CHUNK: usize = 256 << 10;
/// How many chunks may wait between the two threads.
const WAITING: usize = 8;
/// A window this wide (2^27 bytes) is what zstd itself takes without being asked.
const WIDEST_WINDOW: u32 = 27;

/// The source of a stream gave out; what it was stands elsewhere.
#[derive(Debug)]
pub(super) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stream broke off")
    }
}

impl std::error::Error for Broken {}

/// Where a layer comes from and what it must turn out to be.
pub(super) struct Order<'a> {
    pub(super) remote: &'a Remote<'a>,
    pub(super) blob: &'a Blob,
    pub(super) diff_id: &'a Digest,
    pub(super) watch: &'a dyn Watch,
    /// Set when another layer failed, so that this one need not be finished.
    pub(super) stop: &'a AtomicBool,
    /// Set when it was the connection that failed and not what came over it.
    pub(super) cut: &'a AtomicBool,
}

/// Fetches, checks and unpacks the layer into `directory`, which is empty.
pub(super) fn receive(order: &Order<'_>, directory: &Path) -> Result<(Unpacked, u64)> {
    let (sender, receiver) = sync_channel(WAITING);
    let (source, made) = std::thread::scope(|scope| {
        let source = scope.spawn(move || inflate(order, &sender));
        let mut archive = Archive::new(Chunks::new(receiver));
        let made = unpack(&mut archive, directory);
        let chunks = archive.into_inner();
        // Gone before we wait: a thread that has nobody to send to ends.
        let summary = (Digest::finish(chunks.hasher), chunks.total);
        drop(chunks.receiver);
        (source.join(), made.map(|made| (made, summary)))
    });
    let cannot = || Failure::new(format!("cannot unpack layer {}", order.blob.digest));
    let source = source.unwrap_or_else(|_| Err(Some(cannot().because("the thread that fetched it ended"))));
    match (source, made) {
        (Err(Some(failure)), _) => Err(failure),
        (_, Err(error)) => Err(explain(cannot().because(&error), &error)),
        (Err(None), _) => Err(cannot().because("the stream broke off")),
        (Ok(()), Ok((made, (digest, total)))) if digest == *order.diff_id => Ok((made, total)),
        (Ok(()), Ok((_, (digest, _)))) => {
            Err(cannot().because(format!("its content has the digest {digest}, the image's configuration says {}", order.diff_id)))
        }
    }
}

fn explain(failure: Failure, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            failure.hint("make room: the layers lie in the `layers` directory of Coracle's root")
        }
        io::ErrorKind::ReadOnlyFilesystem => failure.hint("name another directory with `--root DIR`"),
        _ => failure,
    }
}

/// Thread 1. The error is none if the other thread stopped listening: then it knows why.
fn inflate(order: &Order<'_>, sender: &SyncSender<Vec<u8>>) -> std::result::Result<(), Option<Failure>> {
    let mut source = Source::new(order);
    let outcome = inflate_into(&mut source, sender);
    if let Some(trouble) = source.trouble.take() {
        order.cut.store(trouble.is_of_the_network(), Ordering::Relaxed);
        return Err(Some(Failure::new(format!("cannot fetch layer {}", order.blob.digest)).because(trouble.text)));
    }
    match outcome {
        Ok(()) => {}
        Err(error) if error.get_ref().is_some_and(|inner| inner.is::<Broken>()) => return Err(None),
        Err(error) => return Err(Some(Failure::new(format!("cannot decompress layer {}", order.blob.digest)).because(error))),
    }
    let digest = Digest::finish(source.hasher);
    if digest != order.blob.digest {
        let failure =
            Failure::new(format!("cannot trust layer {}", order.blob.digest)).because(format!("what came has the digest {digest}"));
        return Err(Some(failure.hint("pull again; if it stays so, the registry's copy is damaged")));
    }
    Ok(())
}

fn inflate_into(source: &mut Source<'_>, sender: &SyncSender<Vec<u8>>) -> io::Result<()> {
    source.prime()?;
    match source.fill_buf()? {
        [0x1f, 0x8b, ..] => pump(&mut flate2::bufread::MultiGzDecoder::new(&mut *source), sender)?,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(&mut *source)?;
            decoder.window_log_max(WIDEST_WINDOW)?;
            pump(&mut decoder, sender)?;
        }
        [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', b'X', b'Z', ..] => {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "layers are compressed with gzip or zstd, this one is not"));
        }
        _ => pump(source, sender)?,
    }
    // The digest is of all that came, also of what a decompressor did not care for.
    loop {
        let rest = source.fill_buf()?.len();
        if rest == 0 {
            return Ok(());
        }
        source.consume(rest);
    }
}

fn pump(from: &mut impl Read, sender: &SyncSender<Vec<u8>>) -> io::Result<()> {
    loop {
        let mut chunk = vec![0; CHUNK];
        let mut filled = 0;
        while filled < CHUNK {
            match from.read(&mut chunk[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if filled == 0 {
            return Ok(());
        }
        chunk.truncate(filled);
        sender.send(chunk).map_err(|_| io::Error::other(Broken))?;
    }
}

/// The compressed bytes, hashed as they come.
struct Source<'a> {
    order: &'a Order<'a>,
    download: Download<'a>,
    chunk: Option<Chunk>,
    at: usize,
    hasher: Sha256,
    trouble: Option<Trouble>,
}

impl<'a> Source<'a> {
    fn new(order: &'a Order<'a>) -> Source<'a> {
        let download = Download::new(order.remote, order.blob.digest.clone(), order.blob.size);
        Source { order, download, chunk: None, at: 0, hasher: Sha256::new(), trouble: None }
    }

    /// Makes sure that enough is there to know the compression by, however small the pieces are that come.
    fn prime(&mut self) -> io::Result<()> {
        let mut start = self.fill_buf()?.to_vec();
        while start.len() < 6 {
            self.advance()?;
            let Some(chunk) = &self.chunk else { break };
            start.extend_from_slice((**chunk).as_ref());
        }
        self.chunk = Some(Box::new(start));
        self.at = 0;
        Ok(())
    }

    fn advance(&mut self) -> io::Result<()> {
        self.chunk = None;
        self.at = 0;
        if self.order.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other(Broken));
        }
        let chunk = self.download.next_chunk().map_err(|trouble| {
            self.trouble = Some(trouble);
            io::Error::other(Broken)
        })?;
        if let Some(chunk) = &chunk {
            let bytes = (**chunk).as_ref();
            self.hasher.update(bytes);
            self.order.watch.progress(self.order.blob.digest.short(), bytes.len() as u64);
        }
        self.chunk = chunk;
        Ok(())
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.chunk.as_ref().is_none_or(|chunk| self.at == (**chunk).as_ref().len()) {
            self.advance()?;
        }
        Ok(self.chunk.as_ref().map_or(&[][..], |chunk| &(**chunk).as_ref()[self.at..]))
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.consume(count);
        Ok(count)
    }
}

/// Thread 2's end of the channel, hashed as it is taken out.
struct Chunks {
    receiver: Receiver<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
    hasher: Sha256,
    total: u64,
}

impl Chunks {
    fn new(receiver: Receiver<Vec<u8>>) -> Chunks {
        Chunks { receiver, chunk: Vec::new(), at: 0, hasher: Sha256::new(), total: 0 }
    }
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.chunk.len() {
            self.at = 0;
            // A sender that is gone has sent everything, or says elsewhere why not.
            self.chunk = self.receiver.recv().unwrap_or_default();
            self.hasher.update(&self.chunk);
            self.total += self.chunk.len() as u64;
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.consume(count);
        Ok(count)
    }
}
