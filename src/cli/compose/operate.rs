//! `coracle compose start`, `stop`, `restart`, `pause`, `unpause`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::session::Session;
use crate::cli::compose::session::Stage;
use crate::cli::stop::Patience;
use crate::compose;
use crate::compose::AfterFault;
use crate::compose::Manner;
use crate::compose::plan::Operation;
use crate::failure::Failure;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Start {
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
        run(home, flags, (&self.services, Operation::Start), Manner::default())
    }
}

impl Stop {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let manner = Manner { grace: self.patience.grace(), after_fault: AfterFault::GoOn, ..Manner::default() };
        run(home, flags, (&self.services, Operation::Stop), manner)
    }
}

impl Restart {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let manner = Manner { grace: self.patience.grace(), ..Manner::default() };
        run(home, flags, (&self.services, Operation::Restart), manner)
    }
}

impl Pause {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        run(home, flags, (&self.services, Operation::Pause), Manner::default())
    }
}

impl Unpause {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        run(home, flags, (&self.services, Operation::Unpause), Manner::default())
    }
}

/// Does something to the containers of services.
///
/// # Errors
/// What could not be done; a service that is not there, or has no container to start.
pub fn run(home: &Home, flags: &ProjectFlags, (services, operation): (&[String], Operation), manner: Manner) -> Outcome {
    let session = Session::begin(home, flags)?;
    session.knows(services)?;
    if operation == Operation::Start {
        let bare = services.iter().find(|service| session.containers(std::slice::from_ref(*service)).is_empty());
        if let Some(service) = bare {
            return Err(Failure::new(format!("service \"{service}\" has no container to start"))
                .hint(format!("make one with `coracle compose up -d {service}`")));
        }
    }
    let stage = Stage::new(flags)?;
    compose::operate(home, &session.name, (services, operation), (manner, &stage.watch()))?;
    Ok(0)
}
