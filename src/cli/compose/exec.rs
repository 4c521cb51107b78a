//! `coracle compose exec`

use std::io::IsTerminal;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::plan;
use crate::cli::compose::session::Session;
use crate::cli::exec::ExecOptions;
use crate::cli::exec::told;
use crate::cli::spelling;
use crate::cli::status_of;
use crate::container;
use crate::container::Exec;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    #[command(flatten)]
    options: ExecOptions,
    /// Give the command no terminal; there is one if we have one
    #[arg(short = 'T', long = "no-tty", visible_alias = "no-TTY")]
    no_tty: bool,
    /// Join standard input, as is done anyway
    #[arg(short, long)]
    interactive: bool,
    /// Give the command a terminal, as is done anyway if we have one
    #[arg(short, long, conflicts_with = "no_tty")]
    tty: bool,
    /// Which container of the service, by number
    #[arg(long, value_name = "NUMBER")]
    index: Option<u32>,
    /// The service, then the command and its arguments
    #[arg(trailing_var_arg = true, num_args = 2.., required = true, value_names = ["SERVICE", "COMMAND"])]
    words: Vec<String>,
}

impl Command {
    pub fn run(mut self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let session = Session::begin(home, flags)?;
        let found = session.running(&self.words.remove(0), self.index)?;
        if flags.dry_run {
            return plan::say(&[format!("run in container {}: {}", found.name, self.words.join(" "))]);
        }
        let has_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let exec = Exec {
            args: self.words,
            env: spelling::environment(&self.options.env_file, &self.options.env)?,
            user: self.options.user,
            working_dir: self.options.workdir,
            tty: !self.no_tty && !self.options.detach && (has_terminal || self.tty),
            stdin: !self.options.detach,
            privileged: self.options.privileged,
            detach: self.options.detach,
            detach_keys: self.options.detach_keys,
        };
        container::exec(home, &found.id, &exec).map(status_of).map_err(|failure| told(&exec, failure))
    }
}
