//! Runs a program as the kernel would, for the tests.

use super::compile::Program;
use super::profile::Action;

/// `struct seccomp_data`, without the instruction pointer.
pub(super) struct Call {
    pub(super) number: u32,
    pub(super) audit: u32,
    pub(super) arguments: [u64; 6],
}

impl Call {
    #[allow(clippy::cast_possible_truncation)] // a half is wanted
    fn word(&self, offset: u32) -> u32 {
        let argument = |place: u32| self.arguments[place as usize / 8];
        match offset {
            0 => self.number,
            4 => self.audit,
            16..64 if offset.is_multiple_of(8) => argument(offset - 16) as u32,
            16..64 if offset.is_multiple_of(4) => (argument(offset - 20) >> 32) as u32,
            _ => panic!("no word at {offset}"),
        }
    }
}

pub(super) fn run(program: &Program, call: &Call) -> Action {
    let (mut place, mut accumulator) = (0, 0);
    loop {
        let instruction = program.instructions()[place];
        place += 1;
        let operand = instruction.operand;
        let mut branch = |holds: bool| {
            let distance = if holds { instruction.jump_true } else { instruction.jump_false };
            place += usize::from(distance);
        };
        match instruction.code {
            0x20 => accumulator = call.word(operand),
            0x54 => accumulator &= operand,
            0x05 => place += operand as usize,
            0x15 => branch(accumulator == operand),
            0x25 => branch(accumulator > operand),
            0x35 => branch(accumulator >= operand),
            0x06 => return action(operand),
            code => panic!("unknown instruction {code:#x}"),
        }
    }
}

fn action(value: u32) -> Action {
    let datum = (value & 0xffff) as u16;
    match value & 0xffff_0000 {
        0x8000_0000 => Action::KillProcess,
        0 => Action::KillThread,
        0x0003_0000 => Action::Trap,
        0x0005_0000 => Action::Errno(datum),
        0x7ff0_0000 => Action::Trace(datum),
        0x7fc0_0000 => Action::Notify,
        0x7ffc_0000 => Action::Log,
        0x7fff_0000 => Action::Allow,
        other => panic!("unknown answer {other:#x}"),
    }
}
