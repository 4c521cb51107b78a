//! `coracle compose logs`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::session::Session;
use crate::cli::logs::Which;
use crate::cli::out;
use crate::cli::streams;
use crate::cli::streams::Look;
use crate::cli::streams::Source;
use crate::container;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    #[command(flatten)]
    which: Which,
    /// Show more as it comes
    #[arg(short, long)]
    follow: bool,
    /// Show when each line was written
    #[arg(short, long)]
    timestamps: bool,
    /// No colours
    #[arg(long)]
    no_color: bool,
    /// No names before the lines
    #[arg(long)]
    no_log_prefix: bool,
    /// Only this container of a service, by number
    #[arg(long, value_name = "NUMBER")]
    index: Option<u32>,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Command {
    /// A number is one of a single service's containers.
    fn check_index(&self, session: &Session) -> Result<()> {
        let Some(index) = self.index else { return Ok(()) };
        let [service] = self.services.as_slice() else {
            return Err(Failure::new("cannot show the log of one container of several services").hint("name one service beside `--index`"));
        };
        session.there(service, index).map(drop)
    }

    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let session = Session::begin(home, flags)?;
        session.knows(&self.services)?;
        self.check_index(&session)?;
        let chosen = session.containers(&self.services).into_iter().filter(|found| self.index.is_none_or(|index| found.number == index));
        let readable =
            chosen.filter(|found| match container::find(home, &found.id).and_then(|container| container::check_logs(&container)) {
                Ok(()) => true,
                Err(failure) => {
                    out::warn(&failure.to_string().replace("error: ", "").replace("\n  because: ", ": "));
                    false
                }
            });
        let sources: Vec<Source> = readable.map(|found| Source { id: found.id.clone(), name: session.short_name(found) }).collect();
        let look = Look { timestamps: self.timestamps, colour: flags.has_colour() && !self.no_color, prefix: !self.no_log_prefix };
        if self.follow {
            streams::follow(home, &sources, self.which.range()?, look)?;
        } else {
            streams::print_there(home, &sources, self.which.range()?, look)?;
        }
        Ok(0)
    }
}
