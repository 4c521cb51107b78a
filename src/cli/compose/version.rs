//! `coracle compose version`

use clap::Args;
use serde_json::json;

use crate::cli::Outcome;
use crate::cli::out;

#[derive(Debug, Args)]
pub struct Command {
    /// `pretty` or `json`
    #[arg(short, long, value_name = "FORMAT", value_parser = ["pretty", "json", ""], default_value = "pretty")]
    format: String,
    /// Only the number
    #[arg(long)]
    short: bool,
}

impl Command {
    pub fn run(self) -> Outcome {
        let number = env!("CARGO_PKG_VERSION");
        match self.format.as_str() {
            _ if self.short => out::line(number)?,
            "json" => out::line(&json!({ "version": number }).to_string())?,
            _ => pretty()?,
        }
        Ok(0)
    }
}

/// Says the version in words.
///
/// # Errors
/// Standard output cannot be written.
pub fn pretty() -> crate::failure::Result<()> {
    out::line(&format!("Coracle Compose version {}", env!("CARGO_PKG_VERSION")))
}
