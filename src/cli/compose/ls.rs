//! `coracle compose ls`

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;

use crate::cli::Outcome;
use crate::cli::container_list::is_up;
use crate::cli::listing;
use crate::cli::listing::Filter;
use crate::cli::listing::has_name;
use crate::cli::listing::holds;
use crate::cli::out;
use crate::cli::revive;
use crate::cli::table::Table;
use crate::cli::wording;
use crate::compose::labels;
use crate::container;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    /// Show projects of which nothing runs too
    #[arg(short, long)]
    all: bool,
    /// Only names
    #[arg(short, long)]
    quiet: bool,
    /// Only those: name=
    #[arg(long, value_parser = listing::filter)]
    filter: Vec<Filter>,
    /// `table` or `json`
    #[arg(long, value_parser = ["table", "pretty", "json"], default_value = "table")]
    format: String,
}

#[derive(Default)]
struct Listed {
    /// How many containers of each status.
    counts: BTreeMap<&'static str, usize>,
    files: String,
    runs: bool,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        listing::only_known(&self.filter, &["name"])?;
        revive(home);
        let mut projects: BTreeMap<String, Listed> = BTreeMap::new();
        for found in container::list(home)? {
            let Some(name) = found.wanted.labels.get(labels::PROJECT) else { continue };
            let Ok(state) = container::state(home, &found.id) else { continue };
            let listed = projects.entry(name.clone()).or_default();
            *listed.counts.entry(wording::status_word(state.status)).or_default() += 1;
            listed.files = found.wanted.labels.get(labels::CONFIG_FILES).cloned().unwrap_or_default();
            listed.runs |= is_up(state.status);
        }
        projects.retain(|name, listed| (self.all || listed.runs) && holds(&self.filter, "name", |value| has_name(value, name)));
        self.print(&projects)?;
        Ok(0)
    }

    fn print(&self, projects: &BTreeMap<String, Listed>) -> crate::failure::Result<()> {
        if self.quiet {
            return out::data(&projects.keys().map(|name| format!("{name}\n")).collect::<String>());
        }
        let status = |listed: &Listed| listed.counts.iter().map(|(word, count)| format!("{word}({count})")).collect::<Vec<_>>().join(", ");
        if self.format == "json" {
            let values: Vec<_> = projects
                .iter()
                .map(|(name, listed)| json!({ "Name": name, "Status": status(listed), "ConfigFiles": listed.files }))
                .collect();
            return out::line(&serde_json::Value::from(values).to_string());
        }
        let mut table = Table::wide();
        table.row(["NAME", "STATUS", "CONFIG FILES"]);
        for (name, listed) in projects {
            table.row([name.clone(), status(listed), listed.files.clone()]);
        }
        out::data(&table.text())
    }
}
