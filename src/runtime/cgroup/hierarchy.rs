//! Which cgroup hierarchies this machine has mounted: pure v2, v1, or both.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::OnceLock;

/// The hierarchies that our mount namespace shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hierarchies {
    unified: Option<PathBuf>,
    v1: Vec<V1>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct V1 {
    mount: PathBuf,
    /// `cpu`, `cpuacct` … (often more than one on the same mount).
    controllers: Vec<String>,
}

/// The controllers of v1 that we know; anything else among the mount options is an option.
const CONTROLLERS: [&str; 12] =
    ["blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "hugetlb", "memory", "net_cls", "net_prio", "perf_event", "pids"];

impl Hierarchies {
    /// Reads them from /proc/self/mountinfo, once; a machine without any has none.
    pub fn find() -> Hierarchies {
        static FOUND: OnceLock<Hierarchies> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return found.clone();
        }
        let found = Hierarchies::parse(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
        // They are mounted when a machine boots, and stay.
        if found.is_empty() { found } else { FOUND.get_or_init(|| found).clone() }
    }

    /// See proc_pid_mountinfo(5): after `-` come the type, the source and the options of the file system.
    fn parse(mountinfo: &str) -> Hierarchies {
        let mut found = Hierarchies::default();
        for line in mountinfo.lines() {
            let Some((mount, system)) = line.split_once(" - ") else { continue };
            let mut fields = mount.split(' ').skip(3);
            let (Some(root), Some(point)) = (fields.next(), fields.next()) else { continue };
            // A bind mount of some deeper cgroup is not the hierarchy.
            if root.contains("..") {
                continue;
            }
            let mut system = system.split(' ');
            match (system.next(), system.nth(1)) {
                (Some("cgroup2"), _) if found.unified.is_none() => found.unified = Some(unescape(point)),
                (Some("cgroup"), Some(options)) => found.add_v1(point, options),
                _ => {}
            }
        }
        found
    }

    fn add_v1(&mut self, point: &str, options: &str) {
        let controllers: Vec<String> = options.split(',').filter(|option| CONTROLLERS.contains(option)).map(str::to_owned).collect();
        if !controllers.is_empty() && !self.v1.iter().any(|known| known.controllers == controllers) {
            self.v1.push(V1 { mount: unescape(point), controllers });
        }
    }

    pub fn is_empty(&self) -> bool {
        self.unified.is_none() && self.v1.is_empty()
    }

    /// Where v2 is mounted.
    pub fn unified(&self) -> Option<&Path> {
        self.unified.as_deref()
    }

    /// Where this controller's v1 hierarchy is mounted.
    pub fn v1(&self, controller: &str) -> Option<&Path> {
        self.v1.iter().find(|v1| v1.controllers.iter().any(|has| has == controller)).map(|v1| v1.mount.as_path())
    }

    pub fn v1_mounts(&self) -> impl Iterator<Item = &Path> {
        self.v1.iter().map(|v1| v1.mount.as_path())
    }

    /// The version 1 mounts by the names of their controllers.
    pub fn v1_named(&self) -> impl Iterator<Item = (String, &Path)> {
        self.v1.iter().map(|v1| (v1.controllers.join(","), v1.mount.as_path()))
    }

    pub fn all_mounts(&self) -> impl Iterator<Item = &Path> {
        self.unified.as_deref().into_iter().chain(self.v1_mounts())
    }

    /// v2 and the v1 hierarchies that have one of these controllers.
    pub fn mounts_of(&self, controllers: &[&str]) -> Vec<&Path> {
        let has = |v1: &&V1| v1.controllers.iter().any(|has| controllers.contains(&has.as_str()));
        self.unified.as_deref().into_iter().chain(self.v1.iter().filter(has).map(|v1| v1.mount.as_path())).collect()
    }

    /// The controllers that v2 offers at its mount.
    pub fn unified_controllers(&self) -> Vec<String> {
        let Some(mount) = &self.unified else { return Vec::new() };
        let text = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    }
}

/// Gives a new v1 cpuset the CPUs and memory nodes of its parents: without, no process can enter (cpusets(7)).
pub(super) fn furnish(directory: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let mut bare: Vec<&Path> = Vec::new();
        for level in directory.ancestors() {
            // On v2 an empty file means "as the parent".
            if !level.join(file).exists() || level.join("cgroup.controllers").exists() {
                break;
            }
            let value = fs::read_to_string(level.join(file))?;
            if !value.trim().is_empty() {
                bare.iter().rev().try_for_each(|level| fs::write(level.join(file), value.trim()))?;
                break;
            }
            bare.push(level);
        }
    }
    Ok(())
}

/// Blanks and backslashes are written in octal there.
fn unescape(path: &str) -> PathBuf {
    PathBuf::from(path.replace("\\040", " ").replace("\\134", "\\"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_machine_has_v1_controllers_and_an_empty_v2() {
        let found = Hierarchies::parse(
            "30 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
             31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
             32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
             33 30 0:29 / /sys/fs/cgroup/my\\040memory rw shared:4 - cgroup cgroup rw,memory\n\
             34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n",
        );
        assert_eq!(found.unified(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(found.v1("cpuacct"), Some(Path::new("/sys/fs/cgroup/cpu,cpuacct")));
        assert_eq!(found.v1("memory"), Some(Path::new("/sys/fs/cgroup/my memory")));
        assert_eq!(found.v1("pids"), None);
        assert_eq!(found.v1_mounts().count(), 2);
        assert_eq!(found.mounts_of(&["cpu"]), [Path::new("/sys/fs/cgroup/unified"), Path::new("/sys/fs/cgroup/cpu,cpuacct")]);
    }

    #[test]
    fn a_pure_machine_has_v2_alone() {
        let found = Hierarchies::parse("25 20 0:22 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n");
        assert_eq!(found.unified(), Some(Path::new("/sys/fs/cgroup")));
        assert_eq!(found.v1_mounts().count(), 0);
    }
}
