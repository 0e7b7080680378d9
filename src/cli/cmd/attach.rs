//! `attach`

use std::process::ExitCode;

use super::super::{Context, Error, complete};
use crate::engine::Attend;
use crate::engine::runtime::DetachKeys;

/// Show what a running container writes, and pass on what is typed
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Pass nothing on
    #[arg(long)]
    no_stdin: bool,
    /// Forward signals to the container's process, unless it has a terminal that was attached to; false: they end
    /// this command, and the container runs on [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = super::boolean)]
    sig_proxy: Option<bool>,
    /// Leave the container when these keys are typed, such as ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<DetachKeys>,
    /// The container, by name or ID
    #[arg(add = complete::container_names())]
    container: String,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let attend = Attend {
        stdin: !args.no_stdin,
        sig_proxy: args.sig_proxy.unwrap_or(true),
        detach_keys: args.detach_keys.clone().unwrap_or_default(),
    };
    Ok(ExitCode::from(cx.engine(None, None)?.attach(&args.container, &attend)?))
}
