//! `inspect`: docker's JSON, for the fields that coracle has.

use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::super::format::Format;
use super::super::{Context, Error, complete};
use super::ps::state;
use crate::engine::bundle::signal;
use crate::engine::container::{Record, State, Status};
use crate::engine::images::{self, Details};
use crate::engine::{self, Engine, container, reference, store};

/// Show all there is to know of containers and images
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print with a Go template, or as json
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Look among these only
    #[arg(long = "type", value_name = "KIND")]
    kind: Option<Kind>,
    /// Print an image's manifest, or the index it was chosen from, as it was shipped
    #[arg(long, conflicts_with = "format")]
    raw: bool,
    /// Names, IDs or beginnings of IDs
    #[arg(required = true, value_name = "NAME|ID", add = complete::object_names())]
    names: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Container,
    Image,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode, Error> {
    let engine = cx.engine(None, None)?;
    if args.raw {
        cx.each(&args.names, |cx, name| {
            let bytes = engine.raw(name)?;
            match String::from_utf8(bytes) {
                Ok(text) => cx.out.text(text),
                Err(error) => cx.out.bytes(error.as_bytes()),
            }
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut found = Vec::new();
    // One that is missing does not hide the others.
    let looked_up = cx.each(&args.names, |_, name| {
        found.push(look_up(&engine, args.kind, name)?);
        Ok(())
    });
    match &args.format {
        None | Some(Format::Usual) => {
            let text = serde_json::to_string_pretty(&found).map_err(std::io::Error::from);
            cx.out.line(text.map_err(Error::Output)?)?;
        }
        Some(Format::Json) => cx.out.line(Value::Array(found))?,
        Some(Format::Template(template) | Format::Table(template)) => {
            for value in &found {
                cx.out.line(template.render(value)?)?;
            }
        }
    }
    looked_up.map(|()| ExitCode::SUCCESS)
}

fn look_up(engine: &Engine, kind: Option<Kind>, name: &str) -> Result<Value, Error> {
    if kind != Some(Kind::Image) {
        match engine.container(name) {
            Ok((record, status)) => return Ok(of_container(&record, status)),
            Err(engine::Error::Container(container::Error::NoSuchContainer { .. }))
                if kind.is_none() => {}
            Err(error) => return Err(error.into()),
        }
    }
    match engine.image(name) {
        Ok(details) => Ok(of_image(&details)),
        Err(engine::Error::Image(images::Error::Store(store::Error::NoSuchImage { .. })))
            if kind.is_none() =>
        {
            Err(Error::NoSuchObject(name.to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

/// docker writes this for a time that has not come.
const NEVER: &str = "0001-01-01T00:00:00Z";

fn of_container(record: &Record, status: Status) -> Value {
    let config = &record.config;
    let resources = &config.resources;
    let (memory, cpu, io) = (&resources.memory, &resources.cpu, &resources.io);
    let (started, finished, pid) = match &record.state {
        State::Created => (NEVER, NEVER, 0),
        State::Running { process, started } => {
            (started.as_str(), NEVER, if status.is_up() { process.pid } else { 0 })
        }
        State::Restarting { started, finished, .. } | State::Stopped { started, finished, .. } => {
            (started.as_str(), finished.as_str(), 0)
        }
    };
    let (oom, restarting) = match (&record.state, status) {
        (State::Stopped { oom, .. }, _) => (*oom, false),
        (_, status) => (false, matches!(status, Status::Restarting(_))),
    };
    let process = &config.process;
    let words = process.args_text();
    let (path, args) = words.split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
    let mounts: Vec<Value> = config.mounts.iter().map(mount).collect();
    json!({
        "Id": record.id,
        "Created": record.created,
        "Path": path,
        "Args": args,
        "State": {
            "Status": state(status),
            "Running": status.is_up(),
            "Paused": status == Status::Paused,
            "Restarting": restarting,
            "OOMKilled": oom,
            "Dead": false,
            "Pid": pid,
            "ExitCode": record.code(),
            "Error": "",
            "StartedAt": started,
            "FinishedAt": finished,
        },
        "Image": record.image_id,
        "Name": format!("/{}", record.name),
        "RestartCount": record.restarts,
        "Driver": config.driver,
        "Platform": "linux",
        "HostConfig": {
            "NetworkMode": config.network,
            "AutoRemove": record.remove,
            "RestartPolicy": {
                "Name": config.restart.name(),
                "MaximumRetryCount": config.restart.most(),
            },
            "LogConfig": {"Type": config.log.driver.to_string(), "Config": {}},
            "Privileged": config.privileged,
            "ReadonlyRootfs": config.read_only,
            "Init": config.init,
            "Annotations": config.annotations,
            "Memory": memory.limit.unwrap_or_default(),
            "MemorySwap": memory.swap.unwrap_or_default(),
            "MemoryReservation": memory.reservation.unwrap_or_default(),
            "CpuShares": cpu.shares.unwrap_or_default(),
            "CpuQuota": cpu.quota.unwrap_or_default(),
            "CpuPeriod": cpu.period.unwrap_or_default(),
            "CpusetCpus": cpu.cpus.as_deref().unwrap_or_default(),
            "CpusetMems": cpu.mems.as_deref().unwrap_or_default(),
            "PidsLimit": resources.pids,
            "BlkioWeight": io.weight.unwrap_or_default(),
            "OomKillDisable": memory.disable_oom_killer,
        },
        "Mounts": mounts,
        "Config": {
            "Hostname": config.hostname,
            "User": config.user,
            "AttachStdin": process.interactive,
            "Tty": process.terminal,
            "OpenStdin": process.interactive,
            "Env": process.env_text(),
            "Cmd": words,
            "Image": reference::familiar(&record.image),
            "WorkingDir": process.cwd,
            "Labels": config.labels,
            "StopSignal": signal::name(config.stop_signal),
        },
        "NetworkSettings": {"Networks": {&config.network: {}}, "Ports": {}, "IPAddress": ""},
    })
}

fn mount(mount: &container::MountPoint) -> Value {
    json!({
        "Type": mount.kind,
        "Source": mount.source,
        "Destination": mount.target,
        "Mode": if mount.writable { "rw" } else { "ro" },
        "RW": mount.writable,
        "Propagation": "rprivate",
    })
}

fn of_image(details: &Details) -> Value {
    let Details { image, names, config } = details;
    let familiar = |names: &[String]| -> Vec<String> {
        names.iter().map(|name| reference::familiar(name)).collect()
    };
    let set = |paths: &[String]| -> Value {
        paths.iter().map(|path| (path.clone(), json!({}))).collect::<serde_json::Map<_, _>>().into()
    };
    let digest = |it: &crate::engine::store::Image| {
        it.layers.iter().map(|l| l.diff_id.clone()).collect::<Vec<_>>()
    };
    json!({
        "Id": image.id,
        "RepoTags": familiar(&names.tags),
        "RepoDigests": familiar(&names.digests),
        "Created": image.created,
        "Author": config.author.as_deref().unwrap_or_default(),
        "Architecture": image.platform.architecture,
        "Variant": image.platform.variant.as_deref().unwrap_or_default(),
        "Os": image.platform.os,
        "Size": image.size(),
        "Digest": image.digest(),
        "Config": {
            "User": config.user,
            "ExposedPorts": set(&config.exposed_ports),
            "Env": config.env,
            "Entrypoint": config.entrypoint,
            "Cmd": config.cmd,
            "Volumes": set(&config.volumes),
            "WorkingDir": config.working_dir,
            "Labels": config.labels,
            "StopSignal": config.stop_signal.as_deref().unwrap_or_default(),
            "Shell": config.shell,
        },
        "RootFS": {"Type": "layers", "Layers": digest(image)},
        "History": config.history,
    })
}
