//! Image names as Docker reads and writes them.
//!
//! The grammar and its defaults are those of <https://github.com/distribution/reference> (v0.6, `normalize.go` and
//! `regexp.go`), written out by hand: looking up an image must not wait for a regular expression to be compiled.

use std::fmt;

use super::digest;
use crate::failure::Failure;
use crate::failure::Result;

const HUB: &str = "docker.io";
const LONGEST_NAME: usize = 255;

/// A name in its canonical parts: `redis` is `docker.io`, `library/redis`, no tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// `docker.io`, `localhost:5000`.
    pub(super) domain: String,
    /// `library/redis`.
    pub(super) path: String,
    pub(super) tag: Option<String>,
    /// `sha256:<hex>` (or a longer algorithm).
    pub(super) digest: Option<String>,
}

impl Reference {
    /// Reads what a user wrote.
    pub(super) fn parse(text: &str) -> Result<Reference> {
        read(text).map_err(|why| {
            let failure = Failure::new(format!("cannot use `{text}` as an image name")).because(why);
            if text.chars().any(char::is_uppercase) && why_is_case(text) {
                failure.hint(format!("write it in lower case: `{}`", text.to_lowercase()))
            } else {
                failure
            }
        })
    }

    /// The same name with `latest` if it has neither tag nor digest.
    pub(super) fn or_latest(mut self) -> Reference {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".to_owned());
        }
        self
    }

    /// `docker.io/library/redis`.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// `redis`: the name without what Docker leaves out; but not if what is left would be read as another name.
    pub(super) fn familiar_name(&self) -> String {
        let is_taken_for_host = self.path.split_once('/').is_some_and(|(first, _)| looks_like_host(first));
        if self.domain != HUB || is_taken_for_host {
            return self.name();
        }
        // So many hexadecimal digits alone would be taken for an image's id.
        let is_id = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'));
        match self.path.strip_prefix("library/") {
            Some(short) if !short.contains('/') && !is_id(short) => short.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// `redis:8`, as Docker shows it.
    pub(super) fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    /// `docker.io/library/redis:8`.
    pub(super) fn canonical(&self) -> String {
        self.with_suffix(self.name())
    }

    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(digest);
        }
        name
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.familiar())
    }
}

fn why_is_case(text: &str) -> bool {
    read(&text.to_lowercase()).is_ok()
}

fn read(text: &str) -> Result<Reference, String> {
    const FORMAT: &str = "invalid reference format";
    if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(format!("invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"));
    }
    let (domain, rest) = split_domain(text);
    let named = rest.split([':', '@']).next().unwrap_or_default();
    if named != named.to_lowercase() {
        return Err(format!("{FORMAT}: repository name ({named}) must be lowercase"));
    }
    let (name_and_tag, digest) = match rest.split_once('@') {
        Some((before, digest)) => (before, Some(digest)),
        None => (rest.as_str(), None),
    };
    let (path, tag) = match name_and_tag.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (name_and_tag, None),
    };
    let formed = is_domain(&domain) && is_path(path) && tag.is_none_or(is_tag) && digest.is_none_or(has_digest_form);
    if !formed {
        return Err(FORMAT.to_owned());
    }
    if path.len() > LONGEST_NAME {
        return Err(format!("repository name must not be more than {LONGEST_NAME} characters"));
    }
    if let Some(digest) = digest {
        digest::check(digest)?;
    }
    Ok(Reference { domain, path: path.to_owned(), tag: tag.map(str::to_owned), digest: digest.map(str::to_owned) })
}

/// Splits off the registry, which is there if the first part looks like a host; gives the Hub's names their `library/`.
fn split_domain(text: &str) -> (String, String) {
    let first = text.split_once('/');
    let (domain, rest) = match first {
        Some((host, rest)) if looks_like_host(host) => (host, rest),
        _ => (HUB, text),
    };
    let domain = if domain == "index.docker.io" { HUB } else { domain };
    if domain == HUB && !rest.contains('/') {
        return (domain.to_owned(), format!("library/{rest}"));
    }
    (domain.to_owned(), rest.to_owned())
}

fn looks_like_host(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost" || part.to_lowercase() != part
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (domain, None),
    };
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit())) {
        return false;
    }
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
    }
    host.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

fn is_path(path: &str) -> bool {
    path.split('/').all(is_component)
}

/// Lower-case letters and digits, joined by one `.`, one or two `_`, or any number of `-`.
fn is_component(component: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    if !(bytes.first().is_some_and(plain) && bytes.last().is_some_and(plain)) {
        return false;
    }
    component
        .split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit())
        .all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|byte| byte == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut bytes = tag.bytes();
    tag.len() <= 128 && bytes.next().is_some_and(word) && bytes.all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

fn has_digest_form(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else { return false };
    let part = |part: &str| part.starts_with(|first: char| first.is_ascii_alphabetic()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    algorithm.split(['-', '_', '+', '.']).all(part) && hex.len() >= 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_dockers_defaults() {
        for (text, canonical, familiar) in [
            ("redis", "docker.io/library/redis:latest", "redis:latest"),
            ("redis:8", "docker.io/library/redis:8", "redis:8"),
            ("docker.io/redis", "docker.io/library/redis:latest", "redis:latest"),
            ("index.docker.io/library/redis:8", "docker.io/library/redis:8", "redis:8"),
            ("bitnami/redis", "docker.io/bitnami/redis:latest", "bitnami/redis:latest"),
            ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
            ("localhost/a", "localhost/a:latest", "localhost/a:latest"),
            ("localhost:5000/a:b", "localhost:5000/a:b", "localhost:5000/a:b"),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
            ("Reg/a", "Reg/a:latest", "Reg/a:latest"),
        ] {
            let name = Reference::parse(text).unwrap().or_latest();
            assert_eq!((name.canonical().as_str(), name.familiar().as_str()), (canonical, familiar), "{text}");
        }
    }

    #[test]
    fn bad_names_say_what_is_wrong() {
        for (text, why) in [
            ("", "invalid reference format"),
            ("a:b:c", "invalid reference format"),
            ("a//b", "invalid reference format"),
            ("a___b", "invalid reference format"),
            ("a._b", "invalid reference format"),
            ("-a", "invalid reference format"),
            ("a:", "invalid reference format"),
            ("http://a/b", "invalid reference format"),
            ("UPPER", "repository name (library/UPPER) must be lowercase"),
            ("a@md5:00000000000000000000000000000000", "unsupported digest algorithm"),
        ] {
            let failure = Reference::parse(text).unwrap_err().to_string();
            assert!(failure.contains(why), "{text}: {failure}");
        }
        assert!(Reference::parse(&"0".repeat(64)).is_err());
        assert!(Reference::parse(&format!("a:{}", "x".repeat(129))).is_err());
    }

    /// The answers of Docker's own parser, where the table of them lies beside the work tree.
    #[test]
    fn agrees_with_dockers_parser() {
        let table = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/oracle/build/public/tables/references.json");
        let Ok(bytes) = std::fs::read(table) else { return };
        let rows: Vec<serde_json::Map<String, serde_json::Value>> = serde_json::from_slice(&bytes).unwrap();
        assert!(!rows.is_empty());
        for row in rows {
            let field = |name: &str| row.get(name).and_then(|value| value.as_str());
            let text = field("ref").unwrap();
            match (Reference::parse(text), field("error")) {
                (Ok(name), None) => {
                    assert_eq!(Some(name.familiar().as_str()), field("familiar"), "{text}");
                    assert_eq!(Some(name.name().as_str()), field("name"), "{text}");
                    assert_eq!(name.digest.as_deref(), field("digest"), "{text}");
                    assert_eq!(Some(name.or_latest().canonical().as_str()), field("canonical"), "{text}");
                }
                (Err(failure), Some(error)) => assert!(failure.to_string().contains(error), "{text}: {failure}, want {error}"),
                (found, wanted) => panic!("{text}: {found:?}, want error {wanted:?}"),
            }
        }
    }
}
