//! Registries that are spoken to over TLS: whom we believe, and who we say we are.

use std::fs;

use crate::support::ADDRESS;
use crate::support::World;
use crate::support::eventually;
use crate::support::seconds;

/// Makes an authority, a certificate of the registry and one of ours, all signed by it.
const CERTIFICATES: &str = "
set -e
key() { openssl ecparam -name prime256v1 -genkey -noout -out $1.key; }
key ca; openssl req -x509 -new -key ca.key -subj /CN=authority -days 2 -out ca.crt
for name in registry client; do
    key $name
    openssl req -new -key $name.key -subj /CN=$name -out $name.csr
    printf 'subjectAltName=IP:ADDRESS\\nbasicConstraints=CA:FALSE\\n' >$name.ext
    openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile $name.ext -out $name.crt
done
";

/// Without the authority's certificate nothing is believed; without ours we are not let in.
#[test]
fn certificates_of_a_registry_lie_in_a_directory_of_its_name() {
    let world = World::new();
    let place = world.root().join("tls");
    fs::create_dir(&place).unwrap();
    let script = CERTIFICATES.replace("ADDRESS", ADDRESS);
    world.outside(&["sh", "-c", &format!("cd {} && {script}", place.display())]).succeeds();
    let shown = place.display();
    let config = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: \"{shown}/data\"}}\nhttp:\n  addr: \"{ADDRESS}:5443\"\n  \
         tls: {{certificate: \"{shown}/registry.crt\", key: \"{shown}/registry.key\", clientcas: [\"{shown}/ca.crt\"]}}\n"
    );
    fs::write(place.join("config.yml"), config).unwrap();
    let registry = world.start_outside(&["docker-registry", "serve", &format!("{shown}/config.yml")]);
    let asks = || world.outside(&["sh", "-c", &format!("nc -z -w 2 {ADDRESS} 5443 || echo | openssl s_client -connect {ADDRESS}:5443")]);
    eventually(seconds(30), || {
        let asked = asks();
        if asked.stderr.contains("refused") || asked.stdout.contains("refused") { Err(asked.told()) } else { Ok(()) }
    });
    world.coracle("pull -q busybox").succeeds();
    let name = format!("{ADDRESS}:5443/shop/box");
    world.coracle(&format!("tag busybox {name}")).succeeds();

    world.coracle(&format!("push {name}")).exits_with(1).complains("cannot trust the registry").complains("certs.d");
    let certificates = world.root().parent().unwrap().join(format!("home/.config/containers/certs.d/{ADDRESS}:5443"));
    fs::create_dir_all(&certificates).unwrap();
    fs::copy(place.join("ca.crt"), certificates.join("ca.crt")).unwrap();
    world.coracle(&format!("push {name}")).exits_with(1).complains("wants a client certificate").complains("client.cert");
    fs::copy(place.join("client.crt"), certificates.join("client.cert")).unwrap();
    world.coracle(&format!("push {name}")).exits_with(1).complains("client.key");
    fs::copy(place.join("client.key"), certificates.join("client.key")).unwrap();
    world.coracle(&format!("push {name}")).succeeds().says("latest: digest: sha256:");
    world.coracle(&format!("rmi {name}")).succeeds();
    world.coracle(&format!("pull -q {name}")).succeeds();
    let ours = format!("{shown}/config.yml");
    world.processes().iter().filter(|process| process.command.contains(&ours)).for_each(|process| world.kill(process));
    drop(registry);
}
