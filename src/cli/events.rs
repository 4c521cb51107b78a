//! `coracle events`: what happens, as it happens.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use serde_json::json;

use crate::cli::Outcome;
use crate::cli::listing;
use crate::cli::listing::Filter;
use crate::cli::listing::holds;
use crate::cli::out;
use crate::cli::out::Reader;
use crate::cli::revive;
use crate::cli::template::Template;
use crate::failure::Result;
use crate::journal;
use crate::journal::Event;
use crate::place::Home;
use crate::units;

#[derive(Debug, Args)]
pub struct Command {
    #[command(flatten)]
    period: Period,
    /// Only those: event=, type=, container=, image=, label=, network=, volume=, scope=
    #[arg(short, long, value_parser = listing::filter)]
    filter: Vec<Filter>,
    /// `json` or a template
    #[arg(long)]
    format: Option<String>,
}

// Which events are shown.
#[derive(Debug, Clone, Args)]
pub struct Period {
    /// Show what has happened since then, too: a point in time, or a duration back from now
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// End there
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

const FILTERS: &[&str] = &["event", "type", "container", "image", "label", "network", "volume", "scope", "daemon"];

/// Between two looks at the clock.
const GLANCE: Duration = Duration::from_millis(500);

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        listing::only_known(&self.filter, FILTERS)?;
        let template = match self.format.as_deref() {
            None | Some("") => None,
            Some("json" | "{{json .}}") => Some(None),
            Some(text) => Some(Some(Template::parse(text)?)),
        };
        revive(home);
        self.period.follow(home, |event| {
            if !passes(&self.filter, event) {
                return Ok(Reader::There);
            }
            let line = match &template {
                None => pretty(event),
                Some(None) => message(event).to_string(),
                Some(Some(template)) => template.text(&dot(event))?,
            };
            out::bytes(format!("{line}\n").as_bytes())
        })?;
        Ok(0)
    }
}

impl Period {
    /// Hands over event by event until the period ends or nobody reads what is shown.
    ///
    /// # Errors
    /// A point in time that is none; those of `show`.
    pub fn follow(&self, home: &Home, mut show: impl FnMut(&Event) -> Result<Reader>) -> Result<()> {
        let moment = |text: &Option<String>| text.as_deref().map(units::moment).transpose();
        let (since, until) = (moment(&self.since)?, moment(&self.until)?);
        let from = if since.is_none() && until.is_none() { journal::From::Now } else { journal::From::Beginning };
        let mut reader = journal::Reader::open(home, from)?;
        loop {
            // Asked before the journal is read: what happened before the end is then surely seen.
            let is_over = until.is_some_and(|until| until <= units::now_nanoseconds());
            while let Some(event) = reader.read()? {
                let is_meant = since.is_none_or(|since| since <= event.time) && until.is_none_or(|until| event.time <= until);
                if is_meant && show(&event)? == Reader::Gone {
                    return Ok(());
                }
            }
            if is_over {
                return Ok(());
            }
            let left = until.map_or(GLANCE, |until| Duration::from_nanos(until.saturating_sub(units::now_nanoseconds())));
            reader.wait(left.min(GLANCE))?;
        }
    }
}

/// Whether an event passes every filter.
fn passes(filters: &[Filter], event: &Event) -> bool {
    let attribute = |name: &str| event.attributes.get(name).map_or("", String::as_str);
    let is_named = |wanted: &str| event.id.starts_with(wanted) || attribute("name").starts_with(wanted);
    let image = attribute("image");
    let is_image = |wanted: &str| {
        let bare =
            |name: &str| name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(name.to_owned(), |(name, _)| name.to_owned());
        [image, attribute("name"), event.id.as_str()].iter().any(|name| *name == wanted || bare(name) == wanted)
    };
    holds(filters, "event", |value| event.action == value || event.action.split(':').next() == Some(value))
        && holds(filters, "type", |value| event.kind == value)
        && holds(filters, "container", |value| event.kind == "container" && is_named(value))
        && holds(filters, "network", |value| event.kind == "network" && is_named(value))
        && holds(filters, "volume", |value| event.kind == "volume" && is_named(value))
        && holds(filters, "image", is_image)
        && holds(filters, "scope", |value| value == "local")
        && filters
            .iter()
            .filter(|filter| filter.key == "label")
            .all(|filter| listing::has_label(&filter.value, |name| event.attributes.get(name).map(String::as_str)))
}

/// `2026-01-31T12:00:00.000000000+01:00 container start ID (image=busybox, name=web)`
fn pretty(event: &Event) -> String {
    let text = format!("{} {} {} {}", local_time(event.time, "%Y-%m-%dT%H:%M:%S.%9f%:z"), event.kind, event.action, event.id);
    if event.attributes.is_empty() { text } else { format!("{text} ({})", attributes(&event.attributes)) }
}

/// `image=busybox, name=web`
pub fn attributes(attributes: &BTreeMap<String, String>) -> String {
    attributes.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
}

/// A point in time, in nanoseconds since 1970, on the local clock.
pub fn local_time(nanoseconds: u64, form: &str) -> String {
    let moment = Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or(Timestamp::UNIX_EPOCH);
    let text = moment.to_zoned(TimeZone::system()).strftime(form).to_string();
    // Go writes no offset as a letter.
    text.strip_suffix("+00:00").map_or(text.clone(), |text| format!("{text}Z"))
}

/// Docker's message, for programs.
fn message(event: &Event) -> Value {
    let mut message = json!({});
    if event.kind == "container" {
        message["status"] = event.action.as_str().into();
        message["id"] = event.id.as_str().into();
        message["from"] = event.attributes.get("image").cloned().unwrap_or_default().into();
    }
    message["Type"] = event.kind.as_str().into();
    message["Action"] = event.action.as_str().into();
    message["Actor"] = json!({ "ID": event.id, "Attributes": event.attributes });
    message["scope"] = "local".into();
    message["time"] = (event.time / 1_000_000_000).into();
    message["timeNano"] = event.time.into();
    message
}

/// The same by the names that templates use.
fn dot(event: &Event) -> Value {
    let mut dot = message(event);
    for (name, own) in [("Status", "Action"), ("Scope", "scope"), ("Time", "time"), ("TimeNano", "timeNano")] {
        dot[name] = dot[own].clone();
    }
    dot["ID"] = event.id.as_str().into();
    dot["From"] = event.attributes.get("image").cloned().unwrap_or_default().into();
    dot
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        let attributes = [("image", "busybox:1"), ("name", "web"), ("tier", "front")];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Event { time: 1, kind: "container".to_owned(), action: "health_status: healthy".to_owned(), id: "abc".to_owned(), attributes }
    }

    #[test]
    fn events_are_filtered_as_docker_filters_them() {
        let table = [
            ("event=health_status", true),
            ("event=health_status: healthy", true),
            ("event=health", false),
            ("type=container", true),
            ("type=network", false),
            ("container=we", true),
            ("container=ab", true),
            ("container=x", false),
            ("network=web", false),
            ("image=busybox", true),
            ("image=busybox:1", true),
            ("image=busybox:2", false),
            ("label=tier=front", true),
            ("label=tier", true),
            ("label=tier=back", false),
        ];
        for (text, expected) in table {
            assert_eq!(passes(&[listing::filter(text).unwrap()], &event()), expected, "{text}");
        }
    }

    #[test]
    fn an_event_is_written_as_docker_writes_it() {
        let text = pretty(&event());
        assert!(text.ends_with(" container health_status: healthy abc (image=busybox:1, name=web, tier=front)"), "{text}");
        assert_eq!(message(&event())["Actor"]["ID"], "abc");
    }
}
