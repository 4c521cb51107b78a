//! From what is wanted to an OCI runtime configuration. Built anew for every start and exec, from the record alone.

mod devices;
mod limits;
mod mounts;
mod namespaces;

use std::path::Path;
use std::path::PathBuf;
use std::str::FromStr;

use oci_spec::runtime::PosixRlimit;
use oci_spec::runtime::PosixRlimitBuilder;
use oci_spec::runtime::PosixRlimitType;
use oci_spec::runtime::Process;
use oci_spec::runtime::Spec;

use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::runtime;
use crate::runtime::User;

use super::Container;
use super::NetworkMode;
use super::cdi;
use super::init;

pub(super) use devices::append as append_devices;
pub(super) use devices::device;
pub(super) use limits::apply as apply_limits;
pub(super) use mounts::bind;

/// Docker's search path for programs.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The cgroup that the containers' are made in.
const OUR_CGROUP: &str = "coracle";

/// In the directory of a run: where the cgroup is, if it is not where it usually is.
pub(super) const CGROUP_NOTE: &str = "cgroup";

/// Builds a container's configuration; `user` is what its root's files say of the wanted user.
///
/// # Errors
/// A setting that has no meaning here; a container, named as a partner, that does not run.
pub(super) fn build(home: &Home, container: &Container, user: &User) -> Result<Spec> {
    let wanted = &container.wanted;
    let mut spec = described(container, user)?;
    if let Some(linux) = spec.linux_mut() {
        namespaces::join(home, linux, wanted)?;
        let mut resources = linux.resources().clone().unwrap_or_default();
        apply_limits(&mut resources, &wanted.limits)?;
        linux.set_resources(Some(resources));
        if !wanted.sysctls.is_empty() {
            let mut sysctls = linux.sysctl().clone().unwrap_or_default();
            sysctls.extend(wanted.sysctls.clone());
            linux.set_sysctl(Some(sysctls));
        }
    }
    mounts::add(home, &mut spec, container)?;
    if let Some(root) = spec.root_mut() {
        root.set_readonly(Some(wanted.read_only));
    }
    runtime::apply_trust(&mut spec, &wanted.trust)?;
    devices::add(&mut spec, wanted)?; // after the trust, which sets the rules that these are added to
    cdi::give_cdi_devices(&mut spec, &wanted.cdi_devices, &home.container_run(&container.id))?;
    Ok(spec)
}

/// What one more process in a running container has to know of its configuration: nothing that would have to be looked for on the host.
///
/// # Errors
/// As [`build`].
pub(super) fn build_for_exec(container: &Container, user: &User) -> Result<Spec> {
    let mut spec = described(container, user)?;
    runtime::apply_trust(&mut spec, &container.wanted.trust)?;
    Ok(spec)
}

/// The default configuration with names, the process and the namespaces.
fn described(container: &Container, user: &User) -> Result<Spec> {
    let wanted = &container.wanted;
    let mut spec = runtime::default_spec();
    spec.set_hostname(Some(hostname(container)));
    spec.set_domainname(wanted.domainname.clone());
    if !wanted.annotations.is_empty() {
        spec.set_annotations(Some(wanted.annotations.clone().into_iter().collect()));
    }
    let mut process = spec.process().clone().unwrap_or_default();
    describe_process(&mut process, container, user)?;
    spec.set_process(Some(process));
    if let Some(linux) = spec.linux_mut() {
        namespaces::leave_out(linux, wanted);
    }
    Ok(spec)
}

/// Refuses a rule for devices that is none.
///
/// # Errors
/// What a rule looks like.
pub fn check_device_rule(text: &str) -> Result<()> {
    devices::rule(text).map(drop).map_err(|reason| Failure::new(format!("cannot set the device rule `{text}`")).because(reason))
}

pub(super) fn hostname(container: &Container) -> String {
    let own = container.wanted.hostname.clone();
    own.unwrap_or_else(|| match container.wanted.uts_host || container.wanted.network == NetworkMode::Host {
        true => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        false => short_id(&container.id).to_owned(),
    })
}

/// The first twelve digits.
pub(super) fn short_id(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Where a container's cgroup is below every hierarchy's mount.
pub(super) fn cgroup_path(container: &Container) -> PathBuf {
    let parent = container.wanted.cgroup_parent.as_deref().map(|parent| parent.trim_start_matches('/')).filter(|parent| !parent.is_empty());
    Path::new(parent.unwrap_or(OUR_CGROUP)).join(&container.id)
}

/// Where the cgroup of a container is of which nothing but its id and the directory of its run is known.
pub(super) fn cgroup_of_unknown(home: &Home, id: &str) -> PathBuf {
    let noted = std::fs::read_to_string(home.container_run(id).join(CGROUP_NOTE)).ok();
    noted.filter(|path| !path.is_empty()).map_or_else(|| Path::new(OUR_CGROUP).join(id), PathBuf::from)
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
    // The group itself is listed too, as Docker does: else a program that drops a group could get around a file's "not this group".
    let more = user.additional_gids.iter().copied().filter(|gid| *gid != user.gid);
    spec_user.set_additional_gids(Some(std::iter::once(user.gid).chain(more).collect::<Vec<_>>()));
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
