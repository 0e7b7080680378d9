//! Request and image to `ContainerSpec`: decided here, done elsewhere.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::capabilities::{Capabilities, CapabilitySet};
use super::{
    Accounts, ContainerSpec, Error, EtcFiles, HostFiles, ImageVolumes, Labels, Namespace,
    Namespaces, NsKind, Process, Request, SeccompChoice, SecurityModules, Sharing, Strict,
    TmpfsRequest, Tuning, User, defaults, signal, systemd, variables,
};
use crate::mount::{Attributes, Detached, Kind, Mount, Propagation, RootMount};
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
    /// Where the files lie that are bound into /etc: hosts, hostname, resolv.conf. Of a container
    /// that shares another's network these are the other's.
    pub files: &'a Path,
    /// The root file system.
    pub root: RootMount,
    /// Whether what is written there is the container's alone.
    pub own_root: bool,
    /// Device nodes of the host that the user may open; a privileged container gets them.
    pub devices: &'a [PathBuf],
    /// The namespaces that the request names.
    pub namespaces: Namespaces,
    /// /dev/shm of the container whose ipc namespace is joined.
    pub shm: Option<Detached>,
    /// The accounts that it has beside its image's.
    pub accounts: &'a Accounts,
    /// Volumes, images and throw-away overlays, as the store has them.
    pub stored: Vec<Mount>,
    /// The host's AppArmor and SELinux; looked for only where the request asks for a label.
    pub modules: &'a SecurityModules,
}

/// What is below a container's root whatever image it has, as far as the request alone tells.
#[derive(Clone, Debug)]
pub struct Interior {
    /// /proc, /dev and /sys, in order.
    pub mounts: Vec<Mount>,
    /// Symbolic links: path and target.
    pub links: Vec<(PathBuf, PathBuf)>,
    /// Kernel parameters of the container's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Paths hidden from the container.
    pub masked_paths: Vec<PathBuf>,
    /// Paths the container may read only.
    pub read_only_paths: Vec<PathBuf>,
}

/// Joins a request with its image: the specification, and the texts of the container's /etc files.
pub fn specify(
    request: &Request,
    cx: Circumstances<'_>,
) -> Result<(ContainerSpec, EtcFiles), Error> {
    let hostname = hostname(request, &cx)?;
    let etc = EtcFiles::new(request, &hostname, cx.host)?;
    let mut process = process(request, &cx, &hostname)?;
    let systemd = systemd::is_wanted(request.systemd, &process.args);
    if systemd {
        systemd::tell(&mut process.env, cx.id);
    } else if request.systemd_size.is_some() {
        return Err(Error::NoSystemd);
    }
    let added = match cx.own_root {
        // Somebody's directory: its files are left alone.
        false => Vec::new(),
        true => cx.accounts.added(request, &process.user, (cx.passwd, cx.group))?,
    };
    let Interior { mounts: usual, sysctls, masked_paths, read_only_paths, links } =
        interior(request, &cx.namespaces);
    let mounts = mounts(request, &cx, usual, systemd)?;
    let stop_signal = stop_signal(request, cx.config, systemd)?;
    check_sysctls(request.sysctls.keys(), &cx.namespaces)?;
    if request.domainname.is_some() && cx.namespaces[NsKind::Uts] != Namespace::New {
        let with = match &request.uts {
            Sharing::Container(name) => name.clone(),
            _ => "the host (--uts host)".to_owned(),
        };
        return Err(Error::SharedDomainname { with });
    }
    let spec = ContainerSpec::builder(cx.root, process).with(|spec| {
        spec.mounts = mounts;
        spec.links = links;
        spec.masked_paths = masked_paths;
        spec.read_only_paths = read_only_paths;
        spec.hostname = (cx.namespaces[NsKind::Uts] == Namespace::New).then_some(hostname);
        spec.namespaces = cx.namespaces;
        spec.root_read_only = request.read_only;
        if request.network == Some(Sharing::Private) {
            spec.network = Some(request.private.clone());
            spec.networks.clone_from(&request.networks);
        }
        let domainname = request.sysctls.get(DOMAIN_NAME).cloned();
        spec.domainname = request.domainname.clone().or(domainname);
        spec.sysctls = sysctls;
        spec.seccomp = match &request.security.seccomp {
            SeccompChoice::Default if request.privileged => SeccompChoice::Unconfined,
            choice => choice.clone(),
        };
        spec.resources.clone_from(&request.resources);
        spec.cgroups = request.cgroups;
        spec.init = request.init;
        spec.added = added;
        spec.stop_signal = stop_signal;
        spec.labels = cx.config.labels.clone().into_iter().chain(request.labels.clone()).collect();
        spec.annotations.clone_from(&request.annotations);
    });
    Ok((spec.build()?, etc))
}

fn process(request: &Request, cx: &Circumstances<'_>, hostname: &str) -> Result<Process, Error> {
    let user_text = request.user.as_deref().unwrap_or(&cx.config.user);
    let passwd = cx.accounts.extend(cx.passwd);
    let mut user = User::resolve(user_text, &passwd, cx.group)?;
    for group in &request.group_add {
        let id = super::user::added_group(group, cx.group)?;
        if !user.groups.contains(&id) {
            user.groups.push(id);
        }
    }
    let set = CapabilitySet::requested(request.privileged, &request.cap_add, &request.cap_drop)?;
    Ok(Process {
        args: arguments(request, cx.config)?,
        env: variables::of(request, cx.config, hostname, &user),
        cwd: working_directory(request, cx.config)?,
        capabilities: Capabilities::of_user(set, user.uid),
        user,
        terminal: request.tty,
        terminal_size: None,
        interactive: request.interactive,
        limits: request.ulimits.clone(),
        no_new_privileges: request.security.no_new_privileges,
        umask: request.umask,
        oom_score_adj: request.oom_score_adj,
        labels: Labels::new(&request.security.labels, cx.modules)?,
        keep_groups: request.keep_groups,
        tuning: Tuning { personality: request.personality, ..Tuning::default() },
        // CVE-2020-15257: who shares the host's network would reach the host's abstract sockets.
        own_sockets: cx.namespaces[NsKind::Network] == Namespace::Host && !request.privileged,
    })
}

fn hostname(request: &Request, cx: &Circumstances<'_>) -> Result<String, Error> {
    let host = &cx.host.hostname;
    match (&request.hostname, &request.network) {
        (Some(_), _) if cx.namespaces[NsKind::Uts] == Namespace::Host => {
            Err(Error::SharedHostname { with: "the host (--uts host)".to_owned() })
        }
        (Some(_), Some(Sharing::Container(name))) => {
            Err(Error::SharedHostname { with: format!("{name} (--network container:{name})") })
        }
        (Some(_), _) if cx.namespaces[NsKind::Uts] != Namespace::New => {
            Err(Error::SharedHostname { with: "another container (--uts)".to_owned() })
        }
        (Some(name), _) => Ok(name.clone()),
        (None, _) if cx.namespaces[NsKind::Uts] == Namespace::Host => Ok(host.clone()),
        // As docker does it: who shares the host's network, or another's, shares its name.
        (None, None | Some(Sharing::Host | Sharing::Container(_))) if !host.is_empty() => {
            Ok(host.clone())
        }
        (None, _) => Ok(cx.id.chars().take(12).collect()),
    }
}

/// A kernel parameter's name with dots between its parts: net/ipv4/conf/eth0.1/forwarding is
/// net.ipv4.conf.eth0/1.forwarding (sysctl(8); runc has it so).
pub fn dotted(name: &str) -> String {
    let has_dots = name.bytes().find(|byte| b"./".contains(byte)) != Some(b'/');
    let other = |letter| match letter {
        '.' => '/',
        '/' => '.',
        letter => letter,
    };
    if has_dots { name.to_owned() } else { name.chars().map(other).collect() }
}

/// Kernel parameters go by namespace: one of the host's would be refused by the kernel, or worse.
pub(super) fn check_sysctls<'a>(
    names: impl Iterator<Item = &'a String>,
    namespaces: &Namespaces,
) -> Result<(), Error> {
    const OF_IPC: [&str; 8] =
        ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];
    for name in names {
        let foreign = |why, kind| Err(Error::ForeignSysctl { name: name.clone(), why, kind });
        let kernel = name.strip_prefix("kernel.");
        let (kind, why) = if name.starts_with("net.") {
            (NsKind::Network, "it takes a network that is not the host's")
        } else if name.starts_with("fs.mqueue.") || kernel.is_some_and(|it| OF_IPC.contains(&it)) {
            (NsKind::Ipc, "it takes an ipc namespace that is not the host's")
        } else if kernel == Some("domainname") {
            (NsKind::Uts, "it takes a uts namespace that is not the host's")
        } else {
            let why = match kernel {
                Some("hostname") => {
                    "it is the host name, which has a setting of its own (hostname)"
                }
                _ => "it is the whole machine's",
            };
            return foreign(why, None);
        };
        if !namespaces.is_private(kind) {
            return foreign(why, Some(kind));
        }
    }
    Ok(())
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

fn working_directory(request: &Request, config: &ImageConfig) -> Result<PathBuf, Error> {
    let given = request.workdir.clone().unwrap_or_else(|| PathBuf::from(&config.working_dir));
    match given.as_os_str().is_empty() {
        true => Ok(PathBuf::from("/")),
        false => absolute("working directory", &given),
    }
}

fn stop_signal(request: &Request, config: &ImageConfig, systemd: bool) -> Result<i32, Error> {
    match (request.stop_signal, &config.stop_signal) {
        (Some(signal), _) => Ok(signal),
        (None, None) if systemd => Ok(signal::SYSTEMD),
        (None, None) => Ok(signal::TERM),
        (None, Some(text)) => {
            signal::parse(text).ok_or_else(|| Error::InvalidStopSignal { signal: text.clone() })
        }
    }
}

/// What a container of this request has in /proc, /dev and /sys, before the user's own mounts.
pub fn interior(request: &Request, namespaces: &Namespaces) -> Interior {
    let shm_size = match (&request.ipc, request.shm_size) {
        (Sharing::None, _) => None,
        (_, size) => Some(size.unwrap_or(defaults::SHM_SIZE)),
    };
    let mut sysctls = request.sysctls.clone();
    let has_sysctls = !request.security.proc_options.iter().any(|option| option == "subset=pid");
    if request.network == Some(Sharing::Private) && has_sysctls {
        // As docker has it: low ports of a network of its own are nobody else's.
        let low = "net.ipv4.ip_unprivileged_port_start".to_owned();
        sysctls.entry(low).or_insert_with(|| "0".to_owned());
    }
    sysctls.remove(DOMAIN_NAME);
    let (masked_paths, read_only_paths) = hidden_paths(request);
    Interior {
        mounts: defaults::mounts(namespaces, request.privileged, shm_size),
        links: defaults::links(),
        sysctls,
        masked_paths,
        read_only_paths,
    }
}

/// Root of a user namespace sets this one by its own call only (setdomainname(2)).
pub(super) const DOMAIN_NAME: &str = "kernel.domainname";

/// Everything below the root: the defaults, then what the user asked for, parents first.
fn mounts(
    request: &Request,
    cx: &Circumstances<'_>,
    usual: Vec<Mount>,
    systemd: bool,
) -> Result<Vec<Mount>, Error> {
    let mut mounts = usual;
    let options = &request.security.proc_options;
    if !options.is_empty() {
        if matches!(cx.namespaces[NsKind::Pid], Namespace::Host) {
            return Err(Error::ProcOfHost { options: options.join(",") });
        }
        let proc = mounts.iter_mut().filter(|mount| mount.kind == Kind::Proc);
        proc.for_each(|mount| {
            mount.kind = Kind::FileSystem {
                name: "proc".to_owned(),
                source: None,
                options: options.clone(),
                copy_up: false,
            };
        });
    }
    if let Some(shm) = &cx.shm {
        let shared = mounts.iter_mut().filter(|mount| mount.target == Path::new("/dev/shm"));
        shared.for_each(|mount| mount.kind = Kind::Detached(shm.clone()));
    }
    let node = |source: &Path, target: &Path, read_only| Mount {
        target: target.to_owned(),
        kind: Kind::Bind {
            source: source.to_owned(),
            recursive: false,
            propagation: Propagation::Private,
        },
        attributes: Attributes { read_only, ..Attributes::default() },
        recursive_attributes: None,
    };
    if request.privileged {
        // The nodes that every container has keep the stricter flags that they have there.
        let known = |node: &Path| mounts.iter().any(|mount| mount.target == node);
        let more: Vec<&PathBuf> = cx.devices.iter().filter(|node| !known(node)).collect();
        mounts.extend(more.into_iter().map(|device| node(device, device, false)));
    }
    for device in &request.devices {
        let target = absolute("device", &device.target)?;
        mounts.retain(|mount| mount.target != target);
        mounts.push(node(&device.source, &target, !device.write));
    }
    let etc = [
        ("resolv.conf", true),
        ("hostname", !request.no_hostname),
        ("hosts", !request.no_hosts),
        ("localtime", cx.host.localtime.is_some()),
    ];
    let roots = std::iter::once(Path::new("/"))
        .chain(request.chroot_directories.iter().map(PathBuf::as_path));
    for root in roots {
        let root = absolute("directory to chroot(2) to", root)?;
        for (name, _) in etc.iter().filter(|(_, wanted)| *wanted) {
            let mut file = node(&cx.files.join(name), &root.join("etc").join(name), false);
            file.attributes =
                Attributes { no_suid: true, no_dev: true, no_exec: true, ..Attributes::default() };
            mounts.push(file);
        }
    }
    if systemd {
        systemd::add_mounts(&mut mounts, request.systemd_size);
    }
    if request.read_only && request.read_only_tmpfs {
        let attributes = Attributes { no_suid: true, no_dev: true, ..Attributes::default() };
        mounts.extend(["/run", "/tmp", "/var/tmp"].map(|target| Mount {
            target: PathBuf::from(target),
            kind: Kind::Tmpfs { size: None, mode: 0o1777 },
            attributes,
            recursive_attributes: None,
        }));
    }
    if request.image_volumes == ImageVolumes::Tmpfs {
        for path in &cx.config.volumes {
            let path = absolute("image volume", Path::new(path))?;
            if path != Path::new("/") && !mounts.iter().any(|mount| mount.target == path) {
                mounts.push(temporary(path));
            }
        }
    }
    let asked = asked_mounts(request, &cx.stored)?;
    let targets: HashSet<&Path> = asked.iter().map(|mount| mount.target.as_path()).collect();
    mounts.retain(|mount| !targets.contains(mount.target.as_path()));
    mounts.extend(asked);
    Ok(mounts)
}

/// A temporary file system with the files that lie there.
fn temporary(target: PathBuf) -> Mount {
    Mount {
        target,
        kind: Kind::FileSystem {
            name: "tmpfs".to_owned(),
            source: None,
            options: vec!["mode=0755".to_owned()],
            copy_up: true,
        },
        attributes: Attributes { no_dev: true, ..Attributes::default() },
        recursive_attributes: None,
    }
}

fn asked_mounts(request: &Request, stored: &[Mount]) -> Result<Vec<Mount>, Error> {
    let binds = request.binds.iter().filter(|bind| !bind.overlay).map(|bind| Mount {
        target: bind.target.clone(),
        kind: Kind::Bind {
            source: bind.source.clone(),
            recursive: bind.recursive,
            propagation: bind.propagation,
        },
        attributes: Attributes {
            here_only: bind.writable_below,
            ..bind.strict.attributes(bind.read_only)
        },
        recursive_attributes: None,
    });
    let tmpfs = request.tmpfs.iter().map(|tmpfs| Mount {
        target: tmpfs.target.clone(),
        kind: tmpfs.kind(),
        attributes: Attributes {
            read_only: tmpfs.read_only,
            no_suid: !tmpfs.suid,
            no_dev: !tmpfs.dev,
            no_exec: !tmpfs.exec,
            ..Attributes::default()
        },
        recursive_attributes: None,
    });
    let others = request.file_systems.iter().map(|other| Mount {
        target: other.target.clone(),
        kind: Kind::FileSystem {
            name: other.name.clone(),
            source: None,
            options: other.options.clone(),
            copy_up: false,
        },
        attributes: Attributes {
            read_only: other.read_only,
            no_suid: true,
            no_exec: other.name == "devpts",
            ..Attributes::default()
        },
        recursive_attributes: None,
    });
    let mut asked: Vec<Mount> =
        binds.chain(tmpfs).chain(others).chain(stored.iter().cloned()).collect();
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

impl TmpfsRequest {
    fn kind(&self) -> Kind {
        if self.options.is_empty() && !self.copy_up {
            return Kind::Tmpfs { size: self.size, mode: self.mode };
        }
        let mut options = vec![format!("mode={:o}", self.mode)];
        options.extend(self.size.map(|size| format!("size={size}")));
        options.extend(self.options.iter().cloned());
        Kind::FileSystem { name: "tmpfs".into(), source: None, options, copy_up: self.copy_up }
    }
}

impl Strict {
    /// As the kernel has it.
    pub fn attributes(self, read_only: bool) -> Attributes {
        let Self { no_suid, no_dev, no_exec } = self;
        Attributes { read_only, no_suid, no_dev, no_exec, ..Attributes::default() }
    }
}

/// What the container may not see, and what it may read only.
pub fn hidden_paths(request: &Request) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let security = &request.security;
    let all_open = request.privileged || security.unmask_all;
    let keep = |paths: Vec<PathBuf>| -> Vec<PathBuf> {
        let nested = |path: &Path| security.labels.nested && path == Path::new("/sys/fs/selinux");
        let named = |path: &Path| security.unmask.iter().any(|pattern| is_meant(pattern, path));
        let open = |path: &PathBuf| all_open || named(path) || nested(path);
        paths.into_iter().filter(|path| !open(path)).collect()
    };
    let mut masked = keep(defaults::masked_paths());
    masked.extend(security.mask.iter().cloned());
    (masked, keep(defaults::read_only_paths()))
}

/// Whether a path is one of `pattern`, in which `*` stands for anything within a name (`unmask=/proc/*`).
fn is_meant(pattern: &Path, path: &Path) -> bool {
    let (mut wanted, mut names) = (pattern.components(), path.components());
    loop {
        let fits = match (wanted.next(), names.next()) {
            (None, None) => return true,
            (Some(wanted), Some(name)) => {
                fits(wanted.as_os_str().as_bytes(), name.as_os_str().as_bytes())
            }
            _ => false,
        };
        if !fits {
            return false;
        }
    }
}

/// A name of our own is short, so that the ways to read a pattern are few.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=name.len()).any(|skipped| fits(rest, &name[skipped..])),
        (Some((wanted, pattern)), Some((byte, name))) => wanted == byte && fits(pattern, name),
        _ => false,
    }
}

/// `path` without `.`, `..` and doubled slashes; a relative one is refused.
pub fn absolute(what: &'static str, path: &Path) -> Result<PathBuf, Error> {
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
            files: Path::new("/store/containers/0123"),
            root: RootMount::Directory("/rootfs".into()),
            own_root: true,
            devices: &[],
            namespaces: Namespaces::default(),
            shm: None,
            accounts: &Accounts::default(),
            stored: Vec::new(),
            modules: &SecurityModules::default(),
        };
        specify(request, cx).map(|(spec, _)| spec)
    }

    #[test]
    fn paths_are_opened_by_pattern() {
        let mut request = Request::default();
        let hidden = |patterns: &[&str], request: &mut Request| {
            request.security.unmask = patterns.iter().map(PathBuf::from).collect();
            let (masked, read_only) = hidden_paths(request);
            let shown =
                |path: &str| ![&masked, &read_only].iter().any(|it| it.contains(&path.into()));
            (shown("/proc/kcore"), shown("/proc/sys"), shown("/sys/dev/block"))
        };
        for (patterns, shown) in [
            (&["/proc/*"][..], (true, true, false)),
            (&["/proc/k*e", "/sys/*/block"], (true, false, true)),
            (&["/proc/sy", "/proc", "/sys/*", "*"], (false, false, false)),
            (&["/proc/sys/"], (false, true, false)),
        ] {
            assert_eq!(hidden(patterns, &mut request), shown, "{patterns:?}");
        }
    }

    #[test]
    fn options_of_proc_are_for_its_own() {
        let mut request = Request::default();
        request.security.proc_options = vec!["hidepid=2".into(), "gid=5".into()];
        let spec = spec(&request).expect("a specification");
        let proc = spec.mounts.iter().find(|mount| mount.target == Path::new("/proc"));
        let options = vec!["hidepid=2".to_owned(), "gid=5".to_owned()];
        let kind = Kind::FileSystem { name: "proc".into(), source: None, options, copy_up: false };
        assert_eq!(proc.map(|mount| &mount.kind), Some(&kind));
    }

    fn bind(target: &str) -> BindRequest {
        BindRequest {
            source: "/srv".into(),
            target: target.into(),
            read_only: false,
            recursive: true,
            propagation: Propagation::Private,
            create_source: false,
            strict: Strict::default(),
            writable_below: false,
            overlay: false,
            chown: false,
            id_mapped: false,
            mode: String::new(),
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
