//! `coracle logs`

use std::io::Write;
use std::time::Duration;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::container_list::is_up;
use crate::cli::out;
use crate::cli::out::Reader;
use crate::cli::revive;
use crate::container;
use crate::container::Container;
use crate::container::Line;
use crate::container::LogRange;
use crate::failure::Result;
use crate::place::Home;
use crate::units;

#[derive(Debug, Args)]
pub struct Command {
    #[command(flatten)]
    which: Which,
    /// Show more as it comes
    #[arg(short, long)]
    follow: bool,
    /// Show when each line was written
    #[arg(short, long)]
    timestamps: bool,
    /// Show the labels and variables that the options of the log driver name
    #[arg(long)]
    details: bool,
    container: String,
}

// Which lines of a log are shown.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// Only the last so many lines, or `all`
    #[arg(short = 'n', long, value_name = "NUMBER", default_value = "all", allow_hyphen_values = true)]
    tail: String,
    /// Only lines since then: a point in time, or a duration back from now
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only lines until then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl Which {
    /// The range these flags stand for; a number that is none shows all, as Docker does.
    ///
    /// # Errors
    /// A point in time that is none.
    pub fn range(&self) -> Result<LogRange> {
        let moment = |text: &Option<String>| text.as_deref().map(units::moment).transpose();
        Ok(LogRange { since: moment(&self.since)?, until: moment(&self.until)?, tail: self.tail.parse().ok() })
    }
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        revive(home);
        let found = container::find(home, &self.container)?;
        container::check_logs(&found)?;
        let details = if self.details { details(&found) } else { String::new() };
        let mut logs = container::logs(home, &found.id, self.which.range()?)?;
        loop {
            // Asked before the log is read: what was written before an end is then surely seen.
            let running = container::state(home, &found.id).is_ok_and(|state| is_up(state.status));
            while let Some(line) = logs.next()? {
                if self.print(&line, &details)? == Reader::Gone {
                    return Ok(0);
                }
            }
            if !self.follow || !running {
                return Ok(0);
            }
            logs.wait(Duration::from_millis(500))?;
        }
    }

    fn print(&self, line: &Line, details: &str) -> Result<Reader> {
        let mut text = if self.timestamps { format!("{} ", units::time_text(line.time)).into_bytes() } else { Vec::new() };
        text.extend_from_slice(details.as_bytes());
        text.extend_from_slice(&line.bytes);
        if line.stream == 1 {
            return out::bytes(&text);
        }
        // Nobody hears what standard error cannot say.
        let _ = std::io::stderr().lock().write_all(&text);
        Ok(Reader::There)
    }
}

/// What Docker shows before a line: `name=value,name=value `, written as in an address; a space alone if there is nothing.
fn details(container: &Container) -> String {
    let attributes = container::attributes(container);
    let pairs = attributes.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
    pairs.collect::<Vec<_>>().join(",") + " "
}

fn escaped(text: &str) -> String {
    let mut written = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => written.push(char::from(byte)),
            b' ' => written.push('+'),
            other => written.push_str(&format!("%{other:02X}")),
        }
    }
    written
}
