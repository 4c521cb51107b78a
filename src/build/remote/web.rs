//! Files behind addresses.
//!
//! When a file is the same one, and what its time is, follows
//! <https://github.com/moby/buildkit/blob/v0.26.0/source/http/source.go>.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Write;
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use jiff::fmt::strtime;
use serde::Deserialize;
use serde::Serialize;
use sha2::Digest as _;
use sha2::Sha256;

use crate::build::limit;
use crate::build::records;
use crate::build::records::Key;
use crate::build::records::Used;
use crate::build::remote::Remotes;
use crate::build::remote::git::without_password;
use crate::build::remote::reference::decoded;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::image::WebAnswer;
use crate::image::WebRequest;
use crate::place::Home;
use crate::state;

const VERSION: u32 = 1;

/// An address, and what is known of the file behind it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::build) struct WebSource {
    pub url: String,
    /// `sha256:<hex>`: nothing else is accepted.
    pub checksum: Option<String>,
}

/// A file that is behind an address now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::build) struct WebFile {
    /// `sha256:<hex>`.
    pub digest: String,
    /// As the server says it; nobody was asked about a file with a checksum.
    pub last_modified: Option<String>,
}

/// What a server said of an address last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct UrlRecord {
    version: u32,
    etag: Option<String>,
    digest: String,
    last_modified: Option<String>,
}

/// The name a file gets from its address.
pub(in crate::build) fn file_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    let path = decoded(path);
    match path.trim_end_matches('/').rsplit('/').next() {
        None | Some("" | ".") => "__unnamed__".to_owned(),
        Some(name) => name.to_owned(),
    }
}

pub(super) fn file(remotes: &Remotes<'_>, source: &WebSource) -> Result<WebFile> {
    match &source.checksum {
        Some(checksum) => Ok(WebFile { digest: checksum.clone(), last_modified: None }),
        None => {
            let record = ask(remotes, source)?;
            Ok(WebFile { digest: record.digest, last_modified: record.last_modified })
        }
    }
}

pub(super) fn content(remotes: &Remotes<'_>, source: &WebSource, file: &WebFile) -> Result<(PathBuf, i64)> {
    let path = download_path(remotes.home, &file.digest);
    let record = match find_record(remotes.home, &source.url) {
        Some(record) if record.digest == file.digest && path.is_file() => record,
        _ => ask(remotes, source)?,
    };
    if record.digest != file.digest {
        let failure = Failure::new(format!("cannot fetch `{}`", source.url));
        let failure = failure.because(format!("digest mismatch {}: {}", record.digest, file.digest));
        return Err(failure.hint("the file is not the one that is wanted: correct `--checksum`, or find out who changed it"));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    records::note_use(remotes.home, Used::Download, &name, &shown(&source.url));
    Ok((path, record.last_modified.as_deref().and_then(moment).unwrap_or(0)))
}

/// An address without what may be a secret in it.
fn shown(url: &str) -> String {
    without_password(url.split(['?', '#']).next().unwrap_or_default())
}

fn download_path(home: &Home, digest: &str) -> PathBuf {
    home.build().join("downloads").join(digest.split_once(':').map_or(digest, |(_, hex)| hex))
}

fn record_path(home: &Home, url: &str) -> PathBuf {
    home.build().join("urls").join(Key::new("url").text(url).finish() + ".json")
}

fn find_record(home: &Home, url: &str) -> Option<UrlRecord> {
    // A record that cannot be read is as good as none.
    state::find_json::<UrlRecord>(&record_path(home, url)).ok()?.filter(|record| record.version == VERSION)
}

/// Asks the server, which sends the file only if it is another one than the one that is here.
fn ask(remotes: &Remotes<'_>, source: &WebSource) -> Result<UrlRecord> {
    let home = remotes.home;
    let known = find_record(home, &source.url).filter(|record| download_path(home, &record.digest).is_file());
    let request = WebRequest {
        url: source.url.clone(),
        known: known.as_ref().and_then(|record| record.etag.clone()),
        authorization: authorization(remotes, &source.url),
    };
    let directory = home.build().join("downloads");
    let writing = || format!("cannot write to {}", directory.display());
    fs::create_dir_all(&directory).doing(writing)?;
    let draft = directory.join(format!(".{}", &state::random_hex()[..16]));
    let mut hashing = Hashing { file: File::create(&draft).doing(writing)?, sum: Sha256::new() };
    let answer = image::fetch(home, &request, &mut hashing);
    let digest = format!("sha256:{}", hashing.sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    match (answer, known) {
        (Ok(WebAnswer::Same), Some(known)) => {
            let _ = fs::remove_file(&draft);
            Ok(known)
        }
        (Ok(WebAnswer::New { etag, last_modified }), _) => {
            let size = fs::metadata(&draft).map_or(0, |found| found.len());
            fs::rename(&draft, download_path(home, &digest)).doing(writing)?;
            limit::grown(home, size);
            let record = UrlRecord { version: VERSION, etag, digest, last_modified };
            state::write_json(&record_path(home, &source.url), &record)?;
            Ok(record)
        }
        (answer, _) => {
            let _ = fs::remove_file(&draft);
            let failure = Failure::new(format!("cannot fetch `{}`", source.url));
            Err(answer.err().unwrap_or_else(|| failure.because("the server says that nothing has changed since never")))
        }
    }
}

/// `HTTP_AUTH_HEADER_<host>` and `HTTP_AUTH_TOKEN_<host>` among the secrets.
fn authorization(remotes: &Remotes<'_>, url: &str) -> Option<String> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?.rsplit('@').next()?;
    let host = authority.split(':').next()?;
    let token = || remotes.secret(&format!("HTTP_AUTH_TOKEN_{host}")).map(|token| format!("Bearer {token}"));
    remotes.secret(&format!("HTTP_AUTH_HEADER_{host}")).or_else(token)
}

struct Hashing {
    file: File,
    sum: Sha256,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.sum.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A date of HTTP in nanoseconds, in any of the three ways that RFC 9110 has for it.
fn moment(text: &str) -> Option<i64> {
    let seconds = |moment: Timestamp| Some(moment.as_second().saturating_mul(1_000_000_000));
    if let Ok(moment) = rfc2822::DateTimeParser::new().parse_timestamp(text) {
        return seconds(moment);
    }
    let forms = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    forms
        .iter()
        .find_map(|form| strtime::parse(form, text).ok()?.to_datetime().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok())
        .and_then(|zoned| seconds(zoned.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_the_last_part_of_its_path() {
        for (url, name) in [
            ("http://h/a/b.txt?x=/y#z", "b.txt"),
            ("http://h/a%20b", "a b"),
            ("http://h/d/", "d"),
            ("http://h/", "__unnamed__"),
            ("http://h", "__unnamed__"),
        ] {
            assert_eq!(file_name(url), name, "{url}");
        }
    }

    #[test]
    fn dates_are_read_in_all_three_forms() {
        let wanted = Some(784_111_777_000_000_000);
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(moment(text), wanted, "{text}");
        }
        assert_eq!(moment("yesterday"), None);
    }
}
