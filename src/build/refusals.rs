//! What can be refused before anything is read, pulled or run.

use std::fs;
use std::path::Path;

use crate::build::LayoutForm;
use crate::build::Wanted;
use crate::build::caches::CacheFrom;
use crate::build::caches::CacheTo;
use crate::build::outputs::Output;
use crate::container;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::net;
use crate::place::Home;

/// Refuses names, limits and networks that cannot be: a build would come to them at its end, or not at all if a step is cached.
///
/// # Errors
/// The first of them.
pub(super) fn refuse(home: &Home, wanted: &Wanted) -> Result<()> {
    let outputs = wanted.outputs.iter().flat_map(names);
    for name in wanted.tags.iter().chain(outputs) {
        image::full_name(name)?;
    }
    let from = wanted.cache_from.iter().filter_map(|from| match from {
        CacheFrom::Registry { name } => Some(name),
        CacheFrom::Local { .. } => None,
    });
    let to = wanted.cache_to.iter().filter_map(|to| match to {
        CacheTo::Registry { name, .. } => Some(name),
        CacheTo::Inline | CacheTo::Local { .. } => None,
    });
    for name in from.chain(to) {
        image::full_name(name).map_err(|failure| failure.within(format!("cannot use the cache `{name}`")))?;
    }
    for (name, soft, hard) in &wanted.ulimits {
        container::ulimit(name, *soft, *hard)?;
    }
    is_network(home, wanted.network.as_deref())?;
    wanted.outputs.iter().try_for_each(is_place)
}

fn names(output: &Output) -> &[String] {
    match output {
        Output::Store { names } => names,
        Output::Layout { image, .. } | Output::Registry { image } => &image.names,
        Output::Nothing | Output::Directory { .. } | Output::Tar { .. } => &[],
    }
}

fn is_network(home: &Home, network: Option<&str>) -> Result<()> {
    let Some(name) = network.filter(|name| !matches!(*name, "" | "default" | "bridge" | "host" | "none")) else { return Ok(()) };
    let failure = Failure::new(format!("cannot build with the network `{name}`"));
    if name.starts_with("container:") {
        return Err(failure
            .because("a build does not share the network of a container")
            .hint("write `host`, `none` or the name of a network"));
    }
    match net::find(home, name)? {
        Some(_) => Ok(()),
        None => Err(failure.because("there is no such network").hint("see `coracle network ls`")),
    }
}

/// A directory is no archive, and no archive is a directory.
fn is_place(output: &Output) -> Result<()> {
    let (dest, is_directory): (&Path, bool) = match output {
        Output::Directory { dest, .. } => (dest, true),
        Output::Layout { dest, form, .. } => (dest, *form == LayoutForm::Directory),
        Output::Tar { dest, .. } => (dest, false),
        Output::Nothing | Output::Store { .. } | Output::Registry { .. } => return Ok(()),
    };
    let Ok(found) = fs::metadata(dest) else { return Ok(()) };
    let failure = || Failure::new(format!("cannot write the result to `{}`", dest.display()));
    match (is_directory, found.is_dir()) {
        (true, false) => Err(failure().because("it is there and no directory").hint("choose another `dest=`")),
        (false, true) => Err(failure().because("it is a directory").hint("name a file, or write `tar=false` for a layout in a directory")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_at_once() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::at(place.path(), place.path().join("run"));
        let refusal = |wanted: Wanted| refuse(&home, &wanted).map_err(|failure| failure.to_string());
        let text = |text: &str| text.to_owned();
        let cases = [
            (Wanted { tags: vec![text("UPPER")], ..Wanted::default() }, "lowercase"),
            (Wanted { cache_from: vec![CacheFrom::Registry { name: text("BAD//") }], ..Wanted::default() }, "cannot use the cache `BAD//`"),
            (Wanted { ulimits: vec![(text("nope"), 1, 1)], ..Wanted::default() }, "there is no such limit"),
            (Wanted { network: Some(text("nope")), ..Wanted::default() }, "there is no such network"),
            (Wanted { network: Some(text("container:x")), ..Wanted::default() }, "of a container"),
            (
                Wanted { outputs: vec![Output::Tar { dest: place.path().to_owned(), split: None }], ..Wanted::default() },
                "it is a directory",
            ),
        ];
        for (wanted, expected) in cases {
            let refused = refusal(wanted).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
        let good = Wanted { tags: vec![text("a/b:c")], network: Some(text("host")), ..Wanted::default() };
        assert_eq!(refusal(good), Ok(()));
    }
}
