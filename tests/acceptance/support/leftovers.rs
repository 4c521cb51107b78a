//! What a world finds when nothing should be left: processes, links, tables, mounts, cgroups, settings.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::World;

/// The kernel settings of a network namespace that an engine may change while containers run.
const SETTINGS: [&str; 3] = ["net/ipv4/ip_forward", "net/ipv4/conf/all/route_localnet", "net/ipv6/conf/all/forwarding"];

/// What a fresh world was like.
pub struct Before {
    links: BTreeSet<String>,
    mounts: usize,
    settings: Vec<String>,
}

impl Before {
    pub fn read(world: &World) -> Before {
        Before { links: links(world), mounts: mounts(world).len(), settings: settings(world) }
    }

    /// Everything that is there and was not before.
    pub fn differences(&self, world: &World) -> Result<(), String> {
        let mut found = Vec::new();
        let strangers = world.processes().into_iter().filter(|process| process.pid != 1 && !World::is_ours(process));
        found.extend(strangers.map(|process| format!("process {} ({})", process.pid, process.command)));
        found.extend(links(world).difference(&self.links).map(|link| format!("link {link}")));
        found.extend(tables(world).into_iter().map(|table| format!("nftables: {table}")));
        let mounts = mounts(world);
        if mounts.len() != self.mounts {
            found.push(format!("mounts: {} before, now\n{}", self.mounts, mounts.join("\n")));
        }
        for (before, now) in self.settings.iter().zip(settings(world)).filter(|(before, now)| *before != now) {
            found.push(format!("setting: {before} became {now}"));
        }
        found.extend(cgroups(&world.ids_seen()).into_iter().map(|cgroup| format!("cgroup {cgroup}")));
        if found.is_empty() { Ok(()) } else { Err(format!("left behind:\n  {}", found.join("\n  "))) }
    }
}

fn links(world: &World) -> BTreeSet<String> {
    let listed = world.outside(&["ip", "-o", "link"]).succeeds().stdout;
    listed.lines().filter_map(|line| line.split(": ").nth(1)).map(|name| name.split('@').next().unwrap_or(name).to_owned()).collect()
}

fn tables(world: &World) -> Vec<String> {
    world.outside(&["nft", "list", "tables"]).succeeds().stdout.lines().map(str::to_owned).collect()
}

fn mounts(world: &World) -> Vec<String> {
    let text = fs::read_to_string(world.holder().join("mountinfo")).expect("a world has mounts");
    text.lines().map(str::to_owned).collect()
}

fn settings(world: &World) -> Vec<String> {
    let read = |name: &&str| world.outside(&["cat", &format!("/proc/sys/{name}")]).stdout.trim().to_owned();
    SETTINGS.iter().map(|name| format!("{name} = {}", read(name))).collect()
}

/// Control groups with one of these ids in their path.
fn cgroups(ids: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![Path::new("/sys/fs/cgroup").to_path_buf()];
    while let Some(directory) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(|path| path.is_dir() && !path.is_symlink()) {
            let text = path.to_string_lossy().into_owned();
            if ids.iter().any(|id| text.contains(id.as_str())) {
                found.push(text);
            }
            waiting.push(path);
        }
    }
    found
}
