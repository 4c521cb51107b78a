//! Services as small as they can be, and what becomes of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use serde_json::json;

use super::*;
use crate::container::Mount;
use crate::container::MountSource;
use crate::container::NetworkMode;
use crate::image::ImageConfig;
use crate::image::RunConfig;
use crate::net::Protocol;

struct Nobody;

impl Peers for Nobody {
    fn of_service(&self, service: &str) -> Option<String> {
        (service == "db").then(|| "id-of-db".to_owned())
    }

    fn of_name(&self, _: &str) -> Option<String> {
        None
    }
}

fn image() -> Image {
    let config = RunConfig {
        env: Some(vec!["PATH=/bin".to_owned(), "LANG=C".to_owned()]),
        cmd: Some(vec!["serve".to_owned()]),
        volumes: json!({"/data": {}}).as_object().cloned(),
        ..RunConfig::default()
    };
    let config = ImageConfig { config, ..ImageConfig::default() };
    Image { id: "sha256:abc".to_owned(), manifest_digest: None, config, layers: Vec::new() }
}

fn converted(service: Value) -> Result<container::Wanted> {
    let service: Service = serde_json::from_value(service).unwrap();
    let project = Project {
        name: "shop".to_owned(),
        separator: '-',
        directory: PathBuf::from("/shop"),
        files: vec![PathBuf::from("/shop/compose.yaml")],
        services: BTreeMap::new(),
        disabled: BTreeMap::new(),
        networks: serde_json::from_value(json!({"default": {"name": "shop_default"}, "back": {"name": "shop_back"}})).unwrap(),
        volumes: serde_json::from_value(json!({"db": {"name": "shop_db"}})).unwrap(),
        configs: serde_json::from_value(json!({"app": {"name": "shop_app", "content": "hello"}})).unwrap(),
        secrets: serde_json::from_value(json!({"token": {"name": "shop_token", "environment": "TOKEN"}})).unwrap(),
        environment: BTreeMap::from([("TOKEN".to_owned(), "s3cret".to_owned())]),
        normal: Value::Null,
        warnings: Vec::new(),
    };
    wanted(&project, ("web", &service), &image(), &Nobody)
}

#[test]
fn environment_goes_over_the_images() {
    let wanted = converted(json!({"environment": {"LANG": "de", "EMPTY": "", "PATH": null}})).unwrap();
    assert_eq!(wanted.env, ["EMPTY=", "LANG=de"]);
}

#[test]
fn networks_are_in_order_with_the_service_as_alias() {
    let service = json!({"networks": {"default": null, "back": {"priority": 10, "aliases": ["api"], "ipv4_address": "10.0.0.5"}}});
    let NetworkMode::Plugs(plugs) = converted(service).unwrap().network else { panic!("no plugs") };
    let seen: Vec<_> = plugs.iter().map(|plug| (plug.network.as_str(), plug.aliases.clone())).collect();
    let expected = [("shop_back", vec!["web".to_owned(), "api".to_owned()]), ("shop_default", vec!["web".to_owned()])];
    assert_eq!(seen, expected);
    assert_eq!(plugs[0].address, Some([10, 0, 0, 5].into()));
}

#[test]
fn anothers_network_is_joined_by_id() {
    let joined = |mode: &str| converted(json!({"network_mode": mode})).map(|wanted| wanted.network);
    assert_eq!(joined("service:db").unwrap(), NetworkMode::Container("id-of-db".to_owned()));
    assert_eq!(joined("host").unwrap(), NetworkMode::Host);
    assert!(joined("container:gone").is_err());
}

#[test]
fn ports_and_ranges_are_candidates() {
    let service: Service = serde_json::from_value(json!({"ports": [
        {"target": 5000, "published": "8000", "protocol": "tcp"},
        {"target": 53, "published": "5300-5302", "protocol": "udp", "host_ip": "127.0.0.1"},
        {"target": 80},
    ]}))
    .unwrap();
    let found = port_candidates(&service).unwrap();
    assert_eq!(found[0].host_ports, [8000]);
    assert_eq!((found[1].host_ports.as_slice(), found[1].protocol), ([5300, 5301, 5302].as_slice(), Protocol::Udp));
    assert_eq!(found[2].host_ports, [0]);
}

#[test]
fn mounts_take_the_place_of_the_images_volumes() {
    let service = json!({
        "volumes": [{"type": "volume", "source": "db", "target": "/data"}, {"type": "bind", "source": "/src", "target": "/code", "read_only": true}],
        "tmpfs": ["/run:size=1m"],
        "configs": [{"source": "app"}],
        "secrets": [{"source": "token", "target": "key", "uid": "7", "mode": "0400"}],
    });
    let mounts = converted(service).unwrap().mounts;
    let find = |target: &str| mounts.iter().find(|mount| mount.target == target).map(|mount| mount.source.clone());
    assert_eq!(find("/data"), Some(MountSource::Volume { name: "shop_db".to_owned(), nocopy: false, subpath: None }));
    assert_eq!(find("/code"), Some(MountSource::Bind { path: "/src".into(), create: true, propagation: None }));
    assert_eq!(find("/run"), Some(MountSource::Tmpfs { size: Some(1 << 20), mode: None }));
    assert_eq!(find("/app"), Some(MountSource::Content { bytes: b"hello".to_vec(), uid: 0, gid: 0, mode: 0o444 }));
    assert_eq!(find("/run/secrets/key"), Some(MountSource::Content { bytes: b"s3cret".to_vec(), uid: 7, gid: 0, mode: 0o400 }));
    assert!(mounts.iter().find(|mount| mount.target == "/code").is_some_and(|mount: &Mount| mount.read_only));
}

#[test]
fn limits_come_from_both_places() {
    let service = json!({
        "mem_limit": "67108864", "cpus": 0.5, "ulimits": {"nofile": {"soft": 1, "hard": 2}, "nproc": 3},
        "deploy": {"resources": {"limits": {"pids": 9, "memory": "1"}}, "restart_policy": {"condition": "on-failure", "max_attempts": 2}},
        "stop_grace_period": "1.5s",
    });
    let wanted = converted(service).unwrap();
    assert_eq!((wanted.limits.memory, wanted.limits.cpus, wanted.limits.pids), (Some(64 << 20), Some(0.5), Some(9)));
    assert_eq!(wanted.ulimits, [("nofile".to_owned(), 1, 2), ("nproc".to_owned(), 3, 3)]);
    assert_eq!((wanted.restart, wanted.stop_timeout), (Restart::OnFailure(2), Some(2)));
}

#[test]
fn what_is_not_carried_out_is_named() {
    let service: Service = serde_json::from_value(json!({
        "x-note": 1, "develop": {}, "links": ["db"], "logging": {"driver": "syslog"}, "gpus": "all", "pid": "service:db",
    }))
    .unwrap();
    let expected = ["gpus", "logging", "pid: service:db"].map(|key| format!("service `web`: `{key}` is not carried out"));
    let mut found = uncarried("web", &service);
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_refusal_names_the_service() {
    let failure = converted(json!({"restart": "sometimes"})).unwrap_err();
    assert_eq!(failure.what(), "cannot make a container of service `web`");
}
