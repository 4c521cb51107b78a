//! `coracle start`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::each;
use crate::cli::engine_failure;
use crate::cli::out;
use crate::cli::revive;
use crate::cli::status_of;
use crate::container;
use crate::container::Attach;
use crate::container::Attached;
use crate::container::DetachKeys;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// Show the container's output and pass on signals
    #[arg(short, long)]
    attach: bool,
    /// Join standard input
    #[arg(short, long)]
    interactive: bool,
    /// The keys that leave the container alone
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q", value_parser = DetachKeys::read)]
    detach_keys: DetachKeys,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        revive(home);
        if !self.attach && !self.interactive {
            return each(&self.containers, |name| start(home, &container::find(home, name)?.id));
        }
        let [name] = self.containers.as_slice() else {
            return Err(Failure::new("cannot start and attach to several containers at once")
                .hint("name one container, or leave `-a` and `-i` out"));
        };
        let found = container::find(home, name)?;
        let attach = Attach {
            stdin: self.interactive && found.wanted.stdin,
            signals: !found.wanted.tty,
            start: true,
            detach_keys: self.detach_keys,
            hidden: [false; 2],
        };
        match container::attach(home, &found.id, attach).map_err(engine_failure)? {
            Attached::Exited(code) => Ok(status_of(code)),
            Attached::Detached => Ok(0),
        }
    }
}

/// Starts a container and says what this machine could not do of what it asks for.
///
/// # Errors
/// As [`container::start`].
pub fn start(home: &Home, id: &str) -> Result<()> {
    container::start(home, id)?.iter().for_each(|warning| out::warn(warning));
    Ok(())
}
