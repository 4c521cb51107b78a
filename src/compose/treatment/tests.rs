//! Every attribute has a treatment, and gets it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::tables;
use super::*;
use crate::compose;
use crate::compose::BuildManner;
use crate::compose::Sources;
use crate::compose::Surroundings;
use crate::compose::convert;
use crate::compose::convert::Peers;
use crate::compose::model::Project;
use crate::compose::recipe::Recipe;
use crate::compose::resource;
use crate::container::Mount;
use crate::container::MountSource;
use crate::image::Hold;
use crate::image::Image;
use crate::image::ImageConfig;
use crate::image::RunConfig;

/// Attributes of a whole file that belong to none of its parts.
const FILE: Table = &[("include", Loaded), ("name", Loaded), ("version", Loaded)];

const KINDS: [(&str, Table); 7] = [
    ("services.*.", tables::SERVICE),
    ("networks.*.", tables::NETWORK),
    ("volumes.*.", tables::VOLUME),
    ("configs.*.", tables::CONFIG),
    ("secrets.*.", tables::SECRET),
    ("models.*.", tables::MODEL),
    ("", FILE),
];

/// The entry that is for an attribute, if one is.
fn entry(table: Table, attribute: &str) -> Option<&'static (&'static str, Treatment)> {
    table.iter().find(|(path, treatment)| {
        let rest = attribute.strip_prefix(path);
        // What is done with an attribute is not done with a new one below it.
        let for_all_below = matches!(treatment, Loaded | Refused | Warned(_));
        rest.is_some_and(|rest| rest.is_empty() || (for_all_below && rest.starts_with(['.', '['])))
    })
}

#[test]
fn every_attribute_of_the_schema_has_a_treatment() {
    let attributes = compose::load::attributes();
    assert!(attributes.len() > 280, "{}", attributes.len());
    let mut used = BTreeSet::new();
    for attribute in &attributes {
        let (kind, rest) = KINDS.iter().find_map(|(kind, _)| Some((*kind, attribute.strip_prefix(kind)?))).unwrap();
        let table = KINDS.iter().find(|(other, _)| *other == kind).unwrap().1;
        let found = entry(table, rest).unwrap_or_else(|| panic!("`{attribute}` has no treatment: say in `tables` what becomes of it"));
        used.insert((kind, found.0));
    }
    for (kind, table) in KINDS {
        let unused: Vec<_> = table.iter().filter(|(path, _)| !used.contains(&(kind, *path))).collect();
        assert!(unused.is_empty(), "{kind}{unused:?} is no attribute");
    }
}

struct Others;

impl Peers for Others {
    fn of_service(&self, service: &str) -> Option<String> {
        Some(format!("id-of-{service}"))
    }

    fn of_name(&self, name: &str) -> Option<String> {
        Some(format!("id-of-{name}"))
    }

    fn mounts_of(&self, _: &str) -> Vec<Mount> {
        let source = MountSource::Volume { name: "shop_lent".to_owned(), nocopy: false, subpath: None };
        vec![Mount { target: "/lent".to_owned(), read_only: false, source }]
    }

    fn image(&self, _: &str) -> Option<Image> {
        Some(image())
    }
}

fn image() -> Image {
    let config = RunConfig { cmd: Some(vec!["serve".to_owned()]), ..RunConfig::default() };
    let config = ImageConfig { config, ..ImageConfig::default() };
    Image { id: "sha256:abc".to_owned(), manifest_digest: None, config, layers: Vec::new(), hold: Hold::default() }
}

/// A project of a service `web` with these lines, one `db`, and resources of all kinds with these lines.
fn project(service: &str, (kind, resource): (&str, &str)) -> Project {
    let image = if service.contains("image: other") || service.contains("provider:") { "" } else { "image: busybox" };
    let more = |this: &str| if this == kind { resource } else { "" };
    let text = format!(
        "name: shop
services:
  web:
    {image}
    {service}
  db: {{image: busybox, volumes: [\"data:/data\"]}}
models: {{llm: {{model: ai/small}}}}
networks: {{front: {{{}}}, back: {{}}}}
volumes: {{data: {{{}}}}}
configs: {{app: {{{}}}, other: {{content: x}}}}
secrets: {{token: {{{}}}, key: {{environment: KEY}}}}
",
        more("networks"),
        more("volumes"),
        if kind == "configs" { resource } else { "content: hello" },
        if kind == "secrets" { resource } else { "environment: TOKEN" },
    );
    let variables = ["TOKEN", "KEY"].map(|name| (name.to_owned(), name.to_lowercase()));
    let surroundings =
        Surroundings { directory: PathBuf::from("/shop"), variables: BTreeMap::from(variables), input: Some(text.clone().into_bytes()) };
    let profiles = vec!["on".to_owned()];
    let sources = Sources { files: vec!["-".to_owned()], profiles, all_resources: true, ..Sources::default() };
    compose::load_in(&surroundings, &sources).unwrap_or_else(|failure| panic!("{text}\n{failure}"))
}

/// All that a container of `web` is made with, and what it is called.
fn made(project: &Project) -> String {
    let service = &project.services["web"];
    let wanted = convert::wanted(project, ("web", service), &image(), &Others);
    let network = resource::network_wanted(project, "front", &project.networks["front"]);
    let volume = resource::volume_wanted(project, "data", &project.volumes["data"]);
    let name = compose::labels::container_name(project, ("web", service), 1);
    let first = &service.pre_start; // run in containers of their own
    format!("{wanted:?} {first:?} {:?} {name} {:?} {network:?} {volume:?}", convert::port_candidates(service), service.platform)
}

fn build(project: &Project) -> String {
    let wanted = compose::build_wanted(project, ("web", "shop-web"), &BuildManner::default());
    format!("{wanted:?}")
}

/// The attribute as a warning names it.
fn spoken(attribute: &str) -> String {
    attribute.replace("[]", "")
}

#[test]
fn every_attribute_of_a_service_gets_its_treatment() {
    let faults: Vec<String> = samples::SAMPLES.iter().flat_map(faults).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What is wrong about the treatment of one attribute.
fn faults((attribute, before, after): &samples::Sample) -> Vec<String> {
    let treatment = entry(tables::SERVICE, attribute).unwrap_or_else(|| panic!("{attribute}")).1;
    let (before, after) = (project(before, ("", "")), project(after, ("", "")));
    let (old, new) = (Recipe::of(&before, "web").unwrap(), Recipe::of(&after, "web").unwrap());
    let changed = new.difference(&old);
    let warned = convert::uncarried(&after, "web").join("\n");
    let is_named = warned.contains(&format!("`{}`", spoken(attribute)));
    let is_made_with = made(&before) != made(&after);
    let first = attribute.split(['.', '[']).next().unwrap();
    let is_concern = matches!(treatment, Made | Judged | Refused);
    let table = [
        (before.normal == after.normal && *attribute != "pull_refresh_after", "is not loaded".to_owned()),
        (matches!(treatment, Made | Refused) && !is_made_with, "makes no difference".to_owned()),
        // This one shows only where the kernel has SELinux.
        (treatment == Judged && !is_made_with && *attribute != "volumes[].bind.selinux", "makes no difference".to_owned()),
        (matches!(treatment, Made | Refused) && is_named, format!("is warned about: {warned}")),
        (matches!(treatment, Warned(_)) && is_made_with, "makes a difference".to_owned()),
        (matches!(treatment, Warned(_)) && !is_named, format!("is not warned about: {warned}")),
        (attribute.starts_with("build.") && treatment == Obeyed && build(&before) == build(&after), "makes no other build".to_owned()),
        (is_concern && (new.hash() == old.hash() || !changed.contains(first)), format!("makes no new container: {changed}")),
        (!is_concern && new.hash() != old.hash(), format!("makes a new container: {changed}")),
    ];
    table.into_iter().filter(|(is_fault, _)| *is_fault).map(|(_, what)| format!("{attribute} {what}")).collect()
}

#[test]
fn every_attribute_of_a_service_has_a_sample() {
    let without: Vec<_> = tables::SERVICE
        .iter()
        .filter(|(path, treatment)| *treatment != Loaded && !samples::SAMPLES.iter().any(|(attribute, ..)| attribute == path))
        .collect();
    assert!(without.is_empty(), "{without:?}");
}

#[test]
fn resources_are_made_with_their_attributes() {
    let service = "networks: [front]\n    volumes: [\"data:/d\"]\n    configs: [app]\n    secrets: [token]";
    let table = [
        ("networks", "", "driver: overlay"),
        ("networks", "", "driver_opts: {com.docker.network.driver.mtu: 1300}"),
        ("networks", "", "enable_ipv4: false, enable_ipv6: true"),
        ("networks", "", "internal: true"),
        ("networks", "ipam: {config: [{subnet: 10.9.0.0/24}]}", "ipam: {config: [{subnet: 10.8.0.0/24}]}"),
        ("networks", "ipam: {config: [{subnet: 10.9.0.0/24}]}", "ipam: {config: [{subnet: 10.9.0.0/24, gateway: 10.9.0.9}]}"),
        ("networks", "ipam: {config: [{subnet: 10.9.0.0/24}]}", "ipam: {config: [{subnet: 10.9.0.0/24, ip_range: 10.9.0.128/25}]}"),
        ("networks", "ipam: {config: [{subnet: 10.9.0.0/24}]}", "ipam: {config: [{subnet: 10.9.0.0/24, aux_addresses: {a: 10.9.0.9}}]}"),
        ("networks", "", "labels: {a: b}"),
        ("networks", "", "name: other"),
        ("volumes", "", "driver: cloud"),
        ("volumes", "", "driver_opts: {type: tmpfs, device: tmpfs}"),
        ("volumes", "", "labels: {a: b}"),
        ("volumes", "", "name: other"),
        ("configs", "content: a", "content: b"),
        ("configs", "content: a", "environment: TOKEN"),
        ("configs", "content: a", "file: ./b"),
        ("configs", "content: a", "external: true"),
        ("configs", "content: a", "content: a, template_driver: golang"),
        ("secrets", "environment: TOKEN", "environment: KEY"),
        ("secrets", "environment: TOKEN", "file: ./b"),
        ("secrets", "environment: TOKEN", "external: true"),
        ("secrets", "environment: TOKEN", "environment: TOKEN, driver: vault"),
        ("secrets", "environment: TOKEN", "environment: TOKEN, driver_opts: {a: b}"),
        ("secrets", "environment: TOKEN", "environment: TOKEN, template_driver: golang"),
    ];
    for (kind, before, after) in table {
        assert_ne!(made(&project(service, (kind, before))), made(&project(service, (kind, after))), "{kind}: {after}");
    }
    for (kind, lines) in [("configs", "content: a, labels: {a: b}"), ("secrets", "environment: TOKEN, labels: {a: b}")] {
        let told = convert::uncarried(&project(service, (kind, lines)), "web");
        let object = if kind == "configs" { "config `app`" } else { "secret `token`" };
        assert_eq!(told, [format!("{object}: `labels` is not carried out")]);
    }
}

#[test]
fn what_asks_for_nothing_is_not_warned_about() {
    let lines = "deploy: {mode: replicated, endpoint_mode: dnsrr, placement: {}, labels: {}}
    isolation: default
    x-note: {a: b}
    volumes: [{type: bind, source: /a, target: /b, consistency: cached}]
    ports: [\"8080:80\", {target: 81, mode: host}]
    use_api_socket: false";
    assert_eq!(convert::uncarried(&project(lines, ("", "")), "web"), [""; 0]);
}

#[test]
fn all_that_has_no_effect_is_one_line() {
    let lines = "deploy: {placement: {constraints: [a==b]}, update_config: {delay: 1s}, restart_policy: {max_attempts: 2}}
    ports: [{target: 80, app_protocol: http}, {target: 81, app_protocol: http}]
    volumes: [{type: volume, source: data, target: /d, bind: {propagation: rslave}, volume: {labels: {a: b}}}]";
    let expected = "service `web`: `deploy.placement`, `deploy.restart_policy.max_attempts`, `deploy.update_config`, \
                    `ports.app_protocol`, `volumes (/d).bind` and `volumes (/d).volume.labels` are not carried out";
    assert_eq!(convert::uncarried(&project(lines, ("", "")), "web"), [expected]);
    let on_the_host = convert::uncarried(&project("network_mode: host\n    links: [db]\n    ports: [\"80:80\"]", ("", "")), "web");
    assert_eq!(on_the_host, ["service `web`: `links` and `ports` are not carried out, as it has `network_mode: host`"]);
}

#[test]
fn notes_of_a_persons_own_are_no_reason_for_a_new_container() {
    let of = |lines: &str| Recipe::of(&project(lines, ("", "")), "web").unwrap();
    let usual = of("environment: {A: b}").hash();
    assert_eq!(of("environment: {A: b}\n    x-note: 1\n    deploy: {x-note: 2, replicas: 1}").hash(), usual);
    let with_label = of("environment: {A: b}\n    labels: {x-note: \"1\"}");
    assert_ne!(with_label.hash(), usual);
}
