//! A blob as it comes in: exactly as many bytes as its descriptor says, resumed where it was cut.
//!
//! It begins as one stream. Where that turns out slower than we are, the rest is asked for in pieces, several at
//! once, because many networks and servers limit each connection for itself.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use reqwest::Method;
use reqwest::Response;
use reqwest::StatusCode;
use reqwest::header::ACCEPT_RANGES;
use reqwest::header::CONTENT_LENGTH;
use reqwest::header::CONTENT_RANGE;
use reqwest::header::RANGE;

use super::Answer;
use super::Remote;
use super::Request;
use super::header;
use super::patience::Patience;
use super::text_of;
use super::trouble;
use super::trouble::Kind;
use super::trouble::Trouble;
use crate::image::digest::Digest;

/// Pieces are worth their requests from so much on.
const LEAST_FOR_PIECES: u64 = 16 << 20;
const PIECE: u64 = 2 << 20;
const PIECES_AT_ONCE: usize = 4;
/// For so long we look how fast the stream is.
const TRIAL: Duration = Duration::from_secs(1);
/// A registry that sends less than `LEAST` in so long a time is taken for dead.
const WINDOW: Duration = Duration::from_secs(30);
const LEAST: u64 = 16 << 10;

/// A piece of a download.
pub type Chunk = Box<dyn AsRef<[u8]> + Send>;

type Piece<'a> = Pin<Box<dyn Future<Output = Answer<Vec<u8>>> + Send + 'a>>;

/// A blob on its way in.
pub struct Download<'a> {
    remote: &'a Remote<'a>,
    digest: Digest,
    size: u64,
    received: u64,
    way: Way<'a>,
    patience: Patience,
    pace: Pace,
    /// The registry has said or shown that it sends parts.
    knows_ranges: bool,
}

enum Way<'a> {
    None,
    /// One answer; first so many bytes are dropped, when a registry began again from the start.
    Stream {
        response: Response,
        repeated: u64,
    },
    /// Pieces in order; the next one to be asked for begins at `next`.
    Pieces {
        coming: FuturesOrdered<Piece<'a>>,
        next: u64,
        lengths: VecDeque<u64>,
    },
}

/// How fast it comes.
struct Pace {
    begun: Instant,
    /// How much of the time since then we waited for the network.
    waited: Duration,
    window: Instant,
    in_window: u64,
}

impl Pace {
    fn new() -> Pace {
        let now = Instant::now();
        Pace { begun: now, waited: Duration::ZERO, window: now, in_window: 0 }
    }

    /// Whether it is the network that we wait for.
    fn is_slow(&self) -> bool {
        let passed = self.begun.elapsed();
        passed > TRIAL && self.waited * 10 > passed * 9
    }

    /// Takes note of what came after waiting so long.
    fn came(&mut self, bytes: u64, waited: Duration) -> Answer<()> {
        self.waited += waited;
        self.in_window += bytes;
        if self.window.elapsed() < WINDOW {
            return Ok(());
        }
        let came = std::mem::take(&mut self.in_window);
        self.window = Instant::now();
        if came < LEAST && self.is_slow() {
            return Err(Trouble::new(Kind::Silent, format!("the registry has sent {came} bytes in {} s", WINDOW.as_secs())));
        }
        Ok(())
    }
}

impl<'a> Download<'a> {
    /// Makes ready to fetch; nothing is sent yet.
    pub fn new(remote: &'a Remote<'a>, digest: Digest, size: u64) -> Download<'a> {
        let (patience, pace) = (Patience::new(), Pace::new());
        Download { remote, digest, size, received: 0, way: Way::None, patience, pace, knows_ranges: false }
    }

    /// The next bytes; none when all `size` have come.
    ///
    /// # Errors
    /// What could not be waited out.
    pub fn next_chunk(&mut self) -> Answer<Option<Chunk>> {
        while self.received < self.size {
            match self.try_chunk() {
                Ok(Some(chunk)) => return Ok(Some(chunk)),
                Ok(None) => {}
                Err(trouble) => {
                    self.way = Way::None;
                    self.patience.wait(trouble)?;
                    self.pace = Pace::new();
                }
            }
        }
        Ok(None)
    }

    fn try_chunk(&mut self) -> Answer<Option<Chunk>> {
        if matches!(self.way, Way::None) {
            self.begin()?;
        }
        if matches!(self.way, Way::Stream { .. })
            && self.knows_ranges
            && self.size - self.received > LEAST_FOR_PIECES
            && self.pace.is_slow()
        {
            self.way = Way::Pieces { coming: FuturesOrdered::new(), next: self.received, lengths: VecDeque::new() };
        }
        let begun = Instant::now();
        let chunk = match &mut self.way {
            Way::Pieces { .. } => self.next_piece()?.map(|piece| Box::new(piece) as Chunk),
            _ => self.next_of_stream()?,
        };
        let length = chunk.as_ref().map_or(0, |chunk| (**chunk).as_ref().len() as u64);
        self.received += length;
        self.pace.came(length, begun.elapsed())?;
        if length > 0 {
            self.patience.progress();
        }
        Ok(chunk)
    }

    fn next_of_stream(&mut self) -> Answer<Option<Chunk>> {
        let Way::Stream { response, repeated } = &mut self.way else { return Ok(None) };
        let next = self.remote.block_on(response.chunk()).map_err(|error| trouble::of_request(&error))?;
        let Some(chunk) = next else {
            let text = format!("the connection ended after {} of {} bytes", self.received, self.size);
            return Err(Trouble::new(Kind::Passing, text));
        };
        let skip = (chunk.len() as u64).min(*repeated);
        *repeated -= skip;
        let keep = ((chunk.len() as u64) - skip).min(self.size - self.received);
        if keep == 0 {
            return Ok(None);
        }
        Ok(Some(Box::new(chunk.slice(skip as usize..(skip + keep) as usize))))
    }

    fn next_piece(&mut self) -> Answer<Option<Vec<u8>>> {
        let (remote, digest, size) = (self.remote, &self.digest, self.size);
        let Way::Pieces { coming, next, lengths } = &mut self.way else { return Ok(None) };
        while coming.len() < PIECES_AT_ONCE && *next < size {
            let length = PIECE.min(size - *next);
            coming.push_back(Box::pin(piece(remote, digest.clone(), *next, length)));
            lengths.push_back(length);
            *next += length;
        }
        let wanted = lengths.pop_front().unwrap_or_default();
        let piece = remote.block_on(coming.next()).transpose()?.unwrap_or_default();
        if piece.len() as u64 != wanted || wanted == 0 {
            self.knows_ranges = false;
            return Err(Trouble::new(Kind::Passing, format!("a part of {wanted} bytes came with {}", piece.len())));
        }
        Ok(Some(piece))
    }

    /// Asks for all from where we are. A registry that knows no ranges sends it from the start.
    fn begin(&mut self) -> Answer<()> {
        let response = self.remote.block_on(ask(self.remote, &self.digest, self.received, None))?;
        let start = if response.status() == StatusCode::PARTIAL_CONTENT { self.received } else { 0 };
        let announced = text_of(response.headers(), &CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        if let Some(announced) = announced.map(|length| start + length).filter(|announced| *announced != self.size) {
            let text = format!("the registry announces {announced} bytes for {}, the manifest {}", self.digest, self.size);
            return Err(Trouble::new(Kind::Mismatch, text));
        }
        let says_ranges = text_of(response.headers(), &ACCEPT_RANGES).is_some_and(|unit| unit == "bytes");
        self.knows_ranges = says_ranges || response.status() == StatusCode::PARTIAL_CONTENT;
        self.way = Way::Stream { response, repeated: self.received - start };
        Ok(())
    }
}

/// Asks for a blob from `offset` on, or for so many bytes of it.
async fn ask(remote: &Remote<'_>, digest: &Digest, offset: u64, length: Option<u64>) -> Answer<Response> {
    let mut request = Request::new(Method::GET, remote.at(&["blobs", digest.as_str()])?);
    if offset > 0 || length.is_some() {
        let end = length.map_or_else(String::new, |length| (offset + length - 1).to_string());
        request.headers.insert(RANGE, header(&format!("bytes={offset}-{end}"))?);
    }
    let response = remote.ask(&request, &[StatusCode::OK, StatusCode::PARTIAL_CONTENT]).await?;
    if response.status() == StatusCode::PARTIAL_CONTENT {
        let range = text_of(response.headers(), &CONTENT_RANGE).unwrap_or_default();
        if !range.starts_with(&format!("bytes {offset}-")) {
            let text = format!("asked for the bytes from {offset} on, the registry sends `{range}`");
            return Err(Trouble::new(Kind::Mismatch, text));
        }
    }
    Ok(response)
}

async fn piece(remote: &Remote<'_>, digest: Digest, offset: u64, length: u64) -> Answer<Vec<u8>> {
    let mut response = ask(remote, &digest, offset, Some(length)).await?;
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return Ok(Vec::new());
    }
    let mut bytes = Vec::with_capacity(length as usize);
    while let Some(chunk) = response.chunk().await.map_err(|error| trouble::of_request(&error))? {
        if bytes.len() + chunk.len() > length as usize {
            return Err(Trouble::new(Kind::Mismatch, "a part is longer than it was asked for"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
