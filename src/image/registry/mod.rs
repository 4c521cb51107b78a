//! Talks to registries; asynchronous inside, behind blocking doors.
//!
//! ```text
//! Session   all connections of one command: clients, tokens, the engine room
//!   Remote    one repository at one place: manifests, blobs, uploads
//! client       which certificates, proxies and limits a connection has
//! challenge, token   what a registry asks for, and what it is given
//! patience     how long we go on trying; trouble: why it did not work
//! download, upload   a blob on its way, cut and resumed
//! ```
//!
//! vendor-notes/oci-client.md says why the requests are our own and what of oci-client is left.

mod challenge;
mod client;
mod download;
mod patience;
mod token;
mod trouble;
mod upload;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use reqwest::Method;
use reqwest::Response;
use reqwest::StatusCode;
use reqwest::Url;
use reqwest::header::ACCEPT;
use reqwest::header::AUTHORIZATION;
use reqwest::header::CONTENT_TYPE;
use reqwest::header::HeaderMap;
use reqwest::header::HeaderValue;
use reqwest::header::LINK;
use reqwest::header::LOCATION;
use tokio::runtime::Runtime;

use super::assemble::Part;
use super::assemble::Source;
use super::credentials;
use super::credentials::Login;
use super::digest::Digest;
use super::manifest;
use super::manifest::ACCEPTED;
use super::mirrors::Endpoint;
use super::mirrors::Trust;
use super::stream::Supply;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

pub use client::install_tls;
pub use download::Chunk;
pub use download::Download;
pub use patience::Patience;
pub use trouble::Kind;
pub use trouble::Trouble;
pub use upload::Begun;
pub use upload::Sending;
pub use upload::Upload;

use client::Certificates;
use client::Use;
use token::Key;
use token::Token;

/// A registry's answer or why there is none.
pub type Answer<T> = std::result::Result<T, Trouble>;

/// Larger manifests are nobody's honest work.
const LARGEST_MANIFEST: usize = 32 << 20;
/// A list of tags comes in pages; so many are enough for anybody.
const MOST_PAGES: usize = 1000;
const MOST_REDIRECTS: usize = 10;

/// How a registry is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    Https,
    Http,
    /// TLS with a certificate that nobody checks.
    HttpsUnchecked,
}

impl Protocol {
    /// What is tried, in order.
    pub fn for_trust(trust: Trust) -> &'static [Protocol] {
        match trust {
            Trust::Certified => &[Protocol::Https],
            Trust::Plain => &[Protocol::Http],
            Trust::Loopback => &[Protocol::Http, Protocol::HttpsUnchecked],
            // Secrets may follow, so what cannot be overheard is tried first.
            Trust::Any => &[Protocol::HttpsUnchecked, Protocol::Http],
        }
    }

    fn scheme(self) -> &'static str {
        if self == Protocol::Http { "http" } else { "https" }
    }
}

/// What is to be done to a repository, and so what a token must allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    Pull,
    Push,
}

/// The engine room of all connections of one command.
pub struct Session {
    runtime: Runtime,
    clients: Mutex<HashMap<(String, Protocol, Use), reqwest::Client>>,
    tokens: Mutex<HashMap<Key, Token>>,
}

impl Session {
    /// Makes ready for the first connection.
    pub fn begin(home: &Home) -> Result<Session> {
        install_tls(home)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.doing(|| "cannot start the registry client")?;
        Ok(Session { runtime, clients: Mutex::default(), tokens: Mutex::default() })
    }

    /// The client for a host; certificates of one host are never shown to another.
    fn client(&self, host: &str, protocol: Protocol, what_for: Use) -> Answer<reqwest::Client> {
        let mut clients = lock(&self.clients);
        let key = (host.to_owned(), protocol, what_for);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let certificates = if protocol == Protocol::Http { Certificates::default() } else { Certificates::read(host)? };
        let client = client::build(host, protocol, what_for, &certificates)?;
        clients.insert(key, client.clone());
        Ok(client)
    }
}

/// One repository at one place.
pub struct Remote<'a> {
    session: &'a Session,
    endpoint: Endpoint,
    protocol: Protocol,
    login: Login,
    access: Access,
    base: Url,
}

/// One request, which can be sent again.
struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    /// Another repository that must be readable for it.
    also: Option<String>,
}

impl Request {
    fn new(method: Method, url: Url) -> Request {
        Request { method, url, headers: HeaderMap::new(), body: None, also: None }
    }
}

impl<'a> Remote<'a> {
    /// Makes ready to ask this place; nothing is sent yet.
    pub fn new(session: &'a Session, endpoint: &Endpoint, protocol: Protocol, access: Access) -> Result<Remote<'a>> {
        let login = credentials::of(&endpoint.registry, &endpoint.repository)?;
        Remote::with_login(session, endpoint, protocol, access, login)
    }

    /// The same with a login that need not be on file.
    pub fn with_login(session: &'a Session, endpoint: &Endpoint, protocol: Protocol, access: Access, login: Login) -> Result<Remote<'a>> {
        // The Hub's name is not where its registry answers.
        let host = if endpoint.registry == "docker.io" { "registry-1.docker.io" } else { &endpoint.registry };
        let base = Url::parse(&format!("{}://{host}/v2/", protocol.scheme()));
        let base = base.map_err(|error| Failure::new(format!("cannot ask the registry {}", endpoint.registry)).because(error))?;
        Ok(Remote { session, endpoint: endpoint.clone(), protocol, login, access, base })
    }

    /// Whether somebody logged in here, so that a refusal is not for want of it.
    pub fn is_logged_in(&self) -> bool {
        self.login != Login::Anonymous
    }

    /// `docker.io/library/redis`.
    pub fn repository_name(&self) -> String {
        format!("{}/{}", self.endpoint.registry, self.endpoint.repository)
    }

    /// The registry without the repository.
    pub fn registry(&self) -> &str {
        &self.endpoint.registry
    }

    // ---- what can be asked ----

    /// Gets the raw manifest that a tag or digest names.
    pub fn manifest(&self, tag_or_digest: &str) -> Answer<Vec<u8>> {
        patience::with_retries(|| {
            self.block_on(async {
                let mut request = Request::new(Method::GET, self.at(&["manifests", tag_or_digest])?);
                for media_type in ACCEPTED {
                    request.headers.append(ACCEPT, HeaderValue::from_static(media_type));
                }
                let response = self.ask(&request, &[StatusCode::OK]).await?;
                let announced = text_of(response.headers(), &CONTENT_TYPE);
                let bytes = whole(response, LARGEST_MANIFEST).await?;
                check_announced(announced.as_deref(), &bytes)?;
                Ok(bytes)
            })
        })
    }

    /// Stores a manifest under a tag or its digest.
    pub fn put_manifest(&self, tag_or_digest: &str, media_type: &str, bytes: &[u8]) -> Answer<()> {
        patience::with_retries(|| {
            self.block_on(async {
                let mut request = Request::new(Method::PUT, self.at(&["manifests", tag_or_digest])?);
                request.headers.insert(CONTENT_TYPE, header(media_type)?);
                request.body = Some(bytes.to_vec());
                let response = self.ask(&request, &[StatusCode::CREATED, StatusCode::OK, StatusCode::ACCEPTED]).await?;
                let said = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
                match said {
                    Some(said) if said.starts_with("sha256:") && said != Digest::of(bytes).as_str() => {
                        Err(Trouble::new(Kind::Mismatch, format!("the registry has stored something else: {said}")))
                    }
                    _ => Ok(()),
                }
            })
        })
    }

    /// Gets a small blob whole and checks it.
    pub fn small_blob(&self, digest: &Digest, size: u64) -> Answer<Vec<u8>> {
        let mut download = Download::new(self, digest.clone(), size);
        let mut bytes = Vec::new();
        while let Some(chunk) = download.next_chunk()? {
            bytes.extend_from_slice((*chunk).as_ref());
        }
        if Digest::of(&bytes) != *digest {
            return Err(Trouble::new(Kind::Mismatch, format!("what came does not have the digest {digest}")));
        }
        Ok(bytes)
    }

    /// Whether the repository has a blob, and then its size, if the registry says it.
    pub fn blob_size(&self, digest: &Digest) -> Answer<Option<Option<u64>>> {
        patience::with_retries(|| {
            self.block_on(async {
                let request = Request::new(Method::HEAD, self.at(&["blobs", digest.as_str()])?);
                let response = self.ask(&request, &[StatusCode::OK, StatusCode::NOT_FOUND]).await?;
                let length = text_of(response.headers(), &reqwest::header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
                Ok(response.status().is_success().then_some(length))
            })
        })
    }

    /// All tags of the repository.
    pub fn tags(&self) -> Answer<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let mut url = self.at(&["tags", "list"])?;
        let mut tags: Vec<String> = Vec::new();
        for _ in 0..MOST_PAGES {
            let (bytes, next) = patience::with_retries(|| {
                self.block_on(async {
                    let response = self.ask(&Request::new(Method::GET, url.clone()), &[StatusCode::OK]).await?;
                    let next = text_of(response.headers(), &LINK).and_then(|link| next_page(&link));
                    Ok((whole(response, LARGEST_MANIFEST).await?, next))
                })
            })?;
            let page: Page = serde_json::from_slice(&bytes)
                .map_err(|error| Trouble::new(Kind::Other, format!("the registry's list of tags cannot be understood: {error}")))?;
            tags.extend(page.tags.unwrap_or_default());
            let Some(next) = next.and_then(|next| url.join(&next).ok()).filter(|next| self.is_ours(next)) else { break };
            url = next;
        }
        Ok(tags)
    }

    /// Asks whether the login is good; the token that a password may be traded for, if the registry has such.
    pub fn check_login(&self) -> Answer<Option<String>> {
        patience::with_retries(|| {
            self.block_on(async {
                let request = Request::new(Method::GET, self.base.clone());
                let first = self.send(&request, None, Use::Ask).await?;
                if first.status() != StatusCode::UNAUTHORIZED {
                    return trouble::expect(first, &[StatusCode::OK]).await.map(|_| None);
                }
                let token = token::obtain_for_login(self, first.headers()).await?;
                let second = self.send(&request, Some(&token.header), Use::Ask).await?;
                trouble::expect(second, &[StatusCode::OK]).await?;
                Ok(token.identity)
            })
        })
    }

    // ---- how ----

    fn at(&self, rest: &[&str]) -> Answer<Url> {
        let path = format!("{}/{}", self.endpoint.repository, rest.join("/"));
        self.base.join(&path).map_err(|error| Trouble::new(Kind::Other, error.to_string()))
    }

    fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.session.runtime.block_on(work)
    }

    /// Whether an address is the registry's own, so that it may see our token.
    fn is_ours(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Sends a request, logs in if the registry asks for it, and turns every status but the good ones into trouble.
    async fn ask(&self, request: &Request, good: &[StatusCode]) -> Answer<Response> {
        let key = self.key(request);
        let known = lock(&self.session.tokens).get(&key).filter(|token| token.is_fresh()).cloned();
        let response = self.send(request, known.as_ref().map(|token| &token.header), Use::Ask).await?;
        if response.status() != StatusCode::UNAUTHORIZED || !self.is_ours(response.url()) {
            return trouble::expect(response, good).await;
        }
        let token = token::obtain(self, response.headers(), &key).await?;
        let header = token.header.clone();
        lock(&self.session.tokens).insert(key, token);
        let response = self.send(request, Some(&header), Use::Ask).await?;
        trouble::expect(response, good).await
    }

    /// The token for an upload that has begun; its body cannot be sent twice, so it must be good at the first try.
    fn known_token(&self) -> Option<HeaderValue> {
        let key = self.key(&Request::new(Method::GET, self.base.clone()));
        lock(&self.session.tokens).get(&key).map(|token| token.header.clone())
    }

    fn key(&self, request: &Request) -> Key {
        Key::new(&self.endpoint, self.access, request.also.as_deref())
    }

    /// Sends a request and follows redirects; whom we did not mean to ask does not see who we are.
    async fn send(&self, request: &Request, authorization: Option<&HeaderValue>, what_for: Use) -> Answer<Response> {
        let (mut url, mut method, mut body) = (request.url.clone(), request.method.clone(), request.body.clone());
        for _ in 0..MOST_REDIRECTS {
            let client = self.session.client(&host_of(&url), self.protocol_of(&url)?, what_for)?;
            let mut builder = client.request(method.clone(), url.clone()).headers(request.headers.clone());
            if let Some(value) = authorization.filter(|_| self.is_ours(&url)) {
                builder = builder.header(AUTHORIZATION, value.clone());
            }
            if let Some(body) = body.clone() {
                builder = builder.body(body);
            }
            let response = builder.send().await.map_err(|error| trouble::of_request(&error))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let Some(target) = text_of(response.headers(), &LOCATION) else { return Ok(response) };
            let refused = |why: &str| Trouble::new(Kind::Other, format!("the registry sends us to `{target}`: {why}"));
            let next = url.join(&target).map_err(|_| refused("no address"))?;
            if response.status() == StatusCode::SEE_OTHER && method != Method::HEAD {
                (method, body) = (Method::GET, None);
            }
            if next.scheme() != "https" && self.protocol == Protocol::Https {
                return Err(refused("not over TLS"));
            }
            url = next;
        }
        Err(Trouble::new(Kind::Other, format!("the registry redirects us more than {MOST_REDIRECTS} times")))
    }

    /// How an address is spoken to: as the registry, if it is the registry's, and with checked certificates otherwise.
    fn protocol_of(&self, url: &Url) -> Answer<Protocol> {
        match url.scheme() {
            "http" => Ok(Protocol::Http),
            "https" if host_of(url) == host_of(&self.base) && self.protocol == Protocol::HttpsUnchecked => Ok(Protocol::HttpsUnchecked),
            "https" => Ok(Protocol::Https),
            other => Err(Trouble::new(Kind::Other, format!("the registry sends us to an address of kind `{other}`"))),
        }
    }
}

impl Remote<'_> {
    /// Where it is, and how it is spoken to there.
    pub(super) fn way(&self) -> (Endpoint, Protocol) {
        (self.endpoint.clone(), self.protocol)
    }
}

impl Source for Remote<'_> {
    fn open(&self, part: &Part, _at: usize) -> Result<Supply<'_>> {
        let blob = part
            .blob
            .as_ref()
            .ok_or_else(|| Failure::new(format!("cannot fetch layer {}", part.label)).because("nobody says what the registry calls it"))?;
        Ok(Supply::Registry(Box::new(Download::new(self, blob.digest.clone(), blob.size))))
    }

    fn repository(&self) -> Option<String> {
        Some(self.repository_name())
    }
}

/// What a lock holds; a thread that died with it in hand left nothing half done.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `registry.example:5000`, without the port where it is the usual one.
fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn header(text: &str) -> Answer<HeaderValue> {
    HeaderValue::from_str(text).map_err(|error| Trouble::new(Kind::Other, error.to_string()))
}

fn text_of(headers: &HeaderMap, name: &reqwest::header::HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// Reads an answer whole, if it is not too long.
async fn whole(mut response: Response, most: usize) -> Answer<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| trouble::of_request(&error))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > most {
            return Err(Trouble::new(Kind::Other, format!("the answer has more than {most} bytes")));
        }
    }
    Ok(bytes)
}

/// A body that is announced as an index and is none, or the other way round, may be meant to be read in two ways.
fn check_announced(announced: Option<&str>, bytes: &[u8]) -> Answer<()> {
    let announced = announced.map(|text| text.split(';').next().unwrap_or_default().trim());
    let is_index = match announced {
        Some(manifest::OCI_INDEX | manifest::DOCKER_LIST) => true,
        Some(manifest::OCI_MANIFEST | manifest::DOCKER_MANIFEST) => false,
        _ => return Ok(()),
    };
    let has_entries = serde_json::from_slice::<serde_json::Value>(bytes).is_ok_and(|value| value.get("manifests").is_some());
    if is_index == has_entries {
        return Ok(());
    }
    Err(Trouble::new(Kind::Mismatch, format!("it is announced as `{}` and is something else", announced.unwrap_or_default())))
}

/// The target of `<…>; rel="next"`.
fn next_page(link: &str) -> Option<String> {
    let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    rest.contains("next").then(|| target.to_owned())
}

/// How long an upload may wait for a word from the registry once it has all.
const VERDICT: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;
