//! Digests: the names of content, and the hashing that makes them.

use std::fmt;
use std::fmt::Write;

use sha2::Digest as _;
use sha2::Sha256;

use crate::failure::Failure;
use crate::failure::Result;

/// `sha256:` and 64 lower-case hexadecimal digits; checked where it is made, so it is safe as a file name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Digest(String);

impl Digest {
    /// Reads a digest from a document somebody else wrote.
    pub(super) fn parse(text: &str) -> Result<Digest> {
        let refuse = |why: &str| Err(Failure::new(format!("cannot use the digest `{text}`")).because(why));
        match text.split_once(':') {
            Some(("sha256", hex)) if hex.len() == 64 && hex.bytes().all(is_lower_hex) => Ok(Digest(text.to_owned())),
            Some(("sha256", _)) => refuse("invalid checksum digest format"),
            Some((_, _)) => refuse("unsupported digest algorithm"),
            None => refuse("invalid checksum digest format"),
        }
    }

    /// Names these bytes.
    pub(super) fn of(bytes: &[u8]) -> Digest {
        let mut hasher = Sha256::new();
        hasher.update(bytes);
        Digest::finish(hasher)
    }

    /// Ends a running hash.
    pub(super) fn finish(hasher: Sha256) -> Digest {
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        for byte in hasher.finalize() {
            let _ = write!(text, "{byte:02x}");
        }
        Digest(text)
    }

    /// The whole: `sha256:<hex>`.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Only the 64 digits.
    pub(super) fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }

    /// The 12 digits that people are shown.
    pub(super) fn short(&self) -> &str {
        &self.hex()[..12]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Checks a digest that somebody wrote, of any algorithm that is known (OCI image-spec, descriptor.md).
///
/// # Errors
/// A sentence that names the fault.
pub fn check(text: &str) -> std::result::Result<(), String> {
    let Some((algorithm, hex)) = text.split_once(':') else { return Err("invalid checksum digest format".to_owned()) };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return Err("unsupported digest algorithm".to_owned()),
    };
    if hex.len() != length {
        return Err("invalid checksum digest length".to_owned());
    }
    let good = hex.bytes().all(is_lower_hex);
    if good { Ok(()) } else { Err("invalid checksum digest format".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_lower_case_sha256_is_a_digest() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(Digest::parse(&good).unwrap().hex(), "0a".repeat(32));
        for bad in ["", "sha256:", "sha256:abcd", "md5:00000000000000000000000000000000", "sha256:../../../etc/passwd"] {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
        assert!(Digest::parse(&good.to_uppercase()).is_err());
        assert!(Digest::parse(&format!("sha256:{}", "0A".repeat(32))).is_err());
    }

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        assert_eq!(Digest::of(b"").as_str(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn a_digest_has_an_algorithm_and_its_length() {
        assert!(check(&format!("sha256:{}", "a".repeat(64))).is_ok());
        assert_eq!(check("abc").unwrap_err(), "invalid checksum digest format");
        assert_eq!(check("md5:abc").unwrap_err(), "unsupported digest algorithm");
        assert_eq!(check("sha256:abc").unwrap_err(), "invalid checksum digest length");
    }
}
