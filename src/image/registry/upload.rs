//! A blob on its way out.
//!
//! ```text
//! POST  uploads/?mount=…&from=…    201: it was there in another repository, done
//!                                  202: Location to send it to
//! PUT   Location?digest=…          the whole, when its digest is known
//! PATCH Location, PUT …?digest=…   as it is made, and in the end what it turned out to be
//! ```

use std::io;
use std::time::Duration;

use futures_util::stream;
use reqwest::Body;
use reqwest::Method;
use reqwest::Response;
use reqwest::StatusCode;
use reqwest::Url;
use reqwest::header::AUTHORIZATION;
use reqwest::header::CONTENT_LENGTH;
use reqwest::header::CONTENT_TYPE;
use reqwest::header::HeaderMap;
use reqwest::header::HeaderValue;
use reqwest::header::LOCATION;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Answer;
use super::Remote;
use super::Request;
use super::VERDICT;
use super::client::Use;
use super::host_of;
use super::patience;
use super::text_of;
use super::trouble;
use super::trouble::Kind;
use super::trouble::Trouble;
use crate::image::digest::Digest;

const CHUNK: usize = 256 << 10;
/// How many chunks may wait for the network.
const WAITING: usize = 8;
/// A registry that takes nothing for so long is taken for dead.
const STALL: Duration = Duration::from_secs(60);

/// What came of the wish to upload.
pub enum Begun<'a> {
    /// The registry had it in the other repository.
    Mounted,
    Upload(Upload<'a>),
}

/// A place to send a blob to.
pub struct Upload<'a> {
    remote: &'a Remote<'a>,
    location: Url,
}

/// A body that is being sent.
pub struct Sending<'a> {
    remote: &'a Remote<'a>,
    sender: mpsc::Sender<Vec<u8>>,
    answer: JoinHandle<Result<Response, reqwest::Error>>,
    buffer: Vec<u8>,
    location: Url,
}

impl<'a> Remote<'a> {
    /// Asks to upload a blob; `from` is a repository of the same registry that has it.
    ///
    /// # Errors
    /// The registry refuses.
    pub fn begin_upload(&'a self, mount: Option<(&Digest, &str)>) -> Answer<Begun<'a>> {
        patience::with_retries(|| {
            self.block_on(async {
                let mut request = Request::new(Method::POST, self.at(&["blobs", "uploads", ""])?);
                request.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
                if let Some((digest, from)) = mount {
                    request.url.query_pairs_mut().append_pair("mount", digest.as_str()).append_pair("from", from);
                    request.also = Some(from.to_owned());
                }
                let response = self.ask(&request, &[StatusCode::CREATED, StatusCode::ACCEPTED]).await?;
                if response.status() == StatusCode::CREATED {
                    return Ok(Begun::Mounted);
                }
                Ok(Begun::Upload(Upload { remote: self, location: location(&response)? }))
            })
        })
    }
}

fn location(response: &Response) -> Answer<Url> {
    let text = text_of(response.headers(), &LOCATION);
    let url = text.and_then(|text| response.url().join(&text).ok());
    url.ok_or_else(|| Trouble::new(Kind::Other, "the registry does not say where to send the blob"))
}

impl<'a> Upload<'a> {
    /// Sends a blob whose digest and size are known.
    pub fn whole(self, digest: &Digest, size: u64) -> Answer<Sending<'a>> {
        let mut url = self.location;
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        Sending::begin(self.remote, Method::PUT, url, Some(size))
    }

    /// Sends a blob as it is made.
    pub fn streamed(self) -> Answer<Sending<'a>> {
        Sending::begin(self.remote, Method::PATCH, self.location, None)
    }
}

impl<'a> Sending<'a> {
    fn begin(remote: &'a Remote<'a>, method: Method, url: Url, size: Option<u64>) -> Answer<Sending<'a>> {
        let client = remote.session.client(&host_of(&url), remote.protocol_of(&url)?, Use::Upload)?;
        let (sender, receiver) = mpsc::channel::<Vec<u8>>(WAITING);
        let chunks = stream::unfold(receiver, |mut receiver| async move {
            let chunk = receiver.recv().await?;
            Some((Ok::<_, io::Error>(chunk), receiver))
        });
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        if let Some(size) = size {
            headers.insert(CONTENT_LENGTH, size.into());
        }
        if let Some(token) = remote.known_token().filter(|_| remote.is_ours(&url)) {
            headers.insert(AUTHORIZATION, token);
        }
        let request = client.request(method, url.clone()).headers(headers).body(Body::wrap_stream(chunks));
        let answer = remote.session.runtime.spawn(request.send());
        Ok(Sending { remote, sender, answer, buffer: Vec::with_capacity(CHUNK), location: url })
    }

    /// Sends more; waits while the network is slower than we are.
    ///
    /// # Errors
    /// The registry has stopped listening: [`Sending::end`] knows why.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = (CHUNK - self.buffer.len()).min(bytes.len());
            self.buffer.extend_from_slice(&bytes[..room]);
            bytes = &bytes[room..];
            if self.buffer.len() == CHUNK {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        let sent = self.remote.block_on(async { self.sender.send_timeout(chunk, STALL).await });
        sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the registry has stopped listening"))
    }

    /// Ends the body of a whole blob.
    ///
    /// # Errors
    /// What the registry says.
    pub fn end(self) -> Answer<()> {
        self.answered(&[StatusCode::CREATED, StatusCode::OK, StatusCode::NO_CONTENT]).map(drop)
    }

    /// Ends the body of a blob that was sent as it was made, and says what it is.
    ///
    /// # Errors
    /// What the registry says.
    pub fn end_as(self, digest: &Digest) -> Answer<()> {
        let (remote, sent_to) = (self.remote, self.location.clone());
        let response = self.answered(&[StatusCode::ACCEPTED, StatusCode::OK, StatusCode::CREATED, StatusCode::NO_CONTENT])?;
        let mut url = location(&response).unwrap_or(sent_to);
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let mut request = Request::new(Method::PUT, url);
        request.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        remote.block_on(remote.ask(&request, &[StatusCode::CREATED, StatusCode::OK, StatusCode::NO_CONTENT])).map(drop)
    }

    /// Gives up; what was sent is of no use to the registry.
    pub fn abandon(self) {
        self.answer.abort();
    }

    fn answered(mut self, good: &[StatusCode]) -> Answer<Response> {
        // If the registry hung up, its answer says why, and better than that it hung up.
        let _ = self.flush();
        drop(self.sender);
        let remote = self.remote;
        remote.block_on(async {
            let answer = tokio::time::timeout(VERDICT, self.answer).await;
            let silent = || Trouble::new(Kind::Silent, "the registry does not say whether it has taken the blob");
            let response = answer.map_err(|_| silent())?.map_err(|_| silent())?.map_err(|error| trouble::of_request(&error))?;
            trouble::expect(response, good).await
        })
    }
}
