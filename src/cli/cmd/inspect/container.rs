//! A container as docker's JSON (moby, `api/types/container`).

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::super::ps::state;
use super::super::volume;
use super::{graph_driver, or_null, set};
use crate::engine::bundle::{self, HostAddress, Request, SeccompChoice, Sharing, signal};
use crate::engine::cgroup::{Device, Resources, Throttle, ThrottleKind};
use crate::engine::container::{Config, LogConfig, LogDriver, MountPoint, Record, State, Status};
use crate::engine::network::{Expose, FAST, LinkPlan, PRIVATE, PortRequest, Wanted};
use crate::engine::{Described, reference};

/// docker writes this for a time that has not come.
const NEVER: &str = "0001-01-01T00:00:00Z";
/// What /dev/shm has where nothing is said, in bytes.
const SHM_SIZE: u64 = 64 << 20;

pub(super) fn json(described: &Described) -> Value {
    let Described { record, directory, .. } = described;
    let config = &record.config;
    let process = &config.process;
    let words = process.args_text();
    let (path, args) = words.split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
    let mounts: Vec<Value> = config.mounts.iter().map(mount).collect();
    // What is asked for where it is not written down: nothing.
    let request = described.creation.as_ref().map(|creation| creation.container.clone());
    let request = request.unwrap_or_default();
    let file = |name: &str| directory.join(name).display().to_string();
    let log = match config.log.driver {
        LogDriver::JsonFile => file(&format!("{}-json.log", record.id)),
        LogDriver::Journald | LogDriver::None => String::new(),
    };
    let mut value = json!({
        "Id": record.id,
        "Created": record.created,
        "Path": path,
        "Args": args,
        "State": state_of(described),
        "Image": record.known_image().map(ToString::to_string).unwrap_or_default(),
        "ResolvConfPath": file("resolv.conf"),
        "HostnamePath": file("hostname"),
        "HostsPath": file("hosts"),
        "LogPath": log,
        "Name": format!("/{}", record.name),
        "RestartCount": record.restarts,
        "Driver": config.driver,
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": process.labels.selinux.as_deref().unwrap_or_default(),
        "AppArmorProfile": process.labels.apparmor.as_deref().unwrap_or_default(),
        "ExecIDs": null,
        "HostConfig": host_config(record, &request),
        "GraphDriver": root(described),
        "Mounts": mounts,
        "Config": config_of(described, &request),
        "NetworkSettings": network(described),
    });
    if let Some((written, all)) = described.size {
        value["SizeRw"] = written.into();
        value["SizeRootFs"] = all.into();
    }
    value
}

fn state_of(described: &Described) -> Value {
    let Described { record, status, .. } = described;
    let (started, finished, pid) = match &record.state {
        State::Created => (NEVER, NEVER, 0),
        State::Running { process, started } => {
            (started.as_str(), NEVER, if status.is_up() { process.pid } else { 0 })
        }
        State::Restarting { started, finished, .. } | State::Stopped { started, finished, .. } => {
            (started.as_str(), finished.as_str(), 0)
        }
    };
    let mut value = json!({
        "Status": state(*status),
        "Running": status.is_up(),
        "Paused": *status == Status::Paused,
        "Restarting": matches!(status, Status::Restarting(_)),
        "OOMKilled": matches!(record.state, State::Stopped { oom: true, .. }),
        "Dead": false,
        "Pid": pid,
        "ExitCode": record.code(),
        "Error": "",
        "StartedAt": started,
        "FinishedAt": finished,
    });
    if let Some(health) = &described.health {
        value["Health"] = json!(health);
    }
    value
}

/// What stands between image and program: docker has the two halves of the command apart.
fn config_of(described: &Described, request: &Request) -> Value {
    let Described { record, image, creation, .. } = described;
    let config = &record.config;
    let process = &config.process;
    let image = image.as_ref().map(|image| image.config.clone()).unwrap_or_default();
    let text = |words: &[std::ffi::OsString]| -> Vec<String> {
        words.iter().map(|word| word.to_string_lossy().into_owned()).collect()
    };
    let words = process.args_text();
    let (entrypoint, command) = match creation {
        Some(_) => (
            request.entrypoint.as_ref().map_or(image.entrypoint, |words| text(words)),
            match (&request.command[..], &request.entrypoint) {
                ([], None) => image.cmd,
                (words, _) => text(words),
            },
        ),
        // Nothing says how the words came together; those of the image stand first.
        None => match words.strip_prefix(&image.entrypoint[..]) {
            Some(rest) if !image.entrypoint.is_empty() => (image.entrypoint, rest.to_vec()),
            _ => (Vec::new(), words),
        },
    };
    let attached = record.keeper.as_ref().is_some_and(|keeper| !keeper.monitor);
    let mut value = json!({
        "Hostname": config.hostname,
        "Domainname": request.sysctls.get("kernel.domainname").map_or("", String::as_str),
        "User": if config.user.is_empty() { &image.user } else { &config.user },
        "AttachStdin": creation.as_ref().is_some_and(|creation| creation.stdin_once),
        "AttachStdout": attached,
        "AttachStderr": attached,
        "Tty": process.terminal,
        "OpenStdin": process.interactive,
        "StdinOnce": creation.as_ref().is_some_and(|creation| creation.stdin_once),
        "Env": process.env_text(),
        "Cmd": or_null(&command),
        "Image": reference::familiar(&record.image),
        "Volumes": set(&image.volumes),
        "WorkingDir": process.cwd,
        "Entrypoint": or_null(&entrypoint),
        "OnBuild": null,
        "Labels": config.labels,
        "StopSignal": signal::name(config.stop_signal),
    });
    let exposed: Vec<String> = match config.expose.is_empty() {
        true => image.exposed_ports.clone(),
        false => config.expose.iter().map(ToString::to_string).collect(),
    };
    if !exposed.is_empty() {
        value["ExposedPorts"] = set(&exposed);
    }
    if let Some(check) = &config.health {
        value["Healthcheck"] = json!(check);
    }
    if let Some(seconds) = config.stop_timeout_s {
        value["StopTimeout"] = seconds.into();
    }
    value
}

/// As it was asked for.
fn network_mode(config: &Config) -> &str {
    let is_fast = config.private.as_ref().is_some_and(|settings| settings.fast);
    if is_fast && config.network == PRIVATE { FAST } else { &config.network }
}

fn host_config(record: &Record, request: &Request) -> Value {
    let config = &record.config;
    let mut binds: Vec<String> = request.binds.iter().map(bind).collect();
    let named = request.volumes.iter().filter(|volume| !volume.anonymous);
    binds.extend(named.filter_map(|volume| {
        let mode = if volume.mode.is_empty() { String::new() } else { format!(":{}", volume.mode) };
        Some(format!("{}:{}{mode}", volume.name.as_ref()?, volume.target.display()))
    }));
    let hosts: Vec<String> = request.add_hosts.iter().map(host).collect();
    let (masked, read_only) = bundle::hidden_paths(request);
    let mut value = json!({
        "Binds": or_null(&binds),
        "ContainerIDFile": "",
        "LogConfig": {"Type": config.log.driver.to_string(), "Config": log_options(&config.log)},
        "NetworkMode": network_mode(config),
        "PortBindings": bindings(&config.publish),
        "RestartPolicy": {
            "Name": config.restart.name(),
            "MaximumRetryCount": config.restart.most(),
        },
        "AutoRemove": record.remove,
        "VolumeDriver": "",
        "VolumesFrom": null,
        "ConsoleSize": [0, 0],
        "CapAdd": or_null(&capabilities(&request.cap_add)),
        "CapDrop": or_null(&capabilities(&request.cap_drop)),
        "CgroupnsMode": mode(&request.cgroup, "private"),
        "Dns": request.dns,
        "DnsOptions": request.dns_options,
        "DnsSearch": request.dns_search,
        "ExtraHosts": or_null(&hosts),
        "GroupAdd": or_null(&request.group_add),
        "IpcMode": mode(&request.ipc, "private"),
        "Cgroup": "",
        "Links": null,
        "OomScoreAdj": config.process.oom_score_adj.unwrap_or_default(),
        "PidMode": mode(&request.pid, ""),
        "Privileged": config.privileged,
        "PublishAllPorts": request.publish_all,
        "ReadonlyRootfs": config.read_only,
        "SecurityOpt": or_null(&security_options(request)),
        "UTSMode": mode(&request.uts, ""),
        "UsernsMode": request.user_of.as_ref().map(|name| format!("container:{name}"))
            .unwrap_or_default(),
        "ShmSize": request.shm_size.unwrap_or(SHM_SIZE),
        "Runtime": "coracle",
        "Isolation": "",
        "Init": config.init,
        "Annotations": config.annotations,
        "MaskedPaths": masked,
        "ReadonlyPaths": read_only,
    });
    let objects = [limits(&config.resources), more_limits(request)];
    if let Value::Object(all) = &mut value {
        for object in objects {
            all.extend(object);
        }
        if !request.tmpfs.is_empty() {
            let tmpfs = request.tmpfs.iter().map(|it| (text(&it.target), Value::from("")));
            all.insert("Tmpfs".to_owned(), Value::Object(tmpfs.collect()));
        }
        if !request.sysctls.is_empty() {
            all.insert("Sysctls".to_owned(), json!(request.sysctls));
        }
    }
    value
}

fn limits(resources: &Resources) -> Map<String, Value> {
    let (memory, cpu, io) = (&resources.memory, &resources.cpu, &resources.io);
    let rates = |kind: ThrottleKind| -> Vec<Value> {
        let rate = |it: &Throttle| json!({"Path": device_path(it.device), "Rate": it.rate});
        io.throttles.iter().filter(|it| it.kind == kind).map(rate).collect()
    };
    let weights: Vec<Value> = io
        .device_weights
        .iter()
        .map(|(device, weight)| json!({"Path": device_path(*device), "Weight": weight}))
        .collect();
    // `--cpus` is a quota of a period.
    let processors = match (cpu.quota, cpu.period) {
        (Some(quota @ 1..), Some(period @ 1..)) => {
            quota.saturating_mul(1_000_000_000) / i64::try_from(period).unwrap_or(i64::MAX)
        }
        _ => 0,
    };
    let value = json!({
        "Memory": memory.limit.unwrap_or_default(),
        "MemorySwap": memory.swap.unwrap_or_default(),
        "MemoryReservation": memory.reservation.unwrap_or_default(),
        "MemorySwappiness": memory.swappiness,
        "OomKillDisable": memory.disable_oom_killer,
        "NanoCpus": processors,
        "CpuShares": cpu.shares.unwrap_or_default(),
        "CpuQuota": cpu.quota.unwrap_or_default(),
        "CpuPeriod": cpu.period.unwrap_or_default(),
        "CpuRealtimePeriod": cpu.realtime_period.unwrap_or_default(),
        "CpuRealtimeRuntime": cpu.realtime_runtime.unwrap_or_default(),
        "CpusetCpus": cpu.cpus.as_deref().unwrap_or_default(),
        "CpusetMems": cpu.mems.as_deref().unwrap_or_default(),
        "PidsLimit": resources.pids,
        "BlkioWeight": io.weight.unwrap_or_default(),
        "BlkioWeightDevice": weights,
        "BlkioDeviceReadBps": rates(ThrottleKind::ReadBytes),
        "BlkioDeviceWriteBps": rates(ThrottleKind::WriteBytes),
        "BlkioDeviceReadIOps": rates(ThrottleKind::ReadOperations),
        "BlkioDeviceWriteIOps": rates(ThrottleKind::WriteOperations),
    });
    object(value)
}

fn more_limits(request: &Request) -> Map<String, Value> {
    let ulimits: Vec<Value> = request
        .ulimits
        .iter()
        .map(|it| {
            // Go's -1 is no limit.
            let number = |limit: u64| i64::try_from(limit).unwrap_or(-1);
            json!({
                "Name": it.resource.docker_name(),
                "Hard": number(it.hard),
                "Soft": number(it.soft),
            })
        })
        .collect();
    let devices: Vec<Value> = request
        .devices
        .iter()
        .map(|it| {
            json!({
                "PathOnHost": it.source.to_string_lossy(),
                "PathInContainer": it.target.to_string_lossy(),
                "CgroupPermissions": if it.write { "rwm" } else { "rm" },
            })
        })
        .collect();
    object(json!({
        "Ulimits": ulimits,
        "Devices": devices,
        "DeviceCgroupRules": null,
        "DeviceRequests": null,
        "CgroupParent": "",
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Where the kernel has a node of these numbers, whatever it is called in /dev.
fn device_path(device: Device) -> String {
    format!("/dev/block/{}:{}", device.major, device.minor)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// `SOURCE:TARGET[:ro]`, as `--volume` takes it.
fn bind(bind: &bundle::BindRequest) -> String {
    let options = if bind.read_only { ":ro" } else { "" };
    format!("{}:{}{options}", bind.source.display(), bind.target.display())
}

fn host((name, address): &(String, HostAddress)) -> String {
    match address {
        HostAddress::Ip(address) => format!("{name}:{address}"),
        HostAddress::Gateway => format!("{name}:host-gateway"),
    }
}

/// `net_admin` to `CAP_NET_ADMIN`, as docker writes them down.
fn capabilities(names: &[String]) -> Vec<String> {
    let full = |name: &String| {
        let name = name.to_ascii_uppercase();
        if name == "ALL" || name.starts_with("CAP_") { name } else { format!("CAP_{name}") }
    };
    names.iter().map(full).collect()
}

/// A mode as the flag has it.
fn mode(sharing: &Sharing, private: &str) -> String {
    match sharing {
        Sharing::Private => private.to_owned(),
        Sharing::Host => "host".to_owned(),
        Sharing::None => "none".to_owned(),
        Sharing::Container(name) => format!("container:{name}"),
        Sharing::Path(path) => format!("ns:{}", path.display()),
    }
}

/// In the words of `--security-opt`; a profile is told by that there is one.
fn security_options(request: &Request) -> Vec<String> {
    let security = &request.security;
    let mut options = Vec::new();
    if security.no_new_privileges {
        options.push("no-new-privileges".to_owned());
    }
    match &security.seccomp {
        SeccompChoice::Default => {}
        SeccompChoice::Unconfined => options.push("seccomp=unconfined".to_owned()),
        SeccompChoice::Json(text) => options.push(format!("seccomp={text}")),
    }
    if !security.proc_options.is_empty() {
        options.push(format!("proc-opts={}", security.proc_options.join(",")));
    }
    let labels = &security.labels;
    options.extend(labels.apparmor.iter().map(|profile| format!("apparmor={profile}")));
    for (name, value) in [
        ("user", &labels.user),
        ("role", &labels.role),
        ("type", &labels.kind),
        ("level", &labels.level),
    ] {
        options.extend(value.iter().map(|value| format!("label={name}:{value}")));
    }
    options
}

fn log_options(log: &LogConfig) -> Value {
    let mut options = Map::new();
    if log.driver == LogDriver::JsonFile {
        let size = log.max_size.map_or_else(|| "-1".to_owned(), |size| size.to_string());
        options.insert("max-size".to_owned(), size.into());
        options.insert("max-file".to_owned(), log.max_file.to_string().into());
    }
    if let Some(tag) = &log.tag {
        options.insert("tag".to_owned(), tag.clone().into());
    }
    for (name, list) in [("labels", &log.labels), ("env", &log.env)] {
        if !list.is_empty() {
            options.insert(name.to_owned(), list.join(",").into());
        }
    }
    options.into()
}

/// Nobody but the container sees its root put together: while it runs, through its first process.
fn root(described: &Described) -> Value {
    let Described { record, status, directory, layers, .. } = described;
    let merged = match &record.state {
        State::Running { process, .. } if status.is_up() => format!("/proc/{}/root", process.pid),
        _ => String::new(),
    };
    let upper = directory.join("upper");
    match upper.exists() {
        true => {
            graph_driver(&record.config.driver, layers, &upper, &directory.join("work"), &merged)
        }
        false => json!({
            "Name": record.config.driver,
            "Data": {"MergedDir": directory.join("rootfs")},
        }),
    }
}

fn mount(mount: &MountPoint) -> Value {
    let mut value = json!({
        "Type": mount.kind,
        "Source": mount.source,
        "Destination": mount.target,
        "Mode": mount.mode,
        "RW": mount.writable,
        "Propagation": mount.propagation,
    });
    if mount.kind == "volume" {
        value["Name"] = mount.name.as_str().into();
        value["Driver"] = volume::DRIVER.into();
    }
    value
}

fn network(described: &Described) -> Value {
    let Described { record, status, .. } = described;
    let network = &record.config.network;
    let key = match &record.state {
        State::Running { process, .. } if status.is_up() => format!("/proc/{}/ns/net", process.pid),
        _ => String::new(),
    };
    let wanted = &record.config.networks;
    let networks = match (network.starts_with("container:"), wanted.is_empty()) {
        // One that is another container's is told of there.
        (true, _) => Map::new(),
        (false, true) => Map::from_iter([(network.clone(), endpoint(described, network, None))]),
        (false, false) => wanted
            .iter()
            .filter(|it| it.name != "none")
            .map(|it| (it.name.clone(), endpoint(described, &it.name, Some(it))))
            .collect(),
    };
    let mut value = json!({
        "Bridge": "",
        "SandboxID": "",
        "SandboxKey": key,
        "Ports": open_ports(record, *status),
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
        "EndpointID": "",
        "Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "MacAddress": "",
        "Networks": networks,
    });
    // As in docker: of a network that has no name alone.
    if let Some(link) = link_of(described, PRIVATE) {
        address(&mut value, link);
    }
    value
}

/// The container's end of a network; with addresses while it runs.
fn endpoint(described: &Described, network: &str, wanted: Option<&Wanted>) -> Value {
    let link = link_of(described, network);
    let ip = wanted.and_then(|it| it.ip).map(|ip| ip.to_string());
    let ip6 = wanted.and_then(|it| it.ip6).map(|ip| ip.to_string());
    let asked = (ip.is_some() || ip6.is_some()).then(
        || json!({"IPv4Address": ip.unwrap_or_default(), "IPv6Address": ip6.unwrap_or_default()}),
    );
    let id = described.networks.iter().find(|it| it.name == network).map(|it| it.id.as_str());
    let mut value = json!({
        "IPAMConfig": asked,
        "Links": null,
        "Aliases": wanted.map_or(Value::Null, |it| or_null(&it.aliases)),
        "MacAddress": "",
        "DriverOpts": null,
        "NetworkID": id.unwrap_or_default(),
        "EndpointID": "",
        "Gateway": "",
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "DNSNames": link.map_or(Value::Null, |link| or_null(&link.names)),
    });
    if let Some(link) = link {
        address(&mut value, link);
    }
    value
}

fn link_of<'a>(described: &'a Described, network: &str) -> Option<&'a LinkPlan> {
    let up = described.status.is_up();
    described.record.links.iter().find(|link| up && link.network == network)
}

fn address(value: &mut Value, link: &LinkPlan) {
    let addresses = &link.addresses;
    value["IPAddress"] = json!(addresses.guest);
    value["IPPrefixLen"] = addresses.prefix.into();
    value["Gateway"] = json!(addresses.gateway);
    if let Some(six) = &addresses.six {
        value["GlobalIPv6Address"] = json!(six.guest);
        value["GlobalIPv6PrefixLen"] = six.prefix.into();
        value["IPv6Gateway"] = json!(six.gateway);
    }
    value["MacAddress"] = link.mac.to_string().into();
}

/// What was asked for.
fn bindings(requests: &[PortRequest]) -> BTreeMap<String, Vec<Value>> {
    let mut bindings = BTreeMap::<_, Vec<_>>::new();
    for request in requests {
        let ip = request.host_ip.map(|ip| ip.to_string()).unwrap_or_default();
        let port = match request.host {
            None => String::new(),
            Some((first, last)) if first == last => first.to_string(),
            Some((first, last)) => format!("{first}-{last}"),
        };
        let name = Expose { port: request.container, protocol: request.protocol }.to_string();
        bindings.entry(name).or_default().push(json!({"HostIp": ip, "HostPort": port}));
    }
    bindings
}

/// What is exposed, and where the host has it, while it runs.
fn open_ports(record: &Record, status: Status) -> BTreeMap<String, Option<Vec<Value>>> {
    if !status.is_up() || record.config.private.is_none() {
        return BTreeMap::new();
    }
    let mut open: BTreeMap<String, Option<Vec<Value>>> =
        record.config.expose.iter().map(|port| (port.to_string(), None)).collect();
    for port in &record.ports {
        let name = Expose { port: port.container, protocol: port.protocol }.to_string();
        let host = json!({"HostIp": port.host_ip, "HostPort": port.host_port.to_string()});
        open.entry(name).or_default().get_or_insert_default().push(host);
    }
    open
}
