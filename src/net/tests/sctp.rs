//! Published ports of SCTP. The packets are made by hand: a kernel without SCTP of its own leads them all the same.

use rustix::net::AddressFamily;
use rustix::net::RecvFlags;
use rustix::net::SendFlags;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::net::ipproto;

use super::*;

const FROM: u16 = 40_000;

#[test]
fn sctp_is_led_to_the_container() {
    in_own_namespaces("sctp::sctp_is_led_to_the_container", || {
        let world = World::new();
        let other = other_host(&world);
        world.network("front");
        let web = Guest::new(&world);
        let address = world.plug(&web, &["front"])[0].address();
        let port =
            Port { host_address: Some(Ipv4Addr::UNSPECIFIED.into()), host_port: 36_412, container_port: 5000, protocol: Protocol::Sctp };
        publish(&world.home, &web.id, to(address), &[port]).unwrap();

        let listening = web.run(raw);
        other.run(|| ask_for_association([203, 0, 113, 1], 36_412));
        assert_eq!(next_ports(&listening), Some((FROM, 5000)));

        unpublish(&world.home, &web.id).unwrap();
        unplug(&world.home, &web.id).unwrap();
        sweep(&world.home).unwrap();
    });
}

/// A socket that sees the SCTP of its namespace, packet by packet, and waits for two seconds at most.
fn raw() -> OwnedFd {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::SCTP)).unwrap();
    let limit = Some(Duration::from_secs(2));
    rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Recv, limit).unwrap();
    socket
}

/// The ports of the next packet: where from, where to.
fn next_ports(socket: &OwnedFd) -> Option<(u16, u16)> {
    let mut packet = [0; 256];
    let (length, _) = rustix::net::recv(socket, &mut packet, RecvFlags::empty()).ok()?;
    // Behind a header of IP without options.
    let ports = packet[..length].get(20..24)?;
    Some((u16::from_be_bytes([ports[0], ports[1]]), u16::from_be_bytes([ports[2], ports[3]])))
}

/// Sends an INIT (RFC 9260, 3.3.2).
fn ask_for_association(to: [u8; 4], port: u16) {
    let mut packet = [FROM.to_be_bytes(), port.to_be_bytes()].concat();
    packet.extend([0; 8]); // no tag yet; the checksum comes below
    packet.extend([1, 0, 0, 20]);
    packet.extend(7_u32.to_be_bytes());
    packet.extend(65_536_u32.to_be_bytes());
    packet.extend([0, 1, 0, 1]);
    packet.extend(9_u32.to_be_bytes());
    let sum = crc32c(&packet);
    packet[8..12].copy_from_slice(&sum.to_le_bytes());
    let address = SocketAddr::from((to, 0));
    rustix::net::sendto(raw(), &packet, SendFlags::empty(), &address).unwrap();
}

fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0x82f6_3b78 } else { sum >> 1 };
        }
    }
    !sum
}
