//! Profile files in Docker's format (`--security-opt seccomp=FILE`).

use oci_spec::runtime::LinuxSeccomp;
use oci_spec::runtime::LinuxSeccompAction;
use oci_spec::runtime::LinuxSeccompArg;
use oci_spec::runtime::LinuxSyscall;
use oci_spec::runtime::LinuxSyscallBuilder;
use serde::Deserialize;

use super::assemble;
use super::unbuilt;
use crate::failure::Doing;
use crate::failure::Result;

/// A profile as moby's `profiles/seccomp` reads it: the runtime specification's form with conditions.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    names: Vec<String>,
    /// The old form, for one call.
    name: Option<String>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    args: Option<Vec<LinuxSeccompArg>>,
    #[serde(default)]
    includes: Condition,
    #[serde(default)]
    excludes: Condition,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    arches: Vec<String>,
    caps: Vec<String>,
    min_kernel: Option<String>,
}

/// Reads a profile and keeps the rules that count for a container with these capabilities on this machine.
///
/// # Errors
/// The text is not a profile.
pub(super) fn resolve(text: &str, capabilities: &[String]) -> Result<LinuxSeccomp> {
    let profile: Profile = serde_json::from_str(text).doing(|| "cannot understand the seccomp profile")?;
    let mut calls = Vec::new();
    for rule in profile.syscalls {
        if includes(&rule.includes, capabilities) && !excludes(&rule.excludes, capabilities) {
            calls.push(call(rule)?);
        }
    }
    assemble(profile.default_action, profile.default_errno_ret, calls)
}

fn call(rule: Rule) -> Result<LinuxSyscall> {
    let mut names = rule.names;
    names.extend(rule.name);
    let mut builder = LinuxSyscallBuilder::default().names(names).action(rule.action);
    if let Some(errno) = rule.errno_ret {
        builder = builder.errno_ret(errno);
    }
    if let Some(arguments) = rule.args.filter(|arguments| !arguments.is_empty()) {
        builder = builder.args(arguments);
    }
    builder.build().map_err(unbuilt)
}

/// All that the condition names must hold.
fn includes(condition: &Condition, capabilities: &[String]) -> bool {
    (condition.arches.is_empty() || condition.arches.iter().any(|arch| is_ours(arch)))
        && condition.caps.iter().all(|capability| capabilities.contains(capability))
        && condition.min_kernel.as_deref().is_none_or(kernel_is_at_least)
}

/// One of the things that the condition names is enough.
fn excludes(condition: &Condition, capabilities: &[String]) -> bool {
    condition.arches.iter().any(|arch| is_ours(arch))
        || condition.caps.iter().any(|capability| capabilities.contains(capability))
        || condition.min_kernel.as_deref().is_some_and(kernel_is_at_least)
}

fn is_ours(arch: &str) -> bool {
    arch == if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

fn kernel_is_at_least(wanted: &str) -> bool {
    let kernel = rustix::system::uname();
    version(&kernel.release().to_string_lossy()) >= version(wanted)
}

/// The first two numbers of a kernel's version.
fn version(text: &str) -> (u32, u32) {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
