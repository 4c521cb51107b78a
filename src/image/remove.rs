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

/// Says which images containers were made from, when nobody can make another one.
pub type InUse<'a> = &'a dyn Fn() -> Result<Vec<String>>;

/// Removes a name, and with its last name the image, its configuration and the layers no other image has. What takes
/// room is only out of sight then: [`state::empty_trash`] deletes it.
///
/// The layers of images that containers were made from stay and, without `force`, removing them is refused; so is
/// removing what another command is at work with.
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

/// Removes the chosen of the images that nobody uses, and leaves the others without a word.
///
/// # Errors
/// The store cannot be read or written.
pub fn prune(home: &Home, chosen: &dyn Fn(&Listed) -> bool, in_use: InUse<'_>) -> Result<Gone> {
    let mut all = Gone::default();
    for listed in store::list(home)?.iter().filter(|listed| chosen(listed)) {
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
    let names = match &word {
        Word::Name(name) => names_that_go(name, &all),
        Word::Id(_) => all.iter().map(|name| (name.clone(), true)).collect(),
    };
    let last = names.iter().all(|(_, goes)| *goes);
    // Nobody finds the image from here on, so nobody makes a container of it.
    let held = if last { store::unpinned(home, word.id())? } else { None };
    if last && held.is_none() {
        return Ok(Attempt::Held(word.id().to_owned()));
    }
    let used = in_use()?.iter().any(|id| id == word.id());
    if let Some(failure) = refusal(&word, &all, (used, force)).filter(|_| last || matches!(word, Word::Id(_))) {
        return Ok(Attempt::Refused(failure));
    }
    let mut gone = Gone::default();
    for (name, _) in names.iter().filter(|(_, goes)| *goes) {
        store::remove_name(home, &name.name)?;
        untagged(name, &mut gone.changes)?;
    }
    // The layers of an image that a container was made from must stay; the image then has no name.
    if last
        && !used
        && let Some(image) = store::find_image(home, word.id())?
    {
        deleted(home, &image, &mut gone)?;
    }
    drop(lock);
    Ok(Attempt::Done(gone))
}

/// A name goes alone, unless only names by digest of the same repository would be left.
fn names_that_go(name: &NameRecord, names: &[NameRecord]) -> Vec<(NameRecord, bool)> {
    let repository = |record: &NameRecord| Reference::parse(&record.name).map(|name| (name.name(), name.tag.is_some())).unwrap_or_default();
    let (own, _) = repository(name);
    let tags_left = names.iter().any(|other| other.name != name.name && repository(other).0 == own && repository(other).1);
    names
        .iter()
        .map(|other| {
            let (of, is_tag) = repository(other);
            (other.clone(), other.name == name.name || (of == own && !is_tag && !tags_left))
        })
        .collect()
}

/// Why the image must not go, if it must not.
fn refusal(word: &Word, names: &[NameRecord], (used, force): (bool, bool)) -> Option<Failure> {
    if force {
        return None;
    }
    let id = short(word.id());
    let Word::Id(_) = word else {
        let text = match word {
            Word::Name(name) => Reference::parse(&name.name).map_or_else(|_| name.name.clone(), |name| name.familiar()),
            Word::Id(image) => image.id.clone(),
        };
        let failure = Failure::new(format!("conflict: unable to remove repository reference \"{text}\" (must force)"));
        let failure = failure.because(format!("container is using its referenced image {id}"));
        return used.then(|| failure.hint("remove the container first, or use --force"));
    };
    if used {
        let failure = Failure::new(format!("conflict: unable to delete {id} (must be forced)"));
        return Some(failure.because("image is being used by a container").hint("remove the container first, or use --force"));
    }
    let mut repositories: Vec<String> = names.iter().filter_map(|name| Reference::parse(&name.name).ok()).map(|name| name.name()).collect();
    repositories.sort();
    repositories.dedup();
    let tags = names.iter().filter(|name| !name.name.contains('@')).count();
    if repositories.len() > 1 || tags > 1 {
        let failure = Failure::new(format!("conflict: unable to delete {id} (must be forced)"));
        return Some(failure.because("image is referenced in multiple repositories").hint("remove the names, or use --force"));
    }
    None
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
