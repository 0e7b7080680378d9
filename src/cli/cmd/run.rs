//! `run`

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgAction, ValueEnum};

use super::super::context::driver_named;
use super::super::parse::{self, Invalid, MountRequest, Stream};
use super::super::seldom::Seldom;
use super::super::{Context, Error, complete};
use super::identity::Identity;
use super::isolation::Isolation;
use super::lifecycle::Lifecycle;
use super::limits::{self, LimitArgs};
use super::networking::Networking;
use super::registry::{self, RegistryArgs};
use super::variables::Variables;
use crate::engine::bundle::{self, ImageVolumes, Sharing, Systemd, TmpfsRequest, VolumesFrom};
use crate::engine::container::{LogConfig, Name, Restart, Rootfs};
use crate::engine::pull::Policy;
use crate::engine::reference::Reference;
use crate::engine::runtime::{Ahead, DetachKeys};
use crate::engine::snapshot::Driver;
use crate::engine::store::full_name;
use crate::engine::{
    Engine, Found, HealthRequest, Outcome, Phase, Preserved, RunRequest, Streams, userns,
};
use crate::oci::{Digest, Platform};

/// Run a command in a new container
#[derive(Debug, clap::Args)]
#[command(after_help = r#"Examples:
  coracle run --rm -it debian:12 bash                      # a shell
  coracle run --rm -v "$PWD":/src -w /src gcc:13 make      # build what is here
  coracle run -d --name web -p 8080:80 nginx               # lives on: see logs, stop
  coracle run --rm -m 512m --cpus 1 --network none app:1   # a quiet corner
  coracle run --rm --explain debian:12 true                # what would be done, and why"#)]
#[command(
    disable_help_flag = true,
    override_usage = "coracle run [OPTIONS] IMAGE [COMMAND] [ARG]..."
)]
pub(crate) struct Args {
    /// Leave the container running, and print its ID
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    attachment: Seldom<Attachment>,
    #[command(flatten)]
    insight: Seldom<Insight>,
    #[command(flatten)]
    shape: Shape,
}

/// What goes between the caller and the container, when it is not left alone.
#[derive(Debug, Default, clap::Args)]
struct Attachment {
    /// Forward signals to the container's process; false: they end this command, and the container runs on
    /// [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = super::boolean)]
    sig_proxy: Option<bool>,
    /// Leave the container running when these keys are typed, such as ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<DetachKeys>,
    /// Attach to stdin, stdout or stderr only
    #[arg(short, long, value_name = "STREAM", value_parser = parse::stream)]
    attach: Vec<Stream>,
    /// Pass on so many descriptors from 3 up
    #[arg(long, value_name = "N")]
    preserve_fds: Option<u32>,
    /// Pass on these descriptors, by number
    #[arg(long, value_name = "N", value_delimiter = ',')]
    preserve_fd: Vec<u32>,
}

/// What is told about the launch itself.
#[derive(Debug, Default, clap::Args)]
struct Insight {
    /// Print what would be done, and do none of it but fetching the image
    #[arg(long, value_name = "text|json", num_args = 0..=1, require_equals = true,
        default_missing_value = "text")]
    explain: Option<Explain>,
    /// Print how long each phase took
    #[arg(long)]
    timing: bool,
}

/// What `run` and `create` take alike: a container.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
pub(super) struct Shape {
    /// Keep stdin open
    #[arg(short, long)]
    interactive: bool,
    /// Give the container a terminal
    #[arg(short, long)]
    tty: bool,
    /// Remove the container when it ends
    #[arg(long)]
    rm: bool,
    /// Name the container
    #[arg(long)]
    name: Option<Name>,
    #[command(flatten)]
    variables: Variables,
    /// Mount a volume, or a file or directory of the host: NAME:PATH, HOST-PATH:PATH[:ro], PATH
    #[arg(short, long, value_name = "[SOURCE:]PATH[:OPTIONS]", value_parser = volume,
        add = complete::volume_sources())]
    volume: Vec<MountRequest>,
    #[command(flatten)]
    mounts: Seldom<Mounts>,
    /// Start in this directory; made where it is missing
    #[arg(short, long, value_name = "DIRECTORY", value_parser = directory)]
    workdir: Option<PathBuf>,
    /// Run as this user: name or id, with :GROUP if another one
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Run this instead of the image's entry point; "" for none
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<OsString>,
    #[command(flatten)]
    identity: Seldom<Identity>,
    /// Make the root file system read-only; volumes and temporary ones are not
    #[arg(long)]
    read_only: bool,
    #[command(flatten)]
    root: Seldom<Root>,
    /// Put a process before the program that forwards signals and reaps children
    #[arg(long)]
    init: bool,
    #[command(flatten)]
    first: Seldom<First>,
    #[command(flatten)]
    labels: Seldom<Labels>,
    /// Ask the registry: missing, always, never or newer
    #[arg(long, value_name = "WHEN", default_value = "missing", hide_default_value = true)]
    pull: Policy,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    networking: Networking,
    #[command(flatten)]
    isolation: Seldom<Isolation>,
    #[command(flatten)]
    limits: Seldom<LimitArgs>,
    #[command(flatten)]
    lifecycle: Seldom<Lifecycle>,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// The image, then the command and its arguments
    #[arg(value_name = "IMAGE", required = true, num_args = 1.., trailing_var_arg = true,
        add = complete::image_names())]
    image: Vec<OsString>,
}

/// Mounts beside the volumes of `-v`.
#[derive(Debug, Default, clap::Args)]
struct Mounts {
    /// Mount: type=bind|volume|tmpfs|image,source=SOURCE,target=PATH[,readonly]
    #[arg(long, value_name = "FIELDS", value_parser = mount)]
    mount: Vec<MountRequest>,
    /// Mount the volumes and host paths of another container
    #[arg(long, value_name = "CONTAINER[:ro]", value_parser = parse::volumes_from,
        add = complete::container_names())]
    volumes_from: Vec<VolumesFrom>,
    /// Mount a temporary file system: PATH[:size=64m,mode=1777]
    #[arg(long, value_name = "PATH[:OPTIONS]", value_parser = parse::tmpfs)]
    tmpfs: Vec<TmpfsRequest>,
    /// Make the image's volumes directories (bind), temporary file systems (tmpfs), or leave them
    /// (ignore)
    #[arg(long, value_name = "bind|tmpfs|ignore", value_parser = parse::image_volumes)]
    image_volume: Option<ImageVolumes>,
    /// Limit the size of /dev/shm
    #[arg(long, value_name = "BYTES", value_parser = parse::size)]
    shm_size: Option<u64>,
}

/// What the root file system is made of, and how.
#[derive(Debug, Default, clap::Args)]
struct Root {
    /// With --read-only: temporary file systems on /run, /tmp and /var/tmp
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = super::boolean)]
    read_only_tmpfs: Option<bool>,
    /// Take a directory in place of the image: DIRECTORY, or DIRECTORY:O to leave it as it is
    #[arg(long)]
    rootfs: bool,
    /// With the container remove its image, unless another container has it; implies --rm
    #[arg(long)]
    rmi: bool,
    /// Make the root file system with overlay, fuse or copy; probed by default
    #[arg(long, value_name = "DRIVER", value_parser = driver_named)]
    storage_driver: Option<Driver>,
}

/// What the first process is, when it is not the program.
#[derive(Debug, Default, clap::Args)]
struct First {
    /// Set it up for systemd as its first process: true (where the program is systemd), always, false
    #[arg(long, value_name = "WHEN", value_parser = parse::systemd)]
    systemd: Option<Systemd>,
    /// Limit the size of systemd's temporary file systems, each
    #[arg(long, value_name = "BYTES", value_parser = parse::size)]
    shm_size_systemd: Option<u64>,
    /// Accepted: the program of --init is coracle itself
    #[arg(long, value_name = "FILE", hide = true)]
    init_path: Option<PathBuf>,
}

/// What is written down about the container.
#[derive(Debug, Default, clap::Args)]
struct Labels {
    /// Label the container
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = parse::pair)]
    label: Vec<(String, String)>,
    /// Label the container with the lines of a file
    #[arg(long, value_name = "FILE")]
    label_file: Vec<PathBuf>,
    /// Annotate the container, for the OCI configuration
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse::pair)]
    annotation: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Explain {
    Text,
    Json,
}

/// 128 and SIGKILL.
const KILLED: u8 = 137;

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let shape = &args.shape;
    if shape.interactive && shape.tty && !args.detach && !std::io::stdin().is_terminal() {
        return Err(Error::NotATerminal);
    }
    let mut request = shape.request(cx)?;
    request.detach = args.detach;
    request.sig_proxy = args.attachment.sig_proxy.unwrap_or(true);
    request.detach_keys = args.attachment.detach_keys.clone().unwrap_or_default();
    request.attach = args.attachment.streams(args.detach)?;
    request.preserved = args.attachment.preserved()?;
    let engine = shape.engine(cx)?;
    let begun = cx.begun.take().map(|begun| begun.ahead);
    let ahead = match args.insight.explain {
        None => engine.ahead(&request, begun)?,
        Some(_) => None,
    };
    let found = shape.find(cx, &engine, &request, ahead)?;
    if let Some(kind) = args.insight.explain {
        let prepared = engine.plan(&request, found)?;
        let text = match kind {
            Explain::Text => prepared.explain(),
            Explain::Json => {
                let text = serde_json::to_string_pretty(&prepared.config_json());
                text.map_err(std::io::Error::from).map_err(Error::Output)? + "\n"
            }
        };
        cx.out.text(text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Outcome { id, code, out_of_memory, phases } =
        engine.run(&request, found, &cx.teller("run"))?;
    if let Some(out) = out_of_memory.filter(|_| code == Some(KILLED)) {
        cx.report.note(&limits::out_of_memory(out));
    }
    if args.insight.timing {
        tell_phases(&phases);
    }
    match code {
        Some(code) => Ok(ExitCode::from(code)),
        None => cx.out.line(id).map(|()| ExitCode::SUCCESS),
    }
}

/// Says that an image is for another machine, unless that was asked for: docker's words.
fn warn_of_foreign(request: &RunRequest, found: &Found) {
    let (image, host) = (&found.image().platform, Platform::host());
    if request.platform.is_none() && !host.accepts(image) {
        let image = image.to_string();
        let image = super::super::report::escape(&image);
        let _ = writeln!(
            std::io::stderr(),
            "WARNING: The requested image's platform ({image}) does not match the detected host \
             platform ({host}) and no specific platform was requested"
        );
    }
}

/// Fetches the image, in a child: its threads never live in the process that clones.
fn fetch(args: &Shape, cx: &Context, engine: &Engine, request: &RunRequest) -> Result<Digest, u8> {
    let image = &request.image;
    let missing = engine.store().resolve(image).is_err();
    if missing && !args.registry.quiet && registry::is_remote(image) {
        let _ = writeln!(std::io::stderr(), "Unable to find image '{image}' locally");
    }
    // Only a name says which registry has the signatures.
    let named = |image: &str| {
        let full = image.parse::<Reference>().ok().map(|reference| full_name(&reference));
        full.is_some_and(|full| matches!(engine.store().named(&full), Ok(Some(_))))
    };
    if request.verify && !missing && !named(image) {
        let message = format!("cannot verify {image}: name it as its registry does, not by its ID");
        cx.report.tell(&Error::usage(message));
        return Err(125);
    }
    let pulled = registry::prepare(cx, &args.registry, image).and_then(|wanted| {
        let owners = engine.enter_owners()?;
        registry::fetch(cx, engine, &args.registry, (image, wanted), request.policy, owners)
    });
    pulled.map(|pulled| pulled.id).map_err(|error| {
        cx.report.tell(&error);
        super::super::report::code(&error, "run")
    })
}

fn tell_phases(phases: &[Phase]) {
    let mut err = std::io::stderr().lock();
    let ms = |phase: &Phase| phase.took.as_secs_f64() * 1e3;
    for phase in phases {
        let _ = writeln!(err, "{:<14}{:>10.3} ms", phase.name, ms(phase));
    }
    let _ = writeln!(err, "{:<14}{:>10.3} ms", "all", phases.iter().map(ms).sum::<f64>());
}

impl Shape {
    /// What the engine is asked for: a container that is waited for.
    pub(super) fn request(&self, cx: &Context) -> Result<RunRequest, Error> {
        let (image, command) = self.image.split_first().ok_or_else(|| Error::usage("no image"))?;
        let image = image.to_str().ok_or_else(|| Error::usage("the image's name is no text"))?;
        let image = image.strip_prefix("docker://").unwrap_or(image);
        if self.root.rootfs && self.root.rmi {
            return Err(Error::usage("--rmi: a directory (--rootfs) is no image"));
        }
        if self.root.rootfs && self.registry.verifies() {
            return Err(Error::usage("--verify: a directory (--rootfs) has no signature"));
        }
        // The embedded image follows the binary: whether it still fits is looked at each time.
        let policy = match self.pull {
            Policy::Missing if registry::is_embedded(image) => Policy::Always,
            policy => policy,
        };
        let mut request = RunRequest {
            image: image.to_owned(),
            platform: self.registry.platform.wanted()?,
            policy,
            verify: !registry::is_embedded(image) && !self.registry.keys(cx).is_empty(),
            name: self.name.clone(),
            remove: self.rm || self.root.rmi,
            remove_image: self.root.rmi,
            sig_proxy: true,
            timeout: None,
            cidfile: None,
            pid_file: None,
            keeper_pid_file: None,
            requires: Vec::new(),
            rootfs: self.root.rootfs.then(|| rootfs(image)).transpose()?,
            attach: Streams::ALL,
            preserved: Preserved::default(),
            detach: false,
            replace: false,
            detach_keys: DetachKeys::default(),
            restart: Restart::No,
            log: LogConfig::default(),
            health: HealthRequest::default(),
            stop_timeout_s: None,
            container: container(self, cx, command)?,
        };
        self.lifecycle.apply(&mut request)?;
        Ok(request)
    }

    /// An engine.
    pub(super) fn engine(&self, cx: &Context) -> Result<Engine, Error> {
        cx.engine(self.root.storage_driver, self.isolation.ids()?)
    }

    /// The image, fetched where that is due.
    pub(super) fn find(
        &self,
        cx: &Context,
        engine: &Engine,
        request: &RunRequest,
        ahead: Option<Ahead>,
    ) -> Result<Found, Error> {
        let asks = request.verify || matches!(request.policy, Policy::Always | Policy::Newer);
        let image = match asks || self.root.rootfs {
            true => cx.local_image(engine, &request.image)?,
            false => cx.image_or_member(engine, &request.image, request.platform.as_ref())?,
        };
        let request = &RunRequest { image, ..request.clone() };
        let found = engine.find(request, ahead, &|| fetch(self, cx, engine, request))?;
        warn_of_foreign(request, &found);
        Ok(found)
    }
}

fn container(args: &Shape, cx: &Context, command: &[OsString]) -> Result<bundle::Request, Error> {
    let entrypoint = args.entrypoint.as_ref();
    let mut request = bundle::Request {
        command: command.to_vec(),
        entrypoint: entrypoint.map(|it| words(it)).transpose()?,
        workdir: args.workdir.clone(),
        user: args.user.clone(),
        interactive: args.interactive,
        tty: args.tty,
        tmpfs: args.mounts.tmpfs.clone(),
        volumes_from: args.mounts.volumes_from.clone(),
        read_only: args.read_only,
        shm_size: args.mounts.shm_size,
        init: args.init,
        systemd: args.first.systemd.unwrap_or_default(),
        systemd_size: args.first.shm_size_systemd,
        image_volumes: args.mounts.image_volume.unwrap_or_default(),
        labels: args.labels.all()?,
        annotations: args.labels.annotation.iter().cloned().collect(),
        read_only_tmpfs: args.root.read_only_tmpfs.unwrap_or(false),
        ..bundle::Request::default()
    };
    for mount in args.volume.iter().chain(&args.mounts.mount).cloned() {
        match mount {
            MountRequest::Bind(bind) => request.binds.push(bind),
            MountRequest::Volume(volume) => request.volumes.push(volume),
            MountRequest::Image(image) => request.images.push(image),
            MountRequest::Tmpfs(tmpfs) => request.tmpfs.push(tmpfs),
            MountRequest::FileSystem(other) => request.file_systems.push(other),
        }
    }
    args.isolation.apply(&mut request)?;
    request.resources = args.limits.resources()?;
    request.cgroups = args.limits.mode();
    args.networking.apply(&mut request, cx)?;
    args.variables.apply(&mut request, cx)?;
    args.identity.apply(&mut request)?;
    check_shared(args, &request)?;
    if let Some(path) = &args.first.init_path {
        cx.report.note(&format!("--init-path {}: coracle is the init itself", path.display()));
    }
    if let Some(remark) = args.isolation.remark() {
        cx.report.note(remark);
    }
    Ok(request)
}

/// What belongs to a namespace is its owner's to say: docker's words.
fn check_shared(args: &Shape, request: &bundle::Request) -> Result<(), Error> {
    let is_of = |sharing: &Sharing| matches!(sharing, Sharing::Container(_));
    let network = request.network.as_ref().is_some_and(is_of);
    let resolves = !(request.dns.is_empty()
        && request.dns_search.is_empty()
        && request.dns_options.is_empty());
    let is_own = |ids: &userns::Request| *ids != userns::Request::Auto;
    let others = [&request.pid, &request.ipc, &request.uts, &request.cgroup];
    let joins = network || others.into_iter().any(is_of);
    let conflict = if network && resolves {
        "dns and the network mode"
    } else if network && !request.add_hosts.is_empty() {
        "custom host-to-IP mapping and the network mode"
    } else if request.shm_size.is_some() && request.ipc != Sharing::Private {
        "--shm-size and the IPC mode"
    } else if joins && args.isolation.ids()?.as_ref().is_some_and(is_own) {
        "ids of its own and namespaces of another container, which has its ids"
    } else {
        return Ok(());
    };
    Err(Error::usage(format!("conflicting options: {conflict}")))
}

/// Nothing, one program, or podman's JSON array.
fn words(entrypoint: &OsStr) -> Result<Vec<OsString>, Error> {
    match entrypoint.to_str() {
        Some("") => Ok(Vec::new()),
        Some(text) if text.starts_with('[') => {
            let words: Vec<String> = serde_json::from_str(text)
                .map_err(|error| Error::usage(format!("--entrypoint {text}: {error}")))?;
            Ok(words.into_iter().map(OsString::from).collect())
        }
        _ => Ok(vec![entrypoint.to_owned()]),
    }
}

/// `DIRECTORY` or `DIRECTORY:O`.
fn rootfs(text: &str) -> Result<Rootfs, Error> {
    let (path, overlay) = match text.rsplit_once(':') {
        Some((path, "O")) => (path, true),
        Some((_, options)) if !Path::new(text).exists() => {
            return Err(Error::usage(format!("--rootfs {text}: want O, not {options:?}")));
        }
        _ => (text, false),
    };
    let found = std::fs::canonicalize(path);
    let path = found.map_err(|source| Error::File {
        action: "use as a root",
        path: path.into(),
        source,
    })?;
    Ok(Rootfs { path, overlay })
}

pub(super) fn from_here(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|source| Error::File {
        action: "find",
        path: path.to_owned(),
        source,
    })
}

/// Those that `--attach` names, all where it is not given.
pub(super) fn streams(attach: &[Stream]) -> Streams {
    let has = |stream| attach.is_empty() || attach.contains(&stream);
    Streams { stdin: has(Stream::Stdin), stdout: has(Stream::Stdout), stderr: has(Stream::Stderr) }
}

impl Attachment {
    fn streams(&self, detach: bool) -> Result<Streams, Error> {
        if detach && !self.attach.is_empty() {
            return Err(Error::usage(
                "conflicting options: cannot specify both --attach and --detach",
            ));
        }
        Ok(streams(&self.attach))
    }

    /// What was promised to the program must be there.
    fn preserved(&self) -> Result<Preserved, Error> {
        let count = row_of_descriptors(self.preserve_fds.unwrap_or(0))?;
        self.preserve_fd.iter().try_for_each(|number| check_descriptor(*number))?;
        Ok(Preserved { count, numbers: self.preserve_fd.clone() })
    }
}

/// So many descriptors from 3 up, which must be open.
pub(super) fn row_of_descriptors(count: u32) -> Result<u32, Error> {
    let mut row = (3..).take(usize::try_from(count).unwrap_or(usize::MAX));
    row.try_for_each(check_descriptor).map(|()| count)
}

fn check_descriptor(number: u32) -> Result<(), Error> {
    match crate::engine::runtime::is_open(number) {
        true => Ok(()),
        false => Err(Error::usage(format!("there is no descriptor {number} to pass on"))),
    }
}

impl Labels {
    /// Those of files and of the line, which has the last word.
    fn all(&self) -> Result<BTreeMap<String, String>, Error> {
        let mut labels = BTreeMap::new();
        for path in &self.label_file {
            let text = String::from_utf8_lossy(&read(path)?).into_owned();
            labels.extend(parse::label_file(&text).map_err(|error| in_file(path, &error))?);
        }
        labels.extend(self.label.iter().cloned());
        Ok(labels)
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::File {
        action: "read",
        path: path.to_owned(),
        source,
    })
}

pub(super) fn in_file(path: &Path, error: &Invalid) -> Error {
    Error::usage(format!("{}: {error}", path.display()))
}

fn volume(text: &str) -> Result<MountRequest, Invalid> {
    parse::volume(text, &std::env::current_dir().unwrap_or_default())
}

fn mount(text: &str) -> Result<MountRequest, Invalid> {
    parse::mount(text, &std::env::current_dir().unwrap_or_default())
}

pub(super) fn directory(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let absolute = path.is_absolute().then_some(path);
    absolute.ok_or_else(|| format!("the working directory {text:?} is not an absolute path"))
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches as _};

    use super::super::super::flags;
    use super::super::super::seldom::Brief;
    use super::*;

    fn parse(line: &[&str]) -> Result<Args, clap::Error> {
        parse_with(Command::new("run"), line)
    }

    fn parse_with(command: Command, line: &[&str]) -> Result<Args, clap::Error> {
        use clap::Args as _;
        let command = command.args_override_self(true).no_binary_name(true);
        let mut command = Args::augment_args(command);
        command.build();
        let words: Vec<OsString> = line.iter().map(OsString::from).collect();
        let words = flags::normalize(&command, &words);
        command.try_get_matches_from(words).and_then(|matches| Args::from_arg_matches(&matches))
    }

    #[test]
    fn what_stands_behind_the_image_is_the_command() {
        let args =
            parse(&["--rm", "-it", "-e", "A=b", "debian", "sh", "-c", "x", "--rm=false", "--"])
                .expect("valid");
        assert!(args.shape.rm && args.shape.interactive && args.shape.tty);
        assert_eq!(args.shape.image, ["debian", "sh", "-c", "x", "--rm=false", "--"]);
        let args = parse(&["debian", "-e", "x"]).expect("valid");
        assert_eq!((args.shape.image.len(), args.shape.variables.env.len()), (3, 0));
    }

    #[test]
    fn a_line_without_seldom_flags_means_the_same_without_them() {
        let brief = |line: &[&str]| parse_with(Command::new("run").add(Brief), line);
        for line in [
            &["debian"][..],
            &["--rm", "-it", "--name=web", "-v", "/a:/b", "debian", "sh", "-c", "x", "--memory=1g"],
            &["--network", "none", "-p", "80:80", "-e", "A=b", "-w/x", "--", "debian", "-m"],
        ] {
            let both = [parse(line), brief(line)].map(|args| format!("{:?}", args.expect("valid")));
            assert_eq!(both[0], both[1]);
        }
        for line in [&["-m", "1g", "debian"][..], &["--init", "-h", "box", "debian"], &["--help"]] {
            assert!(brief(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn booleans_are_go_s() {
        let args = parse(&["--rm=false", "--sig-proxy=false", "-i=0", "x"]);
        assert!(args.is_err(), "a short flag takes no value");
        let args = parse(&["--rm", "--rm=false", "--sig-proxy=false", "x"]).expect("valid");
        assert!(!args.shape.rm);
        assert_eq!(args.attachment.sig_proxy, Some(false));
        let args = parse(&["--tls-verify", "x"]).expect("valid");
        assert_eq!(args.shape.image, ["x"]);
    }

    #[test]
    fn the_last_of_a_single_value_wins_and_aliases_work() {
        let args =
            parse(&["-w", "/a", "-w", "/b", "--net=none", "--dns-opt", "x", "--explain", "i"])
                .expect("valid");
        assert_eq!(args.shape.workdir, Some("/b".into()));
        let network = args.shape.networking.network.first().map(|network| network.sharing.clone());
        assert_eq!(network, Some(bundle::Sharing::None));
        assert_eq!(args.insight.explain, Some(Explain::Text));
        assert_eq!(args.shape.identity.dns_option, ["x"]);
        assert_eq!(args.shape.image, ["i"]);
    }

    #[test]
    fn h_is_the_host_name() {
        let args = parse(&["-h", "box", "i"]).expect("valid");
        assert_eq!(args.shape.identity.hostname.as_deref(), Some("box"));
    }

    #[test]
    fn mistakes_are_refused() {
        for line in [
            &["--nope", "i"][..],
            &[],
            &["-v", "data:x", "i"],
            &["--network", "web:colour=red", "i"],
            &["-p", "80:x", "i"],
            &["-w", "relative", "i"],
        ] {
            assert!(parse(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn entry_points_are_words() {
        let words = |text: &str| words(OsStr::new(text)).expect("valid");
        assert!(words("").is_empty());
        assert_eq!(words("/bin/sh"), ["/bin/sh"]);
        assert_eq!(words(r#"["a","b c"]"#), ["a", "b c"]);
    }
}
