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
    let is_open = |expose: &Expose| open.iter().any(|port| inside(port) == *expose);
    let told = record.config.expose.iter().filter(|expose| up && !is_open(expose));
    ranges(open).into_iter().chain(told.map(ToString::to_string)).collect::<Vec<_>>().join(", ")
}

/// Ports that follow each other, on both sides, are told as one.
fn ranges(open: &[Published]) -> Vec<String> {
    let mut found: Vec<(&Published, u16)> = Vec::new();
    for port in open {
        let follows = |(first, more): &&mut (&Published, u16)| {
            let next = |number: u16| number.checked_add(*more + 1);
            (first.host_ip, first.protocol) == (port.host_ip, port.protocol)
                && next(first.host_port) == Some(port.host_port)
                && next(first.container) == Some(port.container)
        };
        match found.iter_mut().find(follows) {
            Some((_, more)) => *more += 1,
            None => found.push((port, 0)),
        }
    }
    let told = |(first, more): (&Published, u16)| {
        let inside = inside(first);
        if more == 0 {
            return format!("{}->{inside}", outside(first));
        }
        let (last_out, last_in) = (first.host_port + more, first.container + more);
        format!("{}-{last_out}->{}-{last_in}/{}", outside(first), first.container, first.protocol)
    };
    found.into_iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::network::Protocol;

    #[test]
    fn ports_that_follow_each_other_are_one_range() {
        let port = |ip: &str, host_port, container, protocol| Published {
            host_ip: ip.parse().expect("an address"),
            host_port,
            container,
            protocol,
        };
        let open = [
            port("0.0.0.0", 9000, 80, Protocol::Tcp),
            port("::", 9000, 80, Protocol::Tcp),
            port("0.0.0.0", 9001, 81, Protocol::Tcp),
            port("::", 9001, 81, Protocol::Tcp),
            port("0.0.0.0", 9002, 82, Protocol::Udp),
            port("0.0.0.0", 9003, 90, Protocol::Tcp),
        ];
        let expected = [
            "0.0.0.0:9000-9001->80-81/tcp",
            "[::]:9000-9001->80-81/tcp",
            "0.0.0.0:9002->82/udp",
            "0.0.0.0:9003->90/tcp",
        ];
        assert_eq!(ranges(&open), expected);
    }
}
