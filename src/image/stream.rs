//! One layer from the wire, or from a file, to its directory in one pass.
//!
//! ```text
//! thread 1:  registry -> sha256 of what came -> a copy that is kept -> inflate -> chunks
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
use super::compression;
use super::compression::Compression;
use super::digest::Digest;
use super::keep::Keeper;
use super::keep::KeptDraft;
use super::registry::Chunk;
use super::registry::Download;
use super::registry::Kind;
use super::registry::Trouble;
use super::unpack::Unpacked;
use super::unpack::unpack;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

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

/// Where the bytes of a layer come from.
pub(super) enum Supply<'a> {
    Registry(Box<Download<'a>>),
    Stream(Box<dyn Read + Send + 'a>),
}

impl Supply<'_> {
    fn next_chunk(&mut self) -> std::result::Result<Option<Chunk>, Trouble> {
        let stream = match self {
            Supply::Registry(download) => return download.next_chunk(),
            Supply::Stream(stream) => stream,
        };
        let mut chunk = vec![0; CHUNK];
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(count) => {
                    chunk.truncate(count);
                    return Ok(Some(Box::new(chunk)));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Trouble::new(Kind::Other, error.to_string())),
            }
        }
    }
}

/// Whether what comes is kept beside the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeping {
    Yes,
    No,
}

/// What a layer is called and what it must turn out to be.
pub(super) struct Order<'a> {
    pub(super) home: &'a Home,
    /// For messages: a digest, or the name of a file.
    pub(super) label: &'a str,
    /// The short name its progress is shown under.
    pub(super) short: &'a str,
    /// The digest of what comes, where somebody has said it.
    pub(super) blob: Option<&'a Digest>,
    /// The digest of the plain tar stream, where somebody has said it.
    pub(super) diff_id: Option<&'a Digest>,
    pub(super) keeping: Keeping,
    pub(super) watch: &'a dyn Watch,
    /// Set when another layer failed, so that this one need not be finished.
    pub(super) stop: &'a AtomicBool,
    /// Set when it was the connection that failed and not what came over it.
    pub(super) cut: &'a AtomicBool,
    /// Set when there was no room on the disk.
    pub(super) full: &'a AtomicBool,
}

/// A layer that is unpacked, checked, and not yet among the others.
pub(super) struct Received {
    pub(super) unpacked: Unpacked,
    /// Of the plain tar stream, in bytes.
    pub(super) tar_size: u64,
    pub(super) diff_id: Digest,
    pub(super) blob: Digest,
    /// In bytes, as it came.
    pub(super) blob_size: u64,
    pub(super) compression: Compression,
    pub(super) kept: Option<KeptDraft>,
}

/// What thread 1 knows in the end.
struct Inflated {
    digest: Digest,
    size: u64,
    compression: Compression,
    kept: Option<KeptDraft>,
}

/// Fetches, checks and unpacks the layer into `directory`, which is empty.
pub(super) fn receive(order: &Order<'_>, supply: Supply<'_>, directory: &Path) -> Result<Received> {
    let (sender, receiver) = sync_channel(WAITING);
    let (source, made) = std::thread::scope(|scope| {
        let source = scope.spawn(move || inflate(order, supply, &sender));
        let mut archive = Archive::new(Chunks::new(receiver));
        let made = unpack(&mut archive, directory);
        let chunks = archive.into_inner();
        // Gone before we wait: a thread that has nobody to send to ends.
        let summary = (Digest::finish(chunks.hasher), chunks.total);
        drop(chunks.receiver);
        (source.join(), made.map(|made| (made, summary)))
    });
    let cannot = || Failure::new(format!("cannot unpack layer {}", order.label));
    let source = source.unwrap_or_else(|_| Err(Some(cannot().because("the thread that fetched it ended"))));
    match (source, made) {
        (Err(Some(failure)), _) => Err(failure),
        (_, Err(error)) => {
            let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            order.full.fetch_or(full, Ordering::Relaxed);
            Err(explain(cannot().because(&error), &error))
        }
        (Err(None), _) => Err(cannot().because("the stream broke off")),
        (Ok(_), Ok((_, (digest, _)))) if order.diff_id.is_some_and(|wanted| *wanted != digest) => {
            let wanted = order.diff_id.map(Digest::as_str).unwrap_or_default();
            Err(cannot().because(format!("its content has the digest {digest}, the image's configuration says {wanted}")))
        }
        (Ok(inflated), Ok((unpacked, (diff_id, tar_size)))) => Ok(Received {
            unpacked,
            tar_size,
            diff_id,
            blob: inflated.digest,
            blob_size: inflated.size,
            compression: inflated.compression,
            kept: inflated.kept,
        }),
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
fn inflate(order: &Order<'_>, supply: Supply<'_>, sender: &SyncSender<Vec<u8>>) -> std::result::Result<Inflated, Option<Failure>> {
    let mut source = Source::new(order, supply);
    let outcome = inflate_into(&mut source, sender);
    if let Some(trouble) = source.trouble.take() {
        order.cut.store(trouble.is_of_the_network(), Ordering::Relaxed);
        return Err(Some(Failure::new(format!("cannot fetch layer {}", order.label)).because(trouble.text)));
    }
    let compression = match outcome {
        Ok(compression) => compression,
        Err(error) if error.get_ref().is_some_and(|inner| inner.is::<Broken>()) => return Err(None),
        Err(error) => return Err(Some(Failure::new(format!("cannot decompress layer {}", order.label)).because(error))),
    };
    let digest = Digest::finish(source.hasher);
    if order.blob.is_some_and(|wanted| *wanted != digest) {
        let failure = Failure::new(format!("cannot trust layer {}", order.label)).because(format!("what came has the digest {digest}"));
        return Err(Some(failure.hint("get it again; if it stays so, the copy it came from is damaged")));
    }
    let kept = source.keeper.finish(&digest, compression);
    Ok(Inflated { digest, size: source.total, compression, kept })
}

fn inflate_into(source: &mut Source<'_, '_>, sender: &SyncSender<Vec<u8>>) -> io::Result<Compression> {
    source.prime()?;
    let start = source.fill_buf()?;
    let compression = Compression::of_start(start);
    if let Some(foreign) = compression::foreign(start) {
        let why = format!("layers are compressed with gzip or zstd, this one is with {}", foreign.name());
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    source.keep(compression);
    match compression {
        Compression::Gzip => pump(&mut flate2::bufread::MultiGzDecoder::new(&mut *source), sender)?,
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(&mut *source)?;
            decoder.window_log_max(WIDEST_WINDOW)?;
            pump(&mut decoder, sender)?;
        }
        Compression::None => pump(source, sender)?,
    }
    // The digest is of all that came, also of what a decompressor did not care for.
    loop {
        let rest = source.fill_buf()?.len();
        if rest == 0 {
            return Ok(compression);
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

/// The compressed bytes, hashed and kept as they come.
struct Source<'o, 's> {
    order: &'o Order<'o>,
    supply: Supply<'s>,
    keeper: Keeper<'o>,
    chunk: Option<Chunk>,
    at: usize,
    hasher: Sha256,
    total: u64,
    trouble: Option<Trouble>,
}

impl<'o, 's> Source<'o, 's> {
    fn new(order: &'o Order<'o>, supply: Supply<'s>) -> Source<'o, 's> {
        let keeper = Keeper::new(order.home);
        Source { order, supply, keeper, chunk: None, at: 0, hasher: Sha256::new(), total: 0, trouble: None }
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

    /// From now on what comes is kept, beginning with what primed us.
    fn keep(&mut self, compression: Compression) {
        if self.order.keeping == Keeping::No {
            return;
        }
        self.keeper.begin(compression);
        if let Some(chunk) = &self.chunk {
            self.keeper.take((**chunk).as_ref());
        }
    }

    fn advance(&mut self) -> io::Result<()> {
        self.chunk = None;
        self.at = 0;
        if self.order.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other(Broken));
        }
        let chunk = self.supply.next_chunk().map_err(|trouble| {
            self.trouble = Some(trouble);
            io::Error::other(Broken)
        })?;
        if let Some(chunk) = &chunk {
            let bytes = (**chunk).as_ref();
            self.hasher.update(bytes);
            self.keeper.take(bytes);
            self.total += bytes.len() as u64;
            self.order.watch.progress(self.order.short, bytes.len() as u64);
        }
        self.chunk = chunk;
        Ok(())
    }
}

impl BufRead for Source<'_, '_> {
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

impl Read for Source<'_, '_> {
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
