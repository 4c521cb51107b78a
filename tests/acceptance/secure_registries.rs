//! Registries that want to know whom they talk to, and what stands between: authorities, client certificates, proxies,
//! identity tokens, and the files that say where to ask.

use std::fs;
use std::path::Path;

use crate::support::Clients;
use crate::support::Door;
use crate::support::OwnRegistry;
use crate::support::Played;
use crate::support::World;
use crate::support::join;
use crate::support::reply;

/// A file of `data/tls`.
fn tls(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/acceptance/data/tls").join(name)
}

/// The world's `$HOME`.
fn home(world: &World) -> std::path::PathBuf {
    world.root().parent().unwrap().join("home")
}

/// Files what belongs to one registry where its user would.
fn file_certificate(world: &World, registry: &str, name: &str) {
    let place = home(world).join(".config/coracle/certs.d").join(registry);
    fs::create_dir_all(&place).unwrap();
    fs::copy(tls(name), place.join(name.replace("client.crt", "client.cert"))).unwrap();
}

/// An unknown authority is refused until it is filed for this registry; a registry that wants to see a certificate gets it.
#[test]
fn authorities_and_client_certificates_are_those_of_the_registry() {
    let world = World::new();
    let registry = OwnRegistry::secure(&world, 5443, Door::Open, Clients::Certified);
    let name = "shop.example:5443/box";
    world.answer_names("shop.example", [127, 0, 0, 1]);
    world.file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    world.coracle(&format!("build -q -t {name} .")).succeeds();

    let told = world.coracle(&format!("push -q {name}")).exits_with(1).complains("UnknownIssuer");
    assert!(told.stderr.contains("certs.d/shop.example:5443/ca.crt"), "{}", told.told());
    file_certificate(&world, "shop.example:5443", "ca.crt");
    world.coracle(&format!("push -q {name}")).exits_with(1).complains("wants a client certificate that it knows");
    // Another registry's certificate is not shown.
    file_certificate(&world, "shop.example", "client.crt");
    file_certificate(&world, "shop.example", "client.key");
    world.coracle(&format!("push -q {name}")).exits_with(1).complains("wants a client certificate that it knows");
    file_certificate(&world, "shop.example:5443", "client.crt");
    world.coracle(&format!("push -q {name}")).exits_with(1).complains("client.key");
    file_certificate(&world, "shop.example:5443", "client.key");
    world.coracle(&format!("push -q {name}")).succeeds();
    assert_eq!(registry.blobs(), 3, "a layer, the configuration and the manifest");
    world.coracle(&format!("rmi {name}")).succeeds();
    world.coracle(&format!("pull -q {name}")).succeeds();
}

/// On a host without authorities the bundled ones count: an unknown one is still refused, and one that is filed is enough.
#[test]
fn a_host_without_authorities_takes_the_bundled_ones() {
    let world = World::new();
    let _registry = OwnRegistry::secure(&world, 5443, Door::Open, Clients::Anybody);
    world.answer_names("shop.example", [127, 0, 0, 1]);
    let bare = |line: &str| {
        let covers = ["/etc/ssl", "/usr/share/ca-certificates", "/usr/lib/ssl", "/etc/pki", "/etc/ca-certificates"];
        let covered: String = covers.iter().map(|place| format!("test ! -d {place} || mount -t tmpfs none {place}; ")).collect();
        let program = crate::support::program();
        world.outside(&["unshare", "-m", "sh", "-ec", &format!("{covered} {} {line}", program.display())])
    };
    bare("pull -q shop.example:5443/box").exits_with(1).complains("UnknownIssuer");
    let bundle = fs::read_to_string(world.root().join("run/certificates.pem")).unwrap();
    assert!(bundle.matches("BEGIN CERTIFICATE").count() > 100, "{} bytes", bundle.len());
    file_certificate(&world, "shop.example:5443", "ca.crt");
    bare("pull -q shop.example:5443/box").exits_with(1).complains("manifest unknown");
}

/// A proxy that wants a password joins the two ends: it learns no login, and the registry nothing of the proxy's password.
#[test]
fn a_proxy_with_a_password_only_joins() {
    let world = World::new();
    let registry = OwnRegistry::secure(&world, 5443, Door::Locked, Clients::Anybody);
    file_certificate(&world, "shop.example", "ca.crt");
    let proxy = Played::start(&world, 3128, |asked, connection| match asked.header("proxy-authorization") {
        // px:p@ss:word
        Some("Basic cHg6cEBzczp3b3Jk") if asked.line == "CONNECT shop.example:443" => join(connection, "127.0.0.1:5443"),
        Some("Basic cHg6cEBzczp3b3Jk") => reply(connection, "403 Forbidden", &[], ""),
        _ => reply(connection, "407 Proxy Authentication Required", &["Proxy-Authenticate: Basic realm=\"p\""], ""),
    });
    let through = |word: &str, line: &str| world.shell(&format!("export HTTPS_PROXY=http://px:{word}@127.0.0.1:3128; {line}"));
    let good = "p%40ss%3Aword";
    through("wrong", "printf secret | coracle login -u me --password-stdin shop.example").exits_with(1).complains("the proxy wants");
    through(good, "coracle pull -q other.example/x").exits_with(1).complains("the proxy refuses");
    through(good, "printf secret | coracle login -u me --password-stdin shop.example").succeeds();
    world.file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    world.coracle("build -q -t shop.example/box .").succeeds();
    through(good, "coracle push -q shop.example/box").succeeds();
    world.coracle("rmi shop.example/box").succeeds();
    through(good, "coracle pull -q shop.example/box").succeeds();
    assert_eq!(registry.blobs(), 3);

    let asked = proxy.asked();
    assert!(asked.len() > 4 && asked.iter().all(|asked| asked.line.starts_with("CONNECT ")), "{asked:#?}");
    assert!(asked.iter().all(|asked| asked.header("authorization").is_none()), "a login was shown to the proxy: {asked:#?}");
    assert!(!registry.log().contains("cHg6cEBzczp3b3Jk") && !registry.log().contains("p@ss"), "{}", registry.log());
}

/// A registry that trades the password for a lasting token: only the token is filed, and it is traded for others.
#[test]
fn an_identity_token_stands_for_the_password() {
    let world = World::new();
    let registry = OwnRegistry::start(&world, 5001, Door::Open);
    world.file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    world.coracle(&format!("build -q -t {}/box .", registry.address())).succeeds();
    world.coracle(&format!("push -q {}/box", registry.address())).succeeds();
    let gate = Played::start(&world, 5005, |asked, connection| match asked.header("authorization") {
        _ if asked.line.starts_with("POST /token") && asked.body.contains("refresh_token=lasting") => {
            reply(connection, "200 OK", &[], r#"{"access_token":"good"}"#);
        }
        // me:secret
        Some("Basic bWU6c2VjcmV0") if asked.line.starts_with("GET /token") => {
            reply(connection, "200 OK", &[], r#"{"token":"good","refresh_token":"lasting"}"#);
        }
        Some("Bearer good") if asked.path() == "/v2/" => reply(connection, "200 OK", &[], "{}"),
        Some("Bearer good") => {
            reply(connection, "307 Temporary Redirect", &[&format!("Location: http://127.0.0.1:5001{}", asked.path())], "");
        }
        _ => {
            let challenge = "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:5005/token\",service=\"gate\"";
            reply(connection, "401 Unauthorized", &[challenge], "");
        }
    });
    world.coracle("pull -q 127.0.0.1:5005/box").exits_with(1).complains("pull access denied");
    world.shell("printf wrong | coracle login -u me --password-stdin 127.0.0.1:5005").exits_with(1).complains("cannot log in");
    world.shell("printf secret | coracle login -u me --password-stdin 127.0.0.1:5005").succeeds().says("Login Succeeded");
    let filed = fs::read_to_string(home(&world).join(".docker/config.json")).unwrap();
    assert!(filed.contains("\"identitytoken\": \"lasting\"") && !filed.contains("bWU6c2VjcmV0"), "{filed}");
    let before = gate.asked().len();
    world.coracle("pull -q 127.0.0.1:5005/box").succeeds();
    let asked = gate.asked().split_off(before);
    let trade = asked.iter().find(|asked| asked.line.starts_with("POST /token")).unwrap();
    assert!(trade.body.contains("grant_type=refresh_token") && trade.body.contains("repository%3Abox%3Apull"), "{}", trade.body);
    assert!(!asked.iter().any(|asked| asked.header("authorization").is_some_and(|value| value.contains("Basic"))), "{asked:#?}");
    world.coracle("logout 127.0.0.1:5005").succeeds();
    assert!(!fs::read_to_string(home(&world).join(".docker/config.json")).unwrap().contains("lasting"));
    world.coracle("rmi 127.0.0.1:5005/box").succeeds();
    world.coracle("pull -q 127.0.0.1:5005/box").exits_with(1).complains("pull access denied");
}

/// Podman's file of logins is read where podman keeps it, for a part of a registry too, and the named one is stronger.
#[test]
fn logins_of_podman_are_good_here() {
    let world = World::new();
    let registry = OwnRegistry::start(&world, 5001, Door::Locked);
    let address = registry.address();
    world.file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    world.coracle(&format!("build -q -t {address}/shop/box .")).succeeds();
    let auth = |key: &str, word: &str| format!(r#"{{"auths":{{"{key}":{{"auth":"{word}"}}}}}}"#);
    let (good, bad) = ("bWU6c2VjcmV0", "bWU6d3Jvbmc=");
    let push = |more: &str| world.shell(&format!("export XDG_RUNTIME_DIR=$PWD/run {more}; coracle push -q {address}/shop/box"));
    push("").exits_with(1).complains("push access denied");
    world.file("run/containers/auth.json", &auth(&format!("{address}/other"), good));
    push("").exits_with(1).complains("push access denied");
    world.file("run/containers/auth.json", &auth(&format!("{address}/shop"), good));
    push("").succeeds();
    world.file("named.json", &auth(&address, bad));
    push("REGISTRY_AUTH_FILE=$PWD/named.json").exits_with(1).complains("push access denied");
    fs::remove_file(world.project().join("run/containers/auth.json")).unwrap();
    let place = home(&world).join(".config/containers");
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("auth.json"), auth(&address, good)).unwrap();
    push("").succeeds();
    world.file("broken.json", "{");
    push("REGISTRY_AUTH_FILE=$PWD/broken.json").exits_with(1).complains("cannot understand the logins in");
}

/// Mirrors in turn, another place for a part of a registry, other names, what is blocked; Docker's file beside ours.
#[test]
fn files_say_where_to_ask() {
    let world = World::new();
    let registry = OwnRegistry::start(&world, 5001, Door::Open);
    let address = registry.address();
    let rules = world.root().join("registries.conf");
    let base = fs::read_to_string(&rules).unwrap();
    world.coracle("pull -q busybox").succeeds();
    world.coracle(&format!("tag busybox {address}/team/box")).succeeds();
    world.coracle(&format!("push -q {address}/team/box")).succeeds();
    let with = |more: &str| fs::write(&rules, format!("{base}{more}")).unwrap();

    with(
        "[[registry]]\nprefix = \"*.shop.example\"\n[[registry.mirror]]\nlocation = \"127.0.0.1:1\"\n[[registry.mirror]]\nlocation = \"127.0.0.1:5001/team\"\n",
    );
    world.coracle("pull a.shop.example/box").succeeds().complains("mirror 127.0.0.1:1 did not help");
    with(&format!("[[registry]]\nprefix = \"shop.example/a\"\nlocation = \"{address}/team\"\n[aliases]\ntools = \"{address}/team/box\"\n"));
    world.coracle("pull -q shop.example/a/box").succeeds();
    world.coracle("pull -q tools").succeeds();
    with("[[registry]]\nprefix = \"shop.example\"\nblocked = true\n");
    world.coracle("pull -q shop.example/b/box").exits_with(1).complains("`shop.example` is blocked in registries.conf");
    with("[[registry]]\nprefix = \"shop.example\"\ncolour = 1\n");
    world.coracle("pull -q shop.example/box").exits_with(1).complains("registries.conf, line 7").complains("unknown field `colour`");

    fs::remove_file(&rules).unwrap();
    world.coracle("rmi -f busybox").succeeds();
    let docker = home(&world).join(".config/docker");
    fs::create_dir_all(&docker).unwrap();
    let port = base.split("10.0.2.2:").nth(1).unwrap().split('/').next().unwrap();
    fs::write(
        docker.join("daemon.json"),
        format!(r#"{{"registry-mirrors":["http://10.0.2.2:{port}"],"insecure-registries":["10.0.2.2:{port}"]}}"#),
    )
    .unwrap();
    world.coracle("pull -q busybox").succeeds();
    world.coracle(&format!("pull -q 10.0.2.2:{port}/library/busybox")).succeeds();
    fs::write(docker.join("daemon.json"), "{}").unwrap();
    world.coracle(&format!("pull -q 10.0.2.2:{port}/library/busybox")).exits_with(1).complains("does not speak TLS");
}
