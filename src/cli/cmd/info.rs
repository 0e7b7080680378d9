//! `info`

use std::process::ExitCode;

use serde_json::{Value, json};

use super::super::format::Format;
use super::super::{Context, Error};
use crate::engine::container::Status;
use crate::oci::Platform;

/// Show where things are kept and what is used to run containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print with a Go template, or as json
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let containers = engine.containers()?;
    let running = containers.iter().filter(|(_, status)| *status == Status::Running).count();
    let ids = engine.ids((0, 0))?;
    let platform = Platform::host();
    let host = rustix::system::uname();
    let value = json!({
        "Containers": containers.len(),
        "ContainersRunning": running,
        "ContainersStopped": containers.len() - running,
        "Images": engine.images()?.len(),
        "Driver": engine.driver().to_string(),
        "DockerRootDir": engine.store().root(),
        "IDs": ids.mode.to_string(),
        "IDsReason": ids.reason.to_string(),
        "KernelVersion": host.release().to_string_lossy(),
        "Name": host.nodename().to_string_lossy(),
        "OSType": platform.os,
        "Architecture": platform.architecture,
        "NCPU": std::thread::available_parallelism().map_or(1, usize::from),
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "SecurityOptions": ["name=rootless", "name=seccomp,profile=builtin"],
        "AuthFiles": cx.environment.auth_files(),
        "CertificateDirectories": cx.environment.certs_directories(),
    });
    match &args.format {
        Some(Format::Json) => cx.out.line(&value)?,
        Some(Format::Template(template) | Format::Table(template)) => {
            cx.out.line(template.render(&value)?)?;
        }
        None | Some(Format::Usual) => words(cx, &value)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn words(cx: &mut Context, value: &Value) -> Result<(), Error> {
    let text = |key: &str| match &value[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let running = format!("{} ({} running)", text("Containers"), text("ContainersRunning"));
    let rows = [
        ("version", text("ServerVersion")),
        ("store", text("DockerRootDir")),
        ("images", text("Images")),
        ("containers", running),
        ("root driver", text("Driver")),
        ("ids", format!("{}: {}", text("IDs"), text("IDsReason"))),
        ("kernel", format!("Linux {} ({})", text("KernelVersion"), text("Architecture"))),
        ("cpus", text("NCPU")),
    ];
    rows.into_iter().try_for_each(|(name, text)| cx.out.line(format_args!("{name:<12} {text}")))
}
