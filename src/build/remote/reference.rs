//! What names a git repository: `https://host/x.git#ref:directory`, `git@host:x.git?tag=v1`.
//!
//! Follows <https://github.com/moby/buildkit/blob/v0.26.0/frontend/dockerfile/dfgitutil/git_ref.go>.

use std::collections::BTreeMap;

/// A repository, what is wanted of it, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::build) struct GitReference {
    /// What git is given.
    pub remote: String,
    /// A branch, a tag or a commit; the repository's own choice if empty.
    pub revision: String,
    /// A directory of the repository; all of it if empty.
    pub directory: String,
    /// The beginning of the commit it must be.
    pub checksum: Option<String>,
    /// `github.com/x/y`: a path of this machine may look the same.
    pub looks_local: bool,
    pub keep_git: Option<bool>,
    pub submodules: Option<bool>,
    pub times: Times,
    /// The commit is fetched without asking what the revision means.
    pub by_commit: bool,
}

/// The time that files of a checkout have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::build) enum Times {
    #[default]
    Checkout,
    Commit,
}

/// What a text that may name a repository comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::build) enum Reading {
    Git(GitReference),
    /// It names a repository, but says something about it that cannot be.
    Wrong(String),
    Other,
}

/// A text cut into the parts of an address.
#[derive(Default)]
struct Parts<'a> {
    remote: String,
    query: &'a str,
    fragment: &'a str,
    is_address: bool,
}

/// Finds out whether a text names a git repository.
pub(in crate::build) fn read(text: &str) -> Reading {
    if text.starts_with("./") || text.starts_with("../") {
        return Reading::Other;
    }
    let Some((parts, looks_local)) = parts_of(text) else { return Reading::Other };
    // `git@host:path` is no address, and nothing in it is escaped.
    let fragment = if parts.is_address { decoded(parts.fragment) } else { parts.fragment.to_owned() };
    let (revision, directory) = fragment.split_once(':').unwrap_or((&fragment, ""));
    let mut reference = GitReference {
        remote: parts.remote,
        revision: revision.to_owned(),
        directory: clean(directory),
        looks_local,
        ..GitReference::default()
    };
    match query(&mut reference, parts.query) {
        Ok(()) => Reading::Git(reference),
        Err(what) => Reading::Wrong(what),
    }
}

fn parts_of(text: &str) -> Option<(Parts<'_>, bool)> {
    let (before, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (remote, query) = before.split_once('?').unwrap_or((before, ""));
    // A `?` with nothing behind it is a part of the name.
    let mark = if before.ends_with('?') && query.is_empty() { "?" } else { "" };
    let address = |scheme: &str, rest: &str| Parts { remote: format!("{scheme}{rest}{mark}"), query, fragment, is_address: true };
    if text.starts_with("github.com/") {
        return Some((address("", remote), true));
    }
    if let Some((scheme, rest)) = remote.split_once("://").filter(|(scheme, _)| scheme.chars().all(|c| c.is_ascii_alphanumeric())) {
        let scheme = scheme.to_ascii_lowercase();
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let is_git = match scheme.as_str() {
            "ssh" | "git" => true,
            // Everything else behind such an address is a file.
            "http" | "https" => decoded(path).ends_with(".git"),
            _ => false,
        };
        return (is_git && is_host(host)).then(|| (address(&format!("{scheme}://"), rest), false));
    }
    let (user, rest) = remote.split_once('@')?;
    let (host, _) = rest.split_once(':')?;
    let word = |text: &str, more: char| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == more);
    let parts = || Parts { remote: remote.to_owned(), query, fragment, is_address: false };
    (word(user, '_') && word(host, '.')).then(|| (parts(), false))
}

/// `user:password@host:22`: what stands where the port stands must be one.
fn is_host(text: &str) -> bool {
    let host = text.rsplit_once('@').map_or(text, |(_, host)| host);
    let behind = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
    let port = behind.rsplit_once(':').map_or("", |(_, port)| port);
    !host.contains([' ', '%']) && port.chars().all(|c| c.is_ascii_digit())
}

/// `%41` is `A`.
pub(super) fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten().and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(hex.unwrap_or(bytes[at]));
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn clean(directory: &str) -> String {
    crate::paths::clean(&format!("/{directory}")).trim_start_matches('/').to_owned()
}

fn query(reference: &mut GitReference, text: &str) -> Result<(), String> {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for field in text.split('&').filter(|field| !field.is_empty()) {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        let plain = |text: &str| decoded(&text.replace('+', " "));
        values.entry(plain(key)).or_default().push(plain(value));
    }
    let (mut tag, mut branch) = (None, None);
    for (key, values) in values {
        let [value] = values.as_slice() else { return Err(format!("query {key:?} has multiple values")) };
        if value.is_empty() && !matches!(key.as_str(), "submodules" | "keep-git-dir" | "fetch-by-commit") {
            return Err(format!("query {key:?} has no value"));
        }
        match key.as_str() {
            "ref" => agree("ref", &mut reference.revision, value)?,
            "tag" => tag = Some(full("refs/tags/", value)),
            "branch" => branch = Some(full("refs/heads/", value)),
            "subdir" => agree("subdir", &mut reference.directory, value)?,
            "checksum" | "commit" => reference.checksum = Some(value.clone()),
            "keep-git-dir" => reference.keep_git = Some(truth(&key, value)?),
            "submodules" => reference.submodules = Some(truth(&key, value)?),
            "fetch-by-commit" => reference.by_commit = truth(&key, value)?,
            "mtime" => reference.times = times(value)?,
            _ => return Err(format!("unexpected query {key:?}")),
        }
    }
    if tag.is_some() && branch.is_some() {
        return Err("branch conflicts with tag".to_owned());
    }
    tag.or(branch).map_or(Ok(()), |full| agree("ref", &mut reference.revision, &full))
}

/// What is said twice must be the same.
fn agree(what: &str, known: &mut String, value: &str) -> Result<(), String> {
    if !known.is_empty() && known != value {
        return Err(format!("{what} conflicts: {known:?} vs {value:?}"));
    }
    value.clone_into(known);
    Ok(())
}

fn full(prefix: &str, name: &str) -> String {
    if name.starts_with(prefix) { name.to_owned() } else { format!("{prefix}{name}") }
}

fn truth(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "" | "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("invalid {key} value: {value:?}")),
    }
}

fn times(value: &str) -> Result<Times, String> {
    match value {
        "checkout" => Ok(Times::Checkout),
        "commit" => Ok(Times::Commit),
        _ => Err(format!("invalid mtime value: {value:?} (must be \"checkout\" or \"commit\")")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::oracle;

    fn fits(row: &serde_json::Value, ours: &Reading) -> bool {
        let wanted = &row["ref"];
        match ours {
            Reading::Git(ours) => {
                wanted["Remote"] == *ours.remote
                    && wanted["Ref"] == *ours.revision
                    && wanted["SubDir"] == *ours.directory
                    && wanted["Checksum"] == *ours.checksum.clone().unwrap_or_default()
                    && wanted["IndistinguishableFromLocal"] == ours.looks_local
                    && wanted["KeepGitDir"].as_bool() == ours.keep_git
                    && wanted["Submodules"].as_bool() == ours.submodules
                    && wanted["FetchByCommit"] == ours.by_commit
            }
            Reading::Wrong(what) => row["is_git"] == true && row["error"] == **what,
            Reading::Other => row["is_git"] == false,
        }
    }

    #[test]
    fn repositories_are_named_as_buildkit_names_them() {
        let Some(rows) = oracle::table("giturls") else { return };
        let wrong: Vec<String> = rows
            .iter()
            .map(|row| (row, read(row["url"].as_str().unwrap())))
            .filter(|(row, ours)| !fits(row, ours))
            .map(|(row, ours)| format!("{row}: got {ours:?}"))
            .collect();
        assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    }

    #[test]
    fn what_is_said_twice_must_agree() {
        let wrong = |text: &str| match read(text) {
            Reading::Wrong(what) => what,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(wrong("https://h/x.git?subdir=a#m:b"), "subdir conflicts: \"b\" vs \"a\"");
        assert_eq!(wrong("https://h/x.git?tag=a&branch=b"), "branch conflicts with tag");
        assert_eq!(wrong("https://h/x.git?ref=a&ref=b"), "query \"ref\" has multiple values");
        assert_eq!(wrong("git@h:x.git?what=1"), "unexpected query \"what\"");
        let Reading::Git(tagged) = read("https://h/x.git?tag=v1&keep-git-dir") else { panic!() };
        assert_eq!((tagged.revision.as_str(), tagged.keep_git), ("refs/tags/v1", Some(true)));
        assert_eq!(read("https://h/x.txt"), Reading::Other);
        assert_eq!(read("a@b"), Reading::Other);
    }
}
