//! `coracle export`

use std::io::BufWriter;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::out;
use crate::cli::revive;
use crate::cli::save;
use crate::container;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    #[command(flatten)]
    output: Output,
    container: String,
}

// Where an archive goes.
#[derive(Debug, Clone, Args)]
pub struct Output {
    /// Write to this file, not to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        revive(home);
        self.output.export(home, &container::find(home, &self.container)?.id)?;
        Ok(0)
    }
}

impl Output {
    /// Writes a container's whole file system there.
    ///
    /// # Errors
    /// As [`container::export`]; standard output is a terminal.
    pub fn export(&self, home: &Home, id: &str) -> Result<()> {
        match &self.output {
            Some(path) => save::to_file(path, |sink| container::export(home, id, sink)),
            None if out::is_terminal() => {
                Err(Failure::new("cannot export to a terminal").because("the archive is not text").hint("use the -o flag or redirect"))
            }
            None => {
                let mut sink = BufWriter::with_capacity(1 << 20, out::raw()?);
                container::export(home, id, &mut sink)?;
                sink.flush().doing(|| "cannot write to standard output")
            }
        }
    }
}
