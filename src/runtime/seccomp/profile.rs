//! What a profile says: which calls, under which conditions, with which answer.

use std::borrow::Cow;
use std::path::PathBuf;

use crate::bundle::capabilities::CapabilitySet;

/// The answer to a system call (seccomp(2), `SECCOMP_RET_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It runs.
    Allow,
    /// It fails with this errno.
    Errno(u16),
    /// The process is killed.
    KillProcess,
    /// The thread is killed.
    KillThread,
    /// `SIGSYS`
    Trap,
    /// It runs and is logged.
    Log,
    /// A tracer is told, with this datum.
    Trace(u16),
    /// An agent answers (`Agent`).
    Notify,
}

/// Who is handed the listener by which calls are answered (runtime-spec, config-linux.md, "Seccomp").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// `listenerPath`: where it listens on the host.
    pub path: PathBuf,
    /// `listenerMetadata`: what it is told besides.
    pub metadata: Option<String>,
}

/// How an argument is compared, as 64 bits without sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `argument == value`
    Equal,
    /// `argument != value`
    NotEqual,
    /// `argument < value`
    Less,
    /// `argument <= value`
    LessOrEqual,
    /// `argument > value`
    Greater,
    /// `argument >= value`
    GreaterOrEqual,
    /// `argument & mask == value`
    MaskedEqual {
        /// The mask.
        mask: u64,
    },
}

/// A condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub index: u8,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub value: u64,
}

impl Condition {
    /// Compares the lower half alone: the kernel reads an `int` argument so, and a filter that looks
    /// at all 64 bits is passed by setting one of the upper.
    pub(super) const fn int(index: u8, value: u32) -> Self {
        let comparison = Comparison::MaskedEqual { mask: 0xffff_ffff };
        Self { index, comparison, value: value as u64 }
    }
}

/// Some calls that are answered alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Their names; one that this architecture does not have is no error.
    pub names: Vec<Cow<'static, str>>,
    /// The answer.
    pub action: Action,
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// Counts only where the container has all of these.
    pub with: CapabilitySet,
    /// Counts only where the container has none of these.
    pub without: CapabilitySet,
}

/// What a filter is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Docker's default, and what this project refuses besides (`Rules::docker_default`).
    Default,
    /// The user's own.
    Own(Rules),
}

impl Profile {
    /// Who is handed the listener of the filter, where it has one.
    pub fn agent(&self) -> Option<&Agent> {
        match self {
            Self::Default => None,
            Self::Own(rules) => rules.agent.as_ref(),
        }
    }
}

/// Rules in order, the first that matches answers; an answer for the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The answer where no rule matches.
    pub default: Action,
    /// The rules.
    pub rules: Vec<Rule>,
    /// `SECCOMP_FILTER_FLAG_*`
    pub flags: u32,
    /// Whether 32-bit programs may run.
    pub compat: bool,
    /// Who answers what `Action::Notify` is for; none where there is no such rule.
    pub agent: Option<Agent>,
}

impl Rule {
    /// Whether the rule counts for a container with these capabilities.
    pub(super) fn counts(&self, held: CapabilitySet) -> bool {
        held.contains(self.with) && held.without(self.without) == held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_takes_all_it_includes_and_none_it_excludes() {
        let named = |name: &str| CapabilitySet::named(name).expect(name);
        let (admin, bpf) = (named("CAP_SYS_ADMIN"), named("CAP_BPF"));
        let rule = |with, without| Rule {
            names: Vec::new(),
            action: Action::Allow,
            conditions: Vec::new(),
            with,
            without,
        };
        let both = admin.with(bpf);
        assert!(!rule(both, CapabilitySet::EMPTY).counts(admin));
        assert!(rule(both, CapabilitySet::EMPTY).counts(both));
        // One of those excluded is enough, as in moby's seccomp_linux.go.
        assert!(!rule(CapabilitySet::EMPTY, both).counts(bpf));
        assert!(rule(CapabilitySet::EMPTY, both).counts(CapabilitySet::EMPTY));
    }
}
