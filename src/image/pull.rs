//! Pulls an image: ask, choose, fetch the layers side by side, and let it exist.

use super::Hold;
use super::Image;
use super::ImageConfig;
use super::Policy;
use super::Watch;
use super::assemble::Arrival;
use super::assemble::Part;
use super::digest::Digest;
use super::elsewhere::Elsewhere;
use super::layers;
use super::manifest::Blob;
use super::manifest::Document;
use super::manifest::Manifest;
use super::mirrors::Endpoint;
use super::mirrors::Rules;
use super::platform::Platform;
use super::reference::Reference;
use super::registry::Access;
use super::registry::Kind;
use super::registry::Protocol;
use super::registry::Remote;
use super::registry::Session;
use super::registry::Trouble;
use super::store;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::state;

/// Larger configurations and manifests are nobody's honest work.
pub(super) const LARGEST_DOCUMENT: u64 = 32 << 20;

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
    let outcome = pull.ask_registries(&|remote, bytes| pull.receive(remote, bytes));
    // What a dead pull left, and what ours left if it failed: on a full disk that is the room the next one needs.
    if swept || outcome.is_err() {
        state::empty_trash(home);
    }
    outcome
}

/// See [`super::remote_tags`].
pub(super) fn remote_tags(home: &Home, text: &str) -> Result<Vec<String>> {
    let name = Reference::parse(text)?;
    let cannot = || Failure::new(format!("cannot list the tags of `{text}`"));
    if name.tag.is_some() || name.digest.is_some() {
        return Err(cannot().because("tag can't be used with --all-tags/-a").hint("name the repository alone"));
    }
    let session = Session::begin(home)?;
    let mut last = cannot();
    for endpoint in Rules::load(home)?.endpoints(&name)? {
        for protocol in Protocol::for_trust(endpoint.trust) {
            match Remote::new(&session, &endpoint, *protocol, Access::Pull)?.tags() {
                Ok(tags) => return Ok(tags.iter().map(|tag| format!("{}:{tag}", name.familiar_name())).collect()),
                Err(trouble) => {
                    let unreachable = trouble.kind == Kind::Unreachable;
                    last = cannot().because(trouble.text);
                    if !unreachable {
                        break;
                    }
                }
            }
        }
    }
    Err(last)
}

/// Looks at an image's configuration, which is fetched if the image is not here; its layers are not, and the store stays as it is.
///
/// # Errors
/// As [`super::pull()`].
pub fn peek(home: &Home, text: &str, platform: Option<&str>, watch: &dyn Watch) -> Result<Image> {
    let name = Reference::parse(text)?.or_latest();
    let wanted = platform.map_or_else(|| Ok(Platform::of_host()), Platform::parse)?;
    let pull = Pull { home, name, platform: wanted, strict: platform.is_some(), watch };
    if let Some(image) = pull.find_here(text)? {
        return Ok(image);
    }
    pull.ask_registries(&|remote, bytes| {
        let manifest = pull.manifest(remote, bytes)?.0;
        let (config, _) = pull.config(remote, &manifest)?;
        Ok(Image { id: manifest.config.digest.to_string(), manifest_digest: None, config, layers: Vec::new(), hold: Hold::default() })
    })
}

/// The name with the digest that the registry has under it, as `docker.io/library/redis:8@sha256:…`; a name that has one is not asked for.
///
/// # Errors
/// A bad name, an image or registry that is not there.
pub fn pinned(home: &Home, text: &str, watch: &dyn Watch) -> Result<String> {
    let mut name = Reference::parse(text)?.or_latest();
    if name.digest.is_some() {
        name.tag = None;
        return Ok(name.canonical());
    }
    let pull = Pull { home, name: name.clone(), platform: Platform::of_host(), strict: false, watch };
    name.digest = Some(pull.ask_registries(&|_, bytes| Ok(Digest::of(&bytes)))?.to_string());
    Ok(name.canonical())
}

/// The digest that a name had in its registry when it was pulled or pushed; none if it never was.
///
/// # Errors
/// A bad name; the store cannot be read.
pub fn digest_of(home: &Home, name: &str) -> Result<Option<String>> {
    let name = Reference::parse(name)?.or_latest();
    if name.digest.is_some() {
        return Ok(name.digest);
    }
    Ok(store::find_exact(home, &name)?.and_then(|record| record.digest))
}

/// Pulls exactly the manifest or index of this digest, if it is not here, and makes the name mean it.
///
/// # Errors
/// As [`super::pull()`]; nobody has it any more.
pub fn pull_locked(home: &Home, (name, digest): (&str, &str), platform: Option<&str>, watch: &dyn Watch) -> Result<Image> {
    let reference = Reference::parse(name)?.or_latest();
    let exact = format!("{}@{digest}", reference.name());
    let image = pull(home, &exact, Wanted { platform, policy: Policy::Missing }, watch)?;
    let _lock = store::lock(home)?;
    store::put_name(home, &reference, &image.id, Some(&Digest::parse(digest)?))?;
    Ok(image)
}

/// Hands the manifest or index that a name means in its registry to `receive`, with the repository it came from.
pub(super) fn with_manifest<T>(home: &Home, name: &Reference, watch: &dyn Watch, receive: &Receive<'_, T>) -> Result<T> {
    let pull = Pull { home, name: name.clone(), platform: Platform::of_host(), strict: false, watch };
    pull.ask_each(receive).map_err(|failure| failure.within(format!("cannot read the manifest `{name}`")))
}

/// Looks at an image in its registry, whether it is here or not; no layer is fetched.
pub(super) fn look(home: &Home, text: &str, platform: Option<&str>, watch: &dyn Watch) -> Result<Elsewhere> {
    let mut name = Reference::parse(text)?.or_latest();
    if name.digest.is_some() {
        name.tag = None;
    }
    let wanted = platform.map_or_else(|| Ok(Platform::of_host()), Platform::parse)?;
    let pull = Pull { home, name, platform: wanted, strict: false, watch };
    let found = pull.ask_registries(&|remote, bytes| {
        let (manifest, bytes) = pull.manifest(remote, bytes)?;
        let (config, config_bytes) = pull.config(remote, &manifest)?;
        Ok((parts(&manifest, &config)?, (config, config_bytes, bytes), remote.way()))
    });
    let (parts, documents, way) = found?;
    Elsewhere::in_registry(home, parts, documents, way)
}

/// What becomes of the manifest that a registry gave.
type Receive<'a, T> = dyn Fn(&Remote<'_>, Vec<u8>) -> Result<T> + 'a;

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

    fn ask_registries<T>(&self, receive: &Receive<'_, T>) -> Result<T> {
        self.ask_each(receive).map_err(|failure| failure.within_pull(&self.name))
    }

    fn ask_each<T>(&self, receive: &Receive<'_, T>) -> Result<T> {
        let endpoints = Rules::load(self.home)?.endpoints(&self.name)?;
        let session = Session::begin(self.home)?;
        let _arriving = store::arriving(self.home)?;
        let mut last = None;
        for (place, endpoint) in endpoints.iter().enumerate() {
            match self.ask(&session, endpoint, receive) {
                Ok(received) => return Ok(received),
                Err(failure) => {
                    if place + 1 < endpoints.len() {
                        self.watch.note(&format!("mirror {} did not help: {}", endpoint.registry, failure.what()));
                    }
                    last = Some(failure);
                }
            }
        }
        Err(last.unwrap_or_else(|| Failure::new("there is nobody to ask")))
    }

    fn ask<T>(&self, session: &Session, endpoint: &Endpoint, receive: &Receive<'_, T>) -> Result<T> {
        let wanted = self.name.digest.as_deref().or(self.name.tag.as_deref()).unwrap_or("latest");
        let protocols = Protocol::for_trust(endpoint.trust);
        let mut outcome = Err(Trouble::new(Kind::Unreachable, String::new()));
        for (at, protocol) in protocols.iter().enumerate() {
            let remote = Remote::new(session, endpoint, *protocol, Access::Pull)?;
            match remote.manifest(wanted) {
                Ok(bytes) => return receive(&remote, bytes),
                Err(mut trouble) => {
                    let plainly = trouble.text.contains("asks for a login") || trouble.text.contains("authentication required");
                    if trouble.kind == Kind::Denied && remote.is_logged_in() && plainly {
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
                .hint(trouble.certificate_hint(registry)),
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
        let (manifest, bytes) = self.manifest(remote, bytes)?;
        let (config, config_bytes) = self.config(remote, &manifest)?;
        let arrival = Arrival { config: &config, config_bytes: &config_bytes, manifest: Some(&bytes), parts: parts(&manifest, &config)? };
        let image = arrival.admit(self.home, remote, self.watch)?;
        let _lock = store::lock(self.home)?;
        store::put_name(self.home, &self.name, &image.id, Some(&top))?;
        Ok(Image { manifest_digest: Some(top.to_string()), ..image })
    }

    /// The manifest of the image that is wanted, chosen from an index if that is what came.
    fn manifest(&self, remote: &Remote<'_>, bytes: Vec<u8>) -> Result<(Manifest, Vec<u8>)> {
        match Document::parse(&bytes)? {
            Document::Image(manifest) => Ok((manifest, bytes)),
            Document::Index(entries) => self.of_index(remote, &entries, 1),
        }
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
        let Blob { digest, size, .. } = &manifest.config;
        let cannot = || Failure::new("cannot use the image's configuration");
        if *size > LARGEST_DOCUMENT {
            return Err(cannot().because(format!("it has {size} bytes")));
        }
        let bytes = match store::find_blob(self.home, digest)? {
            Some(bytes) if bytes.len() as u64 == *size => bytes,
            _ => remote.small_blob(digest, *size).map_err(|trouble| cannot().because(format!("{digest}: {}", trouble.text)))?,
        };
        let config: ImageConfig = serde_json::from_slice(&bytes).map_err(|error| cannot().because(error))?;
        check(&config, manifest.layers.len())?;
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
}

/// Refuses a configuration that does not speak of so many layers, or not of Linux.
pub(super) fn check(config: &ImageConfig, layers: usize) -> Result<()> {
    let cannot = || Failure::new("cannot use the image's configuration");
    if config.rootfs.diff_ids.len() != layers {
        let ids = config.rootfs.diff_ids.len();
        return Err(cannot().because(format!("there are {layers} layers, the configuration speaks of {ids}")));
    }
    if config.os != "linux" && !config.os.is_empty() {
        return Err(cannot().because(format!("it is for {}, this is linux", config.os)));
    }
    Ok(())
}

/// The layers of a manifest with what the configuration says of them.
pub(super) fn parts(manifest: &Manifest, config: &ImageConfig) -> Result<Vec<Part>> {
    let part = |(blob, diff_id): (&Blob, &String)| {
        Ok(Part {
            label: blob.digest.to_string(),
            short: blob.digest.short().to_owned(),
            blob: Some(blob.clone()),
            diff_id: Digest::parse(diff_id)?,
        })
    };
    manifest.layers.iter().zip(&config.rootfs.diff_ids).map(part).collect()
}

impl Failure {
    fn within_pull(self, name: &Reference) -> Failure {
        self.within(format!("cannot pull `{name}`"))
    }
}
