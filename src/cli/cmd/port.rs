//! `port`

use std::process::ExitCode;

use super::super::{Context, Error, complete};
use crate::engine::container::Summary;
use crate::engine::network::{Expose, Published};

/// List the host's ports that lead to a container
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Those of every container that runs
    #[arg(short, long, conflicts_with_all = ["container", "port"])]
    all: bool,
    /// The container, by name or ID
    #[arg(required_unless_present = "all", add = complete::container_names())]
    container: Option<String>,
    /// The container's port that is asked for
    #[arg(value_name = "PORT[/udp]")]
    port: Option<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    let Some(container) = &args.container else {
        for (record, _) in engine.summaries(&super::is_up)? {
            for port in &record.ports {
                let id = record.id.get(..12).unwrap_or(&record.id);
                cx.out.line(format!("{id}\t{} -> {}", inside(port), outside(port)))?;
            }
        }
        return Ok(ExitCode::SUCCESS);
    };
    let (record, status) = engine.container(container)?;
    let open: &[Published] = if status.is_up() { &record.ports } else { &[] };
    let Some(text) = &args.port else {
        for port in open {
            cx.out.line(format!("{} -> {}", inside(port), outside(port)))?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let asked = Expose::parse(text).map_err(|error| Error::usage(error.to_string()))?;
    let is_asked = |port: &&Published| asked.contains(&inside(port));
    let mut found = open.iter().filter(is_asked).peekable();
    if found.peek().is_none() {
        let asked = asked.first().map(ToString::to_string).unwrap_or_default();
        return Err(Error::NoPublicPort { port: asked, container: container.clone() });
    }
    for port in found {
        cx.out.line(outside(port))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn inside(port: &Published) -> Expose {
    Expose { port: port.container, protocol: port.protocol }
}

fn outside(port: &Published) -> String {
    std::net::SocketAddr::new(port.host_ip, port.host_port).to_string()
}

/// As `ps` shows them: `0.0.0.0:8080->80/tcp, 443/tcp`.
pub(super) fn words(record: &Summary, up: bool) -> String {
    let open: &[Published] = if up { &record.ports } else { &[] };
    let published = open.iter().map(|port| format!("{}->{}", outside(port), inside(port)));
    let is_open = |expose: &Expose| open.iter().any(|port| inside(port) == *expose);
    let told = record.config.expose.iter().filter(|expose| up && !is_open(expose));
    published.chain(told.map(ToString::to_string)).collect::<Vec<_>>().join(", ")
}
