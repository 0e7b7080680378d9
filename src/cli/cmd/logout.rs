//! `logout`

use std::path::PathBuf;
use std::process::ExitCode;

use super::super::{Context, Error};
use super::{login, registry};
use crate::engine::registry::{forget_login, forget_logins};

/// Forget the login for a registry
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Forget all logins
    #[arg(short, long, conflicts_with = "server")]
    all: bool,
    /// Change this file only
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// The registry, or a part of it that has a login of its own [default: docker.io]
    #[arg(value_name = "HOST[:PORT][/PATH]")]
    server: Option<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let options = registry::usual_options(cx)?.by_file(args.authfile.as_deref());
    if args.all {
        forget_logins(&options)?;
        cx.out.line("Removed login credentials for all registries")?;
        return Ok(ExitCode::SUCCESS);
    }
    let name = login::name(args.server.as_deref())?;
    match forget_login(&options, &name)? {
        true => cx.out.line(format_args!("Removing login credentials for {name}"))?,
        false => cx.out.line(format_args!("Not logged in to {name}"))?,
    }
    Ok(ExitCode::SUCCESS)
}
