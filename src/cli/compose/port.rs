//! `coracle compose port`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::session::Session;
use crate::cli::out;
use crate::cli::port;
use crate::failure::Failure;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// `tcp` or `udp`
    #[arg(long, default_value = "tcp", value_parser = ["tcp", "udp"])]
    protocol: String,
    /// Which container of the service, by number
    #[arg(long, value_name = "NUMBER")]
    index: Option<u32>,
    service: String,
    #[arg(value_name = "PORT")]
    port: u16,
}

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let session = Session::begin(home, flags)?;
        let found = session.running(&self.service, self.index)?;
        let wanted = format!("{}/{}", self.port, self.protocol);
        let Some(published) = found.ports.iter().find(|published| port::inside(published) == wanted) else {
            return Err(Failure::new(format!("no port {wanted} for container {}", found.name)));
        };
        out::line(&port::outside(published))?;
        Ok(0)
    }
}
