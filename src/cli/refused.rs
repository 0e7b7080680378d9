//! Flags and commands of docker and podman that coracle knows and cannot honour. They are looked up only
//! when the command line does not parse: a run pays nothing for them.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Error;
use crate::diagnose::Hint;

/// A flag, why it cannot be honoured, and what can be had in its place.
type Row = (&'static str, &'static str, Option<&'static str>);

const WINDOWS: &str = "it is for containers of Windows";
const RESCTRL: &str = "resctrl(5) takes root of the host";
const NO_PODS: &str = "there are no pods";
const STARTUP: &str = "there is one kind of health check";

/// What `run` and `create` know.
const ROWS: [Row; 28] = [
    (
        "--cgroup-parent",
        "a container's group lies below coracle's own, where the user may make one",
        None,
    ),
    ("--cpu-count", WINDOWS, Some("--cpus")),
    ("--cpu-percent", WINDOWS, Some("--cpus")),
    ("--decryption-key", "encrypted layers are not read", None),
    ("--gpus", "a device of the host is shown by its path", Some("--device")),
    (
        "--health-log-destination",
        "the last checks are in the container's health, in coracle inspect",
        None,
    ),
    ("--health-max-log-count", "as in docker, the last five checks are kept", None),
    ("--health-max-log-size", "as in docker, 4096 bytes of each check are kept", None),
    ("--health-startup-cmd", STARTUP, Some("--health-start-period and --health-start-interval")),
    ("--health-startup-interval", STARTUP, Some("--health-start-interval")),
    ("--health-startup-retries", STARTUP, Some("--health-start-period")),
    ("--health-startup-success", STARTUP, Some("--health-start-period")),
    ("--health-startup-timeout", STARTUP, Some("--health-timeout")),
    ("--init-ctr", NO_PODS, None),
    ("--io-maxbandwidth", WINDOWS, Some("--device-read-bps and --device-write-bps")),
    ("--io-maxiops", WINDOWS, Some("--device-read-iops and --device-write-iops")),
    ("--isolation", WINDOWS, None),
    ("--link", "containers of one network know each other's names", Some("--network NAME")),
    ("--pod", NO_PODS, Some("--network container:NAME, and likewise --ipc and --pid")),
    ("--pod-id-file", NO_PODS, None),
    ("--rdt-class", RESCTRL, None),
    (
        "--runtime",
        "coracle is the OCI runtime of its containers",
        Some("podman --runtime, for others"),
    ),
    (
        "--sdnotify",
        "a container's messages do not reach the host's systemd",
        Some("coracle generate systemd"),
    ),
    ("--secret", "there is no store of secrets", Some("--mount type=bind,ro")),
    ("--seccomp-policy", "no profile is read from an image", Some("--security-opt seccomp=FILE")),
    (
        "--storage-opt",
        "a quota for one container takes root of the host; there is no other storage option",
        None,
    ),
    ("--use-api-socket", "there is no daemon, and so no socket of one", None),
    ("--volume-driver", "there is one kind of volume, local", None),
];

const SIGNING: &str = "images are not signed here";
const ENCRYPTION: &str = "layers are not encrypted or decrypted";

/// What commands that send know.
const PUSH: [Row; 7] = [
    ("--compress", "layers go into a directory as they are", Some("--compression-format")),
    ("--encrypt-layer", ENCRYPTION, None),
    ("--encryption-key", ENCRYPTION, None),
    ("--sign-by", SIGNING, Some("cosign sign, or skopeo copy --sign-by")),
    ("--sign-by-sigstore", SIGNING, Some("cosign sign")),
    ("--sign-by-sigstore-private-key", SIGNING, Some("cosign sign --key")),
    ("--sign-passphrase-file", SIGNING, None),
];

/// What commands that fetch know.
const PULL: [Row; 1] = [("--decryption-key", ENCRYPTION, None)];

const SWARM: &str = "it is for networks of a swarm";
const ADDRESSES: &str = "addresses are given out by coracle itself";

/// What commands about networks know.
const NETWORK: [Row; 11] = [
    ("--attachable", SWARM, None),
    (
        "--aux-address",
        "no other device is in the network",
        Some("--ip-range, for what containers get by themselves"),
    ),
    ("--config-from", SWARM, None),
    ("--config-only", SWARM, None),
    ("--dns", "a container's own resolvers are asked", Some("coracle run --dns")),
    ("--ingress", SWARM, None),
    ("--interface-name", "there is no bridge of the kernel's", None),
    ("--ipam-driver", ADDRESSES, None),
    ("--ipam-opt", ADDRESSES, None),
    ("--route", "the gateway is the only way out", None),
    ("--scope", SWARM, None),
];

const AS_SHIPPED: &str = "its images go as they are: their digests are in it";
const REPACKING: &str = "coracle push --compression-format, and a list of what was pushed";

/// What commands about lists of images know beyond that.
const LISTS: [Row; 4] = [
    ("--add-compression", AS_SHIPPED, Some(REPACKING)),
    ("--compression-format", AS_SHIPPED, Some(REPACKING)),
    ("--compression-level", AS_SHIPPED, Some(REPACKING)),
    ("--force-compression", AS_SHIPPED, Some(REPACKING)),
];

/// What commands that list and save images know.
const IMAGES: [Row; 1] = [("--history", "an image's former names are not kept", None)];
const SAVE: [Row; 1] =
    [("--compress", "layers are written as they were shipped", Some("coracle push IMAGE dir:"))];

const NO_BUILD: &str = "coracle runs images and builds none";
const BUILD: Option<&str> = Some("buildah, whose images coracle pull takes, or coracle commit");
const NO_SWARM: &str = "there is no swarm: containers run on this host";
const ONE_HOST: &str = "there is no daemon to choose: coracle works on this host";

/// Commands.
const COMMANDS: [Row; 20] = [
    ("bake", NO_BUILD, BUILD),
    ("build", NO_BUILD, BUILD),
    ("builder", NO_BUILD, BUILD),
    ("buildx", NO_BUILD, BUILD),
    (
        "compose",
        "each container is started by a command",
        Some("coracle run --network and --requires"),
    ),
    ("config", NO_SWARM, None),
    ("connection", ONE_HOST, None),
    ("context", ONE_HOST, Some("--root, for another place of images and containers")),
    ("farm", NO_BUILD, BUILD),
    ("kube", NO_PODS, Some("coracle generate systemd, to have containers started again")),
    ("machine", "containers run on this host, without a virtual machine", None),
    ("node", NO_SWARM, None),
    ("play", NO_PODS, None),
    ("plugin", "there are no plug-ins", None),
    ("pod", NO_PODS, Some("coracle run --network container:NAME, and likewise --ipc and --pid")),
    ("secret", "there is no store of secrets", Some("coracle run --mount type=bind,ro")),
    ("service", NO_SWARM, None),
    ("stack", NO_SWARM, None),
    ("swarm", NO_SWARM, None),
    ("trust", "signatures are verified by keys, as policy.json says", None),
];

const NO_LOG: &str = "nothing is logged beside the error that a command ends with";

/// What docker and podman take before the command.
const GLOBALS: [Row; 13] = [
    (
        "--cgroup-manager",
        "control groups are made where the user may make them",
        Some("coracle doctor"),
    ),
    ("--connection", ONE_HOST, None),
    ("--context", ONE_HOST, None),
    ("--debug", NO_LOG, Some("coracle run --explain")),
    ("--host", ONE_HOST, None),
    ("--log-level", NO_LOG, Some("coracle run --explain")),
    ("--remote", ONE_HOST, None),
    ("--runtime", "coracle is the OCI runtime of its containers", None),
    ("--url", ONE_HOST, None),
    ("-D", NO_LOG, Some("coracle run --explain")),
    ("-H", ONE_HOST, None),
    ("-c", ONE_HOST, None),
    ("-r", ONE_HOST, None),
];

/// The reason for a command that there is not.
pub(super) fn command(error: &clap::Error) -> Option<Error> {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    let (name, why, instead) = COMMANDS.iter().find(|(known, ..)| known == word)?;
    Some(Error::Usage {
        message: format!("there is no coracle {name}: {why}"),
        hint: instead.map(|instead| Hint::new(format!("see {instead}"))),
    })
}

fn rows(command: &str) -> &'static [&'static [Row]] {
    match command {
        "run" | "create" => &[&ROWS],
        "push" => &[&PUSH],
        "manifest" => &[&PUSH, &LISTS],
        "pull" => &[&PULL],
        "network" => &[&NETWORK],
        "images" | "ls" => &[&IMAGES],
        "save" => &[&SAVE],
        "" => &[&GLOBALS],
        _ => &[],
    }
}

/// The reason for a flag that the parser of a command does not know; of a flag before it, where `command` is empty.
pub(super) fn reason(error: &clap::Error, command: &str) -> Option<Error> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return None };
    let name = flag.split('=').next().unwrap_or_default();
    let mut rows = rows(command).iter().copied().flatten();
    let (name, why, instead) = rows.find(|(known, ..)| *known == name)?;
    Some(Error::Usage {
        message: format!("{name} cannot be honoured: {why}"),
        hint: instead.map(|instead| Hint::new(format!("see {instead}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::cmd;

    #[test]
    fn no_flag_is_both_refused_and_taken() {
        for command in ["run", "push", "pull", "images", "save"] {
            let built = cmd::find(cmd::ENTRIES, command).expect("a command").build();
            for (flag, ..) in rows(command).iter().copied().flatten() {
                let mut all = built.get_arguments();
                assert!(!all.any(|arg| arg.get_long() == flag.strip_prefix("--")), "{flag}");
            }
        }
        for (word, ..) in COMMANDS {
            assert!(cmd::find(cmd::ENTRIES, word).is_none(), "{word}");
        }
    }
}
