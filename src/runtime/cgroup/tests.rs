//! Real cgroups of this machine, each of its own name and gone afterwards.

use std::process::Command;

use oci_spec::runtime::LinuxCpuBuilder;
use oci_spec::runtime::LinuxMemoryBuilder;
use oci_spec::runtime::LinuxPidsBuilder;
use oci_spec::runtime::LinuxResourcesBuilder;

use super::*;

/// A cgroup that is removed when the test ends, however it ends.
struct Own(Cgroup);

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.remove();
    }
}

fn own(name: &str, resources: &LinuxResources) -> Option<(Own, Vec<String>)> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("passed over: cgroups need root");
        return None;
    }
    let path = PathBuf::from(format!("coracle-test-{}-{name}/inner", std::process::id()));
    let (cgroup, warnings) = Cgroup::create(&path, resources).unwrap();
    Some((Own(cgroup), warnings))
}

/// Starts a process that enters by the doors as a cloned container process does.
fn enter(cgroup: &Cgroup) -> std::process::Child {
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    // Not its own thread, so it goes the slow way.
    for mount in Hierarchies::find().all_mounts() {
        let file = mount.join(&cgroup.path).join("cgroup.procs");
        if file.exists() && fs::write(&file, child.id().to_string()).is_err() {
            child.kill().unwrap();
        }
    }
    child
}

#[test]
fn limits_arrive_in_the_kernel_or_are_named() {
    let resources = LinuxResourcesBuilder::default()
        .memory(LinuxMemoryBuilder::default().limit(64 << 20).swap(128 << 20).build().unwrap())
        .cpu(LinuxCpuBuilder::default().quota(50_000).period(100_000u64).build().unwrap())
        .pids(LinuxPidsBuilder::default().limit(77).build().unwrap())
        .build()
        .unwrap();
    let Some((own, warnings)) = own("limits", &resources) else { return };
    let lost = |what: &str| warnings.iter().any(|warning| warning.contains(what));
    let read = |v1: &str, v2: &str| {
        let mounts = Hierarchies::find();
        let found = mounts.all_mounts().flat_map(|mount| [mount.join(&own.0.path).join(v1), mount.join(&own.0.path).join(v2)]);
        found.into_iter().find_map(|file| fs::read_to_string(file).ok()).map(|text| text.trim().to_owned())
    };
    assert!(lost("memory limit") || own.0.usage().unwrap().memory_limit == Some(64 << 20));
    assert!(lost("pids limit") || read("pids.max", "pids.max").as_deref() == Some("77"));
    assert!(lost("cpu limit") || ["50000", "50000 100000"].contains(&read("cpu.cfs_quota_us", "cpu.max").unwrap().as_str()));
}

#[test]
fn killing_empties_a_cgroup_and_removing_takes_its_parents() {
    let Some((own, _)) = own("kill", &LinuxResources::default()) else { return };
    let mut child = enter(&own.0);
    assert_eq!(own.0.pids().unwrap(), [child.id() as i32]);
    let reaper = std::thread::spawn(move || child.wait().unwrap());
    own.0.kill().unwrap();
    assert!(!reaper.join().unwrap().success());
    own.0.remove().unwrap();
    let parent = own.0.path.parent().unwrap();
    assert!(Hierarchies::find().all_mounts().all(|mount| !mount.join(parent).exists()));
    own.0.remove().unwrap();
}

#[test]
fn a_frozen_process_stops_and_goes_on() {
    let Some((own, _)) = own("freeze", &LinuxResources::default()) else { return };
    let mut child = enter(&own.0);
    own.0.freeze(true).unwrap();
    own.0.freeze(false).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}
