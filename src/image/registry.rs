//! Talks to registries, through oci-client; the only file that is asynchronous, behind blocking doors.
//!
//! What oci-client lacks is added here: retries with back-off, resuming a cut download, errors that say whose fault
//! it was, and a host without certificates. vendor-notes/oci-client.md has the list.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::Once;
use std::time::Duration;

use futures_util::StreamExt;
use oci_client::Client;
use oci_client::Reference as Address;
use oci_client::RegistryOperation;
use oci_client::client::BlobResponse;
use oci_client::client::ClientConfig;
use oci_client::client::ClientProtocol;
use oci_client::client::SizedStream;
use oci_client::errors::OciDistributionError;
use oci_client::errors::OciErrorCode;
use oci_client::secrets::RegistryAuth;
use tokio::runtime::Runtime;

use super::assemble::Part;
use super::assemble::Source;
use super::credentials;
use super::digest::Digest;
use super::manifest::ACCEPTED;
use super::mirrors::Endpoint;
use super::mirrors::Trust;
use super::stream::Supply;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::sys::environment;

/// A registry that sends nothing for so long is taken for dead.
const SILENCE: Duration = Duration::from_secs(20);
const CONNECT: Duration = Duration::from_secs(15);
/// How often one request is tried; a silence counts twice.
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// A piece of a download.
pub(super) type Chunk = Box<dyn AsRef<[u8]> + Send>;

/// The engine room of all connections of one command.
pub(super) struct Session {
    runtime: Runtime,
    clients: Mutex<Vec<(Protocol, Client)>>,
}

/// How a registry is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Https,
    Http,
    /// TLS with a certificate that nobody checks.
    HttpsUnchecked,
}

impl Protocol {
    /// What is tried, in order.
    pub(super) fn for_trust(trust: Trust) -> &'static [Protocol] {
        match trust {
            Trust::Certified => &[Protocol::Https],
            Trust::Any => &[Protocol::Http, Protocol::HttpsUnchecked],
        }
    }
}

/// Why a registry did not give what it was asked for.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) kind: Kind,
    pub(super) text: String,
}

/// What a caller can do about a [`Trouble`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Another try may help.
    Passing,
    /// It sent nothing for too long.
    Silent,
    /// Nobody answers there, or not in the language we speak.
    Unreachable,
    /// The certificate is not good.
    Certificate,
    Missing,
    Denied,
    /// It sent something else than was asked for.
    Mismatch,
    Other,
}

impl Trouble {
    /// Whether the same request may be answered well at another time.
    pub(super) fn is_of_the_network(&self) -> bool {
        matches!(self.kind, Kind::Passing | Kind::Silent | Kind::Unreachable)
    }
}

impl Session {
    /// Makes ready for the first connection.
    pub(super) fn begin(home: &Home) -> Result<Session> {
        install_tls(home)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Ok(Session { runtime: runtime.doing(|| "cannot start the registry client")?, clients: Mutex::new(Vec::new()) })
    }

    fn client(&self, protocol: Protocol) -> Result<Client> {
        let mut clients = self.clients.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, client)) = clients.iter().find(|(known, _)| *known == protocol) {
            return Ok(client.clone());
        }
        let config = ClientConfig {
            protocol: if protocol == Protocol::Http { ClientProtocol::Http } else { ClientProtocol::Https },
            accept_invalid_certificates: protocol == Protocol::HttpsUnchecked,
            read_timeout: Some(SILENCE),
            connect_timeout: Some(CONNECT),
            user_agent: concat!("coracle/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).map_err(|error| Failure::new("cannot start the registry client").because(deepest(&error)))?;
        clients.push((protocol, client.clone()));
        Ok(client)
    }
}

/// One repository at one place.
pub(super) struct Remote<'a> {
    session: &'a Session,
    client: Client,
    endpoint: Endpoint,
    auth: RegistryAuth,
}

impl<'a> Remote<'a> {
    /// Makes ready to ask this place; nothing is sent yet.
    pub(super) fn new(session: &'a Session, endpoint: &Endpoint, protocol: Protocol) -> Result<Remote<'a>> {
        let client = session.client(protocol)?;
        Ok(Remote { session, client, auth: credentials::of(&endpoint.registry)?, endpoint: endpoint.clone() })
    }

    /// Whether somebody logged in here, so that a refusal is not for want of it.
    pub(super) fn is_logged_in(&self) -> bool {
        self.auth != RegistryAuth::Anonymous
    }

    /// Gets the raw manifest that a tag or digest names.
    pub(super) fn manifest(&self, tag_or_digest: &str) -> std::result::Result<Vec<u8>, Trouble> {
        let address = self.address(tag_or_digest);
        with_retries(|| {
            self.session.runtime.block_on(async {
                // First for itself, because pull_manifest_raw would swallow why a token was refused.
                self.client.auth(&address, &self.auth, RegistryOperation::Pull).await.map_err(|error| trouble(&error))?;
                let (bytes, _) = self.client.pull_manifest_raw(&address, &self.auth, ACCEPTED).await.map_err(|error| trouble(&error))?;
                Ok(bytes.to_vec())
            })
        })
    }

    /// Gets a small blob whole and checks it.
    pub(super) fn small_blob(&self, digest: &Digest, size: u64) -> std::result::Result<Vec<u8>, Trouble> {
        let mut download = Download::new(self, digest.clone(), size);
        let mut bytes = Vec::new();
        while let Some(chunk) = download.next_chunk()? {
            bytes.extend_from_slice((*chunk).as_ref());
        }
        if Digest::of(&bytes) != *digest {
            return Err(Trouble { kind: Kind::Mismatch, text: format!("what came does not have the digest {digest}") });
        }
        Ok(bytes)
    }

    fn address(&self, tag_or_digest: &str) -> Address {
        let (registry, repository) = (self.endpoint.registry.clone(), self.endpoint.repository.clone());
        if tag_or_digest.contains(':') {
            Address::with_digest(registry, repository, tag_or_digest.to_owned())
        } else {
            Address::with_tag(registry, repository, tag_or_digest.to_owned())
        }
    }

    /// Begins to fetch a blob at `offset`. A registry that knows no ranges sends it from the start.
    fn begin_blob(&self, digest: &Digest, offset: u64) -> std::result::Result<(SizedStream, u64), Trouble> {
        let address = self.address(digest.as_str());
        // Always by range, even from 0: oci-client hashes a whole blob itself, and so do we.
        let response = self.session.runtime.block_on(self.client.pull_blob_stream_partial(&address, digest.as_str(), offset, None));
        match response.map_err(|error| trouble(&error))? {
            BlobResponse::Partial(stream) => Ok((stream, offset)),
            BlobResponse::Full(stream) => Ok((stream, 0)),
        }
    }
}

impl Source for Remote<'_> {
    fn open(&self, part: &Part, _at: usize) -> Result<Supply<'_>> {
        let blob = part
            .blob
            .as_ref()
            .ok_or_else(|| Failure::new(format!("cannot fetch layer {}", part.label)).because("nobody says what it is called there"))?;
        Ok(Supply::Registry(Box::new(Download::new(self, blob.digest.clone(), blob.size))))
    }

    fn repository(&self) -> Option<String> {
        Some(format!("{}/{}", self.endpoint.registry, self.endpoint.repository))
    }
}

/// A blob as it comes in: exactly as many bytes as its descriptor says, resumed where it was cut.
pub(super) struct Download<'a> {
    remote: &'a Remote<'a>,
    digest: Digest,
    size: u64,
    received: u64,
    stream: Option<SizedStream>,
    /// Bytes to drop, when a registry began again from the start.
    repeated: u64,
    patience: Patience,
}

impl<'a> Download<'a> {
    pub(super) fn new(remote: &'a Remote<'a>, digest: Digest, size: u64) -> Download<'a> {
        Download { remote, digest, size, received: 0, stream: None, repeated: 0, patience: Patience::new() }
    }

    /// The next bytes; none when all `size` have come.
    pub(super) fn next_chunk(&mut self) -> std::result::Result<Option<Chunk>, Trouble> {
        while self.received < self.size {
            match self.try_chunk() {
                Ok(Some(chunk)) => return Ok(Some(chunk)),
                Ok(None) => {}
                Err(trouble) => {
                    self.stream = None;
                    self.patience.wait(trouble)?;
                }
            }
        }
        Ok(None)
    }

    fn try_chunk(&mut self) -> std::result::Result<Option<Chunk>, Trouble> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let (stream, start) = self.remote.begin_blob(&self.digest, self.received)?;
                let announced = stream.content_length.map(|length| start + length);
                if let Some(announced) = announced.filter(|announced| *announced != self.size) {
                    let text = format!("the registry announces {announced} bytes for {}, the manifest {}", self.digest, self.size);
                    return Err(Trouble { kind: Kind::Mismatch, text });
                }
                self.repeated = self.received - start;
                self.stream.insert(stream)
            }
        };
        let Some(next) = self.remote.session.runtime.block_on(stream.next()) else {
            return Err(Trouble {
                kind: Kind::Passing,
                text: format!("the connection ended after {} of {} bytes", self.received, self.size),
            });
        };
        let chunk = next.map_err(|error| broken_stream(&error))?;
        self.patience.progress();
        let bytes: &[u8] = &chunk;
        let skip = (bytes.len() as u64).min(self.repeated);
        self.repeated -= skip;
        let keep = ((bytes.len() as u64) - skip).min(self.size - self.received);
        if keep == 0 {
            return Ok(None);
        }
        self.received += keep;
        Ok(Some(if keep == bytes.len() as u64 { Box::new(chunk) } else { Box::new(bytes[skip as usize..(skip + keep) as usize].to_vec()) }))
    }
}

/// How long we go on trying.
struct Patience {
    tries: u32,
    pause: Duration,
}

impl Patience {
    fn new() -> Patience {
        Patience { tries: 0, pause: FIRST_PAUSE }
    }

    /// Something came, so a later cut is a new one; but a registry that cuts every time must not keep us for ever.
    fn progress(&mut self) {
        self.pause = FIRST_PAUSE;
    }

    /// Waits before the next try, or gives the trouble back if there shall be none.
    fn wait(&mut self, trouble: Trouble) -> std::result::Result<(), Trouble> {
        self.tries += match trouble.kind {
            Kind::Passing => 1,
            Kind::Silent => 2,
            _ => return Err(trouble),
        };
        if self.tries >= TRIES {
            return Err(trouble);
        }
        std::thread::sleep(self.pause);
        self.pause *= 2;
        Ok(())
    }
}

fn with_retries<T>(attempt: impl Fn() -> std::result::Result<T, Trouble>) -> std::result::Result<T, Trouble> {
    let mut patience = Patience::new();
    loop {
        match attempt() {
            Err(trouble) => patience.wait(trouble)?,
            done => return done,
        }
    }
}

fn trouble(error: &OciDistributionError) -> Trouble {
    use OciDistributionError as E;
    let text = deepest(error);
    let kind = match error {
        E::RegistryError { envelope, .. } => {
            let text =
                envelope.errors.iter().map(|error| if error.message.is_empty() { code_text(&error.code) } else { error.message.clone() });
            return Trouble {
                kind: kind_of_code(envelope.errors.first().map(|error| &error.code)),
                text: text.collect::<Vec<_>>().join("; "),
            };
        }
        E::ServerError { code, message, .. } => {
            let kind = match code {
                404 => Kind::Missing,
                401 | 403 => Kind::Denied,
                408 | 429 | 500..=599 => Kind::Passing,
                400 if message.contains("HTTPS") => Kind::Unreachable,
                _ => Kind::Other,
            };
            return Trouble { kind, text: format!("the registry answered with HTTP status {code}") };
        }
        E::UnauthorizedError { .. } => {
            return Trouble { kind: Kind::Denied, text: "the registry asks for a login (HTTP status 401)".into() };
        }
        E::AuthenticationFailure(answer) => return refused_token(answer),
        E::DigestError(_) => Kind::Mismatch,
        E::RequestError(request) if request.is_timeout() && !request.is_connect() => Kind::Silent,
        E::RequestError(request) if text.contains("certificate") => {
            let _ = request;
            Kind::Certificate
        }
        E::RequestError(request) if request.is_connect() => Kind::Unreachable,
        E::RequestError(request) if request.is_redirect() || request.is_builder() => Kind::Other,
        E::RequestError(_) | E::IoError(_) => Kind::Passing,
        _ => Kind::Other,
    };
    Trouble { kind, text }
}

/// The token server's own words, if they are short enough to be meant for people.
fn refused_token(answer: &str) -> Trouble {
    let parsed: Option<serde_json::Value> = serde_json::from_str(answer).ok();
    let said = parsed.as_ref().and_then(|value| {
        let first = value.get("errors").and_then(|errors| errors.get(0)).unwrap_or(value);
        ["message", "details", "error_description"].iter().find_map(|key| first.get(key)?.as_str())
    });
    let text = said.map_or_else(|| "the registry gives us no token".to_owned(), |said| format!("the registry gives us no token: {said}"));
    Trouble { kind: Kind::Denied, text }
}

fn kind_of_code(code: Option<&OciErrorCode>) -> Kind {
    use OciErrorCode as C;
    match code {
        Some(C::ManifestUnknown | C::NameUnknown | C::NotFound | C::BlobUnknown | C::ManifestBlobUnknown) => Kind::Missing,
        Some(C::Unauthorized | C::Denied) => Kind::Denied,
        Some(C::Toomanyrequests) => Kind::Passing,
        _ => Kind::Other,
    }
}

fn code_text(code: &OciErrorCode) -> String {
    serde_json::to_value(code).ok().and_then(|value| value.as_str().map(|text| text.to_lowercase().replace('_', " "))).unwrap_or_default()
}

fn broken_stream(error: &std::io::Error) -> Trouble {
    let text = deepest(error);
    // oci-client checks the digest of a blob it sends whole, at its end.
    let mismatch = text.contains("digest") || text.contains("Digest") || text.contains("expected sha256");
    let silent = text.contains("timed out");
    Trouble {
        kind: if mismatch {
            Kind::Mismatch
        } else if silent {
            Kind::Silent
        } else {
            Kind::Passing
        },
        text,
    }
}

/// The cause at the bottom of a chain of errors, which is the only one that says something.
fn deepest(error: &(dyn Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// Chooses the cryptography, and gives a host without certificates the bundled ones.
pub(super) fn install_tls(home: &Home) -> Result<()> {
    static ONCE: Once = Once::new();
    let mut outcome = Ok(());
    ONCE.call_once(|| {
        // An error only says that it was chosen before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        if !has_certificates() {
            outcome = bring_certificates(&home.run().join("certificates.pem"));
        }
    });
    outcome
}

fn has_certificates() -> bool {
    const BUNDLES: [&str; 7] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/pki/tls/cacert.pem",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/ssl/cert.pem",
        "/etc/certs/ca-certificates.crt",
    ];
    let is_full = |path: &Path| fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() > 0);
    let has_files = |path: &Path| fs::read_dir(path).is_ok_and(|mut found| found.next().is_some());
    // The variables replace the usual places, even if they lead nowhere.
    match (std::env::var_os("SSL_CERT_FILE"), std::env::var_os("SSL_CERT_DIR")) {
        (None, None) => BUNDLES.iter().any(|path| is_full(Path::new(path))) || has_files(Path::new("/etc/ssl/certs")),
        (file, directory) => {
            file.is_some_and(|file| is_full(file.as_ref())) || directory.is_some_and(|directory| has_files(directory.as_ref()))
        }
    }
}

/// reqwest finds roots in files only, so the bundled ones become a file.
fn bring_certificates(path: &Path) -> Result<()> {
    use base64::Engine;
    let mut text = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = base64::engine::general_purpose::STANDARD.encode(certificate.as_ref());
        for line in encoded.as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    crate::state::write_whole(path, text.as_bytes())?;
    environment::set("SSL_CERT_FILE", path.as_os_str());
    Ok(())
}
