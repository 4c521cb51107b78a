//! What `inspect` shows of a container: Docker's fields.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::cli::wording;
use crate::container;
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
        "State": state_value(&state),
        "Image": wanted.image_id,
        "ResolvConfPath": home.container_run(&found.id).join("resolv.conf"),
        "HostnamePath": home.container_run(&found.id).join("hostname"),
        "HostsPath": home.container_run(&found.id).join("hosts"),
        "LogPath": home.container(&found.id).join("log"),
        "Name": format!("/{}", found.name),
        "RestartCount": state.restarts,
        "Driver": "overlay",
        "Platform": "linux",
        "HostConfig": host_config(wanted),
        "Mounts": wanted.mounts.iter().map(|mount| mount_value(home, mount)).collect::<Vec<_>>(),
        "Config": config(found),
        "NetworkSettings": network_settings(home, found, &state)?,
    }))
}

fn state_value(state: &State) -> Value {
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
        value["Health"] = json!({ "Status": wording::health_word(Some(health)) });
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
        "Binds": wanted.mounts.iter().filter_map(bind_text).collect::<Vec<_>>(),
        "NetworkMode": network_mode(wanted),
        "PortBindings": bindings(&wanted.ports),
        "RestartPolicy": { "Name": restart, "MaximumRetryCount": count },
        "AutoRemove": wanted.auto_remove,
        "CapAdd": wanted.trust.cap_add,
        "CapDrop": wanted.trust.cap_drop,
        "Dns": wanted.dns,
        "DnsOptions": wanted.dns_options,
        "DnsSearch": wanted.dns_search,
        "ExtraHosts": wanted.extra_hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect::<Vec<_>>(),
        "GroupAdd": wanted.group_add,
        "IpcMode": ipc_mode(&wanted.ipc),
        "PidMode": pid_mode(&wanted.pid),
        "OomScoreAdj": limits.oom_score_adj.unwrap_or(0),
        "Privileged": wanted.trust.privileged,
        "ReadonlyRootfs": wanted.read_only,
        "SecurityOpt": wanted.trust.no_new_privileges.then_some(["no-new-privileges"]),
        "ShmSize": wanted.shm_size.unwrap_or(64 << 20),
        "Sysctls": wanted.sysctls,
        "Memory": limits.memory.unwrap_or(0),
        "MemoryReservation": limits.memory_reservation.unwrap_or(0),
        "MemorySwap": limits.memory_swap.unwrap_or(0),
        // Docker counts in billionths of a CPU.
        "NanoCpus": limits.cpus.map_or(0, |cpus| (cpus * 1e9).round() as i64),
        "CpuShares": limits.cpu_shares.unwrap_or(0),
        "CpusetCpus": limits.cpuset.as_deref().unwrap_or_default(),
        "PidsLimit": limits.pids,
        "Ulimits": ulimits,
        "Devices": devices.map(|(host, inside, mode)| json!({ "PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": mode })).collect::<Vec<_>>(),
        "Init": wanted.init,
    });
    if let (Some(all), Value::Object(more)) = (value.as_object_mut(), rare_settings(wanted)) {
        all.extend(more);
    }
    value
}

fn rare_settings(wanted: &Wanted) -> Value {
    let limits = &wanted.limits;
    json!({
        "LogConfig": { "Type": wanted.logging.driver.name(), "Config": wanted.logging.options },
        "UTSMode": if wanted.uts_host { "host" } else { "" },
        "CgroupnsMode": if wanted.cgroup_host { "host" } else { "private" },
        "CgroupParent": wanted.cgroup_parent.as_deref().unwrap_or_default(),
        "DeviceCgroupRules": wanted.device_rules,
        "Annotations": wanted.annotations,
        "OomKillDisable": limits.oom_kill_disable,
        "MemorySwappiness": limits.swappiness,
        "CpuPeriod": limits.cpu_period.unwrap_or(0),
        "CpuQuota": limits.cpu_quota.unwrap_or(0),
        "CpuRealtimePeriod": limits.cpu_rt_period.unwrap_or(0),
        "CpuRealtimeRuntime": limits.cpu_rt_runtime.unwrap_or(0),
        "CpusetMems": limits.cpuset_mems.as_deref().unwrap_or_default(),
        "BlkioWeight": limits.block_io.weight.unwrap_or(0),
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

fn bind_text(mount: &Mount) -> Option<String> {
    let mode = if mount.read_only { "ro" } else { "rw" };
    match &mount.source {
        MountSource::Bind { path, .. } => Some(format!("{}:{}:{mode}", path.display(), mount.target)),
        MountSource::Volume { name, .. } => Some(format!("{name}:{}:{mode}", mount.target)),
        _ => None,
    }
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
    json!({
        "Hostname": wanted.hostname.as_deref().unwrap_or(wording::short(&found.id)),
        "Domainname": wanted.domainname.as_deref().unwrap_or_default(),
        "User": wanted.user,
        "ExposedPorts": exposed,
        "Tty": wanted.tty,
        "OpenStdin": wanted.stdin,
        "Env": wanted.env,
        "Cmd": wanted.args,
        "Healthcheck": wanted.healthcheck,
        "Image": wanted.image,
        "WorkingDir": wanted.working_dir,
        "Labels": wanted.labels,
        "StopSignal": wanted.stop_signal.as_deref().unwrap_or("SIGTERM"),
        "StopTimeout": wanted.stop_timeout,
    })
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
        let value = json!({
            "Aliases": plug.aliases,
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
    for exposed in &found.wanted.exposed {
        ports.entry(exposed.clone()).or_insert(Value::Null);
    }
    let first = state.plugged.first();
    Ok(json!({
        "SandboxID": "",
        "Ports": ports,
        "IPAddress": text(first.and_then(|plugged| plugged.ipv4).map(|assigned| assigned.address)),
        "GlobalIPv6Address": text(first.and_then(|plugged| plugged.ipv6).map(|assigned| assigned.address)),
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
