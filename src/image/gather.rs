//! Puts a manifest or an index under a name in a registry, and before it all that it names, wherever that is.

use serde_json::Value;

use super::digest::Digest;
use super::manifest;
use super::mirrors::Rules;
use super::reference::Reference;
use super::registry::Access;
use super::registry::Begun;
use super::registry::Download;
use super::registry::Kind;
use super::registry::Protocol;
use super::registry::Remote;
use super::registry::Session;
use super::registry::Trouble;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

/// Something that an index names, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// `registry/repository`.
    pub repository: String,
    pub digest: String,
}

/// Brings the pieces into the repository of `name` as far as it has them not, then the document itself; its digest.
///
/// # Errors
/// A registry that is not there or refuses.
pub(super) fn put(home: &Home, name: &Reference, pieces: &[Piece], bytes: &[u8]) -> Result<String> {
    let rules = Rules::load(home)?;
    let endpoint = rules.origin(name)?;
    let session = Session::begin(home)?;
    let mut outcome = Err(Trouble::new(Kind::Unreachable, "it cannot be spoken to"));
    for protocol in Protocol::for_trust(endpoint.trust) {
        let target = Remote::new(&session, &endpoint, *protocol, Access::Push)?;
        outcome = (|| {
            for piece in pieces {
                bring(&session, &rules, &target, piece)?;
            }
            target.put_manifest(name.tag.as_deref().unwrap_or("latest"), manifest::media_type(bytes), bytes)
        })();
        if !matches!(&outcome, Err(trouble) if trouble.kind == Kind::Unreachable) {
            break;
        }
    }
    outcome.map_err(|trouble| {
        let failure = Failure::new(format!("cannot push the manifest list `{name}`")).because(trouble.text);
        if trouble.kind == Kind::Denied { failure.hint(format!("log in: coracle login {}", endpoint.registry)) } else { failure }
    })?;
    Ok(Digest::of(bytes).to_string())
}

/// Sees to it that the target's repository has a piece, by mounting or copying what it is made of.
fn bring(session: &Session, rules: &Rules, target: &Remote<'_>, piece: &Piece) -> Result<(), Trouble> {
    if piece.repository == target.repository_name() {
        return Ok(());
    }
    let other = |failure: Failure| Trouble::new(Kind::Other, failure.to_string());
    let endpoint = rules.place(&piece.repository);
    let mut found = Err(Trouble::new(Kind::Unreachable, format!("{} cannot be spoken to", piece.repository)));
    for protocol in Protocol::for_trust(endpoint.trust) {
        let source = Remote::new(session, &endpoint, *protocol, Access::Pull).map_err(other)?;
        found = source.manifest(&piece.digest).map(|bytes| (source, bytes));
        if found.is_ok() {
            break;
        }
    }
    let (source, bytes) = found?;
    if Digest::of(&bytes).as_str() != piece.digest {
        return Err(Trouble::new(Kind::Mismatch, format!("{} has something else under {}", piece.repository, piece.digest)));
    }
    let document: Value = serde_json::from_slice(&bytes).map_err(|error| Trouble::new(Kind::Other, error.to_string()))?;
    // An index in an index; what is meant by a manifest is none of our business: an attestation has layers of its own kind.
    for entry in document["manifests"].as_array().into_iter().flatten() {
        let digest = entry["digest"].as_str().unwrap_or_default().to_owned();
        bring(session, rules, target, &Piece { repository: piece.repository.clone(), digest })?;
    }
    let layers = document["layers"].as_array().into_iter().flatten();
    for blob in document.get("config").into_iter().chain(layers) {
        let digest = Digest::parse(blob["digest"].as_str().unwrap_or_default()).map_err(other)?;
        copy(&source, target, (&digest, blob["size"].as_u64().unwrap_or_default()))?;
    }
    target.put_manifest(&piece.digest, manifest::media_type(&bytes), &bytes)
}

fn copy(source: &Remote<'_>, target: &Remote<'_>, (digest, size): (&Digest, u64)) -> Result<(), Trouble> {
    if target.blob_size(digest)?.is_some() {
        return Ok(());
    }
    let name = source.repository_name();
    let sibling = name.strip_prefix(&format!("{}/", target.registry()));
    let upload = match target.begin_upload(sibling.map(|from| (digest, from)))? {
        Begun::Mounted => return Ok(()),
        Begun::Upload(upload) => upload,
    };
    let mut download = Download::new(source, digest.clone(), size);
    let mut sending = upload.whole(digest, size)?;
    while let Some(chunk) = download.next_chunk()? {
        if sending.write((*chunk).as_ref()).is_err() {
            // The registry hung up: its answer says why.
            break;
        }
    }
    sending.end()
}
