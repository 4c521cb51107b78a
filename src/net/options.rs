//! The options of the bridge driver, by the names that Docker has for them.

use std::collections::BTreeMap;

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
    /// Whether every port of its containers is reached from elsewhere by routes, published or not: for IPv4, for IPv6.
    pub(super) open: [bool; 2],
    /// What the links in containers are called, before their number.
    pub(super) interface: String,
}

/// The options that are carried out, and those that ask for what is so anyway.
const KNOWN: [&str; 8] = [
    "com.docker.network.bridge.name",
    "com.docker.network.driver.mtu",
    "com.docker.network.bridge.enable_icc",
    "com.docker.network.bridge.enable_ip_masquerade",
    "com.docker.network.container_iface_prefix",
    "com.docker.network.bridge.default_bridge",
    "com.docker.network.bridge.gateway_mode_ipv4",
    "com.docker.network.bridge.gateway_mode_ipv6",
];

/// The options that are not carried out, by name and value.
pub fn unknown_options(options: &BTreeMap<String, String>) -> Vec<String> {
    let is_done = |name: &str, value: &str| match name {
        "com.docker.network.bridge.gateway_mode_ipv4" | "com.docker.network.bridge.gateway_mode_ipv6" => {
            matches!(value, "" | "nat" | "nat-unprotected")
        }
        "com.docker.network.bridge.default_bridge" => true,
        _ => KNOWN.contains(&name),
    };
    options.iter().filter(|(name, value)| !is_done(name, value)).map(|(name, value)| format!("{name}={value}")).collect()
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
    let is_open = |name: &str| match text(name) {
        None | Some("nat" | "routed" | "isolated") => Ok(false),
        Some("nat-unprotected") => Ok(true),
        Some(_) => Err(refused(name, "it is none of nat, nat-unprotected, routed and isolated")),
    };
    let open = [is_open(KNOWN[6])?, is_open(KNOWN[7])?];
    Ok(Options { bridge, mtu, icc: truth(KNOWN[2])?, masquerade: truth(KNOWN[3])?, open, interface })
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
        let usual = Options { bridge: None, mtu: None, icc: true, masquerade: true, open: [false; 2], interface: "eth".into() };
        assert_eq!(read(&options(&[])).unwrap(), usual);
        let all = options(&[
            ("com.docker.network.bridge.name", "shop0"),
            ("com.docker.network.driver.mtu", "1400"),
            ("com.docker.network.bridge.enable_icc", "false"),
            ("com.docker.network.bridge.enable_ip_masquerade", "0"),
            ("com.docker.network.container_iface_prefix", "net"),
            ("com.docker.network.bridge.gateway_mode_ipv4", "nat-unprotected"),
        ]);
        let wanted = Options {
            bridge: Some("shop0".into()),
            mtu: Some(1400),
            icc: false,
            masquerade: false,
            open: [true, false],
            interface: "net".into(),
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
        ] {
            assert!(read(&options(&[(name, value)])).is_err(), "{name}={value}");
        }
        let told = unknown_options(&options(&[("parent", "eth0"), ("com.docker.network.bridge.gateway_mode_ipv4", "routed")]));
        assert_eq!(told, ["com.docker.network.bridge.gateway_mode_ipv4=routed", "parent=eth0"]);
    }
}
