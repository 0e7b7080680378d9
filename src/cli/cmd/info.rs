//! `info`

use std::process::ExitCode;

use serde_json::json;

use super::super::format::Format;
use super::super::{Context, Error, human};
use crate::engine::info::Info;

/// Show where things are kept and what is used to run containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print with a Go template, or as json
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let info = cx.engine(None, None)?.info()?;
    let mut value = json!(info);
    value["AuthFiles"] = json!(cx.environment.auth_files());
    value["CertificateDirectories"] = json!(cx.environment.certs_directories());
    match &args.format {
        Some(Format::Json) => cx.out.line(&value)?,
        Some(Format::Template(template) | Format::Table(template)) => {
            cx.out.line(template.render(&value)?)?;
        }
        None | Some(Format::Usual) => {
            for (name, text) in rows(&info) {
                cx.out.line(format_args!("{name:<12} {text}"))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn rows(info: &Info) -> Vec<(&'static str, String)> {
    let root = info.docker_root_dir.display();
    // What works needs no line of its own.
    let refused = info.driver_status.iter().filter(|(_, found)| found != "works");
    let refused = refused.map(|(driver, why)| ("", format!("{driver}: {why}")));
    let mut rows = vec![
        ("version", info.server_version.to_owned()),
        ("store", format!("{root} ({})", info.backing_filesystem)),
        ("images", info.images.to_string()),
        ("containers", format!("{} ({} running)", info.containers, info.containers_running)),
        ("root driver", format!("{}: {}", info.driver, info.driver_reason)),
    ];
    rows.extend(refused);
    rows.extend([
        ("ids", format!("{}: {}", info.ids, info.ids_reason)),
        ("kernel", format!("Linux {} ({})", info.kernel_version, info.architecture)),
        ("cpus", info.cpus.to_string()),
        ("memory", human::binary_size(info.mem_total)),
        ("cgroup", info.cgroup_version.to_string()),
        ("security", info.security_options.join(" ")),
    ]);
    rows
}
