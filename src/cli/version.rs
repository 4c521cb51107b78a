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
        let this = json!({
            "Version": env!("CARGO_PKG_VERSION"),
            "ApiVersion": API,
            "Os": std::env::consts::OS,
            "Arch": architecture(),
            "KernelVersion": rustix::system::uname().release().to_string_lossy(),
        });
        // One program is both sides: there is no server to ask.
        let both = json!({ "Client": this, "Server": this });
        match self.format.as_deref() {
            None => out::data(&text())?,
            Some("json") => out::line(&both.to_string())?,
            Some(template) => out::line(&Template::parse(template)?.text_of_struct(&both)?)?,
        }
        Ok(0)
    }
}

/// The version of Docker's API whose names and values our JSON has.
const API: &str = "1.51";

/// As `docker version` prints it, with one part, as there is no other.
fn text() -> String {
    let lines = [("Version", env!("CARGO_PKG_VERSION").to_owned()), ("OS/Arch", format!("{}/{}", std::env::consts::OS, architecture()))];
    let lines = lines.iter().map(|(title, value)| format!(" {:<12}{value}\n", format!("{title}:")));
    format!("Client and engine: Coracle\n{}", lines.collect::<String>())
}

/// The architecture as images name it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
