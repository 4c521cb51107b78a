//! The spec that a container starts from, as Docker's.

use oci_spec::runtime::Linux;
use oci_spec::runtime::LinuxDeviceCgroup;
use oci_spec::runtime::LinuxDeviceCgroupBuilder;
use oci_spec::runtime::LinuxDeviceType;
use oci_spec::runtime::LinuxNamespace;
use oci_spec::runtime::LinuxNamespaceType;
use oci_spec::runtime::LinuxResources;
use oci_spec::runtime::Mount;
use oci_spec::runtime::Process;
use oci_spec::runtime::Root;
use oci_spec::runtime::Spec;

use super::trust;

/// Mount point, type, source, options.
const MOUNTS: &[(&str, &str, &str, &[&str])] = &[
    ("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
    ("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    ("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"]),
    ("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]),
];

/// Namespaces that a container has of its own.
const NAMESPACES: &[LinuxNamespaceType] = &[
    LinuxNamespaceType::Mount,
    LinuxNamespaceType::Network,
    LinuxNamespaceType::Uts,
    LinuxNamespaceType::Pid,
    LinuxNamespaceType::Ipc,
    LinuxNamespaceType::Cgroup,
];

/// Network settings of a container of its own: any port may be bound, any group may ping.
pub(super) const NETWORK_SETTINGS: &[(&str, &str)] =
    &[("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];

/// Character devices that may be used (major, minor; -1 for all): null, zero, full, random, urandom, tty, console, ptmx, terminals.
const DEVICES: &[(i64, i64)] = &[(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, -1)];

/// The default spec: Docker's namespaces, mounts, masked and read-only paths, capabilities, devices and seccomp profile.
///
/// The caller sets process arguments, environment, user, hostname and adds mounts.
pub fn default_spec() -> Spec {
    let mut spec = Spec::default();
    let mut process = Process::default();
    process.set_args(None).set_env(None).set_rlimits(None).set_cwd("/".into()).set_no_new_privileges(Some(false));
    let mut root = Root::default();
    root.set_readonly(Some(false));
    spec.set_process(Some(process)).set_root(Some(root)).set_hostname(None).set_mounts(Some(mounts())).set_linux(Some(linux()));
    spec.set_version("1.2.0".to_owned());
    trust::apply_trust(&mut spec, &super::Trust::default()).expect("the default names no capability and no profile that could be wrong");
    spec
}

fn mounts() -> Vec<Mount> {
    let mount = |(destination, kind, source, options): &(&str, &str, &str, &[&str])| {
        let mut mount = Mount::default();
        mount.set_destination((*destination).into()).set_typ(Some((*kind).to_owned())).set_source(Some((*source).into()));
        mount.set_options(Some(options.iter().map(|option| (*option).to_owned()).collect()));
        mount
    };
    MOUNTS.iter().map(mount).collect()
}

fn linux() -> Linux {
    let namespaces = NAMESPACES.iter().map(|kind| {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(*kind).set_path(None);
        namespace
    });
    let settings = NETWORK_SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut resources = LinuxResources::default();
    resources.set_devices(Some(device_rules()));
    let mut linux = Linux::default();
    linux.set_namespaces(Some(namespaces.collect())).set_sysctl(Some(settings.collect())).set_resources(Some(resources));
    linux.set_rootfs_propagation(None).set_devices(None).set_seccomp(None).set_uid_mappings(None).set_gid_mappings(None);
    linux
}

/// Docker's device rules: nodes of any kind may be made, a few may be used.
pub(super) fn device_rules() -> Vec<LinuxDeviceCgroup> {
    let mut rules = vec![
        rule(false, LinuxDeviceType::A, (-1, -1), "rwm"),
        rule(true, LinuxDeviceType::C, (-1, -1), "m"),
        rule(true, LinuxDeviceType::B, (-1, -1), "m"),
    ];
    rules.extend(DEVICES.iter().map(|number| rule(true, LinuxDeviceType::C, *number, "rwm")));
    rules
}

/// The rule that allows every device.
pub(super) fn every_device() -> Vec<LinuxDeviceCgroup> {
    vec![rule(true, LinuxDeviceType::A, (-1, -1), "rwm")]
}

fn rule(allow: bool, kind: LinuxDeviceType, (major, minor): (i64, i64), access: &str) -> LinuxDeviceCgroup {
    let mut builder = LinuxDeviceCgroupBuilder::default().allow(allow).typ(kind).access(access);
    if major >= 0 {
        builder = builder.major(major);
    }
    if minor >= 0 {
        builder = builder.minor(minor);
    }
    builder.build().expect("every field has a default")
}
