//! `coracle exec`

use clap::Args;

use crate::cli::Outcome;
use crate::cli::revive;
use crate::cli::spelling;
use crate::cli::status_of;
use crate::container;
use crate::container::DetachKeys;
use crate::container::Exec;
use crate::failure::Failure;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    #[command(flatten)]
    options: ExecOptions,
    /// Join standard input
    #[arg(short, long)]
    interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    tty: bool,
    /// The container, then the command and its arguments
    #[arg(trailing_var_arg = true, num_args = 2.., required = true, value_names = ["CONTAINER", "COMMAND"])]
    words: Vec<String>,
}

// What `exec` and `compose exec` have in common.
#[derive(Debug, Clone, Args)]
pub struct ExecOptions {
    /// Run in the background
    #[arg(short, long)]
    pub detach: bool,
    /// Set a variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Read variables from a file
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<String>,
    /// User, or user and group, by name or number
    #[arg(short, long)]
    pub user: Option<String>,
    /// Directory to run in
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Give the command all rights
    #[arg(long)]
    pub privileged: bool,
    /// The keys that leave the command alone
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q", value_parser = DetachKeys::read)]
    pub detach_keys: DetachKeys,
}

impl Command {
    pub fn run(mut self, home: &Home) -> Outcome {
        revive(home);
        let found = container::find(home, &self.words.remove(0))?;
        if self.tty && self.interactive && !self.options.detach {
            needs_terminal()?;
        }
        let exec = Exec {
            args: self.words,
            env: spelling::environment(&self.options.env_file, &self.options.env)?,
            user: self.options.user,
            working_dir: self.options.workdir,
            tty: self.tty,
            stdin: self.interactive,
            privileged: self.options.privileged,
            detach: self.options.detach,
            detach_keys: self.options.detach_keys,
        };
        container::exec(home, &found.id, &exec).map(status_of).map_err(|failure| told(&exec, failure))
    }
}

/// A failure with Docker's exit status: 126 or 127 when somebody waits for a command that cannot be run, else 1.
pub fn told(exec: &Exec, failure: Failure) -> Failure {
    if matches!(failure.status(), 126 | 127) && !exec.detach { failure } else { failure.exit(1) }
}

/// Refuses `-it` when standard input is no terminal, as Docker does.
///
/// # Errors
/// It is none.
pub fn needs_terminal() -> crate::failure::Result<()> {
    if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        return Ok(());
    }
    Err(Failure::new("cannot give the command a terminal").because("the input device is not a TTY").hint("leave `-t` out"))
}
