//! `coracle info`

use std::fs;
use std::path::Path;

use clap::Args;
use serde_json::Value;
use serde_json::json;

use crate::cli::Outcome;
use crate::cli::container_list::is_up;
use crate::cli::out;
use crate::cli::template::Template;
use crate::container;
use crate::container::Status;
use crate::failure::Result;
use crate::image;
use crate::place::Home;
use crate::units;

#[derive(Debug, Args)]
pub struct Info {
    /// `json`, or a template such as `{{.Containers}}`
    #[arg(short, long)]
    format: Option<String>,
}

impl Info {
    pub fn run(self, home: &Home) -> Outcome {
        let value = value(home)?;
        match self.format.as_deref() {
            Some("json") => out::line(&value.to_string())?,
            Some(template) => out::line(&Template::parse(template)?.text(&value)?)?,
            None => out::data(&text(&value))?,
        }
        Ok(0)
    }
}

/// Under the names that Docker's API has for them.
fn value(home: &Home) -> Result<Value> {
    let containers = container::list(home)?;
    let statuses: Vec<Status> =
        containers.iter().filter_map(|found| container::state(home, &found.id).ok()).map(|state| state.status).collect();
    let count = |wanted: &dyn Fn(Status) -> bool| statuses.iter().filter(|status| wanted(**status)).count();
    let kernel = rustix::system::uname();
    // Of all hierarchies only the one of version 2 lies at the top with this file (cgroups(7)).
    let is_pure = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    Ok(json!({
        "Containers": statuses.len(),
        "ContainersRunning": count(&|status| is_up(status) && status != Status::Paused),
        "ContainersPaused": count(&|status| status == Status::Paused),
        "ContainersStopped": count(&|status| !is_up(status)),
        "Images": image::list(home)?.len(),
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "Driver": "overlay2",
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": if is_pure { "2" } else { "1" },
        "DefaultRuntime": "coracle",
        "SecurityOptions": ["name=seccomp,profile=builtin"],
        "KernelVersion": kernel.release().to_string_lossy(),
        "OperatingSystem": operating_system(),
        "OSType": "linux",
        "Architecture": kernel.machine().to_string_lossy(),
        "NCPU": std::thread::available_parallelism().map_or(1, usize::from),
        "MemTotal": memory(),
        "Name": kernel.nodename().to_string_lossy(),
        "DockerRootDir": home.root(),
    }))
}

/// The distribution's name for itself, os-release(5).
fn operating_system() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or("Linux", |name| name.trim_matches('"')).to_owned()
}

/// The machine's memory in bytes, proc_meminfo(5).
fn memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// The lines of `docker info`, in its order.
fn text(value: &Value) -> String {
    const LINES: [(&str, &str); 18] = [
        (" Containers", "Containers"),
        ("  Running", "ContainersRunning"),
        ("  Paused", "ContainersPaused"),
        ("  Stopped", "ContainersStopped"),
        (" Images", "Images"),
        (" Server Version", "ServerVersion"),
        (" Storage Driver", "Driver"),
        (" Logging Driver", "LoggingDriver"),
        (" Cgroup Driver", "CgroupDriver"),
        (" Cgroup Version", "CgroupVersion"),
        (" Default Runtime", "DefaultRuntime"),
        (" Kernel Version", "KernelVersion"),
        (" Operating System", "OperatingSystem"),
        (" OSType", "OSType"),
        (" Architecture", "Architecture"),
        (" CPUs", "NCPU"),
        (" Name", "Name"),
        (" Docker Root Dir", "DockerRootDir"),
    ];
    let mut text = format!("Client:\n Version:    {}\n Context:    default\n\nServer:\n", env!("CARGO_PKG_VERSION"));
    for (title, name) in LINES {
        let shown = value[name].as_str().map_or_else(|| value[name].to_string(), str::to_owned);
        text.push_str(&format!("{title}: {shown}\n"));
        if name == "NCPU" {
            text.push_str(&format!(" Total Memory: {}\n", units::binary_size_text(value["MemTotal"].as_u64().unwrap_or(0))));
        }
    }
    text
}
