//! A planned container in words, and as the OCI runtime's `config.json`.

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::{Value, json};

use super::run::Prepared;
use crate::bundle::{Namespace, Namespaces, NsKind, SeccompChoice, signal};
use crate::mount::{Attributes, Kind, Mount, Propagation, RootMount};
use crate::userns::Extent;

impl Prepared {
    /// What a run would do, step by step.
    pub fn explain(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "{name:<14}{value}");
        };
        let spec = &self.spec;
        line("image", &format!("{} ({})", self.image.id, self.image.platform));
        line("ids", &format!("{}: {}", self.ids.mode, self.ids.reason));
        for extent in &self.ids.uids {
            line("  uid", &extent_text(*extent));
        }
        for extent in &self.ids.gids {
            line("  gid", &extent_text(*extent));
        }
        line("namespaces", &namespaces_text(&spec.namespaces));
        line(
            "root",
            &format!("{}{}", self.driver, if spec.root_read_only { ", read-only" } else { "" }),
        );
        match &spec.root {
            root @ (RootMount::Overlay { lowers, upper, work, .. }
            | RootMount::Union { lowers, upper, work }) => {
                for lower in lowers {
                    line("  lower", &lower.display().to_string());
                }
                if let RootMount::Overlay { data: Some(data), .. } = root {
                    line("  data", &data.display().to_string());
                }
                line("  upper", &upper.display().to_string());
                line("  work", &work.display().to_string());
            }
            RootMount::Directory(path) => line("  directory", &path.display().to_string()),
        }
        for mount in &spec.mounts {
            line("mount", &mount_text(mount));
        }
        for path in &spec.masked_paths {
            line("hidden", &path.display().to_string());
        }
        for path in &spec.read_only_paths {
            line("read-only", &path.display().to_string());
        }
        line("hostname", spec.hostname.as_deref().unwrap_or("(shared)"));
        for (name, value) in &spec.sysctls {
            line("sysctl", &format!("{name}={value}"));
        }
        for limit in &spec.process.limits {
            line(
                "limit",
                &format!("{} {}:{}", limit.resource.docker_name(), limit.soft, limit.hard),
            );
        }
        for step in &self.limits.steps {
            line("group", &step.to_string());
        }
        for kept in &self.limits.kept {
            line("limit", &kept.to_string());
        }
        for warning in &self.limits.warnings {
            line("warning", warning);
        }
        line("capabilities", &spec.process.capabilities.bounding.names().join(" "));
        line(
            "seccomp",
            match &spec.seccomp {
                SeccompChoice::Default => "docker's default profile",
                SeccompChoice::Unconfined => "unconfined",
                SeccompChoice::Json(_) => "the given profile",
            },
        );
        line("no_new_privs", if spec.process.no_new_privileges { "yes" } else { "no" });
        let user = &spec.process.user;
        line("user", &format!("{}:{} groups {:?}", user.uid, user.gid, user.groups));
        line("directory", &spec.process.cwd.display().to_string());
        line("terminal", if spec.process.terminal { "yes" } else { "no" });
        line("init", if spec.init { "yes" } else { "no" });
        line("stop signal", &signal::name(spec.stop_signal));
        for variable in &spec.process.env {
            line("env", &variable.to_string_lossy());
        }
        line("command", &format!("{:?}", spec.process.args));
        text
    }

    /// The same as the OCI runtime's configuration (runtime-spec 1.2, config.md). The root's layers
    /// are not in that vocabulary: `root.path` is where they are mounted.
    pub fn config_json(&self) -> Value {
        let spec = &self.spec;
        let user = &spec.process.user;
        let lossy = |texts: &[std::ffi::OsString]| -> Vec<String> {
            texts.iter().map(|text| text.to_string_lossy().into_owned()).collect()
        };
        let capabilities = &spec.process.capabilities;
        let limits: Vec<Value> = spec
            .process
            .limits
            .iter()
            .map(|limit| {
                json!({"type": limit.resource.spec_name(), "soft": limit.soft, "hard": limit.hard})
            })
            .collect();
        let root = match &spec.root {
            RootMount::Overlay { upper, .. } | RootMount::Union { upper, .. } => upper,
            RootMount::Directory(path) => path,
        };
        json!({
            "ociVersion": "1.2.0",
            "process": {
                "terminal": spec.process.terminal,
                "user": {"uid": user.uid, "gid": user.gid, "additionalGids": user.groups},
                "args": lossy(&spec.process.args),
                "env": lossy(&spec.process.env),
                "cwd": spec.process.cwd,
                "capabilities": capabilities,
                "rlimits": limits,
                "noNewPrivileges": spec.process.no_new_privileges,
                "oomScoreAdj": spec.process.oom_score_adj,
            },
            "root": {"path": root, "readonly": spec.root_read_only},
            "hostname": spec.hostname,
            "mounts": spec.mounts.iter().map(mount_json).collect::<Vec<_>>(),
            "annotations": spec.annotations,
            "linux": {
                "uidMappings": self.ids.uids.iter().map(extent_json).collect::<Vec<_>>(),
                "gidMappings": self.ids.gids.iter().map(extent_json).collect::<Vec<_>>(),
                "namespaces": namespaces(&spec.namespaces),
                "resources": spec.resources.to_spec(),
                "sysctl": spec.sysctls,
                "maskedPaths": spec.masked_paths,
                "readonlyPaths": spec.read_only_paths,
            },
        })
    }
}

fn extent_text(extent: Extent) -> String {
    let Extent { inside, outside, count } = extent;
    format!("{inside} inside is {outside} outside, {count} of them")
}

fn extent_json(extent: &Extent) -> Value {
    json!({"containerID": extent.inside, "hostID": extent.outside, "size": extent.count})
}

fn namespaces_text(namespaces: &Namespaces) -> String {
    let own = |(kind, from): (NsKind, &Namespace)| match from {
        Namespace::New => Some(kind.file_name().to_owned()),
        Namespace::Join(_) => Some(format!("{} (joined)", kind.file_name())),
        Namespace::Host => None,
    };
    let others: Vec<String> = namespaces.iter().filter_map(own).collect();
    format!("mnt, {}", others.join(", "))
}

fn namespaces(namespaces: &Namespaces) -> Vec<Value> {
    let private = NsKind::ALL.into_iter().filter(|kind| namespaces.is_private(*kind));
    let names = std::iter::once("mount").chain(private.map(NsKind::spec_name));
    names.map(|kind| json!({"type": kind})).collect()
}

/// Type, source and options of a mount, as mount(8) spells them.
fn parts(mount: &Mount) -> (Cow<'static, str>, String, Vec<String>) {
    let Attributes { read_only, no_suid, no_dev, no_exec, .. } = mount.attributes;
    let mut options: Vec<String> =
        [(read_only, "ro"), (no_suid, "nosuid"), (no_dev, "nodev"), (no_exec, "noexec")]
            .iter()
            .filter(|(set, _)| *set)
            .map(|(_, name)| (*name).to_owned())
            .collect();
    let (kind, source) = match &mount.kind {
        Kind::Bind { source, recursive, propagation } => {
            options.push(if *recursive { "rbind" } else { "bind" }.to_owned());
            options.push(match propagation {
                Propagation::Private => "rprivate".to_owned(),
                Propagation::Slave => "rslave".to_owned(),
                Propagation::Shared => "rshared".to_owned(),
                Propagation::Unbindable => "runbindable".to_owned(),
            });
            ("bind", source.display().to_string())
        }
        Kind::Beneath { directory, path } => {
            options.extend(["rbind", "rprivate"].map(str::to_owned));
            ("bind", directory.join(path).display().to_string())
        }
        Kind::Overlay { lowers, upper, work } => {
            let lowers: Vec<String> = lowers.iter().map(|it| it.display().to_string()).collect();
            options.push(format!("lowerdir={}", lowers.join(":")));
            options.push(format!("upperdir={}", upper.display()));
            options.push(format!("workdir={}", work.display()));
            ("overlay", "overlay".to_owned())
        }
        Kind::Tmpfs { size, mode } => {
            options.push(format!("mode={mode:o}"));
            options.extend(size.map(|size| format!("size={size}")));
            ("tmpfs", "tmpfs".to_owned())
        }
        Kind::Proc => ("proc", "proc".to_owned()),
        Kind::Sysfs => ("sysfs", "sysfs".to_owned()),
        Kind::Devpts => {
            options.extend(["newinstance", "ptmxmode=0666", "mode=0620"].map(str::to_owned));
            ("devpts", "devpts".to_owned())
        }
        Kind::Mqueue => ("mqueue", "mqueue".to_owned()),
        Kind::Cgroup => ("cgroup", "cgroup".to_owned()),
        Kind::FileSystem { name, source, options: own, .. } => {
            options.extend(own.iter().cloned());
            let source = source.clone().unwrap_or_else(|| name.clone());
            return (Cow::Owned(name.clone()), source, options);
        }
        Kind::Detached(_) => ("bind", "(another container's)".to_owned()),
    };
    (Cow::Borrowed(kind), source, options)
}

fn mount_text(mount: &Mount) -> String {
    let (kind, source, options) = parts(mount);
    let target = mount.target.display();
    match kind.as_ref() {
        "bind" => format!("{target} bind {source} ({})", options.join(",")),
        kind => format!("{target} {kind} ({})", options.join(",")),
    }
}

fn mount_json(mount: &Mount) -> Value {
    let (kind, source, options) = parts(mount);
    json!({"destination": mount.target, "type": kind, "source": source, "options": options})
}
