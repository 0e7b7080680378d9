//! `--volume` and `--tmpfs`.

use std::path::{Path, PathBuf};

use super::{Invalid, size};
use crate::engine::bundle::{BindRequest, TmpfsRequest};
use crate::mount::Propagation;

/// `HOST-PATH:PATH[:OPTIONS]`. A relative host path that starts with `.` counts from `here`.
pub fn volume(text: &str, here: &Path) -> Result<BindRequest, Invalid> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        [_] => {
            return Err(Invalid::new(format!(
                "{text:?} names one path only: an anonymous volume cannot be made; \
                 want HOST-PATH:PATH, or --tmpfs for something temporary"
            )));
        }
        _ => {
            return Err(Invalid::new(format!(
                "{text:?} has too many colons: want HOST-PATH:PATH[:OPTIONS]"
            )));
        }
    };
    let mut bind = BindRequest {
        source: source_path(source, here)?,
        target: target_path(target)?,
        read_only: false,
        recursive: true,
        propagation: Propagation::Private,
        create_source: true,
    };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        apply(&mut bind, option)?;
    }
    Ok(bind)
}

fn apply(bind: &mut BindRequest, option: &str) -> Result<(), Invalid> {
    match option {
        "rw" => bind.read_only = false,
        "ro" | "readonly" => bind.read_only = true,
        // Labels of SELinux: coracle runs where the files keep the labels they have.
        "z" | "Z" | "consistent" | "cached" | "delegated" | "nocopy" => {}
        "rbind" => bind.recursive = true,
        "bind" => bind.recursive = false,
        other => bind.propagation = propagation(other)?,
    }
    Ok(())
}

/// How mount events pass; what no user namespace can do is refused.
pub(super) fn propagation(word: &str) -> Result<Propagation, Invalid> {
    match word {
        "private" | "rprivate" => Ok(Propagation::Private),
        "slave" | "rslave" => Ok(Propagation::Slave),
        "shared" | "rshared" => Err(Invalid::new(format!(
            "{word} is not possible without root: mounts of a user namespace never reach the \
             host; rslave passes the host's mounts into the container"
        ))),
        "U" => Err(Invalid::new(
            "U would change the owner of the host's files: chown them yourself, or choose --user",
        )),
        "O" => Err(Invalid::new(
            "O (a throw-away overlay over a host directory) is not supported: want ro or rw",
        )),
        _ => Err(Invalid::new(format!(
            "invalid mode {word:?}: want ro, rw, z, Z, rbind, bind, rprivate or rslave"
        ))),
    }
}

fn source_path(text: &str, here: &Path) -> Result<PathBuf, Invalid> {
    if text.starts_with('/') {
        return Ok(PathBuf::from(text));
    }
    if text == "." || text == ".." || text.starts_with("./") || text.starts_with("../") {
        return Ok(here.join(text));
    }
    if text.is_empty() {
        return Err(Invalid::new("the path on the host is empty"));
    }
    Err(Invalid::new(format!(
        "{text:?} is the name of a volume, and named volumes are not supported: \
         want an absolute path on the host, or ./{text}"
    )))
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

/// `PATH[:OPTIONS]`: size=, mode=, ro, rw, exec, noexec, suid, nosuid, dev, nodev.
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
    };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", value)) => tmpfs.size = Some(size(value)?),
            Some(("mode", value)) => tmpfs.mode = mode(value)?,
            _ => match option {
                "ro" => tmpfs.read_only = true,
                "rw" => tmpfs.read_only = false,
                "exec" => tmpfs.exec = true,
                "noexec" => tmpfs.exec = false,
                "suid" => tmpfs.suid = true,
                "nosuid" => tmpfs.suid = false,
                "dev" => tmpfs.dev = true,
                "nodev" => tmpfs.dev = false,
                _ => {
                    return Err(Invalid::new(format!(
                        "invalid tmpfs option {option:?}: want size=, mode=, ro, rw, exec, \
                         noexec, suid, nosuid, dev or nodev"
                    )));
                }
            },
        }
    }
    Ok(tmpfs)
}

/// Permission bits in octal.
pub(super) fn mode(text: &str) -> Result<u32, Invalid> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| {
        Invalid::new(format!("invalid mode {text:?}: want octal digits, such as 1777"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<BindRequest, Invalid> {
        volume(text, Path::new("/here"))
    }

    #[test]
    fn paths_of_the_host() {
        let bind = parse("/a:/b:ro").expect("valid");
        assert_eq!((bind.source, bind.target), ("/a".into(), "/b".into()));
        assert!(bind.read_only && bind.create_source && bind.recursive);
        assert_eq!(parse("./x:/b").expect("valid").source, Path::new("/here/./x"));
        assert!(!parse("/a:/b:z,rw").expect("valid").read_only);
        assert_eq!(parse("/a:/b:rslave").expect("valid").propagation, Propagation::Slave);
    }

    #[test]
    fn refusals_say_why() {
        for (text, why) in [
            ("data:/b", "named volumes are not supported"),
            ("/data", "anonymous volume"),
            ("/a:b", "not absolute"),
            ("/a:/", "may not be /"),
            ("/a:/b:rshared", "without root"),
            ("/a:/b:U", "owner"),
            ("/a:/b:O", "overlay"),
            ("/a:/b:wx", "invalid mode"),
            ("/a:/b:ro:x", "too many colons"),
            (":/b", "empty"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.0.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn tmpfs_has_dockers_defaults() {
        let plain = tmpfs("/run").expect("valid");
        assert_eq!((plain.mode, plain.size, plain.exec), (0o1777, None, false));
        let full = tmpfs("/run:size=64m,mode=755,exec,ro").expect("valid");
        assert_eq!((full.mode, full.size), (0o755, Some(64 << 20)));
        assert!(full.exec && full.read_only);
        for text in ["run", "/", "/run:uid=1", "/run:mode=9", "/run:size=x"] {
            assert!(tmpfs(text).is_err(), "{text}");
        }
    }
}
