//! Published ports in all their forms, and containers without a network of their own.

use crate::support::ADDRESS;
use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

const SERVER: &str = "
import http.server, socket, threading
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(self.server.server_port).encode())
    def log_message(self, *words):
        pass
for port in (9001, 9002, 9003, 9100):
    threading.Thread(target=http.server.ThreadingHTTPServer(('', port), Page).serve_forever).start()
talk = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
talk.bind(('', 5300))
while True:
    text, who = talk.recvfrom(100)
    talk.sendto(b'heard ' + text, who)
";

const PROJECT: &str = "name: open
services:
  web:
    image: python:3.13-slim
    command: python3 -u /server.py
    stop_grace_period: 0s
    volumes: [\"./server.py:/server.py:ro\"]
    expose: [\"7000-7001\", 7002/udp]
    ports:
      - \"8101-8103:9001-9003\"
      - {target: 9100, published: \"8200-8210\", host_ip: 127.0.0.2, mode: host}
      - \"127.0.0.1:5311:5300/udp\"
      - \"9100\"
  taken: {image: busybox, command: sleep 1000, ports: [\"127.0.0.2:8200-8210:80\"]}
  guest: {image: busybox, command: sleep 1000, network_mode: \"service:web\"}
  lender: {image: busybox, command: sleep 1000, network_mode: \"container:open-web-1\", depends_on: [web]}
  homely: {image: busybox, command: httpd -f -p 7777 -h /etc, network_mode: host, ports: [\"80:80\"], hostname: me}
";

/// Ranges, one address, UDP, a port of the kernel's choice; the networks of others, of the host and none.
#[test]
fn ports_lead_where_the_file_says() {
    let world = World::with_file(PROJECT);
    world.file("server.py", SERVER);
    world.run("up -d").succeeds().complains("service `homely`: `ports` is not carried out, as it has `network_mode: host`");
    for (outer, inner) in [(8101, "9001"), (8102, "9002"), (8103, "9003")] {
        assert_eq!(world.page(&format!("127.0.0.1:{outer}"), "/"), inner);
        assert_eq!(world.page(&format!("{ADDRESS}:{outer}"), "/"), inner);
    }
    // The first free one of a range: the services come in the order of their names.
    let mut of_range = ["web 9100", "taken 80"].map(|words| world.run(&format!("port {words}")).succeeds().stdout);
    of_range.sort();
    let all = of_range.concat();
    assert!(all.contains("127.0.0.2:8200\n") && all.contains("127.0.0.2:8201\n"), "{all}");
    let port = world.run("port web 9100").succeeds().stdout;
    let port = port.lines().find_map(|line| line.strip_prefix("127.0.0.2:")).unwrap_or_else(|| panic!("{port}")).to_owned();
    assert_eq!(world.page(&format!("127.0.0.2:{port}"), "/"), "9100");
    assert!(world.fetch(&format!("127.0.0.1:{port}"), "/").is_err() && world.fetch(&format!("{ADDRESS}:{port}"), "/").is_err());
    let talk = "exec 3<>/dev/udp/127.0.0.1/5311; echo hello >&3; timeout 5 head -n 1 <&3";
    eventually(seconds(10), || match world.outside(&["bash", "-c", talk]) {
        told if told.stdout == "heard hello\n" => Ok(()),
        told => Err(told.told()),
    });
    let exposed = world.coracle("inspect --format '{{json .Config.ExposedPorts}}' open-web-1").succeeds().stdout;
    for port in ["7000/tcp", "7001/tcp", "7002/udp", "9001/tcp", "5300/udp"] {
        assert!(exposed.contains(port), "{exposed}");
    }

    let web = world.container("web");
    for service in ["guest", "lender"] {
        let joined = world.container(service);
        assert_eq!(joined.namespace("net"), web.namespace("net"));
        assert_eq!(joined.sh("wget -q -O - http://127.0.0.1:9001/").succeeds().stdout, "9001");
    }
    let homely = world.container("homely");
    let own = std::fs::read_link(world.proc().join("1/ns/net")).unwrap().to_string_lossy().into_owned();
    assert_eq!(homely.namespace("net"), own);
    assert_eq!(homely.sh("cat /proc/sys/kernel/hostname").succeeds().line(), "me");
    assert!(world.page("127.0.0.1:7777", "/passwd").contains("root"));
}

/// Ports of a container that has the network of another are refused before anything is made.
#[test]
fn ports_that_cannot_be_published_are_refused() {
    let world = World::new();
    for (lines, reason) in [
        ("network_mode: \"service:db\", ports: [\"80:80\"]", "network_mode: service:db"),
        ("mac_address: 02:42:ac:11:00:01, networks: {default: {mac_address: 02:42:ac:11:00:02}}", "mac_address"),
        ("ports: [{target: 80, published: \"9-1\"}]", "9-1"),
        ("ports: [{target: 80, host_ip: nowhere}]", "nowhere"),
    ] {
        let text = format!("services:\n  db: {{image: busybox, command: sleep 1}}\n  web: {{image: busybox, command: sleep 1, {lines}}}\n");
        world.file("compose.yaml", &text);
        world.run("up -d").exits_with(1).complains(reason);
        assert_eq!(world.coracle("ps -a -q").succeeds().stdout, "");
    }
}
