//! `version`

use std::process::ExitCode;

use serde_json::json;

use super::super::format::Format;
use super::super::{Context, Error};
use crate::oci::Platform;

/// Show the version
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print with a Go template, or as json
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let platform = Platform::host();
    let version = env!("CARGO_PKG_VERSION");
    let client = json!({
        "Version": version,
        "Os": platform.os,
        "Arch": platform.architecture,
    });
    // There is no daemon; scripts that ask for the server's version get the same one.
    let value = json!({
        "Version": version,
        "Os": platform.os,
        "Arch": platform.architecture,
        "Client": client,
        "Server": client,
    });
    match &args.format {
        None | Some(Format::Usual) => {
            cx.out.line(format_args!("coracle {version} ({platform})"))?;
        }
        Some(Format::Json) => cx.out.line(&value)?,
        Some(Format::Template(template) | Format::Table(template)) => {
            cx.out.line(template.render(&value)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
