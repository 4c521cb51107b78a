//! `--cap-add`, `--privileged`, `--device`, `--pid` and their like: what a container may do and see.

use clap::Args;

use crate::cli::out;
use crate::cli::spelling;
use crate::compose::gpu;
use crate::compose::short;
use crate::container;
use crate::container::Ipc;
use crate::container::Share;
use crate::container::Wanted;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::runtime::Trust;

#[derive(Debug, Args)]
pub struct TrustOptions {
    /// Add a capability
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Drop a capability
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// Give all rights
    #[arg(long)]
    privileged: bool,
    /// no-new-privileges, seccomp=FILE|unconfined
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
    /// Make the root file system read-only
    #[arg(long)]
    read_only: bool,
    /// Give a device of the host
    #[arg(long, value_name = "PATH[:PATH[:rwm]]", value_parser = spelling::device)]
    device: Vec<(String, String, String)>,
    /// GPUs: `all`, a number, or `device=…`
    #[arg(long, value_name = "GPUS", value_parser = gpu_flag)]
    gpus: Vec<Vec<String>>,
    /// Allow devices by their numbers
    #[arg(long, value_name = "a|b|c MAJOR:MINOR rwm")]
    device_cgroup_rule: Vec<String>,
    /// Set a kernel parameter
    #[arg(long, value_name = "NAME=VALUE", value_parser = spelling::pair)]
    sysctl: Vec<(String, String)>,
    /// Whose processes are seen: `host` or `container:NAME`
    #[arg(long, value_name = "MODE")]
    pid: Option<String>,
    /// Whose memory and message queues are shared: `private`, `shareable`, `none`, `host` or `container:NAME`
    #[arg(long, value_name = "MODE")]
    ipc: Option<String>,
    /// `host`: have the host's name
    #[arg(long, value_name = "MODE", value_parser = ["host", ""])]
    uts: Option<String>,
    /// `host`: there is no other user namespace
    #[arg(long, value_name = "MODE", value_parser = ["host", ""])]
    userns: Option<String>,
    /// `host`: see the host's control groups under their own names
    #[arg(long, value_name = "MODE", value_parser = ["host", "private", ""])]
    cgroupns: Option<String>,
    /// A note for the OCI runtime
    #[arg(long, value_name = "NAME=VALUE", value_parser = spelling::pair)]
    annotation: Vec<(String, String)>,
    /// Which runtime: there is only our own
    #[arg(long, value_name = "NAME", value_parser = ["runc", "crun", "coracle", "io.containerd.runc.v2", "nvidia"])]
    runtime: Option<String>,
    /// Which isolation: there is only the usual one
    #[arg(long, value_name = "NAME", value_parser = ["default", ""])]
    isolation: Option<String>,
}

impl TrustOptions {
    /// Writes the flags into `wanted`, which has its host name already.
    ///
    /// # Errors
    /// An option that is none, a container that is not there, flags that contradict each other.
    pub fn apply(self, home: &Home, wanted: &mut Wanted) -> Result<()> {
        let mut trust = Trust { privileged: self.privileged, cap_add: self.cap_add, cap_drop: self.cap_drop, ..Trust::default() };
        for option in &self.security_opt {
            short::security_option(&mut trust, option, std::path::Path::new(""))?;
            if short::security_without_effect(option) {
                out::warn(&format!("`--security-opt {option}` is not carried out: this kernel has nothing of that"));
            }
        }
        wanted.trust = trust;
        wanted.read_only = self.read_only;
        let (named, paths) = self.device.into_iter().partition(|(device, ..)| container::is_cdi_device(device));
        wanted.devices = paths;
        let named: Vec<(String, String, String)> = named;
        wanted.cdi_devices = named.into_iter().map(|(device, ..)| device).chain(self.gpus.into_iter().flatten()).collect();
        if self.runtime.as_deref() == Some("nvidia") {
            wanted.cdi_devices.extend(gpu::of_environment(&wanted.env));
        }
        container::check_cdi_devices(&wanted.cdi_devices)?;
        self.device_cgroup_rule.iter().try_for_each(|rule| container::check_device_rule(rule))?;
        wanted.device_rules = self.device_cgroup_rule;
        wanted.sysctls = self.sysctl.into_iter().collect();
        wanted.annotations = self.annotation.into_iter().collect();
        wanted.pid = match self.pid.as_deref() {
            None | Some("" | "private") => Share::Own,
            Some("host") => Share::Host,
            Some(mode) => Share::Container(partner(home, "--pid", mode)?),
        };
        wanted.ipc = match self.ipc.as_deref() {
            None | Some("" | "private") => Ipc::Private,
            Some("shareable") => Ipc::Shareable,
            Some("none") => Ipc::None,
            Some("host") => Ipc::Host,
            Some(mode) => Ipc::Container(partner(home, "--ipc", mode)?),
        };
        wanted.uts_host = self.uts.as_deref() == Some("host");
        if wanted.uts_host && (wanted.hostname.is_some() || wanted.domainname.is_some()) {
            return Err(
                Failure::new("cannot use `--hostname` together with `--uts host`").because("it is the host's name that would change")
            );
        }
        wanted.cgroup_host = self.cgroupns.as_deref() == Some("host");
        Ok(())
    }
}

fn gpu_flag(text: &str) -> Result<Vec<String>, String> {
    gpu::flag(text)
}

fn partner(home: &Home, flag: &str, mode: &str) -> Result<String> {
    match mode.split_once(':') {
        Some(("container", name)) => Ok(container::find(home, name)?.id),
        _ => Err(Failure::new(format!("cannot understand `{flag} {mode}`")).hint("name another container as `container:NAME`")),
    }
}
