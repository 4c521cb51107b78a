//! Names, asked as a container asks.

use super::*;

/// Asks a name server over UDP and returns the addresses and the response code.
fn resolve(server: &str, name: &str) -> io::Result<(u8, Vec<String>)> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(8)))?;
    socket.send_to(&dns_question(name), format!("{server}:53"))?;
    let mut buffer = [0; 4096];
    let count = socket.recv(&mut buffer)?;
    Ok(read_reply(&buffer[..count]))
}

fn dns_question(name: &str) -> Vec<u8> {
    use hickory_proto::op::*;
    use hickory_proto::rr::*;
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_str_relaxed(name).unwrap(), RecordType::A));
    message.to_vec().unwrap()
}

fn read_reply(bytes: &[u8]) -> (u8, Vec<String>) {
    let message = hickory_proto::op::Message::from_vec(bytes).unwrap();
    (message.metadata.response_code.low(), message.answers.iter().map(|record| record.data.to_string()).collect())
}

/// A resolver that knows one address for everything, on UDP and TCP; one that knows nothing says SERVFAIL.
fn resolver(guest: &Guest, address: &str, known: Option<&'static str>) {
    let zone_of = move |question: &[u8]| {
        let message = hickory_proto::op::Message::from_vec(question).unwrap();
        let name = message.queries[0].name().to_ascii().trim_end_matches('.').to_owned();
        let mut zone = Zone::default();
        zone.addresses.extend(known.map(|known| (name, vec![known.parse().unwrap()])));
        zone
    };
    let reply = move |question: &[u8]| match zone::answer(&zone_of(question), question) {
        Answer::Reply(reply) => reply,
        _ => zone::failed(question).unwrap(),
    };
    let address = format!("{address}:53");
    let (udp, tcp) = guest.run(move || (UdpSocket::bind(&address).unwrap(), TcpListener::bind(&address).unwrap()));
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((count, from)) = udp.recv_from(&mut buffer) {
            udp.send_to(&reply(&buffer[..count]), from).unwrap();
        }
    });
    thread::spawn(move || {
        for stream in tcp.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut question).unwrap();
            let reply = reply(&question);
            stream.write_all(&(reply.len() as u16).to_be_bytes()).unwrap();
            stream.write_all(&reply).unwrap();
        }
    });
}

/// Drives a name server as a supervisor would, until the test ends.
fn drive(mut names: NameServer) {
    thread::spawn(move || {
        loop {
            let mut wait = [rustix::event::PollFd::new(&names, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut wait, None).unwrap();
            names.work();
        }
    });
}

#[test]
fn containers_resolve_each_other_and_the_rest_of_the_world() {
    in_own_namespaces("names::containers_resolve_each_other_and_the_rest_of_the_world", || {
        let world = World::new();
        let other = other_host(&world);
        let mut there = other.netns_channel();
        let up0 = link::find(&mut there, "up0").unwrap().unwrap();
        for last in [3, 4, 5] {
            link::add_address(&mut there, up0, Ipv4Addr::new(203, 0, 113, last).into(), 32).unwrap();
        }
        // The first does not exist on the wire, the second has no server, the third knows nothing, the fourth all.
        resolver(&other, "203.0.113.4", None);
        resolver(&other, "203.0.113.5", Some("198.51.100.7"));
        world.network("net");
        let web = Guest::new(&world);
        world.plug(&web, &["net"]);
        let servers = |lasts: &[u8]| lasts.iter().map(|last| IpAddr::from([203, 0, 113, *last])).collect::<Vec<_>>();
        let mut names = NameServer::new(servers(&[3, 4, 5])).unwrap();
        let mut zone = Zone::default();
        zone.addresses.insert("redis".into(), vec!["172.17.0.9".parse().unwrap()]);
        names.add(&web.id, open_name_sockets(web.netns.as_fd()).unwrap(), zone).unwrap();
        drive(names);

        assert_eq!(web.run(|| resolve("127.0.0.11", "Redis.")).unwrap(), (0, vec!["172.17.0.9".into()]));
        assert_eq!(web.run(|| resolve("127.0.0.11", "example.org.")).unwrap(), (0, vec!["198.51.100.7".into()]));
        let over_tcp = |name: &'static str| {
            web.run(move || {
                let mut stream = TcpStream::connect("127.0.0.11:53").unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                let question = dns_question(name);
                for part in [&(question.len() as u16).to_be_bytes()[..], &question[..5], &question[5..]] {
                    stream.write_all(part).unwrap();
                }
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut reply).unwrap();
                read_reply(&reply)
            })
        };
        assert_eq!(over_tcp("redis."), (0, vec!["172.17.0.9".into()]));
        assert_eq!(over_tcp("example.org."), (0, vec!["198.51.100.7".into()]));

        let lonely = Guest::new(&world);
        world.plug(&lonely, &["net"]);
        let mut names = NameServer::new(servers(&[77])).unwrap();
        names.add(&lonely.id, open_name_sockets(lonely.netns.as_fd()).unwrap(), Zone::default()).unwrap();
        drive(names);
        let started = Instant::now();
        assert_eq!(lonely.run(|| resolve("127.0.0.11", "example.org.")).unwrap(), (2, vec![]), "nobody knows: SERVFAIL");
        assert!(started.elapsed() < Duration::from_secs(5));
        unplug(&world.home, &lonely.id).unwrap();
        unplug(&world.home, &web.id).unwrap();
    });
}

#[test]
fn port_53_is_the_containers_own() {
    in_own_namespaces("names::port_53_is_the_containers_own", || {
        let world = World::new();
        world.network("net");
        let web = Guest::new(&world);
        world.plug(&web, &["net"]);
        let mut names = NameServer::new(Vec::new()).unwrap();
        let mut zone = Zone::default();
        zone.addresses.insert("redis".into(), vec!["172.17.0.9".parse().unwrap()]);
        names.add(&web.id, open_name_sockets(web.netns.as_fd()).unwrap(), zone).unwrap();
        drive(names);

        // Port 53 is free for a name server of the container's own, on all its addresses, and ours answers on.
        web.run(|| {
            let datagrams = std::net::UdpSocket::bind("0.0.0.0:53").unwrap();
            let _listener = std::net::TcpListener::bind("0.0.0.0:53").unwrap();
            // One that is connected takes answers from the port it asked alone.
            let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            client.connect("127.0.0.11:53").unwrap();
            client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            client.send(&dns_question("redis.")).unwrap();
            let mut reply = [0; 512];
            let length = client.recv(&mut reply).unwrap();
            assert_eq!(read_reply(&reply[..length]), (0, vec!["172.17.0.9".into()]));
            let asker = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            asker.send_to(b"mine", "127.0.0.1:53").unwrap();
            datagrams.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            assert_eq!(datagrams.recv(&mut [0; 16]).unwrap(), 4);
        });
        // Another supervisor, that has not the sockets of the one before, opens them anew.
        drop(open_name_sockets(web.netns.as_fd()).unwrap());
        unplug(&world.home, &web.id).unwrap();
    });
}
