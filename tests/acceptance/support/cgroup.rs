//! The files of a container's control group.

use std::fs;
use std::path::PathBuf;

use super::Container;
use super::eventually;
use super::seconds;

/// The first of the files that is there.
///
/// # Panics
/// None is: then no limit holds.
#[track_caller]
pub fn limit_of(container: &Container<'_>, controller: &str, names: &[&str]) -> String {
    let cgroups = container.process().cgroups;
    let has = |line: &&str| line.split(':').nth(1).is_some_and(|list| list.split(',').any(|name| name == controller));
    let unified = || cgroups.lines().find(|line| line.starts_with("0::"));
    let line = cgroups.lines().find(has).or_else(unified).unwrap_or_else(|| panic!("no {controller} in {cgroups}"));
    let path = line.splitn(3, ':').nth(2).unwrap().trim_start_matches('/');
    let mounts = ["/sys/fs/cgroup".to_owned(), format!("/sys/fs/cgroup/{controller}"), "/sys/fs/cgroup/cpu,cpuacct".to_owned()];
    let places = mounts.iter().flat_map(|mount| names.iter().map(move |name| PathBuf::from(mount).join(path).join(name)));
    let found = eventually(seconds(1), || {
        places.clone().find_map(|place| fs::read_to_string(place).ok()).ok_or_else(|| format!("no {names:?} for {line}"))
    });
    found.trim().to_owned()
}

/// The control groups of this name at the top of every hierarchy.
pub fn groups(name: &str) -> Vec<PathBuf> {
    let hierarchies = fs::read_dir("/sys/fs/cgroup").expect("control groups").filter_map(|entry| Some(entry.ok()?.path().join(name)));
    hierarchies.chain([PathBuf::from("/sys/fs/cgroup").join(name)]).filter(|path| path.is_dir()).collect()
}
