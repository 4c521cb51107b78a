//! Waiting for something to become true, never for time to pass.

use std::thread;
use std::time::Duration;
use std::time::Instant;

/// How often a check is tried.
const PAUSE: Duration = Duration::from_millis(10);

/// `number` seconds: a limit, far above what a loaded machine needs.
pub fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// Tries `check` until it answers, and returns the answer; fails with its last reason when `limit` is over.
///
/// # Panics
/// The limit is over.
#[track_caller]
pub fn eventually<T>(limit: Duration, mut check: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match check() {
            Ok(answer) => return answer,
            Err(reason) if begun.elapsed() > limit => panic!("not within {limit:?}: {reason}"),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// Tries `done` until it says so or `limit` is over; tells which.
pub fn happens(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if done() {
            return true;
        }
        if begun.elapsed() > limit {
            return false;
        }
        thread::sleep(PAUSE);
    }
}
