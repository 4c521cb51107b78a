//! `coracle version`

use clap::Args;
use serde_json::json;

use crate::cli::Outcome;
use crate::cli::out;
use crate::cli::template::Template;

#[derive(Debug, Args)]
pub struct Command {
    /// `json`, or a template such as `{{.Server.Version}}`
    #[arg(short, long)]
    format: Option<String>,
}

impl Command {
    pub fn run(self) -> Outcome {
        let this = json!({ "Version": env!("CARGO_PKG_VERSION"), "Os": std::env::consts::OS, "Arch": architecture() });
        // One program is both sides: there is no server to ask.
        let both = json!({ "Client": this, "Server": this });
        match self.format.as_deref() {
            None => out::data(&format!("Coracle {} {}/{}\n", env!("CARGO_PKG_VERSION"), std::env::consts::OS, architecture()))?,
            Some("json") => out::line(&both.to_string())?,
            Some(template) => out::line(&Template::parse(template)?.text(&both)?)?,
        }
        Ok(0)
    }
}

/// The architecture as images name it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
