//! From what is wanted to an OCI runtime configuration. Built anew for every start and exec, from the record alone.

use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::str::FromStr;

use oci_spec::runtime::Linux;
use oci_spec::runtime::LinuxCpu;
use oci_spec::runtime::LinuxDevice;
use oci_spec::runtime::LinuxDeviceCgroup;
use oci_spec::runtime::LinuxDeviceType;
use oci_spec::runtime::LinuxMemory;
use oci_spec::runtime::LinuxNamespaceType;
use oci_spec::runtime::LinuxPids;
use oci_spec::runtime::LinuxResources;
use oci_spec::runtime::Mount as SpecMount;
use oci_spec::runtime::PosixRlimit;
use oci_spec::runtime::PosixRlimitBuilder;
use oci_spec::runtime::PosixRlimitType;
use oci_spec::runtime::Process;
use oci_spec::runtime::Spec;

use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::runtime;
use crate::runtime::User;
use crate::volume;

use super::Container;
use super::Limits;
use super::Mount;
use super::MountSource;
use super::NetworkMode;
use super::Wanted;
use super::files;
use super::init;
use super::record;

/// Docker's search path for programs.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The period that a share of the CPUs is counted in, in microseconds.
const CPU_PERIOD: u64 = 100_000;

/// Builds a container's configuration; `user` is what its root's files say of the wanted user.
///
/// # Errors
/// A setting that has no meaning here; a container, named as a partner, that does not run.
pub(super) fn build(home: &Home, container: &Container, user: &User) -> Result<Spec> {
    let wanted = &container.wanted;
    let mut spec = runtime::default_spec();
    spec.set_hostname(Some(hostname(container)));
    spec.set_domainname(wanted.domainname.clone());
    let mut process = spec.process().clone().unwrap_or_default();
    describe_process(&mut process, container, user)?;
    spec.set_process(Some(process));
    let mut linux = spec.linux().clone().unwrap_or_default();
    join_namespaces(home, &mut linux, wanted)?;
    limit(&mut linux, wanted)?;
    spec.set_linux(Some(linux));
    mount(home, &mut spec, container)?;
    if let Some(root) = spec.root_mut() {
        root.set_readonly(Some(wanted.read_only));
    }
    runtime::apply_trust(&mut spec, &wanted.trust)?;
    add_devices(&mut spec, &wanted.devices)?; // after the trust, which sets the rules that these are added to
    Ok(spec)
}

pub(super) fn hostname(container: &Container) -> String {
    let own = container.wanted.hostname.clone();
    own.unwrap_or_else(|| match container.wanted.network {
        NetworkMode::Host => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        _ => short_id(&container.id).to_owned(),
    })
}

/// The first twelve digits.
pub(super) fn short_id(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Where a container's cgroup is, below the one we were started in.
pub(super) fn cgroup_path(id: &str) -> PathBuf {
    Path::new("coracle").join(id)
}

fn describe_process(process: &mut Process, container: &Container, user: &User) -> Result<()> {
    let wanted = &container.wanted;
    let mut args = wanted.args.clone();
    if wanted.init {
        args.splice(0..0, [init::INSIDE.to_owned(), "--".to_owned()]);
    }
    process.set_args(Some(args));
    process.set_env(Some(environment(container, user)));
    process.set_cwd(working_dir(&wanted.working_dir));
    process.set_terminal(Some(wanted.tty));
    process.set_user(spec_user(user));
    process.set_oom_score_adj(wanted.limits.oom_score_adj);
    let ulimits: Result<Vec<PosixRlimit>> = wanted.ulimits.iter().map(|(name, soft, hard)| ulimit(name, *soft, *hard)).collect();
    let ulimits = ulimits?;
    if !ulimits.is_empty() {
        process.set_rlimits(Some(ulimits));
    }
    Ok(())
}

pub(super) fn working_dir(text: &str) -> PathBuf {
    if text.is_empty() { "/".into() } else { Path::new("/").join(text) }
}

pub(super) fn spec_user(user: &User) -> oci_spec::runtime::User {
    let mut spec_user = oci_spec::runtime::User::default();
    spec_user.set_uid(user.uid).set_gid(user.gid);
    spec_user.set_additional_gids(Some(user.additional_gids.clone()).filter(|gids| !gids.is_empty()));
    spec_user
}

/// PATH, HOSTNAME and TERM as Docker gives them, what the container wants over them, and HOME if nobody set it.
pub(super) fn environment(container: &Container, user: &User) -> Vec<String> {
    let mut environment = vec![PATH.to_owned(), format!("HOSTNAME={}", hostname(container))];
    if container.wanted.tty {
        environment.push("TERM=xterm".into());
    }
    for variable in &container.wanted.env {
        set_variable(&mut environment, variable);
    }
    if !environment.iter().any(|variable| variable.starts_with("HOME=")) {
        environment.push(format!("HOME={}", user.home.as_deref().unwrap_or("/")));
    }
    environment
}

/// Replaces the variable of this name or adds it; a name without `=` takes the variable away, as Docker does.
pub(super) fn set_variable(environment: &mut Vec<String>, variable: &str) {
    let Some((name, _)) = variable.split_once('=') else {
        environment.retain(|other| other.split('=').next() != Some(variable));
        return;
    };
    match environment.iter_mut().find(|other| other.split('=').next() == Some(name)) {
        Some(other) => variable.clone_into(other),
        None => environment.push(variable.to_owned()),
    }
}

/// A limit of the process, by the name that a shell has for it.
///
/// # Errors
/// There is no such limit.
pub fn ulimit(name: &str, soft: u64, hard: u64) -> Result<PosixRlimit> {
    let kind = PosixRlimitType::from_str(&format!("RLIMIT_{}", name.to_ascii_uppercase()))
        .map_err(|_| Failure::new(format!("cannot set ulimit `{name}`")).because("there is no such limit").exit(125))?;
    let built = PosixRlimitBuilder::default().typ(kind).soft(soft).hard(hard).build();
    built.map_err(|error| Failure::new(format!("cannot set ulimit `{name}`")).because(error).exit(125))
}

fn join_namespaces(home: &Home, linux: &mut Linux, wanted: &Wanted) -> Result<()> {
    let mut namespaces = linux.namespaces().clone().unwrap_or_default();
    let mut leave_out = |kind| namespaces.retain(|namespace| namespace.typ() != kind);
    if wanted.pid_host {
        leave_out(LinuxNamespaceType::Pid);
    }
    if wanted.ipc_host {
        leave_out(LinuxNamespaceType::Ipc);
    }
    match &wanted.network {
        NetworkMode::Plugs(_) | NetworkMode::None => {}
        NetworkMode::Host => leave_out(LinuxNamespaceType::Network),
        NetworkMode::Container(id) => {
            let path = PathBuf::from(format!("/proc/{}/ns/net", partner_pid(home, id)?));
            for namespace in namespaces.iter_mut().filter(|namespace| namespace.typ() == LinuxNamespaceType::Network) {
                namespace.set_path(Some(path.clone()));
            }
        }
    }
    linux.set_namespaces(Some(namespaces));
    Ok(())
}

fn partner_pid(home: &Home, id: &str) -> Result<i32> {
    let what = || Failure::new(format!("cannot join the network of container `{}`", short_id(id))).exit(125);
    let state = record::state(home, id).map_err(|_| what().because("it is not there"))?;
    match state.has_process() {
        true => Ok(state.pid),
        false => Err(what().because("it is not running").hint("start it first")),
    }
}

fn limit(linux: &mut Linux, wanted: &Wanted) -> Result<()> {
    let mut resources = linux.resources().clone().unwrap_or_default();
    apply_limits(&mut resources, &wanted.limits);
    linux.set_resources(Some(resources));
    if !wanted.sysctls.is_empty() {
        let mut sysctls = linux.sysctl().clone().unwrap_or_default();
        sysctls.extend(wanted.sysctls.clone());
        linux.set_sysctl(Some(sysctls));
    }
    Ok(())
}

/// What limits mean to the kernel.
pub(super) fn apply_limits(resources: &mut LinuxResources, limits: &Limits) {
    let bytes = |value: Option<u64>| value.filter(|value| *value > 0).and_then(|value| i64::try_from(value).ok());
    let mut memory = LinuxMemory::default();
    memory.set_limit(bytes(limits.memory));
    memory.set_reservation(bytes(limits.memory_reservation));
    // Docker: as much swap as memory, unless told otherwise.
    let doubled = memory.limit().and_then(|limit| limit.checked_mul(2));
    memory.set_swap(limits.memory_swap.filter(|swap| *swap != 0).or(doubled));
    if memory != LinuxMemory::default() {
        resources.set_memory(Some(memory));
    }
    let mut cpu = LinuxCpu::default();
    if let Some(cpus) = limits.cpus.filter(|cpus| *cpus > 0.0) {
        cpu.set_quota(Some((cpus * CPU_PERIOD as f64).round() as i64)).set_period(Some(CPU_PERIOD));
    }
    cpu.set_shares(limits.cpu_shares.filter(|shares| *shares > 0));
    cpu.set_cpus(limits.cpuset.clone().filter(|cpus| !cpus.is_empty()));
    if cpu != LinuxCpu::default() {
        resources.set_cpu(Some(cpu));
    }
    if let Some(limit) = limits.pids.filter(|limit| *limit > 0) {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        resources.set_pids(Some(pids));
    }
}

/// Our own files, the user's mounts and what they need of the default ones, in the order of their depth.
fn mount(home: &Home, spec: &mut Spec, container: &Container) -> Result<()> {
    let wanted = &container.wanted;
    let mut mounts: Vec<SpecMount> = files::mounts(home, container);
    if wanted.init {
        init::check()?;
        mounts.push(bind(&std::env::current_exe().doing(|| "cannot find our own program")?, init::INSIDE, &["ro"]));
    }
    for (number, wanted_mount) in wanted.mounts.iter().enumerate() {
        mounts.retain(|other| other.destination() != Path::new(&wanted_mount.target));
        mounts.push(spec_mount(home, container, number, wanted_mount)?);
    }
    mounts.sort_by_key(|mount| mount.destination().components().count());
    let mut all = spec.mounts().clone().unwrap_or_default();
    all.retain(|default| !mounts.iter().any(|mount| mount.destination() == default.destination()));
    for default in &mut all {
        adjust_default(default, wanted);
    }
    all.extend(mounts);
    spec.set_mounts(Some(all));
    Ok(())
}

fn adjust_default(mount: &mut SpecMount, wanted: &Wanted) {
    let destination = mount.destination().clone();
    if destination == Path::new("/dev/shm") {
        if wanted.ipc_host {
            *mount = bind(Path::new("/dev/shm"), "/dev/shm", &[]);
        } else if let Some(size) = wanted.shm_size.filter(|size| *size > 0) {
            let mut options = mount.options().clone().unwrap_or_default();
            options.retain(|option| !option.starts_with("size="));
            options.push(format!("size={size}"));
            mount.set_options(Some(options));
        }
    }
    if destination == Path::new("/dev/mqueue") && wanted.ipc_host {
        *mount = bind(Path::new("/dev/mqueue"), "/dev/mqueue", &[]);
    }
}

/// A recursive, private bind mount.
pub(super) fn bind(source: &Path, target: &str, more: &[&str]) -> SpecMount {
    let mut mount = SpecMount::default();
    let options = ["rbind", "rprivate"].iter().chain(more).map(|option| (*option).to_owned()).collect();
    mount.set_destination(target.into()).set_typ(Some("bind".into())).set_source(Some(source.into())).set_options(Some(options));
    mount
}

fn spec_mount(home: &Home, container: &Container, number: usize, mount: &Mount) -> Result<SpecMount> {
    let access: &[&str] = if mount.read_only { &["ro"] } else { &[] };
    Ok(match &mount.source {
        MountSource::Bind { path, propagation, .. } => {
            let mut bound = bind(path, &mount.target, access);
            if let (Some(propagation), Some(options)) = (propagation, bound.options_mut()) {
                options.retain(|option| option != "rprivate");
                options.push(propagation.clone());
            }
            bound
        }
        MountSource::Volume { name, subpath, .. } => {
            let directory = volume::directory(home, name);
            let source = match subpath {
                Some(subpath) => inside(&directory, subpath)?,
                None => directory,
            };
            bind(&source, &mount.target, access)
        }
        MountSource::Anonymous => {
            return Err(Failure::new(format!("cannot mount at `{}`", mount.target)).because("the record names no volume for it"));
        }
        MountSource::Tmpfs { size, mode } => tmpfs(mount, *size, *mode),
        MountSource::Content { .. } => bind(&files::content_path(home, &container.id, number), &mount.target, &["ro"]),
    })
}

/// A part of a volume; a link in it must not lead out.
fn inside(directory: &Path, subpath: &str) -> Result<PathBuf> {
    let what = || format!("cannot mount `{subpath}` of the volume");
    let whole = directory.canonicalize().doing(what)?;
    let part = whole.join(subpath.trim_start_matches('/')).canonicalize().doing(what)?;
    match part.starts_with(&whole) {
        true => Ok(part),
        false => Err(Failure::new(what()).because("it leads out of the volume")),
    }
}

fn tmpfs(mount: &Mount, size: Option<u64>, mode: Option<u32>) -> SpecMount {
    let mut options: Vec<String> = ["nosuid", "nodev", "noexec"].map(str::to_owned).to_vec();
    options.push(format!("mode={:o}", mode.unwrap_or(0o1777)));
    options.extend(size.map(|size| format!("size={size}")));
    options.extend(mount.read_only.then(|| "ro".to_owned()));
    let mut mounted = SpecMount::default();
    mounted
        .set_destination(PathBuf::from(&mount.target))
        .set_typ(Some("tmpfs".into()))
        .set_source(Some("tmpfs".into()))
        .set_options(Some(options));
    mounted
}

fn add_devices(spec: &mut Spec, wanted: &[(String, String, String)]) -> Result<()> {
    let Some(linux) = spec.linux_mut().as_mut().filter(|_| !wanted.is_empty()) else { return Ok(()) };
    let mut devices = linux.devices().clone().unwrap_or_default();
    let mut resources = linux.resources().clone().unwrap_or_default();
    let mut rules = resources.devices().clone().unwrap_or_default();
    for (host, inside, access) in wanted {
        let device = device(host, inside)?;
        let mut rule = LinuxDeviceCgroup::from(&device);
        rule.set_access(Some(if access.is_empty() { "rwm".to_owned() } else { access.clone() }));
        devices.push(device);
        rules.push(rule);
    }
    resources.set_devices(Some(rules));
    linux.set_devices(Some(devices)).set_resources(Some(resources));
    Ok(())
}

fn device(host: &str, inside: &str) -> Result<LinuxDevice> {
    let what = || format!("cannot give device `{host}` to the container");
    let metadata = std::fs::metadata(host).doing(what).map_err(|failure| failure.exit(125))?;
    let kind = match metadata.file_type() {
        kind if kind.is_char_device() => LinuxDeviceType::C,
        kind if kind.is_block_device() => LinuxDeviceType::B,
        _ => return Err(Failure::new(what()).because("it is not a device").exit(125)),
    };
    let mut device = LinuxDevice::default();
    device
        .set_path(if inside.is_empty() { host.into() } else { inside.into() })
        .set_typ(kind)
        .set_major(i64::from(rustix::fs::major(metadata.rdev())))
        .set_minor(i64::from(rustix::fs::minor(metadata.rdev())))
        .set_file_mode(Some(metadata.mode() & 0o7777))
        .set_uid(Some(metadata.uid()))
        .set_gid(Some(metadata.gid()));
    Ok(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_as_docker_means_them() {
        let limits = Limits { memory: Some(1 << 20), cpus: Some(1.5), pids: Some(0), ..Limits::default() };
        let mut resources = LinuxResources::default();
        apply_limits(&mut resources, &limits);
        let memory = resources.memory().unwrap();
        assert_eq!((memory.limit(), memory.swap()), (Some(1 << 20), Some(2 << 20)));
        let cpu = resources.cpu().clone().unwrap();
        assert_eq!((cpu.quota(), cpu.period()), (Some(150_000), Some(100_000)));
        assert!(resources.pids().is_none());
    }

    #[test]
    fn a_variable_is_replaced_added_or_taken_away() {
        let mut environment = vec!["PATH=/bin".to_owned(), "A=1".to_owned()];
        set_variable(&mut environment, "PATH=/usr/bin");
        set_variable(&mut environment, "B=x=y");
        set_variable(&mut environment, "A");
        assert_eq!(environment, ["PATH=/usr/bin", "B=x=y"]);
    }

    #[test]
    fn an_unknown_ulimit_is_refused() {
        assert!(ulimit("nofile", 1, 2).is_ok());
        assert_eq!(ulimit("nofiles", 1, 2).unwrap_err().status(), 125);
    }

    #[test]
    fn a_link_does_not_lead_out_of_a_volume() {
        let root = tempfile::tempdir().unwrap();
        let volume = root.path().join("v");
        std::fs::create_dir_all(volume.join("in")).unwrap();
        std::os::unix::fs::symlink("/etc", volume.join("out")).unwrap();
        assert!(inside(&volume, "in").is_ok());
        assert!(inside(&volume, "out").is_err());
        assert!(inside(&volume, "../..").is_err());
    }
}
