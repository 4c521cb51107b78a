//! Runs compiled filters on made-up system calls, as the kernel would.

use super::*;
use crate::sys::seccomp::Instruction;

const X86_64: u32 = 0xC000_003E;
const I386: u32 = 0x4000_0003;
const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;
const KILL: u32 = 0x8000_0000;

struct Call {
    arch: u32,
    number: u32,
    arguments: [u64; 6],
}

fn call(arch: u32, number: u32, first: u64) -> Call {
    Call { arch, number, arguments: [first, 0, 0, 0, 0, 0] }
}

/// A classic BPF machine with just what our programs use.
fn verdict(program: &[Instruction], call: &Call) -> u32 {
    let mut at = 0;
    let mut accumulator = 0u32;
    loop {
        let step = program[at];
        at += 1;
        let branch = |yes: bool| usize::from(if yes { step.jump_true } else { step.jump_false });
        match step.code {
            0x20 => accumulator = word(call, step.value),
            0x54 => accumulator &= step.value,
            0x05 => at += step.value as usize,
            0x15 => at += branch(accumulator == step.value),
            0x25 => at += branch(accumulator > step.value),
            0x35 => at += branch(accumulator >= step.value),
            0x06 => return step.value,
            other => panic!("an instruction the kernel's documentation does not have: {other:#x}"),
        }
    }
}

fn word(call: &Call, offset: u32) -> u32 {
    match offset {
        0 => call.number,
        4 => call.arch,
        _ => {
            let argument = call.arguments[(offset as usize - 16) / 8];
            if (offset - 16).is_multiple_of(8) { argument as u32 } else { (argument >> 32) as u32 }
        }
    }
}

fn docker_program(capabilities: &[&str]) -> Vec<Instruction> {
    let capabilities: Vec<String> = capabilities.iter().map(|name| (*name).to_owned()).collect();
    compile(&oci(&SeccompChoice::Default, &capabilities).unwrap().unwrap()).unwrap()
}

#[test]
fn dockers_profile_decides_as_docker_does() {
    let program = docker_program(&["CAP_CHOWN"]);
    let cases = [
        ("read", call(X86_64, 0, 0), ALLOW),
        ("writev on i386", call(I386, 146, 0), ALLOW),
        ("mount", call(X86_64, 165, 0), EPERM),
        ("mount on i386", call(I386, 21, 0), EPERM),
        ("unshare", call(X86_64, 272, 0), EPERM),
        ("clone of a thread", call(X86_64, 56, 0x3d_0f00), ALLOW),
        ("clone into a user namespace", call(X86_64, 56, 0x1000_0000), EPERM),
        ("clone3", call(X86_64, 435, 0), ENOSYS),
        ("personality to ask", call(X86_64, 135, 0xFFFF_FFFF), ALLOW),
        ("personality without randomisation", call(X86_64, 135, 0x4_0000), EPERM),
        ("socket of AF_INET", call(X86_64, 41, 2), ALLOW),
        ("socket of AF_VSOCK", call(X86_64, 41, 40), EPERM),
        ("socket that only looks like AF_VSOCK", call(X86_64, 41, 40 | 1 << 32), ALLOW),
        ("keyctl", call(X86_64, 250, 0), EPERM),
        ("io_uring_setup", call(X86_64, 425, 0), EPERM),
        ("a call from the future", call(X86_64, 5000, 0), ENOSYS),
        ("x32", call(X86_64, 0x4000_0000, 0), ENOSYS),
        ("another architecture", call(0xC000_00F3, 0, 0), KILL),
    ];
    for (what, call, expected) in cases {
        assert_eq!(verdict(&program, &call), expected, "{what}");
    }
}

#[test]
fn a_capability_opens_what_it_is_for() {
    let program = docker_program(&["CAP_SYS_ADMIN", "CAP_SYS_TIME"]);
    assert_eq!(verdict(&program, &call(X86_64, 165, 0)), ALLOW, "mount");
    assert_eq!(verdict(&program, &call(X86_64, 435, 0)), ALLOW, "clone3");
    assert_eq!(verdict(&program, &call(X86_64, 56, 0x1000_0000)), ALLOW, "clone into a user namespace");
    assert_eq!(verdict(&program, &call(X86_64, 227, 0)), ALLOW, "clock_settime");
    assert_eq!(verdict(&program, &call(X86_64, 169, 0)), EPERM, "reboot");
}

/// A program that jumps outside itself would be refused by the kernel, so one run through every number must end.
#[test]
fn every_number_has_a_verdict() {
    let program = docker_program(&[]);
    assert!(program.len() < 4096);
    for number in 0..1000 {
        for arch in [X86_64, I386] {
            assert!([ALLOW, EPERM, ENOSYS].contains(&verdict(&program, &call(arch, number, u64::MAX))));
        }
    }
}

#[test]
fn comparisons_look_at_all_64_bits() {
    const BIG: u64 = 5 << 32 | 7;
    let cases = [
        ("SCMP_CMP_EQ", [(BIG, true), (7, false), (BIG + 1, false)]),
        ("SCMP_CMP_NE", [(BIG, false), (7, true), (5 << 32, true)]),
        ("SCMP_CMP_GT", [(BIG, false), (BIG + 1, true), (6 << 32, true)]),
        ("SCMP_CMP_GE", [(BIG, true), (BIG - 1, false), (6 << 32, true)]),
        ("SCMP_CMP_LT", [(BIG, false), (BIG - 1, true), (4 << 32 | 9, true)]),
        ("SCMP_CMP_LE", [(BIG, true), (BIG + 1, false), (4 << 32 | 9, true)]),
    ];
    for (operator, answers) in cases {
        let text = format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": ["read"], "action": "SCMP_ACT_ALLOW",
                "args": [{{"index": 0, "value": {BIG}, "op": "{operator}"}}, {{"index": 1, "value": 0, "op": "SCMP_CMP_EQ"}}]}}]}}"#
        );
        let program = compile(&oci(&SeccompChoice::Profile(text), &[]).unwrap().unwrap()).unwrap();
        for (argument, fits) in answers {
            let expected = if fits { ALLOW } else { EPERM };
            assert_eq!(verdict(&program, &call(X86_64, 0, argument)), expected, "{argument:#x} {operator} {BIG:#x}");
        }
    }
}

#[test]
fn a_profile_file_keeps_only_the_rules_that_count() {
    let text = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13},
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["rmdir"], "action": "SCMP_ACT_ERRNO", "includes": {"minKernel": "99.0"}},
        {"names": ["link"], "action": "SCMP_ACT_ERRNO", "excludes": {"arches": ["s390x"]}}]}"#;
    let program = compile(&oci(&SeccompChoice::Profile(text.to_owned()), &[]).unwrap().unwrap()).unwrap();
    assert_eq!(verdict(&program, &call(X86_64, 90, 0)), 0x0005_000d, "chmod");
    assert_eq!(verdict(&program, &call(X86_64, 83, 0)), ALLOW, "mkdir");
    assert_eq!(verdict(&program, &call(X86_64, 84, 0)), ALLOW, "rmdir");
    assert_eq!(verdict(&program, &call(X86_64, 86, 0)), EPERM, "link");
    assert_eq!(verdict(&program, &call(X86_64, 5000, 0)), ALLOW, "a call from the future");
}

#[test]
fn a_profile_that_is_none_is_refused() {
    let failure = oci(&SeccompChoice::Profile("{}".to_owned()), &[]).unwrap_err();
    assert!(
        failure.to_string().starts_with("error: cannot understand the seccomp profile\n  because: missing field `defaultAction`"),
        "{failure}"
    );
}
