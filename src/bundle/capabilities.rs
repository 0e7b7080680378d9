//! Capabilities: names, sets, docker's default (capabilities(7)).

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Error;

/// The kernel's names, in the order of their numbers (linux/capability.h).
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// What docker leaves a container (moby `oci/caps/defaults.go`).
const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// One past the highest capability known here.
pub const COUNT: u32 = 41;

/// Some capabilities, a bit each.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// None.
    pub const EMPTY: Self = Self(0);
    /// All that are known here.
    pub const ALL: Self = Self((1 << COUNT) - 1);

    /// Docker's default.
    pub fn docker_default() -> Self {
        DEFAULT.iter().filter_map(|name| Self::named(name)).fold(Self::EMPTY, Self::with)
    }

    /// The default with `--cap-add` and `--cap-drop`, as docker joins them: `ALL` to add starts from
    /// all, `ALL` to drop from none, and what is named goes before what `ALL` says. What is both added
    /// and dropped is refused, as podman does. `--privileged` is all of them, whatever is dropped.
    pub fn requested(privileged: bool, add: &[String], drop: &[String]) -> Result<Self, Error> {
        let (add_all, added) = read(add)?;
        let (drop_all, dropped) = read(drop)?;
        if privileged {
            return Ok(Self::ALL);
        }
        if add_all && drop_all {
            return Err(Error::AddedAndDropped { capability: "ALL".to_owned() });
        }
        if let Some(capability) = Self(added.0 & dropped.0).names().first().cloned() {
            return Err(Error::AddedAndDropped { capability });
        }
        Ok(match (add_all, drop_all) {
            (true, _) => Self::ALL.without(dropped),
            (false, true) => added,
            (false, false) => Self::docker_default().without(dropped).with(added),
        })
    }

    /// The set of one capability, by its kernel name.
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().position(|known| *known == name).map(|number| Self(1 << number))
    }

    /// The bits, that of capability n at 2^n.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Whether all of `other` are in the set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This without the other.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The kernel's names, in the order of their numbers.
    pub fn names(self) -> Vec<String> {
        let held = |number: &usize| self.0 & (1 << number) != 0;
        (0..NAMES.len()).filter(held).map(|number| NAMES[number].to_owned()).collect()
    }
}

impl fmt::Debug for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// The bits in hexadecimal, as `/proc/PID/status` has them: names would be half of a container's
/// record, and a list of containers reads a thousand of these.
impl Serialize for CapabilitySet {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{:x}", self.0))
    }
}

impl<'de> Deserialize<'de> for CapabilitySet {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Bits)
    }
}

/// Reads the bits, or the names that were written in their place once.
struct Bits;

impl<'de> Visitor<'de> for Bits {
    type Value = CapabilitySet;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a set of capabilities in hexadecimal, or their names")
    }

    fn visit_str<E: serde::de::Error>(self, bits: &str) -> Result<CapabilitySet, E> {
        let set = u64::from_str_radix(bits, 16).map(CapabilitySet).ok();
        set.filter(|set| CapabilitySet::ALL.contains(*set))
            .ok_or_else(|| E::custom(format_args!("no set of capabilities: {bits:?}")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<CapabilitySet, A::Error> {
        let mut set = CapabilitySet::EMPTY;
        while let Some(name) = names.next_element::<String>()? {
            let one = CapabilitySet::named(&name);
            let unknown = || A::Error::custom(format_args!("unknown capability {name:?}"));
            set = set.with(one.ok_or_else(unknown)?);
        }
        Ok(set)
    }
}

/// The five sets of a process (capabilities(7), "Thread capability sets").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// What it and all it becomes can ever have.
    pub bounding: CapabilitySet,
    /// What counts now.
    pub effective: CapabilitySet,
    /// What it may make effective.
    pub permitted: CapabilitySet,
    /// What a file may keep for it over execve(2).
    #[serde(skip_serializing_if = "super::is_nothing")]
    pub inheritable: CapabilitySet,
    /// What it keeps over execve(2) by itself.
    #[serde(skip_serializing_if = "super::is_nothing")]
    pub ambient: CapabilitySet,
}

impl Capabilities {
    /// What docker gives a user: root holds the set, another user only may get it from a file. The
    /// inheritable and ambient sets stay empty (CVE-2022-29162 and its kin).
    pub fn of_user(set: CapabilitySet, uid: u32) -> Self {
        let held = if uid == 0 { set } else { CapabilitySet::EMPTY };
        Self { bounding: set, effective: held, permitted: held, ..Self::default() }
    }
}

/// Whether `ALL` is among the names, and the set of the others.
fn read(names: &[String]) -> Result<(bool, CapabilitySet), Error> {
    let (mut all, mut set) = (false, CapabilitySet::EMPTY);
    for name in names {
        let upper = name.trim().to_ascii_uppercase();
        if upper == "ALL" || upper == "CAP_ALL" {
            all = true;
            continue;
        }
        let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
        let one = CapabilitySet::named(&full).ok_or_else(|| Error::UnknownCapability {
            name: name.clone(),
            nearest: nearest(&full),
        })?;
        set = set.with(one);
    }
    Ok((all, set))
}

/// The known name that shares most with a wrong one, if it shares enough.
fn nearest(wrong: &str) -> Option<String> {
    let shared = |name: &str| {
        let pairs = |text: &str| {
            text.as_bytes().windows(2).map(|pair| [pair[0], pair[1]]).collect::<Vec<_>>()
        };
        let (ours, theirs) = (pairs(&name[4..]), pairs(wrong.get(4..).unwrap_or_default()));
        ours.iter().filter(|pair| theirs.contains(pair)).count() * 200
            / (ours.len() + theirs.len()).max(1)
    };
    let best = NAMES.iter().max_by_key(|name| shared(name))?;
    (shared(best) >= 60).then(|| (*best).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requested(add: &[&str], drop: &[&str]) -> Result<CapabilitySet, Error> {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        CapabilitySet::requested(false, &own(add), &own(drop))
    }

    #[test]
    fn the_default_is_dockers() {
        assert_eq!(CapabilitySet::docker_default().bits(), 0xa804_25fb);
    }

    #[test]
    fn adding_and_dropping_follow_docker() {
        let named = |name: &str| CapabilitySet::named(name).expect(name);
        let set = requested(&["sys_time"], &["CAP_CHOWN"]).expect("a set");
        assert!(set.contains(named("CAP_SYS_TIME")) && !set.contains(named("CAP_CHOWN")));
        let only = requested(&["NET_ADMIN"], &["ALL"]).expect("a set");
        assert_eq!(only, named("CAP_NET_ADMIN"));
        let most = requested(&["all"], &["mknod"]).expect("a set");
        assert_eq!(most, CapabilitySet::ALL.without(named("CAP_MKNOD")));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (add, drop, expected) in [
            (&["ALL"][..], &["all"][..], "ALL"),
            (&["kill", "CHOWN"], &["CAP_CHOWN", "ALL"], "CAP_CHOWN"),
        ] {
            match requested(add, drop) {
                Err(Error::AddedAndDropped { capability }) => assert_eq!(capability, expected),
                other => panic!("{other:?}"),
            }
        }
        let drop = ["ALL".to_owned()];
        let all = CapabilitySet::requested(true, &[], &drop).expect("privileged");
        assert_eq!(all, CapabilitySet::ALL);
    }

    #[test]
    fn sets_are_written_as_bits_and_read_as_names_too() {
        let sets = Capabilities::of_user(CapabilitySet::docker_default(), 0);
        let text = serde_json::to_string(&sets).expect("JSON");
        let bits = "\"a80425fb\"";
        assert_eq!(text, format!(r#"{{"bounding":{bits},"effective":{bits},"permitted":{bits}}}"#));
        let read = |text: &str| serde_json::from_str::<Capabilities>(text).ok();
        assert_eq!(read(&text), Some(sets));
        let names = r#"{"bounding":["CAP_KILL","CAP_BPF"],"ambient":[]}"#;
        let bounding = CapabilitySet(1 << 5 | 1 << 39);
        assert_eq!(read(names), Some(Capabilities { bounding, ..Capabilities::default() }));
        for wrong in [r#""x""#, r#""20000000000""#, r#"["CAP_NOPE"]"#, "1"] {
            assert_eq!(read(&format!(r#"{{"bounding":{wrong}}}"#)), None, "{wrong}");
        }
    }

    #[test]
    fn a_wrong_name_is_told_with_the_right_one() {
        match requested(&["SYS_ADMN"], &[]) {
            Err(Error::UnknownCapability { nearest, .. }) => {
                assert_eq!(nearest.as_deref(), Some("CAP_SYS_ADMIN"));
            }
            other => panic!("{other:?}"),
        }
    }
}
