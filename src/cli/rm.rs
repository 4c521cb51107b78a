//! `coracle rm`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::each;
use crate::cli::revive;
use crate::container;
use crate::container::Status;
use crate::container::Volumes;
use crate::failure::Result;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// Kill the container first if it runs; a container that is not there is no failure
    #[arg(short, long)]
    force: bool,
    /// Remove its anonymous volumes too
    #[arg(short, long)]
    volumes: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        revive(home);
        let (there, missing): (Vec<_>, Vec<_>) = self.containers.iter().cloned().partition(|name| container::find(home, name).is_ok());
        let status = each(&there, |name| self.remove(home, name))?;
        // The second look at what is missing is for its message.
        let missing = each(&missing, |name| self.remove(home, name))?;
        Ok(if self.force { status } else { status.max(missing) })
    }

    fn remove(&self, home: &Home, name: &str) -> Result<()> {
        let id = container::find(home, name)?.id;
        if self.force {
            kill_if_running(home, &id)?;
        }
        container::remove(home, &id, if self.volumes { Volumes::Remove } else { Volumes::Keep })
    }
}

/// Ends a container at once, whatever it does.
///
/// # Errors
/// What the supervisor says.
pub fn kill_if_running(home: &Home, id: &str) -> Result<()> {
    match container::state(home, id)?.status {
        Status::Running | Status::Restarting | Status::Paused => container::stop(home, id, container::Grace::Seconds(0)),
        Status::Created | Status::Exited | Status::Dead => Ok(()),
    }
}
