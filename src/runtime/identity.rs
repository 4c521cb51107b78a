//! Who a process is and what it may do: user, groups, capabilities, limits.

use std::collections::HashSet;
use std::io;
use std::str::FromStr;
use std::sync::OnceLock;

use caps::CapSet;
use caps::Capability;
use caps::CapsHashSet;
use oci_spec::runtime::Capabilities;
use oci_spec::runtime::LinuxCapabilities;
use oci_spec::runtime::PosixRlimit;
use oci_spec::runtime::PosixRlimitType;
use oci_spec::runtime::User;
use rustix::fs::FileType;
use rustix::fs::Gid;
use rustix::fs::Mode;
use rustix::fs::Uid;
use rustix::io::Errno;
use rustix::process::Resource;
use rustix::process::Rlimit;

use super::talk::Child;
use super::talk::During;
use super::talk::Step;
use super::talk::Trouble;

/// As many descriptors as a process can have where nobody has changed that (fs.nr_open).
const MOST_DESCRIPTORS: u64 = 1 << 20;

/// How many descriptors this process could have before it took more: that is what the programs it begins get.
static DESCRIPTORS_BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Lets this process, and those that it forks, have more descriptors than the shell allowed that it was begun from: a supervisor needs
/// ten for each container.
pub fn take_more_descriptors() {
    let before = rustix::process::getrlimit(Resource::Nofile);
    if before.current.is_none_or(|current| current >= MOST_DESCRIPTORS) {
        return;
    }
    let most = Rlimit { current: Some(MOST_DESCRIPTORS), maximum: before.maximum.map(|maximum| maximum.max(MOST_DESCRIPTORS)) };
    let allowed = Rlimit { current: before.maximum, maximum: before.maximum };
    // Raising a hard limit needs CAP_SYS_RESOURCE.
    if [most, allowed].into_iter().any(|wanted| rustix::process::setrlimit(Resource::Nofile, wanted).is_ok()) {
        let _ = DESCRIPTORS_BEFORE.set(before);
    }
}

/// Sets the limits; one that this machine does not let us raise is cut down, with a warning.
pub(super) fn limit_resources(limits: &[PosixRlimit], child: &Child) -> Step {
    let is_named = limits.iter().any(|limit| limit.typ() == PosixRlimitType::RlimitNofile);
    if let Some(before) = DESCRIPTORS_BEFORE.get().filter(|_| !is_named) {
        rustix::process::setrlimit(Resource::Nofile, *before).during(|| "set the limit of descriptors")?;
    }
    for limit in limits {
        let resource = resource(limit.typ());
        let (soft, hard) = (limit.soft(), limit.hard());
        let wanted = Rlimit { current: finite(soft), maximum: finite(hard) };
        match rustix::process::setrlimit(resource, wanted) {
            // Raising a hard limit needs CAP_SYS_RESOURCE.
            Err(Errno::PERM) => {
                let have = rustix::process::getrlimit(resource).maximum;
                let cut = Rlimit { current: lower(wanted.current, have), maximum: lower(wanted.maximum, have) };
                rustix::process::setrlimit(resource, cut).during(|| format!("set the limit {:?}", limit.typ()))?;
                let name = format!("{:?}", limit.typ()).trim_start_matches("Rlimit").to_lowercase();
                let have = have.map_or_else(|| "unlimited".to_owned(), |number| number.to_string());
                child.warn(&format!("ulimit `{name}` stays at {have}: this machine does not let us raise it"));
            }
            outcome => outcome.during(|| format!("set the limit {:?}", limit.typ()))?,
        }
    }
    Ok(())
}

fn finite(number: u64) -> Option<u64> {
    (number != u64::MAX).then_some(number)
}

/// The smaller limit, where `None` is no limit.
fn lower(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    [one, other].into_iter().flatten().min()
}

fn resource(kind: PosixRlimitType) -> Resource {
    match kind {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
    }
}

/// Takes from the bounding set what the container is not to have; needs CAP_SETPCAP, so before [`become_user`].
pub(super) fn limit_bounds(wanted: Option<&LinuxCapabilities>) -> Step {
    let wanted = wanted.and_then(|sets| sets.bounding().as_ref());
    let kept = set_of(wanted)?;
    for capability in caps::all().difference(&kept) {
        match caps::drop(None, CapSet::Bounding, *capability) {
            Ok(()) => {}
            // A kernel older than the capability.
            Err(_) if !caps::runtime::thread_all_supported().contains(capability) => {}
            Err(error) => return Err(Trouble::new(format!("drop the capability {capability}: {error}"))),
        }
    }
    Ok(())
}

/// Becomes the user of the container, with permitted capabilities kept until [`limit_capabilities`].
pub(super) fn become_user(user: &User) -> Step {
    rustix::process::umask(Mode::from_raw_mode(user.umask().unwrap_or(0o022)));
    let groups: Vec<Gid> = user.additional_gids().iter().flatten().map(|gid| Gid::from_raw(*gid)).collect();
    match rustix::thread::set_thread_groups(&groups) {
        // In a user namespace where setgroups(2) is denied there are none to be got rid of.
        Err(Errno::PERM) if groups.iter().all(|group| group.as_raw() == user.gid()) => {}
        outcome => outcome.during(|| "set the groups")?,
    }
    let (uid, gid) = (Uid::from_raw(user.uid()), Gid::from_raw(user.gid()));
    rustix::thread::set_keep_capabilities(true).during(|| "keep the capabilities")?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).during(|| format!("become group {}", user.gid()))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).during(|| format!("become user {}", user.uid()))?;
    rustix::thread::set_keep_capabilities(false).during(|| "keep no capabilities")
}

/// Sets the effective, permitted, inheritable and ambient sets to those of the spec, as far as we have them to give.
pub(super) fn limit_capabilities(wanted: Option<&LinuxCapabilities>) -> Step {
    let read = |pick: fn(&LinuxCapabilities) -> &Option<Capabilities>| set_of(wanted.and_then(|sets| pick(sets).as_ref()));
    let have = caps::read(None, CapSet::Permitted).map_err(|error| Trouble::new(format!("read the capabilities: {error}")))?;
    let within = |set: CapsHashSet| -> CapsHashSet { set.intersection(&have).copied().collect() };
    let permitted = within(read(LinuxCapabilities::permitted)?);
    let effective: CapsHashSet = within(read(LinuxCapabilities::effective)?).intersection(&permitted).copied().collect();
    let inheritable = within(read(LinuxCapabilities::inheritable)?);
    let ambient = read(LinuxCapabilities::ambient)?;
    for (set, value) in [(CapSet::Effective, &effective), (CapSet::Inheritable, &inheritable), (CapSet::Permitted, &permitted)] {
        caps::set(None, set, value).map_err(|error| Trouble::new(format!("set the capabilities: {error}")))?;
    }
    // The kernel drops an ambient capability that is not both permitted and inheritable.
    for capability in ambient.intersection(&permitted).filter(|capability| inheritable.contains(capability)) {
        caps::raise(None, CapSet::Ambient, *capability).map_err(|error| Trouble::new(format!("raise {capability}: {error}")))?;
    }
    Ok(())
}

fn set_of(capabilities: Option<&Capabilities>) -> Step<HashSet<Capability>> {
    let names = capabilities.into_iter().flatten().map(|capability| format!("CAP_{capability}"));
    names.map(|name| Capability::from_str(&name).map_err(|_| Trouble::new(format!("unknown capability {name}")))).collect()
}

/// Gives the standard streams to the user, so that it may open /dev/stdout: pipes only, never a file or a terminal of the host.
pub(super) fn own_streams(user: &User) {
    for stream in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let _ = own_stream(stream, user);
    }
}

fn own_stream(stream: std::os::fd::BorrowedFd<'_>, user: &User) -> io::Result<()> {
    let found = rustix::fs::fstat(stream)?;
    if FileType::from_raw_mode(found.st_mode) == FileType::Fifo && found.st_uid != user.uid() {
        rustix::fs::fchown(stream, Some(Uid::from_raw(user.uid())), None)?;
    }
    Ok(())
}
