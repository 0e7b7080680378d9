//! `artifact inspect`

use std::process::ExitCode;

use serde_json::{Value, json};

use super::super::super::format::Format;
use super::super::super::{Context, Error, complete};

/// Show all there is to know of artifacts
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print with a Go template, or as json
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Names, digests or beginnings of digests
    #[arg(required = true, value_name = "NAME", add = complete::artifact_names())]
    names: Vec<String>,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    cx.each(&args.names, |cx, name| {
        let artifact = engine.artifact(name)?;
        let value: Value = json!({
            "Manifest": artifact.manifest,
            "Name": artifact.reference,
            "Digest": artifact.digest,
        });
        match &args.format {
            None | Some(Format::Usual) => {
                let text = serde_json::to_string_pretty(&value).map_err(std::io::Error::from);
                cx.out.line(text.map_err(Error::Output)?)
            }
            Some(Format::Json) => cx.out.line(value),
            Some(Format::Template(template) | Format::Table(template)) => {
                cx.out.line(template.render(&value)?)
            }
        }
    })?;
    Ok(ExitCode::SUCCESS)
}
