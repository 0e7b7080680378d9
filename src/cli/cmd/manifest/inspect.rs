//! `manifest inspect`

use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::super::{Context, Error, complete};
use super::{AskArgs, asking};
use crate::engine::manifest::Inspected;
use crate::engine::reference::Reference;
use crate::oci::media_type;

/// Show a list, or what a registry has under a name
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show each manifest with its descriptor
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    ask: AskArgs,
    /// A list or an image of a registry; or a list, and an image of it
    #[arg(value_name = "[LIST] MANIFEST", num_args = 1..=2, required = true,
        add = complete::list_names())]
    names: Vec<String>,
}

pub(in super::super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let options = args.ask.options(cx)?;
    let (engine, asking) = (cx.engine(None, None)?, asking(&options));
    let first = args.names.first().map_or("", |name| name.trim_start_matches("docker://"));
    let mut name: Reference = first.parse()?;
    if engine.list(&name)?.is_none() {
        // What a short name stands for in a registry.
        name = cx.registries()?.to_ask(first)?.into_iter().next().unwrap_or(name);
    }
    if let Some(image) = args.names.get(1) {
        let bytes = engine.manifest_in_list(&name, image, &asking)?;
        return print(cx, &json_of(&bytes)?);
    }
    if !args.verbose {
        let bytes = engine.manifest_document(&name, &asking)?;
        return print(cx, &json_of(&bytes)?);
    }
    let found = engine.manifests_of(&name, &asking)?;
    let alone = found.len() == 1 && !found[0].reference.contains('@');
    let mut all: Vec<Value> = found.iter().map(described).collect::<Result<_, _>>()?;
    match all.pop().filter(|_| alone) {
        Some(one) => print(cx, &one),
        None => print(cx, &Value::Array(found.iter().map(described).collect::<Result<_, _>>()?)),
    }
}

/// As docker describes a manifest (docker/cli, `cli/manifest/types`).
fn described(inspected: &Inspected) -> Result<Value, Error> {
    let manifest = json_of(&inspected.bytes)?;
    let dockers = inspected.descriptor["mediaType"] == media_type::DOCKER_MANIFEST;
    let key = if dockers { "SchemaV2Manifest" } else { "OCIManifest" };
    Ok(json!({
        "Ref": inspected.reference,
        "Descriptor": inspected.descriptor,
        "Raw": STANDARD.encode(&inspected.bytes),
        key: manifest,
    }))
}

fn json_of(bytes: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Output(error.into()))
}

fn print(cx: &mut Context, value: &Value) -> Result<ExitCode, Error> {
    // docker's and podman's depth.
    let mut bytes = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, indent);
    serde::Serialize::serialize(value, &mut writer).map_err(|error| Error::Output(error.into()))?;
    cx.out.line(String::from_utf8_lossy(&bytes))?;
    Ok(ExitCode::SUCCESS)
}
