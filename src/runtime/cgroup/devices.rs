//! Which devices a container may use: the devices controller of v1, a BPF program on v2.

use std::fs::File;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;

use oci_spec::runtime::LinuxDeviceCgroup;
use oci_spec::runtime::LinuxDeviceType;

use super::hierarchy::Hierarchies;
use crate::failure::Doing;
use crate::failure::Result;
use crate::sys::device_filter;
use crate::sys::device_filter::Instruction;

/// Applies the rules, in their order; the last one that fits a device decides. None at all leaves everything open.
///
/// # Errors
/// What the kernel says.
pub(super) fn apply(hierarchies: &Hierarchies, path: &Path, rules: &[LinuxDeviceCgroup]) -> Result<()> {
    if rules.is_empty() {
        return Ok(());
    }
    if let Some(mount) = hierarchies.v1("devices") {
        return apply_v1(&mount.join(path), rules);
    }
    let Some(mount) = hierarchies.unified() else { return Ok(()) };
    let directory = mount.join(path);
    let attached = File::open(&directory).and_then(|cgroup| {
        let filter = device_filter::load(&program(rules))?;
        device_filter::attach(cgroup.as_fd(), filter.as_fd())
    });
    attached.doing(|| format!("cannot put a device filter on the cgroup {}", directory.display()))
}

fn apply_v1(directory: &Path, rules: &[LinuxDeviceCgroup]) -> Result<()> {
    let open = |name: &str| {
        let path = directory.join(name);
        OpenOptions::new().write(true).open(&path).doing(|| format!("cannot open {}", path.display()))
    };
    let (mut allow, mut deny) = (open("devices.allow")?, open("devices.deny")?);
    for rule in rules {
        let line = notation(rule);
        // One rule for each write.
        let written = if rule.allow() { allow.write_all(line.as_bytes()) } else { deny.write_all(line.as_bytes()) };
        written.doing(|| format!("cannot write the rule `{line}` in {}", directory.display()))?;
    }
    Ok(())
}

/// A rule in the notation of the devices controller: `c 1:3 rwm`, `a`.
fn notation(rule: &LinuxDeviceCgroup) -> String {
    let number = |number: Option<i64>| number.filter(|number| *number >= 0).map_or_else(|| "*".to_owned(), |number| number.to_string());
    let kind = rule.typ().unwrap_or_default();
    // `a` alone stands for all; the kernel takes no numbers beside it.
    if kind == LinuxDeviceType::A && rule.major().is_none() && rule.minor().is_none() {
        return "a".to_owned();
    }
    format!("{} {}:{} {}", kind.as_str(), number(rule.major()), number(rule.minor()), access(rule))
}

fn access(rule: &LinuxDeviceCgroup) -> &str {
    rule.access().as_deref().filter(|access| !access.is_empty()).unwrap_or("rwm")
}

// `struct bpf_cgroup_dev_ctx` of linux/bpf.h: access_type (low half the type, high half the access), major, minor.
const TYPE_AND_ACCESS: i16 = 0;
const MAJOR: i16 = 4;
const MINOR: i16 = 8;

const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;

// Registers of our program: r1 is the context, r0 the answer.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR_NUMBER: u8 = 4;
const MINOR_NUMBER: u8 = 5;
const SCRATCH: u8 = 6;

/// Compiles the rules, the last first: the first that fits a request answers it.
///
/// A refusing rule fits if it names any of the wanted accesses, an allowing one if it names all of them.
fn program(rules: &[LinuxDeviceCgroup]) -> Vec<Instruction> {
    let mut program = vec![
        load(KIND, TYPE_AND_ACCESS),
        move_register(ACCESS, KIND),
        immediate(0x54, KIND, 0xFFFF),
        immediate(0x74, ACCESS, 16),
        load(MAJOR_NUMBER, MAJOR),
        load(MINOR_NUMBER, MINOR),
    ];
    for rule in rules.iter().rev() {
        let conditions = conditions(rule);
        let fits_everything = conditions.is_empty();
        program.extend(block(rule, conditions));
        // The kernel refuses a program with instructions that are never reached.
        if fits_everything {
            return program;
        }
    }
    program.extend(answer(false));
    program
}

/// What a request must be for the rule to fit it; each ends with the jump that is taken if it is not.
fn conditions(rule: &LinuxDeviceCgroup) -> Vec<Vec<Instruction>> {
    let mut conditions: Vec<Vec<Instruction>> = Vec::new();
    match rule.typ().unwrap_or_default() {
        LinuxDeviceType::B => conditions.push(vec![unless_equal(KIND, BLOCK)]),
        LinuxDeviceType::C | LinuxDeviceType::U => conditions.push(vec![unless_equal(KIND, CHARACTER)]),
        _ => {}
    }
    let mask = mask(access(rule));
    if rule.allow() && mask != 7 {
        // Something is wanted that the rule does not name.
        conditions.push(vec![move_register(SCRATCH, ACCESS), immediate(0x54, SCRATCH, 7 & !mask), unless_equal(SCRATCH, 0)]);
    } else if mask != 7 {
        // Nothing is wanted that the rule names.
        conditions.push(vec![move_register(SCRATCH, ACCESS), immediate(0x54, SCRATCH, mask), if_equal(SCRATCH, 0)]);
    }
    for (register, number) in [(MAJOR_NUMBER, rule.major()), (MINOR_NUMBER, rule.minor())] {
        if let Some(number) = number.and_then(|number| i32::try_from(number).ok()).filter(|number| *number >= 0) {
            conditions.push(vec![unless_equal(register, number)]);
        }
    }
    conditions
}

fn block(rule: &LinuxDeviceCgroup, conditions: Vec<Vec<Instruction>>) -> Vec<Instruction> {
    let mut block: Vec<Instruction> = answer(rule.allow()).to_vec();
    for mut condition in conditions.into_iter().rev() {
        if let Some(jump) = condition.last_mut() {
            jump.offset = i16::try_from(block.len()).unwrap_or(i16::MAX);
        }
        condition.extend(block);
        block = condition;
    }
    block
}

/// `BPF_DEVCG_ACC_*` of linux/bpf.h.
fn mask(access: &str) -> i32 {
    let bit = |letter: char, bit: i32| if access.contains(letter) { bit } else { 0 };
    bit('m', 1) | bit('r', 2) | bit('w', 4)
}

/// 32-bit load from the context.
fn load(register: u8, offset: i16) -> Instruction {
    Instruction { code: 0x61, registers: register | CONTEXT << 4, offset, immediate: 0 }
}

fn move_register(to: u8, from: u8) -> Instruction {
    Instruction { code: 0xBC, registers: to | from << 4, offset: 0, immediate: 0 }
}

fn immediate(code: u8, register: u8, immediate: i32) -> Instruction {
    Instruction { code, registers: register, offset: 0, immediate }
}

/// Jumps (how far is filled in later) unless the register has the value.
fn unless_equal(register: u8, value: i32) -> Instruction {
    immediate(0x55, register, value)
}

fn if_equal(register: u8, value: i32) -> Instruction {
    immediate(0x15, register, value)
}

fn answer(allow: bool) -> [Instruction; 2] {
    [immediate(0xB4, ANSWER, i32::from(allow)), immediate(0x95, 0, 0)]
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxDeviceCgroupBuilder;

    use super::*;

    fn rule(allow: bool, text: &str) -> LinuxDeviceCgroup {
        let fields: Vec<&str> = text.split([' ', ':']).collect();
        let kind = match fields[0] {
            "b" => LinuxDeviceType::B,
            "c" => LinuxDeviceType::C,
            _ => LinuxDeviceType::A,
        };
        let mut builder = LinuxDeviceCgroupBuilder::default().allow(allow).typ(kind);
        if let [_, major, minor, access] = fields[..] {
            builder = builder.major(major.parse::<i64>().unwrap_or(-1)).minor(minor.parse::<i64>().unwrap_or(-1)).access(access);
        }
        builder.build().unwrap()
    }

    /// Runs a program as the kernel would, for one request.
    fn allowed(program: &[Instruction], kind: i32, access: &str, (major, minor): (i32, i32)) -> bool {
        let context = [kind | mask(access) << 16, major, minor];
        let mut registers = [0i32; 11];
        let mut at = 0;
        loop {
            let step = program[at];
            at += 1;
            let (to, from) = (usize::from(step.registers & 15), usize::from(step.registers >> 4));
            let mut jump = |yes: bool| at = if yes { at + step.offset as usize } else { at };
            match step.code {
                0x61 => registers[to] = context[step.offset as usize / 4],
                0xBC => registers[to] = registers[from],
                0x54 => registers[to] &= step.immediate,
                0x74 => registers[to] = ((registers[to] as u32) >> step.immediate) as i32,
                0x55 => jump(registers[to] != step.immediate),
                0x15 => jump(registers[to] == step.immediate),
                0xB4 => registers[to] = step.immediate,
                0x95 => return registers[0] == 1,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    /// Docker's first rule refuses everything, and what came after it in the program was refused by the kernel.
    #[test]
    fn every_instruction_is_reached() {
        for rules in
            [vec![rule(false, "a"), rule(true, "c 1:3 rwm")], vec![rule(true, "c 1:3 rwm"), rule(false, "a")], vec![rule(true, "c 1:3 r")]]
        {
            let program = program(&rules);
            let mut reached = vec![false; program.len()];
            let mut waiting = vec![0];
            while let Some(at) = waiting.pop() {
                if std::mem::replace(&mut reached[at], true) {
                    continue;
                }
                match program[at].code {
                    0x95 => {}
                    0x55 | 0x15 => waiting.extend([at + 1, at + 1 + program[at].offset as usize]),
                    _ => waiting.push(at + 1),
                }
            }
            assert!(reached.iter().all(|reached| *reached), "{rules:?}: {reached:?}");
        }
    }

    #[test]
    fn the_last_rule_that_fits_decides() {
        let rules = [rule(false, "a"), rule(true, "c *:* m"), rule(true, "c 1:3 rwm"), rule(true, "b 8:* r"), rule(false, "c 1:3 w")];
        let program = program(&rules);
        let cases = [
            ("make any character device", CHARACTER, "m", (99, 1), true),
            ("read an unknown character device", CHARACTER, "r", (99, 1), false),
            ("make and read it at once", CHARACTER, "rm", (99, 1), false),
            ("read /dev/null", CHARACTER, "r", (1, 3), true),
            ("write /dev/null, refused last", CHARACTER, "rw", (1, 3), false),
            ("read a disk", BLOCK, "r", (8, 17), true),
            ("write a disk", BLOCK, "rw", (8, 17), false),
            ("a block device with /dev/null's numbers", BLOCK, "r", (1, 3), false),
        ];
        for (what, kind, access, numbers, expected) in cases {
            assert_eq!(allowed(&program, kind, access, numbers), expected, "{what}");
        }
    }

    #[test]
    fn v1_rules_are_written_as_the_kernel_documents_them() {
        assert_eq!(notation(&rule(false, "a")), "a");
        assert_eq!(notation(&rule(true, "c *:* m")), "c *:* m");
        assert_eq!(notation(&rule(true, "b 8:0 rw")), "b 8:0 rw");
    }
}
