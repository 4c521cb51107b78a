//! What a build stands on, brought to this machine: its context and its Dockerfile.

use std::fs;
use std::fs::File;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use crate::build::copy::Writer;
use crate::build::dockerfile::source::Source;
use crate::build::draft::Draft;
use crate::build::records::Key;
use crate::build::remote::Reading;
use crate::build::remote::Remotes;
use crate::build::remote::WebSource;
use crate::build::remote::read_reference;
use crate::build::root::Root;
use crate::build::tree::Owners;
use crate::build::unpack;
use crate::build::wanted::Context;
use crate::build::wanted::DockerfileAt;
use crate::build::wanted::Wanted;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

/// The one file of a context that is no archive: what is behind such an address is taken for the Dockerfile.
const LONE_FILE: &str = "context";

/// A directory that COPY reads from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub directory: PathBuf,
    pub owners: Owners,
    /// It holds one file, [`LONE_FILE`].
    is_lone_file: bool,
}

impl Place {
    /// A directory of the user's.
    pub(super) fn local(directory: &Path) -> Place {
        Place { directory: directory.to_owned(), owners: Owners::Root, is_lone_file: false }
    }
}

/// Context and Dockerfile.
#[derive(Debug)]
pub(super) struct Ground<'a> {
    pub place: Place,
    /// What the user calls the context.
    pub shown: String,
    pub source: Source,
    pub text: String,
    /// The Dockerfile's own path, beside which its ignore file may be.
    pub dockerfile: Option<PathBuf>,
    /// What came in over standard input lies in it.
    _draft: Option<Draft<'a>>,
}

impl<'a> Ground<'a> {
    /// Brings everything here.
    ///
    /// # Errors
    /// A context that cannot be had; a Dockerfile that cannot be read.
    pub(super) fn prepare(home: &'a Home, wanted: &Wanted, remotes: &Remotes<'_>) -> Result<Ground<'a>> {
        let mut draft = None;
        let (place, shown) = match &wanted.context {
            Context::Nothing => (Place::local(&draft.insert(Draft::begin(home)?).files()), "nothing".to_owned()),
            Context::Directory(path) => (Place::local(path), path.display().to_string()),
            Context::Remote(address) => (bring(remotes, address)?, address.clone()),
            Context::Input => (unpack_input(draft.insert(Draft::begin(home)?))?, "standard input".to_owned()),
        };
        let (name, path, text) = read(wanted, &place, remotes)?;
        Ok(Ground { place, shown, source: Source::new(name, &text), text, dockerfile: path, _draft: draft })
    }
}

/// Brings a context from elsewhere here.
///
/// # Errors
/// No such repository or file.
pub(super) fn bring(remotes: &Remotes<'_>, address: &str) -> Result<Place> {
    match read_reference(address) {
        Reading::Wrong(what) => Err(Failure::new(format!("cannot use the context `{address}`")).because(what)),
        Reading::Git(mut reference) => {
            if reference.looks_local {
                reference.remote = format!("https://{}", reference.remote);
                reference.looks_local = false;
            }
            let commit = remotes.commit(&reference)?;
            Ok(Place { directory: remotes.checkout(&reference, &commit)?, owners: Owners::Root, is_lone_file: false })
        }
        Reading::Other => bring_file(remotes, address),
    }
}

fn bring_file(remotes: &Remotes<'_>, address: &str) -> Result<Place> {
    let source = WebSource { url: address.to_owned(), checksum: None };
    let file = remotes.file(&source)?;
    let (path, _) = remotes.content(&source, &file)?;
    let home = remotes.home();
    let directory = home.build().join("checkouts").join(Key::new("archive").text(&file.digest).finish());
    let marked = directory.join(LONE_FILE);
    let cannot = || format!("cannot unpack `{address}`");
    let is_archive = match unpack::kind(File::open(&path).doing(cannot)?).doing(cannot)? {
        unpack::Kind::Archive(_) => true,
        unpack::Kind::Plain => false,
    };
    if !directory.is_dir() {
        let draft = Draft::begin(home)?;
        let made = draft.files().join("context");
        fs::create_dir(&made).doing(cannot)?;
        if is_archive {
            unpack_into(&path, &made).doing(cannot)?;
        } else {
            fs::copy(&path, made.join(LONE_FILE)).doing(cannot)?;
        }
        // Somebody who was quicker has the same in it.
        let placed = fs::create_dir_all(home.build().join("checkouts")).and_then(|()| fs::rename(&made, &directory));
        if !directory.is_dir() {
            placed.doing(cannot)?;
        }
    }
    Ok(Place { directory, owners: Owners::Kept, is_lone_file: !is_archive && marked.is_file() })
}

/// Unpacks what is on standard input; what is no archive is a lone Dockerfile.
fn unpack_input(draft: &Draft<'_>) -> Result<Place> {
    let cannot = || "cannot read the build context from standard input";
    let (file, directory) = (draft.files().join("input"), draft.files().join("context"));
    fs::create_dir(&directory).doing(cannot)?;
    let copied = File::create(&file).and_then(|mut file| io::copy(&mut io::stdin().lock(), &mut file));
    if copied.doing(cannot)? == 0 {
        return Err(Failure::new(cannot()).because("there is nothing").hint("pipe an archive or a Dockerfile to it, or name a directory"));
    }
    let is_lone_file = match unpack::kind(File::open(&file).doing(cannot)?).doing(cannot)? {
        unpack::Kind::Archive(_) => {
            unpack_into(&file, &directory).doing(cannot)?;
            false
        }
        unpack::Kind::Plain => {
            fs::rename(&file, directory.join(LONE_FILE)).doing(cannot)?;
            true
        }
    };
    Ok(Place { directory, owners: Owners::Kept, is_lone_file })
}

fn unpack_into(file: &Path, directory: &Path) -> io::Result<()> {
    let root = Root::at(directory)?;
    let writer = Writer { dest: &root, owner: None, mode: None };
    match unpack::kind(File::open(file)?)? {
        unpack::Kind::Archive(archive) => unpack::unpack(&writer, archive, "/"),
        _ => Err(io::Error::other("it is no archive")),
    }
}

/// The Dockerfile: what it is called, where it is if it is a file, its text.
fn read(wanted: &Wanted, place: &Place, remotes: &Remotes<'_>) -> Result<(PathBuf, Option<PathBuf>, String)> {
    let is_here = matches!(wanted.context, Context::Directory(_) | Context::Nothing);
    let inside = |name: &str| place.directory.join(name);
    let (shown, path) = match &wanted.dockerfile {
        DockerfileAt::Text(text) => return Ok(("Dockerfile".into(), None, text.clone())),
        DockerfileAt::Context if place.is_lone_file => ("Dockerfile".into(), inside(LONE_FILE)),
        DockerfileAt::Context => {
            let path = inside("Dockerfile");
            (if is_here { path.clone() } else { "Dockerfile".into() }, path)
        }
        DockerfileAt::Path(path) if path.to_string_lossy().contains("://") => return read_remote(remotes, path),
        DockerfileAt::Path(path) if is_here || path.is_absolute() => (path.clone(), path.clone()),
        DockerfileAt::Path(path) => (path.clone(), inside_checked(place, path)?),
    };
    let shown = shown.strip_prefix("./").unwrap_or(&shown).to_owned();
    let bytes = match fs::read(&path) {
        // Docker takes `dockerfile` too.
        Err(error) if error.kind() == io::ErrorKind::NotFound && wanted.dockerfile == DockerfileAt::Context => {
            fs::read(inside("dockerfile")).map_err(|_| error)
        }
        read => read,
    };
    let bytes = bytes.map_err(|error| {
        let failure = Failure::new(format!("cannot read the Dockerfile `{}`", shown.display())).because(&error);
        match error.kind() {
            io::ErrorKind::NotFound => failure.hint("name it with `-f FILE`, or write one there"),
            _ => failure,
        }
    })?;
    Ok((shown.clone(), Some(path), decoded(bytes, &shown)?))
}

/// A path in a context that somebody else made: no link in it leads out.
fn inside_checked(place: &Place, path: &Path) -> Result<PathBuf> {
    let resolved = Root::at(&place.directory).and_then(|root| root.resolve(path));
    Ok(place.directory.join(resolved.doing(|| format!("cannot read the Dockerfile `{}`", path.display()))?))
}

fn read_remote(remotes: &Remotes<'_>, address: &Path) -> Result<(PathBuf, Option<PathBuf>, String)> {
    let source = WebSource { url: address.to_string_lossy().into_owned(), checksum: None };
    let file = remotes.file(&source)?;
    let (path, _) = remotes.content(&source, &file)?;
    let bytes = fs::read(&path).doing(|| format!("cannot read {}", path.display()))?;
    Ok((address.to_owned(), None, decoded(bytes, address)?))
}

fn decoded(bytes: Vec<u8>, shown: &Path) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let failure = Failure::new(format!("cannot read the Dockerfile `{}`", shown.display()));
        failure.because(format!("it is not UTF-8: {}", error.utf8_error())).hint("save it as UTF-8")
    })
}
