//! Who holds a port, or a name: read from /proc/net and /proc/PID/fd.

use std::fs;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Port;
use super::Protocol;
use crate::place::Home;

/// Who keeps a port from us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holder {
    /// By its name.
    Container(String),
    Process {
        pid: u32,
        name: String,
    },
}

/// A socket as /proc/net/{tcp,udp}{,6} shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    /// :: holds the ports of IPv4 too, unless the socket is IPV6_V6ONLY, which is not shown.
    address: IpAddr,
    port: u16,
    /// 0: no process has it any more.
    inode: u64,
}

/// The name of a container: `names/<name>` holds its id.
pub(super) fn container_name(home: &Home, id: &str) -> Option<String> {
    let entries = fs::read_dir(home.names()).ok()?;
    let mut names = entries.flatten().filter(|entry| fs::read_to_string(entry.path()).is_ok_and(|holder| holder.trim() == id));
    names.next()?.file_name().into_string().ok()
}

/// The process whose socket is in the way of a port.
pub(super) fn process(port: &Port) -> Option<Holder> {
    let inodes: Vec<u64> = in_the_way(port).iter().map(|entry| entry.inode).filter(|inode| *inode != 0).collect();
    if inodes.is_empty() {
        return None;
    }
    let wanted: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let pid = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).find(|pid| has_one_of(*pid, &wanted))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(Holder::Process { pid, name: name.trim().to_owned() })
}

/// Whether a process runs this very program.
pub(super) fn is_ours(pid: u32) -> bool {
    let program = |process: &str| fs::metadata(format!("/proc/{process}/exe")).map(|file| (file.dev(), file.ino()));
    matches!((program("self"), program(&pid.to_string())), (Ok(ours), Ok(its)) if ours == its)
}

fn has_one_of(pid: u32, wanted: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors
        .flatten()
        .any(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|target| wanted.iter().any(|wanted| target == Path::new(wanted))))
}

/// Whether all that is in the way of a port are connections that no process has any more (TIME_WAIT and the like).
pub(super) fn only_leftovers_hold(port: &Port) -> bool {
    let entries = in_the_way(port);
    !entries.is_empty() && entries.iter().all(|entry| entry.inode == 0)
}

fn in_the_way(port: &Port) -> Vec<Entry> {
    let name = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => return Vec::new(), // its table is another one, and says nothing of who
    };
    // Of the thread, not of the process: they may be in different network namespaces.
    let tables = [format!("/proc/thread-self/net/{name}"), format!("/proc/thread-self/net/{name}6")];
    let texts = tables.iter().filter_map(|path| fs::read_to_string(path).ok());
    texts.flat_map(|text| text.lines().filter_map(parse_line).collect::<Vec<_>>()).filter(|entry| clashes(entry, port)).collect()
}

fn clashes(entry: &Entry, port: &Port) -> bool {
    let any = IpAddr::from(Ipv6Addr::UNSPECIFIED);
    let same_address = match port.host_address {
        None => true,
        Some(wanted) if wanted.is_ipv4() != entry.address.is_ipv4() => entry.address == any,
        Some(wanted) => wanted == entry.address || wanted.is_unspecified() || entry.address.is_unspecified(),
    };
    entry.port == port.host_port && same_address
}

/// Reads one line of /proc/net/{tcp,udp}{,6} (proc_pid_net(5)); None for the heading.
fn parse_line(line: &str) -> Option<Entry> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    let inode = fields.get(9)?.parse().ok()?;
    Some(Entry { address: parse_address(address)?, port: u16::from_str_radix(port, 16).ok()?, inode })
}

/// An address as the kernel prints it: 32-bit words in the machine's order. That of IPv4 in one of IPv6 is one of IPv4.
fn parse_address(text: &str) -> Option<IpAddr> {
    let word = |place: usize| Some(u32::from_str_radix(text.get(place..place + 8)?, 16).ok()?.to_ne_bytes());
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut octets = [0; 16];
            for place in (0..32).step_by(8) {
                octets[place / 2..place / 2 + 4].copy_from_slice(&word(place)?);
            }
            Some(Ipv6Addr::from(octets).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers are as a little-endian machine prints them.
    #[cfg(target_endian = "little")]
    #[test]
    fn a_line_of_proc_net_gives_address_port_and_inode() {
        let cases = [
            (
                "   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 31337 1 x 100 0 0 10 0",
                Some(Entry { address: Ipv4Addr::LOCALHOST.into(), port: 8080, inode: 31337 }),
            ),
            (
                "   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1 x 100 0 0 10 0",
                Some(Entry { address: Ipv4Addr::UNSPECIFIED.into(), port: 80, inode: 7 }),
            ),
            (
                "   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 9 1 x",
                Some(Entry { address: Ipv6Addr::UNSPECIFIED.into(), port: 22, inode: 9 }),
            ),
            (
                "   0: 0000000000000000FFFF00000100007F:0016 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 9 1 x",
                Some(Entry { address: Ipv4Addr::LOCALHOST.into(), port: 22, inode: 9 }),
            ),
            (
                "   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 9 1 x",
                Some(Entry { address: Ipv6Addr::LOCALHOST.into(), port: 22, inode: 9 }),
            ),
            ("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", None),
            ("", None),
        ];
        for (line, expected) in cases {
            assert_eq!(parse_line(line), expected, "{line}");
        }
    }

    #[test]
    fn a_socket_is_in_the_way_of_its_own_family_and_one_of_both_in_that_of_either() {
        let entry = |address: &str| Entry { address: address.parse().unwrap(), port: 80, inode: 1 };
        let port = |address: &str| Port { host_address: address.parse().ok(), host_port: 80, container_port: 80, protocol: Protocol::Tcp };
        let table = [
            ("127.0.0.1", "0.0.0.0", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0", "127.0.0.2", true),
            ("0.0.0.0", "::", false),
            ("::", "0.0.0.0", true),
            ("::", "::1", true),
            ("::1", "127.0.0.1", false),
            ("::1", "::", true),
            ("::1", "all of both", true),
        ];
        for (there, wanted, expected) in table {
            assert_eq!(clashes(&entry(there), &port(wanted)), expected, "{there} {wanted}");
        }
    }
}
