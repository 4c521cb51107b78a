//! System call names to numbers, by architecture.

use std::str::FromStr;

use oci_spec::runtime::Arch;

/// An architecture that a filter can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Machine {
    X86_64,
    X86,
    Aarch64,
    Arm,
}

impl Machine {
    /// The machine that the runtime specification's name stands for; None for one that this filter does not know.
    ///
    /// x32 is none of them on purpose: its calls are answered with ENOSYS, as by a kernel built without it.
    pub fn of(arch: Arch) -> Option<Machine> {
        match arch {
            Arch::ScmpArchX86_64 => Some(Machine::X86_64),
            Arch::ScmpArchX86 => Some(Machine::X86),
            Arch::ScmpArchAarch64 => Some(Machine::Aarch64),
            Arch::ScmpArchArm => Some(Machine::Arm),
            Arch::ScmpArchNative => Some(Machine::native()),
            _ => None,
        }
    }

    /// The machine this program is compiled for.
    pub fn native() -> Machine {
        if cfg!(target_arch = "aarch64") { Machine::Aarch64 } else { Machine::X86_64 }
    }

    /// `AUDIT_ARCH_*` of linux/audit.h, as the kernel tells it to a filter.
    pub fn audit(self) -> u32 {
        match self {
            Machine::X86_64 => 0xC000_003E,
            Machine::X86 => 0x4000_0003,
            Machine::Aarch64 => 0xC000_00B7,
            Machine::Arm => 0x4000_0028,
        }
    }

    /// The number of a system call; None if this architecture does not have it.
    pub fn number(self, name: &str) -> Option<u32> {
        let id = match self {
            Machine::X86_64 => syscalls::x86_64::Sysno::from_str(name).ok()?.id(),
            Machine::X86 => syscalls::x86::Sysno::from_str(name).ok()?.id(),
            Machine::Aarch64 => syscalls::aarch64::Sysno::from_str(name).ok()?.id(),
            Machine::Arm => syscalls::arm::Sysno::from_str(name).ok()?.id(),
        };
        u32::try_from(id).ok()
    }
}
