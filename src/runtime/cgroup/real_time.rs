//! Time for programs that are scheduled in real time: each control group's share comes out of its parent's (v1 only,
//! Documentation/scheduler/sched-rt-group.rst).

use std::fs;
use std::io;
use std::path::Path;

use crate::failure::Doing;
use crate::failure::Result;

const RUNTIME: &str = "cpu.rt_runtime_us";
const PERIOD: &str = "cpu.rt_period_us";

/// Gives the parents of a control group, below the mount, as much more as the group is to have.
///
/// # Errors
/// The kernel refuses: the machine's own share is used up.
pub(super) fn provide(mount: &Path, path: &Path, runtime: i64, period: Option<u64>) -> Result<()> {
    let mut level = mount.to_path_buf();
    for part in path.parent().into_iter().flatten() {
        level.push(part);
        raise(&level, runtime, period).doing(|| format!("cannot set {} to {runtime} more", level.join(RUNTIME).display()))?;
    }
    Ok(())
}

fn raise(directory: &Path, runtime: i64, period: Option<u64>) -> io::Result<()> {
    let number = |file: &str| -> io::Result<i64> { Ok(fs::read_to_string(directory.join(file))?.trim().parse().unwrap_or(0)) };
    let (before, own_period) = (number(RUNTIME)?, number(PERIOD)?.max(1));
    // What is wanted of a shorter or longer period, counted in that of the parent.
    let share = period.and_then(|period| i64::try_from(period).ok()).filter(|period| *period > 0).unwrap_or(own_period);
    let more = i64::try_from(i128::from(runtime) * i128::from(own_period) / i128::from(share) + 1).unwrap_or(runtime);
    fs::write(directory.join(RUNTIME), before.saturating_add(more).min(own_period).to_string())
}
