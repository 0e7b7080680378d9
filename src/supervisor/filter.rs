//! The filter that sends calls to the supervisor, beside the container's own profile.
//!
//! The kernel runs both and takes the stricter answer, so that a call the profile refuses never
//! arrives here, or both are one program that does the same. Under a foreign architecture, 32-bit programs
//! and x32 included, all is let through.

use super::call::{Condition, Purpose};
use super::options::{ALSO, Name, RARE};
use crate::sys;
use crate::sys::seccomp::bpf::{
    AND, ARCHITECTURE, ARGUMENTS, JUMP, JUMP_EQUAL, JUMP_GREATER_OR_EQUAL, LOAD, MOST, NUMBER,
    RETURN,
};
use crate::sys::seccomp::{ALLOW, Instruction, NATIVE, NOTIFY};

/// How many programs may be executed unasked (`let_execute`): as many as a PATH usually has places.
pub(super) const UNASKED: usize = 8;
/// How long the comparison with each of them is.
const LENGTH: usize = 4;

/// The program, and where in it the paths of `let_execute` are compared.
#[derive(Debug)]
pub(super) struct Filter {
    program: Vec<Instruction>,
    unasked: usize,
}

impl Filter {
    /// Whether execve(2) is asked about at all.
    fn asks_of_execute(&self) -> bool {
        self.unasked != 0
    }

    /// The instructions.
    pub(super) fn program(&self) -> &[Instruction] {
        &self.program
    }

    /// Makes it one program with a profile, whose `ALLOW` this one decides: the kernel translates one in less time
    /// than two, and each processor is told of each. Not done, and false, where an answer of the profile is milder
    /// than a notification, as two filters would notify that call all the same.
    pub(super) fn join(&mut self, profile: &[Instruction]) -> bool {
        let is_strict =
            |answer: u32| answer == ALLOW || answer.cast_signed() < NOTIFY.cast_signed();
        let mut answers = profile.iter().filter(|step| step.code == RETURN);
        let length = profile.len() + self.program.len();
        if !answers.all(|step| is_strict(step.operand)) || length > MOST {
            return false;
        }
        let go_on = |(place, step): (usize, &Instruction)| {
            let distance = u32::try_from(profile.len() - place - 1).unwrap_or_default();
            match (step.code, step.operand) {
                (RETURN, ALLOW) => Instruction { code: JUMP, operand: distance, ..*step },
                _ => *step,
            }
        };
        self.program.splice(..0, profile.iter().enumerate().map(go_on));
        if self.asks_of_execute() {
            self.unasked += profile.len();
        }
        true
    }

    /// Lets execve(2) pass unasked where its path is this very pointer: for the container's first
    /// program, which would otherwise wake a supervisor for nothing. Another program that has a path
    /// at the same place gets no other's ids by it, which is all that asking could give.
    pub(super) fn let_execute(&mut self, slot: usize, path: *const libc::c_char) {
        if !self.asks_of_execute() {
            return;
        }
        let address = path.addr() as u64;
        let at = self.unasked + slot * LENGTH;
        let (low, high) = (address & 0xffff_ffff, address >> 32);
        for (place, half) in [(at + 1, low), (at + 3, high)] {
            self.program[place].operand = u32::try_from(half).unwrap_or_default();
        }
    }
}

/// What becomes of a call, where that is known by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Allow,
    Notify,
    /// Notified where all of these hold.
    Where(&'static [Condition]),
    /// Notified but for the paths of `let_execute`.
    Execute,
    /// Notified but for a start's own (`UNASKED`).
    Powers,
    /// Notified where it is about one of the rare options of a socket's.
    Option,
}

/// Where a jump goes.
#[derive(Clone, Copy, Debug)]
enum Target {
    Allow,
    Notify,
    At(usize),
}

/// The program: native? ─ number, by halves ─ its conditions ─ notify; everything else is let
/// through. The kernel translates it instruction by instruction and tries every number when it is
/// loaded, so that both its length and its depth are paid by each start.
pub(super) fn filter(purpose: Purpose) -> Filter {
    let mut assembler = Assembler::default();
    let native = assembler.load_and_branch(ARCHITECTURE, NATIVE);
    let number = assembler.push(LOAD, NUMBER);
    // The look-up follows at once, so that nothing has to lead to it.
    assembler.search(&ranges(purpose));
    assembler.branch(native, Target::At(number), Target::Allow);
    assembler.finish()
}

/// Consecutive numbers that are answered alike: the first of them, to the next range's.
fn ranges(purpose: Purpose) -> Vec<(u32, Answer)> {
    let mut calls: Vec<(u32, Answer)> = purpose
        .calls()
        .map(|(number, _, when)| {
            let answer = match *when {
                _ if *number == libc::SYS_execve => Answer::Execute,
                _ if *number == libc::SYS_setsockopt => Answer::Option,
                _ if [libc::SYS_capget, libc::SYS_capset].contains(number) => Answer::Powers,
                [] => Answer::Notify,
                conditions => Answer::Where(conditions),
            };
            (u32::try_from(*number).unwrap_or(u32::MAX), answer)
        })
        .collect();
    calls.sort_unstable_by_key(|(number, _)| *number);
    let mut ranges = vec![(0, Answer::Allow)];
    for (number, answer) in calls {
        for (first, answer) in [(number, answer), (number + 1, Answer::Allow)] {
            if ranges.last().is_some_and(|last| last.0 == first) {
                ranges.pop();
            }
            if ranges.last().is_none_or(|last| last.1 != answer) {
                ranges.push((first, answer));
            }
        }
    }
    ranges
}

/// Instructions whose jumps get their distances in the end.
#[derive(Debug, Default)]
struct Assembler {
    program: Vec<Instruction>,
    branches: Vec<(usize, Target, Target)>,
    unasked: usize,
}

impl Assembler {
    fn push(&mut self, code: u16, operand: u32) -> usize {
        self.program.push(Instruction { code, jump_true: 0, jump_false: 0, operand });
        self.program.len() - 1
    }

    /// Where the jump at `at` goes if its comparison holds, and if not.
    fn branch(&mut self, at: usize, holds: Target, fails: Target) {
        self.branches.push((at, holds, fails));
    }

    fn load_and_branch(&mut self, offset: u32, operand: u32) -> usize {
        self.push(LOAD, offset);
        self.push(JUMP_EQUAL, operand)
    }

    fn next(&self) -> Target {
        Target::At(self.program.len())
    }

    fn search(&mut self, ranges: &[(u32, Answer)]) -> Target {
        match ranges {
            [] => Target::Allow,
            [(_, answer)] => self.give(*answer),
            ranges => {
                let (low, high) = ranges.split_at(ranges.len() / 2);
                let at = self.push(JUMP_GREATER_OR_EQUAL, high[0].0);
                let (low, high) = (self.search(low), self.search(high));
                self.branch(at, high, low);
                Target::At(at)
            }
        }
    }

    fn give(&mut self, answer: Answer) -> Target {
        let begin = self.next();
        match answer {
            Answer::Allow => Target::Allow,
            Answer::Notify => Target::Notify,
            Answer::Where(conditions) => {
                for (place, condition) in conditions.iter().enumerate() {
                    // Little-endian machines have the low half of an argument first.
                    let offset = u32::try_from(condition.argument * 8).unwrap_or_default();
                    self.push(LOAD, ARGUMENTS + offset);
                    if condition.mask != u32::MAX {
                        self.push(AND, condition.mask);
                    }
                    let at = self.push(JUMP_EQUAL, condition.value);
                    let is_last = place + 1 == conditions.len();
                    let holds = if is_last { Target::Notify } else { self.next() };
                    self.branch(at, holds, Target::Allow);
                }
                begin
            }
            Answer::Execute => {
                self.unasked = self.program.len();
                for slot in 1..=UNASKED {
                    // No path is at address 0.
                    let low = self.load_and_branch(ARGUMENTS, 0);
                    let high = self.load_and_branch(ARGUMENTS + 4, 0);
                    let others = if slot == UNASKED { Target::Notify } else { self.next() };
                    self.branch(low, Target::At(low + 1), others);
                    self.branch(high, Target::Allow, others);
                }
                begin
            }
            Answer::Powers => {
                let at = self.load_and_branch(ARGUMENTS + 16, sys::process::UNASKED);
                self.branch(at, Target::Allow, Target::Notify);
                begin
            }
            Answer::Option => {
                let mut names: Vec<Name> = RARE.to_vec();
                names.extend(ALSO.iter().map(|(also, _)| *also));
                names.sort_unstable();
                self.push(LOAD, ARGUMENTS + 8);
                for level in names.chunk_by(|one, other| one.0 == other.0) {
                    let is_it = self.push(JUMP_EQUAL, level[0].0.cast_unsigned());
                    self.push(LOAD, ARGUMENTS + 16);
                    for (place, (_, name)) in level.iter().enumerate() {
                        let at = self.push(JUMP_EQUAL, name.cast_unsigned());
                        let is_last = place + 1 == level.len();
                        let others = if is_last { Target::Allow } else { self.next() };
                        self.branch(at, Target::Notify, others);
                    }
                    let others = self.next();
                    self.branch(is_it, Target::At(is_it + 1), others);
                }
                // No level is left.
                self.push(RETURN, ALLOW);
                begin
            }
        }
    }

    /// Adds the two endings, which must be in reach of every jump: 255 instructions.
    fn finish(mut self) -> Filter {
        let (allow, notify) = (self.push(RETURN, ALLOW), self.push(RETURN, NOTIFY));
        for (at, holds, fails) in self.branches {
            let distance = |target| {
                let to = match target {
                    Target::Allow => allow,
                    Target::Notify => notify,
                    Target::At(to) => to,
                };
                u8::try_from(to - at - 1).unwrap_or(u8::MAX)
            };
            self.program[at].jump_true = distance(holds);
            self.program[at].jump_false = distance(fails);
        }
        Filter { program: self.program, unasked: self.unasked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: Purpose = Purpose { ids: true, connections: false };
    const BOTH: Purpose = Purpose { ids: true, connections: true };

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
                JUMP => place += operand as usize,
                JUMP_EQUAL if accumulator == operand => place += usize::from(jump_true),
                JUMP_GREATER_OR_EQUAL if accumulator >= operand => place += usize::from(jump_true),
                JUMP_EQUAL | JUMP_GREATER_OR_EQUAL => place += usize::from(jump_false),
                RETURN => return operand,
                code => panic!("unknown instruction {code:#x}"),
            }
        }
    }

    #[test]
    fn the_table_is_notified_and_nothing_else() {
        for ids in [false, true] {
            for connections in [false, true] {
                table_is_notified(Purpose { ids, connections });
            }
        }
    }

    fn table_is_notified(purpose: Purpose) {
        let filter = filter(purpose);
        let program = filter.program();
        // Or an ending would be out of a jump's reach.
        assert!(program.len() <= 256, "{}", program.len());
        let known = |number| purpose.calls().any(|(known, _, _)| *known == number);
        for number in 0..512 {
            let answer = run(program, NATIVE, number, [u64::from(u32::MAX); 6]);
            let conditional = number == libc::SYS_setsockopt
                || purpose.calls().any(|(known, _, when)| *known == number && !when.is_empty());
            if !conditional {
                let expected = if known(number) { NOTIFY } else { ALLOW };
                assert_eq!(answer, expected, "{number}");
            }
            assert_eq!(run(program, NATIVE ^ 1, number, [0; 6]), ALLOW);
        }
        assert_eq!(known(libc::SYS_connect), purpose.connections);
        assert_eq!(known(libc::SYS_chown), purpose.ids);
        for number in [libc::SYS_clone, libc::SYS_clone3, libc::SYS_read, libc::SYS_write] {
            assert!(!known(number), "{number}");
        }
    }

    #[test]
    fn joined_with_a_profile_it_gives_the_stricter_answer() {
        const REFUSE: u32 = 0x0005_0001;
        let step = |code, operand| Instruction { code, jump_true: 0, jump_false: 0, operand };
        let is = |number: i64, jump_true| Instruction {
            jump_true,
            ..step(JUMP_EQUAL, u32::try_from(number).expect("a number"))
        };
        let profile = [
            step(LOAD, NUMBER),
            is(libc::SYS_chown, 2),
            is(libc::SYS_reboot, 1),
            step(RETURN, ALLOW),
            step(RETURN, REFUSE),
        ];
        let alone = filter(BOTH);
        let mut joined = filter(BOTH);
        assert!(joined.join(&profile));
        joined.let_execute(1, std::ptr::without_provenance(0x1234_5678));
        for number in 0..512 {
            let stricter = match run(&profile, NATIVE, number, [7; 6]) {
                ALLOW => run(alone.program(), NATIVE, number, [7; 6]),
                refused => refused,
            };
            assert_eq!(run(joined.program(), NATIVE, number, [7; 6]), stricter, "{number}");
        }
        let path = [0x1234_5678, 0, 0, 0, 0, 0];
        assert_eq!(run(joined.program(), NATIVE, libc::SYS_execve, path), ALLOW);
    }

    #[test]
    fn a_profile_that_only_logs_stays_on_its_own() {
        const LOG: u32 = 0x7ffc_0000;
        let step = |operand| Instruction { code: RETURN, jump_true: 0, jump_false: 0, operand };
        let (before, mut filter) = (filter(IDS), filter(IDS));
        assert!(!filter.join(&[step(LOG)]) && !filter.join(&vec![step(ALLOW); MOST]));
        assert_eq!(filter.program(), before.program());
    }

    #[test]
    fn the_first_program_is_executed_unasked() {
        let mut filter = filter(BOTH);
        let execute = |filter: &Filter, path: u64| {
            run(filter.program(), NATIVE, libc::SYS_execve, [path, 0, 0, 0, 0, 0])
        };
        let path = 0x7f12_3456_789a_u64;
        assert_eq!(execute(&filter, path), NOTIFY);
        for slot in [0, UNASKED - 1] {
            let place = usize::try_from(path).expect("64 bits") + slot;
            filter.let_execute(slot, std::ptr::without_provenance(place));
            assert_eq!(execute(&filter, path + slot as u64), ALLOW);
        }
        assert_eq!(execute(&filter, path + 1), NOTIFY);
        assert_eq!(execute(&filter, path & 0xffff_ffff), NOTIFY);
        assert_eq!(run(filter.program(), NATIVE, libc::SYS_execveat, [path; 6]), NOTIFY);
    }

    #[test]
    fn rare_options_are_told_of() {
        let filter = filter(BOTH);
        let option = |level: i32, name: i32| {
            let arguments = [0, level.cast_unsigned().into(), name.cast_unsigned().into(), 0, 0, 0];
            run(filter.program(), NATIVE, libc::SYS_setsockopt, arguments)
        };
        for (level, name) in RARE.iter().chain(ALSO.iter().map(|(also, _)| also)) {
            assert_eq!(option(*level, *name), NOTIFY, "{level} {name}");
        }
        for (level, name) in [
            (libc::SOL_SOCKET, libc::SO_REUSEADDR),
            (libc::IPPROTO_TCP, libc::TCP_NODELAY),
            (libc::IPPROTO_IP, libc::IP_RECVERR),
            (libc::IPPROTO_UDP, libc::UDP_SEGMENT),
            (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
        ] {
            assert_eq!(option(level, name), ALLOW, "{level} {name}");
        }
    }

    #[test]
    fn arguments_choose() {
        let filter = filter(IDS);
        let program = filter.program();
        let open = |flags: i32| {
            run(
                program,
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
            run(program, NATIVE, libc::SYS_getsockopt, arguments)
        };
        assert_eq!(option(libc::SOL_SOCKET, libc::SO_PEERCRED), NOTIFY);
        assert_eq!(option(libc::SOL_SOCKET, libc::SO_ERROR), ALLOW);
        assert_eq!(option(libc::IPPROTO_TCP, libc::SO_PEERCRED), ALLOW);
        let limit = |resource: u32| {
            run(program, NATIVE, libc::SYS_prlimit64, [0, resource.into(), 0, 0, 0, 0])
        };
        assert_eq!((limit(libc::RLIMIT_LOCKS), limit(libc::RLIMIT_NOFILE)), (NOTIFY, ALLOW));
        for number in [libc::SYS_capget, libc::SYS_capset] {
            let call = |third| run(program, NATIVE, number, [1, 1, third, 0, 0, 0]);
            assert_eq!((call(0), call(sys::process::UNASKED.into())), (NOTIFY, ALLOW));
        }
    }
}
