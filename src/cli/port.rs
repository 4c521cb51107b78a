//! `coracle port`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::out;
use crate::cli::revive;
use crate::cli::wording;
use crate::container;
use crate::failure::Failure;
use crate::net::Port;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    container: String,
    /// Only this port: `80`, `53/udp`
    #[arg(value_name = "PORT[/PROTOCOL]")]
    port: Option<String>,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        revive(home);
        let found = container::find(home, &self.container)?;
        let ports = container::state(home, &found.id)?.ports;
        let Some(wanted) = self.port else {
            for port in &ports {
                out::line(&format!("{} -> {}", inside(port), outside(port)))?;
            }
            return Ok(0);
        };
        let wanted = if wanted.contains('/') { wanted } else { format!("{wanted}/tcp") };
        let matching: Vec<_> = ports.iter().filter(|port| inside(port) == wanted).collect();
        if matching.is_empty() {
            return Err(Failure::new(format!("no public port `{wanted}` published for `{}`", found.name)));
        }
        for port in matching {
            out::line(&outside(port))?;
        }
        Ok(0)
    }
}

/// `5000/tcp`
pub fn inside(port: &Port) -> String {
    format!("{}/{}", port.container_port, wording::protocol(port.protocol))
}

/// `0.0.0.0:8000`, `[::]:8000`
pub fn outside(port: &Port) -> String {
    wording::host_port(port.host_address, &wording::host_number(port))
}
