//! Fetches what lies behind an address of the web: `ADD https://…`, a build context.
//!
//! The same client as the registries' (reqwest), the same certificates, proxies and patience.

use std::error::Error;
use std::io;
use std::io::Write;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::StatusCode;
use reqwest::header::ACCEPT_ENCODING;
use reqwest::header::CONTENT_ENCODING;
use reqwest::header::ETAG;
use reqwest::header::HeaderMap;
use reqwest::header::HeaderName;
use reqwest::header::IF_NONE_MATCH;
use reqwest::header::LAST_MODIFIED;

use super::registry::install_tls;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

/// A server that sends nothing for so long is taken for dead.
const SILENCE: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(15);
/// How often an address is asked while the network fails.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(400);

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct WebRequest {
    pub url: String,
    /// The ETag of what is here already; the same is not sent again.
    pub known: Option<String>,
    /// The value of `Authorization`.
    pub authorization: Option<String>,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebAnswer {
    /// What is here already is still right.
    Same,
    New {
        etag: Option<String>,
        /// As the server writes it.
        last_modified: Option<String>,
    },
}

/// One try.
enum Attempt {
    Done(WebAnswer),
    /// Nothing was written yet, so another try may be made.
    Again(String),
}

/// Fetches what lies behind an address of the web, and writes it to `into`; redirects are followed.
///
/// # Errors
/// Nobody answers there, or with something else than the file.
pub fn fetch(home: &Home, request: &WebRequest, into: &mut dyn Write) -> Result<WebAnswer> {
    install_tls(home)?;
    let cannot = || format!("cannot fetch `{}`", request.url);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().doing(cannot)?;
    let mut reason = String::new();
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(PAUSE * attempt);
        }
        match runtime.block_on(attempt_once(request, into)).map_err(|reason| Failure::new(cannot()).because(reason))? {
            Attempt::Done(answer) => return Ok(answer),
            Attempt::Again(again) => reason = again,
        }
    }
    Err(Failure::new(cannot()).because(reason).hint("check the address and the network"))
}

async fn attempt_once(request: &WebRequest, into: &mut dyn Write) -> std::result::Result<Attempt, String> {
    let client = reqwest::Client::builder().connect_timeout(CONNECT).read_timeout(SILENCE).user_agent(USER_AGENT).build();
    let client = client.map_err(|error| deepest(&error))?;
    // As Go's client does by itself: some servers compress only then, and what is compressed on the way is not the file.
    let mut asked = client.get(&request.url).header(ACCEPT_ENCODING, "gzip");
    if let Some(known) = &request.known {
        asked = asked.header(IF_NONE_MATCH, known);
    }
    if let Some(value) = &request.authorization {
        asked = asked.header(reqwest::header::AUTHORIZATION, value);
    }
    let response = match asked.send().await {
        Err(error) if error.is_builder() || error.is_redirect() => return Err(deepest(&error)),
        Err(error) => return Ok(Attempt::Again(deepest(&error))),
        Ok(response) => response,
    };
    let (status, headers) = (response.status(), response.headers().clone());
    let etag = text_of(&headers, ETAG);
    if status == StatusCode::NOT_MODIFIED || request.known.is_some() && etag == request.known && status.is_success() {
        return Ok(Attempt::Done(WebAnswer::Same));
    }
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Ok(Attempt::Again(format!("invalid response status {}", status.as_u16())));
    }
    if !(200..400).contains(&status.as_u16()) {
        return Err(format!("invalid response status {}", status.as_u16()));
    }
    let compressed = text_of(&headers, CONTENT_ENCODING).is_some_and(|how| how.eq_ignore_ascii_case("gzip"));
    let mut body = response.bytes_stream();
    let mut sink = if compressed { Sink::Compressed(Box::new(flate2::write::MultiGzDecoder::new(into))) } else { Sink::Plain(into) };
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| format!("the connection broke: {}", deepest(&error)))?;
        sink.put(&chunk).map_err(|error| error.to_string())?;
    }
    sink.finish().map_err(|error| error.to_string())?;
    Ok(Attempt::Done(WebAnswer::New { etag, last_modified: text_of(&headers, LAST_MODIFIED) }))
}

const USER_AGENT: &str = concat!("coracle/", env!("CARGO_PKG_VERSION"));

enum Sink<'a> {
    Plain(&'a mut dyn Write),
    Compressed(Box<flate2::write::MultiGzDecoder<&'a mut dyn Write>>),
}

impl Sink<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Sink::Plain(into) => into.write_all(bytes),
            Sink::Compressed(into) => into.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Sink::Plain(into) => into.flush(),
            Sink::Compressed(into) => into.finish()?.flush(),
        }
    }
}

fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned).filter(|text| !text.is_empty())
}

fn deepest(error: &(dyn Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
