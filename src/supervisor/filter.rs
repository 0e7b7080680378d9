//! The filter that sends calls to the supervisor, beside the container's own profile.
//!
//! The kernel runs both and takes the stricter answer, so that a call the profile refuses never
//! arrives here. Under a foreign architecture, 32-bit programs and x32 included, all is let through.

use super::call::{CALLS, Condition};
use crate::sys::seccomp::{ALLOW, Instruction, NOTIFY};

// Classes, sizes, modes and operations of linux/bpf_common.h.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// `AUDIT_ARCH_*` of the programs that this binary runs beside.
#[cfg(target_arch = "x86_64")]
pub(super) const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(super) const NATIVE: u32 = 0xc000_00b7;

/// How many programs may be executed unasked (`let_execute`): as many as a PATH usually has places.
pub(super) const UNASKED: usize = 8;
/// Where the first of them is compared, and how long each comparison is.
const FIRST: usize = 5;
const LENGTH: usize = 5;

/// Lets execve(2) pass unasked where its path is this very pointer: for the container's first
/// program, which would otherwise wake a supervisor for nothing. Another program that has a path at
/// the same place gets no other's ids by it, which is all that asking could give.
pub(super) fn let_execute(program: &mut [Instruction], slot: usize, path: *const libc::c_char) {
    let address = path.addr() as u64;
    let at = FIRST + slot * LENGTH;
    let (low, high) = (address & 0xffff_ffff, address >> 32);
    for (place, half) in [(at + 1, low), (at + 3, high)] {
        program[place].operand = u32::try_from(half).unwrap_or_default();
    }
}

/// The program: native? ─ number ─ its conditions ─ notify; everything else is let through.
pub fn filter() -> Vec<Instruction> {
    let mut program = vec![
        instruction(LOAD, ARCHITECTURE),
        // The distance to the end does not fit into a jump's byte, so each check has its own answer.
        branch(NATIVE, 1, 0),
        instruction(RETURN, ALLOW),
        instruction(LOAD, NUMBER),
    ];
    let execve = u32::try_from(libc::SYS_execve).unwrap_or(u32::MAX);
    program.push(branch(execve, 0, u8::try_from(UNASKED * LENGTH + 1).unwrap_or(u8::MAX)));
    for _ in 0..UNASKED {
        // No path is at address 0.
        program.push(instruction(LOAD, ARGUMENTS));
        program.push(branch(0, 0, 3));
        program.push(instruction(LOAD, ARGUMENTS + 4));
        program.push(branch(0, 0, 1));
        program.push(instruction(RETURN, ALLOW));
    }
    program.push(instruction(RETURN, NOTIFY));
    for (number, _, conditions) in CALLS {
        let checks: Vec<Instruction> = conditions.iter().copied().flat_map(check).collect();
        let length = u8::try_from(checks.len() + 1).unwrap_or(u8::MAX);
        program.push(branch(u32::try_from(*number).unwrap_or(u32::MAX), 0, length));
        program.extend(checks);
        program.push(instruction(RETURN, NOTIFY));
    }
    program.push(instruction(RETURN, ALLOW));
    program
}

/// Little-endian machines have the low half of an argument first.
fn check(condition: Condition) -> [Instruction; 4] {
    let offset = u32::try_from(condition.argument * 8).unwrap_or_default();
    [
        instruction(LOAD, ARGUMENTS + offset),
        instruction(AND, condition.mask),
        branch(condition.value, 1, 0),
        instruction(RETURN, ALLOW),
    ]
}

fn instruction(code: u16, operand: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, operand }
}

fn branch(operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code: JUMP_EQUAL, jump_true, jump_false, operand }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would.
    #[allow(clippy::cast_possible_truncation)] // the low half is what is loaded
    fn run(program: &[Instruction], architecture: u32, number: i64, arguments: [u64; 6]) -> u32 {
        let (mut place, mut accumulator) = (0, 0);
        loop {
            let Instruction { code, jump_true, jump_false, operand } = program[place];
            place += 1;
            match code {
                LOAD => {
                    accumulator = match operand {
                        NUMBER => u32::try_from(number).expect("a number"),
                        ARCHITECTURE => architecture,
                        offset => {
                            let place = (offset - ARGUMENTS) as usize;
                            let shift = if place.is_multiple_of(8) { 0 } else { 32 };
                            u32::try_from(arguments[place / 8] >> shift & 0xffff_ffff)
                                .expect("half")
                        }
                    }
                }
                AND => accumulator &= operand,
                JUMP_EQUAL if accumulator == operand => place += usize::from(jump_true),
                JUMP_EQUAL => place += usize::from(jump_false),
                RETURN => return operand,
                code => panic!("unknown instruction {code:#x}"),
            }
        }
    }

    #[test]
    fn the_table_is_notified_and_nothing_else() {
        let program = filter();
        assert!(program.len() < 4096);
        let known = |number| CALLS.iter().any(|(known, _, _)| *known == number);
        for number in 0..512 {
            let answer = run(&program, NATIVE, number, [u64::from(u32::MAX); 6]);
            let conditional =
                CALLS.iter().any(|(known, _, when)| *known == number && !when.is_empty());
            if !conditional {
                let expected = if known(number) { NOTIFY } else { ALLOW };
                assert_eq!(answer, expected, "{number}");
            }
            assert_eq!(run(&program, NATIVE ^ 1, number, [0; 6]), ALLOW);
        }
        for number in [libc::SYS_clone, libc::SYS_clone3, libc::SYS_read, libc::SYS_capset] {
            assert!(!known(number), "{number}");
        }
    }

    #[test]
    fn the_first_program_is_executed_unasked() {
        let mut program = filter();
        let execute = |program: &[Instruction], path: u64| {
            run(program, NATIVE, libc::SYS_execve, [path, 0, 0, 0, 0, 0])
        };
        let path = 0x7f12_3456_789a_u64;
        assert_eq!(execute(&program, path), NOTIFY);
        for slot in [0, UNASKED - 1] {
            let place = usize::try_from(path).expect("64 bits") + slot;
            let_execute(&mut program, slot, std::ptr::without_provenance(place));
            assert_eq!(execute(&program, path + slot as u64), ALLOW);
        }
        assert_eq!(execute(&program, path + 1), NOTIFY);
        assert_eq!(execute(&program, path & 0xffff_ffff), NOTIFY);
        assert_eq!(run(&program, NATIVE, libc::SYS_execveat, [path; 6]), NOTIFY);
    }

    #[test]
    fn arguments_choose() {
        let program = filter();
        let open = |flags: i32| {
            run(
                &program,
                NATIVE,
                libc::SYS_openat,
                [0, 0, u64::from(flags.cast_unsigned()), 0, 0, 0],
            )
        };
        assert_eq!(open(libc::O_RDWR | libc::O_CREAT | libc::O_EXCL), NOTIFY);
        assert_eq!(open(libc::O_RDWR | libc::O_TRUNC), ALLOW);
        let option = |level: i32, option: i32| {
            let arguments =
                [0, level.cast_unsigned().into(), option.cast_unsigned().into(), 0, 0, 0];
            run(&program, NATIVE, libc::SYS_getsockopt, arguments)
        };
        assert_eq!(option(libc::SOL_SOCKET, libc::SO_PEERCRED), NOTIFY);
        assert_eq!(option(libc::SOL_SOCKET, libc::SO_ERROR), ALLOW);
        assert_eq!(option(libc::IPPROTO_TCP, libc::SO_PEERCRED), ALLOW);
        let limit = |resource: u32| {
            run(&program, NATIVE, libc::SYS_prlimit64, [0, resource.into(), 0, 0, 0, 0])
        };
        assert_eq!((limit(libc::RLIMIT_LOCKS), limit(libc::RLIMIT_NOFILE)), (NOTIFY, ALLOW));
    }
}
