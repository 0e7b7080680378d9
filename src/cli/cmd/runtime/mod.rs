//! `runtime`: the command line of an OCI runtime, runc's flags and words.
//!
//! `podman --runtime`, containerd's runc shim and others call it; called as `coracle-runtime`, the
//! binary is this command alone.

mod features;
mod group;
mod launch;
mod lists;
mod log;
mod program;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

use super::super::{Context, Error};
use crate::engine::oci::Runtime;

/// Run bundles as an OCI runtime does
#[derive(Debug, clap::Args)]
#[command(display_name = "coracle runtime", disable_version_flag = true, version = concat!(env!("CARGO_PKG_VERSION"), "\nspec: 1.2.0"))]
pub(crate) struct Args {
    /// Print the versions, as runc does
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    /// Keep the states of containers there [default: $XDG_RUNTIME_DIR/coracle-runtime]
    #[arg(long, value_name = "DIRECTORY")]
    root: Option<PathBuf>,
    /// Write errors to this file too, and remarks in place of stderr
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// The form of the log
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
    /// No effect: there is no more to log
    #[arg(long)]
    debug: bool,
    /// No effect: whether there is root is found out
    #[arg(long, value_name = "true|false|auto")]
    rootless: Option<Rootless>,
    /// No effect: checkpoints are refused
    #[arg(long, value_name = "PROGRAM")]
    criu: Option<PathBuf>,
    /// Read cgroupsPath as SLICE:PREFIX:NAME, which the user's systemd makes where it must
    #[arg(long)]
    systemd_cgroup: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// runc's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rootless {
    True,
    False,
    Auto,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(launch::CreateArgs),
    /// Let a container's program start
    Start(launch::IdArgs),
    Run(launch::RunArgs),
    /// Print what a container is, as JSON
    State(launch::IdArgs),
    Kill(launch::KillArgs),
    Delete(launch::DeleteArgs),
    Exec(program::ExecArgs),
    Pause(group::PauseArgs),
    Resume(group::ResumeArgs),
    Update(group::UpdateArgs),
    Events(group::EventsArgs),
    List(lists::ListArgs),
    Ps(lists::PsArgs),
    /// Refused: coracle makes no checkpoints
    #[command(hide = true)]
    Checkpoint(NoCheckpoint),
    /// Refused: there are no checkpoints to go on from
    #[command(hide = true)]
    Restore(NoCheckpoint),
    Spec(features::SpecArgs),
    Features(features::FeaturesArgs),
}

/// Whatever stands behind `checkpoint` and `restore`.
#[derive(Debug, clap::Args)]
struct NoCheckpoint {
    #[arg(num_args = 0.., trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _rest: Vec<std::ffi::OsString>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    if let Some(path) = &args.log {
        log::open(path)?; // who reads it is to find it, and one that cannot be is told of at once
    }
    let done = dispatch(args, cx);
    if let (Err(error), Some(path)) = (&done, &args.log) {
        log::append(path, args.log_format, "error", &error.to_string())?;
    }
    match (&args.command, done) {
        (Command::Exec(_), Err(error)) if !matches!(error, Error::Usage { .. }) => {
            cx.report.tell(&error);
            Ok(ExitCode::from(NOT_EXECUTED))
        }
        (_, done) => done,
    }
}

/// runc's code for it, which few programs end with themselves.
const NOT_EXECUTED: u8 = 255;

fn dispatch(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let runtime = runtime(args, cx)?;
    let report = cx.report;
    // With a log stderr is the container's: podman shows what comes there as its output.
    let tell = |remark: &str| {
        let logged =
            args.log.as_ref().map(|path| log::append(path, args.log_format, "warning", remark));
        if !matches!(logged, Some(Ok(()))) {
            report.note(remark);
        }
    };
    match &args.command {
        Command::Create(args) => launch::create(args, &runtime, &tell),
        Command::Start(args) => launch::start(args, &runtime),
        Command::Run(args) => launch::run(args, &runtime, &tell),
        Command::State(args) => launch::state(args, &runtime, cx),
        Command::Kill(args) => launch::kill(args, &runtime),
        Command::Delete(args) => launch::delete(args, &runtime, &tell),
        Command::Exec(args) => program::exec(args, &runtime, &tell),
        Command::Pause(args) => group::pause(args, &runtime),
        Command::Resume(args) => group::resume(args, &runtime),
        Command::Update(args) => group::update(args, &runtime),
        Command::Events(args) => group::events(args, &runtime, cx),
        Command::List(args) => lists::list(args, &runtime, cx),
        Command::Ps(args) => lists::ps(args, &runtime, cx),
        Command::Checkpoint(_) | Command::Restore(_) => Err(Error::usage(
            "a checkpoint cannot be made: it takes CRIU, and that root of the host",
        )),
        Command::Spec(args) => features::spec(args),
        Command::Features(_) => features::features(cx),
    }
}

/// Where the states are: `--root`, the runtime directory, a directory of the user's own in /tmp.
fn runtime(args: &Args, cx: &Context) -> Result<Runtime, Error> {
    let named = |name: &str| cx.environment.get(name).filter(|value| !value.is_empty());
    let root = match (&args.root, named("XDG_RUNTIME_DIR")) {
        (Some(root), _) => root.clone(),
        (None, Some(runtime)) => Path::new(&runtime).join("coracle-runtime"),
        (None, None) => {
            let uid = rustix::process::getuid().as_raw();
            PathBuf::from(format!("/tmp/coracle-runtime-{uid}"))
        }
    };
    let path = cx.environment.get("PATH").unwrap_or_default();
    Ok(Runtime { root: absolute(&root)?, path, systemd: args.systemd_cgroup })
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|source| Error::File {
        action: "find",
        path: path.to_owned(),
        source,
    })
}
