//! Compresses layers, with all processors, and always to the same bytes.
//!
//! The stream is cut into blocks of a fixed length and each is compressed for itself: for gzip as pigz does it (one
//! member, each block with the end of the one before as its dictionary), for zstd as frames one after the other. So the
//! result does not depend on how many threads were at work. Blocks on their way share one room, whatever the number of
//! layers and processors: see [`Room`].

use std::io;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::thread;

use flate2::Compress;
use flate2::Crc;
use flate2::FlushCompress;
use flate2::Status;

use super::compression::Compression;
use super::layer_blob::Sink;
use crate::failure::Failure;
use crate::failure::Result;

/// What deflate looks back at.
const WINDOW: usize = 32 << 10;
const GZIP_BLOCK: usize = 512 << 10;
const ZSTD_BLOCK: usize = 1 << 20;
/// What all blocks that are being compressed, in all layers, may take together.
const ROOM: usize = 8 << 20;
/// More threads find no blocks in the room, and each has tables of its own.
const MOST_THREADS: usize = 6;
/// gzip's and zstd's own defaults.
const GZIP_LEVEL: i32 = 6;
const ZSTD_LEVEL: i32 = 3;
/// No file name, no time, an unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// A last block that is empty.
const GZIP_END: [u8; 2] = [3, 0];

/// How a layer is to be compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    pub compression: Compression,
    pub level: Option<i32>,
}

impl Packing {
    /// Reads `zstd`, `gzip:9`, `none`.
    ///
    /// # Errors
    /// A sentence that names the fault.
    pub fn parse(text: &str) -> std::result::Result<Packing, String> {
        let (name, level) = text.split_once(':').map_or((text, None), |(name, level)| (name, Some(level)));
        let (compression, levels) = match name {
            "gzip" => (Compression::Gzip, 1..=9),
            "zstd" => (Compression::Zstd, 1..=22),
            "none" | "uncompressed" if level.is_none() => return Ok(Packing { compression: Compression::None, level: None }),
            _ => return Err("it is `gzip`, `zstd` or `none`, with a level as in `zstd:9`".to_owned()),
        };
        let wrong = || format!("a level of {name} is a number from {} to {}", levels.start(), levels.end());
        let level = level.map(|level| level.parse::<i32>().ok().filter(|level| levels.contains(level)).ok_or_else(wrong));
        Ok(Packing { compression, level: level.transpose()? })
    }

    /// The level it is carried out with; 0 where there is none.
    pub(super) fn real_level(self) -> i32 {
        match self.compression {
            Compression::None => 0,
            Compression::Gzip => self.level.unwrap_or(GZIP_LEVEL),
            Compression::Zstd => self.level.unwrap_or(ZSTD_LEVEL),
        }
    }
}

/// What blocks may still take. A block that has its place needs no other to get through, so nobody waits for ever.
struct Room {
    left: Mutex<usize>,
    more: Condvar,
}

static ROOM_FOR_ALL: Room = Room { left: Mutex::new(ROOM), more: Condvar::new() };

/// A block's place in the room; given back when the block is written.
struct Place {
    bytes: usize,
}

impl Room {
    fn take(&'static self, bytes: usize) -> Place {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = self.more.wait_while(left, |left| *left < bytes).unwrap_or_else(PoisonError::into_inner);
        *left -= bytes;
        Place { bytes }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *ROOM_FOR_ALL.left.lock().unwrap_or_else(PoisonError::into_inner) += self.bytes;
        ROOM_FOR_ALL.more.notify_all();
    }
}

struct Job {
    block: Vec<u8>,
    place: Place,
    dictionary: Vec<u8>,
    reply: SyncSender<io::Result<Packed>>,
}

/// A block compressed, and the place it still takes.
struct Packed {
    bytes: Vec<u8>,
    _place: Place,
}

/// Compresses what `fill` writes and gives it to `out`.
pub(super) fn pack(packing: Packing, fill: impl FnOnce(&mut Sink<'_>) -> Result<()> + Send, out: &mut Sink<'_>) -> Result<()> {
    if packing.compression == Compression::None {
        return fill(out);
    }
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let (jobs, queue) = sync_channel::<Job>(threads);
    let (order, replies) = sync_channel::<Receiver<io::Result<Packed>>>(threads * 2);
    let queue = Mutex::new(queue);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(packing, &queue));
        }
        let filling = scope.spawn(move || {
            let mut cutter = Cutter::new(packing, jobs, order);
            fill(&mut |bytes: &[u8]| cutter.take(bytes))?;
            cutter.finish().map_err(|error| Failure::new("cannot compress the layer").because(error))
        });
        let written = write(packing, &replies, out);
        // Whoever still compresses for us ends when nobody takes it.
        drop(replies);
        let filled = filling.join().unwrap_or_else(|_| Err(Failure::new("cannot compress the layer")));
        match (written, filled) {
            // It stopped because nobody took more: why is the other error.
            (Err(error), _) => Err(Failure::new("cannot send the compressed layer").because(error)),
            (Ok(()), Err(failure)) => Err(failure),
            (Ok(()), Ok((crc, length))) if packing.compression == Compression::Gzip => {
                let end = [&GZIP_END[..], &crc.to_le_bytes(), &length.to_le_bytes()].concat();
                out(&end).map_err(|error| Failure::new("cannot send the compressed layer").because(error))
            }
            (Ok(()), Ok(_)) => Ok(()),
        }
    })
}

fn write(packing: Packing, replies: &Receiver<Receiver<io::Result<Packed>>>, out: &mut Sink<'_>) -> io::Result<()> {
    if packing.compression == Compression::Gzip {
        out(&GZIP_HEADER)?;
    }
    for reply in replies {
        let Ok(block) = reply.recv() else { return Err(io::Error::other("a thread that compressed has ended")) };
        out(&block?.bytes)?;
    }
    Ok(())
}

fn work(packing: Packing, queue: &Mutex<Receiver<Job>>) {
    // One for all blocks of a thread: making it costs as much as compressing some.
    let mut zstd = zstd::bulk::Compressor::new(packing.real_level());
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        let bytes = match packing.compression {
            Compression::Gzip => deflate(&job, packing.real_level()),
            _ => match &mut zstd {
                Ok(compressor) => compressor.compress(&job.block),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            },
        };
        let Job { block, place, reply, .. } = job;
        drop(block);
        // Nobody waits for it any more: then the order has ended too.
        let _ = reply.send(bytes.map(|bytes| Packed { bytes, _place: place }));
    }
}

/// A run of deflate blocks that ends at a whole byte and is not the last one.
fn deflate(job: &Job, level: i32) -> io::Result<Vec<u8>> {
    let mut compress = Compress::new(flate2::Compression::new(level.unsigned_abs()), false);
    if !job.dictionary.is_empty() {
        compress.set_dictionary(&job.dictionary).map_err(io::Error::other)?;
    }
    let mut packed = Vec::with_capacity(job.block.len() / 2 + 1024);
    loop {
        let done = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
        let status = compress.compress_vec(&job.block[done..], &mut packed, FlushCompress::Sync).map_err(io::Error::other)?;
        // Room that is left means that all has come out.
        if packed.len() < packed.capacity() && compress.total_in() == job.block.len() as u64 {
            return Ok(packed);
        }
        if status == Status::StreamEnd {
            return Err(io::Error::other("deflate has ended too early"));
        }
        packed.reserve(packed.capacity());
    }
}

/// Cuts a stream into blocks.
struct Cutter {
    length: usize,
    wants_dictionary: bool,
    block: Vec<u8>,
    dictionary: Vec<u8>,
    crc: Crc,
    /// The place of `block`, from its first byte on.
    place: Option<Place>,
    jobs: SyncSender<Job>,
    order: SyncSender<Receiver<io::Result<Packed>>>,
}

impl Cutter {
    fn new(packing: Packing, jobs: SyncSender<Job>, order: SyncSender<Receiver<io::Result<Packed>>>) -> Cutter {
        let wants_dictionary = packing.compression == Compression::Gzip;
        let length = if wants_dictionary { GZIP_BLOCK } else { ZSTD_BLOCK };
        Cutter { length, wants_dictionary, block: Vec::new(), dictionary: Vec::new(), crc: Crc::new(), place: None, jobs, order }
    }

    fn take(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        while !bytes.is_empty() {
            if self.place.is_none() {
                self.place = Some(ROOM_FOR_ALL.take(self.length));
                self.block = Vec::with_capacity(self.length);
            }
            let room = (self.length - self.block.len()).min(bytes.len());
            self.block.extend_from_slice(&bytes[..room]);
            bytes = &bytes[room..];
            if self.block.len() == self.length {
                self.cut()?;
            }
        }
        Ok(())
    }

    fn cut(&mut self) -> io::Result<()> {
        let block = std::mem::take(&mut self.block);
        let place = self.place.take().unwrap_or_else(|| ROOM_FOR_ALL.take(0));
        let tail = if self.wants_dictionary { block[block.len().saturating_sub(WINDOW)..].to_vec() } else { Vec::new() };
        let dictionary = std::mem::replace(&mut self.dictionary, tail);
        let (reply, answer) = sync_channel(1);
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "nobody takes the compressed layer");
        // First the place in the order: it is what bounds the memory.
        self.order.send(answer).map_err(|_| gone())?;
        self.jobs.send(Job { block, place, dictionary, reply }).map_err(|_| gone())
    }

    /// The checksum and the length of all, as gzip's end has them.
    fn finish(mut self) -> io::Result<(u32, u32)> {
        // Nothing at all is one block that is empty: zstd has no other form for it.
        if !self.block.is_empty() || self.crc.amount() == 0 {
            self.cut()?;
        }
        Ok((self.crc.sum(), self.crc.amount()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn packed(text: &str, bytes: &[u8]) -> Vec<u8> {
        let mut result = Vec::new();
        let fill = |sink: &mut Sink<'_>| bytes.chunks(100_000).try_for_each(sink).map_err(|error| Failure::new(error.to_string()));
        let mut out = |part: &[u8]| {
            result.extend_from_slice(part);
            Ok(())
        };
        pack(Packing::parse(text).unwrap(), fill, &mut out).unwrap();
        result
    }

    /// Text that compresses like text.
    fn sample(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        let words = ["layer", "image", "a", "the", "of", "registry", "\n", "0123456789"];
        let mut bytes = Vec::new();
        while bytes.len() < length {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.extend_from_slice(words[(state >> 24) as usize % words.len()].as_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn what_is_packed_is_unpacked_by_others() {
        for length in [0, 1, GZIP_BLOCK - 1, GZIP_BLOCK, GZIP_BLOCK * 3 + 17, ZSTD_BLOCK * 2 + 5] {
            let bytes = sample(length);
            let mut back = Vec::new();
            let gzip = packed("gzip", &bytes);
            // One member: what reads no second one gets all.
            flate2::read::GzDecoder::new(&gzip[..]).read_to_end(&mut back).unwrap();
            assert!(back == bytes, "gzip of {length}");
            assert!(zstd::decode_all(&packed("zstd", &bytes)[..]).unwrap() == bytes, "zstd of {length}");
            assert!(packed("none", &bytes) == bytes);
            assert!(packed("gzip", &bytes) == gzip, "another time it is another stream");
        }
    }

    #[test]
    fn blocks_cost_little() {
        use std::io::Write;
        let bytes = sample(GZIP_BLOCK * 6);
        let mut whole = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        whole.write_all(&bytes).unwrap();
        let (whole, blocks) = (whole.finish().unwrap().len(), packed("gzip", &bytes).len());
        assert!(blocks * 100 < whole * 102, "{blocks} instead of {whole}");
    }

    #[test]
    fn a_reader_that_goes_away_ends_the_work() {
        let bytes = sample(GZIP_BLOCK * 20);
        let fill = |sink: &mut Sink<'_>| bytes.chunks(100_000).try_for_each(sink).map_err(|error| Failure::new(error.to_string()));
        let outcome = pack(Packing::parse("gzip").unwrap(), fill, &mut |_| Err(io::Error::other("gone away")));
        assert!(outcome.unwrap_err().to_string().contains("gone away"));
    }

    /// If it did not, the last of these would wait for ever.
    #[test]
    fn work_that_is_given_up_leaves_its_room() {
        let bytes = sample(ZSTD_BLOCK * 2 + 1);
        for round in 0..2 * ROOM / ZSTD_BLOCK {
            let fill = |sink: &mut Sink<'_>| bytes.chunks(100_000).try_for_each(sink).map_err(|error| Failure::new(error.to_string()));
            let mut pieces = 0;
            let mut out = |_: &[u8]| {
                pieces += 1;
                if pieces > round % 3 { Err(io::Error::other("gone away")) } else { Ok(()) }
            };
            pack(Packing::parse("zstd").unwrap(), fill, &mut out).unwrap_err();
        }
        assert!(zstd::decode_all(&packed("zstd", &bytes)[..]).unwrap() == bytes);
    }

    #[test]
    fn levels_are_checked() {
        assert_eq!(Packing::parse("zstd:19").unwrap().real_level(), 19);
        for bad in ["gzip:0", "gzip:10", "zstd:23", "zstd:x", "xz", "", "none:1"] {
            assert!(Packing::parse(bad).is_err(), "{bad}");
        }
    }
}
