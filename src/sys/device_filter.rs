//! bpf(2): a device filter of our own making on a cgroup of version 2.

use std::ffi::CStr;
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;

use super::check;

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The instructions are looked at by nobody but the kernel's verifier, so its licence check is for helpers only; we call none.
const LICENSE: &CStr = c"Apache-2.0";

/// One instruction of an eBPF program, `struct bpf_insn` of linux/bpf.h; `registers` is destination in the low and source in the high half.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u8,
    pub registers: u8,
    pub offset: i16,
    pub immediate: i32,
}

/// The part of `union bpf_attr` that BPF_PROG_LOAD reads, up to `kern_version`.
#[repr(C)]
struct Load {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The part of `union bpf_attr` that BPF_PROG_ATTACH reads.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Loads a device filter.
///
/// `bpf(BPF_PROG_LOAD, {BPF_PROG_TYPE_CGROUP_DEVICE, ...})`, see bpf(2). The program answers 1 to allow and 0 to refuse.
pub fn load(instructions: &[Instruction]) -> io::Result<OwnedFd> {
    let attributes = Load {
        program_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the structure is a prefix of the kernel's union and its own size is passed; both pointers outlive the call.
    let program = check(unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attributes, size_of::<Load>()) })?;
    // SAFETY: the result is a new descriptor (always close-on-exec) that nobody else knows of.
    Ok(unsafe { OwnedFd::from_raw_fd(program as i32) })
}

/// Puts a loaded filter on a cgroup; it stays as long as the cgroup does.
///
/// `bpf(BPF_PROG_ATTACH, {cgroup, program, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI})`: every filter up the tree must allow.
pub fn attach(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: the structure is a prefix of the kernel's union and its own size is passed; both descriptors are borrowed.
    check(unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attributes, size_of::<Attach>()) }).map(drop)
}
