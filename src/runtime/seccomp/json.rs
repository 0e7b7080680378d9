//! Docker's JSON form of a profile (moby `profiles/seccomp/seccomp.go`).

use std::borrow::Cow;

use serde::Deserialize;

use super::Error;
use super::profile::{Action, Agent, Comparison, Condition, Rule, Rules};
use crate::bundle::capabilities::CapabilitySet;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    default_action: String,
    default_errno_ret: Option<u64>,
    #[serde(rename = "defaultErrno")]
    _default_errno: Option<String>,
    #[serde(default)]
    arch_map: Vec<Kin>,
    #[serde(default)]
    architectures: Vec<String>,
    flags: Option<Vec<String>>,
    listener_path: Option<String>,
    listener_metadata: Option<String>,
    #[serde(default)]
    syscalls: Vec<Entry>,
}

/// An architecture, and others whose programs it runs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kin {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

impl Kin {
    fn names(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.architecture).chain(self.sub_architectures.iter().flatten())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    name: Option<String>,
    #[serde(default)]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u64>,
    #[serde(rename = "errno")]
    _errno: Option<String>,
    args: Option<Vec<Argument>>,
    #[serde(rename = "comment")]
    _comment: Option<String>,
    includes: Option<Only>,
    excludes: Option<Only>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Argument {
    index: u64,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Only {
    caps: Vec<String>,
    arches: Vec<String>,
    min_kernel: Option<String>,
}

impl Rules {
    /// Reads a profile in docker's JSON form. What this binary cannot honour is an error.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        let file: File = serde_json::from_slice(bytes)?;
        let agent = agent(&file)?;
        let mut flags = 0;
        for flag in file.flags.into_iter().flatten() {
            flags |= match flag.as_str() {
                // For all threads, of which the loading process has one; a listener is not for all.
                "SECCOMP_FILTER_FLAG_TSYNC" if agent.is_some() => 0,
                "SECCOMP_FILTER_FLAG_TSYNC" => 1,
                "SECCOMP_FILTER_FLAG_LOG" => 1 << 1,
                "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => 1 << 2,
                // The kernel takes it with a listener alone (seccomp(2)).
                "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" if agent.is_none() => 0,
                "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => 1 << 5,
                _ => return Err(Error::Unknown { what: "flag", text: flag }),
            };
        }
        let kin = file.arch_map.iter().flat_map(Kin::names);
        if let Some(name) =
            file.architectures.iter().chain(kin).find(|name| !KNOWN.contains(&name.as_str()))
        {
            return Err(Error::Unknown { what: "architecture", text: name.clone() });
        }
        let mapped = file.arch_map.iter().filter(|kin| kin.architecture == NATIVE);
        let kin = mapped.flat_map(|kin| kin.sub_architectures.iter().flatten());
        let listed: Vec<&String> = file.architectures.iter().chain(kin).collect();
        // Naming none leaves it to the machine: its own, and its 32-bit kin.
        let none_named = file.architectures.is_empty() && file.arch_map.is_empty();
        let compat = none_named || listed.iter().any(|name| *name == COMPAT);
        let mut rules = Vec::new();
        for entry in file.syscalls {
            rules.extend(rule(entry)?);
        }
        // The first that matches answers, so that conditions go before what has none.
        rules.sort_by_key(|rule: &Rule| rule.conditions.is_empty());
        let default = action(&file.default_action, file.default_errno_ret)?;
        Ok(Self { default, rules, flags, compat, agent })
    }
}

/// Who answers the calls that are notified, where any are.
fn agent(file: &File) -> Result<Option<Agent>, Error> {
    /// By these the listener and the report of a failure leave the container: nobody could answer yet.
    const OWN: [&str; 2] = ["sendmsg", "write"];
    if file.default_action == NOTIFY {
        return Err(Error::Notify("as the default action".to_owned()));
    }
    let mut notified = file.syscalls.iter().filter(|entry| entry.action == NOTIFY).peekable();
    let metadata = file.listener_metadata.clone();
    let path = match &file.listener_path {
        Some(path) if !path.is_empty() => path.into(),
        _ if metadata.is_some() => {
            return Err(Error::Notify("with a listenerMetadata and no listenerPath".to_owned()));
        }
        _ if notified.peek().is_some() => {
            return Err(Error::Notify("without a listenerPath, where an agent listens".to_owned()));
        }
        _ => return Ok(None),
    };
    if notified.peek().is_none() {
        return Ok(None);
    }
    let mut names = notified.flat_map(|entry| entry.name.iter().chain(&entry.names));
    match names.find(|name| OWN.contains(&name.as_str())) {
        Some(name) => Err(Error::Notify(format!("for {name}, which hands the listener on"))),
        None => Ok(Some(Agent { path, metadata })),
    }
}

/// The rules of an entry; none where it is for another machine.
fn rule(entry: Entry) -> Result<Vec<Rule>, Error> {
    let (includes, excludes) =
        (entry.includes.unwrap_or_default(), entry.excludes.unwrap_or_default());
    let here = |arches: &[String]| arches.iter().any(|arch| ARCHES.contains(&arch.as_str()));
    if (!includes.arches.is_empty() && !here(&includes.arches)) || here(&excludes.arches) {
        return Ok(Vec::new());
    }
    let running = rustix::system::uname().release().to_string_lossy().into_owned();
    let reached = |wanted: &Option<String>| {
        wanted.as_ref().is_some_and(|wanted| version(&running) >= version(wanted))
    };
    if (includes.min_kernel.is_some() && !reached(&includes.min_kernel))
        || reached(&excludes.min_kernel)
    {
        return Ok(Vec::new());
    }
    let arguments = entry.args.unwrap_or_default();
    let conditions = arguments.iter().map(condition).collect::<Result<Vec<Condition>, Error>>()?;
    let rule = Rule {
        names: entry.name.into_iter().chain(entry.names).map(Cow::Owned).collect(),
        action: action(&entry.action, entry.errno_ret)?,
        conditions: Vec::new(),
        with: capabilities(&includes.caps)?,
        without: capabilities(&excludes.caps)?,
    };
    let mut seen = 0_u8;
    let twice = conditions.iter().any(|condition| {
        let again = seen & (1 << condition.index) != 0;
        seen |= 1 << condition.index;
        again
    });
    // Several conditions on one argument are alternatives, as runc reads them.
    Ok(if twice {
        let one = |condition| Rule { conditions: vec![condition], ..rule.clone() };
        conditions.into_iter().map(one).collect()
    } else {
        vec![Rule { conditions, ..rule }]
    })
}

const NOTIFY: &str = "SCMP_ACT_NOTIFY";

/// What fails without an errno of its own fails with this (libseccomp's default in docker).
const EPERM: u16 = 1;

#[cfg(target_arch = "x86_64")]
const NATIVE: &str = "SCMP_ARCH_X86_64";
#[cfg(target_arch = "x86_64")]
const COMPAT: &str = "SCMP_ARCH_X86";
#[cfg(target_arch = "aarch64")]
const NATIVE: &str = "SCMP_ARCH_AARCH64";
#[cfg(target_arch = "aarch64")]
const COMPAT: &str = "SCMP_ARCH_ARM";

/// Every architecture that has a name (runtime-spec, config-linux.md, "Seccomp"; libseccomp 2.6).
/// Rules for another than this machine's never come to bear here.
const KNOWN: [&str; 24] = [
    "SCMP_ARCH_NATIVE",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
];

#[cfg(target_arch = "x86_64")]
const ARCHES: [&str; 2] = ["amd64", "x86_64"];
#[cfg(target_arch = "aarch64")]
const ARCHES: [&str; 2] = ["arm64", "aarch64"];

fn version(text: &str) -> (u32, u32) {
    let mut numbers = text.split(|letter: char| !letter.is_ascii_digit()).map(str::parse);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    (next(), next())
}

fn capabilities(names: &[String]) -> Result<CapabilitySet, Error> {
    names.iter().try_fold(CapabilitySet::EMPTY, |set, name| {
        let one = CapabilitySet::named(name)
            .ok_or_else(|| Error::Unknown { what: "capability", text: name.clone() })?;
        Ok(set.with(one))
    })
}

fn action(name: &str, errno: Option<u64>) -> Result<Action, Error> {
    let datum = |default: u16| match errno {
        None => Ok(default),
        // MAX_ERRNO
        Some(value) => u16::try_from(value)
            .ok()
            .filter(|value| *value <= 4095)
            .ok_or(Error::Range { what: "errnoRet", value }),
    };
    Ok(match name {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_ERRNO" => Action::Errno(datum(EPERM)?),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_TRACE" => Action::Trace(datum(0)?),
        NOTIFY => Action::Notify,
        other => return Err(Error::Unknown { what: "action", text: other.to_owned() }),
    })
}

fn condition(argument: &Argument) -> Result<Condition, Error> {
    let index = u8::try_from(argument.index)
        .ok()
        .filter(|index| *index < 6)
        .ok_or(Error::Range { what: "argument index", value: argument.index })?;
    let (comparison, value) = match argument.op.as_str() {
        "SCMP_CMP_EQ" => (Comparison::Equal, argument.value),
        "SCMP_CMP_NE" => (Comparison::NotEqual, argument.value),
        "SCMP_CMP_LT" => (Comparison::Less, argument.value),
        "SCMP_CMP_LE" => (Comparison::LessOrEqual, argument.value),
        "SCMP_CMP_GT" => (Comparison::Greater, argument.value),
        "SCMP_CMP_GE" => (Comparison::GreaterOrEqual, argument.value),
        "SCMP_CMP_MASKED_EQ" => {
            (Comparison::MaskedEqual { mask: argument.value }, argument.value_two)
        }
        other => return Err(Error::Unknown { what: "comparison", text: other.to_owned() }),
    };
    Ok(Condition { index, comparison, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_form_is_read() {
        let text = br#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"archMap":[],
            "syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"},
            {"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2114060288,
             "valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}],"excludes":{"caps":["CAP_SYS_ADMIN"]}},
            {"names":["arch_prctl"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["nosuch"]}},
            {"names":["ptrace"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"99.0"}}]}"#;
        let profile = Rules::from_json(text).expect("a profile");
        assert_eq!(profile.default, Action::Errno(38));
        assert_eq!(profile.rules.len(), 2);
        assert_eq!(profile.rules[0].names, ["clone"]);
        assert!(profile.compile(CapabilitySet::EMPTY).is_ok());
    }

    #[test]
    fn what_cannot_be_honoured_is_named() {
        for text in [
            r#"{"defaultAction":"SCMP_ACT_NOPE"}"#,
            r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","surprise":1}"#,
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":5000}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["x"],"action":"SCMP_ACT_ALLOW",
                "args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#,
            "[]",
        ] {
            assert!(Rules::from_json(text.as_bytes()).is_err(), "{text}");
        }
        for (field, name) in [
            (r#""listenerMetadata":"x""#, "a listenerMetadata and no listenerPath"),
            (
                r#""syscalls":[{"names":["x"],"action":"SCMP_ACT_NOTIFY"}]"#,
                "without a listenerPath",
            ),
            (
                r#""listenerPath":"/x","syscalls":[{"names":["x","write"],"action":"SCMP_ACT_NOTIFY"}]"#,
                "for write",
            ),
            (r#""architectures":["SCMP_ARCH_PDP11"]"#, "architecture \"SCMP_ARCH_PDP11\""),
            (r#""flags":["SECCOMP_FILTER_FLAG_NOPE"]"#, "\"SECCOMP_FILTER_FLAG_NOPE\""),
            (r#""syscalls":[{"names":["x"],"action":"SCMP_ACT_MAYBE"}]"#, "\"SCMP_ACT_MAYBE\""),
        ] {
            let text = format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW",{field}}}"#);
            let error = Rules::from_json(text.as_bytes()).expect_err(&text).to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn an_agent_answers_what_is_notified() {
        let text = br#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/agent","listenerMetadata":"m",
            "flags":["SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
            "syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]}"#;
        let profile = Rules::from_json(text).expect("a profile");
        assert_eq!(profile.rules[0].action, Action::Notify);
        let agent = Agent { path: "/run/agent".into(), metadata: Some("m".into()) };
        assert_eq!((profile.agent.as_ref(), profile.flags), (Some(&agent), 1 << 5));
        // Nothing is notified, so that nobody is handed anything.
        let text = br#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/agent",
            "flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}"#;
        let profile = Rules::from_json(text).expect("a profile");
        assert_eq!((profile.agent, profile.flags), (None, 0));
    }

    #[test]
    fn every_architecture_and_flag_has_a_name() {
        let text = format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","defaultErrno":"ENOSYS","architectures":{KNOWN:?},
            "flags":["SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_LOG",
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]}}"#
        );
        let profile = Rules::from_json(text.as_bytes()).expect("a profile");
        assert_eq!(profile.default, Action::Errno(EPERM));
        assert_eq!(profile.flags, 0b111);
        assert!(profile.compat);
    }
}
