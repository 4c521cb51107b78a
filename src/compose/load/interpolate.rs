//! Fills in the variables of a document and makes the values that must be numbers or booleans such.

use std::rc::Rc;
use std::sync::LazyLock;

use super::environment::Environment;
use super::node::Node;
use super::node::Path;
use super::node::Value;
use super::rules::Rules;
use super::scalar;
use super::session::Fault;
use super::session::Session;
use super::template;
use super::template::Unfilled;
use super::template::Variables;

#[derive(Clone, Copy)]
enum Cast {
    Int,
    Float,
    Bool,
}

/// The places where text is turned into something else after its variables are filled in.
static CASTS: LazyLock<Rules<Cast>> = LazyLock::new(|| {
    Rules::new(&[
        ("services.*.cpu_count", Cast::Int),
        ("services.*.cpu_percent", Cast::Float),
        ("services.*.cpu_period", Cast::Int),
        ("services.*.cpu_quota", Cast::Int),
        ("services.*.cpu_rt_period", Cast::Int),
        ("services.*.cpu_rt_runtime", Cast::Int),
        ("services.*.cpus", Cast::Float),
        ("services.*.cpu_shares", Cast::Int),
        ("services.*.init", Cast::Bool),
        ("services.*.depends_on.*.required", Cast::Bool),
        ("services.*.depends_on.*.restart", Cast::Bool),
        ("services.*.deploy.replicas", Cast::Int),
        ("services.*.deploy.update_config.parallelism", Cast::Int),
        ("services.*.deploy.update_config.max_failure_ratio", Cast::Float),
        ("services.*.deploy.rollback_config.parallelism", Cast::Int),
        ("services.*.deploy.rollback_config.max_failure_ratio", Cast::Float),
        ("services.*.deploy.restart_policy.max_attempts", Cast::Int),
        ("services.*.deploy.placement.max_replicas_per_node", Cast::Int),
        ("services.*.healthcheck.retries", Cast::Int),
        ("services.*.healthcheck.disable", Cast::Bool),
        ("services.*.oom_kill_disable", Cast::Bool),
        ("services.*.oom_score_adj", Cast::Int),
        ("services.*.pids_limit", Cast::Int),
        ("services.*.ports.[].target", Cast::Int),
        ("services.*.privileged", Cast::Bool),
        ("services.*.read_only", Cast::Bool),
        ("services.*.scale", Cast::Int),
        ("services.*.stdin_open", Cast::Bool),
        ("services.*.tty", Cast::Bool),
        ("services.*.ulimits.*", Cast::Int),
        ("services.*.ulimits.*.hard", Cast::Int),
        ("services.*.ulimits.*.soft", Cast::Int),
        ("services.*.volumes.[].read_only", Cast::Bool),
        ("services.*.volumes.[].volume.nocopy", Cast::Bool),
        ("networks.*.external", Cast::Bool),
        ("networks.*.internal", Cast::Bool),
        ("networks.*.attachable", Cast::Bool),
        ("networks.*.enable_ipv4", Cast::Bool),
        ("networks.*.enable_ipv6", Cast::Bool),
        ("volumes.*.external", Cast::Bool),
        ("secrets.*.external", Cast::Bool),
        ("configs.*.external", Cast::Bool),
    ])
});

/// Fills in the variables of a document.
pub(super) fn interpolate(session: &Session<'_>, document: &mut Node, environment: &Environment) {
    let filler = Filler { session, variables: Warning { session, environment } };
    filler.visit(document, Path::ROOT);
}

/// Fills in one text that stands outside of a document's order, as the project's name.
pub(super) fn fill(session: &Session<'_>, text: &str, environment: &Environment) -> Result<String, Unfilled> {
    template::substitute(text, &Warning { session, environment })
}

/// Warns of variables that are not set.
struct Warning<'a, 'e> {
    session: &'a Session<'e>,
    environment: &'a Environment,
}

impl Variables for Warning<'_, '_> {
    fn value(&self, name: &str) -> Option<String> {
        self.environment.get(name).cloned()
    }

    fn unset(&self, name: &str) {
        self.session.warn(format!("the variable `{name}` is not set, an empty text stands in for it"));
    }
}

struct Filler<'a, 'e> {
    session: &'a Session<'e>,
    variables: Warning<'a, 'e>,
}

impl Filler<'_, '_> {
    fn visit(&self, node: &mut Node, path: Path<'_>) {
        match &mut node.value {
            Value::Text(text) => {
                if text.contains('$') {
                    if let Some(trace) = &self.session.trace {
                        trace.text(self.session, (node.at, text), self.variables.environment);
                    }
                    match template::substitute(text, &self.variables) {
                        Ok(filled) if !self.session.spend(filled.len() / 64) => {
                            let fault = Fault::new(node.at, format!("`{path}` makes the project far larger than it is written"));
                            return self.session.report(fault.because(format!("{} bytes are put in for its variables", filled.len())));
                        }
                        Ok(filled) => *text = Rc::from(filled),
                        Err(error) => return self.session.report(fault(node, &error, path)),
                    }
                }
                self.cast(node, path);
            }
            Value::List(items) => items.iter_mut().enumerate().for_each(|(index, item)| self.visit(item, path.item(index))),
            Value::Map(map) => map.iter_mut().for_each(|(key, entry)| self.visit(&mut entry.node, path.key(key))),
            _ => {}
        }
    }

    fn cast(&self, node: &mut Node, path: Path<'_>) {
        let Value::Text(text) = &node.value else { return };
        let Some(cast) = CASTS.of(path) else { return };
        let (value, wanted) = match cast {
            Cast::Int => (text.parse().ok().map(Value::Int), "a whole number"),
            Cast::Float => (scalar::go_float(text).map(Value::Float), "a number"),
            Cast::Bool => (self.boolean(text).map(Value::Bool), "`true` or `false`"),
        };
        match value {
            Some(value) => node.value = value,
            None => self.session.report(Fault::new(node.at, format!("`{path}` must be {wanted}, `{text}` is not"))),
        }
    }

    fn boolean(&self, text: &str) -> Option<bool> {
        let value = boolean(text)?;
        if !matches!(text.to_lowercase().as_str(), "true" | "false") {
            self.session.warn(format!("`{text}` is no boolean of YAML 1.2, please write `{value}`"));
        }
        Some(value)
    }
}

/// A boolean in the words of YAML 1.1.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "y" | "yes" | "on" => Some(true),
        "false" | "n" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// The text, or the beginning of a long one.
fn clipped(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn fault(node: &Node, error: &Unfilled, path: Path<'_>) -> Fault {
    match error {
        Unfilled::Malformed(text) => {
            let fault = Fault::new(node.at, format!("`{path}` has a `$` that names no variable"))
                .because(format!("`{}` is not a valid expression", clipped(text)));
            fault.hint("write a plain `$` as `$$`")
        }
        Unfilled::Long => Fault::new(node.at, format!("`{path}` is longer than {} MiB with its variables", template::LONGEST >> 20)),
        Unfilled::Required { name, reason } => {
            let what = format!("`{path}` needs the variable `{name}`, which is not set");
            let fault = Fault::new(node.at, what);
            let fault = if reason.is_empty() { fault } else { fault.because(reason) };
            fault.hint(format!("set `{name}` in the environment or in `.env`"))
        }
    }
}
