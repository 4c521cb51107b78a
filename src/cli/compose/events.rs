//! `coracle compose events`

use clap::Args;
use serde_json::json;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::session::Session;
use crate::cli::events::Period;
use crate::cli::events::attributes;
use crate::cli::events::local_time;
use crate::cli::out;
use crate::cli::out::Reader;
use crate::compose::labels;
use crate::journal::Event;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    period: Period,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        let session = Session::begin(home, flags)?;
        session.knows(&self.services)?;
        self.period.follow(home, |event| match self.text(&session, event) {
            Some(text) => out::bytes(format!("{text}\n").as_bytes()),
            None => Ok(Reader::There),
        })?;
        Ok(0)
    }

    /// What is printed of an event; nothing if it is of another project or service.
    fn text(&self, session: &Session, event: &Event) -> Option<String> {
        let label = |name: &str| event.attributes.get(name).map_or("", String::as_str);
        let service = label(labels::SERVICE);
        let is_ours = event.kind == "container" && label(labels::PROJECT) == session.name && label(labels::ONE_OFF) != "True";
        if !is_ours || !(self.services.is_empty() || self.services.iter().any(|name| name == service)) {
            return None;
        }
        let mut own = event.attributes.clone();
        own.retain(|name, _| !name.starts_with("com.docker.compose."));
        if !self.json {
            let time = local_time(event.time, "%Y-%m-%d %H:%M:%S.%6f");
            return Some(format!("{time} container {} {} ({})", event.action, event.id, attributes(&own)));
        }
        let value = json!({
            "action": event.action,
            "attributes": own,
            "id": event.id,
            "service": service,
            "time": local_time(event.time, "%Y-%m-%dT%H:%M:%S.%9f%:z"),
            "type": "container",
        });
        Some(value.to_string())
    }
}
