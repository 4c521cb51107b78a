//! `coracle rmi`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::out;
use crate::cli::sweep;
use crate::container;
use crate::failure::Result;
use crate::image;
use crate::image::Gone;
use crate::image::Removed;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// Remove images that stopped containers were made from too; an image that is not there is no failure
    #[arg(short, long)]
    force: bool,
    /// Taken for Docker's sake: there are no parents to delete
    #[arg(long, hide = true)]
    no_prune: bool,
    /// Only if the image is for this platform
    #[arg(long, value_delimiter = ',')]
    platform: Vec<String>,
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        let mut status = 0;
        for name in &self.images {
            match self.remove(home, name) {
                Ok(gone) => gone.changes.iter().try_for_each(|one| out::line(&worded(one)))?,
                Err(failure) => {
                    out::say(&failure.to_string());
                    let is_gone = self.force && image::find(home, name).is_ok_and(|found| found.is_none());
                    status = if is_gone { status } else { failure.status() };
                }
            }
        }
        sweep::begin(home);
        Ok(status)
    }

    fn remove(&self, home: &Home, name: &str) -> Result<Gone> {
        // Nothing is held any more when it is removed.
        self.platform.iter().try_for_each(|platform| image::find_for(home, name, Some(platform)).map(drop))?;
        image::remove(home, name, &|| container::image_uses(home), self.force)
    }
}

/// The ids of the images that containers were made from, or have mounted.
///
/// # Errors
/// The containers cannot be read.
pub fn in_use(home: &Home) -> Result<Vec<String>> {
    Ok(container::list(home)?.into_iter().flat_map(|container| container.wanted.images()).collect())
}

/// `Untagged: redis:8`, `Deleted: sha256:…`
pub fn worded(removed: &Removed) -> String {
    match removed {
        Removed::Untagged(name) => format!("Untagged: {name}"),
        Removed::Deleted(id) => format!("Deleted: {id}"),
    }
}
