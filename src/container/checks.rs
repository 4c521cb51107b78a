//! The last results of a container's health checks, beside its record; its supervisor alone writes them.

use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::failure::Doing;
use crate::failure::Result;
use crate::place::Home;
use crate::state;

/// How many results are kept, as Docker does.
const KEPT: usize = 5;

/// How much of a test's output is kept.
pub(super) const LONGEST: usize = 4096;

/// What the checks of a run have said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CheckResults {
    /// How many have failed in a row.
    pub failing_streak: u32,
    /// The last ones, the oldest first.
    pub log: Vec<CheckResult>,
}

/// What one check has said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CheckResult {
    /// RFC 3339 with nanoseconds.
    pub start: String,
    pub end: String,
    /// -1 if the test could not be run, or took too long.
    pub exit_code: i32,
    pub output: String,
}

impl CheckResult {
    /// Whether the test has passed.
    pub(super) fn is_good(&self) -> bool {
        self.exit_code == 0
    }
}

fn path(home: &Home, id: &str) -> PathBuf {
    home.container(id).join("checks.json")
}

/// The results of a container's last run.
///
/// # Errors
/// They cannot be read.
pub fn checks(home: &Home, id: &str) -> Result<CheckResults> {
    state::find_json(&path(home, id)).map(Option::unwrap_or_default)
}

/// Adds a result.
pub(super) fn add(home: &Home, id: &str, (failing_streak, result): (u32, CheckResult)) -> Result<()> {
    let mut results = checks(home, id).unwrap_or_default();
    results.failing_streak = failing_streak;
    results.log.push(result);
    results.log.drain(..results.log.len().saturating_sub(KEPT));
    let bytes = serde_json::to_vec(&results).doing(|| "cannot write the results of health checks")?;
    if !home.container(id).exists() {
        return Ok(()); // it is being removed, and must not come back
    }
    state::write_whole(&path(home, id), &bytes)
}

/// A new run begins without results.
pub(super) fn forget(home: &Home, id: &str) {
    // Where there are none, or they cannot go, the next result is added to them.
    let _ = std::fs::remove_file(path(home, id));
}
