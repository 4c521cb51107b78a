//! Plans as text, for projects and findings written as small as they can be.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use super::*;
use crate::compose::labels;
use crate::compose::load::Places;
use crate::compose::model::Project;
use crate::compose::observe::Found;
use crate::compose::observe::FoundContainer;
use crate::compose::observe::FoundResource;
use crate::compose::recipe::Recipe;
use crate::compose::resource;
use crate::container::Status;

fn project(normal: Value) -> Project {
    let part = |name: &str| normal.get(name).cloned().unwrap_or_else(|| json!({}));
    Project {
        pins: BTreeMap::new(),
        name: "shop".to_owned(),
        separator: '-',
        directory: PathBuf::from("/shop"),
        files: vec![PathBuf::from("/shop/compose.yaml")],
        services: serde_json::from_value(part("services")).unwrap(),
        disabled: BTreeMap::new(),
        networks: serde_json::from_value(part("networks")).unwrap(),
        volumes: serde_json::from_value(part("volumes")).unwrap(),
        configs: serde_json::from_value(part("configs")).unwrap(),
        secrets: BTreeMap::new(),
        environment: BTreeMap::new(),
        normal,
        places: Places::default(),
        warnings: Vec::new(),
    }
}

fn web_and_redis() -> Value {
    json!({
        "services": {
            "redis": {"image": "redis:8", "networks": {"default": null}},
            "web": {"build": {"context": "/shop"}, "environment": {"DEBUG": "0"}, "networks": {"default": null},
                "depends_on": {"redis": {"condition": "service_started", "required": true}}},
        },
        "networks": {"default": {"name": "shop_default"}},
    })
}

fn recipes(project: &Project) -> BTreeMap<String, Recipe> {
    project.services.keys().map(|name| (name.clone(), Recipe::of(project, name).unwrap())).collect()
}

/// What an `up` of this project leaves behind: everything runs.
fn all_up(project: &Project) -> Found {
    let mut found = Found::default();
    for (name, service) in &project.services {
        let image = labels::image_name(project, (name, service));
        found.images.insert(image.clone(), Some(format!("sha256:{image}")));
        let recipe = Recipe::of(project, name).unwrap();
        found.containers.push(FoundContainer {
            id: format!("id-{name}"),
            name: labels::container_name(project, (name, service), 1),
            service: name.clone(),
            number: 1,
            one_off: false,
            hash: recipe.hash(),
            image_id: format!("sha256:{image}"),
            image,
            depends_on: service.depends_on.keys().cloned().collect(),
            restarts_with: Vec::new(),
            status: Status::Running,
            health: None,
            exit_code: 0,
            networks: service.networks.keys().map(|key| project.networks[key].name.clone()).collect(),
            shares_network_of: None,
            ports: Vec::new(),
            wanted_ports: Vec::new(),
            volumes: Vec::new(),
            anonymous: BTreeMap::new(),
            recipe: Some(recipe),
        });
    }
    for (key, network) in &project.networks {
        let wanted = resource::network_wanted(project, key, network).unwrap();
        found.networks.insert(network.name.clone(), FoundResource { labels: wanted.labels });
    }
    for (key, volume) in &project.volumes {
        let wanted = resource::volume_wanted(project, key, volume).unwrap();
        found.volumes.insert(volume.name.clone(), FoundResource { labels: wanted.labels });
    }
    found
}

fn planned(project: &Project, found: &Found, options: &Options) -> String {
    up(project, found, options, &recipes(project)).unwrap().to_string()
}

fn lines(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn an_image_is_looked_at_again_when_its_policy_says_so() {
    let planned = |policy: &str, hours: u64| {
        let project = project(json!({"services": {"web": {"image": "nginx", "pull_policy": policy}}}));
        let mut found = all_up(&project);
        found.image_ages.insert("nginx".to_owned(), Duration::from_secs(hours * 3600));
        let plan = up(&project, &found, &Options::default(), &recipes(&project)).unwrap();
        plan.steps.iter().any(|step| matches!(step.action, Action::PullImage { .. }))
    };
    let table = [
        ("missing", 9999, false),
        ("daily", 23, false),
        ("daily", 25, true),
        ("weekly", 25, false),
        ("weekly", 200, true),
        ("every_12h", 11, false),
        ("every_12h", 12, true),
        ("refresh", 0, true),
        ("always", 0, true),
    ];
    for (policy, hours, expected) in table {
        assert_eq!(planned(policy, hours), expected, "{policy} after {hours} hours");
    }
}

#[test]
fn an_image_that_is_mounted_is_pulled_too_and_a_provided_service_has_no_container() {
    let project = project(json!({"services": {
        "web": {"image": "nginx", "depends_on": {"db": {"condition": "service_started"}},
            "volumes": [{"type": "image", "source": "tools", "target": "/tools"}]},
        "db": {"provider": {"type": "cloud"}},
    }}));
    let plan = up(&project, &Found::default(), &Options::default(), &recipes(&project)).unwrap();
    let expected = "1. pull image tools (not found)\n2. pull image nginx (not found)\n3. bring up provided service db\n\
                    4. create container shop-web-1 after 2, 3 (not found)\n5. start container shop-web-1 after 3, 4\n";
    assert_eq!(plan.to_string(), expected);
}

#[test]
fn a_provider_comes_when_what_it_depends_on_is_ready() {
    let project = project(json!({"services": {
        "web": {"image": "nginx", "depends_on": {"cloud": {"condition": "service_started"}}},
        "cloud": {"provider": {"type": "cloud"}, "depends_on": {"db": {"condition": "service_healthy", "required": true}}},
        "db": {"image": "redis"},
    }}));
    let planned = |providers| {
        let options = Options { images: Images::Settled, providers, ..Options::default() };
        up(&project, &Found::default(), &options, &recipes(&project)).unwrap().to_string()
    };
    let before = "1. create container shop-db-1 (not found)\n2. start container shop-db-1 after 1\n3. wait until db is healthy after 2\n";
    let after = "4. bring up provided service cloud after 3\n5. create container shop-web-1 after 4 (not found)\n\
                 6. start container shop-web-1 after 4, 5\n";
    assert_eq!(planned(Providers::Wanted), format!("{before}{after}"));
    let next = Options { services: vec!["cloud".to_owned()], images: Images::Settled, ..Options::default() };
    let next = Options { providers: Providers::Next("cloud".to_owned()), ..next };
    assert_eq!(up(&project, &Found::default(), &next, &recipes(&project)).unwrap().to_string(), before);
}

#[test]
fn first_steps_go_before_the_first_container_or_before_each() {
    let project = project(json!({"services": {
        "web": {"image": "nginx", "scale": 2, "pre_start": [{"command": ["migrate"], "image": "tools"}, {"command": ["warm"], "per_replica": true}]},
        "one": {"image": "nginx", "scale": 2, "pre_start": [{"command": ["migrate"]}]},
    }}));
    let plan = up(&project, &Found::default(), &Options::default(), &recipes(&project)).unwrap();
    let expected = [
        "1. pull image nginx (not found)",
        "2. pull image tools (not found)",
        "3. create container shop-one-1 after 1 (not found)",
        "4. run the first steps of container shop-one-1 after 3",
        "5. start container shop-one-1 after 3, 4",
        "6. create container shop-one-2 after 1 (not found)",
        "7. start container shop-one-2 after 4, 6",
        "8. create container shop-web-1 after 1 (not found)",
        "9. run the first steps of container shop-web-1 after 8",
        "10. start container shop-web-1 after 8, 9",
        "11. create container shop-web-2 after 1 (not found)",
        "12. run the first steps of container shop-web-2 after 9, 11",
        "13. start container shop-web-2 after 9, 11, 12",
    ];
    assert_eq!(plan.to_string(), lines(&expected));
}

#[test]
fn a_first_up_makes_everything_along_the_dependencies() {
    let project = project(web_and_redis());
    let expected = [
        "1. pull image redis:8 (not found)",
        "2. build image shop-web (not found)",
        "3. create network shop_default (not found)",
        "4. create container shop-redis-1 after 1, 3 (not found)",
        "5. start container shop-redis-1 after 4",
        "6. create container shop-web-1 after 2, 3 (not found)",
        "7. start container shop-web-1 after 5, 6",
    ];
    assert_eq!(planned(&project, &Found::default(), &Options::default()), lines(&expected));
}

#[test]
fn a_second_up_has_nothing_to_do() {
    let project = project(web_and_redis());
    assert_eq!(planned(&project, &all_up(&project), &Options::default()), "");
}

#[test]
fn only_the_changed_service_is_made_anew_and_the_cause_is_named() {
    let before = project(web_and_redis());
    let found = all_up(&before);
    let mut normal = web_and_redis();
    normal["services"]["web"]["environment"]["DEBUG"] = json!("1");
    let expected = ["1. recreate container shop-web-1 (config changed: environment.DEBUG)", "2. start container shop-web-1 after 1"];
    assert_eq!(planned(&project(normal), &found, &Options::default()), lines(&expected));
}

#[test]
fn a_new_image_is_a_cause() {
    let project = project(web_and_redis());
    let mut found = all_up(&project);
    found.images.insert("redis:8".to_owned(), Some("sha256:newer".to_owned()));
    let expected = ["1. recreate container shop-redis-1 (image changed)", "2. start container shop-redis-1 after 1"];
    assert_eq!(planned(&project, &found, &Options::default()), lines(&expected));
}

#[test]
fn a_container_that_ended_is_only_started() {
    let project = project(web_and_redis());
    let mut found = all_up(&project);
    found.containers[0].status = Status::Exited;
    found.containers[0].exit_code = 137;
    assert_eq!(planned(&project, &found, &Options::default()), "1. start container shop-redis-1 (exited with 137)\n");
}

#[test]
fn conditions_of_dependencies_are_waited_for_once() {
    let mut normal = web_and_redis();
    normal["services"]["web"]["depends_on"]["redis"]["condition"] = json!("service_healthy");
    normal["services"]["job"] = json!({"image": "busybox", "depends_on": {"redis": {"condition": "service_healthy", "required": true}}});
    let project = project(normal);
    let options = Options { images: Images::Settled, ..Options::default() };
    let expected = [
        "1. create network shop_default (not found)",
        "2. create container shop-redis-1 after 1 (not found)",
        "3. start container shop-redis-1 after 2",
        "4. create container shop-job-1 (not found)",
        "5. wait until redis is healthy after 3",
        "6. start container shop-job-1 after 4, 5",
        "7. create container shop-web-1 after 1 (not found)",
        "8. start container shop-web-1 after 5, 7",
    ];
    assert_eq!(planned(&project, &Found::default(), &options), lines(&expected));
}

#[test]
fn scaling_adds_and_takes_away() {
    let project = project(web_and_redis());
    let found = all_up(&project);
    let scaled = |count| Options { scale: BTreeMap::from([("web".to_owned(), count)]), ..Options::default() };
    let expected = ["1. create container shop-web-2 (not found)", "2. start container shop-web-2 after 1"];
    assert_eq!(planned(&project, &found, &scaled(2)), lines(&expected));
    assert_eq!(planned(&project, &found, &scaled(0)), "1. remove container shop-web-1 (only 0 wanted)\n");
}

#[test]
fn a_changed_network_takes_its_containers_with_it() {
    let before = project(web_and_redis());
    let found = all_up(&before);
    let mut normal = web_and_redis();
    normal["networks"]["default"]["internal"] = json!(true);
    let expected = [
        "1. remove container shop-redis-1 (network default changed)",
        "2. remove container shop-web-1 (network default changed)",
        "3. remove network shop_default after 1, 2 (settings changed)",
        "4. create network shop_default after 3 (settings changed)",
        "5. create container shop-redis-1 after 1, 4",
        "6. start container shop-redis-1 after 5",
        "7. create container shop-web-1 after 2, 4",
        "8. start container shop-web-1 after 6, 7",
    ];
    assert_eq!(planned(&project(normal), &found, &Options::default()), lines(&expected));
}

#[test]
fn what_is_external_must_be_there() {
    let mut normal = web_and_redis();
    normal["networks"]["default"] = json!({"name": "elsewhere", "external": true});
    let project = project(normal);
    let failure = up(&project, &Found::default(), &Options::default(), &recipes(&project)).unwrap_err();
    let expected =
        "error: network elsewhere declared as external, but could not be found\nhint: make it with `coracle network create elsewhere`";
    assert_eq!(failure.to_string(), expected);
}

#[test]
fn orphans_are_named_and_removed_when_asked() {
    let project = project(web_and_redis());
    let mut found = all_up(&project);
    let mut orphan = found.containers[0].clone();
    orphan.service = "old".to_owned();
    orphan.name = "shop-old-1".to_owned();
    found.containers.push(orphan);
    let plan = up(&project, &found, &Options::default(), &recipes(&project)).unwrap();
    assert!(plan.is_empty() && plan.warnings[0].contains("shop-old-1"), "{plan:?}");
    let options = Options { orphans: Orphans::Remove, ..Options::default() };
    assert_eq!(planned(&project, &found, &options), "1. remove container shop-old-1 (no service old)\n");
}

#[test]
fn named_services_bring_their_dependencies_unless_told_not_to() {
    let project = project(web_and_redis());
    let options = |dependencies| Options { services: vec!["web".to_owned()], dependencies, images: Images::Settled, ..Options::default() };
    let with = planned(&project, &Found::default(), &options(Dependencies::Included));
    assert!(with.contains("shop-redis-1"), "{with}");
    let without = planned(&project, &Found::default(), &options(Dependencies::Left));
    assert!(!without.contains("shop-redis-1"), "{without}");
    let only = planned(&project, &Found::default(), &options(Dependencies::Only));
    assert!(only.contains("shop-redis-1") && !only.contains("shop-web-1"), "{only}");
}

#[test]
fn an_unknown_service_is_refused_with_those_there_are() {
    let project = project(web_and_redis());
    let options = Options { services: vec!["wep".to_owned()], ..Options::default() };
    let failure = up(&project, &Found::default(), &options, &recipes(&project)).unwrap_err();
    assert_eq!(failure.to_string(), "error: no such service: wep\nhint: the services are redis, web");
}

#[test]
fn a_dependency_made_anew_restarts_those_that_ask_for_it() {
    let mut normal = web_and_redis();
    normal["services"]["web"]["depends_on"]["redis"]["restart"] = json!(true);
    let before = project(normal.clone());
    let found = all_up(&before);
    normal["services"]["redis"]["command"] = json!(["redis-server"]);
    let expected = [
        "1. recreate container shop-redis-1 (config changed: command)",
        "2. start container shop-redis-1 after 1",
        "3. stop container shop-web-1 (a dependency is made anew)",
        "4. start container shop-web-1 after 2, 3",
    ];
    assert_eq!(planned(&project(normal), &found, &Options::default()), lines(&expected));
}

#[test]
fn down_removes_dependents_first_and_keeps_volumes_unless_told() {
    let mut normal = web_and_redis();
    normal["volumes"] = json!({"db": {"name": "shop_db"}});
    let project = project(normal);
    let found = all_up(&project);
    let expected =
        ["1. remove container shop-web-1", "2. remove container shop-redis-1 after 1", "3. remove network shop_default after 1, 2"];
    let options = DownOptions::default();
    assert_eq!(down("shop", &found, &options).to_string(), lines(&expected));
    let options = DownOptions { volumes: true, ..options };
    assert!(down("shop", &found, &options).to_string().ends_with("4. remove volume shop_db after 1, 2\n"));
    assert!(down("other", &Found { containers: Vec::new(), ..found }, &options).is_empty());
}

#[test]
fn operations_go_along_the_dependencies() {
    let project = project(web_and_redis());
    let mut found = all_up(&project);
    let expected = ["1. stop container shop-web-1", "2. stop container shop-redis-1 after 1"];
    assert_eq!(operate(&found, &[], Operation::Stop).to_string(), lines(&expected));
    let expected = [
        "1. stop container shop-redis-1",
        "2. start container shop-redis-1 after 1",
        "3. stop container shop-web-1",
        "4. start container shop-web-1 after 2, 3",
    ];
    assert_eq!(operate(&found, &[], Operation::Restart).to_string(), lines(&expected));
    for container in &mut found.containers {
        container.status = Status::Exited;
    }
    let expected = ["1. start container shop-redis-1", "2. start container shop-web-1 after 1"];
    assert_eq!(operate(&found, &[], Operation::Start).to_string(), lines(&expected));
    assert_eq!(operate(&found, &["web".to_owned()], Operation::Remove).to_string(), "1. remove container shop-web-1\n");
}

#[test]
fn a_plan_is_json_for_programs() {
    let project = project(web_and_redis());
    let mut found = all_up(&project);
    found.containers[0].status = Status::Created;
    let plan = up(&project, &found, &Options::default(), &recipes(&project)).unwrap();
    let expected = json!({"steps": [{"action": "start-container", "name": "shop-redis-1", "after": [], "cause": "created, not started"}]});
    assert_eq!(serde_json::to_value(&plan).unwrap(), expected);
}

/// Each service depends on the one before; this used to take the cube of their number, and a frame of the stack for each.
#[test]
fn a_chain_of_thousands_is_planned() {
    const COUNT: usize = 4000;
    let service = |at: usize| {
        let before = at.checked_sub(1).map(|before| (format!("s{before:04}"), json!({"condition": "service_started", "required": true})));
        (format!("s{at:04}"), json!({"image": "busybox", "depends_on": Value::Object(before.into_iter().collect())}))
    };
    let project = project(json!({"services": Value::Object((0..COUNT).map(service).collect())}));
    let options = Options { images: Images::Settled, services: vec![format!("s{:04}", COUNT - 1)], ..Options::default() };
    let plan = up(&project, &Found::default(), &options, &recipes(&project)).unwrap();
    assert_eq!(plan.steps.len(), 2 * COUNT);
    let last = &plan.steps[2 * COUNT - 1];
    assert_eq!(last.to_string(), "start container shop-s3999-1 after 7998, 7999");

    let found = all_up(&project);
    let down = down("shop", &found, &DownOptions::default());
    assert_eq!(down.steps[0].to_string(), "remove container shop-s3999-1");
    assert_eq!(down.steps[COUNT - 1].to_string(), "remove container shop-s0000-1 after 3999");
    let stop = operate(&found, &[], Operation::Stop);
    assert_eq!(stop.steps[1].to_string(), "stop container shop-s3998-1 after 1");
}
