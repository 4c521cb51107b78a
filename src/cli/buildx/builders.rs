//! `coracle buildx ls`, `inspect`, `create`, `use`, `rm`, `stop`, `version`: for scripts that make themselves a builder first.

use clap::Args;
use serde_json::Value;
use serde_json::json;

use crate::build::builders;
use crate::build::builders::Builder;
use crate::build::builders::Builders;
use crate::build::builders::Existing;
use crate::build::runnable_platforms;
use crate::cli::Outcome;
use crate::cli::listing;
use crate::cli::listing::Columns;
use crate::cli::listing::Row;
use crate::cli::out;
use crate::failure::Failure;
use crate::failure::Result;
use crate::place::Home;
use crate::state;
use crate::units;

/// The command line that ours follows, as programs compare it with what they need.
const BUILDX: &str = "v0.29.1";

/// BuildKit, whose language and answers are ours.
const BUILDKIT: &str = "v0.26.0";

/// What asks for nothing that differs here.
#[derive(Debug, Args)]
pub struct Version {}

impl Version {
    /// The second word is the version, as scripts cut it out.
    pub fn run(self) -> Outcome {
        out::line(&format!("coracle/buildx {BUILDX} coracle-{}", env!("CARGO_PKG_VERSION"))).map(|()| 0)
    }
}

#[derive(Debug, Args)]
pub struct List {
    /// `table`, `json` or a template
    #[arg(long)]
    format: Option<String>,
    /// Show all platforms
    #[arg(long)]
    no_trunc: bool,
}

const COLUMNS: Columns = Columns {
    headings: &[
        ("Name", "NAME/NODE"),
        ("DriverEndpoint", "DRIVER/ENDPOINT"),
        ("Status", "STATUS"),
        ("Buildkit", "BUILDKIT"),
        ("Platforms", "PLATFORMS"),
    ],
    usual: &["Name", "DriverEndpoint", "Status", "Buildkit", "Platforms"],
};

impl List {
    pub fn run(self, home: &Home) -> Outcome {
        let builders = Builders::load(home)?;
        let format = self.format.as_deref();
        if matches!(format, Some("json" | "{{json .}}")) {
            for builder in builders.all() {
                out::line(&described(&builder, builders.current()).to_string())?;
            }
            return Ok(0);
        }
        let is_table = format.is_none_or(|format| format.trim().is_empty() || format.trim().starts_with("table"));
        let (mark, node) = if is_table { ("*", " \\_ ") } else { ("", "") };
        let mut rows: Vec<Row> = Vec::new();
        for builder in builders.all() {
            let mark = if builder.name == builders.current() { mark } else { "" };
            let cells = [
                [format!("{}{mark}", builder.name), builder.driver.clone(), String::new(), String::new(), String::new()],
                [
                    format!("{node}{}", node_name(&builder)),
                    format!("{node}{}", builders::DEFAULT),
                    "running".to_owned(),
                    BUILDKIT.to_owned(),
                    self.platforms(),
                ],
            ];
            let named = |cells: [String; 5]| COLUMNS.usual.iter().map(|key| (*key).to_owned()).zip(cells.map(Value::from)).collect();
            rows.extend(cells.map(named));
        }
        listing::print(&rows, COLUMNS, format)?;
        Ok(0)
    }

    fn platforms(&self) -> String {
        let all = runnable_platforms();
        match all.len() {
            5.. if !self.no_trunc => format!("{}, (+{} more)", all[..4].join(", "), all.len() - 4),
            _ => all.join(", "),
        }
    }
}

/// Docker's own has one node of its name; of those that are made, the first has a number.
fn node_name(builder: &Builder) -> String {
    if builder.name == builders::DEFAULT { builder.name.clone() } else { format!("{}0", builder.name) }
}

fn described(builder: &Builder, current: &str) -> Value {
    let node = json!({
        "Endpoint": builders::DEFAULT,
        "Name": node_name(builder),
        "Platforms": runnable_platforms(),
        "Status": "running",
        "Version": BUILDKIT,
    });
    json!({
        "Current": builder.name == current,
        "Driver": builder.driver,
        "Dynamic": false,
        "LastActivity": units::time_text(builder.created),
        "Name": builder.name,
        "Nodes": [node],
    })
}

#[derive(Debug, Args)]
pub struct Inspect {
    /// Builders are always ready here
    #[arg(long)]
    bootstrap: bool,
    #[arg(long, hide = true)]
    builder: Option<String>,
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

impl Inspect {
    pub fn run(self, home: &Home, chosen: Option<String>) -> Outcome {
        let name = self.name.or(self.builder).or(chosen);
        let builder = Builders::load(home)?.find(name.as_deref())?;
        let mut text = format!("Name:   {}\nDriver: {}\n", builder.name, builder.driver);
        if builder.created > 0 {
            text += &format!("Last Activity: {}\n", units::time_text(builder.created));
        }
        text += &format!(
            "\nNodes:\nName:             {}\nEndpoint:         {}\nStatus:           running\nBuildKit version: {BUILDKIT}\nPlatforms:        {}\n",
            node_name(&builder),
            builders::DEFAULT,
            runnable_platforms().join(", "),
        );
        out::data(&text)?;
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub struct Create {
    /// What it is called; a name is found without
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Build with it from now on
    #[arg(long = "use")]
    is_used: bool,
    /// Builders are always ready here
    #[arg(long)]
    bootstrap: bool,
    /// `docker-container`; builders elsewhere are not spoken to
    #[arg(long, value_name = "DRIVER")]
    driver: Option<String>,
    /// Let a builder of that name be
    #[arg(long)]
    append: bool,
    #[command(flatten)]
    past: NoDifference,
    #[arg(value_name = "CONTEXT|ENDPOINT")]
    endpoint: Option<String>,
}

/// What is said of daemons, of which there is none.
#[derive(Debug, Args)]
struct NoDifference {
    #[arg(long, hide = true)]
    buildkitd_config: Option<String>,
    #[arg(long = "config", hide = true)]
    old_config: Option<String>,
    #[arg(long, hide = true, allow_hyphen_values = true)]
    buildkitd_flags: Option<String>,
    #[arg(long, hide = true)]
    driver_opt: Vec<String>,
    #[arg(long, hide = true)]
    node: Option<String>,
    #[arg(long, hide = true)]
    platform: Vec<String>,
    #[arg(long, hide = true)]
    leave: bool,
}

impl NoDifference {
    fn warn(&self) {
        let said = [
            ("--buildkitd-config", self.buildkitd_config.is_some() || self.old_config.is_some()),
            ("--buildkitd-flags", self.buildkitd_flags.as_ref().is_some_and(|flags| !flags.is_empty())),
            ("--driver-opt", !self.driver_opt.is_empty()),
            ("--node", self.node.is_some()),
            ("--platform", !self.platform.is_empty()),
        ];
        for (flag, _) in said.iter().filter(|(_, given)| *given) {
            out::warn(&format!("`{flag}` makes no difference: there is no daemon"));
        }
    }
}

impl Create {
    pub fn run(self, home: &Home) -> Outcome {
        let cannot = || Failure::new("cannot create a builder");
        let driver = match self.driver.as_deref() {
            None | Some("" | "docker-container") => "docker-container",
            Some("docker") => return Err(cannot().because("additional instances of driver \"docker\" cannot be created")),
            Some(other) => {
                let failure = cannot().because(format!("a builder of the driver `{other}` is elsewhere, and only this machine builds"));
                return Err(failure.hint("leave `--driver` out"));
            }
        };
        if self.past.leave {
            return Err(cannot().because("a builder has one node").hint("remove it with `coracle buildx rm NAME`"));
        }
        if let Some(endpoint) = self.endpoint.filter(|endpoint| endpoint != builders::DEFAULT) {
            return Err(cannot().because(format!("`{endpoint}` is elsewhere, and only this machine builds")).hint("leave it out"));
        }
        self.past.warn();
        let name = self.name.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("builder-{}", &state::random_hex()[..8]));
        let builder = Builder { name, driver: driver.to_owned(), created: units::now_nanoseconds() };
        let name = builders::create(home, builder, if self.append { Existing::Kept } else { Existing::Refused })?;
        if self.is_used {
            builders::prefer(home, &name)?;
        }
        out::line(&name)?;
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub struct Use {
    /// Taken for Docker's sake: there is one context
    #[arg(long, hide = true)]
    default: bool,
    #[arg(long, hide = true)]
    global: bool,
    #[arg(long, hide = true)]
    builder: Option<String>,
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

impl Use {
    pub fn run(self, home: &Home, chosen: Option<String>) -> Outcome {
        match self.name.or(self.builder).or(chosen) {
            Some(name) => builders::prefer(home, &name).map(|()| 0),
            None => Err(Failure::new("no builder is named").hint("see `coracle buildx ls`")),
        }
    }
}

#[derive(Debug, Args)]
pub struct Remove {
    /// Those that do not run; there are none
    #[arg(long)]
    all_inactive: bool,
    #[arg(short, long, hide = true)]
    force: bool,
    #[arg(long, hide = true)]
    keep_daemon: bool,
    #[arg(long, hide = true)]
    keep_state: bool,
    #[arg(long, hide = true)]
    builder: Option<String>,
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

impl Remove {
    pub fn run(self, home: &Home, chosen: Option<String>) -> Outcome {
        if self.all_inactive {
            return Ok(0);
        }
        let mut names: Vec<Option<String>> = self.names.into_iter().map(Some).collect();
        if names.is_empty() {
            names.push(self.builder.or(chosen));
        }
        let mut failures = Vec::new();
        for name in names {
            match builders::remove(home, name.as_deref()) {
                Ok(name) => out::say(&format!("{name} removed")),
                Err(failure) => failures.push(failure),
            }
        }
        match (failures.len(), failures.pop()) {
            (_, None) => Ok(0),
            (1, Some(failure)) => Err(failure),
            (_, Some(last)) => Err(Failure::several("cannot remove builders", failures.into_iter().chain([last]).collect())),
        }
    }
}

/// There is nothing that runs between builds.
#[derive(Debug, Args)]
pub struct Stop {
    #[arg(long, hide = true)]
    builder: Option<String>,
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

impl Stop {
    pub fn run(self, home: &Home, chosen: Option<String>) -> Outcome {
        check(home, self.name.or(self.builder).or(chosen).as_deref()).map(|()| 0)
    }
}

/// Refuses the name of a builder that nobody has made.
///
/// # Errors
/// There is none of that name.
pub fn check(home: &Home, name: Option<&str>) -> Result<()> {
    match name {
        None | Some("" | builders::DEFAULT) => Ok(()),
        name => Builders::load(home)?.find(name).map(drop),
    }
}

/// A command of buildx that has no meaning here.
#[derive(Debug, Args)]
pub struct Refused {
    #[arg(hide = true, num_args = 0.., trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

impl Refused {
    pub fn refuse(self, command: &str) -> Outcome {
        let failure = Failure::new(format!("cannot carry out `buildx {command}`"));
        Err(match command {
            "bake" => failure.because("files for bake are not read here").hint(
                "build several images from a Compose file: `coracle compose build`; `compose build --print` shows one as a file for bake",
            ),
            "history" => failure
                .because("builds leave no records")
                .hint("write what a build made with `--metadata-file FILE`, and what it said with `--progress plain`"),
            _ => failure.because("there is no daemon to speak to"),
        })
    }
}
