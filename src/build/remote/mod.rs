//! What lies on another machine: files behind addresses, git repositories. Each is asked for once in a build, and what
//! came stays for the next one.
//!
//! ```text
//! build/urls/<key>.json      what a server said of an address last
//! build/downloads/<hex>      a file, by its digest
//! build/git/<key>/           a bare repository: what was fetched from one place
//! build/checkouts/<key>/     a commit's files
//! ```

mod git;
mod reference;
mod web;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::build::Secret;
use crate::build::Wanted;
use crate::build::provenance::Material;
use crate::build::steps::SourceKind;
use crate::failure::Result;
use crate::place::Home;

pub(super) use git::Commit;
pub(super) use reference::GitReference;
pub(super) use reference::Reading;
pub(super) use reference::read as read_reference;
pub(super) use web::WebFile;
pub(super) use web::WebSource;
pub(super) use web::file_name;

/// Fetches things, each once.
pub(super) struct Remotes<'a> {
    home: &'a Home,
    secrets: &'a BTreeMap<String, Secret>,
    /// The socket of the agent that `--ssh default` passes on.
    agent: Option<PathBuf>,
    commits: Once<GitReference, Commit>,
    checkouts: Once<(GitReference, Commit), PathBuf>,
    files: Once<WebSource, WebFile>,
    contents: Once<(WebSource, WebFile), (PathBuf, i64)>,
}

impl<'a> Remotes<'a> {
    pub(super) fn new(home: &'a Home, wanted: &'a Wanted, agent: Option<PathBuf>) -> Remotes<'a> {
        Remotes {
            home,
            secrets: &wanted.secrets,
            agent,
            commits: Once::default(),
            checkouts: Once::default(),
            files: Once::default(),
            contents: Once::default(),
        }
    }

    pub(super) fn home(&self) -> &'a Home {
        self.home
    }

    /// Finds out which commit is meant.
    ///
    /// # Errors
    /// No such repository or revision.
    pub(super) fn commit(&self, reference: &GitReference) -> Result<Commit> {
        self.commits.get(reference, || git::Git::new(self).commit(reference))
    }

    /// Brings a commit's files here and says where they are; nobody changes them.
    ///
    /// # Errors
    /// As git(1).
    pub(super) fn checkout(&self, reference: &GitReference, commit: &Commit) -> Result<PathBuf> {
        self.checkouts.get(&(reference.clone(), commit.clone()), || git::Git::new(self).checkout(reference, commit))
    }

    /// Finds out what is behind an address; that may take fetching it.
    ///
    /// # Errors
    /// Nobody answers, or says no.
    pub(super) fn file(&self, source: &WebSource) -> Result<WebFile> {
        self.files.get(source, || web::file(self, source))
    }

    /// Where the content of a file is, and its time in nanoseconds since 1970.
    ///
    /// # Errors
    /// As [`Remotes::file`]; something else came than what was said to be there.
    pub(super) fn content(&self, source: &WebSource, file: &WebFile) -> Result<(PathBuf, i64)> {
        self.contents.get(&(source.clone(), file.clone()), || web::content(self, source, file))
    }

    /// What a source was this time.
    pub(super) fn material(&self, source: &SourceKind) -> Option<Material> {
        match source {
            SourceKind::Files(_) => None,
            SourceKind::Web { source, .. } => {
                let file = self.file(source).ok()?;
                let (algorithm, digest) = file.digest.split_once(':')?;
                Some(Material { uri: source.url.clone(), digest: (algorithm == "sha256").then(|| ("sha256", digest.to_owned())) })
            }
            SourceKind::Git(reference) => {
                let commit = self.commit(reference).ok()?;
                let object = commit.commit.unwrap_or(commit.object);
                let revision = if reference.revision.is_empty() { String::new() } else { format!("#{}", reference.revision) };
                let algorithm = if object.len() == 64 { "sha256" } else { "sha1" };
                Some(Material { uri: format!("{}{revision}", git::without_password(&reference.remote)), digest: Some((algorithm, object)) })
            }
        }
    }

    /// The value of a secret that is there to authorize us.
    fn secret(&self, id: &str) -> Option<String> {
        self.secrets
            .get(id)
            .and_then(|secret| secret.value(id).ok().flatten())
            .map(|value| String::from_utf8_lossy(&value).trim().to_owned())
    }
}

type Slot<V> = Arc<Mutex<Option<Result<V>>>>;

/// Values that are made once; who comes while one is made waits for it.
struct Once<K, V>(Mutex<BTreeMap<K, Slot<V>>>);

impl<K, V> Default for Once<K, V> {
    fn default() -> Once<K, V> {
        Once(Mutex::new(BTreeMap::new()))
    }
}

impl<K: Ord + Clone, V: Clone> Once<K, V> {
    fn get(&self, key: &K, make: impl FnOnce() -> Result<V>) -> Result<V> {
        let slot = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default().clone();
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert_with(make).clone()
    }
}
