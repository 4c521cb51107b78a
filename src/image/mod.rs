//! Images: references, registries, layers as they stream in, and the store they end in.

mod archive;
mod assemble;
mod bundle;
mod check;
mod combined;
mod commit;
mod compression;
mod config;
mod contents;
mod credentials;
mod digest;
pub mod elsewhere;
mod gather;
#[cfg(test)]
mod hostile;
mod import;
mod keep;
mod layer_blob;
mod layer_records;
mod layers;
mod lists;
mod load;
mod login;
mod manifest;
mod mirrors;
mod pack;
mod pax;
mod platform;
mod pull;
mod push;
mod reference;
mod registry;
mod remove;
mod save;
mod settle;
mod store;
mod stream;
mod tar_writer;
mod tree;
mod unpack;
mod usage;
mod web;
mod xattrs;

use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::journal;
use crate::place::Home;
use crate::state::Lock;

pub use bundle::Bundle;
pub use bundle::Layout;
pub use bundle::Member;
pub use bundle::Statement;
pub use bundle::Written;
pub use bundle::package_url;
pub use bundle::push_bundle;
pub use bundle::write_layout;
pub use bundle::write_layout_archive;
pub use check::Checked;
pub use check::Fault;
pub use check::FaultKind;
pub use check::Repair;
pub use combined::Combined;
pub use combined::Combining;
pub use combined::Seen;
pub use combined::SeenImage;
pub use combined::seen;
pub use combined::seen_images;
pub use compression::Compression;
pub use config::Healthcheck;
pub use config::History;
pub use config::ImageConfig;
pub use config::RootFs;
pub use config::RunConfig;
pub use credentials::Filed;
pub use digest::check as check_digest;
pub use layer_records::claim_layer;
pub use lists::Amend;
pub use lists::Annotation;
pub use lists::Lists;
pub use login::LoggedIn;
pub use pack::Packing;
pub use pull::digest_of;
pub use pull::peek;
pub use pull::pinned;
pub use pull::pull_locked;
pub use remove::Gone;
pub use remove::InUse;
pub use remove::Removed;
pub use remove::Use;
pub use remove::prune;
pub use remove::remove;
pub use remove::remove_orphans;
pub use store::age;
pub use tar_writer::Archived;
pub use tar_writer::write_archive;
pub use usage::ImageUsage;
pub use usage::LooseLayer;
pub use usage::Usage;
pub use web::WebAnswer;
pub use web::WebRequest;
pub use web::fetch;

/// An image in the store.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of the configuration, `sha256:<hex>`: Docker's image id.
    pub id: String,
    /// The digest of the manifest this was pulled by, if it came from a registry.
    pub manifest_digest: Option<String>,
    /// What the configuration says, Docker's extensions included.
    pub config: ImageConfig,
    /// Unpacked layers, the lowest first; all exist and none comes twice (overlayfs refuses that). There may be fewer
    /// than diff ids, or none: a repeated layer counts once, and what lies below an opaque root is left out.
    pub layers: Vec<PathBuf>,
    /// Keeps it from being removed.
    pub hold: Hold,
}

/// While one of these or a copy of it lives, nobody removes the image it came with. It says nothing of the image, so all
/// are alike; the default holds nothing.
#[derive(Debug, Clone, Default)]
pub struct Hold {
    _lock: Option<Arc<Lock>>,
}

impl PartialEq for Hold {
    fn eq(&self, _: &Hold) -> bool {
        true
    }
}

/// What is seen while an image comes in. Called from several threads.
pub trait Watch: Send + Sync {
    /// A layer (by its short digest) is known, of so many compressed bytes; `there` if it need not be fetched.
    fn layer(&self, digest: &str, size: u64, there: bool);
    /// So many more compressed bytes of the layer have been unpacked.
    fn progress(&self, digest: &str, bytes: u64);
    /// The layer is in the store.
    fn done(&self, digest: &str);
    /// Something the user should read, such as "waiting for another pull of redis:8".
    fn note(&self, text: &str);
}

/// Which images a pull is content with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Ask the registry; what is already here is not fetched again.
    Always,
    /// Only if no such image is here.
    Missing,
    /// Never ask a registry.
    Never,
}

/// Pulls `name` (as a user writes it: `redis:8`, `host:5000/a/b@sha256:…`) into the store.
///
/// Two commands that pull the same layer at once do the work once. An interrupted pull leaves nothing visible.
///
/// # Errors
/// A bad name, an image or registry that is not there, a digest that does not match.
pub fn pull(home: &Home, name: &str, platform: Option<&str>, policy: Policy, watch: &dyn Watch) -> Result<Image> {
    let image = pull::pull(home, name, pull::Wanted { platform, policy }, watch)?;
    if policy == Policy::Always {
        note(home, "pull", (name, name));
    }
    Ok(image)
}

/// What came of a [`push()`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    pub tag: String,
    /// Of the manifest, `sha256:<hex>`.
    pub digest: String,
    /// Of the manifest, in bytes.
    pub size: u64,
}

/// Pushes the image that has this name to the registry the name says.
///
/// Without a `packing` layers go out as they came, and with gzip if they were made here.
///
/// # Errors
/// No such name; a registry that is not there or refuses.
pub fn push(home: &Home, name: &str, platform: Option<&str>, packing: Option<Packing>, watch: &dyn Watch) -> Result<Pushed> {
    push::push(home, name, push::Wanted { platform, packing }, watch).inspect(|_| note(home, "push", (name, name)))
}

/// The names of a repository that are in the store.
///
/// # Errors
/// A bad name, or one with a tag; none is there.
pub fn tags_of(home: &Home, repository: &str) -> Result<Vec<String>> {
    push::tags_of(home, repository)
}

/// The names with all tags that a registry has of a repository.
///
/// # Errors
/// A bad name, or one with a tag; a registry that does not answer.
pub fn remote_tags(home: &Home, repository: &str) -> Result<Vec<String>> {
    pull::remote_tags(home, repository)
}

/// Asks a registry whether it knows the user, and files the login if so; the Hub if `registry` is empty.
///
/// # Errors
/// The registry refuses or is not there; the login cannot be written.
pub fn login(home: &Home, registry: &str, user: &str, password: &str) -> Result<LoggedIn> {
    login::login(home, registry, user, password)
}

/// Asks a registry whether the login on file is still good; none if there is none.
///
/// # Errors
/// The registry refuses or is not there.
pub fn login_on_file(home: &Home, registry: &str) -> Result<Option<LoggedIn>> {
    login::on_file(home, registry)
}

/// Forgets the login for a registry; says whether there was one.
///
/// # Errors
/// The file cannot be written, or the credential helper fails.
pub fn logout(home: &Home, registry: &str) -> Result<bool> {
    credentials::forget(home, &login::registry_of(registry)?)
}

/// The registry a user means, as it is named in references: `docker.io` if nothing was said.
///
/// # Errors
/// Not the name of a registry.
pub fn registry_of(text: &str) -> Result<String> {
    login::registry_of(text)
}

/// Writes images as a tar archive that `docker load` reads, an OCI layout at the same time. A name without a tag means all its tags.
///
/// # Errors
/// No such image; a layer that cannot be had again to the byte; `out` cannot be written.
pub fn save(home: &Home, names: &[String], platform: Option<&str>, out: &mut dyn Write) -> Result<()> {
    save::save(home, names, platform, out)?;
    names.iter().for_each(|name| note(home, "save", (name, name)));
    Ok(())
}

/// An image that [`load()`] has brought in.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub id: String,
    /// As Docker shows them, `redis:8`.
    pub names: Vec<String>,
}

/// Brings in the images of an archive that `save`, `docker save`, `podman save` or `skopeo` wrote, compressed or not.
///
/// # Errors
/// No such archive; something in it does not match its digest.
pub fn load(home: &Home, input: File, platform: Option<&str>, watch: &dyn Watch) -> Result<Vec<Loaded>> {
    let loaded = load::load(home, input, platform, watch)?;
    loaded.iter().for_each(|image| note(home, "load", (&image.id, image.names.first().unwrap_or(&image.id))));
    Ok(loaded)
}

/// Makes an image of one layer, which is a tar stream, compressed or not.
///
/// # Errors
/// No tar stream; a store that cannot be written.
pub fn import(home: &Home, stream: &mut (dyn Read + Send), config: ImageConfig, watch: &dyn Watch) -> Result<Image> {
    import::import(home, stream, config, watch).inspect(|image| note(home, "import", (&image.id, &image.id)))
}

/// `linux/arm/v7` as operating system, architecture and variant, in the spelling that images have.
///
/// # Errors
/// Not a platform.
pub fn platform_parts(text: &str) -> Result<(String, String, Option<String>)> {
    let platform = platform::Platform::parse(text)?;
    Ok((platform.os, platform.architecture, platform.variant))
}

/// Finds an image that runs on a platform, where one is wanted.
///
/// # Errors
/// As [`find`]; the image that has this name is for another platform.
pub fn find_for(home: &Home, name_or_id: &str, platform: Option<&str>) -> Result<Option<Image>> {
    let found = find(home, name_or_id)?;
    if let (Some(found), Some(platform)) = (&found, platform) {
        platform::Platform::check(platform, &found.config).doing(|| format!("cannot take `{name_or_id}`"))?;
    }
    Ok(found)
}

/// The sizes of an image's layers as they lie unpacked, the lowest first, in bytes.
///
/// # Errors
/// The store cannot be read; an image that is not there has none.
pub fn layer_sizes(home: &Home, id: &str) -> Result<Vec<u64>> {
    layer_records::layer_sizes(home, id)
}

/// Finds an image of the store by name or by (a unique beginning of) its id.
///
/// # Errors
/// The store cannot be read, or the beginning is not unique; an image that is not there is `Ok(None)`.
pub fn find(home: &Home, name_or_id: &str) -> Result<Option<Image>> {
    let word = match store::look_up(home, name_or_id)? {
        Some(word) => word,
        // By its whole id a container finds its image even after the user has removed it.
        None => match digest::Digest::parse(name_or_id).map(|id| store::find_image(home, id.as_str())) {
            Ok(record) => match record? {
                Some(record) => store::Word::Id(record),
                None => return Ok(None),
            },
            Err(_) => return Ok(None),
        },
    };
    let hold = store::pin(home, word.id())?;
    // It may have been removed before we held it.
    let Some(record) = store::find_image(home, word.id())? else { return Ok(None) };
    let digest = match word {
        store::Word::Id(_) => None,
        store::Word::Name(name) => name.digest,
    };
    store::load(home, &record, digest, hold).map(Some)
}

/// One row of `images`.
#[derive(Debug, Clone)]
pub struct Listed {
    /// `redis` (familiar form), or `<none>`.
    pub repository: String,
    /// `8`, or `<none>`.
    pub tag: String,
    pub manifest_digest: Option<String>,
    /// `sha256:<hex>`
    pub id: String,
    /// RFC 3339.
    pub created: Option<String>,
    /// The sum of the unpacked layers, in bytes.
    pub size: u64,
}

/// Lists the images of the store, newest first.
///
/// # Errors
/// The store cannot be read.
pub fn list(home: &Home) -> Result<Vec<Listed>> {
    store::list(home)
}

/// The name in full, as Docker says what it has pulled: `redis` is `docker.io/library/redis:latest`.
///
/// # Errors
/// No image can have such a name.
pub fn full_name(name: &str) -> Result<String> {
    Ok(reference::Reference::parse(name)?.or_latest().canonical())
}

/// Makes `name` mean the image with this id, which must be in the store.
///
/// # Errors
/// A bad name; a store that cannot be written.
pub fn tag(home: &Home, id: &str, name: &str) -> Result<()> {
    let name = reference::Reference::parse(name)?.or_latest();
    if name.digest.is_some() {
        return Err(Failure::new(format!("cannot tag an image as `{name}`")).because("refusing to create a tag with a digest reference"));
    }
    let _lock = store::lock(home)?;
    let Some(word) = store::look_up(home, id)? else { return Err(Failure::new(format!("no such image: {id}"))) };
    let id = word.id().to_owned();
    store::put_name(home, &name, &id, None)?;
    note(home, "tag", (&id, &name.familiar()));
    Ok(())
}

/// Checks every blob against its digest, every layer against its diff id, and images and names against both.
///
/// Mends what can be had again, if that is wanted; layers of the images `in_use` are not replaced.
///
/// # Errors
/// The store cannot be read.
pub fn check(home: &Home, repair: Repair, in_use: &[String], watch: &dyn Watch) -> Result<Checked> {
    check::check(home, repair, in_use, watch)
}

/// Says that layers are on their way to an image: while this lives, layers that no image has are left alone.
///
/// # Errors
/// The lock cannot be made.
pub fn arriving(home: &Home) -> Result<Lock> {
    store::arriving(home)
}

/// What the images, and layers that are in none, take of the disk.
///
/// # Errors
/// The store cannot be read.
pub fn usage(home: &Home) -> Result<Usage> {
    usage::usage(home)
}

/// Says that nothing is on its way, and lets nothing come while this lives; none if something is.
///
/// # Errors
/// The lock cannot be made.
pub fn nothing_arrives(home: &Home) -> Result<Option<Lock>> {
    store::nothing_arrives(home)
}

/// Removes those of these layers that no image has, while nothing arrives. How many bytes that frees.
///
/// # Errors
/// The store cannot be written.
pub fn remove_loose(home: &Home, keys: &[String], _nothing_arrives: &Lock) -> Result<u64> {
    usage::remove_loose(home, keys)
}

/// Writes down what has happened to an image.
fn note(home: &Home, action: &str, (id, name): (&str, &str)) {
    journal::note(home, "image", action, (id, [("name".to_owned(), name.to_owned())].into()));
}

/// A finished layer of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// `sha256:<hex>` of the plain tar stream.
    pub diff_id: String,
    /// Of the plain tar stream, in bytes.
    pub size: u64,
}

/// Takes an overlay upper directory into the store as a layer: hashes the tar stream it stands for
/// (whiteouts and opaque directories in OCI form, names sorted) and moves the directory into `layers/`.
///
/// `upper` must be on the file system of the store; it is gone afterwards.
///
/// # Errors
/// A tree that cannot be read, a store that cannot be written; then `upper` is still there.
pub fn commit_layer(home: &Home, upper: &Path) -> Result<Layer> {
    commit::commit_layer(home, upper)
}

/// Puts an image of layers that are in the store under its id and returns it; names it with [`tag`].
///
/// # Errors
/// A layer is not there; the store cannot be written.
pub fn commit_image(home: &Home, config: &ImageConfig) -> Result<Image> {
    let cannot = || "cannot store the image";
    let bytes = serde_json::to_vec(config).doing(cannot)?;
    let id = digest::Digest::of(&bytes);
    let diff_ids = config.rootfs.diff_ids.iter().map(|diff_id| digest::Digest::parse(diff_id));
    let diff_ids = diff_ids.collect::<Result<Vec<_>>>().doing(cannot)?;
    let keys = layers::keys(home, &diff_ids);
    let _lock = store::lock(home)?;
    let record = store::image_record(home, &id, config, keys)?;
    store::put_blob(home, &id, &bytes)?;
    store::put_image(home, config, &record)?;
    store::load(home, &record, None, store::pin(home, id.as_str())?)
}
