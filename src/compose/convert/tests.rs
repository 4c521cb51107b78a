//! Services as small as they can be, and what becomes of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use serde_json::json;

use super::*;
use crate::compose::load::Places;
use crate::container::Below;
use crate::container::Ipc;
use crate::container::Mount;
use crate::container::MountSource;
use crate::container::NetworkMode;
use crate::container::Share;
use crate::image::Hold;
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

    fn mounts_of(&self, _: &str) -> Vec<Mount> {
        let volume = MountSource::Volume { name: "shop_db".to_owned(), nocopy: false, subpath: None };
        let tmpfs = MountSource::Tmpfs { size: None, mode: None, options: Vec::new() };
        let mount = |target: &str, source| Mount { target: target.to_owned(), read_only: false, source };
        vec![mount("/var/lib", volume), mount("/run", tmpfs)]
    }

    fn image(&self, name: &str) -> Option<Image> {
        (name == "tools").then(image)
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
    Image { id: "sha256:abc".to_owned(), manifest_digest: None, config, layers: Vec::new(), hold: Hold::default() }
}

fn converted(service: Value) -> Result<container::Wanted> {
    let service: Service = serde_json::from_value(service).unwrap();
    let project = Project {
        pins: BTreeMap::new(),
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
        places: Places::default(),
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
fn a_plug_is_all_that_the_network_settings_say() {
    let service = json!({
        "networks": {
            "back": {"priority": 1, "gw_priority": 9, "interface_name": "net0", "link_local_ips": ["169.254.8.8"],
                "driver_opts": {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1"}},
            "default": {"mac_address": "02:42:ac:11:00:98"},
        },
        "mac_address": "02:42:ac:11:00:99", "links": ["db:data"], "external_links": ["legacy"], "expose": ["3000-3001", "53/udp"],
    });
    let wanted = converted(service).unwrap();
    assert_eq!(wanted.exposed, ["3000/tcp", "3001/tcp", "53/udp"]);
    let NetworkMode::Plugs(plugs) = wanted.network else { panic!("no plugs") };
    assert_eq!((plugs[0].interface.as_deref(), plugs[0].gateway_priority, plugs[0].link_local.len()), (Some("net0"), 9, 1));
    assert_eq!((plugs[0].mac.map(|mac| mac[5]), plugs[1].mac.map(|mac| mac[5])), (Some(0x99), Some(0x98)));
    assert_eq!(plugs[0].sysctls.len(), 1);
    let link = |name: &str, alias: &str| (name.to_owned(), alias.to_owned());
    assert_eq!(plugs[1].links, [link("db", "data"), link("legacy", "legacy")]);
    for settings in [json!({"mac_address": "x"}), json!({"interface_name": "a/b"}), json!({"ipv4_address": "x"})] {
        assert!(converted(json!({"networks": {"default": settings}})).is_err());
    }
    assert!(converted(json!({"expose": ["2-1"]})).is_err());
    assert_eq!(converted(json!({"networks": {"host": null}})).unwrap().network, NetworkMode::Host);
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
    assert_eq!(find("/code"), Some(MountSource::Bind { path: "/src".into(), create: true, propagation: None, below: Below::Shown }));
    assert_eq!(find("/run"), Some(MountSource::Tmpfs { size: Some(1 << 20), mode: None, options: Vec::new() }));
    assert_eq!(find("/app"), Some(MountSource::Content { bytes: b"hello".to_vec(), uid: 0, gid: 0, mode: 0o444 }));
    assert_eq!(find("/run/secrets/key"), Some(MountSource::Content { bytes: b"s3cret".to_vec(), uid: 7, gid: 0, mode: 0o400 }));
    assert!(mounts.iter().find(|mount| mount.target == "/code").is_some_and(|mount: &Mount| mount.read_only));
}

#[test]
fn limits_come_from_both_places() {
    let service = json!({
        "mem_limit": "67108864", "cpus": 0.5, "ulimits": {"nofile": {"soft": 1, "hard": 2}, "nproc": 3, "core": {}, "stack": {"hard": 5}},
        "deploy": {"resources": {"limits": {"pids": 9, "memory": "1"}}, "restart_policy": {"condition": "on-failure", "max_attempts": 2}},
        "stop_grace_period": "1.5s",
    });
    let wanted = converted(service).unwrap();
    assert_eq!((wanted.limits.memory, wanted.limits.cpus, wanted.limits.pids), (Some(64 << 20), Some(0.5), Some(9)));
    let expected = [("core", 0, 0), ("nofile", 1, 2), ("nproc", 3, 3), ("stack", 0, 5)];
    assert_eq!(wanted.ulimits, expected.map(|(name, soft, hard)| (name.to_owned(), soft, hard)));
    assert_eq!((wanted.restart, wanted.stop_timeout), (Restart::OnFailure(2), Some(2)));
}

#[test]
fn namespaces_are_shared_by_name() {
    let service = json!({"pid": "service:db", "ipc": "service:db", "uts": "host", "cgroup": "host", "userns_mode": "host"});
    let wanted = converted(service).unwrap();
    assert_eq!((wanted.pid, wanted.ipc), (Share::Container("id-of-db".to_owned()), Ipc::Container("id-of-db".to_owned())));
    assert!(wanted.uts_host && wanted.cgroup_host);
    assert_eq!(converted(json!({"ipc": "shareable"})).unwrap().ipc, Ipc::Shareable);
    for service in [json!({"pid": "mine"}), json!({"uts": "private"}), json!({"userns_mode": "auto"}), json!({"ipc": "container:gone"})] {
        assert!(converted(service).is_err());
    }
    assert!(converted(json!({"uts": "host", "hostname": "x"})).is_err());
}

#[test]
fn volumes_come_from_others() {
    let mounts = converted(json!({"volumes_from": ["db:ro"], "volumes": [{"type": "image", "source": "tools", "target": "/tools"}]}))
        .unwrap()
        .mounts;
    let borrowed = mounts.iter().find(|mount| mount.target == "/var/lib").unwrap();
    assert!(borrowed.read_only);
    assert!(!mounts.iter().any(|mount| mount.target == "/run"), "what does not last is not shared");
    let image = mounts.iter().find(|mount| mount.target == "/tools").unwrap();
    assert!(matches!(&image.source, MountSource::Image { id, .. } if id == "sha256:abc"));
    assert!(converted(json!({"volumes_from": ["db:frozen"]})).is_err());
    assert!(converted(json!({"volumes_from": ["container:gone"]})).is_err());
}

#[test]
fn rare_limits_are_taken_over() {
    let wanted = converted(json!({
        "cpu_period": 50000, "cpu_quota": 20000, "mem_swappiness": "10", "oom_kill_disable": true, "cgroup_parent": "/shop",
        "blkio_config": {"weight": 300, "device_read_bps": [{"Path": "/dev/sda", "Rate": "12582912"}]},
        "device_cgroup_rules": ["c 1:3 mr"], "annotations": {"a": "b"},
    }))
    .unwrap();
    assert_eq!((wanted.limits.cpu_quota, wanted.limits.swappiness), (Some(20000), Some(10)));
    assert_eq!(wanted.limits.block_io.read_bps, [("/dev/sda".to_owned(), 12 << 20)]);
    assert_eq!((wanted.cgroup_parent.as_deref(), wanted.annotations.len()), (Some("/shop"), 1));
    for service in [
        json!({"cpus": 1.0, "cpu_quota": 20000}),
        json!({"cpu_period": 10}),
        json!({"mem_swappiness": "101"}),
        json!({"cgroup_parent": "../x"}),
        json!({"device_cgroup_rules": ["x"]}),
        json!({"blkio_config": {"weight": 5}}),
    ] {
        assert!(converted(service.clone()).is_err(), "{service}");
    }
}

#[test]
fn a_refusal_names_the_service() {
    let failure = converted(json!({"restart": "sometimes"})).unwrap_err();
    assert_eq!(failure.what(), "cannot make a container of service `web`");
}
