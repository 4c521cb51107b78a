//! `coracle compose cp`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::plan;
use crate::cli::compose::session::Session;
use crate::cli::cp::End;
use crate::cli::cp::Manner;
use crate::cli::out;
use crate::compose::observe::FoundContainer;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    #[command(flatten)]
    manner: Manner,
    /// Which container of the service, by number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    index: u32,
    /// Also containers that `run` has made
    #[arg(long)]
    all: bool,
    /// SERVICE:PATH, a path of the host, or `-` for a tar archive on standard input
    source: String,
    /// The same, or `-` for a tar archive on standard output
    #[arg(value_name = "DESTINATION")]
    target: String,
}

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let ends = (End::read(&self.source)?, End::read(&self.target)?);
        let session = Session::begin(home, flags)?;
        let (service, goes_out) = match (&ends.0, &ends.1) {
            (End::Container(..), End::Container(..)) => {
                return Err(Failure::new("cannot copy between services").hint("copy to the host first, and from there"));
            }
            (End::Container(name, _), _) => (name, true),
            (_, End::Container(name, _)) => (name, false),
            _ => return Err(Failure::new("unknown copy direction").hint("write SERVICE:PATH for one of the two")),
        };
        let mut containers = self.containers(&session, service)?;
        if goes_out {
            containers.truncate(1);
        }
        let say = |found: &FoundContainer| match goes_out {
            true => format!("copy {}:{} to {}", found.name, self.source.split_once(':').map_or("", |(_, path)| path), self.target),
            false => format!("copy {} to {}:{}", self.source, found.name, self.target.split_once(':').map_or("", |(_, path)| path)),
        };
        if flags.dry_run {
            return plan::say(&containers.iter().map(|found| say(found)).collect::<Vec<_>>());
        }
        for found in containers {
            self.manner.copy(home, &found.id, (&ends.0, &ends.1))?;
            out::say(&format!(" {} Copied", say(found)));
        }
        Ok(0)
    }

    fn containers<'s>(&self, session: &'s Session, service: &str) -> Result<Vec<&'s FoundContainer>> {
        session.knows(&[service.to_owned()])?;
        let of_service = session.found.containers.iter().filter(|found| found.service == service && (self.all || !found.one_off));
        let containers: Vec<_> = of_service.filter(|found| self.index == 0 || found.number == self.index).collect();
        match containers.is_empty() {
            true => Err(Failure::new(format!("no container found for service \"{service}\""))
                .hint(format!("make one with `coracle compose up -d {service}`"))),
            false => Ok(containers),
        }
    }
}
