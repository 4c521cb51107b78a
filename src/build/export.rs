//! Results outside of the store: files in a directory or an archive, image layouts, registries.

use std::fs;
use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fs::OFlags;
use serde_json::Value;
use serde_json::json;
use sha2::Digest as _;
use sha2::Sha256;

use crate::build::LayoutForm;
use crate::build::Output;
use crate::build::arriving::Arriving;
use crate::build::context;
use crate::build::copy::CopyFault;
use crate::build::copy::Writer;
use crate::build::draft::Draft;
use crate::build::finish::Finished;
use crate::build::outputs;
use crate::build::outputs::AnnotationAt;
use crate::build::outputs::ImageOptions;
use crate::build::platform::Platform;
use crate::build::provenance::Said;
use crate::build::root::Root;
use crate::build::tree::Choice;
use crate::build::whole::Scene;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::image::Archived;
use crate::image::Bundle;
use crate::image::Layout;
use crate::image::Member;
use crate::image::Written;

/// The image of one platform on its way out.
pub(super) struct Delivery<'a> {
    pub platform: Platform,
    pub image: &'a Finished,
    /// What is said of it.
    pub said: Vec<Said>,
}

/// Whether something of the result leaves the store.
pub(super) fn leaves(output: &Output) -> bool {
    !matches!(output, Output::Nothing | Output::Store { .. })
}

/// Carries out one output for the images of all platforms; what left the store, if something did.
///
/// # Errors
/// A place that cannot be written; a registry that refuses.
pub(super) fn carry_out(scene: &Scene<'_>, output: &Output, all: &[Delivery<'_>]) -> Result<Option<Written>> {
    match output {
        Output::Nothing | Output::Store { .. } => {}
        Output::Directory { dest, split } => {
            let split = split.unwrap_or(all.len() > 1);
            for one in all {
                let dest = if split { dest.join(directory_of(&one.platform)) } else { dest.clone() };
                directory(one, &dest, all.len() > 1 && !split)?;
            }
        }
        Output::Tar { dest, split } => tar(scene, all, (dest, split.unwrap_or(all.len() > 1)))?,
        Output::Layout { layout, dest, form, image } => {
            return layout_of(scene, (*layout, *form), dest, &bundle(scene, image, all)).map(Some);
        }
        Output::Registry { image } => {
            let bundle = bundle(scene, image, all);
            if bundle.names.is_empty() {
                let failure = Failure::new("cannot push the image").because("tag is needed when pushing to registry");
                return Err(failure.hint("name it with `-t REGISTRY/NAME:TAG`"));
            }
            bundle.names.iter().for_each(|name| scene.watch.pushing(name));
            return Ok(image::push_bundle(scene.home, &bundle, scene.watch)?.into_iter().next());
        }
    }
    Ok(None)
}

/// `linux_arm64`
fn directory_of(platform: &Platform) -> String {
    platform.text().replace('/', "_")
}

/// The images as they leave the store, with all that is said of them.
fn bundle(scene: &Scene<'_>, options: &ImageOptions, all: &[Delivery<'_>]) -> Bundle {
    let annotations: Vec<_> = scene.wanted.annotations.iter().chain(&options.annotations).cloned().collect();
    let member = |one: &Delivery<'_>| {
        let text = one.platform.text();
        Member {
            config: one.image.config.clone(),
            annotations: outputs::chosen(&annotations, AnnotationAt::Manifest, &text),
            entry_annotations: outputs::chosen(&annotations, AnnotationAt::Entry, &text),
            statements: one.said.iter().map(|said| said.statement.clone()).collect(),
        }
    };
    Bundle {
        members: all.iter().map(member).collect(),
        names: if options.names.is_empty() { scene.wanted.tags.clone() } else { options.names.clone() },
        packing: options.packing,
        by_digest: options.by_digest,
        index_annotations: outputs::chosen(&annotations, AnnotationAt::Index, ""),
    }
}

fn layout_of(scene: &Scene<'_>, (layout, form): (Layout, LayoutForm), dest: &Path, bundle: &Bundle) -> Result<Written> {
    if layout == Layout::Docker && (bundle.members.len() > 1 || bundle.members.iter().any(|member| !member.statements.is_empty())) {
        let failure = Failure::new(format!("cannot write {}", dest.display()));
        let failure = failure.because("docker exporter does not currently support exporting manifest lists");
        return Err(failure.hint("use `type=oci`, one platform and `--provenance=false`"));
    }
    match form {
        LayoutForm::Directory => image::write_layout(scene.home, bundle, layout, dest),
        LayoutForm::Archive => {
            let cannot = || format!("cannot write {}", dest.display());
            let mut out = Arriving::begin(dest)?;
            let written = image::write_layout_archive(scene.home, bundle, layout, &mut out).map_err(|failure| failure.within(cannot()))?;
            out.end().doing(cannot)?;
            Ok(written)
        }
    }
}

/// Copies the files of the root; they are the user's then.
fn directory(one: &Delivery<'_>, dest: &Path, is_shared: bool) -> Result<()> {
    let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    copy(one, (dest, is_shared), Some(owner))
}

fn copy(one: &Delivery<'_>, (dest, is_shared): (&Path, bool), owner: Option<(u32, u32)>) -> Result<()> {
    let cannot = || format!("cannot write the result to `{}`", dest.display());
    fs::create_dir_all(dest).doing(cannot)?;
    let mut subjects = Vec::new();
    if !one.image.chain.paths().is_empty() {
        let files = context::of_stage(&one.image.chain)?;
        let root = Root::at(dest).doing(cannot)?;
        let writer = Writer { dest: &root, owner, mode: None };
        let selection = files.tree.select(Path::new(""), &Choice::default()).doing(cannot)?;
        let copied = selection.map_or(Ok(()), |selection| writer.copy(&files.tree, &selection, "/"));
        copied.map_err(|fault| match fault {
            CopyFault::Refused(what) => Failure::new(cannot()).because(what),
            CopyFault::Io(path, error) => Failure::new(cannot()).because(format!("{}: {error}", path.display())),
        })?;
        if !one.said.is_empty() {
            let directory = files.tree.root.open(Path::new(""), OFlags::RDONLY | OFlags::DIRECTORY).doing(cannot)?;
            let directory = format!("/proc/self/fd/{}", directory.as_raw_fd());
            list(Path::new(&directory), "", &mut subjects).doing(cannot)?;
        }
    }
    for said in &one.said {
        let name = match said.file.rsplit_once('.') {
            Some((stem, end)) if is_shared => format!("{stem}.{}.{end}", directory_of(&one.platform)),
            _ => said.file.clone(),
        };
        let text = serde_json::to_string_pretty(&said.statement.json(&subjects)).doing(cannot)?;
        fs::write(dest.join(name), text).doing(cannot)?;
    }
    Ok(())
}

/// The files below a directory with their digests, as a statement names what it is about.
fn list(directory: &Path, prefix: &str, subjects: &mut Vec<Value>) -> io::Result<()> {
    let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list(&entry.path(), &format!("{name}/"), subjects)?;
        } else if kind.is_file() {
            let mut hasher = Sha256::new();
            let mut file = BufReader::with_capacity(64 << 10, File::open(entry.path())?);
            loop {
                let bytes = file.fill_buf()?;
                if bytes.is_empty() {
                    break;
                }
                hasher.update(bytes);
                let count = bytes.len();
                file.consume(count);
            }
            let hex: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            subjects.push(json!({ "name": name, "digest": { "sha256": hex } }));
        }
    }
    Ok(())
}

/// Writes the files of the roots as one archive, each platform's in a directory of its own if there are several.
fn tar(scene: &Scene<'_>, all: &[Delivery<'_>], (dest, split): (&Path, bool)) -> Result<()> {
    let cannot = || format!("cannot write {}", dest.display());
    let mut out = Arriving::begin(dest)?;
    let as_it_is = all.first().filter(|one| all.len() == 1 && !split && one.said.is_empty());
    if let Some(one) = as_it_is {
        if one.image.chain.paths().is_empty() {
            // Two empty blocks are an archive of nothing.
            out.write_all(&[0; 1024]).doing(cannot)?;
        } else {
            let files = context::of_stage(&one.image.chain)?;
            let directory = files.tree.root.open(Path::new(""), OFlags::RDONLY | OFlags::DIRECTORY).doing(cannot)?;
            image::write_archive(Archived::Content(directory), &mut out).doing(cannot)?;
        }
        return out.end().doing(cannot);
    }
    // The archive's writer knows one tree; so the trees become one, which the disk has room for as it had for the layers.
    let draft = Draft::begin(scene.home)?;
    for one in all {
        let place = if split { draft.files().join(directory_of(&one.platform)) } else { draft.files() };
        copy(one, (&place, !split && all.len() > 1), None)?;
    }
    let directory = File::open(draft.files()).doing(cannot)?;
    image::write_archive(Archived::Content(directory.into()), &mut out).doing(cannot)?;
    out.end().doing(cannot)
}
