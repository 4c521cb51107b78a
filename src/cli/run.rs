//! `coracle run`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::container_options::ContainerOptions;
use crate::cli::engine_failure;
use crate::cli::out;
use crate::cli::start::start;
use crate::cli::status_of;
use crate::container;
use crate::container::Attach;
use crate::container::Attached;
use crate::container::Container;
use crate::container::DetachKeys;
use crate::failure::Failure;
use crate::place::Home;

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct Command {
    /// Run in the background and print the container's id
    #[arg(short, long)]
    detach: bool,
    /// Do not pass signals to the container
    #[arg(long = "sig-proxy", value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    signals: bool,
    /// The keys that leave the container alone
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q", value_parser = DetachKeys::read)]
    detach_keys: DetachKeys,
    #[command(flatten)]
    options: ContainerOptions,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        if self.detach && self.options.removes_and_restarts() {
            return Err(Failure::new("cannot use `--rm` together with `--restart`").exit(125));
        }
        let shown = self.options.attached();
        if self.detach && shown.is_some() {
            return Err(Failure::new("cannot use `--attach` together with `--detach`").exit(125));
        }
        let created = self.options.create(home).map_err(engine_failure)?;
        if self.detach {
            start(home, &created.id).map_err(|failure| engine_failure(taken_back(home, &created, failure)))?;
            out::line(&created.id)?;
            return Ok(0);
        }
        let attach = Attach {
            stdin: created.wanted.stdin && shown.is_none_or(|shown| shown[0]),
            signals: self.signals && !created.wanted.tty,
            start: true,
            detach_keys: self.detach_keys,
            hidden: shown.map_or([false; 2], |shown| [!shown[1], !shown[2]]),
        };
        match container::attach(home, &created.id, attach).map_err(|failure| engine_failure(taken_back(home, &created, failure)))? {
            Attached::Exited(code) => Ok(status_of(code)),
            Attached::Detached => Ok(0),
        }
    }
}

/// Removes a container that was to be removed after its end and could not begin.
pub fn taken_back(home: &Home, created: &Container, failure: Failure) -> Failure {
    if created.wanted.auto_remove {
        // It may be gone already, and the failure to tell is that of the start.
        let _ = container::remove(home, &created.id, container::Volumes::Remove);
    }
    failure
}
