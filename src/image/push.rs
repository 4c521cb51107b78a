//! Pushes an image: what the registry has is left out, what another of its repositories has is mounted, the rest is sent.
//!
//! What was pulled goes out as it came, manifest included, so that its digest stays. A layer that was built here is
//! compressed while it is sent; what it turned out to be is remembered with the layer.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use sha2::Digest as _;
use sha2::Sha256;

use super::ImageConfig;
use super::Pushed;
use super::Watch;
use super::compression::Compression;
use super::digest::Digest;
use super::layer_blob::LayerBlob;
use super::layer_blob::Sink;
use super::layer_records;
use super::layer_records::Form;
use super::manifest;
use super::manifest::Blob;
use super::manifest::Document;
use super::mirrors::Endpoint;
use super::mirrors::Rules;
use super::pack;
use super::pack::Packing;
use super::platform::Platform;
use super::reference::Reference;
use super::registry::Access;
use super::registry::Begun;
use super::registry::Download;
use super::registry::Kind;
use super::registry::Patience;
use super::registry::Protocol;
use super::registry::Remote;
use super::registry::Sending;
use super::registry::Session;
use super::registry::Trouble;
use super::registry::Upload;
use super::store;
use super::store::ImageRecord;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

/// How many layers go out at once.
const AT_ONCE: usize = 3;
/// What a layer is compressed with if nobody says: what every reader understands.
pub(super) const USUAL: Packing = Packing { compression: Compression::Gzip, level: None };

/// How a push is to be done.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) platform: Option<&'a str>,
    pub(super) packing: Option<Packing>,
}

/// See [`super::push()`].
pub(super) fn push(home: &Home, text: &str, wanted: Wanted<'_>, watch: &dyn Watch) -> Result<Pushed> {
    let name = Reference::parse(text)?.or_latest();
    let cannot = || format!("cannot push `{name}`");
    if name.digest.is_some() {
        return Err(Failure::new(cannot()).because("a push needs a tag, a digest is what comes of it"));
    }
    let found = store::find_exact(home, &name)?.ok_or_else(|| {
        Failure::new(format!("an image does not exist locally with the tag: {}", name.familiar_name()))
            .hint(format!("give it the name first: coracle tag IMAGE {name}"))
    })?;
    let _pin = store::pin(home, &found.id)?;
    let record = store::find_image(home, &found.id)?.ok_or_else(|| Failure::new(format!("no such image: {text}")))?;
    let config_bytes = store::find_blob(home, &Digest::parse(&record.id)?)?;
    let config_bytes = config_bytes.ok_or_else(|| Failure::new(cannot()).because("its configuration is not in the store"))?;
    check_platform(&config_bytes, wanted.platform).doing(cannot)?;
    let rules = Rules::load(home)?;
    let endpoint = rules.origin(&name)?;
    let session = Session::begin(home)?;
    let remote = reach(&session, &endpoint, &Digest::parse(&record.id)?).doing(cannot)?;
    let own = if wanted.packing.is_none() { own_manifest(home, &record)? } else { None };
    let push = Push { home, rules: &rules, session: &session, remote: &remote, packing: wanted.packing, watch };
    let layers = push.layers(&record.layers, own.as_ref().map(|(_, blobs)| &blobs[..])).doing(cannot)?;
    let config = Blob { digest: Digest::parse(&record.id)?, size: config_bytes.len() as u64, compression: None };
    push.small(&config, &config_bytes).doing(cannot)?;
    let (manifest, is_own) = match own {
        Some((bytes, blobs)) if blobs.iter().map(|blob| &blob.digest).eq(layers.iter().map(|blob| &blob.digest)) => (bytes, true),
        _ => (manifest::write(&config, &layers), false),
    };
    let tag = name.tag.clone().unwrap_or_default();
    let stored = remote.put_manifest(&tag, manifest::media_type(&manifest), &manifest);
    stored.map_err(|trouble| refused(&endpoint, &trouble).within(cannot()))?;
    let digest = Digest::of(&manifest);
    remember(home, &name, (&record, is_own), (&digest, &manifest))?;
    Ok(Pushed { tag, digest: digest.to_string(), size: manifest.len() as u64 })
}

fn check_platform(config: &[u8], wanted: Option<&str>) -> Result<()> {
    let Some(wanted) = wanted else { return Ok(()) };
    let config: ImageConfig = serde_json::from_slice(config).doing(|| "cannot understand its configuration")?;
    Platform::check(wanted, &config)
}

/// Finds out how the registry is spoken to, by a question that is worth asking: is the configuration there?
pub(super) fn reach<'a>(session: &'a Session, endpoint: &Endpoint, config: &Digest) -> Result<Remote<'a>> {
    let mut first = None;
    for protocol in Protocol::for_trust(endpoint.trust) {
        let remote = Remote::new(session, endpoint, *protocol, Access::Push)?;
        match remote.blob_size(config) {
            Err(trouble) if trouble.kind == Kind::Unreachable => {
                first.get_or_insert(trouble);
            }
            Err(trouble) => return Err(refused(endpoint, &trouble)),
            Ok(_) => return Ok(remote),
        }
    }
    let trouble = first.unwrap_or_else(|| Trouble::new(Kind::Unreachable, "it cannot be spoken to"));
    Err(refused(endpoint, &trouble))
}

fn refused(endpoint: &Endpoint, trouble: &Trouble) -> Failure {
    let registry = &endpoint.registry;
    match trouble.kind {
        Kind::Denied | Kind::Missing => {
            let failure = Failure::new(format!("push access denied for {registry}/{}", endpoint.repository)).because(&trouble.text);
            failure.hint(format!("log in as somebody who may write there: coracle login {registry}"))
        }
        Kind::Unreachable | Kind::Silent | Kind::Passing => {
            let failure = Failure::new(format!("cannot reach the registry {registry}")).because(&trouble.text);
            failure.hint("check the network, and push again: what is there already is not sent twice")
        }
        Kind::Certificate => {
            let failure = Failure::new(format!("cannot trust the registry {registry}")).because(&trouble.text);
            failure.hint(trouble.certificate_hint(registry))
        }
        Kind::Mismatch | Kind::Other => Failure::new(format!("the registry {registry} refuses")).because(&trouble.text),
    }
}

/// The manifest the image came with and its layers.
fn own_manifest(home: &Home, record: &ImageRecord) -> Result<Option<(Vec<u8>, Vec<Blob>)>> {
    let Some(digest) = &record.manifest else { return Ok(None) };
    let Some(bytes) = store::find_blob(home, &Digest::parse(digest)?)? else { return Ok(None) };
    match Document::parse(&bytes) {
        Ok(Document::Image(manifest)) if manifest.layers.len() == record.layers.len() => Ok(Some((bytes, manifest.layers))),
        _ => Ok(None),
    }
}

/// Lets the name and, if it has no manifest of its own, the image know what they are called there.
fn remember(home: &Home, name: &Reference, (record, is_own): (&ImageRecord, bool), (digest, manifest): (&Digest, &[u8])) -> Result<()> {
    let _lock = store::lock(home)?;
    if !is_own && record.manifest.is_none() {
        store::put_blob(home, digest, manifest)?;
        store::put_record(home, &ImageRecord { manifest: Some(digest.to_string()), ..record.clone() })?;
    }
    // Somebody may have given the name to another image meanwhile.
    match store::find_exact(home, name)? {
        Some(found) if found.id == record.id => store::put_name(home, name, &record.id, Some(digest)),
        _ => Ok(()),
    }
}

/// How blobs get to one repository.
pub(super) struct Push<'a> {
    pub(super) home: &'a Home,
    pub(super) rules: &'a Rules,
    pub(super) session: &'a Session,
    pub(super) remote: &'a Remote<'a>,
    pub(super) packing: Option<Packing>,
    pub(super) watch: &'a dyn Watch,
}

/// What was tried did not work: because of the network, or for good.
enum Setback {
    Trouble(Trouble),
    Failure(Failure),
}

impl From<Trouble> for Setback {
    fn from(trouble: Trouble) -> Setback {
        Setback::Trouble(trouble)
    }
}

impl From<Failure> for Setback {
    fn from(failure: Failure) -> Setback {
        Setback::Failure(failure)
    }
}

impl Push<'_> {
    /// Sees to it that the repository has all layers; what they are called there, the lowest first.
    pub(super) fn layers(&self, all: &[String], wanted: Option<&[Blob]>) -> Result<Vec<Blob>> {
        // A layer that comes twice is sent once.
        let mut keys: Vec<&String> = Vec::new();
        all.iter().for_each(|key| {
            if !keys.contains(&key) {
                keys.push(key)
            }
        });
        let place = |key: &String| all.iter().position(|known| known == key).unwrap_or_default();
        let (next, done) = (AtomicUsize::new(0), Mutex::new(vec![None; keys.len()]));
        let failure: Mutex<Option<Failure>> = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(keys.len()) {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(key) = keys.get(at) else { return };
                        match self.layer(key, wanted.map(|blobs| &blobs[place(key)])) {
                            Ok(blob) => of(&done)[at] = Some(blob),
                            Err(why) => {
                                // The first failure is the cause, and no further layer is begun.
                                next.store(keys.len(), Ordering::Relaxed);
                                of(&failure).get_or_insert(why);
                            }
                        }
                    }
                });
            }
        });
        if let Some(failure) = of(&failure).take() {
            return Err(failure);
        }
        let done = of(&done);
        let blob = |key: &String| keys.iter().position(|known| *known == key).and_then(|at| done[at].clone());
        all.iter().map(|key| blob(key).ok_or_else(|| Failure::new("a layer was not sent"))).collect()
    }

    /// Sees to it that the repository has this layer: as `wanted` if that can be had, else as it can be had.
    fn layer(&self, key: &str, wanted: Option<&Blob>) -> Result<Blob> {
        let layer = LayerBlob::find(self.home, key)?;
        let mut patience = Patience::new();
        loop {
            match self.attempt(&layer, wanted) {
                Ok(blob) => {
                    let form = Form {
                        digest: blob.digest.to_string(),
                        size: blob.size,
                        compression: blob.compression.unwrap_or(Compression::None),
                        level: self.level_of(&layer, &blob),
                        repositories: vec![self.remote.repository_name()],
                    };
                    layer_records::note_form(self.home, key, &form)?;
                    return Ok(blob);
                }
                Err(Setback::Failure(failure)) => return Err(failure),
                Err(Setback::Trouble(trouble)) => patience.wait(trouble).map_err(|trouble| {
                    let what = format!("cannot send layer {}", layer.diff_id.short());
                    Failure::new(what).because(trouble.text).hint("push again: what is there already is not sent twice")
                })?,
            }
        }
    }

    /// With which level of ours a blob was made, if it was made by us.
    fn level_of(&self, layer: &LayerBlob<'_>, blob: &Blob) -> Option<i32> {
        let known = layer.record.forms.iter().find(|form| form.digest == blob.digest.as_str());
        let came = layer.record.kept.as_ref().is_some_and(|kept| kept.digest == blob.digest.as_str());
        match known {
            Some(form) => form.level,
            None if came || blob.compression == Some(Compression::None) => None,
            None => Some(self.packing.unwrap_or(USUAL).real_level()),
        }
    }

    fn attempt(&self, layer: &LayerBlob<'_>, wanted: Option<&Blob>) -> std::result::Result<Blob, Setback> {
        let candidates = self.candidates(layer, wanted)?;
        let short = candidates.first().map_or(layer.diff_id.short(), |blob| blob.digest.short()).to_owned();
        for blob in &candidates {
            if self.remote.blob_size(&blob.digest)?.is_some_and(|size| size.is_none_or(|size| size == blob.size)) {
                self.watch.layer(&short, blob.size, true);
                return Ok(blob.clone());
            }
            for from in self.siblings(layer, &blob.digest) {
                if let Begun::Mounted = self.remote.begin_upload(Some((&blob.digest, &from)))? {
                    self.watch.layer(&short, blob.size, true);
                    return Ok(blob.clone());
                }
            }
        }
        for blob in &candidates {
            if self.send_known(layer, blob, &short)? {
                self.watch.done(&short);
                return Ok(blob.clone());
            }
        }
        let blob = self.send_packed(layer, candidates.first(), &short)?;
        self.watch.done(&short);
        Ok(blob)
    }

    /// The blobs that would do, the best first; each is known by its digest.
    fn candidates(&self, layer: &LayerBlob<'_>, wanted: Option<&Blob>) -> Result<Vec<Blob>> {
        let mut candidates: Vec<Blob> = wanted.cloned().into_iter().collect();
        if wanted.is_some() {
            return Ok(candidates);
        }
        let fits = |compression: Compression, level: Option<i32>| match self.packing {
            None => compression != Compression::None,
            Some(packing) => compression == packing.compression && packing.level.is_none_or(|wanted| level == Some(wanted)),
        };
        if let Some(kept) = layer.original()?.filter(|kept| fits(kept.compression, None)) {
            candidates.push(Blob { digest: Digest::parse(&kept.digest)?, size: kept.size, compression: Some(kept.compression) });
        }
        for form in layer.record.forms.iter().filter(|form| fits(form.compression, form.level)) {
            let blob = Blob { digest: Digest::parse(&form.digest)?, size: form.size, compression: Some(form.compression) };
            if !candidates.iter().any(|known| known.digest == blob.digest) {
                candidates.push(blob);
            }
        }
        if self.packing.is_some_and(|packing| packing.compression == Compression::None) {
            let plain = Blob { digest: layer.diff_id.clone(), size: layer.record.tar_size, compression: Some(Compression::None) };
            candidates.insert(0, plain);
        }
        Ok(candidates)
    }

    /// Other repositories of the same registry that are known to have had the blob.
    fn siblings(&self, layer: &LayerBlob<'_>, digest: &Digest) -> Vec<String> {
        let own = self.remote.repository_name();
        let prefix = format!("{}/", self.remote.registry());
        let form = layer.record.forms.iter().find(|form| form.digest == digest.as_str());
        let repositories = form.into_iter().flat_map(|form| &form.repositories).filter(|repository| **repository != own);
        repositories.filter_map(|repository| repository.strip_prefix(&prefix)).map(str::to_owned).collect()
    }

    /// Sends exactly this blob, from the store or from where it was pulled; says whether it could be had.
    fn send_known(&self, layer: &LayerBlob<'_>, blob: &Blob, short: &str) -> std::result::Result<bool, Setback> {
        let original = layer.original()?.is_some_and(|kept| kept.digest == blob.digest.as_str());
        if original || blob.digest == layer.diff_id {
            self.watch.layer(short, blob.size, false);
            self.whole(blob, short, |sink| if original { layer.write_ready(sink) } else { layer.write_plain(sink) })?;
            return Ok(true);
        }
        // A form of our own making is made again sooner than it is fetched.
        let Some(form) = layer.record.forms.iter().find(|form| form.digest == blob.digest.as_str() && form.level.is_none()) else {
            return Ok(false);
        };
        for repository in &form.repositories {
            let endpoint = self.rules.place(repository);
            for protocol in Protocol::for_trust(endpoint.trust) {
                let Ok(remote) = Remote::new(self.session, &endpoint, *protocol, Access::Pull) else { continue };
                if !matches!(remote.blob_size(&blob.digest), Ok(Some(_))) {
                    continue;
                }
                self.watch.layer(short, blob.size, false);
                let mut download = Download::new(&remote, blob.digest.clone(), blob.size);
                self.whole(blob, short, |sink| forward(&mut download, sink))?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Compresses the layer while it is sent; what it turns out to be.
    fn send_packed(&self, layer: &LayerBlob<'_>, like: Option<&Blob>, short: &str) -> std::result::Result<Blob, Setback> {
        let known = like.and_then(|blob| layer.record.forms.iter().find(|form| form.digest == blob.digest.as_str()));
        let packing = match (self.packing, known, like) {
            (Some(packing), ..) => packing,
            (None, Some(form), _) if form.compression != Compression::None => Packing { compression: form.compression, level: form.level },
            (None, _, Some(Blob { compression: Some(compression), .. })) if *compression != Compression::None => {
                Packing { compression: *compression, level: None }
            }
            _ => USUAL,
        };
        self.watch.layer(short, layer.record.tar_size, false);
        let Begun::Upload(upload) = self.remote.begin_upload(None)? else {
            return Err(Trouble::new(Kind::Other, "the registry says it has a blob that it was not told of").into());
        };
        let mut sending = upload.streamed()?;
        let (mut hasher, mut size) = (Sha256::new(), 0u64);
        let mut broken = false;
        let packed = pack::pack(
            packing,
            |sink| {
                layer.write_plain(&mut |bytes: &[u8]| {
                    self.watch.progress(short, bytes.len() as u64);
                    sink(bytes)
                })
            },
            &mut |bytes: &[u8]| {
                hasher.update(bytes);
                size += bytes.len() as u64;
                sending.write(bytes).inspect_err(|_| broken = true)
            },
        );
        let digest = Digest::finish(hasher);
        match packed {
            Ok(()) => sending.end_as(&digest)?,
            // The registry hung up: its answer says why.
            Err(failure) if broken => {
                sending.end_as(&digest)?;
                return Err(failure.into());
            }
            Err(failure) => {
                sending.abandon();
                return Err(failure.into());
            }
        }
        Ok(Blob { digest, size, compression: Some(packing.compression) })
    }

    /// Sends a blob whose digest is known.
    fn whole(&self, blob: &Blob, short: &str, fill: impl FnOnce(&mut Sink<'_>) -> Result<()>) -> std::result::Result<(), Setback> {
        let Begun::Upload(upload) = self.remote.begin_upload(None)? else { return Ok(()) };
        let mut sending = Upload::whole(upload, &blob.digest, blob.size)?;
        let mut broken = false;
        let filled = fill(&mut |bytes: &[u8]| {
            self.watch.progress(short, bytes.len() as u64);
            sending.write(bytes).inspect_err(|_| broken = true)
        });
        match filled {
            Ok(()) => Ok(Sending::end(sending)?),
            Err(failure) if broken => {
                sending.end()?;
                Err(failure.into())
            }
            Err(failure) => {
                sending.abandon();
                Err(failure.into())
            }
        }
    }

    /// Puts a manifest or an index under a tag or its digest.
    pub(super) fn manifest(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let stored = self.remote.put_manifest(name, manifest::media_type(bytes), bytes);
        stored.map(drop).map_err(|trouble| Failure::new("the registry does not take the manifest").because(trouble.text))
    }

    /// Sees to it that the repository has a small blob.
    pub(super) fn small(&self, blob: &Blob, bytes: &[u8]) -> Result<()> {
        let mut patience = Patience::new();
        loop {
            let sent = match self.remote.blob_size(&blob.digest) {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => self.send_small(blob, bytes),
                Err(trouble) => Err(trouble),
            };
            match sent {
                Ok(()) => return Ok(()),
                Err(trouble) => {
                    patience.wait(trouble).map_err(|trouble| Failure::new("cannot send the configuration").because(trouble.text))?;
                }
            }
        }
    }

    fn send_small(&self, blob: &Blob, bytes: &[u8]) -> std::result::Result<(), Trouble> {
        let Begun::Upload(upload) = self.remote.begin_upload(None)? else { return Ok(()) };
        let mut sending = upload.whole(&blob.digest, blob.size)?;
        // If it hangs up, the end says why.
        let _ = sending.write(bytes);
        sending.end()
    }
}

/// From one registry to another.
fn forward(download: &mut Download<'_>, sink: &mut Sink<'_>) -> Result<()> {
    let cannot = || Failure::new("cannot fetch the layer from where it was pulled");
    while let Some(chunk) = download.next_chunk().map_err(|trouble| cannot().because(trouble.text))? {
        sink((*chunk).as_ref()).map_err(|error| cannot().because(error))?;
    }
    Ok(())
}

/// What a lock holds; a thread that died with it in hand left nothing half done.
fn of<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The names of a repository that have a tag, for `push --all-tags`.
pub(super) fn tags_of(home: &Home, text: &str) -> Result<Vec<String>> {
    let repository = Reference::parse(text)?;
    if repository.tag.is_some() || repository.digest.is_some() {
        let failure = Failure::new(format!("cannot push all tags of `{text}`"));
        return Err(failure.because("tag can't be used with --all-tags/-a").hint("name the repository alone"));
    }
    let names = store::all_names(home)?.into_iter().filter_map(|name| Reference::parse(&name.name).ok());
    let tagged = names.filter(|name| name.tag.is_some() && name.name() == repository.name());
    let names: Vec<String> = tagged.map(|name| name.familiar()).collect();
    if names.is_empty() {
        return Err(Failure::new(format!("an image does not exist locally with the tag: {}", repository.familiar_name())));
    }
    Ok(names)
}
