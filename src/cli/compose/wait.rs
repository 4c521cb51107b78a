//! `coracle compose wait`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::session::Session;
use crate::cli::out;
use crate::cli::status_of;
use crate::container;
use crate::failure::Failure;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    #[arg(required = true, value_name = "SERVICE")]
    services: Vec<String>,
}

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let session = Session::begin(home, flags)?;
        session.knows(&self.services)?;
        let containers = session.containers(&self.services);
        if containers.is_empty() {
            return Err(Failure::new(format!("no containers for project \"{}\"", session.name)));
        }
        let mut status = 0;
        for found in containers {
            let code = container::wait(home, &found.id)?;
            out::line(&format!("container {} exited with status code {code}", found.name))?;
            status = status_of(code);
        }
        Ok(status)
    }
}
