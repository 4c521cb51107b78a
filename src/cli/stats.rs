//! `coracle stats`: what containers use.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::cli::Outcome;
use crate::cli::container_list::is_up;
use crate::cli::listing;
use crate::cli::listing::Columns;
use crate::cli::listing::Row;
use crate::cli::out;
use crate::cli::out::Reader;
use crate::cli::revive;
use crate::cli::wording::Width;
use crate::container;
use crate::container::Container;
use crate::container::Usage;
use crate::failure::Result;
use crate::place::Home;
use crate::units;

#[derive(Debug, Args)]
pub struct Command {
    #[command(flatten)]
    show: Show,
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

// How the measures are shown.
#[derive(Debug, Clone, Args)]
pub struct Show {
    /// Show containers that do not run too
    #[arg(short, long)]
    all: bool,
    /// Measure once
    #[arg(long)]
    no_stream: bool,
    /// Do not cut long texts
    #[arg(long)]
    no_trunc: bool,
    /// `table`, `table TEMPLATE`, `json` or a template
    #[arg(long)]
    format: Option<String>,
}

const COLUMNS: Columns = Columns {
    headings: &[
        ("Container", "CONTAINER"),
        ("ID", "CONTAINER ID"),
        ("Name", "NAME"),
        ("CPUPerc", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemPerc", "MEM %"),
        ("NetIO", "NET I/O"),
        ("BlockIO", "BLOCK I/O"),
        ("PIDs", "PIDS"),
    ],
    usual: &["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"],
};

/// The CPUs' work is measured between two looks: the first pair comes soon, the others each second.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_secs(1);

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        revive(home);
        // A name that is not there is said before anything is measured.
        let named = self.containers.iter().map(|name| container::find(home, name)).collect::<Result<Vec<_>>>()?;
        let named: BTreeMap<String, String> = named.into_iter().map(|container| container.id).zip(self.containers).collect();
        self.show.run(home, |container| named.is_empty() || named.contains_key(&container.id), &named)
    }
}

impl Show {
    /// Shows what the chosen containers use, once or until nobody looks any more; `named`, ids and the names
    /// they were asked for by, are shown even if they do not run.
    ///
    /// # Errors
    /// The records cannot be read; a bad template.
    pub fn run(&self, home: &Home, chosen: impl Fn(&Container) -> bool, named: &BTreeMap<String, String>) -> Outcome {
        let mut before: BTreeMap<String, Usage> = BTreeMap::new();
        measure(home, &chosen, &mut before)?;
        thread::sleep(FIRST_PAUSE);
        loop {
            let mut rows = Vec::new();
            let mut measured = BTreeMap::new();
            for container in container::list(home)?.into_iter().rev().filter(&chosen) {
                let used = container::usage(home, &container).ok().flatten();
                if used.is_none() && !self.all && !named.contains_key(&container.id) {
                    continue;
                }
                let mut row = self.row(&container, used.as_ref(), before.get(&container.id));
                row.extend(named.get(&container.id).map(|name| ("Container".to_owned(), name.clone().into())));
                rows.push(row);
                measured.extend(used.map(|used| (container.id.clone(), used)));
            }
            before = measured;
            let text = listing::text(&rows, COLUMNS, self.format.as_deref())?;
            if self.print(&text)? == Reader::Gone || self.no_stream {
                return Ok(0);
            }
            thread::sleep(PAUSE);
        }
    }

    /// Prints the rows; on a terminal over those before them.
    fn print(&self, text: &str) -> Result<Reader> {
        if self.no_stream || !out::is_terminal() {
            return out::bytes(text.as_bytes());
        }
        let lines: String = text.lines().map(|line| format!("{line}\u{1b}[K\n")).collect();
        out::bytes(format!("\u{1b}[H{lines}\u{1b}[J").as_bytes())
    }

    fn row(&self, container: &Container, used: Option<&Usage>, before: Option<&Usage>) -> Row {
        let pair = |one: u64, other: u64| format!("{} / {}", units::size_text(one), units::size_text(other));
        let of = |value: fn(&Usage) -> u64| used.map_or(0, value);
        let (memory, limit) = (of(|used| used.memory), of(|used| used.memory_limit));
        let fields = json!({
            "Container": Width::of_flag(self.no_trunc).id(&container.id),
            "ID": Width::of_flag(self.no_trunc).id(&container.id),
            "Name": container.name,
            "CPUPerc": percent(used.map_or(0.0, |used| cpu_share(used, before))),
            "MemUsage": format!("{} / {}", units::binary_size_text(memory), units::binary_size_text(limit)),
            "MemPerc": percent(if limit == 0 { 0.0 } else { memory as f64 / limit as f64 * 100.0 }),
            "NetIO": pair(of(|used| used.received), of(|used| used.sent)),
            "BlockIO": pair(of(|used| used.read), of(|used| used.written)),
            "PIDs": of(|used| used.pids).to_string(),
        });
        fields.as_object().cloned().expect("the literal above is an object")
    }
}

fn measure(home: &Home, chosen: &impl Fn(&Container) -> bool, into: &mut BTreeMap<String, Usage>) -> Result<()> {
    for container in container::list(home)?.into_iter().filter(chosen) {
        let is_running = container::state(home, &container.id).is_ok_and(|state| is_up(state.status));
        if is_running && let Ok(Some(used)) = container::usage(home, &container) {
            into.insert(container.id, used);
        }
    }
    Ok(())
}

/// How much of one CPU's time was used between two measures, in percent; 200 is two CPUs.
fn cpu_share(used: &Usage, before: Option<&Usage>) -> f64 {
    let Some(before) = before else { return 0.0 };
    let passed = used.taken.saturating_duration_since(before.taken).as_nanos() as f64;
    if passed == 0.0 { 0.0 } else { used.cpu_nanoseconds.saturating_sub(before.cpu_nanoseconds) as f64 / passed * 100.0 }
}

fn percent(value: f64) -> String {
    format!("{value:.2}%")
}
