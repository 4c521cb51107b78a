//! The short forms of Docker's flags, read into what the rooms below want.
//!
//! Readers for single words are clap value parsers: they return the reason as text, clap says which flag it was.

pub mod mounts;
pub mod ports;

use std::collections::BTreeMap;

use crate::compose::short;
use crate::container;
use crate::failure::Doing;
use crate::failure::Failure;
use crate::failure::Result;
use crate::net;
use crate::net::Plug;
use crate::units;

/// Reads `512m`.
///
/// # Errors
/// Not a size.
pub fn size(text: &str) -> Result<u64, String> {
    units::bytes(text).map_err(|failure| failure.what().to_owned())
}

/// Reads `512m` or `-1`.
///
/// # Errors
/// Not a size.
pub fn size_or_unlimited(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    i64::try_from(size(text)?).map_err(|_| "too large".to_owned())
}

/// Reads `1m30s`, in nanoseconds.
///
/// # Errors
/// Not a duration.
pub fn nanoseconds(text: &str) -> Result<i64, String> {
    let duration = units::duration(text).map_err(|failure| failure.what().to_owned())?;
    i64::try_from(duration.as_nanos()).map_err(|_| "too long".to_owned())
}

/// Reads `nofile=1024:2048`; one number is both.
///
/// # Errors
/// Not of that form.
pub fn ulimit(text: &str) -> Result<(String, u64, u64), String> {
    let (name, limits) = text.split_once('=').ok_or("a limit is NAME=SOFT[:HARD]")?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let number = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        _ => text.parse::<u64>().map_err(|_| format!("{text} is no number")),
    };
    let (soft, hard) = (number(soft)?, number(hard)?);
    if soft > hard {
        return Err(format!("the soft limit {soft} is above the hard limit {hard}"));
    }
    Ok((name.to_owned(), soft, hard))
}

/// Reads `name=NETWORK,alias=…,ip=…`, the long form of `--network`.
///
/// # Errors
/// Not of that form; a key we do not carry out.
pub fn plug(text: &str) -> Result<Plug, String> {
    let mut plug = Plug::default();
    let address = |text: &str| text.parse().map_err(|_| format!("`{text}` is no IPv4 address"));
    for word in text.split(',') {
        let (key, value) = word.split_once('=').ok_or_else(|| format!("`{word}` is not KEY=VALUE"))?;
        match key {
            "name" => plug.network = value.to_owned(),
            "alias" => plug.aliases.push(value.to_owned()),
            "ip" => plug.address = Some(address(value)?),
            "ip6" => plug.ipv6_address = Some(value.parse().map_err(|_| format!("`{value}` is no IPv6 address"))?),
            "link-local-ip" => plug.link_local.push(value.parse().map_err(|_| format!("`{value}` is no address"))?),
            "mac-address" => plug.mac = Some(short::mac(value)?),
            "gw-priority" => plug.gateway_priority = value.parse().map_err(|_| format!("`{value}` is no number"))?,
            "driver-opt" => driver_option(&mut plug, value)?,
            _ => return Err(format!("`{key}` is unknown here")),
        }
    }
    if plug.network.is_empty() { Err("it needs `name=NETWORK`".to_owned()) } else { Ok(plug) }
}

/// Reads `NAME=VALUE`, what a driver is asked for one plug.
///
/// # Errors
/// An option we do not carry out.
pub fn driver_option(plug: &mut Plug, text: &str) -> Result<(), String> {
    if let Some(settings) = text.strip_prefix("com.docker.network.endpoint.sysctls=") {
        plug.sysctls.extend(short::sysctls_of_link(settings)?);
        return Ok(());
    }
    let name = text.strip_prefix("com.docker.network.endpoint.ifname=").filter(|name| net::is_link_name(name));
    plug.interface = Some(name.ok_or_else(|| format!("the option `{text}` is not carried out"))?.to_owned());
    Ok(())
}

/// Reads the weight of block devices: 10 to 1000, or 0 for none.
///
/// # Errors
/// Not such a number.
pub fn weight(text: &str) -> Result<u16, String> {
    let number = text.parse().ok().filter(|number| matches!(number, 0 | 10..=1000));
    number.ok_or_else(|| "it is a number from 10 to 1000".to_owned())
}

/// Reads `/dev/sda:500`.
///
/// # Errors
/// Not of that form.
pub fn device_weight(text: &str) -> Result<(String, u16), String> {
    let (path, number) = device_and_number(text)?;
    Ok((path.to_owned(), weight(number)?))
}

/// Reads `/dev/sda:1mb`.
///
/// # Errors
/// Not of that form.
pub fn device_rate(text: &str) -> Result<(String, u64), String> {
    let (path, number) = device_and_number(text)?;
    Ok((path.to_owned(), size(number)?))
}

fn device_and_number(text: &str) -> Result<(&str, &str), String> {
    text.rsplit_once(':').filter(|(path, _)| path.starts_with("/dev/")).ok_or_else(|| "it is /dev/NAME:NUMBER".to_owned())
}

/// Reads `/dev/fuse[:/dev/fuse[:rwm]]`, or a device by name, `vendor.com/class=name`.
///
/// # Errors
/// Not of that form.
pub fn device(text: &str) -> Result<(String, String, String), String> {
    if container::is_cdi_device(text) {
        return Ok((text.to_owned(), text.to_owned(), String::new()));
    }
    let parts: Vec<&str> = text.split(':').collect();
    let is_mode = |text: &str| !text.is_empty() && text.chars().all(|char| "rwm".contains(char));
    let (host, inside, mode) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, mode] if is_mode(mode) => (host, host, mode),
        [host, inside] => (host, inside, "rwm"),
        [host, inside, mode] if is_mode(mode) => (host, inside, mode),
        _ => return Err("a device is PATH[:PATH[:rwm]]".to_owned()),
    };
    if !host.starts_with('/') || !inside.starts_with('/') {
        return Err("the paths of a device are absolute".to_owned());
    }
    Ok((host.to_owned(), inside.to_owned(), mode.to_owned()))
}

/// Reads `name=value`; a lone name has an empty value.
///
/// # Errors
/// The name is empty.
pub fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() {
        return Err("the name before `=` is empty".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// The environment of `--env-file` and `-e`, the later winning; a lone name takes our own value or is left out.
///
/// # Errors
/// A file that cannot be read, a line that cannot be understood.
pub fn environment(files: &[String], words: &[String]) -> Result<Vec<String>> {
    let mut found: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut order = Vec::new();
    let mut take = |text: &str| {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, std::env::var(text).ok()),
        };
        if found.insert(name.to_owned(), value).is_none() {
            order.push(name.to_owned());
        }
    };
    for file in files {
        for line in lines_of(file)? {
            take(&line);
        }
    }
    words.iter().for_each(|word| take(word));
    Ok(order.into_iter().filter_map(|name| found[&name].as_ref().map(|value| format!("{name}={value}"))).collect())
}

/// The lines of an `--env-file` or `--label-file`, without comments and blank ones.
///
/// # Errors
/// It cannot be read, or a name has blanks in it.
pub fn lines_of(file: &str) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(file).doing(|| format!("cannot read `{file}`"))?;
    let mut lines = Vec::new();
    for line in text.trim_start_matches('\u{feff}').lines().map(str::trim_start) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or_default();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(
                Failure::new(format!("cannot use `{file}`")).because(format!("the name of a variable in `{line}` is empty or has blanks"))
            );
        }
        lines.push(line.to_owned());
    }
    Ok(lines)
}

/// Labels from `--label-file` and `-l`.
///
/// # Errors
/// As [`environment`].
pub fn labels(files: &[String], words: &[(String, String)]) -> Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for file in files {
        for line in lines_of(file)? {
            let (name, value) = line.split_once('=').unwrap_or((&line, ""));
            labels.insert(name.to_owned(), value.to_owned());
        }
    }
    labels.extend(words.iter().cloned());
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_devices_are_read() {
        assert_eq!(ulimit("nofile=1:2"), Ok(("nofile".into(), 1, 2)));
        assert_eq!(ulimit("core=-1"), Ok(("core".into(), u64::MAX, u64::MAX)));
        assert!(ulimit("nofile=3:2").is_err());
        assert_eq!(device("/dev/fuse"), Ok(("/dev/fuse".into(), "/dev/fuse".into(), "rwm".into())));
        assert_eq!(device("/dev/a:/dev/b:r"), Ok(("/dev/a".into(), "/dev/b".into(), "r".into())));
        assert_eq!(device_rate("/dev/sda:1mb"), Ok(("/dev/sda".into(), 1 << 20)));
        assert!(device_rate("sda:1").is_err() && device_weight("/dev/sda:5").is_err());
        assert_eq!(device("/dev/a:rw"), Ok(("/dev/a".into(), "/dev/a".into(), "rw".into())));
    }

    #[test]
    fn a_network_in_long_form_is_read() {
        let plug = plug("name=shop,alias=api,alias=v1,ip=10.0.0.5,mac-address=02:42:0a:00:00:05,gw-priority=7").unwrap();
        assert_eq!((plug.network.as_str(), plug.aliases.len(), plug.gateway_priority), ("shop", 2, 7));
        assert_eq!((plug.address, plug.mac), (Some([10, 0, 0, 5].into()), Some([2, 0x42, 10, 0, 0, 5])));
        for text in ["alias=x", "name=a,ip=x", "name=a,b", "name=a,colour=red", "name=a,driver-opt=x=y"] {
            assert!(super::plug(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_last_word_on_a_variable_wins() {
        let words = ["A=1".to_owned(), "B=2".to_owned(), "A=3".to_owned(), "CORACLE_SURELY_UNSET".to_owned()];
        assert_eq!(environment(&[], &words).unwrap(), ["A=3", "B=2"]);
    }
}
