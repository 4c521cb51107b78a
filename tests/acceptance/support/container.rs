//! A container, looked at from outside: by its cgroup, its processes and its files, not by what the engine says.

use std::fs;

use super::Outcome;
use super::Process;
use super::World;
use super::eventually;
use super::seconds;

/// A container of a world.
pub struct Container<'a> {
    world: &'a World,
    id: String,
}

impl<'a> Container<'a> {
    pub(super) fn new(world: &'a World, id: String) -> Container<'a> {
        assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "no container id: `{id}`");
        Container { world, id }
    }

    /// 64 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its processes, the first one first; empty if it does not run.
    ///
    /// On a host without cgroups this would find none, so a check that wants some fails there.
    pub fn processes(&self) -> Vec<Process> {
        let mut found: Vec<_> = self.world.processes().into_iter().filter(|process| process.cgroups.contains(&self.id)).collect();
        found.sort_by_key(|process| (process.started, process.pid));
        found
    }

    /// Its first process.
    ///
    /// # Panics
    /// It does not run.
    #[track_caller]
    pub fn process(&self) -> Process {
        self.processes().into_iter().next().unwrap_or_else(|| panic!("container {} does not run", &self.id[..12]))
    }

    pub fn runs(&self) -> bool {
        !self.processes().is_empty()
    }

    /// Waits until it runs.
    #[track_caller]
    pub fn comes_up(&self) -> Process {
        eventually(seconds(20), || self.processes().into_iter().next().ok_or_else(|| format!("container {} does not run", &self.id[..12])))
    }

    /// Waits until none of its processes is there.
    #[track_caller]
    pub fn goes_down(&self) {
        eventually(seconds(20), || {
            let left = self.processes();
            if left.is_empty() { Ok(()) } else { Err(format!("container {} still has {left:?}", &self.id[..12])) }
        });
    }

    /// Runs a shell command in it.
    pub fn sh(&self, script: &str) -> Outcome {
        self.world.coracle_with(&["exec", &self.id, "sh", "-c", script])
    }

    /// A file of its first process in the world's /proc.
    #[track_caller]
    pub fn proc(&self, name: &str) -> String {
        let path = self.world.proc().join(self.process().pid.to_string()).join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
    }

    /// What names the namespace of a kind that its first process is in: `pid:[4026531836]`.
    #[track_caller]
    pub fn namespace(&self, kind: &str) -> String {
        let path = self.world.proc().join(self.process().pid.to_string()).join("ns").join(kind);
        let link = fs::read_link(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        link.to_string_lossy().into_owned()
    }

    /// The line of its mount table for a place: options, kind and source.
    #[track_caller]
    pub fn mount(&self, place: &str) -> String {
        let table = self.proc("mountinfo");
        let found = table.lines().rfind(|line| line.split(' ').nth(4) == Some(place));
        found.unwrap_or_else(|| panic!("nothing is mounted on {place}:\n{table}")).to_owned()
    }

    /// A line of its `/proc/1/status`, such as `CapEff`.
    #[track_caller]
    pub fn status(&self, key: &str) -> String {
        let text = self.proc("status");
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key}:")));
        line.unwrap_or_else(|| panic!("no {key} in {text}")).trim().to_owned()
    }
}
