//! `exec`

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use super::super::super::Error;
use super::super::run::{read, row_of_descriptors};
use super::absolute;
use super::launch::terminal;
use crate::engine::bundle::capabilities::CapabilitySet;
use crate::engine::bundle::{self, Process};
use crate::engine::oci::{Exec, Runtime, unknown_capabilities};

/// Run another program in a container
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
pub(super) struct ExecArgs {
    /// Send the terminal to who listens on this socket
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Send a pidfd of the program to who listens on this socket
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// Label the program for SELinux
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// Put the program under a profile of AppArmor
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// Refused but for the container's own group
    #[arg(long, value_name = "PATH", hide = true)]
    cgroup: Vec<String>,
    /// Execute in a paused container too: the program waits with the others
    #[arg(long)]
    ignore_paused: bool,
    /// Start in this directory
    #[arg(long, value_name = "DIRECTORY")]
    cwd: Option<PathBuf>,
    /// Set a variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<OsString>,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Run as these ids
    #[arg(short, long, value_name = "UID[:GID]", value_parser = ids)]
    user: Option<(u32, u32)>,
    /// Add a group
    #[arg(short = 'g', long, value_name = "GID")]
    additional_gids: Vec<u32>,
    /// Read the program from a file in the form of config.json's process
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Do not wait for the end
    #[arg(short, long)]
    detach: bool,
    /// Write the program's pid to a file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Keep the program from gaining privileges
    #[arg(long)]
    no_new_privs: bool,
    /// Add a capability
    #[arg(short, long, value_name = "CAPABILITY")]
    cap: Vec<String>,
    /// Pass on so many descriptors from 3 up
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    /// The container's ID
    id: String,
    /// The program and its arguments
    #[arg(num_args = 0.., trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

pub(super) fn exec(
    args: &ExecArgs,
    runtime: &Runtime,
    tell: &dyn Fn(&str),
) -> Result<ExitCode, Error> {
    if let Some(path) = args.cgroup.iter().find(|path| !matches!(path.as_str(), "" | "/" | ".")) {
        return Err(Error::usage(format!(
            "--cgroup {path}: a program goes into the container's own group, not one below it"
        )));
    }
    let process = match &args.process {
        Some(path) => {
            let read = bundle::read_process_json(&read(path)?);
            let (process, unknown) = read.map_err(crate::engine::oci::Error::from)?;
            if !unknown.is_empty() {
                tell(&unknown_capabilities(&unknown));
            }
            process
        }
        None if args.command.is_empty() => return Err(Error::usage("no program to execute")),
        None => changed(args, runtime.process(&args.id)?)?,
    };
    let exec = Exec {
        id: args.id.clone(),
        process,
        terminal: terminal(args.console_socket.as_ref())?,
        pidfd_socket: args.pidfd_socket.as_deref().map(absolute).transpose()?,
        ignore_paused: args.ignore_paused,
        pid_file: args.pid_file.as_deref().map(absolute).transpose()?,
        detach: args.detach,
        preserve_fds: row_of_descriptors(args.preserve_fds)?,
    };
    let exit = runtime.exec(&exec)?;
    Ok(exit.map_or(ExitCode::SUCCESS, |exit| ExitCode::from(exit.code())))
}

/// The container's own process with what the flags say in its place.
fn changed(args: &ExecArgs, mut process: Process) -> Result<Process, Error> {
    process.args.clone_from(&args.command);
    process.terminal = args.tty;
    process.env.extend(args.env.iter().cloned());
    if let Some(cwd) = &args.cwd {
        process.cwd.clone_from(cwd);
    }
    if let Some((uid, gid)) = args.user {
        (process.user.uid, process.user.gid) = (uid, gid);
    }
    process.user.groups.extend(&args.additional_gids);
    if let Some(label) = &args.process_label {
        process.labels.selinux = Some(label.clone());
    }
    if let Some(profile) = &args.apparmor {
        process.labels.apparmor = Some(profile.clone()).filter(|name| name != "unconfined");
    }
    process.no_new_privileges |= args.no_new_privs;
    for name in &args.cap {
        let one = CapabilitySet::named(name)
            .ok_or_else(|| Error::usage(format!("unknown capability {name:?}")))?;
        let sets = &mut process.capabilities;
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            *set = set.with(one);
        }
    }
    Ok(process)
}

fn ids(text: &str) -> Result<(u32, u32), String> {
    let (uid, gid) = text.split_once(':').unwrap_or((text, "0"));
    let id = |text: &str| text.parse().map_err(|_| format!("{text:?} is no id"));
    Ok((id(uid)?, id(gid)?))
}
