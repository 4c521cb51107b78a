//! `coracle compose ps`

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
use crate::container;
use crate::failure::Result;
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
    ],
    usual: &["Name", "Image", "Command", "Service", "RunningFor", "Status", "Ports"],
};

impl Command {
    pub fn run(self, home: &Home, flags: &ProjectFlags) -> Outcome {
        listing::only_known(&self.filter, &["status", "source"])?;
        let session = Session::begin(home, flags)?;
        session.knows(&self.named)?;
        let chosen: Vec<_> = session.found.containers.iter().filter(|found| self.shows(found)).collect();
        if self.quiet {
            out::data(&chosen.iter().map(|found| format!("{}\n", found.id)).collect::<String>())?;
            return Ok(0);
        }
        if self.services {
            let mut names: Vec<_> = chosen.iter().map(|found| format!("{}\n", found.service)).collect();
            names.dedup();
            out::data(&names.concat())?;
            return Ok(0);
        }
        let rows = chosen.into_iter().map(|found| self.row(home, (&session.name, found))).collect::<Result<Vec<_>>>()?;
        listing::print(&rows, COLUMNS, self.format.as_deref())?;
        Ok(0)
    }

    fn shows(&self, found: &FoundContainer) -> bool {
        let status = wording::status_word(found.status);
        let filters = self.filter.iter().filter(|filter| filter.key == "status").map(|filter| &filter.value);
        let wanted: Vec<&String> = self.status.iter().chain(filters).collect();
        let of_status = if wanted.is_empty() { self.all || found.is_up() } else { wanted.iter().any(|word| *word == status) };
        of_status && (self.all || !found.one_off || found.is_up()) && (self.named.is_empty() || self.named.contains(&found.service))
    }

    fn row(&self, home: &Home, (project, found): (&str, &FoundContainer)) -> Result<Row> {
        let container = container::find(home, &found.id)?;
        let state = container::state(home, &found.id)?;
        let mut row = container_list::row(&container, &state, Width::of_flag(self.no_trunc));
        let publishers = state.ports.iter().map(|port| {
            json!({
                "URL": port.host_address.to_string(),
                "TargetPort": port.container_port,
                "PublishedPort": port.host_port,
                "Protocol": wording::protocol(port.protocol),
            })
        });
        row.insert("Publishers".to_owned(), publishers.collect::<Vec<_>>().into());
        row.insert("Name".to_owned(), found.name.clone().into());
        row.insert("Service".to_owned(), found.service.clone().into());
        row.insert("Project".to_owned(), project.into());
        row.insert("ExitCode".to_owned(), found.exit_code.into());
        Ok(row)
    }
}
