//! `-p 127.0.0.1:8000-8010:80-90/udp`.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use crate::net::Port;
use crate::net::Protocol;

/// Reads one `-p`: `[[address:][host port]:]container port[/protocol]`, each port one or a range; an address of IPv6 may be
/// in brackets.
///
/// # Errors
/// Not of that form; ranges of different lengths.
pub fn published(text: &str) -> Result<Vec<Port>, String> {
    let (text, protocol) = protocol_of(text)?;
    let (host, inside) = text.rsplit_once(':').map_or((None, text), |(host, inside)| (Some(host), inside));
    let (address, host_ports) = match host.map(|host| host.rsplit_once(':').map_or(("", host), |split| split)) {
        None => ("", ""),
        Some(("", port)) if port.parse::<Ipv4Addr>().is_ok() => (port, ""),
        Some(split) => split,
    };
    let host_address = host_address(address)?;
    let inside = range(inside)?;
    let host_ports = if host_ports.is_empty() { vec![0; inside.len()] } else { range(host_ports)? };
    if host_ports.len() != inside.len() {
        return Err("the ranges of host and container ports differ in length".to_owned());
    }
    let pairs = host_ports.into_iter().zip(inside);
    Ok(pairs.map(|(host_port, container_port)| Port { host_address, host_port, container_port, protocol }).collect())
}

/// Reads one `--expose`: `80`, `80/udp`, `80-90`; as `80/tcp`.
///
/// # Errors
/// Not of that form.
pub fn exposed(text: &str) -> Result<Vec<String>, String> {
    let (ports, protocol) = protocol_of(text)?;
    Ok(range(ports)?.into_iter().map(|port| format!("{port}/{}", protocol.word())).collect())
}

fn protocol_of(text: &str) -> Result<(&str, Protocol), String> {
    match text.split_once('/') {
        None => Ok((text, Protocol::Tcp)),
        Some((ports, word)) => {
            let unknown = || format!("the protocol `{word}` cannot be published, only tcp, udp and sctp");
            Ok((ports, Protocol::of_word(word).ok_or_else(unknown)?))
        }
    }
}

fn host_address(text: &str) -> Result<Option<IpAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let address = match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        None => text.parse::<IpAddr>().ok(),
        Some(bare) => bare.parse::<Ipv6Addr>().ok().map(IpAddr::from),
    };
    address.map(Some).ok_or_else(|| format!("`{text}` is no address"))
}

fn range(text: &str) -> Result<Vec<u16>, String> {
    let port = |text: &str| match text.parse::<u16>() {
        Ok(0) | Err(_) => Err(format!("`{text}` is no port")),
        Ok(port) => Ok(port),
    };
    match text.split_once('-') {
        None => Ok(vec![port(text)?]),
        Some((first, last)) => {
            let (first, last) = (port(first)?, port(last)?);
            if first > last {
                return Err(format!("the range {text} runs backwards"));
            }
            Ok((first..=last).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_published_port_is_read() {
        let port = |host_address: &str, host_port, container_port, protocol| Port {
            host_address: host_address.parse().ok(),
            host_port,
            container_port,
            protocol,
        };
        let table = [
            ("80", vec![port("", 0, 80, Protocol::Tcp)]),
            ("8000:80", vec![port("", 8000, 80, Protocol::Tcp)]),
            ("127.0.0.1:8000:80/udp", vec![port("127.0.0.1", 8000, 80, Protocol::Udp)]),
            ("127.0.0.1::80", vec![port("127.0.0.1", 0, 80, Protocol::Tcp)]),
            ("8000-8001:80-81", vec![port("", 8000, 80, Protocol::Tcp), port("", 8001, 81, Protocol::Tcp)]),
            ("0.0.0.0:8000:80", vec![port("0.0.0.0", 8000, 80, Protocol::Tcp)]),
            ("[::1]:8000:80", vec![port("::1", 8000, 80, Protocol::Tcp)]),
            ("::1:8000:80", vec![port("::1", 8000, 80, Protocol::Tcp)]),
            ("36412:36412/sctp", vec![port("", 36412, 36412, Protocol::Sctp)]),
            ("[::]::80/udp", vec![port("::", 0, 80, Protocol::Udp)]),
        ];
        for (text, expected) in table {
            assert_eq!(published(text), Ok(expected), "{text}");
        }
        for text in ["", "x", "80:", "1-2:3", "[::1:80:80", "[127.0.0.1]:80:80", "80/x", "99999", "9-8", "0"] {
            assert!(published(text).is_err(), "{text}");
        }
    }
}
