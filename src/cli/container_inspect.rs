//! What `inspect` shows of a container: Docker's fields.

use serde::Serialize;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::cli::wording;
use crate::container;
use crate::container::BlockIo;
use crate::container::Container;
use crate::container::Ipc;
use crate::container::Mount;
use crate::container::MountSource;
use crate::container::NetworkMode;
use crate::container::Restart;
use crate::container::Share;
use crate::container::State;
use crate::container::Status;
use crate::container::Wanted;
use crate::failure::Result;
use crate::net;
use crate::net::Port;
use crate::place::Home;
use crate::runtime::SeccompChoice;
use crate::volume;

/// The container as Docker's API shows it.
///
/// # Errors
/// Its state cannot be read.
pub fn value(home: &Home, found: &Container) -> Result<Value> {
    let state = container::state(home, &found.id)?;
    let wanted = &found.wanted;
    let mut args = wanted.args.iter();
    let path = args.next().cloned().unwrap_or_default();
    Ok(json!({
        "Id": found.id,
        "Created": found.created,
        "Path": path,
        "Args": args.collect::<Vec<_>>(),
        "State": state_value(home, (&found.id, &state)),
        "Image": wanted.image_id,
        "ResolvConfPath": home.container_run(&found.id).join("resolv.conf"),
        "HostnamePath": home.container_run(&found.id).join("hostname"),
        "HostsPath": home.container_run(&found.id).join("hosts"),
        "LogPath": home.container(&found.id).join("log"),
        "Name": format!("/{}", found.name),
        "RestartCount": state.restarts,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": null,
        "HostConfig": host_config(wanted),
        "GraphDriver": { "Name": "overlay2", "Data": graph_data(home, found) },
        "Mounts": wanted.mounts.iter().map(|mount| mount_value(home, mount)).collect::<Vec<_>>(),
        "Config": config(found),
        "NetworkSettings": network_settings(home, found, &state)?,
    }))
}

/// Where the files of the container's root are.
fn graph_data(home: &Home, found: &Container) -> Value {
    let directory = home.container(&found.id);
    // Ours lists the lowest first, the kernel the highest.
    let lower: Vec<_> = found.wanted.layers.iter().rev().map(|layer| layer.display().to_string()).collect();
    json!({ "LowerDir": lower.join(":"), "UpperDir": directory.join("upper"), "WorkDir": directory.join("work") })
}

fn state_value(home: &Home, (id, state): (&str, &State)) -> Value {
    let mut value = json!({
        "Status": wording::status_word(state.status),
        "Running": matches!(state.status, Status::Running | Status::Paused),
        "Paused": state.status == Status::Paused,
        "Restarting": state.status == Status::Restarting,
        "OOMKilled": state.oom_killed,
        "Dead": state.status == Status::Dead,
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": or_never(&state.started),
        "FinishedAt": or_never(&state.finished),
    });
    if let Some(health) = state.health {
        // A log that cannot be read keeps nobody from the rest.
        let checks = container::checks(home, id).unwrap_or_default();
        value["Health"] = json!({
            "Status": wording::health_word(Some(health)),
            "FailingStreak": checks.failing_streak,
            "Log": checks.log,
        });
    }
    value
}

/// Docker's word for "not yet".
fn or_never(time: &str) -> &str {
    if time.is_empty() { "0001-01-01T00:00:00Z" } else { time }
}

fn host_config(wanted: &Wanted) -> Value {
    let limits = &wanted.limits;
    let (restart, count) = match wanted.restart {
        Restart::No => ("no", 0),
        Restart::Always => ("always", 0),
        Restart::UnlessStopped => ("unless-stopped", 0),
        Restart::OnFailure(count) => ("on-failure", count),
    };
    let ulimits: Vec<_> = wanted.ulimits.iter().map(|(name, soft, hard)| json!({ "Name": name, "Soft": soft, "Hard": hard })).collect();
    let devices = wanted.devices.iter();
    let mut value = json!({
        "Binds": or_null(&wanted.mounts.iter().filter_map(|mount| bind_text(wanted, mount)).collect::<Vec<_>>()),
        "NetworkMode": network_mode(wanted),
        "PortBindings": bindings(&wanted.ports),
        "RestartPolicy": { "Name": restart, "MaximumRetryCount": count },
        "AutoRemove": wanted.auto_remove,
        "CapAdd": or_null(&capabilities(&wanted.trust.cap_add)),
        "CapDrop": or_null(&capabilities(&wanted.trust.cap_drop)),
        "Dns": wanted.dns,
        "DnsOptions": wanted.dns_options,
        "DnsSearch": wanted.dns_search,
        "ExtraHosts": or_null(&wanted.extra_hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect::<Vec<_>>()),
        "GroupAdd": or_null(&wanted.group_add),
        "IpcMode": ipc_mode(&wanted.ipc),
        "PidMode": pid_mode(&wanted.pid),
        "OomScoreAdj": limits.oom_score_adj.unwrap_or(0),
        "Privileged": wanted.trust.privileged,
        "ReadonlyRootfs": wanted.read_only,
        "SecurityOpt": or_null(&security_options(wanted)),
        "ShmSize": wanted.shm_size.unwrap_or(64 << 20),
        "Memory": limits.memory.unwrap_or(0),
        "MemoryReservation": limits.memory_reservation.unwrap_or(0),
        "MemorySwap": limits.memory_swap.unwrap_or(0),
        // Docker counts in billionths of a CPU.
        "NanoCpus": limits.cpus.map_or(0, |cpus| (cpus * 1e9).round() as i64),
        "CpuShares": limits.cpu_shares.unwrap_or(0),
        "CpusetCpus": limits.cpuset.as_deref().unwrap_or_default(),
        "PidsLimit": limits.pids,
        "Ulimits": or_null(&ulimits),
        "Devices": devices.map(|(host, inside, mode)| json!({ "PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": mode })).collect::<Vec<_>>(),
    });
    if let Some(all) = value.as_object_mut() {
        for more in [rare_settings(wanted), block_io(&limits.block_io), unset(), if_any(wanted)] {
            all.extend(more.as_object().cloned().unwrap_or_default());
        }
    }
    value
}

/// A list that Docker has not made as long as nothing is in it.
fn or_null<T: Serialize>(list: &[T]) -> Value {
    if list.is_empty() { Value::Null } else { json!(list) }
}

/// `CAP_NET_ADMIN`, as Docker writes it.
fn capabilities(names: &[String]) -> Vec<String> {
    let whole = |name: &String| match name.to_uppercase() {
        name if name == "ALL" || name.starts_with("CAP_") => name,
        name => format!("CAP_{name}"),
    };
    names.iter().map(whole).collect()
}

fn security_options(wanted: &Wanted) -> Vec<String> {
    let trust = &wanted.trust;
    let seccomp = match &trust.seccomp {
        SeccompChoice::Default => None,
        SeccompChoice::Unconfined => Some("seccomp=unconfined".to_owned()),
        SeccompChoice::Profile(text) => Some(format!("seccomp={text}")),
    };
    let privileges = trust.no_new_privileges.then(|| "no-new-privileges".to_owned());
    let paths = trust.open_paths.then(|| "systempaths=unconfined".to_owned());
    privileges.into_iter().chain(seccomp).chain(paths).collect()
}

/// What Docker shows only if there is something of it.
fn if_any(wanted: &Wanted) -> Value {
    let mut value = json!({});
    if !wanted.annotations.is_empty() {
        value["Annotations"] = json!(wanted.annotations);
    }
    if !wanted.sysctls.is_empty() {
        value["Sysctls"] = json!(wanted.sysctls);
    }
    if wanted.init {
        value["Init"] = true.into();
    }
    let tmpfs: Map<String, Value> = wanted.mounts.iter().filter_map(tmpfs_text).collect();
    if !tmpfs.is_empty() {
        value["Tmpfs"] = tmpfs.into();
    }
    value
}

/// Where a tmpfs is, and its options.
fn tmpfs_text(mount: &Mount) -> Option<(String, Value)> {
    let MountSource::Tmpfs { size, mode, options } = &mount.source else { return None };
    let size = size.map(|size| format!("size={size}"));
    let mode = mode.map(|mode| format!("mode={mode:o}"));
    let words: Vec<String> = options.iter().cloned().chain(size).chain(mode).collect();
    Some((mount.target.clone(), words.join(",").into()))
}

fn block_io(limits: &BlockIo) -> Value {
    let rates = |rates: &[(String, u64)]| rates.iter().map(|(path, rate)| json!({ "Path": path, "Rate": rate })).collect::<Vec<_>>();
    let weights = limits.weight_device.iter().map(|(path, weight)| json!({ "Path": path, "Weight": weight }));
    json!({
        "BlkioWeight": limits.weight.unwrap_or(0),
        "BlkioWeightDevice": weights.collect::<Vec<_>>(),
        "BlkioDeviceReadBps": rates(&limits.read_bps),
        "BlkioDeviceWriteBps": rates(&limits.write_bps),
        "BlkioDeviceReadIOps": rates(&limits.read_iops),
        "BlkioDeviceWriteIOps": rates(&limits.write_iops),
    })
}

/// What cannot be set here, or is kept in another form: Docker's fields all the same, for who reads them.
fn unset() -> Value {
    json!({
        "ContainerIDFile": "",
        "VolumeDriver": "",
        "VolumesFrom": null,
        "ConsoleSize": [0, 0],
        "Cgroup": "",
        "Links": null,
        "PublishAllPorts": false,
        "UsernsMode": "",
        "Runtime": "runc",
        "Isolation": "",
        "DeviceRequests": null,
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    })
}

fn rare_settings(wanted: &Wanted) -> Value {
    let limits = &wanted.limits;
    json!({
        "LogConfig": { "Type": wanted.logging.driver.name(), "Config": wanted.logging.options },
        "UTSMode": if wanted.uts_host { "host" } else { "" },
        "CgroupnsMode": if wanted.cgroup_host { "host" } else { "private" },
        "CgroupParent": wanted.cgroup_parent.as_deref().unwrap_or_default(),
        "DeviceCgroupRules": or_null(&wanted.device_rules),
        "OomKillDisable": limits.oom_kill_disable,
        "MemorySwappiness": limits.swappiness,
        "CpuPeriod": limits.cpu_period.unwrap_or(0),
        "CpuQuota": limits.cpu_quota.unwrap_or(0),
        "CpuRealtimePeriod": limits.cpu_rt_period.unwrap_or(0),
        "CpuRealtimeRuntime": limits.cpu_rt_runtime.unwrap_or(0),
        "CpusetMems": limits.cpuset_mems.as_deref().unwrap_or_default(),
    })
}

fn ipc_mode(ipc: &Ipc) -> String {
    match ipc {
        Ipc::Private => "private".to_owned(),
        Ipc::Shareable => "shareable".to_owned(),
        Ipc::None => "none".to_owned(),
        Ipc::Host => "host".to_owned(),
        Ipc::Container(id) => format!("container:{id}"),
    }
}

fn pid_mode(pid: &Share) -> String {
    match pid {
        Share::Own => String::new(),
        Share::Host => "host".to_owned(),
        Share::Container(id) => format!("container:{id}"),
    }
}

/// `SOURCE:TARGET[:MODE]`; docker compose writes the mode always, Docker as it was typed.
fn bind_text(wanted: &Wanted, mount: &Mount) -> Option<String> {
    let mode = match (mount.read_only, &wanted.supervisor) {
        (true, _) => ":ro",
        (false, Some(_)) => ":rw",
        (false, None) => "",
    };
    match &mount.source {
        MountSource::Bind { path, .. } => Some(format!("{}:{}{mode}", path.display(), mount.target)),
        MountSource::Volume { name, .. } if !is_anonymous(name) => Some(format!("{name}:{}{mode}", mount.target)),
        _ => None,
    }
}

/// Nobody who names a volume takes 64 digits.
fn is_anonymous(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn network_mode(wanted: &Wanted) -> String {
    match &wanted.network {
        NetworkMode::Plugs(plugs) => plugs.first().map_or("none".to_owned(), |plug| plug.network.clone()),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::Container(id) => format!("container:{id}"),
    }
}

/// Ports inside to where they are published.
fn bindings(ports: &[Port]) -> Map<String, Value> {
    let mut bindings = Map::new();
    for port in ports {
        let inside = format!("{}/{}", port.container_port, wording::protocol(port.protocol));
        let outside = json!({ "HostIp": text(port.host_address), "HostPort": wording::host_number(port) });
        match bindings.entry(inside).or_insert_with(|| json!([])) {
            Value::Array(list) => list.push(outside),
            _ => continue,
        }
    }
    bindings
}

fn config(found: &Container) -> Value {
    let wanted = &found.wanted;
    let exposed: Map<String, Value> = wanted.exposed.iter().map(|port| (port.clone(), json!({}))).collect();
    let is_volume = |mount: &&Mount| matches!(&mount.source, MountSource::Volume { name, .. } if is_anonymous(name));
    let volumes: Map<String, Value> = wanted.mounts.iter().filter(is_volume).map(|mount| (mount.target.clone(), json!({}))).collect();
    let (entrypoint, command) = wanted.args.split_at(wanted.entrypoint.min(wanted.args.len()));
    let mut value = json!({
        "Hostname": wanted.hostname.as_deref().unwrap_or(wording::short(&found.id)),
        "Domainname": wanted.domainname.as_deref().unwrap_or_default(),
        "User": wanted.user,
        "AttachStdin": false,
        "AttachStdout": false,
        "AttachStderr": false,
        "Tty": wanted.tty,
        "OpenStdin": wanted.stdin,
        "StdinOnce": false,
        "Env": wanted.env,
        "Cmd": or_null(command),
        "Image": wanted.image,
        "Volumes": if volumes.is_empty() { Value::Null } else { volumes.into() },
        "WorkingDir": wanted.working_dir,
        "Entrypoint": or_null(entrypoint),
        "OnBuild": null,
        "Labels": wanted.labels,
    });
    let more = [
        ("ExposedPorts", (!exposed.is_empty()).then(|| exposed.into())),
        ("Healthcheck", wanted.healthcheck.as_ref().map(|check| json!(check))),
        ("StopSignal", wanted.stop_signal.as_ref().map(|signal| json!(signal))),
        ("StopTimeout", wanted.stop_timeout.map(Value::from)),
    ];
    for (field, known) in more {
        if let Some(known) = known {
            value[field] = known;
        }
    }
    value
}

fn mount_value(home: &Home, mount: &Mount) -> Value {
    let (kind, name, source, propagation) = match &mount.source {
        MountSource::Bind { path, propagation, .. } => {
            ("bind", "", path.display().to_string(), propagation.as_deref().unwrap_or("rprivate"))
        }
        MountSource::Volume { name, .. } => ("volume", name.as_str(), volume::directory(home, name).display().to_string(), ""),
        MountSource::Anonymous { .. } => ("volume", "", String::new(), ""),
        MountSource::Image { name, .. } => ("image", "", name.clone(), ""),
        MountSource::Tmpfs { .. } | MountSource::Content { .. } => ("tmpfs", "", String::new(), ""),
    };
    let mut value = json!({ "Type": kind });
    if kind == "volume" {
        value["Name"] = name.into();
        value["Driver"] = "local".into();
    }
    value["Source"] = source.into();
    value["Destination"] = mount.target.as_str().into();
    value["Mode"] = if mount.read_only { "ro" } else { "" }.into();
    value["RW"] = (!mount.read_only).into();
    value["Propagation"] = propagation.into();
    value
}

fn network_settings(home: &Home, found: &Container, state: &State) -> Result<Value> {
    let mut networks = Map::new();
    let plugs = match &found.wanted.network {
        NetworkMode::Plugs(plugs) => plugs.as_slice(),
        _ => &[],
    };
    for plug in plugs {
        let plugged = state.plugged.iter().find(|plugged| plugged.network == plug.network);
        let ipv4 = plugged.and_then(|plugged| plugged.ipv4);
        let ipv6 = plugged.and_then(|plugged| plugged.ipv6);
        let fixed = plug.address.map(|address| ("IPv4Address", address.to_string())).into_iter();
        let fixed = fixed.chain(plug.ipv6_address.map(|address| ("IPv6Address", address.to_string())));
        let fixed: Map<String, Value> = fixed.map(|(family, address)| (family.to_owned(), address.into())).collect();
        let value = json!({
            "IPAMConfig": if fixed.is_empty() { Value::Null } else { fixed.into() },
            "Links": or_null(&plug.links.iter().map(|(name, alias)| format!("{name}:{alias}")).collect::<Vec<_>>()),
            "DriverOpts": null,
            "GwPriority": plug.gateway_priority,
            "EndpointID": "",
            "Aliases": or_null(&plug.aliases),
            "NetworkID": net::find(home, &plug.network)?.map(|network| network.id).unwrap_or_default(),
            "MacAddress": plugged.map(|plugged| mac(plugged.mac)).unwrap_or_default(),
            "Gateway": text(ipv4.and_then(|assigned| assigned.gateway)),
            "IPAddress": text(ipv4.map(|assigned| assigned.address)),
            "IPPrefixLen": ipv4.map_or(0, |assigned| assigned.prefix),
            "IPv6Gateway": text(ipv6.and_then(|assigned| assigned.gateway)),
            "GlobalIPv6Address": text(ipv6.map(|assigned| assigned.address)),
            "GlobalIPv6PrefixLen": ipv6.map_or(0, |assigned| assigned.prefix),
            "DNSNames": names_on(found, &plug.aliases),
        });
        networks.insert(plug.network.clone(), value);
    }
    let mut ports = bindings(&state.ports);
    for exposed in found.wanted.exposed.iter().filter(|_| state.is_up()) {
        ports.entry(exposed.clone()).or_insert(Value::Null);
    }
    let first = state.plugged.first();
    let ipv4 = first.and_then(|plugged| plugged.ipv4);
    let ipv6 = first.and_then(|plugged| plugged.ipv6);
    Ok(json!({
        "Bridge": "",
        "SandboxID": "",
        "SandboxKey": if state.pid == 0 { String::new() } else { format!("/proc/{}/ns/net", state.pid) },
        "Ports": ports,
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
        "EndpointID": "",
        "Gateway": text(ipv4.and_then(|assigned| assigned.gateway)),
        "GlobalIPv6Address": text(ipv6.map(|assigned| assigned.address)),
        "GlobalIPv6PrefixLen": ipv6.map_or(0, |assigned| assigned.prefix),
        "IPAddress": text(ipv4.map(|assigned| assigned.address)),
        "IPPrefixLen": ipv4.map_or(0, |assigned| assigned.prefix),
        "IPv6Gateway": text(ipv6.and_then(|assigned| assigned.gateway)),
        "MacAddress": first.map(|plugged| mac(plugged.mac)).unwrap_or_default(),
        "Networks": networks,
    }))
}

/// An address that may not be there, as Docker writes it.
fn text(address: Option<impl ToString>) -> String {
    address.map(|address| address.to_string()).unwrap_or_default()
}

fn names_on(found: &Container, aliases: &[String]) -> Vec<String> {
    let own = [found.name.clone(), wording::short(&found.id).to_owned()];
    own.into_iter().chain(aliases.iter().cloned()).collect()
}

/// `02:42:ac:11:00:02`
pub fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}
