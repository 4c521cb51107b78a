//! `coracle compose publish`: known, and refused.

use clap::Args;

use crate::cli::Outcome;
use crate::failure::Failure;

#[derive(Debug, Args)]
pub struct Command {
    /// Whatever docker compose takes here
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "REPOSITORY")]
    words: Vec<String>,
}

impl Command {
    pub fn run(self) -> Outcome {
        let name = self.words.iter().find(|word| !word.starts_with('-')).map_or("the project".to_owned(), |name| format!("`{name}`"));
        Err(Failure::new(format!("cannot publish {name}"))
            .because("a project cannot be kept in a registry here, only images can")
            .hint("push the images with `coracle compose push`, and keep the files where you keep your sources"))
    }
}
