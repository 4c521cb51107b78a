//! What the image says and the user did not.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::Value;

use crate::image::Healthcheck;
use crate::image::Image;
use crate::net::DEFAULT_NETWORK;
use crate::net::Plug;
use crate::runtime::Trust;

use super::Ipc;
use super::Limits;
use super::Logging;
use super::Mount;
use super::MountSource;
use super::NetworkMode;
use super::Restart;
use super::Share;
use super::Wanted;

/// Fills what the user left open from the image: entrypoint, command, environment, user, working directory, labels, volumes
/// (as [`MountSource::Anonymous`]), ports, stop signal and health check, by Docker's rules
/// (an entrypoint of the user's own clears the image's command).
pub fn from_image(image: &Image, name: &str, entrypoint: Option<Vec<String>>, command: Option<Vec<String>>) -> Wanted {
    let config = &image.config.config;
    let (args, entrypoint) = args(config.entrypoint.as_deref(), config.cmd.as_deref(), entrypoint, command);
    Wanted {
        name: None,
        image: name.to_owned(),
        image_id: image.id.clone(),
        layers: image.layers.clone(),
        hold: image.hold.clone(),
        args,
        entrypoint,
        env: config.env.clone().unwrap_or_default(),
        labels: config.labels.iter().flatten().map(|(key, value)| (key.clone(), text_of(value))).collect(),
        user: config.user.clone(),
        group_add: Vec::new(),
        working_dir: config.working_dir.clone(),
        hostname: None,
        domainname: None,
        tty: false,
        stdin: false,
        mounts: config.volumes.iter().flatten().map(|(target, _)| anonymous(target)).collect(),
        network: NetworkMode::Plugs(vec![Plug::into_network(DEFAULT_NETWORK)]),
        ports: Vec::new(),
        exposed: exposed(image),
        extra_hosts: Vec::new(),
        dns: Vec::new(),
        dns_search: Vec::new(),
        dns_options: Vec::new(),
        limits: Limits::default(),
        trust: Trust::default(),
        read_only: false,
        init: false,
        sysctls: BTreeMap::new(),
        ulimits: Vec::new(),
        devices: Vec::new(),
        cdi_devices: Vec::new(),
        shm_size: None,
        pid: Share::Own,
        ipc: Ipc::Private,
        uts_host: false,
        cgroup_host: false,
        cgroup_parent: None,
        device_rules: Vec::new(),
        annotations: BTreeMap::new(),
        logging: Logging::default(),
        restart: Restart::No,
        stop_signal: config.stop_signal.clone(),
        stop_timeout: None,
        healthcheck: config.healthcheck.clone().filter(|check| !is_none(check)),
        post_start: Vec::new(),
        pre_stop: Vec::new(),
        auto_remove: false,
        supervisor: None,
    }
}

fn args(
    image_entrypoint: Option<&[String]>,
    image_command: Option<&[String]>,
    entrypoint: Option<Vec<String>>,
    command: Option<Vec<String>>,
) -> (Vec<String>, usize) {
    // An empty list is as good as none, but an empty entrypoint of the user's own takes the image's away.
    let command = command.filter(|command| !command.is_empty());
    let (mut args, command) = match entrypoint {
        Some(entrypoint) => (entrypoint, command.unwrap_or_default()),
        None => {
            let command = command.unwrap_or_else(|| image_command.unwrap_or_default().to_vec());
            (image_entrypoint.unwrap_or_default().to_vec(), command)
        }
    };
    args.retain(|arg| !arg.is_empty() || command.is_empty());
    let of_entrypoint = args.len();
    args.extend(command);
    if args.iter().all(String::is_empty) {
        return (Vec::new(), 0); // `--entrypoint ""` and nothing else
    }
    (args, of_entrypoint)
}

fn exposed(image: &Image) -> Vec<String> {
    let ports = image.config.config.exposed_ports.iter().flatten().map(|(port, _)| match port.contains('/') {
        true => port.clone(),
        false => format!("{port}/tcp"),
    });
    ports.collect::<BTreeSet<String>>().into_iter().collect()
}

fn anonymous(target: &str) -> Mount {
    Mount { target: target.to_owned(), read_only: false, source: MountSource::Anonymous { labels: BTreeMap::new() } }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `["NONE"]` and an empty test switch the health check off.
fn is_none(check: &Healthcheck) -> bool {
    check.test.first().is_none_or(|first| first == "NONE")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn entrypoint_and_command_merge_as_dockers() {
        let image = (Some(list("/entry")), Some(list("serve fast")));
        let merged = |entrypoint: Option<&str>, command: Option<&str>| {
            args(image.0.as_deref(), image.1.as_deref(), entrypoint.map(list), command.map(list)).0.join(" ")
        };
        assert_eq!(merged(None, None), "/entry serve fast");
        assert_eq!(merged(None, Some("stop")), "/entry stop");
        assert_eq!(merged(None, Some("")), "/entry serve fast");
        assert_eq!(merged(Some("sh"), None), "sh");
        assert_eq!(merged(Some("sh"), Some("-c true")), "sh -c true");
        assert_eq!(merged(Some(""), Some("true")), "true");
        assert_eq!(args(image.0.as_deref(), image.1.as_deref(), Some(vec![String::new()]), Some(list("true"))), (list("true"), 0));
        assert_eq!(args(image.0.as_deref(), None, Some(vec![String::new()]), None), (Vec::new(), 0));
        assert_eq!(args(image.0.as_deref(), None, None, Some(list("stop"))).1, 1);
    }
}
