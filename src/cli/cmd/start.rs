//! `start`

use std::process::ExitCode;

use super::super::{Context, Error};
use super::which::Which;
use crate::engine::runtime::DetachKeys;
use crate::engine::{Attend, Begun};

/// Start containers that do not run
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle start web db
  coracle start -a job                                     # and show what it writes")]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
pub(crate) struct Args {
    /// Show what the container writes, and pass signals on to it
    #[arg(short, long)]
    attach: bool,
    /// Pass what is typed to the container as well
    #[arg(short, long)]
    interactive: bool,
    /// Leave the container running when these keys are typed, such as ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<DetachKeys>,
    /// Forward signals to the container's process, unless it has a terminal that was attached to; false: they end
    /// this command, and the container runs on [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = super::boolean)]
    sig_proxy: Option<bool>,
    /// Every container that its restart policy wants: always, and unless-stopped where no user has
    /// stopped it; for when the machine has started
    #[arg(long, conflicts_with_all = ["containers", "all", "latest", "filter", "cidfile"])]
    boot: bool,
    /// Every container that does not run
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    which: Which,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let attached = args.attach || args.interactive;
    let engine = cx.engine(None, None)?;
    let tell = cx.teller("start");
    let containers = if args.boot {
        engine.wanted()?
    } else {
        args.which.look_up(&engine, args.all, false, &|status| !super::is_up(status))?
    };
    if attached {
        let [container] = &containers[..] else { return Err(Error::AttachSeveral) };
        let attend = Attend {
            stdin: args.interactive,
            sig_proxy: args.sig_proxy.unwrap_or(true),
            detach_keys: args.detach_keys.clone().unwrap_or_default(),
        };
        return Ok(match engine.start(container, Some(&attend), &tell)? {
            Begun::Ended(code) => ExitCode::from(code),
            Begun::Started | Begun::Running => ExitCode::SUCCESS,
        });
    }
    cx.each(&containers, |cx, container| {
        // A monitor is forked: it must not hold what is yet to be printed.
        cx.out.flush()?;
        engine.start(container, None, &tell)?;
        cx.out.line(container)
    })?;
    Ok(ExitCode::SUCCESS)
}
