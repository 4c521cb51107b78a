//! Why a registry did not give what it was asked for.

use std::error::Error;
use std::time::Duration;

use oci_client::errors::OciEnvelope;
use oci_client::errors::OciErrorCode;
use reqwest::Response;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use reqwest::header::RETRY_AFTER;

use super::Answer;
use super::client::CONNECT;
use super::client::SILENCE;

/// Longer complaints are not meant for people.
const LONGEST_COMPLAINT: usize = 64 << 10;

/// Why a registry did not give what it was asked for.
#[derive(Debug, Clone)]
pub struct Trouble {
    pub kind: Kind,
    pub text: String,
    /// How long the registry wants us to wait.
    pub retry_after: Option<Duration>,
}

/// What a caller can do about a [`Trouble`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
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
    /// One that need not be waited for.
    pub fn new(kind: Kind, text: impl Into<String>) -> Trouble {
        Trouble { kind, text: text.into(), retry_after: None }
    }

    /// Whether the same request may be answered well at another time.
    pub fn is_of_the_network(&self) -> bool {
        matches!(self.kind, Kind::Passing | Kind::Silent | Kind::Unreachable)
    }
}

impl Trouble {
    /// What can be done about a certificate of this registry that is not good.
    pub fn certificate_hint(&self, registry: &str) -> String {
        let place = format!("/etc/docker/certs.d/{registry}");
        if self.text.contains("client certificate") {
            return format!("put it and its key into {place} as client.cert and client.key");
        }
        format!("put its authority's certificate into {place}/ca.crt")
    }
}

/// Gives the answer back if its status is one of the good ones.
///
/// # Errors
/// What the registry says, or what its status means.
pub async fn expect(response: Response, good: &[StatusCode]) -> Answer<Response> {
    if good.contains(&response.status()) {
        return Ok(response);
    }
    let (status, retry_after) = (response.status(), retry_after(response.headers()));
    let body = beginning(response).await;
    Err(Trouble { retry_after, ..of_status(status, &body) })
}

async fn beginning(mut response: Response) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LONGEST_COMPLAINT {
            break;
        }
    }
    bytes
}

/// What a status and the complaint that came with it mean.
pub fn of_status(status: StatusCode, body: &[u8]) -> Trouble {
    let mut kind = match status.as_u16() {
        404 => Kind::Missing,
        401 | 403 => Kind::Denied,
        408 | 425 | 429 | 500..=599 => Kind::Passing,
        400 if String::from_utf8_lossy(body).contains("HTTPS") => Kind::Unreachable,
        _ => Kind::Other,
    };
    let plain = format!("the registry answered with HTTP status {}", status.as_u16());
    let Ok(envelope) = serde_json::from_slice::<OciEnvelope>(body) else { return Trouble::new(kind, plain) };
    if let Some(known) = envelope.errors.first().and_then(|error| kind_of_code(&error.code))
        && kind != Kind::Passing
    {
        kind = known;
    }
    let said = envelope.errors.iter().map(|error| {
        let said = if error.message.is_empty() { code_text(&error.code) } else { error.message.clone() };
        said.chars().filter(|c| !c.is_control()).take(400).collect::<String>()
    });
    let said: Vec<String> = said.filter(|text| !text.is_empty()).collect();
    Trouble::new(kind, if said.is_empty() { plain } else { said.join("; ") })
}

fn kind_of_code(code: &OciErrorCode) -> Option<Kind> {
    use OciErrorCode as C;
    match code {
        C::ManifestUnknown | C::NameUnknown | C::NotFound | C::BlobUnknown => Some(Kind::Missing),
        C::Unauthorized | C::Denied => Some(Kind::Denied),
        // An upload that the registry has lost is begun again.
        C::Toomanyrequests | C::BlobUploadInvalid | C::BlobUploadUnknown => Some(Kind::Passing),
        C::DigestInvalid | C::SizeInvalid => Some(Kind::Mismatch),
        _ => None,
    }
}

fn code_text(code: &OciErrorCode) -> String {
    serde_json::to_value(code).ok().and_then(|value| value.as_str().map(|text| text.to_lowercase().replace('_', " "))).unwrap_or_default()
}

/// How long to wait: seconds, or until a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Duration::try_from(until.duration_since(jiff::Timestamp::now())).ok()
}

/// Why a request could not be sent, or its answer not be read.
pub fn of_request(error: &reqwest::Error) -> Trouble {
    let text = deepest(error);
    // What rustls says of an answer that is no TLS.
    if text.contains("InvalidContentType") {
        return Trouble::new(
            Kind::Unreachable,
            "it does not speak TLS; if it is to be trusted, name it with `insecure = true` in registries.conf",
        );
    }
    if ["CertificateRequired", "BadCertificate", "AccessDenied"].iter().any(|alert| text.contains(&format!("alert: {alert}"))) {
        return Trouble::new(Kind::Certificate, format!("it wants a client certificate that it knows ({text})"));
    }
    let kind = if error.is_timeout() && !error.is_connect() {
        Kind::Silent
    } else if text.contains("certificate") || text.contains("UnknownIssuer") || text.contains("CertNotValid") {
        Kind::Certificate
    } else if error.is_connect() {
        Kind::Unreachable
    } else if error.is_builder() || error.is_redirect() {
        Kind::Other
    } else {
        Kind::Passing
    };
    Trouble::new(kind, worded(error, text))
}

/// What was waited for, whose name it was, and whether a proxy is meant: the cause alone does not say it.
fn worded(error: &reqwest::Error, deepest: String) -> String {
    let links: Vec<String> = std::iter::successors(error.source(), |link| (*link).source()).map(ToString::to_string).collect();
    let has = |text: &str| links.iter().any(|link| link.contains(text));
    if has("proxy authorization required") {
        return "the proxy wants another user and password than the environment gives it".to_owned();
    }
    if has("tunnel error: unsuccessful") {
        return "the proxy refuses to connect us".to_owned();
    }
    let text = match deepest.split_once("Name(\"").and_then(|(_, rest)| rest.split_once("\")")) {
        Some((name, _)) if has("dns error") => format!("no name server knows `{}`", name.trim_end_matches('.')),
        _ if has("dns error") => format!("no name server answers: {deepest}"),
        _ if error.is_timeout() && error.is_connect() => format!("nobody has answered in {} s", CONNECT.as_secs()),
        _ if error.is_timeout() => format!("it has sent nothing for {} s", SILENCE.as_secs()),
        _ => deepest,
    };
    if has("tunnel error") { format!("the proxy cannot be used: {text}") } else { text }
}

/// The cause at the bottom of a chain of errors, which is the only one that says something.
pub fn deepest(error: &(dyn Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_and_a_complaint_have_a_meaning() {
        let envelope = |code: &str| format!(r#"{{"errors":[{{"code":"{code}","message":"so it is"}}]}}"#);
        for (status, body, kind, text) in [
            (404, envelope("MANIFEST_UNKNOWN"), Kind::Missing, "so it is"),
            (404, "<html>".to_owned(), Kind::Missing, "HTTP status 404"),
            (401, envelope("UNAUTHORIZED"), Kind::Denied, "so it is"),
            (403, envelope("DENIED"), Kind::Denied, "so it is"),
            (503, envelope("DENIED"), Kind::Passing, "so it is"),
            (429, r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#.to_owned(), Kind::Passing, "toomanyrequests"),
            (400, "Client sent an HTTP request to an HTTPS server.".to_owned(), Kind::Unreachable, "HTTP status 400"),
            (400, envelope("DIGEST_INVALID"), Kind::Mismatch, "so it is"),
        ] {
            let trouble = of_status(StatusCode::from_u16(status).unwrap(), body.as_bytes());
            assert_eq!(trouble.kind, kind, "{status} {body}");
            assert!(trouble.text.contains(text), "{}", trouble.text);
        }
    }

    #[test]
    fn a_registry_says_in_two_ways_how_long_to_wait() {
        let after = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("soon"), None);
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), None);
        let date = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(100)).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        assert!(after(&date).is_some_and(|wait| (90..=100).contains(&wait.as_secs())), "{date}");
    }
}
