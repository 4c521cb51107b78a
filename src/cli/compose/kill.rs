//! `coracle compose kill`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::operate;
use crate::cli::compose::session;
use crate::cli::compose::session::Session;
use crate::cli::out;
use crate::compose::AfterFault;
use crate::compose::Manner;
use crate::compose::plan::Operation;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// The signal to send
    #[arg(short, long, default_value = "SIGKILL")]
    signal: String,
    /// Also containers of services that the files do not have
    #[arg(long)]
    remove_orphans: bool,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let session = Session::begin(home, flags)?;
        session.knows(&self.services)?;
        let mut services = self.services;
        let removes_orphans = self.remove_orphans || session::is_on(session.project.as_ref(), "COMPOSE_REMOVE_ORPHANS");
        if let (Some(project), true, false) = (&session.project, services.is_empty(), removes_orphans) {
            services = project.services.keys().chain(project.disabled.keys()).cloned().collect();
        }
        let concerned = session.found.containers.iter().filter(|found| services.is_empty() || services.contains(&found.service));
        if !concerned.into_iter().any(|found| found.is_up()) {
            out::say("No container to kill");
            return Ok(0);
        }
        let manner = Manner { signal: self.signal, after_fault: AfterFault::GoOn, ..flags.manner() };
        operate::carry_out(home, flags, (&session.name, &services, Operation::Kill), manner)
    }
}
