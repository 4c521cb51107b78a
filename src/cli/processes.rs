//! `coracle top`: the processes of a container, read from /proc.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::out;
use crate::cli::revive;
use crate::cli::table::Table;
use crate::container;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;

#[derive(Debug, Args)]
pub struct Command {
    container: String,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        revive(home);
        let found = container::find(home, &self.container)?;
        out::data(&table(home, &found)?.text())?;
        Ok(0)
    }
}

/// USER_HZ, which every architecture of Linux has set to 100; see time(7).
const TICKS_PER_SECOND: u64 = 100;

/// The columns of `ps -ef`.
pub const HEADINGS: [&str; 8] = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];

/// The processes of a container, under [`HEADINGS`].
///
/// # Errors
/// It does not run.
pub fn table(home: &Home, found: &container::Container) -> Result<Table> {
    let mut table = Table::wide();
    table.row(HEADINGS);
    for row in rows(home, found)? {
        table.row(row);
    }
    Ok(table)
}

/// One row for each process of a container.
///
/// # Errors
/// It does not run.
pub fn rows(home: &Home, found: &container::Container) -> Result<Vec<[String; 8]>> {
    let state = container::state(home, &found.id)?;
    if state.pid == 0 {
        return Err(Failure::new(format!("container {} is not running", found.name)));
    }
    let own = cgroup_of(&process(state.pid)).unwrap_or_default();
    let mut pids: Vec<i32> =
        fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    let belongs = |pid: &i32| *pid == state.pid || cgroup_of(&process(*pid)).is_some_and(|cgroup| below(&cgroup, &own));
    Ok(pids.into_iter().filter(belongs).filter_map(row).collect())
}

fn process(pid: i32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

/// The longest path in /proc/PID/cgroup: on hybrid hosts some hierarchies may not know the container.
fn cgroup_of(process: &Path) -> Option<String> {
    let text = fs::read_to_string(process.join("cgroup")).ok()?;
    text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).max_by_key(|path| path.len()).map(str::to_owned)
}

fn below(cgroup: &str, own: &str) -> bool {
    own != "/" && !own.is_empty() && (cgroup == own || cgroup.starts_with(&format!("{own}/")))
}

/// Fields of /proc/PID/stat after the name: 0 is the state, 1 the parent, 4 the terminal, 11 and 12 the times, 19 the start.
fn row(pid: i32) -> Option<[String; 8]> {
    let place = process(pid);
    let stat = fs::read_to_string(place.join("stat")).ok()?;
    let (before, after) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let seconds = (number(11) + number(12)) / TICKS_PER_SECOND;
    let up = number(19) / TICKS_PER_SECOND;
    let command = fs::read(place.join("cmdline")).ok()?;
    let command = String::from_utf8_lossy(&command).trim_end_matches('\0').replace('\0', " ");
    let name = before.split_once('(').map_or("", |(_, name)| name);
    Some([
        owner(&place),
        pid.to_string(),
        fields.get(1)?.to_string(),
        (seconds * 100).checked_div(uptime().saturating_sub(up)).unwrap_or(0).to_string(),
        started(up),
        if number(4) == 0 { "?".to_owned() } else { format!("pts/{}", number(4) & 0xff) },
        format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
        if command.is_empty() { format!("[{name}]") } else { command },
    ])
}

fn owner(process: &Path) -> String {
    let uid = fs::metadata(process).map(|found| std::os::unix::fs::MetadataExt::uid(&found)).unwrap_or(0);
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid.to_string())).and_then(|line| line.split(':').next());
    name.map_or_else(|| uid.to_string(), str::to_owned)
}

fn uptime() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    text.split('.').next().and_then(|whole| whole.parse().ok()).unwrap_or(0)
}

/// When it was started, as a time of day.
fn started(up: u64) -> String {
    let ago = std::time::Duration::from_secs(uptime().saturating_sub(up));
    let moment = jiff::Zoned::now().checked_sub(ago).unwrap_or_else(|_| jiff::Zoned::now());
    moment.strftime("%H:%M").to_string()
}
