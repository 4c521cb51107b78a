//! How much builds may keep, and what goes first when it is more: what was used longest ago.
//!
//! The rules and their numbers are those of BuildKit's garbage collection,
//! <https://github.com/moby/buildkit/blob/v0.26.0/cmd/buildkitd/config/gcpolicy.go>. Every build writes down how much it has
//! added (`build/growth`: a line each; a line `= bytes second` begins it after a look at everything). At its end that tells
//! whether a look is due, which a process of its own takes, so that nobody waits for it.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use crate::build::CacheEntry;
use crate::build::CacheKind;
use crate::build::cleaning;
use crate::build::inventory;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::state;
use crate::state::Lock;
use crate::units;

/// The role's name on the command line.
const ROLE: &str = "@build-limit";

/// Where the setting is, unless the environment has it.
const FILE: &str = "/etc/coracle/build-cache.conf";
const VARIABLE: &str = "CORACLE_BUILD_CACHE";

/// After so many additions, or so many seconds, a look is due whatever they were: a cache mount grows unseen.
const MOST_LINES: usize = 64;
const LONGEST: u64 = 24 * 60 * 60;

/// What can be made again from what is here goes when it was not used for so long and all is more than this.
const REPRODUCIBLE_AGE: Duration = Duration::from_secs(48 * 60 * 60);
const REPRODUCIBLE: u64 = 512_000_000;
/// What was not used for so long goes although there is room.
const OLD_AGE: Duration = Duration::from_secs(60 * 24 * 60 * 60);

/// Whoever waits for the disk comes first.
const LEISURE: i32 = 10;

/// A size as it is written: in bytes or in hundredths of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Amount {
    Bytes(u64),
    Percent(u64),
}

/// What may be kept, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// So much stays, whatever else is said.
    pub reserved: u64,
    /// No more than this stays; 0 says nothing.
    pub most: u64,
    /// So much of the disk shall be free; 0 says nothing.
    pub free: u64,
}

/// A disk, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Disk {
    pub size: u64,
    pub free: u64,
}

impl Disk {
    /// The disk that the store is on; none of any size if the kernel does not say.
    pub(super) fn of(home: &Home) -> Disk {
        let found = rustix::fs::statvfs(home.root()).ok();
        found.map_or_else(Disk::default, |found| Disk { size: found.f_blocks * found.f_frsize, free: found.f_bavail * found.f_frsize })
    }
}

impl Amount {
    fn bytes(self, disk: Disk) -> u64 {
        match self {
            Amount::Bytes(bytes) => bytes,
            Amount::Percent(percent) => (disk.size / 100).saturating_mul(percent),
        }
    }
}

impl Limits {
    /// A tenth of the disk, up to 10 GB, is ours; more, up to 80 % and 100 GB, while a fifth of the disk is free.
    fn usual(disk: Disk) -> Limits {
        let part = |percent| Amount::Percent(percent).bytes(disk);
        Limits { reserved: part(10).min(10_000_000_000), most: part(80).min(100_000_000_000), free: part(20) }
    }

    /// Reads `reserved=10GB,max=20%,free=5GB`; None for `off`.
    ///
    /// # Errors
    /// A key or a size that is none.
    fn read(text: &str, disk: Disk) -> Result<Option<Limits>> {
        let text = text.trim();
        if text == "off" {
            return Ok(None);
        }
        let bad = |what: String| {
            let failure = Failure::new(format!("cannot read the limits of the build cache, `{text}`")).because(what);
            failure.hint("write `max=20GB`, `reserved=5GB,max=20%,free=10%`, or `off`")
        };
        let mut limits = Limits { free: 0, reserved: 0, most: 0 };
        for field in text.split(',') {
            let (key, value) = field.split_once('=').ok_or_else(|| bad(format!("`{field}` is no pair")))?;
            let amount = match value.trim().strip_suffix('%') {
                Some(percent) => Amount::Percent(percent.parse().map_err(|_| bad(format!("`{value}` is no part of a disk")))?),
                None => Amount::Bytes(units::bytes(value.trim()).map_err(|_| bad(format!("`{value}` is no size")))?),
            };
            let place = match key.trim() {
                "reserved" => &mut limits.reserved,
                "max" => &mut limits.most,
                "free" => &mut limits.free,
                other => return Err(bad(format!("there is no `{other}`"))),
            };
            *place = amount.bytes(disk);
        }
        Ok(Some(limits))
    }

    /// The user's, or the usual ones; None if there shall be none.
    fn find(disk: Disk) -> Result<Option<Limits>> {
        let written = env::var(VARIABLE).ok().or_else(|| fs::read_to_string(FILE).ok());
        let lines = written.as_deref().unwrap_or_default().lines().map(str::trim);
        match lines.into_iter().find(|line| !line.is_empty() && !line.starts_with('#')) {
            None => Ok(Some(Limits::usual(disk))),
            Some(line) => Limits::read(line, disk),
        }
    }

    /// How much of `all` bytes may stay.
    pub(super) fn keep(self, all: u64, disk: Disk) -> u64 {
        let most = if self.most == 0 { all } else { self.most };
        let excess = self.free.saturating_sub(disk.free);
        most.min(if excess > 0 { all.saturating_sub(excess) } else { most }).max(self.reserved)
    }
}

/// What goes of these, the longest unused first; `now` in nanoseconds since 1970.
pub(super) fn going(entries: &[CacheEntry], limits: Limits, (disk, now): (Disk, u64)) -> Vec<CacheEntry> {
    let mut left: Vec<&CacheEntry> = entries.iter().filter(|entry| !entry.shared).collect();
    // Steps of one build have one time: the last of them goes first.
    left.sort_by_key(|entry| (entry.used, std::cmp::Reverse(entry.created)));
    let mut all: u64 = left.iter().map(|entry| entry.size).sum();
    let keep = limits.keep(all, disk);
    let mut gone = Vec::new();
    let before = |age: Duration| now.saturating_sub(age.as_nanos() as u64);
    let mut pass = |keep: u64, before: u64, fits: &dyn Fn(&CacheEntry) -> bool| {
        left.retain(|entry| {
            let goes = all > keep && entry.used < before && fits(entry);
            if goes {
                all -= entry.size;
                gone.push((*entry).clone());
            }
            !goes
        });
    };
    pass(REPRODUCIBLE, before(REPRODUCIBLE_AGE), &|entry| matches!(entry.kind, CacheKind::Mount | CacheKind::Checkout));
    pass(keep.min(limits.reserved), before(OLD_AGE), &|_| true);
    pass(keep, u64::MAX, &|_| true);
    gone
}

/// Writes down that so many bytes are kept more.
pub(super) fn grown(home: &Home, bytes: u64) {
    // Not written down it is seen by the next look.
    let _ = state::append_line(&growth(home), &bytes.to_string());
}

/// Forgets how much that is: something went, and the next look tells.
pub(super) fn forget(home: &Home) {
    let _ = fs::remove_file(growth(home));
}

fn growth(home: &Home) -> PathBuf {
    home.build().join("growth")
}

/// What is known without looking: how much is kept, how many additions that comes from, when everything was looked at.
fn known(home: &Home) -> (u64, usize, Option<u64>) {
    let text = fs::read_to_string(growth(home)).unwrap_or_default();
    let (mut all, mut lines, mut looked) = (0u64, 0, None);
    for line in text.lines() {
        match line.strip_prefix("= ").and_then(|line| line.split_once(' ')) {
            Some((bytes, second)) => (all, looked) = (bytes.parse().unwrap_or(0), second.parse().ok()),
            None => (all, lines) = (all.saturating_add(line.parse().unwrap_or(0)), lines + 1),
        }
    }
    (all, lines, looked)
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Begins to look at everything, in a process that nobody waits for, if that is due.
///
/// # Errors
/// The setting cannot be understood.
pub(super) fn heed(home: &Home) -> Result<()> {
    let disk = Disk::of(home);
    let Some(limits) = Limits::find(disk)? else { return Ok(()) };
    let (all, lines, looked) = known(home);
    let is_old = looked.is_some_and(|looked| seconds_now().saturating_sub(looked) > LONGEST);
    if all <= limits.keep(all, disk) && lines < MOST_LINES && !is_old {
        return Ok(());
    }
    let numbers = [limits.reserved, limits.most, limits.free].map(|number| number.to_string());
    // If it cannot be begun, the next build tries again.
    let _ = state::begin_tending(home, ROLE, &numbers);
    Ok(())
}

/// Plays the role if the command line says so.
pub(super) fn role(args: &[OsString]) -> Option<ExitCode> {
    let [_, role, root, run, numbers @ ..] = args else { return None };
    if role != ROLE {
        return None;
    }
    let number = |index: usize| numbers.get(index)?.to_str()?.parse().ok();
    let (Some(reserved), Some(most), Some(free)) = (number(0), number(1), number(2)) else { return Some(ExitCode::FAILURE) };
    let _ = rustix::process::nice(LEISURE); // it is only a courtesy
    let home = Home::at(PathBuf::from(root), PathBuf::from(run));
    let looked = look(&home, Limits { reserved, most, free });
    Some(if looked.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Looks at everything that is kept, and removes what is too much. Another build at work is left alone; its own end looks.
fn look(home: &Home, limits: Limits) -> Result<()> {
    let Some(_only) = Lock::attempt(home, "build-limit")? else { return Ok(()) };
    let entries = inventory::cache(home)?;
    let going = going(&entries, limits, (Disk::of(home), units::now_nanoseconds()));
    let Some(gone) = cleaning::remove(home, &going)? else { return Ok(()) };
    let sum = |entries: &[CacheEntry]| entries.iter().filter(|entry| !entry.shared).map(|entry| entry.size).sum::<u64>();
    let left = sum(&entries).saturating_sub(sum(&gone));
    state::write_whole(&growth(home), format!("= {left} {}\n", seconds_now()).as_bytes())?;
    if let Ok(Some(_lock)) = Lock::attempt(home, "trash") {
        state::empty_trash(home);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1_000_000_000;
    const DAY: u64 = 24 * 60 * 60 * GB;

    fn entry(id: &str, kind: CacheKind, size: u64, used: u64) -> CacheEntry {
        CacheEntry { id: id.to_owned(), kind, size, created: used, used, shared: false, what: String::new() }
    }

    fn ids(entries: &[CacheEntry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.id.as_str()).collect()
    }

    #[test]
    fn the_longest_unused_goes_first_until_it_is_enough() {
        let now = 100 * DAY;
        let mut entries = [
            entry("new", CacheKind::Step, 4 * GB, now - 1),
            entry("older", CacheKind::Step, 4 * GB, now - 3 * DAY),
            entry("mount", CacheKind::Mount, GB, now - 2 * DAY),
            entry("old", CacheKind::Step, 4 * GB, now - 70 * DAY),
        ];
        let disk = Disk { size: 1000 * GB, free: 500 * GB };
        let limits = Limits { reserved: 0, most: 8 * GB, free: 0 };
        assert_eq!(ids(&going(&entries, limits, (disk, now))), ["old", "older"]);
        // Kept bytes are kept even from age.
        let reserved = Limits { reserved: 20 * GB, most: 0, free: 0 };
        assert!(going(&entries, reserved, (disk, now)).is_empty());
        entries[2].used = now - 4 * DAY;
        assert_eq!(ids(&going(&entries, reserved, (disk, now))), ["mount"], "what can be made again is not reserved");
        // Without a limit only what is old goes.
        assert_eq!(ids(&going(&entries, Limits::default(), (disk, now))), ["mount", "old"]);
        entries[3].shared = true;
        assert_eq!(ids(&going(&entries[3..], Limits { most: 1, ..limits }, (disk, now))), [""; 0], "an image has it");
    }

    #[test]
    fn room_that_shall_be_free_is_made() {
        let limits = Limits { reserved: 2 * GB, most: 50 * GB, free: 20 * GB };
        let disk = |free| Disk { size: 100 * GB, free };
        assert_eq!(limits.keep(30 * GB, disk(40 * GB)), 50 * GB);
        assert_eq!(limits.keep(30 * GB, disk(15 * GB)), 25 * GB);
        assert_eq!(limits.keep(3 * GB, disk(0)), 2 * GB, "what is reserved stays");
    }

    #[test]
    fn limits_are_read_as_sizes_or_parts() {
        let disk = Disk { size: 1000, free: 0 };
        let read = |text: &str| Limits::read(text, disk);
        assert_eq!(read("off").unwrap(), None);
        assert_eq!(read("reserved=10,max=20%,free=5%").unwrap(), Some(Limits { reserved: 10, most: 200, free: 50 }));
        for wrong in ["", "max", "most=1", "max=x", "max=x%"] {
            assert!(read(wrong).unwrap_err().to_string().contains("write `max=20GB`"), "{wrong}");
        }
    }

    #[test]
    fn growth_is_summed_since_the_last_look() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::at(place.path(), place.path().join("run"));
        fs::create_dir_all(home.build()).unwrap();
        grown(&home, 5);
        fs::write(growth(&home), fs::read_to_string(growth(&home)).unwrap() + "= 100 7\n").unwrap();
        grown(&home, 3);
        assert_eq!(known(&home), (103, 2, Some(7)));
    }
}
