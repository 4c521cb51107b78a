//! Results outside of the store: the files of a root in a directory, or as an archive.

use std::fs;
use std::path::Path;

use crate::build::Output;
use crate::build::context;
use crate::build::copy::CopyFault;
use crate::build::copy::Writer;
use crate::build::finish::Finished;
use crate::build::platform::Platform;
use crate::build::root::Root;
use crate::build::tree::Choice;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;

/// Carries out one output for the images of all platforms.
///
/// # Errors
/// A place that cannot be written.
pub(super) fn carry_out(output: &Output, finished: &[(Platform, &Finished)]) -> Result<()> {
    match output {
        Output::Store => Ok(()),
        Output::Directory { dest, split } => {
            for (platform, one) in finished {
                let split = split.unwrap_or(finished.len() > 1);
                let dest = if split { dest.join(platform.text().replace('/', "_")) } else { dest.clone() };
                directory(one, &dest)?;
            }
            Ok(())
        }
        Output::Tar { dest, .. } => Err(Failure::new(format!("cannot write {}", dest.display())).because("archives are not written yet")),
    }
}

/// Copies the files of the root; they are the user's then.
fn directory(one: &Finished, dest: &Path) -> Result<()> {
    let cannot = || format!("cannot write the result to `{}`", dest.display());
    fs::create_dir_all(dest).doing(cannot)?;
    if one.chain.paths().is_empty() {
        return Ok(());
    }
    let files = context::of_stage(&one.chain)?;
    let root = Root::at(dest).doing(cannot)?;
    let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let writer = Writer { dest: &root, owner: Some(owner), mode: None };
    let selection = files.tree.select(Path::new(""), &Choice::default()).doing(cannot)?;
    let Some(selection) = selection else { return Ok(()) };
    writer.copy(&files.tree, &selection, "/").map_err(|fault| match fault {
        CopyFault::Refused(what) => Failure::new(cannot()).because(what),
        CopyFault::Io(path, error) => Failure::new(cannot()).because(format!("{}: {error}", path.display())),
    })
}
