//! The variables a Dockerfile sees: build arguments, predefined ones, ENV and ARG.

use std::collections::BTreeMap;

use crate::build::Wanted;
use crate::build::dockerfile::expand::Values;
use crate::build::platform::Platform;

/// Variables in the order they were last set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Variables(Vec<(String, String)>);

impl Variables {
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value.to_owned()));
    }

    pub(super) fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// `NAME=value`.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}

impl Values for Variables {
    fn value(&self, name: &str) -> Option<String> {
        self.find(name).map(str::to_owned)
    }
}

/// The values of `--build-arg`; one without a value takes it from our environment, and is none if it is not there.
pub(super) fn build_args(wanted: &Wanted) -> BTreeMap<String, String> {
    let value =
        |(name, value): (&String, &Option<String>)| value.clone().or_else(|| std::env::var(name).ok()).map(|value| (name.clone(), value));
    wanted.args.iter().filter_map(value).collect()
}

/// What is known before the first ARG.
pub(super) fn predefined(args: &BTreeMap<String, String>, target: &Platform, stage: &str) -> Variables {
    let ours = Platform::ours();
    let stage = if stage.is_empty() { "default" } else { stage };
    let mut variables = Variables::default();
    for (name, value) in [
        ("BUILDPLATFORM", ours.text()),
        ("BUILDOS", ours.os.clone()),
        ("BUILDOSVERSION", String::new()),
        ("BUILDARCH", ours.architecture.clone()),
        ("BUILDVARIANT", ours.variant.clone()),
        ("TARGETPLATFORM", target.text()),
        ("TARGETOS", target.os.clone()),
        ("TARGETOSVERSION", String::new()),
        ("TARGETARCH", target.architecture.clone()),
        ("TARGETVARIANT", target.variant.clone()),
        ("TARGETSTAGE", stage.to_owned()),
    ] {
        variables.set(name, args.get(name).unwrap_or(&value));
    }
    variables
}

/// The proxy variables among the build arguments, in both spellings programs look for.
pub(super) fn proxies(args: &BTreeMap<String, String>) -> Vec<String> {
    let mut lines = Vec::new();
    for known in ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"] {
        let value = args.iter().rfind(|(name, _)| name.eq_ignore_ascii_case(known)).map(|(_, value)| value);
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            lines.push(format!("{}={value}", known.to_uppercase()));
            lines.push(format!("{known}={value}"));
        }
    }
    lines
}
