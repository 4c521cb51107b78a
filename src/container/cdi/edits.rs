//! What a device's spec asks for, written into a container's.

use std::path::Path;
use std::path::PathBuf;

use oci_spec::runtime::Hook;
use oci_spec::runtime::Hooks;
use oci_spec::runtime::LinuxDeviceCgroup;
use oci_spec::runtime::LinuxDeviceType;
use oci_spec::runtime::Mount;
use oci_spec::runtime::Spec;
use serde::Deserialize;
use serde_json::Value;

use crate::container::spec;
use crate::failure::Failure;
use crate::failure::Result;
use crate::runtime;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Edits {
    pub(super) env: Vec<String>,
    device_nodes: Vec<DeviceNode>,
    mounts: Vec<CdiMount>,
    hooks: Vec<CdiHook>,
    additional_gids: Vec<u32>,
    /// What is not carried out, and so refused.
    intel_rdt: Option<Value>,
    net_devices: Vec<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DeviceNode {
    path: PathBuf,
    host_path: Option<PathBuf>,
    #[serde(rename = "type")]
    kind: Option<String>,
    major: Option<i64>,
    minor: Option<i64>,
    file_mode: Option<u32>,
    permissions: Option<String>,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CdiMount {
    host_path: PathBuf,
    container_path: PathBuf,
    options: Vec<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CdiHook {
    hook_name: String,
    path: PathBuf,
    args: Vec<String>,
    env: Vec<String>,
    timeout: Option<i64>,
}

impl Edits {
    pub(super) fn apply(&self, spec: &mut Spec, bundle: &Path) -> Result<()> {
        if self.intel_rdt.is_some() || !self.net_devices.is_empty() {
            let what = if self.intel_rdt.is_some() { "intelRdt" } else { "netDevices" };
            return Err(refused(format!("its spec asks for `{what}`, which is not carried out")));
        }
        if let Some(process) = spec.process_mut() {
            let mut environment = process.env().clone().unwrap_or_default();
            self.env.iter().for_each(|variable| spec::set_variable(&mut environment, variable));
            process.set_env(Some(environment));
            if !self.additional_gids.is_empty() {
                let mut user = process.user().clone();
                let mut groups = user.additional_gids().clone().unwrap_or_default();
                groups.extend(self.additional_gids.iter().filter(|gid| **gid != 0));
                user.set_additional_gids(Some(groups));
                process.set_user(user);
            }
        }
        self.add_devices(spec)?;
        let mut mounts: Vec<Mount> = self.mounts.iter().map(CdiMount::to_spec).collect();
        mounts.sort_by_key(|mount| mount.destination().components().count());
        let mut all = spec.mounts().clone().unwrap_or_default();
        all.extend(mounts);
        spec.set_mounts(Some(all));
        self.add_hooks(spec, bundle)
    }

    fn add_devices(&self, spec: &mut Spec) -> Result<()> {
        let user = spec.process().as_ref().map(|process| (process.user().uid(), process.user().gid())).unwrap_or_default();
        let mut devices = Vec::new();
        let mut rules = Vec::new();
        for node in &self.device_nodes {
            let device = node.to_spec(user)?;
            let mut rule = LinuxDeviceCgroup::from(&device);
            rule.set_access(Some(node.permissions.clone().filter(|text| !text.is_empty()).unwrap_or_else(|| "rwm".to_owned())));
            devices.push(device);
            rules.push(rule);
        }
        spec::append_devices(spec, devices, rules);
        Ok(())
    }

    fn add_hooks(&self, spec: &mut Spec, bundle: &Path) -> Result<()> {
        if self.hooks.is_empty() {
            return Ok(());
        }
        // By way of its notation, which has the same names.
        let mut hooks = serde_json::to_value(spec.hooks().clone().unwrap_or_default()).unwrap_or_default();
        for hook in &self.hooks {
            if !matches!(hook.hook_name.as_str(), "prestart" | "createRuntime" | "createContainer" | "startContainer" | "poststart") {
                return Err(refused(format!("its spec asks for a hook `{}`, which is not carried out", hook.hook_name)));
            }
            let list = &mut hooks[hook.hook_name.as_str()];
            if !list.is_array() {
                *list = Value::Array(Vec::new());
            }
            if let (Some(list), Ok(hook)) = (list.as_array_mut(), serde_json::to_value(hook.to_spec())) {
                list.push(hook);
            }
        }
        spec.set_hooks(serde_json::from_value::<Hooks>(hooks).ok());
        let mut annotations = spec.annotations().clone().unwrap_or_default();
        annotations.insert(runtime::BUNDLE_ANNOTATION.to_owned(), bundle.display().to_string());
        spec.set_annotations(Some(annotations));
        Ok(())
    }
}

fn refused(reason: String) -> Failure {
    Failure::new("cannot give a device by name").because(reason).exit(125)
}

impl DeviceNode {
    /// The node as the host has it, but for what the spec says otherwise; a user who is not root owns it.
    fn to_spec(&self, (uid, gid): (u32, u32)) -> Result<oci_spec::runtime::LinuxDevice> {
        let host = self.host_path.as_ref().unwrap_or(&self.path);
        let mut device = match (self.kind.as_deref(), self.major, self.minor) {
            (Some(kind @ ("b" | "c" | "u")), Some(major), Some(minor)) => {
                let mut device = oci_spec::runtime::LinuxDevice::default();
                let kind = if kind == "b" { LinuxDeviceType::B } else { LinuxDeviceType::C };
                device.set_path(self.path.clone()).set_typ(kind).set_major(major).set_minor(minor);
                device.set_file_mode(Some(0o666)).set_uid(Some(0)).set_gid(Some(0));
                device
            }
            _ => spec::device(host, &self.path)?,
        };
        if let Some(mode) = self.file_mode {
            device.set_file_mode(Some(mode & 0o7777));
        }
        let own = |user: u32| (user > 0).then_some(user);
        let owner = (self.uid.or(own(uid)).or(device.uid()), self.gid.or(own(gid)).or(device.gid()));
        device.set_uid(owner.0).set_gid(owner.1);
        Ok(device)
    }
}

impl CdiMount {
    fn to_spec(&self) -> Mount {
        let kind = self.kind.clone().filter(|kind| !kind.is_empty()).unwrap_or_else(|| "bind".to_owned());
        let mut mount = Mount::default();
        mount.set_destination(self.container_path.clone()).set_typ(Some(kind)).set_source(Some(self.host_path.clone()));
        mount.set_options(Some(self.options.clone()));
        mount
    }
}

impl CdiHook {
    fn to_spec(&self) -> Hook {
        let mut hook = Hook::default();
        hook.set_path(self.path.clone()).set_args(Some(self.args.clone())).set_env(Some(self.env.clone())).set_timeout(self.timeout);
        hook
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_edit_finds_its_place_in_the_spec() {
        let edits: Edits = serde_json::from_value(json!({
            "env": ["PART=1", "PATH=/part"],
            "deviceNodes": [{"path": "/dev/part", "hostPath": "/dev/null", "permissions": "rw"}, {"path": "/dev/x", "type": "b", "major": 8, "minor": 3}],
            "mounts": [{"hostPath": "/etc/hostname", "containerPath": "/part/deep/name", "options": ["ro", "bind"]},
                {"hostPath": "/tmp", "containerPath": "/part"}],
            "hooks": [{"hookName": "createContainer", "path": "/bin/true", "args": ["true", "x"], "timeout": 3}],
            "additionalGids": [7],
        }))
        .unwrap();
        let mut spec = runtime::default_spec();
        edits.apply(&mut spec, Path::new("/run/x")).unwrap();
        let process = spec.process().as_ref().unwrap();
        assert!(
            process.env().as_ref().unwrap().ends_with(&["PATH=/part".to_owned()])
                || process.env().as_ref().unwrap().contains(&"PART=1".to_owned())
        );
        assert_eq!(process.user().additional_gids().as_deref(), Some([7].as_slice()));
        let linux = spec.linux().as_ref().unwrap();
        let devices: Vec<_> =
            linux.devices().as_ref().unwrap().iter().map(|device| (device.path().clone(), device.major(), device.minor())).collect();
        assert_eq!(devices, [(PathBuf::from("/dev/part"), 1, 3), (PathBuf::from("/dev/x"), 8, 3)]);
        let rules = linux.resources().as_ref().unwrap().devices().clone().unwrap();
        assert_eq!(rules[rules.len() - 2].access().as_deref(), Some("rw"));
        let last = spec.mounts().as_ref().unwrap().last().unwrap().destination().clone();
        assert_eq!(last, Path::new("/part/deep/name"), "by depth");
        assert_eq!(spec.hooks().as_ref().unwrap().create_container().as_ref().unwrap()[0].timeout(), Some(3));
        assert_eq!(spec.annotations().as_ref().unwrap()[runtime::BUNDLE_ANNOTATION], "/run/x");
    }

    #[test]
    fn what_is_not_carried_out_is_refused() {
        for asked in
            [json!({"intelRdt": {}}), json!({"netDevices": [{}]}), json!({"hooks": [{"hookName": "poststop", "path": "/bin/true"}]})]
        {
            let edits: Edits = serde_json::from_value(asked.clone()).unwrap();
            assert!(edits.apply(&mut runtime::default_spec(), Path::new("/")).is_err(), "{asked}");
        }
    }
}
