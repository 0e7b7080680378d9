//! `volume create`

use std::process::ExitCode;

use super::super::super::parse;
use super::super::super::{Context, Error};
use crate::engine::VolumeRequest;
use crate::engine::volume::Name;

/// Make a volume; one of the same name that is there already is left as it is
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  coracle volume create data
  coracle run --rm -v data:/data alpine touch /data/x")]
pub(crate) struct Args {
    /// Its driver: there is local
    #[arg(short, long, value_name = "DRIVER", value_parser = super::driver)]
    driver: Option<()>,
    /// Label it
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = parse::pair)]
    label: Vec<(String, String)>,
    /// Options of the driver: type=none, o=bind and device=PATH make it a directory of the host
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = parse::pair)]
    opt: Vec<(String, String)>,
    /// Its name; one is made up by default
    #[arg(value_name = "VOLUME")]
    name: Option<Name>,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let request = VolumeRequest {
        name: args.name.clone(),
        labels: args.label.iter().cloned().collect(),
        options: args.opt.iter().cloned().collect(),
    };
    let volume = cx.engine(None, None)?.create_volume(&request)?;
    cx.out.line(volume.name).map(|()| ExitCode::SUCCESS)
}
