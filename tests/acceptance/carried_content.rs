//! Configs and secrets, from every source and with every owner and mode, as files of the container.

use crate::support::World;

const PROJECT: &str = "name: content
services:
  web:
    image: busybox
    command: sleep 1000
    user: \"7\"
    configs:
      - plain
      - {source: inline, target: /etc/deep/inline.conf, uid: \"7\", gid: \"8\", mode: 0440}
      - {source: told, target: relative}
    secrets:
      - token
      - {source: file, target: key, uid: \"7\", gid: \"9\", mode: \"0400\"}
      - {source: file, target: /srv/key}
  other: {image: busybox, command: sleep 1000, configs: [plain]}
configs:
  plain: {file: ./plain.conf}
  inline: {content: \"name=${COMPOSE_PROJECT_NAME} $$HOME\\n\"}
  told: {environment: TOLD}
secrets:
  token: {environment: TOKEN}
  file: {file: ./key.txt}
";

/// Files, variables and text; targets, owners and modes; on a tmpfs if they are not the host's own files.
#[test]
fn configs_and_secrets_are_files_of_the_container() {
    let world = World::with_file(PROJECT);
    world.file("plain.conf", "plain\n");
    world.file("key.txt", "key\n");
    world.file(".env", "TOKEN=s3cret\nTOLD=from a variable\n");
    world.run("up -d").succeeds();
    let web = world.container("web");
    assert_eq!(
        web.sh("cat /plain /etc/deep/inline.conf /run/secrets/key /srv/key").succeeds().stdout,
        "plain\nname=content $HOME\nkey\nkey\n"
    );
    assert_eq!(web.sh("cat /relative; echo; cat /run/secrets/token").succeeds().stdout, "from a variable\ns3cret");
    let told = web.sh("stat -c '%u %g %a' /etc/deep/inline.conf /run/secrets/key /run/secrets/token /relative").succeeds();
    assert_eq!(told.stdout, "7 8 440\n7 9 400\n0 0 444\n0 0 444\n");
    for place in ["/etc/deep/inline.conf", "/run/secrets/key", "/run/secrets/token", "/relative"] {
        let mount = web.mount(place);
        assert!(mount.contains(" ro,") && mount.contains(" - tmpfs "), "{mount}");
    }
    // A secret is in no record that others may read, and in no variable of the program.
    assert!(!web.proc("environ").contains("s3cret"));
    web.sh("echo x > /plain").complains("Read-only");

    // Only who has what changed is made anew, and told why.
    let other = world.container("other");
    world.run("up -d").succeeds();
    assert_eq!(world.container("web").id(), web.id());
    world.file(".env", "TOKEN=other\nTOLD=from a variable\n");
    world.run("plan").exits_with(2).says("recreate container content-web-1 (config changed: secret token)");
    world.run("up -d").succeeds();
    assert_ne!(world.container("web").id(), web.id());
    assert_eq!(world.container("other").id(), other.id());
    assert_eq!(world.container("web").sh("cat /run/secrets/token").succeeds().stdout, "other");
}

/// What is kept elsewhere, or made by others, is refused by name before anything is made.
#[test]
fn what_others_keep_is_refused() {
    let world = World::new();
    for (object, reason) in [
        ("{external: true}", "external secret `token`"),
        ("{file: ./x, driver: vault}", "`driver` of secret `token`"),
        ("{file: ./x, template_driver: golang}", "`template_driver` of secret `token`"),
        ("{file: ./missing}", "missing"),
        ("{file: /dev/zero}", "it is no plain file"),
    ] {
        world.file("x", "x");
        let text = format!(
            "services:\n  web: {{image: busybox, command: sleep 1, secrets: [{{source: token, uid: \"7\"}}]}}\nsecrets:\n  token: {object}\n"
        );
        world.file("compose.yaml", &text);
        world.run("up -d").exits_with(1).complains(reason);
        assert_eq!(world.coracle("images -q").succeeds().stdout, "");
    }
}
