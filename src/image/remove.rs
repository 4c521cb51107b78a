//! Removes names and images, with Docker's refusals.

use super::Removed;
use super::digest::Digest;
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

/// See [`super::remove()`].
pub(super) fn remove(home: &Home, text: &str, in_use: &[String], force: bool) -> Result<Vec<Removed>> {
    let lock = store::lock(home)?;
    let Some(word) = store::look_up(home, text)? else {
        return Err(Failure::new(format!("no such image: {}", shown(text))));
    };
    let names: Vec<NameRecord> = store::all_names(home)?.into_iter().filter(|name| name.id == word.id()).collect();
    let used = in_use.iter().any(|id| id == word.id());
    let names = match &word {
        Word::Name(name) => names_that_go(name, &names),
        Word::Id(image) => {
            refuse_by_id(image, &names, used, force)?;
            names.iter().map(|name| (name.clone(), true)).collect()
        }
    };
    let last = names.iter().all(|(_, goes)| *goes);
    if let Word::Name(name) = &word
        && last
        && used
        && !force
    {
        let why = format!("container is using its referenced image {}", short(&name.id));
        let failure = Failure::new(format!("conflict: unable to remove repository reference \"{text}\" (must force)")).because(why);
        return Err(failure.hint("remove the container first, or use --force"));
    }
    let held = if last && !used { store::unpinned(home, word.id())? } else { None };
    if last && !used && held.is_none() {
        let failure = Failure::new(format!("conflict: unable to delete {}", short(word.id())));
        return Err(failure.because("another command is reading the image").hint("wait until it has ended"));
    }
    let mut removed = Vec::new();
    for (name, _) in names.iter().filter(|(_, goes)| *goes) {
        store::remove_name(home, &name.name)?;
        untagged(name, &mut removed)?;
    }
    // The layers of an image that a container was made from must stay; the image then has no name.
    if last
        && !used
        && let Some(image) = store::find_image(home, word.id())?
    {
        deleted(home, &image, &mut removed)?;
    }
    drop(lock);
    state::empty_trash(home);
    Ok(removed)
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

fn refuse_by_id(image: &ImageRecord, names: &[NameRecord], used: bool, force: bool) -> Result<()> {
    let id = short(&image.id);
    if used && !force {
        let failure =
            Failure::new(format!("conflict: unable to delete {id} (must be forced)")).because("image is being used by a container");
        return Err(failure.hint("remove the container first, or use --force"));
    }
    let mut repositories: Vec<String> = names.iter().filter_map(|name| Reference::parse(&name.name).ok()).map(|name| name.name()).collect();
    repositories.sort();
    repositories.dedup();
    let tags = names.iter().filter(|name| !name.name.contains('@')).count();
    if (repositories.len() > 1 || tags > 1) && !force {
        let failure = Failure::new(format!("conflict: unable to delete {id} (must be forced)"));
        return Err(failure.because("image is referenced in multiple repositories").hint("remove the names, or use --force"));
    }
    Ok(())
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
fn deleted(home: &Home, image: &ImageRecord, removed: &mut Vec<Removed>) -> Result<()> {
    let mut chains: Vec<(String, Digest)> = Vec::new();
    for key in &image.layers {
        let record = state::find_json::<store::LayerRecord>(&store::layer_record(home, key))?;
        let Some(diff_id) = record.and_then(|record| Digest::parse(&record.diff_id).ok()) else { continue };
        let chain = chain(chains.last().map(|(_, chain)| chain), &diff_id);
        chains.push((key.clone(), chain));
    }
    removed.push(Removed::Deleted(image.id.clone()));
    let gone = store::remove_image(home, image)?;
    let named = chains.into_iter().rev().filter(|(key, _)| gone.contains(key));
    removed.extend(named.map(|(_, chain)| Removed::Deleted(chain.to_string())));
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
