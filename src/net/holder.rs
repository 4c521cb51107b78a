//! Who holds a port, or a name: read from /proc/net and /proc/PID/fd.

use std::fs;
use std::net::Ipv4Addr;
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
    /// None: any address.
    address: Option<Ipv4Addr>,
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
    };
    // Of the thread, not of the process: they may be in different network namespaces.
    let tables = [format!("/proc/thread-self/net/{name}"), format!("/proc/thread-self/net/{name}6")];
    let texts = tables.iter().filter_map(|path| fs::read_to_string(path).ok());
    texts.flat_map(|text| text.lines().filter_map(parse_line).collect::<Vec<_>>()).filter(|entry| clashes(entry, port)).collect()
}

fn clashes(entry: &Entry, port: &Port) -> bool {
    let same_address = port.host_address.is_unspecified() || entry.address.is_none_or(|address| address == port.host_address);
    entry.port == port.host_port && same_address
}

/// Reads one line of /proc/net/{tcp,udp}{,6} (proc_pid_net(5)); None for the heading and for addresses of IPv6 alone.
fn parse_line(line: &str) -> Option<Entry> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    let inode = fields.get(9)?.parse().ok()?;
    Some(Entry { address: parse_address(address)?, port: u16::from_str_radix(port, 16).ok()?, inode })
}

/// An address as the kernel prints it: 32-bit words in the machine's order. `Some(None)` is any address.
fn parse_address(text: &str) -> Option<Option<Ipv4Addr>> {
    let bits = match text.len() {
        8 => text,
        // `::` holds IPv4 ports too, unless the socket is IPV6_V6ONLY, which is not shown here.
        32 if text.bytes().all(|byte| byte == b'0') => return Some(None),
        32 if u32::from_str_radix(&text[16..24], 16).ok()? == u32::from_ne_bytes([0, 0, 0xff, 0xff]) => &text[24..],
        _ => return None,
    };
    let address = Ipv4Addr::from(u32::from_str_radix(bits, 16).ok()?.to_ne_bytes());
    Some((!address.is_unspecified()).then_some(address))
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
                Some(Entry { address: Some(Ipv4Addr::LOCALHOST), port: 8080, inode: 31337 }),
            ),
            (
                "   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1 x 100 0 0 10 0",
                Some(Entry { address: None, port: 80, inode: 7 }),
            ),
            (
                "   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 9 1 x",
                Some(Entry { address: None, port: 22, inode: 9 }),
            ),
            (
                "   0: 0000000000000000FFFF00000100007F:0016 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 9 1 x",
                Some(Entry { address: Some(Ipv4Addr::LOCALHOST), port: 22, inode: 9 }),
            ),
            ("   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 9 1 x", None),
            ("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", None),
            ("", None),
        ];
        for (line, expected) in cases {
            assert_eq!(parse_line(line), expected, "{line}");
        }
    }
}
