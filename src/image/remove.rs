//! Removes names and images, with Docker's refusals.

use super::Listed;
use super::digest::Digest;
use super::layer_records;
use super::layer_records::LayerRecord;
use super::layers::chain;
use super::reference::Reference;
use super::store;
use super::store::ImageRecord;
use super::store::NameRecord;
use super::store::Word;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::state;

/// What [`remove()`] did, in order: Docker's `Untagged: …` and `Deleted: …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    Untagged(String),
    Deleted(String),
}

/// What a removal came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gone {
    pub changes: Vec<Removed>,
    /// In bytes, kept blobs included.
    pub freed: u64,
}

/// A container, and an image that it was made from or has mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    pub image: String,
    pub container: String,
    pub running: bool,
}

/// Says which images containers need, when nobody can make another one.
pub type InUse<'a> = &'a dyn Fn() -> Result<Vec<Use>>;

/// Removes a name, and with its last name the image, its configuration and the layers no other image has. What takes
/// room is only out of sight then: [`state::empty_trash`] deletes it.
///
/// The rules are Docker's. An image that a running container needs stays, without a name at most; one that only stopped
/// containers need goes with `force`, and its layers go when the last of them does: see [`remove_orphans`].
///
/// # Errors
/// No such image; in use.
pub fn remove(home: &Home, text: &str, in_use: InUse<'_>, force: bool) -> Result<Gone> {
    match attempt(home, text, in_use, force)? {
        Attempt::Done(gone) => {
            note_removals(home, &gone);
            Ok(gone)
        }
        Attempt::Held(id) => {
            let failure = Failure::new(format!("conflict: unable to delete {}", short(&id)));
            Err(failure.because("another command is at work with the image").hint("wait until it has ended"))
        }
        Attempt::Refused(failure) => Err(failure),
        Attempt::Missing => Err(Failure::new(format!("no such image: {}", shown(text)))),
    }
}

/// Takes away what the user has removed and what only containers kept, where these are gone by now; only these images, if
/// some are named.
///
/// # Errors
/// The store cannot be read or written.
pub fn remove_orphans(home: &Home, only: Option<&[String]>, in_use: InUse<'_>) -> Result<()> {
    let removed = || {
        let found = match only {
            Some(ids) => ids.iter().filter_map(|id| store::find_image(home, id).transpose()).collect::<Result<Vec<_>>>()?,
            None => store::images(home)?,
        };
        Ok::<_, Failure>(found.into_iter().filter(|image| image.removed).collect::<Vec<_>>())
    };
    if removed()?.is_empty() {
        return Ok(());
    }
    let _lock = store::lock(home)?;
    let uses = in_use()?;
    for image in removed()? {
        if uses.iter().any(|one| one.image == image.id) {
            continue;
        }
        if let Some(_held) = store::unpinned(home, &image.id)? {
            store::remove_image(home, &image)?;
        }
    }
    Ok(())
}

/// Removes the chosen of the images that nobody uses, and leaves the others without a word.
///
/// # Errors
/// The store cannot be read or written.
pub fn prune(home: &Home, chosen: &dyn Fn(&Listed) -> bool, in_use: InUse<'_>) -> Result<Gone> {
    let mut all = Gone::default();
    // Of one that is used no name goes either.
    let uses = in_use()?;
    let is_used = |listed: &&Listed| uses.iter().any(|one| one.image == listed.id);
    for listed in store::list(home)?.iter().filter(|listed| !is_used(listed) && chosen(listed)) {
        let name = match (listed.repository.as_str(), listed.tag.as_str(), &listed.manifest_digest) {
            ("<none>", ..) => listed.id.clone(),
            (repository, "<none>", Some(digest)) => format!("{repository}@{digest}"),
            (repository, tag, _) => format!("{repository}:{tag}"),
        };
        // Used, held, or gone in the meantime: then it is not for us.
        if let Attempt::Done(gone) = attempt(home, &name, in_use, false)? {
            all.changes.extend(gone.changes);
            all.freed += gone.freed;
        }
    }
    note_removals(home, &all);
    Ok(all)
}

fn note_removals(home: &Home, gone: &Gone) {
    for change in &gone.changes {
        match change {
            Removed::Untagged(name) => super::note(home, "untag", (name, name)),
            Removed::Deleted(id) => super::note(home, "delete", (id, id)),
        }
    }
}

enum Attempt {
    Done(Gone),
    /// Somebody is at work with the image of this id.
    Held(String),
    Refused(Failure),
    Missing,
}

fn attempt(home: &Home, text: &str, in_use: InUse<'_>, force: bool) -> Result<Attempt> {
    let lock = store::lock(home)?;
    let Some(word) = store::look_up(home, text)? else { return Ok(Attempt::Missing) };
    let all: Vec<NameRecord> = store::all_names(home)?.into_iter().filter(|name| name.id == word.id()).collect();
    let fates = fates(text, &word, &all);
    let last = fates.iter().all(|(_, fate)| *fate == Fate::Goes);
    // Nobody finds the image from here on, so nobody makes a container of it.
    let held = if last { store::unpinned(home, word.id())? } else { None };
    if last && held.is_none() {
        return Ok(Attempt::Held(word.id().to_owned()));
    }
    let mut uses = in_use()?;
    uses.retain(|one| one.image == word.id());
    if let Some(failure) = refusal(&word, &all, (&uses, force)) {
        return Ok(Attempt::Refused(failure));
    }
    let mut gone = Gone::default();
    for (name, fate) in &fates {
        lose(home, name, *fate, &mut gone.changes)?;
    }
    // One that runs keeps its image, which has no name then.
    if last
        && !uses.iter().any(|one| one.running)
        && let Some(image) = store::find_image(home, word.id())?
    {
        if uses.is_empty() {
            deleted(home, &image, &mut gone)?;
        } else {
            gone.changes.push(Removed::Deleted(image.id.clone()));
            store::put_record(home, &ImageRecord { removed: true, ..image })?;
        }
    }
    drop(lock);
    Ok(Attempt::Done(gone))
}

/// What becomes of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Goes,
    /// It stays, and is no longer known to be what a registry calls so.
    LosesDigest,
}

/// What becomes of the image's names when one of them, or the image itself, is removed.
fn fates(text: &str, word: &Word, names: &[NameRecord]) -> Vec<(NameRecord, Fate)> {
    let Word::Name(name) = word else { return names.iter().map(|name| (name.clone(), Fate::Goes)).collect() };
    let (own, _) = repository(name);
    // By its digest, even if it was found by a tag that has it.
    let digest = Reference::parse(text).ok().and_then(|reference| reference.digest);
    let tags_left = names.iter().any(|other| other.name != name.name && repository(other).0 == own && repository(other).1);
    let fate = |other: &NameRecord| {
        let (of, is_tag) = repository(other);
        match &digest {
            _ if of != own => Fate::Stays,
            Some(digest) if is_tag && other.digest.as_ref() == Some(digest) => Fate::LosesDigest,
            Some(digest) if !is_tag && other.name.ends_with(digest) => Fate::Goes,
            Some(_) => Fate::Stays,
            // A name goes alone, unless only names by digest of the same repository would be left.
            None if other.name == name.name || !is_tag && !tags_left => Fate::Goes,
            None => Fate::Stays,
        }
    };
    names.iter().map(|other| (other.clone(), fate(other))).collect()
}

/// `docker.io/library/redis`, and whether there is a tag behind it.
fn repository(record: &NameRecord) -> (String, bool) {
    Reference::parse(&record.name).map(|name| (name.name(), name.tag.is_some())).unwrap_or_default()
}

fn lose(home: &Home, name: &NameRecord, fate: Fate, changes: &mut Vec<Removed>) -> Result<()> {
    match fate {
        Fate::Stays => Ok(()),
        Fate::Goes => {
            store::remove_name(home, &name.name)?;
            untagged(name, changes)
        }
        Fate::LosesDigest => {
            let reference = Reference::parse(&name.name)?;
            store::put_name(home, &reference, &name.id, None)?;
            let digest = name.digest.as_deref().unwrap_or_default();
            let told = Removed::Untagged(format!("{}@{digest}", reference.familiar_name()));
            if !changes.contains(&told) {
                changes.push(told);
            }
            Ok(())
        }
    }
}

/// Why the image must not go, if it must not: the order and the words are Docker's.
fn refusal(word: &Word, names: &[NameRecord], (uses, force): (&[Use], bool)) -> Option<Failure> {
    let id = short(word.id());
    let cannot = |how: &str| Failure::new(format!("conflict: unable to delete {id} ({how} be forced)"));
    let by = |one: &Use, state: &str| format!("image is being used by {state} container {}", short(&one.container));
    if let Word::Name(name) = word {
        let user = uses.first().filter(|_| !force && is_single(names))?;
        let text = Reference::parse(&name.name).map_or_else(|_| name.name.clone(), |name| name.familiar());
        let failure = Failure::new(format!("conflict: unable to remove repository reference \"{text}\" (must force)"));
        let failure = failure.because(format!("container {} is using its referenced image {id}", short(&user.container)));
        return Some(failure.hint("remove the container first, or use --force"));
    }
    if let Some(user) = uses.iter().find(|one| one.running) {
        return Some(cannot("cannot").because(by(user, "running")).hint("remove the container first"));
    }
    if force {
        return None;
    }
    if !is_single(names) {
        let failure = cannot("must").because("image is referenced in multiple repositories");
        return Some(failure.hint("remove the names, or use --force"));
    }
    let user = uses.first()?;
    Some(cannot("must").because(by(user, "stopped")).hint("remove the container first, or use --force"))
}

/// Whether one tag at most means the image, and no digest of another repository does.
fn is_single(names: &[NameRecord]) -> bool {
    let mut repositories: Vec<String> = names.iter().map(|name| repository(name).0).collect();
    repositories.dedup();
    names.iter().filter(|name| repository(name).1).count() <= 1 && repositories.len() <= 1
}

fn untagged(name: &NameRecord, removed: &mut Vec<Removed>) -> Result<()> {
    let reference = Reference::parse(&name.name)?;
    removed.push(Removed::Untagged(reference.familiar()));
    if let Some(digest) = name.digest.as_ref().filter(|_| reference.digest.is_none()) {
        removed.push(Removed::Untagged(format!("{}@{digest}", reference.familiar_name())));
    }
    Ok(())
}

/// Docker names layers by their chain ids here, the highest first.
fn deleted(home: &Home, image: &ImageRecord, gone: &mut Gone) -> Result<()> {
    let mut chains: Vec<(String, Digest)> = Vec::new();
    for key in &image.layers {
        let record = state::find_json::<LayerRecord>(&layer_records::layer_record(home, key))?;
        let Some(diff_id) = record.and_then(|record| Digest::parse(&record.diff_id).ok()) else { continue };
        let chain = chain(chains.last().map(|(_, chain)| chain), &diff_id);
        chains.push((key.clone(), chain));
    }
    gone.changes.push(Removed::Deleted(image.id.clone()));
    let removed = store::remove_image(home, image)?;
    gone.freed += removed.iter().map(|(_, bytes)| bytes).sum::<u64>();
    let named = chains.into_iter().rev().filter(|(key, _)| removed.iter().any(|(known, _)| known == key));
    gone.changes.extend(named.map(|(_, chain)| Removed::Deleted(chain.to_string())));
    Ok(())
}

fn short(id: &str) -> &str {
    let hex = id.trim_start_matches("sha256:");
    &hex[..hex.len().min(12)]
}

/// The name as Docker repeats it: with `latest` if nothing was said.
fn shown(text: &str) -> String {
    Reference::parse(text).map_or_else(|_| text.to_owned(), |name| name.or_latest().familiar())
}
