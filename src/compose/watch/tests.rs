//! From rules and changed paths to work.

use serde_json::json;

use super::*;
use crate::compose::load::Places;

fn project(watch: &serde_json::Value) -> Project {
    let service = json!({"image": "x", "build": {"context": "/src"}, "volumes": [{"type": "bind", "source": "/src/bound", "target": "/b"}],
        "develop": {"watch": watch}});
    Project {
        pins: BTreeMap::new(),
        name: "shop".to_owned(),
        separator: '-',
        directory: PathBuf::from("/src"),
        files: Vec::new(),
        services: BTreeMap::from([("web".to_owned(), serde_json::from_value(service).unwrap())]),
        disabled: BTreeMap::new(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        configs: BTreeMap::new(),
        secrets: BTreeMap::new(),
        environment: BTreeMap::new(),
        normal: serde_json::Value::Null,
        places: Places::default(),
        warnings: Vec::new(),
    }
}

fn work(watch: serde_json::Value, changed: &[&str]) -> Work {
    let rules = rules::of(&project(&watch), &[]).unwrap();
    sorted(&rules, &changed.iter().map(PathBuf::from).collect())
}

#[test]
fn changes_are_sorted_by_rule_and_service() {
    let rules = json!([
        {"path": "/src/app", "action": "sync", "target": "/app", "ignore": ["node_modules/", "*.log"]},
        {"path": "/src/conf", "action": "sync+restart", "target": "/etc/app/", "include": ["*.conf"]},
        {"path": "/src/package.json", "action": "rebuild"},
    ]);
    let synced = |changed: &[&str]| work(rules.clone(), changed).sync.remove("web").unwrap_or_default();
    assert_eq!(synced(&["/src/app/a/b.js"]), [(PathBuf::from("/src/app/a/b.js"), "/app/a/b.js".to_owned())]);
    assert_eq!(synced(&["/src/app/node_modules/x/y", "/src/app/a.log", "/src/app/.git/HEAD", "/src/app/b.js~", "/src/other"]), []);
    let found = work(rules.clone(), &["/src/conf/a.conf", "/src/conf/a.txt"]);
    assert_eq!(found.sync["web"], [(PathBuf::from("/src/conf/a.conf"), "/etc/app/a.conf".to_owned())]);
    assert!(found.restart.contains("web"));
    let found = work(rules, &["/src/package.json", "/src/app/a.js", "/src/conf/a.conf"]);
    assert!(found.rebuild.contains("web") && found.sync.is_empty() && found.restart.is_empty(), "{found:?}");
}

#[test]
fn rules_that_cannot_be_carried_out_are_refused() {
    let refused = |watch| rules::of(&project(&watch), &[]).unwrap_err().to_string();
    assert!(refused(json!([{"path": "/src", "action": "sync+exec", "target": "/app"}])).contains("exec"));
    assert!(refused(json!([{"path": "/src", "action": "sync", "target": "/app", "ignore": ["["]}])).contains("pattern"));
    let mut plain = project(&json!([{"path": "/src", "action": "rebuild"}]));
    plain.services.get_mut("web").unwrap().build = None;
    assert!(rules::of(&plain, &[]).unwrap_err().to_string().contains("rebuild"));
    assert_eq!(rules::of(&project(&json!([{"path": "/src/bound/a", "action": "sync", "target": "/b"}])), &[]).unwrap().len(), 0);
}
