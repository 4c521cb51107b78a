//! `coracle compose start`, `stop`, `restart`, `pause`, `unpause`

use std::time::Duration;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::plan;
use crate::cli::compose::session;
use crate::cli::compose::session::Session;
use crate::cli::compose::session::Stage;
use crate::cli::compose::up::waiting;
use crate::cli::stop::Patience;
use crate::compose;
use crate::compose::AfterFault;
use crate::compose::Errand;
use crate::compose::Manner;
use crate::compose::plan::Operation;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Start {
    /// Wait until the services run or are healthy
    #[arg(long)]
    wait: bool,
    /// Seconds that `--wait` waits at most
    #[arg(long, value_name = "SECONDS")]
    wait_timeout: Option<u64>,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Stop {
    #[command(flatten)]
    patience: Patience,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Restart {
    #[command(flatten)]
    patience: Patience,
    /// Leave services alone whose `depends_on` asks for a restart with these
    #[arg(long)]
    no_deps: bool,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Pause {
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Unpause {
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Start {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let session = Session::begin(home, flags)?;
        session.knows(&self.services)?;
        if session.project.is_none() && session.containers(&[]).is_empty() {
            return Err(Failure::new(format!("no container found for project \"{}\"", session.name))
                .hint("make containers with `coracle compose up` and the project's files"));
        }
        let status = carry_out(home, flags, (&session.name, &self.services, Operation::Start), flags.manner())?;
        if let Some(service) = self.bare(&session) {
            return Err(Failure::new(format!("service \"{service}\" has no container to start"))
                .hint(format!("make one with `coracle compose up -d {service}`")));
        }
        if self.wait && !flags.dry_run {
            let project = session::project(flags, &self.services)?;
            let stage = Stage::new(flags)?;
            waiting::until_ready(home, (&project, &self.services), (&stage.watch(), self.wait_timeout.map(Duration::from_secs)))?;
        }
        Ok(status)
    }
}

impl Start {
    /// A service, of those that are to be started, that has no container and should have one.
    fn bare(&self, session: &Session) -> Option<String> {
        let of_files = session.project.iter().flat_map(|project| project.services.iter());
        let wanted = of_files.filter(|(_, service)| service.provider.is_none() && service.scale != Some(0)).map(|(name, _)| name);
        let mut services: Box<dyn Iterator<Item = &String>> =
            if self.services.is_empty() { Box::new(wanted) } else { Box::new(self.services.iter()) };
        services.find(|service| session.containers(std::slice::from_ref(*service)).is_empty()).cloned()
    }
}

impl Stop {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let manner = Manner { grace: self.patience.grace(), after_fault: AfterFault::GoOn, ..flags.manner() };
        run(home, flags, (&self.services, Operation::Stop), manner)
    }
}

impl Restart {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let manner = Manner { grace: self.patience.grace(), ..flags.manner() };
        let operation = if self.no_deps { Operation::RestartAlone } else { Operation::Restart };
        run(home, flags, (&self.services, operation), manner)
    }
}

impl Pause {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        run(home, flags, (&self.services, Operation::Pause), Manner { after_fault: AfterFault::GoOn, ..flags.manner() })
    }
}

impl Unpause {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        run(home, flags, (&self.services, Operation::Unpause), Manner { after_fault: AfterFault::GoOn, ..flags.manner() })
    }
}

/// Does something to the containers of services.
///
/// # Errors
/// What could not be done; a service that is not there.
pub fn run(home: &Home, flags: &ProjectFlags, (services, operation): (&[String], Operation), manner: Manner) -> Outcome {
    let session = Session::begin(home, flags)?;
    session.knows(services)?;
    let status = carry_out(home, flags, (&session.name, services, operation), manner)?;
    if let Some(project) = session.project.as_ref().filter(|_| operation == Operation::Stop && !flags.dry_run) {
        compose::release_providers(project, services, Errand::Stop, &Stage::new(flags)?.watch())?;
    }
    Ok(status)
}

/// Carries an operation out, or says what it would do.
///
/// # Errors
/// What could not be done.
pub fn carry_out(
    home: &Home,
    flags: &ProjectFlags,
    (project, services, operation): (&str, &[String], Operation),
    manner: Manner,
) -> Result<u8> {
    if flags.dry_run {
        return plan::show(&compose::plan_operate(home, project, (services, operation))?);
    }
    let stage = Stage::new(flags)?;
    compose::operate(home, project, (services, operation), (manner, &stage.watch()))?;
    Ok(0)
}
