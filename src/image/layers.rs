//! Layers in the making: from an empty directory that only its maker may touch to one that everybody shares.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Watch;
use super::digest::Digest;
use super::keep::KeptDraft;
use super::layer_records;
use super::layer_records::LayerRecord;
use crate::failure::Doing;
use crate::failure::Result;
use crate::making;
use crate::place::Home;
use crate::state;
use crate::state::Lock;

/// A layer's directory in the making.
pub(super) struct Draft<'a> {
    home: &'a Home,
    directory: making::Draft<'a>,
}

impl<'a> Draft<'a> {
    /// Makes an empty one.
    pub(super) fn begin(home: &'a Home) -> Result<Draft<'a>> {
        let directory = making::Draft::begin(home, making::PLAIN)?;
        // It becomes a root directory.
        let opened = fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755));
        opened.doing(|| format!("cannot make {}", directory.path().display()))?;
        Ok(Draft { home, directory })
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Gives the directory its place among the layers. If somebody else was first, theirs stays.
    pub(super) fn commit(self, key: &str, record: &LayerRecord, kept: Option<KeptDraft>) -> Result<()> {
        place(self.home, self.path(), key, record, kept)
    }
}

impl Draft<'_> {
    /// Gives the directory a place that is free, for a layer whose kept blob is there already.
    pub(super) fn commit_beside_kept(self, key: &str, record: &LayerRecord) -> Result<()> {
        state::write_json(&layer_records::layer_record(self.home, key), record)?;
        let target = layer_records::layer_directory(self.home, key);
        fs::rename(self.path(), &target).doing(|| format!("cannot store layer {key}"))
    }
}

/// Moves a finished directory among the layers. If there is such a layer, the directory goes to the trash.
///
/// The record comes first, then the kept blob, then the directory: so a blob that nobody knows of never comes to be.
pub(super) fn place(home: &Home, directory: &Path, key: &str, record: &LayerRecord, kept: Option<KeptDraft>) -> Result<()> {
    let target = layer_records::layer_directory(home, key);
    if !target.is_dir() {
        let record = LayerRecord { kept: kept.as_ref().map(|draft| draft.kept().clone()), ..record.clone() };
        state::write_json(&layer_records::layer_record(home, key), &record)?;
        kept.map_or(Ok(()), |draft| draft.commit(home))?;
    }
    match fs::rename(directory, &target) {
        Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => {
            state::discard(home, directory)
        }
        outcome => outcome.doing(|| format!("cannot store layer {key}")),
    }
}

/// Takes away what makers left behind that did not live to finish; says whether there was something.
pub(super) fn sweep(home: &Home) -> bool {
    making::sweep(home, making::PLAIN, |_, _| {})
}

/// Waits until nobody else makes this layer.
pub(super) fn lock(home: &Home, diff_id: &Digest, watch: &dyn Watch) -> Result<Lock> {
    let name = format!("layer-{}", diff_id.hex());
    if let Some(lock) = Lock::attempt(home, &name)? {
        return Ok(lock);
    }
    watch.note(&format!("{}: waiting for another command that fetches it", diff_id.short()));
    Lock::alone(home, &name)
}

/// The chain id of a layer upon others (OCI image-spec, config.md): what it is called if it depends on them.
pub(super) fn chain(below: Option<&Digest>, diff_id: &Digest) -> Digest {
    match below {
        None => diff_id.clone(),
        Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
    }
}

/// The directory this layer has in the store, if it is there.
pub(super) fn present(home: &Home, diff_id: &Digest, chain: &Digest) -> Option<String> {
    [diff_id, chain].into_iter().map(|digest| digest.hex().to_owned()).find(|key| layer_records::layer_directory(home, key).is_dir())
}

/// The directories' names of a whole stack, the lowest first; for a layer that is not there, the name it would have.
pub(super) fn keys(home: &Home, diff_ids: &[Digest]) -> Vec<String> {
    let mut below: Option<Digest> = None;
    let mut keys = Vec::new();
    for diff_id in diff_ids {
        let chain = chain(below.as_ref(), diff_id);
        keys.push(present(home, diff_id, &chain).unwrap_or_else(|| diff_id.hex().to_owned()));
        below = Some(chain);
    }
    keys
}
