//! `exec`

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use super::super::seldom::Seldom;
use super::super::{Context, Error, complete};
use super::{run, variables};
use crate::engine::runtime::DetachKeys;
use crate::engine::{ExecRequest, Execution};

/// Run a command in a container that runs
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle exec -it web sh                                  # a shell beside what runs there
  coracle exec -u postgres -e PGDATABASE=shop db psql")]
#[command(override_usage = "coracle exec [OPTIONS] CONTAINER COMMAND [ARG]...")]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
pub(crate) struct Args {
    /// Keep stdin open
    #[arg(short, long)]
    interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    tty: bool,
    /// Start the command and do not wait for it
    #[arg(short, long)]
    detach: bool,
    /// Set a variable; a name alone takes the host's value
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,
    /// Run as this user: name or id, with :GROUP if another one
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Start in this directory
    #[arg(short, long, value_name = "DIRECTORY", value_parser = run::directory)]
    workdir: Option<PathBuf>,
    #[command(flatten)]
    more: Seldom<More>,
    /// The container, by name or ID
    #[arg(add = complete::container_names())]
    container: String,
    /// The command and its arguments
    #[arg(required = true, num_args = 1.., trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// What few commands are given.
#[derive(Debug, Default, clap::Args)]
struct More {
    /// Set the variables in a file, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Give the command all that the user may do, and no more
    #[arg(long)]
    privileged: bool,
    /// Leave the terminal when these keys are typed, such as ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<DetachKeys>,
    /// Pass on so many descriptors from 3 up
    #[arg(long, value_name = "N")]
    preserve_fds: Option<u32>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    if args.interactive && args.tty && !args.detach && !std::io::stdin().is_terminal() {
        return Err(Error::NotATerminal);
    }
    let request = ExecRequest {
        container: args.container.clone(),
        command: args.command.clone(),
        env: variables::environment(&args.more.env_file, &args.env, cx)?,
        user: args.user.clone(),
        workdir: args.workdir.clone(),
        interactive: args.interactive,
        tty: args.tty,
        detach: args.detach,
        privileged: args.more.privileged,
        detach_keys: args.more.detach_keys.clone().unwrap_or_default(),
        preserved: run::row_of_descriptors(args.more.preserve_fds.unwrap_or(0))?,
    };
    match cx.engine(None, None)?.exec(&request)? {
        Execution::Ended(code) => Ok(ExitCode::from(code)),
        Execution::Started => Ok(ExitCode::SUCCESS),
        Execution::Left(unattended) => {
            // The shell gets its prompt back; a child stays at the terminal's other end.
            let keeper = crate::engine::in_background(|| unattended.keep());
            keeper.map(|()| ExitCode::SUCCESS).map_err(Error::from)
        }
    }
}
