//! `coracle inspect`

use std::fmt::Display;

use clap::Args;
use clap::ValueEnum;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::cli::Outcome;
use crate::cli::container_inspect;
use crate::cli::container_list;
use crate::cli::image_inspect;
use crate::cli::out;
use crate::cli::revive;
use crate::cli::template::Template;
use crate::container;
use crate::failure::Failure;
use crate::failure::Result;
use crate::image;
use crate::net;
use crate::place::Home;
use crate::volume;

#[derive(Debug, Args)]
pub struct Command {
    /// What kind of thing is meant
    #[arg(long = "type", value_enum)]
    kind: Option<Kind>,
    #[command(flatten)]
    query: Query,
}

// Which things, and what of them.
#[derive(Debug, Args)]
pub struct Query {
    /// `json`, or a template such as `{{.State.Status}}`
    #[arg(short, long)]
    format: Option<String>,
    /// Show what containers take of the disk
    #[arg(short, long)]
    size: bool,
    #[arg(required = true, value_name = "NAME|ID")]
    pub names: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Container,
    Image,
    Network,
    Volume,
}

impl Command {
    pub fn run(self, home: &Home) -> Outcome {
        self.query.run(home, self.kind)
    }
}

impl Query {
    /// Prints what is known of each; without a kind, the first kind that has the name.
    ///
    /// # Errors
    /// A bad template. A name that is not there is said, and the exit status is 1.
    pub fn run(self, home: &Home, kind: Option<Kind>) -> Outcome {
        revive(home);
        let mut found = Vec::new();
        let mut status = 0;
        for name in &self.names {
            match look_up(home, name, kind)? {
                Some(value) => found.push(if self.size { with_sizes(home, value) } else { value }),
                None => {
                    let kind = kind.map_or("object".to_owned(), |kind| format!("{kind:?}").to_lowercase());
                    out::say(&Failure::new(format!("no such {kind}: {name}")).to_string());
                    status = 1;
                }
            }
        }
        show(&found, self.format.as_deref())?;
        Ok(status)
    }
}

/// A container's value with its sizes; other things have none.
fn with_sizes(home: &Home, mut value: Value) -> Value {
    let id = value.get("State").and_then(|_| value.get("Id")).and_then(Value::as_str).map(str::to_owned);
    if let (Some(container), Some(fields)) = (id.and_then(|id| container::find(home, &id).ok()), value.as_object_mut()) {
        let (own, whole) = container_list::sizes(home, &container);
        fields.extend([("SizeRw".to_owned(), own.into()), ("SizeRootFs".to_owned(), whole.into())]);
    }
    value
}

fn show(found: &[Value], format: Option<&str>) -> Result<()> {
    match format {
        None => {
            let text = serde_json::to_string_pretty(found).expect("values made of JSON can be written as JSON");
            // Docker indents by four.
            out::line(&indented(&text))
        }
        Some("json") => out::line(&serde_json::to_string(found).expect("values made of JSON can be written as JSON")),
        Some(template) => {
            let template = Template::parse(template)?;
            found.iter().try_for_each(|value| out::line(&template.text_of_struct(value)?))
        }
    }
}

fn indented(text: &str) -> String {
    let widened = text.lines().map(|line| {
        let blanks = line.len() - line.trim_start().len();
        format!("{}{line}", " ".repeat(blanks))
    });
    widened.collect::<Vec<_>>().join("\n")
}

fn look_up(home: &Home, name: &str, kind: Option<Kind>) -> Result<Option<Value>> {
    let is = |wanted: Kind| kind.is_none_or(|kind| kind == wanted);
    if is(Kind::Container)
        && let Ok(found) = container::find(home, name)
    {
        return container_inspect::value(home, &found).map(Some);
    }
    // What cannot name an image may name something else.
    let of_image = |failure| if kind.is_none() { Ok(None) } else { Err(failure) };
    if is(Kind::Image)
        && let Some(found) = image::find(home, name).or_else(of_image)?
    {
        return image_inspect::value(home, &found).map(Some);
    }
    if is(Kind::Network)
        && let Some(found) = net::find(home, name)?
    {
        return network_value(home, &found).map(Some);
    }
    if is(Kind::Volume)
        && let Some(found) = volume::find(home, name)?
    {
        return Ok(Some(volume_value(home, &found)));
    }
    Ok(None)
}

fn network_value(home: &Home, found: &net::Network) -> Result<Value> {
    let mut containers = Map::new();
    for container in container::list(home)? {
        let Ok(state) = container::state(home, &container.id) else { continue };
        for plugged in state.plugged.iter().filter(|plugged| plugged.network == found.name) {
            let value = json!({
                "Name": container.name,
                "MacAddress": container_inspect::mac(plugged.mac),
                "IPv4Address": assigned_text(plugged.ipv4),
                "IPv6Address": assigned_text(plugged.ipv6),
            });
            containers.insert(container.id.clone(), value);
        }
    }
    let mut options = found.options.clone();
    options.insert("com.docker.network.bridge.name".to_owned(), found.bridge.clone());
    Ok(json!({
        "Name": found.name,
        "Id": found.id,
        "Created": found.created,
        "Scope": "local",
        "Driver": found.driver,
        "EnableIPv4": found.ipv4.is_some(),
        "EnableIPv6": found.ipv6.is_some(),
        "IPAM": {
            "Driver": "default",
            "Config": found.ipv4.as_ref().map(addresses_value).into_iter().chain(found.ipv6.as_ref().map(addresses_value)).collect::<Vec<_>>(),
        },
        "Internal": found.internal,
        "Containers": containers,
        "Options": options,
        "Labels": found.labels,
    }))
}

fn assigned_text<A: Display>(assigned: Option<net::Assigned<A>>) -> String {
    assigned.map(|assigned| format!("{}/{}", assigned.address, assigned.prefix)).unwrap_or_default()
}

fn addresses_value<A: Display>(addresses: &net::Addresses<A>) -> Value {
    let mut value = json!({ "Subnet": format!("{}/{}", addresses.subnet, addresses.prefix), "Gateway": addresses.gateway.to_string() });
    if let Some((base, prefix)) = &addresses.range {
        value["IPRange"] = format!("{base}/{prefix}").into();
    }
    if !addresses.reserved.is_empty() {
        let reserved = addresses.reserved.iter().map(|(what, address)| (what.clone(), Value::from(address.to_string())));
        value["AuxiliaryAddresses"] = reserved.collect::<Map<_, _>>().into();
    }
    value
}

fn volume_value(home: &Home, found: &volume::Volume) -> Value {
    json!({
        "CreatedAt": found.created,
        "Driver": found.driver,
        "Labels": found.labels,
        "Mountpoint": volume::directory(home, &found.name),
        "Name": found.name,
        "Options": found.options,
        "Scope": "local",
    })
}
