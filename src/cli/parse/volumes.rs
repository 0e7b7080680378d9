//! `--volume`, `--tmpfs` and `--volumes-from`.

use std::path::{Path, PathBuf};

use super::mounts::MountRequest;
use super::{Invalid, size};
use crate::engine::bundle::{BindRequest, Strict, TmpfsRequest, VolumeRequest, VolumesFrom};
use crate::engine::volume;
use crate::mount::Propagation;

/// `PATH` for a volume of the container's own, `NAME:PATH[:OPTIONS]` for one with a name,
/// `HOST-PATH:PATH[:OPTIONS]`. A relative host path that starts with `.` counts from `here`.
pub fn volume(text: &str, here: &Path) -> Result<MountRequest, Invalid> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, options] => (Some(source), target, options),
        _ => {
            return Err(Invalid::new(format!(
                "{text:?} has too many colons: want [NAME|HOST-PATH:]PATH[:OPTIONS]"
            )));
        }
    };
    let target = target_path(target)?;
    let words = Words::read(options)?;
    match source {
        Some("") => Err(Invalid::new("the volume's name or the path on the host is empty")),
        Some(path) if path.starts_with(['/', '.']) => {
            words.bind(host_path(path, here), target).map(MountRequest::Bind)
        }
        Some(name) => words.volume(Some(name), target).map(MountRequest::Volume),
        None => words.volume(None, target).map(MountRequest::Volume),
    }
}

/// What the options of a `--volume` say.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // each a word of its own
struct Words {
    typed: String,
    read_only: bool,
    strict: Strict,
    propagation: Option<Propagation>,
    recursive: Option<bool>,
    no_copy: bool,
    overlay: bool,
    chown: bool,
    id_mapped: bool,
}

impl Words {
    fn read(text: &str) -> Result<Self, Invalid> {
        let mut words = Self { typed: text.to_owned(), ..Self::default() };
        for word in text.split(',').filter(|word| !word.is_empty()) {
            match word {
                "rw" => words.read_only = false,
                "ro" | "readonly" => words.read_only = true,
                // Labels of SELinux: coracle runs where the files keep the labels they have.
                "z" | "Z" | "consistent" | "cached" | "delegated" => {}
                "rbind" => words.recursive = Some(true),
                "bind" => words.recursive = Some(false),
                "copy" => words.no_copy = false,
                "nocopy" => words.no_copy = true,
                "O" => words.overlay = true,
                "U" => words.chown = true,
                "idmap" => words.id_mapped = true,
                _ if strict(&mut words.strict, word) => {}
                _ if word.starts_with("idmap=") => {
                    return Err(Invalid::new(format!(
                        "{word}: the kernel keeps idmapped mounts of one's own choice from users"
                    )));
                }
                _ => words.propagation = Some(propagation(word)?),
            }
        }
        Ok(words)
    }

    fn bind(self, source: PathBuf, target: PathBuf) -> Result<BindRequest, Invalid> {
        if self.no_copy {
            return Err(Invalid::new("nocopy is for volumes: nothing is copied to a host path"));
        }
        if self.overlay && self.chown {
            return Err(Invalid::new("O and U exclude each other: U changes the host's own files"));
        }
        Ok(BindRequest {
            source,
            target,
            read_only: self.read_only,
            recursive: self.recursive.unwrap_or(true),
            propagation: self.propagation.unwrap_or_default(),
            create_source: !self.overlay,
            strict: self.strict,
            writable_below: false,
            overlay: self.overlay,
            chown: self.chown,
            id_mapped: self.id_mapped,
            mode: self.typed,
        })
    }

    fn volume(self, name: Option<&str>, target: PathBuf) -> Result<VolumeRequest, Invalid> {
        let for_paths = [
            (self.propagation.is_some(), "mount propagation"),
            (self.recursive.is_some(), "bind or rbind"),
            (self.overlay, "O"),
            (self.id_mapped, "idmap"),
        ];
        if let Some((_, what)) = for_paths.iter().find(|(asked, _)| *asked) {
            return Err(Invalid::new(format!("{what} is for host paths, not for volumes")));
        }
        Ok(VolumeRequest {
            name: name.map(volume_name).transpose()?,
            target,
            read_only: self.read_only,
            strict: self.strict,
            no_copy: self.no_copy,
            chown: self.chown,
            mode: self.typed,
            ..VolumeRequest::default()
        })
    }
}

/// Takes a word about what is forbidden; `false` for another.
pub(super) fn strict(strict: &mut Strict, word: &str) -> bool {
    match word {
        "nosuid" => strict.no_suid = true,
        "suid" => strict.no_suid = false,
        "nodev" => strict.no_dev = true,
        "dev" => strict.no_dev = false,
        "noexec" => strict.no_exec = true,
        "exec" => strict.no_exec = false,
        _ => return false,
    }
    true
}

/// The name of a volume, by docker's rule.
pub(super) fn volume_name(text: &str) -> Result<String, Invalid> {
    let name = text.parse::<volume::Name>();
    name.map(|name| name.to_string()).map_err(|error| Invalid::new(error.to_string()))
}

/// How mount events pass.
pub(super) fn propagation(word: &str) -> Result<Propagation, Invalid> {
    match word {
        "private" | "rprivate" => Ok(Propagation::Private),
        "slave" | "rslave" => Ok(Propagation::Slave),
        "shared" | "rshared" => Ok(Propagation::Shared),
        _ => Err(Invalid::new(format!(
            "invalid mode {word:?}: want ro, rw, z, Z, O, U, nocopy, rbind, bind, [r]private, \
             [r]slave, [r]shared, nosuid, nodev or noexec"
        ))),
    }
}

/// A path on the host; a relative one counts from `here`.
pub(super) fn host_path(text: &str, here: &Path) -> PathBuf {
    if text.starts_with('/') { PathBuf::from(text) } else { here.join(text) }
}

/// An absolute path in the container, other than its root.
pub(super) fn target_path(text: &str) -> Result<PathBuf, Invalid> {
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        return Err(Invalid::new(format!("the path in the container is not absolute: {text:?}")));
    }
    if path.components().count() == 1 {
        return Err(Invalid::new("the path in the container may not be /"));
    }
    Ok(path)
}

/// `PATH[:OPTIONS]`: size=, mode=, uid=, gid=, nr_inodes=, nr_blocks=, ro, rw, exec, noexec, suid,
/// nosuid, dev, nodev, tmpcopyup.
pub fn tmpfs(text: &str) -> Result<TmpfsRequest, Invalid> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let mut tmpfs = TmpfsRequest {
        target: target_path(target)?,
        size: None,
        mode: 0o1777,
        read_only: false,
        exec: false,
        suid: false,
        dev: false,
        options: Vec::new(),
        copy_up: false,
        typed: options.to_owned(),
    };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", value)) => tmpfs.size = Some(size(value)?),
            Some(("mode", value)) => tmpfs.mode = mode(value)?,
            Some((name @ ("uid" | "gid" | "nr_inodes" | "nr_blocks"), value)) => {
                let number = number(name, value)?;
                tmpfs.options.push(format!("{name}={number}"));
            }
            _ => match option {
                "ro" => tmpfs.read_only = true,
                "rw" => tmpfs.read_only = false,
                "exec" => tmpfs.exec = true,
                "noexec" => tmpfs.exec = false,
                "suid" => tmpfs.suid = true,
                "nosuid" => tmpfs.suid = false,
                "dev" => tmpfs.dev = true,
                "nodev" => tmpfs.dev = false,
                "tmpcopyup" => tmpfs.copy_up = true,
                "notmpcopyup" => tmpfs.copy_up = false,
                _ => {
                    return Err(Invalid::new(format!(
                        "invalid tmpfs option {option:?}: want size=, mode=, uid=, gid=, \
                         nr_inodes=, nr_blocks=, ro, rw, exec, noexec, suid, nosuid, dev, nodev or \
                         tmpcopyup"
                    )));
                }
            },
        }
    }
    Ok(tmpfs)
}

/// A number of a file system's own option.
pub(super) fn number(name: &str, text: &str) -> Result<u32, Invalid> {
    text.parse().map_err(|_| Invalid::new(format!("invalid {name} {text:?}: want a number")))
}

/// Permission bits in octal.
pub(super) fn mode(text: &str) -> Result<u32, Invalid> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| {
        Invalid::new(format!("invalid mode {text:?}: want octal digits, such as 1777"))
    })
}

/// `CONTAINER[:OPTIONS]`
pub fn volumes_from(text: &str) -> Result<VolumesFrom, Invalid> {
    let (container, options) = text.split_once(':').unwrap_or((text, ""));
    if container.is_empty() {
        return Err(Invalid::new("a container's name or ID is missing"));
    }
    let mut from = VolumesFrom { container: container.to_owned(), writable: None };
    for word in options.split(',').filter(|word| !word.is_empty()) {
        match word {
            "ro" => from.writable = Some(false),
            "rw" => from.writable = Some(true),
            "z" | "Z" => {} // as for --volume
            _ => {
                let why = format!("invalid mode {word:?} for volumes from: want ro, rw or z");
                return Err(Invalid::new(why));
            }
        }
    }
    Ok(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(text: &str) -> BindRequest {
        match volume(text, Path::new("/here")) {
            Ok(MountRequest::Bind(bind)) => bind,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn named(text: &str) -> VolumeRequest {
        match volume(text, Path::new("/here")) {
            Ok(MountRequest::Volume(volume)) => volume,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn paths_of_the_host() {
        let plain = bind("/a:/b:ro");
        assert_eq!((plain.source, plain.target), ("/a".into(), "/b".into()));
        assert!(plain.read_only && plain.create_source && plain.recursive);
        assert_eq!(plain.mode, "ro");
        assert_eq!(bind("./x:/b").source, Path::new("/here/./x"));
        assert!(!bind("/a:/b:z,rw").read_only);
        assert_eq!(bind("/a:/b:rslave").propagation, Propagation::Slave);
        assert_eq!(bind("/a:/b:shared,U").propagation, Propagation::Shared);
        let strict = bind("/a:/b:nosuid,nodev,noexec").strict;
        assert!(strict.no_suid && strict.no_dev && strict.no_exec);
        assert!(bind("/a:/b:O").overlay && bind("/a:/b:U").chown && bind("/a:/b:idmap").id_mapped);
    }

    #[test]
    fn volumes_with_and_without_names() {
        let data = named("data:/b:nocopy,ro");
        assert_eq!((data.name.as_deref(), data.target), (Some("data"), "/b".into()));
        assert!(data.no_copy && data.read_only);
        assert_eq!(named("/data").name, None);
    }

    #[test]
    fn refusals_say_why() {
        for (text, why) in [
            ("data", "not absolute"),
            ("/a:b", "not absolute"),
            ("/a:/", "may not be /"),
            ("d/x:/b", "use an absolute path"),
            ("data:/b:rslave", "for host paths"),
            ("data:/b:O", "for host paths"),
            ("/a:/b:nocopy", "for volumes"),
            ("/a:/b:O,U", "exclude"),
            ("/a:/b:idmap=uids=0-1-1", "idmapped"),
            ("/a:/b:wx", "invalid mode"),
            ("/a:/b:ro:x", "too many colons"),
            (":/b", "empty"),
        ] {
            let error = volume(text, Path::new("/here")).expect_err(text);
            assert!(error.0.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn tmpfs_has_dockers_defaults() {
        let plain = tmpfs("/run").expect("valid");
        assert_eq!((plain.mode, plain.size, plain.exec), (0o1777, None, false));
        let full = tmpfs("/run:size=64m,mode=755,exec,ro,uid=7,nr_inodes=9").expect("valid");
        assert_eq!((full.mode, full.size), (0o755, Some(64 << 20)));
        assert!(full.exec && full.read_only);
        assert_eq!(full.options, ["uid=7", "nr_inodes=9"]);
        for text in ["run", "/", "/run:uid=x", "/run:mode=9", "/run:size=x", "/run:huge"] {
            assert!(tmpfs(text).is_err(), "{text}");
        }
    }

    #[test]
    fn volumes_of_others() {
        let from = volumes_from("web:ro,z").expect("valid");
        assert_eq!((from.container.as_str(), from.writable), ("web", Some(false)));
        assert_eq!(volumes_from("web").expect("valid").writable, None);
        assert!(volumes_from(":ro").is_err() && volumes_from("web:wx").is_err());
    }
}
