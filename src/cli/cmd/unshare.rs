//! `unshare`

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use super::super::context::UNSHARED;
use super::super::{Context, Error};

/// Run a shell or a command as root over the containers' ids: files of subordinate ids are its own
#[derive(Debug, clap::Args)]
#[command(after_help = r#"Examples:
  coracle unshare sh -c 'du -sh "$(coracle mount db)"'
  coracle unshare rm -r files-of-a-container"#)]
#[command(override_usage = "coracle unshare [COMMAND] [ARG]...")]
pub(crate) struct Args {
    /// The command and its arguments; a shell by default
    #[arg(num_args = 0.., trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let owners = cx.engine(None, None)?.unshare()?;
    let shell = || cx.environment.path("SHELL").map_or_else(|| "/bin/sh".into(), OsString::from);
    let program = args.command.first().cloned().unwrap_or_else(shell);
    let mut command = Command::new(&program);
    command.args(args.command.iter().skip(1)).env(UNSHARED, owners.to_string());
    // It comes back only where it failed.
    let source = command.exec();
    Err(Error::Execute { program, source })
}
