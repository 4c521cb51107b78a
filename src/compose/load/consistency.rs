//! Whether a project fits together: what services refer to exists, limits agree, nothing depends on itself.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::node::Span;
use super::resolved::Attributes;
use super::resolved::Loaded;
use super::resolved::texts;
use super::schema::nearest::nearest;
use super::session::Fault;
use super::session::Session;

/// Reports all that does not fit.
pub(super) fn check(session: &Session<'_>, project: &Loaded) {
    for (name, service) in &project.services {
        // No more are told, and each may be compared with all names.
        if session.is_full() {
            return;
        }
        let checker = Checker { session, project, name, service };
        checker.has_source();
        checker.build();
        checker.networks();
        checker.healthcheck();
        checker.dependencies();
        checker.references();
        checker.limits();
        checker.watch();
        checker.mounts();
    }
    for (name, secret) in &project.secrets {
        let external = secret.get("external") == Some(&Json::Bool(true));
        if !external && !secret.contains_key("file") && !secret.contains_key("environment") {
            let fault = Fault::new(project.at(&["secrets", name]), format!("secret `{name}` says not where it comes from"));
            session.report(fault.hint("give it a `file` or the name of a variable as `environment`"));
        }
    }
    cycles(session, project);
}

/// Has `deploy.replicas` say what `scale` says, in services that have `deploy`; they agree if both are there.
pub(super) fn agree(project: &mut Loaded) {
    for service in project.services.values_mut() {
        let Some(scale) = service.get("scale").cloned() else { continue };
        if let Some(deploy) = service.get_mut("deploy").and_then(Json::as_object_mut) {
            deploy.insert("replicas".to_owned(), scale);
        }
    }
}

struct Checker<'a, 'e> {
    session: &'a Session<'e>,
    project: &'a Loaded,
    name: &'a str,
    service: &'a Attributes,
}

impl Checker<'_, '_> {
    fn at(&self, keys: &[&str]) -> Span {
        self.project.at(&[&["services", self.name], keys].concat())
    }

    fn report(&self, keys: &[&str], what: String, hint: Option<String>) {
        let fault = Fault::new(self.at(keys), what);
        self.session.report(match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        });
    }

    fn text(&self, key: &str) -> &str {
        self.service.get(key).and_then(Json::as_str).unwrap_or_default()
    }

    fn list(&self, key: &str) -> &[Json] {
        self.service.get(key).and_then(Json::as_array).map_or(&[], Vec::as_slice)
    }

    fn keys(&self, key: &str) -> impl Iterator<Item = &String> {
        self.service.get(key).and_then(Json::as_object).into_iter().flat_map(|map| map.keys())
    }

    fn has_source(&self) {
        // An `extends` that is still there could not be followed; what it would bring is not known. An image that is no
        // text has a fault of its own.
        if self.service.contains_key("extends")
            || self.project.is_misread(&["services", self.name, "image"])
            || !self.project.is_mapping(&["services", self.name])
        {
            return;
        }
        if self.text("image").is_empty() && !self.service.contains_key("build") && !self.service.contains_key("provider") {
            self.report(
                &[],
                format!("service `{}` has neither `image` nor `build`", self.name),
                Some("name an image, or write `build: .`".to_owned()),
            );
        }
    }

    fn build(&self) {
        let Some(build) = self.service.get("build").and_then(Json::as_object) else { return };
        if build.contains_key("dockerfile") && build.contains_key("dockerfile_inline") {
            let what = format!("service `{}` has `dockerfile` and `dockerfile_inline`", self.name);
            self.report(&["build", "dockerfile_inline"], what, Some("keep one of them".to_owned()));
        }
        for (key, context) in build.get("additional_contexts").and_then(Json::as_object).into_iter().flatten() {
            let Some(other) = context.as_str().and_then(|context| context.strip_prefix("service:")) else { continue };
            let keys = ["build", "additional_contexts", key];
            match self.project.services.get(other) {
                None => self.report(&keys, format!("service `{}` builds from service `{other}`, which does not exist", self.name), None),
                Some(service) if !service.contains_key("build") => {
                    self.report(&keys, format!("service `{}` builds from service `{other}`, which is not built", self.name), None);
                }
                Some(_) => {}
            }
        }
        let platforms: Vec<&str> = texts(build, "platforms").collect();
        let own = self.text("platform");
        if !own.is_empty() && !platforms.is_empty() && !platforms.contains(&own) {
            let what = format!("service `{}` runs on `{own}`, but is not built for it", self.name);
            self.report(&["build", "platforms"], what, Some(format!("add `{own}` to `build.platforms`")));
        }
        for secret in build.get("secrets").and_then(Json::as_array).into_iter().flatten() {
            self.refer("secret", secret["source"].as_str().unwrap_or_default(), &["build", "secrets"]);
        }
    }

    /// Reports a reference to a resource that the project does not have.
    fn refer(&self, kind: &str, name: &str, keys: &[&str]) {
        let known = match kind {
            "network" => &self.project.networks,
            "volume" => &self.project.volumes,
            "config" => &self.project.configs,
            "model" => &self.project.models,
            _ => &self.project.secrets,
        };
        // A grant without a source has a fault of its own.
        if known.contains_key(name) || name.is_empty() {
            return;
        }
        let meant = nearest(name, known.keys().map(String::as_str));
        let hint = meant.map_or_else(|| format!("declare it below `{kind}s:` at the top level"), |name| format!("did you mean `{name}`?"));
        self.report(keys, format!("service `{}` uses {kind} `{name}`, which the project does not have", self.name), Some(hint));
    }

    fn networks(&self) {
        let mode = self.text("network_mode");
        if !mode.is_empty() && self.keys("networks").next().is_some() {
            self.report(
                &["network_mode"],
                format!("service `{}` has `network_mode` and `networks`", self.name),
                Some("keep one of them".to_owned()),
            );
        }
        for network in self.keys("networks") {
            self.refer("network", network, &["networks", network]);
        }
        let is_missing = |other: &&str| !self.project.services.contains_key(*other) && !self.keys("depends_on").any(|known| known == other);
        if let Some(other) = mode.strip_prefix("service:").filter(is_missing) {
            self.report(
                &["network_mode"],
                format!("service `{}` shares the network of service `{other}`, which does not exist", self.name),
                None,
            );
        }
    }

    fn healthcheck(&self) {
        let test = self.service.get("healthcheck").and_then(|check| check["test"].as_array());
        if let Some(first) =
            test.and_then(|test| test.first()).and_then(Json::as_str).filter(|first| !matches!(*first, "CMD" | "CMD-SHELL" | "NONE"))
        {
            let what = format!("the health check of service `{}` begins with `{first}`", self.name);
            self.report(&["healthcheck", "test"], what, Some("a list begins with `CMD`, `CMD-SHELL` or `NONE`".to_owned()));
        }
    }

    fn dependencies(&self) {
        for (other, dependency) in self.service.get("depends_on").and_then(Json::as_object).into_iter().flatten() {
            if self.project.services.contains_key(other) {
                continue;
            }
            let disabled = self.project.disabled.get(other);
            if disabled.is_some() && dependency["required"] == false {
                continue;
            }
            let (what, hint) = match disabled {
                Some(service) => {
                    let profiles =
                        texts(service, "profiles").map(|profile| format!("`--profile {profile}`")).collect::<Vec<_>>().join(" or ");
                    (
                        format!("service `{}` depends on service `{other}`, which no active profile enables", self.name),
                        format!("enable it with {profiles}, or write `required: false`"),
                    )
                }
                None => {
                    let names = self.project.services.keys().map(String::as_str);
                    let hint = nearest(other, names)
                        .map_or_else(|| "check the service's name".to_owned(), |name| format!("did you mean `{name}`?"));
                    (format!("service `{}` depends on service `{other}`, which does not exist", self.name), hint)
                }
            };
            self.report(&["depends_on", other], what, Some(hint));
        }
    }

    fn references(&self) {
        for (index, volume) in self.list("volumes").iter().enumerate() {
            if let Some(source) = volume["source"].as_str().filter(|_| volume["type"] == "volume") {
                self.refer("volume", source, &["volumes", &index.to_string()]);
            }
        }
        for (kind, key) in [("config", "configs"), ("secret", "secrets")] {
            for (index, grant) in self.list(key).iter().enumerate() {
                self.refer(kind, grant["source"].as_str().unwrap_or_default(), &[key, &index.to_string()]);
            }
        }
        for model in self.keys("models") {
            self.refer("model", model, &["models", model]);
        }
    }

    fn limits(&self) {
        let deploy = self.service.get("deploy");
        let replicas = deploy.and_then(|deploy| deploy["replicas"].as_i64());
        let scale = self.service.get("scale").and_then(Json::as_i64);
        if let (Some(scale), Some(replicas)) = (scale, replicas)
            && scale != replicas
        {
            self.report(
                &["scale"],
                format!("service `{}` has `scale: {scale}` and `deploy.replicas: {replicas}`", self.name),
                Some("keep one of them".to_owned()),
            );
        }
        for (key, count) in [("scale", scale), ("deploy", replicas)] {
            if let Some(count) = count.filter(|count| *count < 0) {
                self.report(&[key], format!("service `{}` cannot have {count} containers", self.name), None);
            }
        }
        let container = self.text("container_name");
        if !container.is_empty() && scale.or(replicas).unwrap_or(1) > 1 {
            let what = format!("service `{}` has a `container_name` and more than one container", self.name);
            self.report(&["container_name"], what, Some("take `container_name` out, a container's name is given once".to_owned()));
        }
        for (key, kind, other) in [
            ("cpus", "limits", "cpus"),
            ("mem_limit", "limits", "memory"),
            ("mem_reservation", "reservations", "memory"),
            ("pids_limit", "limits", "pids"),
        ] {
            let resource = deploy.and_then(|deploy| deploy["resources"].get(kind));
            if let (Some(own), Some(resource)) = (self.service.get(key), resource)
                && resource.get(other) != Some(own)
            {
                let what = format!("service `{}` has `{key}` and `deploy.resources.{kind}` without the same `{other}`", self.name);
                self.report(&[key], what, Some(format!("write the limit as `{key}` only, or in `deploy` only")));
            }
        }
    }

    fn watch(&self) {
        let triggers = self.service.get("develop").and_then(|develop| develop["watch"].as_array());
        for (index, trigger) in triggers.into_iter().flatten().enumerate() {
            let needs_target = trigger["action"].as_str().is_some_and(|action| matches!(action, "sync" | "sync+restart" | "sync+exec"));
            if trigger.get("target").is_none() && needs_target {
                let what = format!(
                    "`watch` of service `{}` needs a `target` for the action `{}`",
                    self.name,
                    trigger["action"].as_str().unwrap_or_default()
                );
                self.report(&["develop", "watch", &index.to_string()], what, None);
            }
        }
    }

    fn mounts(&self) {
        let mut taken: BTreeMap<String, String> = BTreeMap::new();
        let temporary = texts(self.service, "tmpfs")
            .map(|mount| mount.split(':').next().unwrap_or_default())
            .enumerate()
            .map(|(index, target)| ("tmpfs", index, target));
        let volumes = self
            .list("volumes")
            .iter()
            .enumerate()
            .map(|(index, volume)| ("volumes", index, volume["target"].as_str().unwrap_or_default()));
        for (key, index, target) in temporary.chain(volumes) {
            if let Some(other) = taken.insert(target.to_owned(), format!("{key}[{index}]")) {
                let what = format!("service `{}` mounts two things on `{target}`", self.name);
                self.report(&[key, &index.to_string()], what, Some(format!("the other one is `{other}`; remove one")));
            }
        }
    }
}

/// Reports the first circle of dependencies.
fn cycles(session: &Session<'_>, project: &Loaded) {
    let mut done: BTreeMap<&str, bool> = BTreeMap::new();
    for start in project.services.keys() {
        let mut way: Vec<(&str, Vec<&str>)> = Vec::new();
        enter(project, &mut way, &mut done, start);
        while let Some((name, open)) = way.last_mut() {
            let Some(next) = open.pop() else {
                done.insert(name, true);
                way.pop();
                continue;
            };
            if let Some(place) = way.iter().position(|(name, _)| *name == next) {
                let circle: Vec<&str> = way[place..].iter().map(|(name, _)| *name).chain([next]).collect();
                let last = circle[circle.len() - 2];
                let fault = Fault::new(project.at(&["services", last, "depends_on", next]), "services depend on each other in a circle");
                return session.report(fault.because(circle.join(" -> ")).hint("take one of these dependencies out"));
            }
            enter(project, &mut way, &mut done, next);
        }
    }
}

fn enter<'p>(project: &'p Loaded, way: &mut Vec<(&'p str, Vec<&'p str>)>, done: &mut BTreeMap<&'p str, bool>, name: &'p str) {
    if done.contains_key(name) {
        return;
    }
    let Some((name, service)) = project.services.get_key_value(name) else { return };
    let mut open: Vec<&str> =
        service.get("depends_on").and_then(Json::as_object).into_iter().flat_map(|map| map.keys().map(String::as_str)).collect();
    open.sort_unstable_by(|one, two| two.cmp(one));
    way.push((name, open));
}
