//! Compiles a filter to classic BPF: a branch per architecture, a binary search by number, and argument checks at the leaves.
//!
//! See seccomp(2) for what the kernel hands to the program and for the meaning of what it returns.

use std::collections::BTreeMap;

use oci_spec::runtime::LinuxSeccomp;
use oci_spec::runtime::LinuxSeccompAction;
use oci_spec::runtime::LinuxSeccompArg;
use oci_spec::runtime::LinuxSeccompOperator as Operator;

use super::numbers::Machine;
use crate::failure::Failure;
use crate::failure::Result;
use crate::sys::seccomp::Instruction;

// linux/bpf_common.h
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

// Offsets into `struct seccomp_data`, linux/seccomp.h.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

// linux/seccomp.h
const KILL_PROCESS: u32 = 0x8000_0000;
const RETURN_ERRNO: u32 = 0x0005_0000;

/// The bit that marks x32 calls on x86_64.
const X32: u32 = 0x4000_0000;

/// The kernel takes no longer program, `BPF_MAXINSNS`.
const LONGEST: usize = 4096;

/// What becomes of one system call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Decision {
    /// Checked in order; the first that fits decides.
    checks: Vec<(Vec<LinuxSeccompArg>, u32)>,
    otherwise: u32,
}

/// Compiles a filter for all its architectures; any other architecture's process is killed, as libseccomp does.
///
/// # Errors
/// An argument index above 5; a program that the kernel would find too long.
pub(in crate::runtime) fn compile(filter: &LinuxSeccomp) -> Result<Vec<Instruction>> {
    let native = [oci_spec::runtime::Arch::ScmpArchNative];
    let wanted = filter.architectures().as_deref().filter(|wanted| !wanted.is_empty()).unwrap_or(&native);
    let mut program = vec![load(ARCHITECTURE)];
    for machine in wanted.iter().filter_map(|arch| Machine::of(*arch)) {
        let body = branch(filter, machine)?;
        program.push(instruction(JUMP_EQUAL, 1, 0, machine.audit()));
        program.push(jump(body.len()));
        program.extend(body);
    }
    program.push(give(KILL_PROCESS));
    if program.len() > LONGEST {
        return Err(Failure::new("cannot compile the system call filter")
            .because(format!("it has {} instructions, the kernel takes {LONGEST}", program.len())));
    }
    Ok(program)
}

/// The program for one architecture, from the loading of the number to a verdict.
fn branch(filter: &LinuxSeccomp, machine: Machine) -> Result<Vec<Instruction>> {
    let mut program = vec![load(NUMBER)];
    if machine == Machine::X86_64 {
        program.push(instruction(JUMP_AT_LEAST, 0, 1, X32));
        program.push(give(RETURN_ERRNO | libc::ENOSYS as u32));
    }
    program.extend(search(&segments(filter, machine))?);
    Ok(program)
}

/// The number line, cut where the decision changes: each segment goes from its number to the next one's.
fn segments(filter: &LinuxSeccomp, machine: Machine) -> Vec<(u32, Decision)> {
    let default = action(filter.default_action(), filter.default_errno_ret());
    let decisions = decisions(filter, machine, default);
    let plain = Decision { checks: Vec::new(), otherwise: default };
    // A call that is newer than the profile: ENOSYS makes programs fall back, where EPERM would make them give up.
    let newest = decisions.keys().next_back().map_or(0, |last| last + 1);
    let unknown =
        Decision { checks: Vec::new(), otherwise: if default == RETURN_ERRNO | 1 { RETURN_ERRNO | libc::ENOSYS as u32 } else { default } };
    let mut segments: Vec<(u32, Decision)> = Vec::new();
    let mut next = 0;
    for (number, decision) in decisions {
        if number > next {
            extend(&mut segments, next, plain.clone());
        }
        extend(&mut segments, number, decision);
        next = number + 1;
    }
    extend(&mut segments, newest, unknown);
    segments
}

fn extend(segments: &mut Vec<(u32, Decision)>, from: u32, decision: Decision) {
    if segments.last().is_none_or(|(_, last)| *last != decision) {
        segments.push((from, decision));
    }
}

fn decisions(filter: &LinuxSeccomp, machine: Machine, default: u32) -> BTreeMap<u32, Decision> {
    let mut decisions: BTreeMap<u32, Decision> = BTreeMap::new();
    let mut settled = Vec::new();
    for rule in filter.syscalls().iter().flatten() {
        let verdict = action(rule.action(), rule.errno_ret());
        for number in rule.names().iter().filter_map(|name| machine.number(name)) {
            let decision = decisions.entry(number).or_insert_with(|| Decision { checks: Vec::new(), otherwise: default });
            match rule.args().as_deref().filter(|arguments| !arguments.is_empty()) {
                Some(arguments) => decision.checks.push((arguments.to_vec(), verdict)),
                None if !settled.contains(&number) => {
                    decision.otherwise = verdict;
                    settled.push(number);
                }
                None => {}
            }
        }
    }
    for decision in decisions.values_mut() {
        let otherwise = decision.otherwise;
        decision.checks.retain(|(_, verdict)| *verdict != otherwise);
    }
    decisions
}

/// A binary search over the segments, laid out left half first.
fn search(segments: &[(u32, Decision)]) -> Result<Vec<Instruction>> {
    let [(_, only)] = segments else {
        let (left, right) = segments.split_at(segments.len() / 2);
        let below = search(left)?;
        let mut program = vec![instruction(JUMP_AT_LEAST, 0, 1, right[0].0), jump(below.len())];
        program.extend(below);
        program.extend(search(right)?);
        return Ok(program);
    };
    let mut program = Vec::new();
    for (arguments, verdict) in &only.checks {
        program.extend(check(arguments, *verdict)?);
    }
    program.push(give(only.otherwise));
    Ok(program)
}

/// Gives the verdict if all arguments fit, else runs on behind itself.
fn check(arguments: &[LinuxSeccompArg], verdict: u32) -> Result<Vec<Instruction>> {
    let mut program = vec![give(verdict)];
    for argument in arguments.iter().rev() {
        let mut condition = condition(argument, program.len())?;
        condition.extend(program);
        program = condition;
    }
    Ok(program)
}

/// Goes on behind itself if the argument fits, else `miss` instructions further.
///
/// Arguments are 64 bits wide and BPF's words 32, so each comparison looks at the high half first.
fn condition(argument: &LinuxSeccompArg, miss: usize) -> Result<Vec<Instruction>> {
    if argument.index() > 5 {
        return Err(
            Failure::new("cannot compile the system call filter").because(format!("a system call has no argument {}", argument.index()))
        );
    }
    let at = ARGUMENTS + 8 * argument.index() as u32;
    let (low, high) = (load(at), load(at + 4));
    // The widest comparison jumps over three more of its own instructions.
    let miss = u8::try_from(miss).ok().filter(|miss| *miss < u8::MAX - 3);
    let miss = miss.ok_or_else(|| Failure::new("cannot compile the system call filter").because("a rule has too many arguments"))?;
    let value = argument.value();
    let (bottom, top) = (value as u32, (value >> 32) as u32);
    Ok(match argument.op() {
        Operator::ScmpCmpEq => equal((high, low), (top, bottom), Jumps { hit: 0, miss }),
        Operator::ScmpCmpNe => vec![high, instruction(JUMP_EQUAL, 0, 2, top), low, instruction(JUMP_EQUAL, miss, 0, bottom)],
        Operator::ScmpCmpMaskedEq => masked((high, low), value, argument.value_two().unwrap_or(0), miss),
        Operator::ScmpCmpGt => greater((high, low), (top, bottom), JUMP_GREATER, miss),
        Operator::ScmpCmpGe => greater((high, low), (top, bottom), JUMP_AT_LEAST, miss),
        Operator::ScmpCmpLe => not_greater((high, low), (top, bottom), JUMP_GREATER, miss),
        Operator::ScmpCmpLt => not_greater((high, low), (top, bottom), JUMP_AT_LEAST, miss),
    })
}

struct Jumps {
    hit: u8,
    miss: u8,
}

type Halves<T> = (T, T);

fn equal((high, low): Halves<Instruction>, (top, bottom): Halves<u32>, jumps: Jumps) -> Vec<Instruction> {
    vec![high, instruction(JUMP_EQUAL, 0, jumps.miss + 2, top), low, instruction(JUMP_EQUAL, jumps.hit, jumps.miss, bottom)]
}

fn masked((high, low): Halves<Instruction>, mask: u64, value: u64, miss: u8) -> Vec<Instruction> {
    vec![
        high,
        instruction(AND, 0, 0, (mask >> 32) as u32),
        instruction(JUMP_EQUAL, 0, miss + 3, (value >> 32) as u32),
        low,
        instruction(AND, 0, 0, mask as u32),
        instruction(JUMP_EQUAL, 0, miss, value as u32),
    ]
}

fn greater((high, low): Halves<Instruction>, (top, bottom): Halves<u32>, compare: u16, miss: u8) -> Vec<Instruction> {
    vec![high, instruction(JUMP_GREATER, 3, 0, top), instruction(JUMP_EQUAL, 0, miss + 2, top), low, instruction(compare, 0, miss, bottom)]
}

/// `compare` is the comparison that must fail for the low half.
fn not_greater((high, low): Halves<Instruction>, (top, bottom): Halves<u32>, compare: u16, miss: u8) -> Vec<Instruction> {
    vec![high, instruction(JUMP_GREATER, miss + 3, 0, top), instruction(JUMP_EQUAL, 0, 2, top), low, instruction(compare, miss, 0, bottom)]
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> u32 {
    action.as_u32(errno)
}

fn load(offset: u32) -> Instruction {
    instruction(LOAD, 0, 0, offset)
}

fn jump(over: usize) -> Instruction {
    instruction(JUMP, 0, 0, u32::try_from(over).unwrap_or(u32::MAX))
}

fn give(verdict: u32) -> Instruction {
    instruction(RETURN, 0, 0, verdict)
}

fn instruction(code: u16, jump_true: u8, jump_false: u8, value: u32) -> Instruction {
    Instruction { code, jump_true, jump_false, value }
}
