//! `coracle compose ls`

use std::collections::BTreeMap;
use std::collections::BTreeSet;

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
    /// The files of all its containers, which need not be the same.
    files: BTreeSet<String>,
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
            let files = found.wanted.labels.get(labels::CONFIG_FILES).map(String::as_str).unwrap_or_default();
            listed.files.extend(files.split(',').filter(|file| !file.is_empty()).map(str::to_owned));
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
        let files = |listed: &Listed| listed.files.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        let status = |listed: &Listed| listed.counts.iter().map(|(word, count)| format!("{word}({count})")).collect::<Vec<_>>().join(", ");
        if self.format == "json" {
            let values: Vec<_> = projects
                .iter()
                .map(|(name, listed)| json!({ "Name": name, "Status": status(listed), "ConfigFiles": files(listed) }))
                .collect();
            return out::line(&serde_json::Value::from(values).to_string());
        }
        let mut table = Table::wide();
        table.row(["NAME", "STATUS", "CONFIG FILES"]);
        for (name, listed) in projects {
            table.row([name.clone(), status(listed), files(listed)]);
        }
        out::data(&table.text())
    }
}
