//! `coracle compose wait`

use std::sync::mpsc::channel;
use std::thread;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::plan;
use crate::cli::compose::session::Session;
use crate::cli::compose::session::Stage;
use crate::cli::out;
use crate::cli::status_of;
use crate::compose;
use crate::compose::AfterFault;
use crate::compose::Manner;
use crate::compose::observe::FoundContainer;
use crate::compose::plan::DownOptions;
use crate::container;
use crate::container::Status;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// Take the project down as soon as one of the containers has ended
    #[arg(long)]
    down_project: bool,
    #[arg(required = true, value_name = "SERVICE")]
    services: Vec<String>,
}

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let session = Session::begin(home, flags)?;
        session.knows(&self.services)?;
        let named = session.found.containers.iter().filter(|found| self.services.contains(&found.service));
        let containers: Vec<_> = named.filter(|found| is_waited_for(found)).collect();
        if containers.is_empty() {
            return Err(Failure::new(format!("no containers for project \"{}\"", session.name))
                .because("none of these services has been started")
                .hint(format!("start them with `coracle compose up -d {}`", self.services.join(" "))));
        }
        if flags.dry_run {
            return plan::say(&containers.iter().map(|found| format!("wait for container {}", found.name)).collect::<Vec<_>>());
        }
        let (sender, ends) = channel();
        for found in &containers {
            let (home, id, sender) = (home.clone(), found.id.clone(), sender.clone());
            // A waiter that nobody listens to any more ends with us.
            thread::spawn(move || drop(sender.send((id.clone(), container::wait(&home, &id)))));
        }
        drop(sender);
        let mut status = 0;
        for (id, code) in ends {
            let code = code?;
            out::line(&format!("container \"{id}\" exited with status code {code}"))?;
            status = status_of(code);
            if self.down_project {
                down(home, flags, &session)?;
                break;
            }
        }
        Ok(status)
    }
}

/// One that has ended already counts: else it would depend on the moment whether a short job is waited for or refused.
fn is_waited_for(found: &FoundContainer) -> bool {
    found.is_up() || (matches!(found.status, Status::Exited | Status::Dead) && !found.one_off)
}

fn down(home: &Home, flags: &ProjectFlags, session: &Session) -> Result<()> {
    let stage = Stage::new(flags)?;
    let options = DownOptions { orphans: true, ..DownOptions::default() };
    let manner = Manner { after_fault: AfterFault::GoOn, ..flags.manner() };
    compose::down(home, &session.name, &options, (manner, &stage.watch())).map(drop)
}
