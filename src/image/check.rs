//! Checks the store: every blob against its digest, every layer against its diff id, every name and image against what
//! they speak of; and repairs what can be had again.
//!
//! A directory cannot be compared with a tar stream at once. So the stream that was kept is unpacked anew, and both
//! directories are written as the tar stream that only depends on what is in them: equal streams are equal trees.

mod records;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use sha2::Digest as _;
use sha2::Sha256;

use super::Watch;
use super::digest::Digest;
use super::keep;
use super::layer_blob::LayerBlob;
use super::layer_records;
use super::layer_records::LayerRecord;
use super::layers;
use super::layers::Draft;
use super::manifest::Document;
use super::mirrors::Rules;
use super::registry::Access;
use super::registry::Download;
use super::registry::Protocol;
use super::registry::Remote;
use super::registry::Session;
use super::settle;
use super::store;
use super::store::ImageRecord;
use super::stream;
use super::stream::Keeping;
use super::stream::Order;
use super::stream::Received;
use super::stream::Supply;
use super::tar_writer::Writer;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::state;

/// Whether faults are only told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    No,
    /// What can be had again is; layers that containers stand on are left alone.
    Yes,
}

/// What was looked at, and what was wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    pub images: usize,
    pub layers: usize,
    pub blobs: usize,
    pub faults: Vec<Fault>,
}

/// Something wrong with the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    /// `layer sha256:…`
    pub what: String,
    pub why: String,
    /// Whether it could be mended, or why not; none if nobody tried.
    pub mended: Option<Result<(), String>>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    Damaged,
    /// There is nothing to compare it with.
    Unchecked,
    /// It only takes room.
    Rubbish,
}

/// See [`super::check()`].
pub(super) fn check(home: &Home, repair: Repair, in_use: &[String], watch: &dyn Watch) -> Result<Checked> {
    let _arriving = store::arriving(home)?;
    let images = Vec::new();
    let mut check = Check { home, repair, in_use, watch, images, session: None, faults: Vec::new(), full: AtomicBool::new(false) };
    check.unreadable()?;
    let mut checked = Checked { images: check.images.len(), ..Checked::default() };
    for image in check.images.clone() {
        check.lost_layers(&image)?;
    }
    for (key, record) in layer_records::layer_records(home)? {
        if !layer_records::layer_directory(home, &key).is_dir() {
            check.orphan_record(&key)?;
            continue;
        }
        checked.layers += 1;
        check.layer(&key, record)?;
    }
    for image in check.images.clone() {
        check.image(&image)?;
    }
    check.names()?;
    checked.blobs = check.blobs()?;
    checked.faults = check.faults;
    Ok(checked)
}

struct Check<'a> {
    home: &'a Home,
    repair: Repair,
    in_use: &'a [String],
    watch: &'a dyn Watch,
    images: Vec<ImageRecord>,
    session: Option<Session>,
    faults: Vec<Fault>,
    /// There was no room to unpack a layer beside the one that is looked at, so nothing can be said of it.
    full: AtomicBool,
}

impl Check<'_> {
    /// Tells a fault, and mends it if that is wanted.
    fn fault(&mut self, kind: FaultKind, (what, why): (String, String), mend: impl FnOnce(&mut Self) -> Result<()>) {
        let mended = (self.repair == Repair::Yes).then(|| mend(self).map_err(|failure| failure.to_string()));
        self.faults.push(Fault { kind, what, why, mended });
    }

    // ---- layers ----

    fn layer(&mut self, key: &str, record: LayerRecord) -> Result<()> {
        let what = format!("layer {}", record.diff_id);
        let compared = self.compare(key, &record);
        // What it was compared with makes room for the next.
        state::empty_trash(self.home);
        if self.full.load(Ordering::Relaxed) {
            let failure = Failure::new("cannot check the store").because("there is no room to unpack a layer for comparison");
            return Err(failure.hint("make room: remove images that nobody needs with `coracle image prune -a`"));
        }
        match compared {
            Ok(None) => {}
            // Removed while we looked at it.
            _ if !layer_records::layer_directory(self.home, key).is_dir() => {}
            Ok(Some(Damage::Kept(why))) => {
                self.fault(FaultKind::Damaged, (format!("{what} (the blob kept for it)"), why), |check| check.refetch_kept(key, &record));
            }
            Ok(Some(Damage::Tree(why))) => {
                self.fault(FaultKind::Damaged, (what, why), |check| check.replace(key, &record));
            }
            Ok(Some(Damage::Unknown(why))) => {
                self.fault(FaultKind::Unchecked, (what, why), |check| check.replace(key, &record));
            }
            Err(failure) => self.fault(FaultKind::Damaged, (what, failure.to_string()), |check| check.replace(key, &record)),
        }
        Ok(())
    }

    fn compare(&self, key: &str, record: &LayerRecord) -> Result<Option<Damage>> {
        let home = self.home;
        let directory = layer_records::layer_directory(home, key);
        let diff_id = Digest::parse(&record.diff_id)?;
        let Some(kept) = &record.kept else {
            let found = canonical(&directory)?;
            return Ok(match found == diff_id {
                true => None,
                false if record.forms.is_empty() => Some(Damage::Tree(format!("its content has the digest {found}"))),
                false => Some(Damage::Unknown("the blob it was made of is not there to compare it with".to_owned())),
            });
        };
        let Some(file) = kept.open(home)? else { return Ok(Some(Damage::Kept("it is not there".to_owned()))) };
        let draft = Draft::begin(home)?;
        let supply = Supply::Stream(Box::new(keep::plain(file, kept.compression).doing(|| "cannot read the blob kept for it")?));
        let received = match self.unpack(&record.diff_id, &diff_id, supply, draft.path()) {
            Ok(received) => received,
            Err(failure) => return Ok(Some(Damage::Kept(failure.to_string()))),
        };
        self.settle(key, &received, draft.path())?;
        let (wanted, found) = (canonical(draft.path())?, canonical(&directory)?);
        Ok((wanted != found).then(|| Damage::Tree("its files are not those of its archive".to_owned())))
    }

    fn unpack(&self, label: &str, diff_id: &Digest, supply: Supply<'_>, directory: &Path) -> Result<Received> {
        let (stop, cut, full) = (AtomicBool::new(false), AtomicBool::new(false), &self.full);
        let (home, watch) = (self.home, self.watch);
        let short = diff_id.short();
        let keeping = if matches!(supply, Supply::Registry(_)) { Keeping::Yes } else { Keeping::No };
        let order = Order { home, label, short, blob: None, diff_id: Some(diff_id), keeping, watch, stop: &stop, cut: &cut, full };
        stream::receive(&order, supply, directory)
    }

    /// Completes a layer that links to files of those below it, of which any image that has it tells.
    fn settle(&self, key: &str, received: &Received, directory: &Path) -> Result<()> {
        if received.unpacked.foreign_links.is_empty() {
            return Ok(());
        }
        let below = self.images.iter().find_map(|image| {
            let at = image.layers.iter().position(|known| known == key)?;
            Some(&image.layers[..at])
        });
        settle::settle(self.home, directory, &received.unpacked.foreign_links, below.unwrap_or_default())
    }

    /// Puts a directory made anew in the place of a damaged one.
    fn replace(&mut self, key: &str, record: &LayerRecord) -> Result<()> {
        let home = self.home;
        if self.images.iter().any(|image| image.layers.iter().any(|known| known == key) && self.in_use.contains(&image.id)) {
            return Err(Failure::new("cannot replace a layer that a container stands on").hint("remove the container first"));
        }
        let diff_id = Digest::parse(&record.diff_id)?;
        let _lock = layers::lock(home, &diff_id, self.watch)?;
        let draft = Draft::begin(home)?;
        let file = record.kept.as_ref().map(|kept| kept.open(home)).transpose()?.flatten();
        let from_kept = match (file, &record.kept) {
            (Some(file), Some(kept)) => {
                let plain = keep::plain(file, kept.compression).doing(|| "cannot read the blob kept for it")?;
                self.unpack(&record.diff_id, &diff_id, Supply::Stream(Box::new(plain)), draft.path()).ok()
            }
            _ => None,
        };
        let (draft, received) = match from_kept {
            Some(received) => (draft, received),
            None => {
                drop(draft);
                let draft = Draft::begin(home)?;
                let received = self.fetch(record, &diff_id, draft.path())?;
                (draft, received)
            }
        };
        self.settle(key, &received, draft.path())?;
        let _store = store::lock(home)?;
        state::discard(home, &layer_records::layer_directory(home, key))?;
        let kept = received.kept;
        let fresh = LayerRecord { size: received.unpacked.size, tar_size: received.tar_size, ..record.clone() };
        match kept {
            Some(kept) => draft.commit(key, &fresh, Some(kept)),
            // What was kept is good and stays.
            None => draft.commit_beside_kept(key, &fresh),
        }
    }

    /// Gets the blob again that a layer was made of, and sees that it is the same.
    fn refetch_kept(&mut self, key: &str, record: &LayerRecord) -> Result<()> {
        let home = self.home;
        let diff_id = Digest::parse(&record.diff_id)?;
        // What the directory gives again need not be fetched: it is only without its blob from now on.
        if record.forms.is_empty() && canonical(&layer_records::layer_directory(home, key)).is_ok_and(|found| found == diff_id) {
            let _lock = store::lock(home)?;
            return state::write_json(&layer_records::layer_record(home, key), &LayerRecord { kept: None, ..record.clone() });
        }
        let draft = Draft::begin(home)?;
        let received = self.fetch(record, &diff_id, draft.path())?;
        let _lock = store::lock(home)?;
        let kept = received.kept.ok_or_else(|| Failure::new("cannot keep the blob").because("there is no room for it"))?;
        let fresh = LayerRecord { kept: Some(kept.kept().clone()), ..record.clone() };
        state::write_json(&layer_records::layer_record(home, key), &fresh)?;
        kept.commit(home)
    }

    /// Fetches a layer from one of the places it was seen at.
    fn fetch(&mut self, record: &LayerRecord, diff_id: &Digest, directory: &Path) -> Result<Received> {
        let mut last = Failure::new(format!("cannot fetch layer {diff_id} again")).because("no registry is known to have it");
        for form in &record.forms {
            for repository in &form.repositories {
                let outcome = self.with_remote(repository, |check, remote| {
                    let blob = Digest::parse(&form.digest)?;
                    let supply = Supply::Registry(Box::new(Download::new(remote, blob, form.size)));
                    empty(directory)?;
                    check.unpack(repository, diff_id, supply, directory)
                });
                match outcome {
                    Ok(received) => return Ok(received),
                    Err(failure) => last = failure,
                }
            }
        }
        Err(last.hint("pull the image again, or remove it"))
    }

    /// Lets `act` speak with the place at which a repository was seen.
    fn with_remote<T>(&mut self, repository: &str, act: impl Fn(&Self, &Remote<'_>) -> Result<T>) -> Result<T> {
        if self.session.is_none() {
            self.session = Some(Session::begin(self.home)?);
        }
        let endpoint = Rules::load(self.home)?.place(repository);
        let mut outcome = Err(Failure::new(format!("cannot ask {repository}")));
        let this = &*self;
        let Some(session) = &this.session else { return outcome };
        for protocol in Protocol::for_trust(endpoint.trust) {
            outcome = act(this, &Remote::new(session, &endpoint, *protocol, Access::Pull)?);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    fn orphan_record(&mut self, key: &str) -> Result<()> {
        // Of one that an image has was told before.
        if self.images.iter().any(|image| image.layers.iter().any(|known| known == key)) {
            return Ok(());
        }
        let what = (format!("the record of layer {key}"), "there is no such layer".to_owned());
        self.fault(FaultKind::Rubbish, what, |check| {
            let _lock = store::lock(check.home)?;
            if layer_records::layer_directory(check.home, key).is_dir() {
                return Ok(());
            }
            layer_records::discard_layer(check.home, key).map(drop)
        });
        Ok(())
    }

    // ---- images and names ----

    fn image(&mut self, image: &ImageRecord) -> Result<()> {
        let what = format!("image {}", image.id);
        let id = Digest::parse(&image.id)?;
        if let Some(why) = self.bad_blob(&id)? {
            self.fault(FaultKind::Damaged, (format!("{what} (its configuration)"), why), |check| {
                check.refetch_document(image, &id, Piece::Config)
            });
        }
        let Some(digest) = image.manifest.as_deref().map(Digest::parse).transpose()? else { return Ok(()) };
        if let Some(why) = self.bad_blob(&digest)? {
            self.fault(FaultKind::Damaged, (format!("{what} (its manifest)"), why), |check| {
                check.refetch_document(image, &digest, Piece::Manifest)
            });
        }
        Ok(())
    }

    /// Why the bytes under a digest are not the right ones.
    fn bad_blob(&self, digest: &Digest) -> Result<Option<String>> {
        Ok(match store::find_blob(self.home, digest)? {
            None => Some("it is not there".to_owned()),
            Some(bytes) if Digest::of(&bytes) == *digest => None,
            Some(bytes) => Some(format!("it has the digest {}", Digest::of(&bytes))),
        })
    }

    fn refetch_document(&mut self, image: &ImageRecord, digest: &Digest, piece: Piece) -> Result<()> {
        let mut last = Failure::new(format!("cannot fetch {digest} again")).because("no registry is known to have it");
        for repository in self.repositories_of(image)? {
            let fetched = self.with_remote(&repository, |check, remote| check.document(remote, image, (digest, piece)));
            match fetched {
                Ok(bytes) => {
                    let path = store::blob_path(self.home, digest);
                    return state::write_whole(&path, &bytes);
                }
                Err(failure) => last = failure,
            }
        }
        Err(last.hint("pull the image again, or remove it"))
    }

    fn document(&self, remote: &Remote<'_>, image: &ImageRecord, (digest, piece): (&Digest, Piece)) -> Result<Vec<u8>> {
        let cannot = |text: String| Failure::new(format!("cannot fetch {digest} again")).because(text);
        let bytes = match piece {
            Piece::Manifest => remote.manifest(digest.as_str()).map_err(|trouble| cannot(trouble.text))?,
            Piece::Config => {
                // Its size stands in the manifest.
                let manifest = image.manifest.as_deref().ok_or_else(|| cannot("it was made here".to_owned()))?;
                let bytes = remote.manifest(manifest).map_err(|trouble| cannot(trouble.text))?;
                let Document::Image(manifest) = Document::parse(&bytes)? else { return Err(cannot("its manifest is an index".to_owned())) };
                remote.small_blob(digest, manifest.config.size).map_err(|trouble| cannot(trouble.text))?
            }
        };
        if Digest::of(&bytes) != *digest {
            return Err(cannot("the registry has something else under this digest".to_owned()));
        }
        Ok(bytes)
    }

    /// Where the layers of an image were seen, and so most likely the image.
    fn repositories_of(&self, image: &ImageRecord) -> Result<Vec<String>> {
        let mut repositories: Vec<String> = Vec::new();
        for key in &image.layers {
            let Ok(layer) = LayerBlob::find(self.home, key) else { continue };
            for repository in layer.record.forms.iter().flat_map(|form| &form.repositories) {
                if !repositories.contains(repository) {
                    repositories.push(repository.clone());
                }
            }
        }
        Ok(repositories)
    }

    fn names(&mut self) -> Result<()> {
        for name in store::readable_names(self.home)? {
            // One whose record cannot be read is an image, too.
            if store::find_image(self.home, &name.id).is_ok_and(|image| image.is_none()) {
                let what = (format!("name {}", name.name), format!("there is no image {}", name.id));
                self.fault(FaultKind::Rubbish, what, |check| {
                    let _lock = store::lock(check.home)?;
                    match store::find_image(check.home, &name.id)? {
                        None => store::remove_name(check.home, &name.name),
                        Some(_) => Ok(()),
                    }
                });
            }
        }
        Ok(())
    }

    // ---- blobs ----

    /// Looks for blobs that nobody speaks of; how many there are in all.
    fn blobs(&mut self) -> Result<usize> {
        let known = self.spoken_of()?;
        let directory = self.home.blobs().join("sha256");
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            entries => entries.doing(|| format!("cannot read {}", directory.display()))?,
        };
        let mut count = 0;
        for entry in entries.flatten() {
            count += 1;
            let name = entry.file_name().to_string_lossy().into_owned();
            // A leading dot is a draft that is being written.
            if name.starts_with('.') || known.contains(&format!("sha256:{name}")) {
                continue;
            }
            let what = (format!("blob sha256:{name}"), "nothing speaks of it".to_owned());
            self.fault(FaultKind::Rubbish, what, |check| {
                let _lock = store::lock(check.home)?;
                // Something that came meanwhile may speak of it.
                if check.spoken_of()?.contains(&format!("sha256:{name}")) {
                    return Ok(());
                }
                fs::remove_file(entry.path()).doing(|| format!("cannot remove {}", entry.path().display()))
            });
        }
        Ok(count)
    }

    /// All digests that records have.
    fn spoken_of(&self) -> Result<BTreeSet<String>> {
        let images = store::readable_images(self.home)?;
        let documents = images.iter().flat_map(|image| image.manifest.iter().chain([&image.id]).cloned());
        let kept = layer_records::layer_records(self.home)?.into_iter().filter_map(|(_, record)| record.kept.map(|kept| kept.digest));
        // What a manifest names may belong to a layer or an image whose own record is lost.
        let named = images.iter().filter_map(|image| image.manifest.as_deref()).flat_map(|manifest| records::named_by(self.home, manifest));
        Ok(documents.chain(kept).chain(named).collect())
    }
}

/// What is wrong with a layer.
enum Damage {
    Kept(String),
    Tree(String),
    /// There is nothing to compare it with.
    Unknown(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Config,
    Manifest,
}

/// The digest of the one tar stream that a tree makes.
fn canonical(directory: &Path) -> Result<Digest> {
    let mut hasher = Sha256::new();
    let mut writer = Writer::new(|bytes: &[u8]| {
        hasher.update(bytes);
        Ok(())
    });
    let written = writer.tree(directory).and_then(|()| writer.finish());
    written.doing(|| format!("cannot read {}", directory.display()))?;
    Ok(Digest::finish(hasher))
}

/// Takes away what an attempt before has unpacked.
fn empty(directory: &Path) -> Result<()> {
    let cannot = || format!("cannot empty {}", directory.display());
    for entry in fs::read_dir(directory).doing(cannot)? {
        let path = entry.doing(cannot)?.path();
        let removed = if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.doing(cannot)?;
    }
    Ok(())
}
