//! `coracle login`

use std::io;
use std::io::IsTerminal;
use std::io::Read;
use std::io::Write;

use clap::Args;
use rustix::termios;
use rustix::termios::LocalModes;
use rustix::termios::OptionalActions;

use crate::cli::Outcome;
use crate::cli::out;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::image::Filed;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Better given on standard input: others can see the arguments of a command
    #[arg(short, long, value_name = "TEXT", conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// The Hub if nothing is said
    #[arg(value_name = "SERVER", default_value = "")]
    server: String,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        let registry = image::registry_of(&self.server)?;
        if self.username.is_none() && self.password.is_none() && !self.password_stdin && self.still_good(home, &registry)? {
            return Ok(0);
        }
        let (user, password) = self.ask(&registry)?;
        let done = image::login(home, &registry, &user, &password)?;
        if let Some(Filed::File(path)) = done.filed {
            out::say(&format!(
                "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this warning.\n",
                path.display()
            ));
        }
        out::line("Login Succeeded")?;
        Ok(0)
    }

    /// Tries the login on file, as Docker does when nothing is said.
    fn still_good(&self, home: &Home, registry: &str) -> Result<bool> {
        match image::login_on_file(home, registry) {
            Ok(None) => Ok(false),
            Ok(Some(login)) => {
                out::say(&format!("Authenticating with existing credentials... [Username: {}]", login.user));
                out::line("Login Succeeded")?;
                Ok(true)
            }
            Err(failure) if io::stdin().is_terminal() => {
                out::say(&failure.to_string());
                Ok(false)
            }
            Err(failure) => Err(failure),
        }
    }

    fn ask(&self, registry: &str) -> Result<(String, String)> {
        if self.password_stdin {
            let user = self
                .username
                .clone()
                .ok_or_else(|| Failure::new("cannot log in").because("--password-stdin needs a user name").hint("add --username NAME"))?;
            let mut password = String::new();
            io::stdin().read_to_string(&mut password).doing(|| "cannot read the password from standard input")?;
            return full(user, password.trim_end_matches(['\n', '\r']).to_owned());
        }
        if self.password.is_some() {
            out::say("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
        }
        if (self.username.is_none() || self.password.is_none()) && !io::stdin().is_terminal() {
            let failure = Failure::new("cannot log in").because("there is no terminal to ask for user name and password at");
            return Err(failure.hint("give them: --username NAME --password-stdin"));
        }
        let user = match &self.username {
            Some(user) => user.clone(),
            None => prompt(&format!("Username for {registry}: "), Echo::On)?,
        };
        let password = match &self.password {
            Some(password) => password.clone(),
            None => prompt("Password: ", Echo::Off)?,
        };
        full(user, password)
    }
}

fn full(user: String, password: String) -> Result<(String, String)> {
    for (text, what) in [(&user, "user name"), (&password, "password")] {
        if text.is_empty() {
            return Err(Failure::new("cannot log in").because(format!("the {what} is empty")));
        }
    }
    Ok((user, password))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Echo {
    On,
    Off,
}

fn prompt(text: &str, echo: Echo) -> Result<String> {
    let _ = write!(io::stderr().lock(), "{text}");
    let before = termios::tcgetattr(io::stdin()).ok().filter(|_| echo == Echo::Off);
    if let Some(before) = &before {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        termios::tcsetattr(io::stdin(), OptionalActions::Flush, &silent).map_err(io::Error::from).doing(|| "cannot hide the password")?;
    }
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    if let Some(before) = &before {
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Flush, before);
        out::say("");
    }
    read.doing(|| "cannot read the answer")?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}
