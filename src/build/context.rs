//! The user's directories and the roots of stages, opened for reading.

use std::fs;
use std::io;
use std::path::Path;

use crate::build::chain::Chain;
use crate::build::digests::Digests;
use crate::build::ground::Place;
use crate::build::ignore;
use crate::build::ignore::Patterns;
use crate::build::root::Root;
use crate::build::tree::Owners;
use crate::build::tree::Tree;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::runtime;

/// Files to read from, and what is known of them.
#[derive(Debug)]
pub(super) struct Files {
    pub tree: Tree,
    pub digests: Digests,
    /// What the files are part of: a stage's layers. None: they may be other ones the next time.
    pub identity: Option<Vec<String>>,
}

/// Opens a directory of the user's.
///
/// What is ignored stands in `<Dockerfile>.dockerignore` beside the Dockerfile or in `.dockerignore` of the directory.
///
/// # Errors
/// It is no directory; a pattern that cannot be understood.
pub(super) fn open(home: &Home, place: &Place, dockerfile: Option<&Path>) -> Result<Files> {
    let path = place.directory.as_path();
    let root = Root::at(path).doing(|| format!("cannot open the build context `{}`", path.display()))?;
    let meta = root.find(Path::new("")).doing(|| format!("cannot read {}", path.display()))?;
    let digests = meta.map_or_else(Digests::forgetful, |meta| Digests::load(home, &meta));
    let ignore = ignored(place, dockerfile)?;
    Ok(Files { tree: Tree { root, owners: place.owners, ignore }, digests, identity: None })
}

/// What is ignored of a directory.
///
/// # Errors
/// A pattern that cannot be understood.
pub(super) fn ignored(place: &Place, dockerfile: Option<&Path>) -> Result<Patterns> {
    let path = place.directory.as_path();
    let own = dockerfile.map_or_else(|| path.join("Dockerfile"), Path::to_owned);
    let own = own.with_file_name(format!("{}.dockerignore", own.file_name().unwrap_or_default().to_string_lossy()));
    let mut ignore = Patterns::default();
    for file in [own, path.join(".dockerignore")] {
        let text = match fs::read(&file) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
            Err(error) => return Err(error).doing(|| format!("cannot read {}", file.display())),
        };
        let bad = |what: String| Failure::new(format!("cannot read {}", file.display())).because(what);
        ignore =
            Patterns::new(ignore::lines(&text)).map_err(|what| bad(what).hint("brackets need an end; `\\` needs something after it"))?;
        break;
    }
    Ok(ignore)
}

/// Opens a checkout of a repository, which is root's whoever made it.
///
/// # Errors
/// It is no directory.
pub(super) fn of_checkout(path: &Path) -> Result<Files> {
    let root = Root::at(path).doing(|| format!("cannot open {}", path.display()))?;
    let tree = Tree { root, owners: Owners::Root, ignore: Patterns::default() };
    Ok(Files { tree, digests: Digests::forgetful(), identity: None })
}

/// Opens the root of a finished stage.
///
/// # Errors
/// What the kernel says of its layers.
pub(super) fn of_stage(chain: &Chain) -> Result<Files> {
    let root = Root::of(runtime::open_root(&runtime::Root::Layers(chain.paths().to_vec()))?);
    let tree = Tree { root, owners: Owners::Kept, ignore: Patterns::default() };
    Ok(Files { tree, digests: Digests::forgetful(), identity: Some(chain.diff_ids().to_vec()) })
}
