//! Brings the layers of one image into the store, several at once, from wherever they come.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use super::Image;
use super::ImageConfig;
use super::Watch;
use super::digest::Digest;
use super::layer_records;
use super::layer_records::Claims;
use super::layer_records::Form;
use super::layer_records::LayerRecord;
use super::layers;
use super::layers::Draft;
use super::manifest::Blob;
use super::settle;
use super::store;
use super::stream;
use super::stream::Keeping;
use super::stream::Order;
use super::stream::Received;
use super::stream::Supply;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::state;

/// How many layers come in at once; each has two threads.
const AT_ONCE: usize = 3;

/// One layer that is wanted.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// For messages: a digest, or the name of a file.
    pub(super) label: String,
    /// The short name its progress is shown under.
    pub(super) short: String,
    /// What comes, where somebody has said it.
    pub(super) blob: Option<Blob>,
    pub(super) diff_id: Digest,
}

/// A place that has layers.
pub(super) trait Source: Sync {
    /// Begins to read the layer; `at` counts the layers of the image from the lowest.
    fn open(&self, part: &Part, at: usize) -> Result<Supply<'_>>;

    /// The size of what will come, as far as it is known.
    fn size(&self, part: &Part) -> u64 {
        part.blob.as_ref().map_or(0, |blob| blob.size)
    }

    /// The repository that has the blobs under their digests, if it is one.
    fn repository(&self) -> Option<String> {
        None
    }
}

/// Sees to it that all layers are in the store; their directories' names, the lowest first.
pub(super) fn assemble(home: &Home, source: &dyn Source, parts: Vec<Part>, watch: &dyn Watch) -> Result<Vec<String>> {
    let work = Work::new(home, source, parts, watch);
    let threads = AT_ONCE.min(work.parts.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work.run());
        }
    });
    let outcome = work.settled();
    // After a cut the next pull goes on with the layers that are whole; a bad image's serve nobody.
    if outcome.is_err() && !work.cut.load(Ordering::Relaxed) {
        let _lock = store::lock(home)?;
        layer_records::remove_unused(home, &of(&work.fetched), Claims::Heeded)?;
    }
    outcome
}

/// Another command may remove a layer while we fetch the others; then it is fetched again, but not for ever.
const ROUNDS: usize = 3;

/// An image that is to exist once its layers are in the store.
pub(super) struct Arrival<'a> {
    pub(super) config: &'a ImageConfig,
    pub(super) config_bytes: &'a [u8],
    /// The manifest whose layers the parts are.
    pub(super) manifest: Option<&'a [u8]>,
    pub(super) parts: Vec<Part>,
}

impl Arrival<'_> {
    /// Brings the layers in and lets the image exist; it has no name yet.
    pub(super) fn admit(&self, home: &Home, source: &dyn Source, watch: &dyn Watch) -> Result<Image> {
        let mut rounds = 0;
        loop {
            let keys = assemble(home, source, self.parts.clone(), watch)?;
            rounds += 1;
            match self.let_it_exist(home, keys) {
                Err(_) if rounds < ROUNDS => {}
                outcome => return outcome,
            }
        }
    }

    fn let_it_exist(&self, home: &Home, keys: Vec<String>) -> Result<Image> {
        let _lock = store::lock(home)?;
        let id = Digest::of(self.config_bytes);
        let mut record = store::image_record(home, &id, self.config, keys)?;
        if let Some(manifest) = self.manifest {
            let digest = Digest::of(manifest);
            store::put_blob(home, &digest, manifest)?;
            record.manifest = Some(digest.to_string());
        } else if let Some(known) = store::find_image(home, id.as_str())? {
            record.manifest = known.manifest;
        }
        store::put_blob(home, &id, self.config_bytes)?;
        store::put_image(home, self.config, &record)?;
        store::load(home, &record, None, store::pin(home, id.as_str())?)
    }
}

/// The layers of one image, shared out among threads.
struct Work<'a> {
    home: &'a Home,
    source: &'a dyn Source,
    watch: &'a dyn Watch,
    parts: Vec<Part>,
    chains: Vec<Digest>,
    next: AtomicUsize,
    stop: AtomicBool,
    cut: AtomicBool,
    full: AtomicBool,
    /// Nothing is kept any more, for want of room.
    spare: AtomicBool,
    failure: Mutex<Option<Failure>>,
    /// Layers that are in the store because of us.
    fetched: Mutex<Vec<String>>,
    /// Layers that need what is in those below them before they are whole.
    waiting: Mutex<BTreeMap<usize, (Draft<'a>, Received)>>,
}

impl<'a> Work<'a> {
    fn new(home: &'a Home, source: &'a dyn Source, parts: Vec<Part>, watch: &'a dyn Watch) -> Work<'a> {
        let mut chains: Vec<Digest> = Vec::new();
        for part in &parts {
            chains.push(layers::chain(chains.last(), &part.diff_id));
        }
        Work {
            home,
            source,
            watch,
            parts,
            chains,
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            full: AtomicBool::new(false),
            spare: AtomicBool::new(false),
            failure: Mutex::new(None),
            fetched: Mutex::new(Vec::new()),
            waiting: Mutex::new(BTreeMap::new()),
        }
    }

    /// Completes the layers that waited for others, when no thread is at work any more.
    fn settled(&self) -> Result<Vec<String>> {
        if let Some(failure) = of(&self.failure).take() {
            return Err(failure);
        }
        let mut keys = Vec::new();
        for (at, (part, chain)) in self.parts.iter().zip(&self.chains).enumerate() {
            if let Some((draft, received)) = of(&self.waiting).remove(&at) {
                settle::settle(self.home, draft.path(), &received.unpacked.foreign_links, &keys)?;
                self.commit(draft, chain, received)?;
            }
            keys.push(layers::present(self.home, &part.diff_id, chain).unwrap_or_else(|| part.diff_id.hex().to_owned()));
        }
        Ok(keys)
    }

    /// One thread's share: the next layer that nobody has taken, until there is none or one failed.
    fn run(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            if at >= self.parts.len() {
                return;
            }
            if let Err(failure) = self.layer(at) {
                // The first failure is the cause; the others only stopped because of it.
                let was_running = !self.stop.swap(true, Ordering::Relaxed);
                if was_running {
                    *of(&self.failure) = Some(failure);
                }
            }
        }
    }

    fn layer(&self, at: usize) -> Result<()> {
        let (part, chain) = (&self.parts[at], &self.chains[at]);
        let present = || layers::present(self.home, &part.diff_id, chain);
        let _lock = if present().is_some() { None } else { Some(layers::lock(self.home, &part.diff_id, self.watch)?) };
        let size = self.source.size(part);
        // Once more: whoever had the lock before us may have brought it.
        if let Some(key) = present() {
            self.watch.layer(&part.short, size, true);
            return self.note(part, &key);
        }
        self.watch.layer(&part.short, size, false);
        let keeps = !self.spare.load(Ordering::Relaxed);
        let (draft, received) = match self.receive(part, at) {
            // Without what would be kept there may be room.
            Err(_) if keeps && self.full.load(Ordering::Relaxed) => {
                self.spare.store(true, Ordering::Relaxed);
                state::empty_trash(self.home);
                self.receive(part, at)?
            }
            outcome => outcome?,
        };
        if received.unpacked.foreign_links.is_empty() {
            self.commit(draft, &part.diff_id, received)?;
        } else {
            of(&self.waiting).insert(at, (draft, received));
        }
        self.watch.done(&part.short);
        Ok(())
    }

    fn receive(&self, part: &Part, at: usize) -> Result<(Draft<'a>, Received)> {
        let draft = Draft::begin(self.home)?;
        let order = Order {
            home: self.home,
            label: &part.label,
            short: &part.short,
            blob: part.blob.as_ref().map(|blob| &blob.digest),
            diff_id: Some(&part.diff_id),
            keeping: if self.spare.load(Ordering::Relaxed) { Keeping::No } else { Keeping::Yes },
            watch: self.watch,
            stop: &self.stop,
            cut: &self.cut,
            full: &self.full,
        };
        let received = stream::receive(&order, self.source.open(part, at)?, draft.path())?;
        Ok((draft, received))
    }

    fn commit(&self, draft: Draft<'_>, key: &Digest, received: Received) -> Result<()> {
        let mut record = LayerRecord::new(&received.diff_id, received.unpacked.size, received.tar_size);
        record.root = received.unpacked.root;
        record.opaque_root = received.unpacked.opaque_root;
        if let Some(repository) = self.source.repository() {
            record.forms.push(Form {
                digest: received.blob.to_string(),
                size: received.blob_size,
                compression: received.compression,
                level: None,
                repositories: vec![repository],
            });
        }
        draft.commit(key.hex(), &record, received.kept)?;
        of(&self.fetched).push(key.hex().to_owned());
        Ok(())
    }

    /// What is here already may be new to us under this name.
    fn note(&self, part: &Part, key: &str) -> Result<()> {
        let (Some(repository), Some(blob)) = (self.source.repository(), &part.blob) else { return Ok(()) };
        let Some(compression) = blob.compression else { return Ok(()) };
        let form = Form { digest: blob.digest.to_string(), size: blob.size, compression, level: None, repositories: vec![repository] };
        layer_records::note_form(self.home, key, &form)
    }
}

/// What a lock holds; a thread that died with it in hand left nothing half done.
fn of<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
