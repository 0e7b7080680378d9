//! Request and image to `ContainerSpec`: decided here, done elsewhere.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::capabilities::CapabilitySet;
use super::{
    ContainerSpec, Error, EtcFiles, HostFiles, Network, Process, Request, SeccompChoice, User,
    defaults, signal,
};
use crate::mount::{Attributes, Kind, Mount, Propagation, RootMount};
use crate::oci::ImageConfig;

/// What a request is joined with.
#[derive(Debug)]
pub struct Circumstances<'a> {
    /// The container's ID; its first twelve digits are the default host name.
    pub id: &'a str,
    /// What the image says.
    pub config: &'a ImageConfig,
    /// The image's /etc/passwd, empty where it has none.
    pub passwd: &'a [u8],
    /// The image's /etc/group, empty where it has none.
    pub group: &'a [u8],
    /// The host's name and resolver files.
    pub host: &'a HostFiles,
    /// Where the container's own files lie: hosts, hostname, resolv.conf.
    pub directory: &'a Path,
    /// The root file system.
    pub root: RootMount,
    /// Device nodes of the host that the user may open; a privileged container gets them.
    pub devices: &'a [PathBuf],
}

/// Joins a request with its image: the specification, and the texts of the container's /etc files.
pub fn specify(
    request: &Request,
    cx: Circumstances<'_>,
) -> Result<(ContainerSpec, EtcFiles), Error> {
    let user_text = request.user.as_deref().unwrap_or(&cx.config.user);
    let user = User::resolve(user_text, cx.passwd, cx.group)?;
    let hostname = hostname(request, &cx);
    let etc = EtcFiles::new(request, &hostname, cx.host)?;
    let mounts = mounts(request, cx.directory, cx.devices)?;
    let stop_signal = stop_signal(request, cx.config)?;
    let privileged = request.privileged;
    let capabilities = CapabilitySet::requested(privileged, &request.cap_add, &request.cap_drop)?;
    let (masked_paths, read_only_paths) = hidden_paths(request);
    let spec = ContainerSpec {
        volumes: volumes(cx.config, &mounts)?,
        mounts,
        links: defaults::links(),
        masked_paths,
        read_only_paths,
        network: request.network,
        process: Process {
            args: arguments(request, cx.config)?,
            env: environment(request, cx.config, &hostname, &user),
            cwd: working_directory(request, cx.config)?,
            user,
            terminal: request.tty,
            interactive: request.interactive,
            limits: request.ulimits.clone(),
        },
        hostname,
        root: cx.root,
        root_read_only: request.read_only,
        capabilities,
        no_new_privileges: request.security.no_new_privileges,
        seccomp: match &request.security.seccomp {
            SeccompChoice::Default if privileged => SeccompChoice::Unconfined,
            choice => choice.clone(),
        },
        resources: request.resources.clone(),
        cgroups: request.cgroups,
        cgroups_path: None,
        init: request.init,
        stop_signal,
        labels: cx.config.labels.clone().into_iter().chain(request.labels.clone()).collect(),
        annotations: request.annotations.clone(),
    };
    Ok((spec, etc))
}

fn hostname(request: &Request, cx: &Circumstances<'_>) -> String {
    match (&request.hostname, request.network) {
        (Some(name), _) => name.clone(),
        // As docker does it: who shares the host's network shares its name.
        (None, Network::Host) if !cx.host.hostname.is_empty() => cx.host.hostname.clone(),
        (None, _) => cx.id.chars().take(12).collect(),
    }
}

/// Entrypoint and command: a new entrypoint drops the image's command (docker run(1)).
fn arguments(request: &Request, config: &ImageConfig) -> Result<Vec<OsString>, Error> {
    let os = |texts: &[String]| texts.iter().map(OsString::from).collect::<Vec<_>>();
    let (mut args, command) = match &request.entrypoint {
        Some(given) => (given.clone(), Vec::new()),
        None => (os(&config.entrypoint), os(&config.cmd)),
    };
    args.extend(if request.command.is_empty() { command } else { request.command.clone() });
    if args.is_empty() { Err(Error::NoCommand) } else { Ok(args) }
}

/// `NAME=value` each: defaults, then the image's, then the user's; the last of a name wins and
/// stands where the first stood.
fn environment(
    request: &Request,
    config: &ImageConfig,
    hostname: &str,
    user: &User,
) -> Vec<OsString> {
    let mut pairs: Vec<(OsString, OsString)> = Vec::new();
    let mut set =
        |name: &OsStr, value: &OsStr| match pairs.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => pairs.push((name.to_owned(), value.to_owned())),
        };
    set("PATH".as_ref(), defaults::PATH.as_ref());
    set("HOSTNAME".as_ref(), hostname.as_ref());
    if request.tty {
        set("TERM".as_ref(), "xterm".as_ref());
    }
    for line in &config.env {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        set(name.as_ref(), value.as_ref());
    }
    for (name, value) in &request.env {
        set(name, value);
    }
    if !pairs.iter().any(|(name, _)| name == "HOME") {
        pairs.push(("HOME".into(), user.home.clone().into_os_string()));
    }
    let join = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        name
    };
    pairs.into_iter().map(join).collect()
}

fn working_directory(request: &Request, config: &ImageConfig) -> Result<PathBuf, Error> {
    let given = request.workdir.clone().unwrap_or_else(|| PathBuf::from(&config.working_dir));
    match given.as_os_str().is_empty() {
        true => Ok(PathBuf::from("/")),
        false => absolute("working directory", &given),
    }
}

fn stop_signal(request: &Request, config: &ImageConfig) -> Result<i32, Error> {
    match (request.stop_signal, &config.stop_signal) {
        (Some(signal), _) => Ok(signal),
        (None, None) => Ok(signal::TERM),
        (None, Some(text)) => {
            signal::parse(text).ok_or_else(|| Error::InvalidStopSignal { signal: text.clone() })
        }
    }
}

/// Everything below the root: the defaults, then what the user asked for, parents first.
fn mounts(request: &Request, directory: &Path, devices: &[PathBuf]) -> Result<Vec<Mount>, Error> {
    let shm_size = request.shm_size.unwrap_or(defaults::SHM_SIZE);
    let mut mounts = defaults::mounts(request.network, request.privileged, shm_size);
    if request.privileged {
        mounts.extend(devices.iter().filter_map(|node| {
            let kind = defaults::bind(node.to_str()?);
            Some(Mount { target: node.clone(), kind, attributes: Attributes::default() })
        }));
    }
    for name in ["resolv.conf", "hostname", "hosts"] {
        let source = directory.join(name);
        mounts.push(Mount {
            target: Path::new("/etc").join(name),
            kind: Kind::Bind { source, recursive: false, propagation: Propagation::Private },
            attributes: Attributes::default(),
        });
    }
    let asked = asked_mounts(request)?;
    let targets: HashSet<&Path> = asked.iter().map(|mount| mount.target.as_path()).collect();
    mounts.retain(|mount| !targets.contains(mount.target.as_path()));
    mounts.extend(asked);
    Ok(mounts)
}

fn asked_mounts(request: &Request) -> Result<Vec<Mount>, Error> {
    let binds = request.binds.iter().map(|bind| Mount {
        target: bind.target.clone(),
        kind: Kind::Bind {
            source: bind.source.clone(),
            recursive: bind.recursive,
            propagation: bind.propagation,
        },
        attributes: Attributes { read_only: bind.read_only, ..Attributes::default() },
    });
    let tmpfs = request.tmpfs.iter().map(|tmpfs| Mount {
        target: tmpfs.target.clone(),
        kind: Kind::Tmpfs { size: tmpfs.size, mode: tmpfs.mode },
        attributes: Attributes {
            read_only: tmpfs.read_only,
            no_suid: !tmpfs.suid,
            no_dev: !tmpfs.dev,
            no_exec: !tmpfs.exec,
        },
    });
    let mut asked: Vec<Mount> = binds.chain(tmpfs).collect();
    let mut seen = HashSet::new();
    for mount in &mut asked {
        mount.target = absolute("mount target", &mount.target)?;
        if mount.target == Path::new("/") {
            return Err(Error::MountOnRoot);
        }
        if !defaults::may_mount_on(&mount.target) {
            return Err(Error::MountInProc { path: mount.target.clone() });
        }
        if !seen.insert(mount.target.clone()) {
            return Err(Error::DuplicateMount { path: mount.target.clone() });
        }
    }
    // A parent mounted after its child would hide it.
    asked.sort_by_key(|mount| mount.target.components().count());
    Ok(asked)
}

/// The image's volumes that no mount covers.
fn volumes(config: &ImageConfig, mounts: &[Mount]) -> Result<Vec<PathBuf>, Error> {
    let mut volumes = Vec::new();
    for path in &config.volumes {
        let path = absolute("image volume", Path::new(path))?;
        let covered = mounts.iter().any(|mount| mount.target == path);
        if !covered && path != Path::new("/") {
            volumes.push(path);
        }
    }
    Ok(volumes)
}

fn hidden_paths(request: &Request) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let security = &request.security;
    let all_open = request.privileged || security.unmask_all;
    let keep = |paths: Vec<PathBuf>| -> Vec<PathBuf> {
        let open = |path: &PathBuf| all_open || security.unmask.contains(path);
        paths.into_iter().filter(|path| !open(path)).collect()
    };
    let mut masked = keep(defaults::masked_paths());
    masked.extend(security.mask.iter().cloned());
    (masked, keep(defaults::read_only_paths()))
}

/// `path` without `.`, `..` and doubled slashes; a relative one is refused.
fn absolute(what: &'static str, path: &Path) -> Result<PathBuf, Error> {
    if !path.is_absolute() || path.as_os_str().as_bytes().contains(&0) {
        return Err(Error::NotAbsolute { what, path: path.to_owned() });
    }
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(clean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::BindRequest;

    fn config() -> ImageConfig {
        ImageConfig {
            entrypoint: vec!["/entry".into()],
            cmd: vec!["serve".into()],
            env: vec!["PATH=/opt/bin".into(), "LANG=C".into()],
            ..ImageConfig::default()
        }
    }

    fn spec(request: &Request) -> Result<ContainerSpec, Error> {
        let cx = Circumstances {
            id: "0123456789abcdef",
            config: &config(),
            passwd: b"root:x:0:0::/root:/bin/sh\n",
            group: b"",
            host: &HostFiles::default(),
            directory: Path::new("/store/containers/0123"),
            root: RootMount::Directory("/rootfs".into()),
            devices: &[],
        };
        specify(request, cx).map(|(spec, _)| spec)
    }

    fn bind(target: &str) -> BindRequest {
        BindRequest {
            source: "/srv".into(),
            target: target.into(),
            read_only: false,
            recursive: true,
            propagation: Propagation::Private,
            create_source: false,
        }
    }

    #[test]
    fn a_new_entrypoint_drops_the_images_command() {
        let args = |request: &Request| spec(request).expect("a spec").process.args;
        assert_eq!(args(&Request::default()), ["/entry", "serve"]);
        let command = Request { command: vec!["x".into()], ..Request::default() };
        assert_eq!(args(&command), ["/entry", "x"]);
        let entrypoint = Request { entrypoint: Some(vec!["sh".into()]), ..Request::default() };
        assert_eq!(args(&entrypoint), ["sh"]);
        let cleared = Request { entrypoint: Some(vec![]), ..Request::default() };
        assert!(matches!(spec(&cleared), Err(Error::NoCommand)));
    }

    #[test]
    fn the_users_variables_win_in_place() {
        let request = Request { env: vec![("LANG".into(), "de".into())], ..Request::default() };
        let env = spec(&request).expect("a spec").process.env;
        assert_eq!(env, ["PATH=/opt/bin", "HOSTNAME=0123456789ab", "LANG=de", "HOME=/root"]);
    }

    #[test]
    fn mounts_are_cleaned_sorted_and_unique() {
        let targets = |binds| {
            spec(&Request { binds, ..Request::default() }).map(|spec| {
                let own = |mount: &&Mount| mount.target.starts_with("/data");
                spec.mounts.iter().filter(own).map(|m| m.target.clone()).collect::<Vec<_>>()
            })
        };
        let sorted = targets(vec![bind("/data/deep"), bind("/data/x/..")]).expect("mounts");
        assert_eq!(sorted, [Path::new("/data"), Path::new("/data/deep")]);
        assert!(targets(vec![bind("/data"), bind("/data/")]).is_err());
        assert!(targets(vec![bind("/data/../..")]).is_err());
        assert!(targets(vec![bind("data")]).is_err());
        assert!(targets(vec![bind("/proc/self/attr")]).is_err());
    }

    #[test]
    fn an_asked_mount_takes_a_defaults_place() {
        let request = Request { binds: vec![bind("/dev/shm")], ..Request::default() };
        let spec = spec(&request).expect("a spec");
        let shm = spec.mounts.iter().filter(|mount| mount.target == Path::new("/dev/shm"));
        assert_eq!(shm.count(), 1);
    }
}
