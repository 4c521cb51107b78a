//! `compose.lock`: which images a project was tried with, by digest, beside its file.
//!
//! ```json
//! { "version": 1, "images": { "redis:8": "sha256:…" } }
//! ```
//!
//! `pull --lock` writes it. `up --locked` takes exactly these, wherever their tags lead by now. What a service builds is
//! not in it: that is the Dockerfile's to say.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::compose::labels;
use crate::compose::model::Project;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::place::Home;
use crate::state;

const VERSION: u32 = 1;
const FILE: &str = "compose.lock";

/// Whether all of a project's images are written, or some of them again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    All,
    Some,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockFile {
    version: u32,
    /// Names to digests.
    images: BTreeMap<String, String>,
}

/// Writes the digests that these images have in their registries; where it was written.
///
/// # Errors
/// An image that was not pulled from a registry; the file cannot be written.
pub fn write(home: &Home, project: &Project, images: &[String], scope: Scope) -> Result<PathBuf> {
    let path = path(project);
    let mut all = match scope {
        Scope::All => BTreeMap::new(),
        Scope::Some => find(project)?.map(|file| file.images).unwrap_or_default(),
    };
    for name in images {
        let digest = image::digest_of(home, name)?.ok_or_else(|| {
            let failure = Failure::new(format!("cannot lock the image `{name}`"));
            failure
                .because("it was not pulled from a registry, so it has no digest there")
                .hint(format!("push it, or pull it: coracle pull {name}"))
        })?;
        all.insert(name.clone(), digest);
    }
    let text =
        serde_json::to_string_pretty(&LockFile { version: VERSION, images: all }).doing(|| format!("cannot write {}", path.display()))?;
    state::write_whole(&path, format!("{text}\n").as_bytes())?;
    Ok(path)
}

/// The pins of all images that services have and do not build.
///
/// # Errors
/// No such file, one that cannot be understood, or one that lacks an image.
pub fn read(project: &Project) -> Result<BTreeMap<String, String>> {
    let path = path(project);
    let hint = "write it: coracle compose pull --lock";
    let file = find(project)?
        .ok_or_else(|| Failure::new(format!("cannot keep to {}", path.display())).because("there is no such file").hint(hint))?;
    let mut pins = BTreeMap::new();
    for (name, service) in project.services.iter().filter(|(_, service)| service.build.is_none() && service.image.is_some()) {
        let image = labels::image_name(project, (name, service));
        // A digest in the file itself is as good.
        if image.contains('@') {
            continue;
        }
        let digest = file.images.get(&image).ok_or_else(|| {
            let failure = Failure::new(format!("cannot keep service `{name}` to {}", path.display()));
            failure.because(format!("it does not name the image `{image}`")).hint(hint)
        })?;
        if !is_digest(digest) {
            return Err(
                Failure::new(format!("cannot keep service `{name}` to {}", path.display())).because(format!("`{digest}` is no digest"))
            );
        }
        pins.insert(image, digest.clone());
    }
    Ok(pins)
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

fn find(project: &Project) -> Result<Option<LockFile>> {
    let path = path(project);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.doing(|| format!("cannot read {}", path.display()))?,
    };
    let file: LockFile = serde_json::from_str(&text).doing(|| format!("cannot understand {}", path.display()))?;
    if file.version != VERSION {
        return Err(Failure::new(format!("cannot understand {}", path.display()))
            .because(format!("its version is {}, not {VERSION}", file.version)));
    }
    Ok(Some(file))
}

/// Beside the first of the project's files.
fn path(project: &Project) -> PathBuf {
    let directory = project.files.first().and_then(|file| file.parent()).unwrap_or(&project.directory);
    directory.join(FILE)
}
