//! Profile to classic BPF (Documentation/userspace-api/seccomp_filter.rst, linux/filter.h).
//!
//! ```text
//! architecture? ─ native ─► number: binary search over ranges that are answered alike ─► answer
//!               ─ 32-bit ─► the same with its own numbers
//!               ─ other  ─► the process is killed
//! ```

use super::Error;
use super::default::ENOSYS;
use super::profile::{Action, Comparison, Condition, Profile, Rule, Rules};
use crate::bundle::capabilities::CapabilitySet;
use crate::sys::seccomp::bpf::{
    AND, ARCHITECTURE, ARGUMENTS, JUMP, JUMP_EQUAL, JUMP_GREATER, JUMP_GREATER_OR_EQUAL, LOAD,
    MOST, NUMBER, RETURN,
};
use crate::sys::seccomp::{Instruction, NOTIFY};

/// A filter that can be loaded.
#[derive(Clone, PartialEq, Eq)]
pub struct Program {
    instructions: Vec<Instruction>,
    flags: u32,
    /// Whether it is docker's default, of which is known what it allows.
    is_default: bool,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Program({} instructions)", self.instructions.len())
    }
}

impl Program {
    /// The instructions.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// `SECCOMP_FILTER_FLAG_*` to load it with.
    pub fn flags(&self) -> u32 {
        self.flags
    }

    /// Whether under it a start can do what it has yet to do, beyond its last steps: hand on a descriptor, set a
    /// limit. A profile of the user's own is loaded as late as can be.
    pub fn lets_a_start_go_on(&self) -> bool {
        self.is_default
    }
}

/// An architecture that programs run under here.
struct Architecture {
    /// `AUDIT_ARCH_*`
    audit: u32,
    /// All calls that it has.
    calls: fn() -> Calls,
    /// The first number of another calling convention that is refused whole: x32's on `x86_64`.
    end: Option<u32>,
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURES: [Architecture; 2] = [
    Architecture {
        audit: 0xc000_003e,
        calls: || Calls::of(syscalls::x86_64::Sysno::iter().map(|call| (call.name(), call.id()))),
        end: Some(0x4000_0000),
    },
    Architecture {
        audit: 0x4000_0003,
        calls: || Calls::of(syscalls::x86::Sysno::iter().map(|call| (call.name(), call.id()))),
        end: None,
    },
];

#[cfg(target_arch = "aarch64")]
const ARCHITECTURES: [Architecture; 2] = [
    Architecture {
        audit: 0xc000_00b7,
        calls: || Calls::of(syscalls::aarch64::Sysno::iter().map(|call| (call.name(), call.id()))),
        end: None,
    },
    Architecture {
        audit: 0x4000_0028,
        calls: || Calls::of(syscalls::arm::Sysno::iter().map(|call| (call.name(), call.id()))),
        end: None,
    },
];

/// The calls of an architecture by name: the crate's own look-up tries every name in turn.
struct Calls(Vec<(&'static str, u32)>);

impl Calls {
    fn of(calls: impl Iterator<Item = (&'static str, i32)>) -> Self {
        let mut calls: Vec<_> = calls.map(|(name, id)| (name, id.cast_unsigned())).collect();
        calls.sort_unstable();
        Self(calls)
    }

    fn number(&self, name: &str) -> Option<u32> {
        let place = self.0.binary_search_by_key(&name, |(known, _)| known).ok()?;
        Some(self.0[place].1)
    }
}

/// What the compiler makes of the default rules for a container with the default capabilities, as
/// the kernel takes it: compiling takes a tenth of a start.
#[cfg(target_arch = "x86_64")]
const SHIPPED: &[u8] = include_bytes!("default.x86_64.bpf");
#[cfg(not(target_arch = "x86_64"))]
const SHIPPED: &[u8] = &[];

impl Profile {
    /// The program for a container with these capabilities.
    pub fn compile(&self, held: CapabilitySet) -> Result<Program, Error> {
        match self {
            Self::Default if !SHIPPED.is_empty() && held == CapabilitySet::docker_default() => {
                Ok(shipped())
            }
            Self::Default => {
                let program = Rules::docker_default().compile(held)?;
                Ok(Program { is_default: true, ..program })
            }
            Self::Own(rules) => rules.compile(held),
        }
    }
}

fn shipped() -> Program {
    let instructions = SHIPPED.chunks_exact(8).map(|bytes| Instruction {
        code: u16::from_le_bytes([bytes[0], bytes[1]]),
        jump_true: bytes[2],
        jump_false: bytes[3],
        operand: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    });
    Program { instructions: instructions.collect(), flags: 0, is_default: true }
}

impl Rules {
    /// The program for a container with these capabilities.
    pub(super) fn compile(&self, held: CapabilitySet) -> Result<Program, Error> {
        let rules: Vec<&Rule> = self.rules.iter().filter(|rule| rule.counts(held)).collect();
        let mut program = Assembler::default();
        program.push(LOAD, ARCHITECTURE);
        let counted = if self.compat { 2 } else { 1 };
        for architecture in &ARCHITECTURES[..counted] {
            let skip = program.branch(JUMP_EQUAL, architecture.audit);
            program.push(LOAD, NUMBER);
            if let Some(end) = architecture.end {
                let below = program.branch(JUMP_GREATER_OR_EQUAL, end);
                program.answer(ENOSYS);
                program.land(below);
            }
            let ranges = ranges(&rules, architecture, self.default);
            program.search(&ranges, self.default);
            program.land(skip);
        }
        program.answer(Action::KillProcess);
        let instructions = shorten(&program.0);
        match instructions.len() {
            length if length > MOST => Err(Error::TooLong(length)),
            _ => Ok(Program { instructions, flags: self.flags, is_default: false }),
        }
    }
}

/// Consecutive numbers, from `first` to the next range's, that are answered alike.
#[derive(Debug, PartialEq, Eq)]
struct Range<'a> {
    first: u32,
    answer: Answer<'a>,
}

/// An action, or conditions to be tried in order, with the action where none holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer<'a> {
    Plain(Action),
    Tried(Vec<(&'a [Condition], Action)>, Action),
}

fn ranges<'a>(rules: &[&'a Rule], architecture: &Architecture, default: Action) -> Vec<Range<'a>> {
    let known = (architecture.calls)();
    let mut calls: Vec<(u32, usize)> = Vec::with_capacity(512);
    for (place, rule) in rules.iter().enumerate() {
        let numbers = rule.names.iter().filter_map(|name| known.number(name));
        calls.extend(numbers.map(|number| (number, place)));
    }
    calls.sort_unstable();
    let mut ranges = vec![Range { first: 0, answer: Answer::Plain(default) }];
    let mut push = |first: u32, answer: Answer<'a>| {
        // One that begins where the last did takes its place; one like the last widens it.
        if ranges.last().is_some_and(|last: &Range<'_>| last.first == first) {
            ranges.pop();
        }
        if ranges.last().is_none_or(|last| last.answer != answer) {
            ranges.push(Range { first, answer });
        }
    };
    for group in calls.chunk_by(|one, other| one.0 == other.0) {
        let places = group.iter().map(|(_, place)| rules[*place]);
        push(group[0].0, answer(places, default));
        push(group[0].0 + 1, Answer::Plain(default));
    }
    ranges
}

/// The rules for one call, up to the first without a condition: nothing behind it can match.
fn answer<'a>(rules: impl Iterator<Item = &'a Rule>, default: Action) -> Answer<'a> {
    let mut tried = Vec::new();
    let mut otherwise = default;
    for rule in rules {
        if rule.conditions.is_empty() {
            otherwise = rule.action;
            break;
        }
        tried.push((rule.conditions.as_slice(), rule.action));
    }
    if tried.is_empty() { Answer::Plain(otherwise) } else { Answer::Tried(tried, otherwise) }
}

/// Instructions with forward jumps that are filled in when their target is reached.
#[derive(Default)]
struct Assembler(Vec<Instruction>);

/// A jump whose target is not yet known.
#[derive(Clone, Copy)]
struct Pending(usize);

impl Assembler {
    fn push(&mut self, code: u16, operand: u32) {
        self.0.push(Instruction { code, jump_true: 0, jump_false: 0, operand });
    }

    fn answer(&mut self, action: Action) {
        let operand = match action {
            Action::KillProcess => 0x8000_0000,
            Action::KillThread => 0,
            Action::Trap => 0x0003_0000,
            Action::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Action::Trace(datum) => 0x7ff0_0000 | u32::from(datum),
            Action::Notify => NOTIFY,
            Action::Log => 0x7ffc_0000,
            Action::Allow => 0x7fff_0000,
        };
        self.push(RETURN, operand);
    }

    /// Goes on where the comparison holds, jumps where it does not. Conditional jumps reach 255
    /// instructions, plain ones all, so each is a short one over a plain one.
    fn branch(&mut self, code: u16, operand: u32) -> Pending {
        self.0.push(Instruction { code, jump_true: 1, jump_false: 0, operand });
        self.jump()
    }

    /// Goes on where the comparison fails, jumps where it holds.
    fn branch_unless(&mut self, code: u16, operand: u32) -> Pending {
        self.0.push(Instruction { code, jump_true: 0, jump_false: 1, operand });
        self.jump()
    }

    fn jump(&mut self) -> Pending {
        self.push(JUMP, 0);
        Pending(self.0.len() - 1)
    }

    /// The next instruction is where `pending` jumps.
    fn land(&mut self, pending: Pending) {
        let distance = self.0.len() - pending.0 - 1;
        // A program is at most 4096 instructions, and a longer one is refused.
        self.0[pending.0].operand = u32::try_from(distance).unwrap_or(u32::MAX);
    }

    fn search(&mut self, ranges: &[Range<'_>], default: Action) {
        match ranges {
            [] => self.answer(default),
            [range] => self.give(&range.answer),
            ranges => {
                let (low, high) = ranges.split_at(ranges.len() / 2);
                let upper = self.branch_unless(JUMP_GREATER_OR_EQUAL, high[0].first);
                self.search(low, default);
                self.land(upper);
                self.search(high, default);
            }
        }
    }

    fn give(&mut self, answer: &Answer<'_>) {
        match answer {
            Answer::Plain(action) => self.answer(*action),
            Answer::Tried(tried, otherwise) => {
                for (conditions, action) in tried {
                    let failed: Vec<Pending> =
                        conditions.iter().flat_map(|condition| self.condition(condition)).collect();
                    self.answer(*action);
                    for pending in failed {
                        self.land(pending);
                    }
                }
                self.answer(*otherwise);
            }
        }
    }

    /// Goes on where the condition holds; the jumps returned are taken where it does not.
    fn condition(&mut self, condition: &Condition) -> Vec<Pending> {
        let (upper, lower) = halves(condition.value);
        let offset = ARGUMENTS + 8 * u32::from(condition.index);
        // Both supported architectures are little-endian.
        let (lower_half, upper_half) = (offset, offset + 4);
        match condition.comparison {
            Comparison::Equal => {
                self.push(LOAD, upper_half);
                let one = self.branch(JUMP_EQUAL, upper);
                self.push(LOAD, lower_half);
                vec![one, self.branch(JUMP_EQUAL, lower)]
            }
            Comparison::MaskedEqual { mask } => {
                let (mask_upper, mask_lower) = halves(mask);
                let mut failed = Vec::new();
                for (place, mask, value) in
                    [(upper_half, mask_upper, upper), (lower_half, mask_lower, lower)]
                {
                    if mask == 0 && value == 0 {
                        continue;
                    }
                    self.push(LOAD, place);
                    self.push(AND, mask);
                    failed.push(self.branch(JUMP_EQUAL, value));
                }
                failed
            }
            Comparison::NotEqual => {
                let differs =
                    self.condition(&Condition { comparison: Comparison::Equal, ..*condition });
                self.refuse_here(differs)
            }
            Comparison::Greater => self.above(condition, JUMP_GREATER),
            Comparison::GreaterOrEqual => self.above(condition, JUMP_GREATER_OR_EQUAL),
            Comparison::LessOrEqual => {
                let below = self.above(condition, JUMP_GREATER);
                self.refuse_here(below)
            }
            Comparison::Less => {
                let below = self.above(condition, JUMP_GREATER_OR_EQUAL);
                self.refuse_here(below)
            }
        }
    }

    /// Turns a condition round: what went on here fails, what jumped goes on.
    fn refuse_here(&mut self, holds: Vec<Pending>) -> Vec<Pending> {
        let failed = self.jump();
        for pending in holds {
            self.land(pending);
        }
        vec![failed]
    }

    /// `argument > value`, or `>=` by the comparison of the lower halves.
    fn above(&mut self, condition: &Condition, lower_comparison: u16) -> Vec<Pending> {
        let (upper, lower) = halves(condition.value);
        let offset = ARGUMENTS + 8 * u32::from(condition.index);
        self.push(LOAD, offset + 4);
        let certain = self.branch_unless(JUMP_GREATER, upper);
        let below = self.branch(JUMP_EQUAL, upper);
        self.push(LOAD, offset);
        let not_above = self.branch(lower_comparison, lower);
        self.land(certain);
        vec![below, not_above]
    }
}

/// The same program without the plain jumps that its conditional ones can make themselves, and with
/// as few endings as their reach allows: loading takes the kernel time by the instruction.
fn shorten(program: &[Instruction]) -> Vec<Instruction> {
    let mut short = shorten_once(program);
    loop {
        // What was left out brings more into reach.
        let shorter = shorten_once(&short);
        if shorter.len() == short.len() {
            return shorter;
        }
        short = shorter;
    }
}

fn shorten_once(program: &[Instruction]) -> Vec<Instruction> {
    let wide = |short: u8| usize::from(short);
    let end = |from: usize| {
        let mut at = from;
        while program[at].code == JUMP {
            at += 1 + program[at].operand as usize;
        }
        at
    };
    // Where each answer stands.
    let mut endings: Vec<(u32, Vec<usize>)> = Vec::new();
    for (at, Instruction { operand, .. }) in
        program.iter().enumerate().filter(|(_, one)| one.code == RETURN)
    {
        match endings.iter_mut().find(|(answer, _)| answer == operand) {
            Some((_, places)) => places.push(at),
            None => endings.push((*operand, vec![at])),
        }
    }
    // The last in reach that says the same: many meet there.
    let same = |at: usize, to: usize| {
        let Instruction { code, operand, .. } = program[to];
        let found = endings.iter().find(|(answer, _)| code == RETURN && *answer == operand);
        let (_, places) = found?;
        let beyond = places.partition_point(|place| *place <= at + 1 + wide(u8::MAX));
        places[..beyond].last().copied()
    };
    // Whatever is left out lies between, so that what is in reach here is so in the end.
    let reach = |at: usize, short: u8| {
        let (direct, end) = (at + 1 + wide(short), end(at + 1 + wide(short)));
        if let Some(place) = same(at, end) {
            return place;
        }
        if end - at - 1 > wide(u8::MAX) { direct } else { end }
    };
    // Where each instruction goes on, and whether anything leads to it: jumps lead forward only.
    let mut next = Vec::with_capacity(program.len());
    let mut reached = vec![false; program.len() + 1];
    reached[0] = true;
    for (at, Instruction { code, jump_true, jump_false, .. }) in program.iter().enumerate() {
        let (holds, fails) = match *code {
            JUMP => (end(at), end(at)),
            JUMP_EQUAL | JUMP_GREATER | JUMP_GREATER_OR_EQUAL => {
                (reach(at, *jump_true), reach(at, *jump_false))
            }
            _ => (at + 1, at + 1),
        };
        if reached[at] && *code != RETURN {
            reached[holds] = true;
            reached[fails] = true;
        }
        next.push((holds, fails));
    }
    // An instruction's place among those that stay.
    let mut places = Vec::with_capacity(program.len() + 1);
    let mut count = 0;
    for reached in &reached {
        places.push(count);
        count += usize::from(*reached);
    }
    let distance = |at: usize, to: usize| places[to] - places[at] - 1;
    let short = |at, to| u8::try_from(distance(at, to)).unwrap_or(u8::MAX);
    let kept = program.iter().zip(next).enumerate().filter(|(at, _)| reached[*at]);
    kept.map(|(at, (instruction, (holds, fails)))| match instruction.code {
        JUMP => Instruction {
            operand: u32::try_from(distance(at, holds)).unwrap_or(u32::MAX),
            ..*instruction
        },
        JUMP_EQUAL | JUMP_GREATER | JUMP_GREATER_OR_EQUAL => Instruction {
            jump_true: short(at, holds),
            jump_false: short(at, fails),
            ..*instruction
        },
        _ => *instruction,
    })
    .collect()
}

fn halves(value: u64) -> (u32, u32) {
    #[allow(clippy::cast_possible_truncation)] // the halves are what is wanted
    let (upper, lower) = ((value >> 32) as u32, value as u32);
    (upper, lower)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::interpret::{Call, run};
    use super::*;

    /// What the profile means for a call, read from its rules alone.
    fn meaning(profile: &Rules, held: CapabilitySet, name: &str, arguments: [u64; 6]) -> Action {
        let holds = |condition: &Condition| {
            let (argument, value) = (arguments[usize::from(condition.index)], condition.value);
            match condition.comparison {
                Comparison::Equal => argument == value,
                Comparison::NotEqual => argument != value,
                Comparison::Less => argument < value,
                Comparison::LessOrEqual => argument <= value,
                Comparison::Greater => argument > value,
                Comparison::GreaterOrEqual => argument >= value,
                Comparison::MaskedEqual { mask } => argument & mask == value,
            }
        };
        let matching = profile.rules.iter().find(|rule| {
            rule.counts(held)
                && rule.names.iter().any(|known| known == name)
                && rule.conditions.iter().all(holds)
        });
        matching.map_or(profile.default, |rule| rule.action)
    }

    #[cfg(target_arch = "x86_64")]
    fn check_all(profile: &Rules, held: CapabilitySet) {
        let program = profile.compile(held).expect("a program");
        let samples = [0, 1, 2, 8, 38, 40, 0x5412, 0x541c, 0x1000_0000, 0x1_0000_0026, u64::MAX];
        for sample in samples {
            let arguments = [sample; 6];
            for call in syscalls::x86_64::Sysno::iter() {
                let number = call.id().cast_unsigned();
                let got = run(&program, &Call { number, audit: 0xc000_003e, arguments });
                assert_eq!(
                    got,
                    meaning(profile, held, call.name(), arguments),
                    "{call} {sample:x}"
                );
            }
            for call in syscalls::x86::Sysno::iter() {
                let number = call.id().cast_unsigned();
                let got = run(&program, &Call { number, audit: 0x4000_0003, arguments });
                assert_eq!(
                    got,
                    meaning(profile, held, call.name(), arguments),
                    "{call} {sample:x}"
                );
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_program_means_what_the_default_profile_says_for_every_call() {
        let profile = Rules::docker_default();
        check_all(&profile, CapabilitySet::docker_default());
        check_all(&profile, CapabilitySet::ALL);
        check_all(&profile, CapabilitySet::EMPTY);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_shipped_program_is_what_the_compiler_makes() {
        let held = CapabilitySet::docker_default();
        let made = Rules::docker_default().compile(held).expect("a program");
        let shipped = Profile::Default.compile(held).expect("a program");
        assert!(shipped.lets_a_start_go_on() && !made.lets_a_start_go_on());
        assert!(
            shipped.instructions() == made.instructions() && shipped.flags() == made.flags(),
            "default.x86_64.bpf is old: `cargo test --lib writes_the_shipped_program -- --ignored`"
        );
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    #[ignore = "for who changes the rules"]
    fn writes_the_shipped_program() {
        let held = CapabilitySet::docker_default();
        let made = Rules::docker_default().compile(held).expect("a program");
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/runtime/seccomp/default.x86_64.bpf");
        let bytes: Vec<u8> = made.instructions.iter().copied().flat_map(bytes).collect();
        std::fs::write(file, bytes).expect("written");
    }

    #[cfg(target_arch = "x86_64")]
    fn bytes(instruction: Instruction) -> Vec<u8> {
        let Instruction { code, jump_true, jump_false, operand } = instruction;
        let (code, operand) = (code.to_le_bytes(), operand.to_le_bytes());
        [&code[..], &[jump_true, jump_false], &operand].concat()
    }

    #[test]
    fn no_jump_leads_to_a_jump_that_it_could_make_itself() {
        let profile = Rules::docker_default();
        let program = profile.compile(CapabilitySet::docker_default()).expect("a program");
        let code = |at: usize| program.instructions.get(at).map(|instruction| instruction.code);
        let jumps = program.instructions.iter().filter(|one| one.code == JUMP).count();
        assert!(jumps * 20 < program.instructions.len(), "{jumps} of {program:?}");
        for (at, instruction) in program.instructions.iter().enumerate() {
            if instruction.code == JUMP {
                assert_ne!(code(at + 1 + instruction.operand as usize), Some(JUMP), "{at}");
            }
        }
    }

    #[test]
    fn what_is_dangerous_is_refused_by_default() {
        let profile = Rules::docker_default();
        let held = CapabilitySet::docker_default();
        let eperm = super::super::default::EPERM;
        let zero = [0; 6];
        for name in [
            "mount",
            "umount2",
            "open_tree",
            "move_mount",
            "setns",
            "unshare",
            "keyctl",
            "add_key",
            "request_key",
            "mbind",
            "io_uring_setup",
            "io_uring_enter",
            "bpf",
            "perf_event_open",
            "kexec_load",
            "userfaultfd",
            "init_module",
            "swapon",
            "reboot",
            "socketcall",
            "nosuch",
        ] {
            assert_eq!(meaning(&profile, held, name, zero), eperm, "{name}");
        }
        let int = |value: u64| [value, value, 0, 0, 0, 0];
        assert_eq!(meaning(&profile, held, "clone", int(0x1000_0000)), eperm);
        assert_eq!(meaning(&profile, held, "clone", int(0x11)), Action::Allow);
        assert_eq!(meaning(&profile, held, "clone3", zero), ENOSYS);
        // An upper half does not hide the family or the request.
        assert_eq!(meaning(&profile, held, "socket", int(0x1_0000_0026)), eperm);
        assert_eq!(meaning(&profile, held, "socket", int(40)), eperm);
        assert_eq!(meaning(&profile, held, "socket", int(2)), Action::Allow);
        assert_eq!(meaning(&profile, held, "ioctl", int(0x1_0000_5412)), eperm);
        assert_eq!(meaning(&profile, held, "ioctl", int(0x5401)), Action::Allow);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn other_architectures_and_x32_do_not_get_through() {
        let program =
            Rules::docker_default().compile(CapabilitySet::docker_default()).expect("a program");
        let call = |number, audit| run(&program, &Call { number, audit, arguments: [0; 6] });
        assert_eq!(call(0, 0xc000_00b7), Action::KillProcess);
        let x32 = ENOSYS;
        assert_eq!(call(0x4000_0000, 0xc000_003e), x32);
        assert_eq!(call(u32::MAX, 0xc000_003e), x32);
    }

    #[test]
    fn every_comparison_holds_where_it_says() {
        let values = [0, 1, 5, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0005, u64::MAX];
        let comparisons = [
            Comparison::Equal,
            Comparison::NotEqual,
            Comparison::Less,
            Comparison::LessOrEqual,
            Comparison::Greater,
            Comparison::GreaterOrEqual,
            Comparison::MaskedEqual { mask: 0xffff_0000_ffff },
        ];
        for comparison in comparisons {
            for value in values {
                let profile = Rules {
                    default: Action::Log,
                    rules: vec![Rule {
                        names: vec!["read".into()],
                        action: Action::Allow,
                        conditions: vec![Condition { index: 2, comparison, value }],
                        with: CapabilitySet::EMPTY,
                        without: CapabilitySet::EMPTY,
                    }],
                    flags: 0,
                    compat: true,
                    agent: None,
                };
                let program = profile.compile(CapabilitySet::EMPTY).expect("a program");
                let native = &ARCHITECTURES[0];
                for argument in values {
                    let number = (native.calls)().number("read").expect("read");
                    let arguments = [0, 0, argument, 0, 0, 0];
                    let got = run(&program, &Call { number, audit: native.audit, arguments });
                    let want = meaning(&profile, CapabilitySet::EMPTY, "read", arguments);
                    assert_eq!(got, want, "{argument:x} {comparison:?} {value:x}");
                }
            }
        }
    }
}
