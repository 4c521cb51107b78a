//! `coracle compose ps`

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use clap::Args;
use serde_json::json;

use crate::cli::Outcome;
use crate::cli::compose::ProjectFlags;
use crate::cli::compose::session::Session;
use crate::cli::container_list;
use crate::cli::listing;
use crate::cli::listing::Columns;
use crate::cli::listing::Filter;
use crate::cli::listing::Row;
use crate::cli::out;
use crate::cli::wording;
use crate::cli::wording::Width;
use crate::compose::observe::FoundContainer;
use crate::container::Container;
use crate::container::State;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// Show containers that do not run too
    #[arg(short, long)]
    all: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// Only the names of the services
    #[arg(long)]
    services: bool,
    /// Only containers that do this: running, exited …
    #[arg(long, value_name = "STATUS")]
    status: Vec<String>,
    /// Only those: status=
    #[arg(long, value_parser = listing::filter)]
    filter: Vec<Filter>,
    /// Show containers of services too that the files do not have
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    orphans: bool,
    /// Do not cut long texts
    #[arg(long)]
    no_trunc: bool,
    /// `table`, `table TEMPLATE`, `json` or a template
    #[arg(long)]
    format: Option<String>,
    #[arg(value_name = "SERVICE")]
    named: Vec<String>,
}

const COLUMNS: Columns = Columns {
    headings: &[
        ("Name", "NAME"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("Service", "SERVICE"),
        ("RunningFor", "CREATED"),
        ("Status", "STATUS"),
        ("Ports", "PORTS"),
        ("ID", "CONTAINER ID"),
        ("Names", "NAMES"),
        ("Project", "PROJECT"),
        ("State", "STATE"),
        ("Health", "HEALTH"),
        ("ExitCode", "EXIT CODE"),
        ("CreatedAt", "CREATED AT"),
        ("Labels", "LABELS"),
        ("Mounts", "MOUNTS"),
        ("Networks", "NETWORKS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Size", "SIZE"),
    ],
    usual: &["Name", "Image", "Command", "Service", "RunningFor", "Status", "Ports"],
};

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        listing::only_known(&self.filter, &["status"])?;
        let (session, records) = Session::with_records(home, flags)?;
        session.knows(&self.named)?;
        let mut chosen: Vec<_> = session.found.containers.iter().filter(|found| self.shows(&session, found)).collect();
        chosen.sort_by(|a, b| a.name.cmp(&b.name));
        if self.quiet {
            out::data(&chosen.iter().map(|found| format!("{}\n", found.id)).collect::<String>())?;
            return Ok(0);
        }
        if self.services {
            let mut seen = BTreeSet::new();
            let names: Vec<&str> = chosen.iter().map(|found| found.service.as_str()).filter(|name| seen.insert(*name)).collect();
            out::data(&names.iter().map(|name| format!("{name}\n")).collect::<String>())?;
            return Ok(0);
        }
        let records: BTreeMap<&str, &(Container, State)> = records.iter().map(|record| (record.0.id.as_str(), record)).collect();
        let rows: Vec<Row> = chosen.into_iter().map(|found| self.row((&session.name, found), records[found.id.as_str()])).collect();
        listing::print(&rows, COLUMNS, self.format.as_deref())?;
        Ok(0)
    }

    fn shows(&self, session: &Session, found: &FoundContainer) -> bool {
        let is_known = self.orphans || session.project.as_ref().is_none_or(|project| project.services.contains_key(&found.service));
        let status = wording::status_word(found.status);
        let filters = self.filter.iter().filter(|filter| filter.key == "status").map(|filter| &filter.value);
        let wanted: Vec<&String> = self.status.iter().chain(filters).collect();
        let all = self.all || !wanted.is_empty();
        let of_status = if wanted.is_empty() { self.all || found.is_up() } else { wanted.iter().any(|word| *word == status) };
        of_status && (all || !found.one_off) && is_known && (self.named.is_empty() || self.named.contains(&found.service))
    }

    fn row(&self, (project, found): (&str, &FoundContainer), (container, state): &(Container, State)) -> Row {
        let mut row = container_list::row(container, state, Width::of_flag(self.no_trunc));
        let publishers = state.ports.iter().map(|port| {
            json!({
                "URL": port.host_address.map(|address| address.to_string()).unwrap_or_default(),
                "TargetPort": port.container_port,
                "PublishedPort": port.host_port,
                "Protocol": wording::protocol(port.protocol),
            })
        });
        row.insert("Publishers".to_owned(), publishers.collect::<Vec<_>>().into());
        row.insert("Name".to_owned(), found.name.clone().into());
        row.insert("Service".to_owned(), found.service.clone().into());
        row.insert("Project".to_owned(), project.into());
        let ended = !found.is_up();
        row.insert("ExitCode".to_owned(), if ended { found.exit_code } else { 0 }.into());
        row
    }
}
