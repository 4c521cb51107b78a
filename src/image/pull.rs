//! Pulls an image: ask, choose, fetch the layers side by side, and let it exist.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use super::Image;
use super::ImageConfig;
use super::Policy;
use super::Watch;
use super::digest::Digest;
use super::layers;
use super::layers::Draft;
use super::manifest::Blob;
use super::manifest::Document;
use super::manifest::Manifest;
use super::mirrors::Endpoint;
use super::mirrors::Rules;
use super::platform::Platform;
use super::reference::Reference;
use super::registry::Kind;
use super::registry::Protocol;
use super::registry::Remote;
use super::registry::Session;
use super::registry::Trouble;
use super::settle;
use super::store;
use super::store::LayerRecord;
use super::stream;
use super::stream::Order;
use super::unpack::Unpacked;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::state;

/// How many layers come in at once; each has two threads.
const AT_ONCE: usize = 3;
/// Larger configurations and manifests are nobody's honest work.
const LARGEST_DOCUMENT: u64 = 32 << 20;
/// Another command may remove a layer while we fetch the others; then it is fetched again, but not for ever.
const ROUNDS: usize = 3;

/// What one pull is about.
struct Pull<'a> {
    home: &'a Home,
    name: Reference,
    platform: Platform,
    /// The user named a platform, so it must be that one.
    strict: bool,
    watch: &'a dyn Watch,
}

/// See [`super::pull()`].
pub(super) fn pull(home: &Home, text: &str, wanted: Wanted<'_>, watch: &dyn Watch) -> Result<Image> {
    let mut name = Reference::parse(text)?.or_latest();
    if name.digest.is_some() {
        // The digest decides; a tag beside it is a remark (Docker drops it, too).
        name.tag = None;
    }
    let platform = wanted.platform.map_or_else(|| Ok(Platform::of_host()), Platform::parse)?;
    let pull = Pull { home, name, platform, strict: wanted.platform.is_some(), watch };
    if wanted.policy != Policy::Always
        && let Some(image) = pull.find_here(text)?
    {
        return Ok(image);
    }
    if wanted.policy == Policy::Never {
        return Err(Failure::new(format!("no such image: {}", pull.name)).hint(format!("pull it: coracle pull {}", pull.name)).exit(125));
    }
    let swept = layers::sweep(home);
    let outcome = pull.ask_registries();
    // What a dead pull left, and what ours left if it failed: on a full disk that is the room the next one needs.
    if swept || outcome.is_err() {
        state::empty_trash(home);
    }
    outcome
}

/// The part of a pull that is not the name.
pub(super) struct Wanted<'a> {
    pub(super) platform: Option<&'a str>,
    pub(super) policy: Policy,
}

impl Pull<'_> {
    fn find_here(&self, text: &str) -> Result<Option<Image>> {
        let Some(image) = super::find(self.home, text)? else { return Ok(None) };
        let has = Platform {
            os: image.config.os.clone(),
            architecture: image.config.architecture.clone(),
            variant: image.config.variant.clone(),
        };
        Ok((!self.strict || self.platform.distance(&has).is_some()).then_some(image))
    }

    fn ask_registries(&self) -> Result<Image> {
        let endpoints = Rules::load(self.home)?.endpoints(&self.name)?;
        let session = Session::begin(self.home)?;
        let mut last = None;
        for (place, endpoint) in endpoints.iter().enumerate() {
            match self.ask(&session, endpoint) {
                Ok(image) => return Ok(image),
                Err(failure) => {
                    if place + 1 < endpoints.len() {
                        self.watch.note(&format!("mirror {} did not help: {}", endpoint.registry, failure.what()));
                    }
                    last = Some(failure);
                }
            }
        }
        Err(last.unwrap_or_else(|| Failure::new(format!("cannot pull `{}`", self.name))).within_pull(&self.name))
    }

    fn ask(&self, session: &Session, endpoint: &Endpoint) -> Result<Image> {
        let wanted = self.name.digest.as_deref().or(self.name.tag.as_deref()).unwrap_or("latest");
        let protocols = Protocol::for_trust(endpoint.trust);
        let mut outcome = Err(Trouble { kind: Kind::Unreachable, text: String::new() });
        for (at, protocol) in protocols.iter().enumerate() {
            let remote = Remote::new(session, endpoint, *protocol)?;
            match remote.manifest(wanted) {
                Ok(bytes) => return self.receive(&remote, bytes),
                Err(mut trouble) => {
                    if trouble.kind == Kind::Denied && remote.is_logged_in() {
                        trouble.text = "the registry does not accept the login on file".to_owned();
                    }
                    let worth_another = trouble.kind == Kind::Unreachable && at + 1 < protocols.len();
                    // The first way's answer is the one the user can make sense of.
                    if outcome.is_err() && at == 0 || trouble.kind != Kind::Unreachable {
                        outcome = Err(trouble);
                    }
                    if !worth_another {
                        break;
                    }
                }
            }
        }
        outcome.map_err(|trouble: Trouble| self.refused(endpoint, &trouble))
    }

    /// Says it as Docker does where it has words for it.
    fn refused(&self, endpoint: &Endpoint, trouble: &Trouble) -> Failure {
        let name = &self.name;
        let registry = &endpoint.registry;
        match trouble.kind {
            Kind::Missing => Failure::new(format!("manifest for {name} not found"))
                .because(format!("manifest unknown: {}", trouble.text))
                .hint(format!("check the name and the tag; {registry} was asked")),
            Kind::Denied => Failure::new(format!(
                "pull access denied for {}, repository does not exist or may require 'docker login'",
                name.familiar_name()
            ))
            .because(&trouble.text)
            .hint(format!("check the name, or log in: docker login {registry}")),
            Kind::Unreachable | Kind::Silent => Failure::new(format!("cannot reach the registry {registry}"))
                .because(&trouble.text)
                .hint("check the network, or name a mirror in registries.conf"),
            Kind::Certificate => Failure::new(format!("cannot trust the registry {registry}"))
                .because(&trouble.text)
                .hint("if it is yours, say `insecure = true` for it in registries.conf"),
            Kind::Mismatch => Failure::new(format!("cannot trust what {registry} sent")).because(&trouble.text),
            Kind::Passing | Kind::Other => {
                Failure::new(format!("cannot get the manifest of {name} from {registry}")).because(&trouble.text)
            }
        }
    }

    fn receive(&self, remote: &Remote<'_>, bytes: Vec<u8>) -> Result<Image> {
        let top = Digest::of(&bytes);
        if let Some(wanted) = self.name.digest.as_deref().filter(|wanted| wanted.starts_with("sha256:") && *wanted != top.as_str()) {
            return Err(Failure::new(format!("cannot trust the manifest of {}", self.name))
                .because(format!("it has the digest {top}, not {wanted}")));
        }
        let (manifest, bytes) = match Document::parse(&bytes)? {
            Document::Image(manifest) => (manifest, bytes),
            Document::Index(entries) => self.of_index(remote, &entries, 1)?,
        };
        let (config, config_bytes) = self.config(remote, &manifest)?;
        let mut rounds = 0;
        let image = loop {
            let keys = self.layers(remote, &manifest, &config)?;
            rounds += 1;
            match self.let_it_exist(&config, &config_bytes, &bytes, keys) {
                Err(_) if rounds < ROUNDS => {}
                outcome => break outcome?,
            }
        };
        let _lock = store::lock(self.home)?;
        store::put_name(self.home, &self.name, &image.id, Some(&top))?;
        store::put_blob(self.home, &Digest::of(&bytes), &bytes)?;
        Ok(Image { manifest_digest: Some(top.to_string()), ..image })
    }

    fn of_index(&self, remote: &Remote<'_>, entries: &[super::manifest::IndexEntry], deeper: u32) -> Result<(Manifest, Vec<u8>)> {
        let blob = &self.platform.choose(entries)?.blob;
        let bytes = remote.manifest(blob.digest.as_str()).map_err(|trouble| {
            Failure::new(format!("cannot get the image for {} of the index", self.platform))
                .because(format!("manifest {}: {}", blob.digest, trouble.text))
        })?;
        if bytes.len() as u64 != blob.size || Digest::of(&bytes) != blob.digest {
            let because = format!("the index says {} and {} bytes, what came has {} bytes", blob.digest, blob.size, bytes.len());
            return Err(Failure::new(format!("cannot trust the manifest of {}", self.name)).because(because));
        }
        match Document::parse(&bytes)? {
            Document::Image(manifest) => Ok((manifest, bytes)),
            Document::Index(entries) if deeper > 0 => self.of_index(remote, &entries, deeper - 1),
            Document::Index(_) => Err(Failure::new("cannot use an index inside an index inside an index")),
        }
    }

    fn config(&self, remote: &Remote<'_>, manifest: &Manifest) -> Result<(ImageConfig, Vec<u8>)> {
        let Blob { digest, size } = &manifest.config;
        let cannot = || Failure::new("cannot use the image's configuration");
        if *size > LARGEST_DOCUMENT {
            return Err(cannot().because(format!("it has {size} bytes")));
        }
        let bytes = match store::find_blob(self.home, digest)? {
            Some(bytes) if bytes.len() as u64 == *size => bytes,
            _ => remote.small_blob(digest, *size).map_err(|trouble| cannot().because(format!("{digest}: {}", trouble.text)))?,
        };
        let config: ImageConfig = serde_json::from_slice(&bytes).map_err(|error| cannot().because(error))?;
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            let (layers, ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
            return Err(cannot().because(format!("the manifest has {layers} layers, the configuration speaks of {ids}")));
        }
        if config.os != "linux" && !config.os.is_empty() {
            return Err(cannot().because(format!("it is for {}, this is linux", config.os)));
        }
        self.check_platform(&config)?;
        Ok((config, bytes))
    }

    fn check_platform(&self, config: &ImageConfig) -> Result<()> {
        let has = Platform { os: "linux".into(), architecture: config.architecture.clone(), variant: config.variant.clone() };
        if config.architecture.is_empty() || self.platform.distance(&has).is_some() {
            return Ok(());
        }
        if self.strict {
            let failure = Failure::new(format!("image with reference {} was found but does not match the specified platform", self.name));
            return Err(failure.because(format!("wanted {}, actual: {has}", self.platform)));
        }
        let (name, host) = (&self.name, &self.platform);
        self.watch.note(&format!("{name}: the image's platform ({has}) does not match the detected host platform ({host})"));
        Ok(())
    }

    /// Sees to it that all layers are in the store; their directories' names, the lowest first.
    fn layers(&self, remote: &Remote<'_>, manifest: &Manifest, config: &ImageConfig) -> Result<Vec<String>> {
        let work = Work::new(self, remote, manifest, config)?;
        let threads = AT_ONCE.min(manifest.layers.len());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| work.run());
            }
        });
        let outcome = work.settled();
        // After a cut the next pull goes on with the layers that are whole; a bad image's serve nobody.
        if outcome.is_err() && !work.cut.load(Ordering::Relaxed) {
            let _lock = store::lock(self.home)?;
            store::remove_unused(self.home, &of(&work.fetched))?;
        }
        outcome
    }

    fn let_it_exist(&self, config: &ImageConfig, config_bytes: &[u8], manifest: &[u8], keys: Vec<String>) -> Result<Image> {
        let _lock = store::lock(self.home)?;
        let id = Digest::of(config_bytes);
        let mut record = store::image_record(self.home, &id, config, keys)?;
        record.manifest = Some(Digest::of(manifest).to_string());
        store::put_blob(self.home, &id, config_bytes)?;
        store::put_image(self.home, config, &record)?;
        store::load(self.home, &record, None)
    }
}

/// The layers of one image, shared out among threads.
struct Work<'a> {
    pull: &'a Pull<'a>,
    remote: &'a Remote<'a>,
    blobs: &'a [Blob],
    diff_ids: Vec<Digest>,
    chains: Vec<Digest>,
    next: AtomicUsize,
    stop: AtomicBool,
    cut: AtomicBool,
    failure: Mutex<Option<Failure>>,
    /// Layers that are in the store because of us.
    fetched: Mutex<Vec<String>>,
    /// Layers that need what is in those below them before they are whole.
    waiting: Mutex<BTreeMap<usize, (Draft<'a>, Unpacked, LayerRecord)>>,
}

impl<'a> Work<'a> {
    fn new(pull: &'a Pull<'a>, remote: &'a Remote<'a>, manifest: &'a Manifest, config: &ImageConfig) -> Result<Work<'a>> {
        let diff_ids = config.rootfs.diff_ids.iter().map(|text| Digest::parse(text)).collect::<Result<Vec<_>>>()?;
        let mut chains: Vec<Digest> = Vec::new();
        for diff_id in &diff_ids {
            chains.push(layers::chain(chains.last(), diff_id));
        }
        Ok(Work {
            pull,
            remote,
            blobs: &manifest.layers,
            diff_ids,
            chains,
            next: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            failure: Mutex::new(None),
            fetched: Mutex::new(Vec::new()),
            waiting: Mutex::new(BTreeMap::new()),
        })
    }

    /// Completes the layers that waited for others, when no thread is at work any more.
    fn settled(&self) -> Result<Vec<String>> {
        if let Some(failure) = of(&self.failure).take() {
            return Err(failure);
        }
        let home = self.pull.home;
        let mut keys = Vec::new();
        for (at, (diff_id, chain)) in self.diff_ids.iter().zip(&self.chains).enumerate() {
            if let Some((draft, unpacked, record)) = of(&self.waiting).remove(&at) {
                settle::settle(home, draft.path(), &unpacked.foreign_links, &keys)?;
                draft.commit(chain.hex(), &record)?;
                of(&self.fetched).push(chain.hex().to_owned());
            }
            keys.push(layers::present(home, diff_id, chain).unwrap_or_else(|| diff_id.hex().to_owned()));
        }
        Ok(keys)
    }

    /// One thread's share: the next layer that nobody has taken, until there is none or one failed.
    fn run(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            if at >= self.blobs.len() {
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
        let (blob, diff_id, chain) = (&self.blobs[at], &self.diff_ids[at], &self.chains[at]);
        let (home, watch) = (self.pull.home, self.pull.watch);
        let _lock = if layers::present(home, diff_id, chain).is_some() { None } else { Some(layers::lock(home, diff_id, watch)?) };
        // Once more: whoever had the lock before us may have brought it.
        if layers::present(home, diff_id, chain).is_some() {
            watch.layer(blob.digest.short(), blob.size, true);
            return Ok(());
        }
        watch.layer(blob.digest.short(), blob.size, false);
        let draft = Draft::begin(home)?;
        let order = Order { remote: self.remote, blob, diff_id, watch, stop: &self.stop, cut: &self.cut };
        let (unpacked, tar_size) = stream::receive(&order, draft.path())?;
        let mut record = LayerRecord::new(diff_id, unpacked.size, tar_size);
        record.root = unpacked.root;
        record.opaque_root = unpacked.opaque_root;
        if unpacked.foreign_links.is_empty() {
            draft.commit(diff_id.hex(), &record)?;
            of(&self.fetched).push(diff_id.hex().to_owned());
        } else {
            of(&self.waiting).insert(at, (draft, unpacked, record));
        }
        watch.done(blob.digest.short());
        Ok(())
    }
}

/// What a lock holds; a thread that died with it in hand left nothing half done.
fn of<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Failure {
    fn within_pull(self, name: &Reference) -> Failure {
        self.within(format!("cannot pull `{name}`"))
    }
}
