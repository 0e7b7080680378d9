//! `create`, `start`, `run`, `state`, `kill`, `delete`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::super::super::{Context, Error};
use super::super::run::row_of_descriptors;
use super::super::stop::parse_signal;
use super::absolute;
use crate::engine::oci::{Create, Runtime, Terminal};

/// Make a container of a bundle; its program waits for start
#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// The bundle's directory
    #[arg(short, long, value_name = "DIRECTORY", default_value = ".")]
    bundle: PathBuf,
    /// Send the terminal to who listens on this socket
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Send a pidfd of the container's first process to who listens on this socket
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// Write the pid of the container's first process to a file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Move the root over / instead of pivot_root, where / is an initramfs
    #[arg(long)]
    no_pivot: bool,
    /// No effect: a container never gets the caller's keys
    #[arg(long)]
    no_new_keyring: bool,
    /// Pass on so many descriptors from 3 up
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    /// The container's ID
    id: String,
}

/// Make a container of a bundle, run it to its end and delete it
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    create: CreateArgs,
    /// Do not wait for the end
    #[arg(short, long)]
    detach: bool,
    /// No effect: what a container leaves behind ends with it
    #[arg(long)]
    no_subreaper: bool,
    /// Do not delete the container when it ends
    #[arg(long)]
    keep: bool,
}

// What it is for stands with each command that has it.
#[derive(Debug, clap::Args)]
pub(super) struct IdArgs {
    /// The container's ID
    id: String,
}

/// Send a signal to a container's first process
#[derive(Debug, clap::Args)]
pub(super) struct KillArgs {
    /// Send it to all of its processes
    #[arg(short, long)]
    all: bool,
    /// The container's ID
    id: String,
    /// The signal, by name or number; 0 sends none and tells whether it lives
    #[arg(default_value = "SIGTERM", value_parser = signal_named)]
    signal: i32,
}

/// Delete a container that has stopped
#[derive(Debug, clap::Args)]
pub(super) struct DeleteArgs {
    /// Kill it first; a container that is not there is no error
    #[arg(short, long)]
    force: bool,
    /// The container's ID
    id: String,
}

impl CreateArgs {
    fn request(&self) -> Result<Create, Error> {
        Ok(Create {
            id: self.id.clone(),
            bundle: absolute(&self.bundle)?,
            terminal: terminal(self.console_socket.as_ref())?,
            pidfd_socket: self.pidfd_socket.as_deref().map(absolute).transpose()?,
            pid_file: self.pid_file.as_deref().map(absolute).transpose()?,
            preserve_fds: row_of_descriptors(self.preserve_fds)?,
            no_pivot: self.no_pivot,
            detach: true,
        })
    }
}

/// Where a terminal goes.
pub(super) fn terminal(socket: Option<&PathBuf>) -> Result<Terminal, Error> {
    Ok(match socket {
        Some(path) => Terminal::Socket(absolute(path)?),
        None => Terminal::Caller,
    })
}

pub(super) fn create(
    args: &CreateArgs,
    runtime: &Runtime,
    tell: &dyn Fn(&str),
) -> Result<ExitCode, Error> {
    let create = args.request()?;
    runtime.create(&create, tell)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn start(args: &IdArgs, runtime: &Runtime) -> Result<ExitCode, Error> {
    runtime.start(&args.id)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn run(
    args: &RunArgs,
    runtime: &Runtime,
    tell: &dyn Fn(&str),
) -> Result<ExitCode, Error> {
    let create = Create { detach: args.detach, ..args.create.request()? };
    let exit = runtime.run(&create, args.keep, tell)?;
    Ok(exit.map_or(ExitCode::SUCCESS, |exit| ExitCode::from(exit.code())))
}

pub(super) fn state(args: &IdArgs, runtime: &Runtime, cx: &mut Context) -> Result<ExitCode, Error> {
    let (state, status) = runtime.state(&args.id)?;
    cx.out.text(format!("{:#}\n", state.json(status)))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn kill(args: &KillArgs, runtime: &Runtime) -> Result<ExitCode, Error> {
    runtime.kill(&args.id, args.signal, args.all)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn delete(
    args: &DeleteArgs,
    runtime: &Runtime,
    tell: &dyn Fn(&str),
) -> Result<ExitCode, Error> {
    runtime.delete(&args.id, args.force, tell)?;
    Ok(ExitCode::SUCCESS)
}

fn signal_named(text: &str) -> Result<i32, String> {
    if text == "0" { Ok(0) } else { parse_signal(text) }
}
