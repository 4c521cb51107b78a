//! The options of the bridge driver, by the names that Docker has for them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::net::Ipv4Addr;

use super::rule::Family;
use crate::failure::Failure;
use crate::failure::Result;

/// The longest name of a link.
const LONGEST_NAME: usize = 15;

/// What the options of a network come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    /// The name of the bridge's link.
    pub(super) bridge: Option<String>,
    pub(super) mtu: Option<u32>,
    /// Whether containers on it reach each other.
    pub(super) icc: bool,
    /// Whether what leaves it gets the host's address.
    pub(super) masquerade: bool,
    /// How containers are reached from elsewhere: by IPv4, by IPv6.
    pub(super) modes: [Mode; 2],
    /// What the links in containers are called, before their number.
    pub(super) interface: String,
    /// Where ports are published that name no address of the host; None if everywhere.
    pub(super) binding: Option<IpAddr>,
    /// Links of the host from which published ports are reached at the containers' own addresses.
    pub(super) trusted: Vec<String>,
}

/// Docker's gateway modes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// By ports of the host alone; what goes out has the host's address.
    #[default]
    Nat,
    /// The same, and by routes every port of the containers too, published or not.
    NatUnprotected,
    /// By routes, what is published, at the containers' own addresses. The host has no port for it.
    Routed,
    /// Not at all, and by the host neither: the bridge has no address. Only of an internal network.
    Isolated,
}

impl Options {
    pub(super) fn mode(&self, family: Family) -> Mode {
        self.modes[usize::from(family == Family::V6)]
    }
}

/// The options that are carried out, and those that ask for what is so anyway.
const KNOWN: [&str; 10] = [
    "com.docker.network.bridge.name",
    "com.docker.network.driver.mtu",
    "com.docker.network.bridge.enable_icc",
    "com.docker.network.bridge.enable_ip_masquerade",
    "com.docker.network.container_iface_prefix",
    "com.docker.network.bridge.default_bridge",
    "com.docker.network.bridge.gateway_mode_ipv4",
    "com.docker.network.bridge.gateway_mode_ipv6",
    "com.docker.network.bridge.host_binding_ipv4",
    "com.docker.network.bridge.trusted_host_interfaces",
];

/// The options that are not carried out, by name and value.
pub fn unknown_options(options: &BTreeMap<String, String>) -> Vec<String> {
    options.iter().filter(|(name, _)| !KNOWN.contains(&name.as_str())).map(|(name, value)| format!("{name}={value}")).collect()
}

/// Reads the options of a network.
///
/// # Errors
/// A value that is none.
pub(super) fn read(options: &BTreeMap<String, String>) -> Result<Options> {
    let text = |name: &str| options.get(name).map(String::as_str).filter(|text| !text.is_empty());
    let refused = |name: &str, reason: &str| Failure::new(format!("cannot use the option `{name}`")).because(reason.to_owned());
    let truth = |name: &str| match text(name) {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(_) => Err(refused(name, "it is neither true nor false")),
    };
    let bridge = text(KNOWN[0]).map(str::to_owned);
    if bridge.as_deref().is_some_and(|name| !is_link_name(name)) {
        return Err(refused(KNOWN[0], "a link's name has up to 15 letters, digits and signs, no `/` and no blanks"));
    }
    let mtu = match text(KNOWN[1]).map(|text| text.parse::<u32>()) {
        None | Some(Ok(0)) => None,
        Some(Ok(mtu)) if (68..=65535).contains(&mtu) => Some(mtu),
        Some(_) => return Err(refused(KNOWN[1], "it is a number from 68 to 65535")),
    };
    let interface = text(KNOWN[4]).unwrap_or("eth").to_owned();
    // Room for two digits.
    if !is_link_name(&format!("{interface}99")) {
        return Err(refused(KNOWN[4], "it is too long for the name of a link, or has signs that a link's name cannot have"));
    }
    let mode = |name: &str| match text(name) {
        None | Some("nat") => Ok(Mode::Nat),
        Some("nat-unprotected") => Ok(Mode::NatUnprotected),
        Some("routed") => Ok(Mode::Routed),
        Some("isolated") => Ok(Mode::Isolated),
        Some(_) => Err(refused(name, "it is none of nat, nat-unprotected, routed and isolated")),
    };
    let modes = [mode(KNOWN[6])?, mode(KNOWN[7])?];
    let binding = text(KNOWN[8]).map(str::parse::<IpAddr>).transpose().map_err(|_| refused(KNOWN[8], "it is not an address"))?;
    let trusted: Vec<String> = text(KNOWN[9]).into_iter().flat_map(|links| links.split(':')).map(str::to_owned).collect();
    if !trusted.iter().all(|name| is_link_name(name)) {
        return Err(refused(KNOWN[9], "it is a list of links' names with `:` between them"));
    }
    // As Docker has it, all of IPv4 are all of both.
    let binding = binding.filter(|address| *address != IpAddr::from(Ipv4Addr::UNSPECIFIED));
    Ok(Options { bridge, mtu, icc: truth(KNOWN[2])?, masquerade: truth(KNOWN[3])?, modes, interface, binding, trusted })
}

/// Refuses what only a network without a way out can be.
///
/// # Errors
/// Says which option it is.
pub(super) fn check(options: &Options, internal: bool) -> Result<()> {
    match options.modes.contains(&Mode::Isolated) && !internal {
        true => Err(Failure::new("a network whose gateway mode is `isolated` must be internal")
            .hint("make it with `internal: true` (`--internal`)")),
        false => Ok(()),
    }
}

/// Whether the kernel takes this for the name of a link (dev_valid_name, net/core/dev.c).
pub(super) fn is_link_name(name: &str) -> bool {
    let is_good = |byte: u8| byte != b'/' && byte != b':' && byte.is_ascii_graphic();
    !name.is_empty() && name.len() <= LONGEST_NAME && !matches!(name, "." | "..") && name.bytes().all(is_good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn options_are_read_by_dockers_names() {
        let usual = Options {
            bridge: None,
            mtu: None,
            icc: true,
            masquerade: true,
            modes: [Mode::Nat; 2],
            interface: "eth".into(),
            binding: None,
            trusted: Vec::new(),
        };
        assert_eq!(read(&options(&[])).unwrap(), usual);
        assert_eq!(read(&options(&[("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0")])).unwrap(), usual);
        let all = options(&[
            ("com.docker.network.bridge.name", "shop0"),
            ("com.docker.network.driver.mtu", "1400"),
            ("com.docker.network.bridge.enable_icc", "false"),
            ("com.docker.network.bridge.enable_ip_masquerade", "0"),
            ("com.docker.network.container_iface_prefix", "net"),
            ("com.docker.network.bridge.gateway_mode_ipv4", "nat-unprotected"),
            ("com.docker.network.bridge.gateway_mode_ipv6", "routed"),
            ("com.docker.network.bridge.host_binding_ipv4", "127.0.0.1"),
            ("com.docker.network.bridge.trusted_host_interfaces", "up0:vpn0"),
        ]);
        let wanted = Options {
            bridge: Some("shop0".into()),
            mtu: Some(1400),
            icc: false,
            masquerade: false,
            modes: [Mode::NatUnprotected, Mode::Routed],
            interface: "net".into(),
            binding: Some(Ipv4Addr::LOCALHOST.into()),
            trusted: vec!["up0".into(), "vpn0".into()],
        };
        assert_eq!(read(&all).unwrap(), wanted);
        assert!(unknown_options(&all).is_empty());
    }

    #[test]
    fn values_that_are_none_are_refused_and_unknown_names_told() {
        for (name, value) in [
            ("com.docker.network.bridge.name", "a-name-that-is-too-long"),
            ("com.docker.network.bridge.name", "a/b"),
            ("com.docker.network.driver.mtu", "many"),
            ("com.docker.network.driver.mtu", "10"),
            ("com.docker.network.bridge.enable_icc", "perhaps"),
            ("com.docker.network.bridge.gateway_mode_ipv6", "wide"),
            ("com.docker.network.container_iface_prefix", "interface-number"),
            ("com.docker.network.bridge.host_binding_ipv4", "here"),
            ("com.docker.network.bridge.trusted_host_interfaces", "up0::vpn0"),
        ] {
            assert!(read(&options(&[(name, value)])).is_err(), "{name}={value}");
        }
        let told = unknown_options(&options(&[("parent", "eth0"), ("com.docker.network.bridge.gateway_mode_ipv4", "routed")]));
        assert_eq!(told, ["parent=eth0"]);
        let isolated = read(&options(&[("com.docker.network.bridge.gateway_mode_ipv4", "isolated")])).unwrap();
        assert!(check(&isolated, false).is_err() && check(&isolated, true).is_ok());
    }
}
