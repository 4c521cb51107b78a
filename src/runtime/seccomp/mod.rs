//! System call filters: Docker's profile or the user's, resolved for a container and compiled for the kernel.

mod compile;
mod numbers;
mod profile;
mod text;

use oci_spec::runtime::Arch;
use oci_spec::runtime::LinuxSeccomp;
use oci_spec::runtime::LinuxSeccompAction;
use oci_spec::runtime::LinuxSeccompArg;
use oci_spec::runtime::LinuxSeccompArgBuilder;
use oci_spec::runtime::LinuxSeccompBuilder;
use oci_spec::runtime::LinuxSeccompOperator;
use oci_spec::runtime::LinuxSyscall;
use oci_spec::runtime::LinuxSyscallBuilder;

use super::SeccompChoice;
use crate::failure::Failure;
use crate::failure::Result;

pub(super) use compile::compile;

use profile::Group;
use profile::Verdict;
use profile::When;

/// Resolves a choice for a container with these capabilities (`CAP_CHOWN` …) into the runtime specification's form; None is no filter.
///
/// # Errors
/// A profile that cannot be understood.
pub(super) fn oci(choice: &SeccompChoice, capabilities: &[String]) -> Result<Option<LinuxSeccomp>> {
    match choice {
        SeccompChoice::Unconfined => Ok(None),
        SeccompChoice::Default => docker(capabilities).map(Some),
        SeccompChoice::Profile(text) => text::resolve(text, capabilities).map(Some),
    }
}

fn docker(capabilities: &[String]) -> Result<LinuxSeccomp> {
    let mut calls = Vec::with_capacity(profile::DOCKER.len());
    for group in profile::DOCKER {
        if counts(&group.when, capabilities) {
            calls.push(call(group)?);
        }
    }
    assemble(LinuxSeccompAction::ScmpActErrno, Some(libc::EPERM as u32), calls)
}

fn counts(when: &When, capabilities: &[String]) -> bool {
    match when {
        When::Always => true,
        When::With(capability) => capabilities.iter().any(|has| has == capability),
        When::Without(capability) => !capabilities.iter().any(|has| has == capability),
    }
}

fn call(group: &Group) -> Result<LinuxSyscall> {
    let names: Vec<String> = group.names.split_whitespace().map(str::to_owned).collect();
    let builder = LinuxSyscallBuilder::default().names(names);
    let built = match group.verdict {
        Verdict::Allow => builder.action(LinuxSeccompAction::ScmpActAllow),
        Verdict::Refuse(errno) => builder.action(LinuxSeccompAction::ScmpActErrno).errno_ret(errno),
        Verdict::AllowIf { index, mask, value } => builder.action(LinuxSeccompAction::ScmpActAllow).args(vec![masked(index, mask, value)?]),
        Verdict::AllowUnless { index, value } => builder.action(LinuxSeccompAction::ScmpActAllow).args(vec![unequal(index, value)?]),
    };
    built.build().map_err(unbuilt)
}

fn masked(index: usize, mask: u64, value: u64) -> Result<LinuxSeccompArg> {
    let builder = LinuxSeccompArgBuilder::default().index(index).op(LinuxSeccompOperator::ScmpCmpMaskedEq);
    builder.value(mask).value_two(value).build().map_err(unbuilt)
}

fn unequal(index: usize, value: u64) -> Result<LinuxSeccompArg> {
    LinuxSeccompArgBuilder::default().index(index).op(LinuxSeccompOperator::ScmpCmpNe).value(value).build().map_err(unbuilt)
}

fn assemble(default: LinuxSeccompAction, errno: Option<u32>, calls: Vec<LinuxSyscall>) -> Result<LinuxSeccomp> {
    let mut builder = LinuxSeccompBuilder::default().default_action(default).architectures(architectures()).syscalls(calls);
    if let Some(errno) = errno {
        builder = builder.default_errno_ret(errno);
    }
    builder.build().map_err(unbuilt)
}

/// This machine's architecture and the older one whose programs it runs too.
fn architectures() -> Vec<Arch> {
    if cfg!(target_arch = "aarch64") {
        vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm]
    } else {
        vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86]
    }
}

fn unbuilt(error: oci_spec::OciSpecError) -> Failure {
    Failure::new("cannot put together the system call filter").because(error)
}

#[cfg(test)]
mod tests;
