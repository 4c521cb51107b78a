//! `compose build`: every attribute of `build:`, and services that are built from each other.

use crate::support::World;

const EVERYTHING: &str = r#"
name: every
services:
  web:
    image: every-web
    build:
      context: web
      dockerfile: Dockerfile.web
      target: done
      args: { FLAVOUR: salt }
      labels: { org.example.kind: page }
      tags: ["every-web:second"]
      network: none
      shm_size: 1m
      ulimits: { nofile: 123 }
      extra_hosts: ["db.test:10.1.2.3"]
      platforms: ["linux/amd64"]
      additional_contexts:
        files: ./files
        base: service:base
      secrets: [token]
      no_cache_filter: [other]
      isolation: default
  base:
    build:
      dockerfile_inline: |
        FROM busybox
        RUN echo ground > /ground
secrets:
  token: { environment: TOKEN_OF_THE_TEST }
"#;

const WEB: &str = r#"FROM base AS done
ARG FLAVOUR
COPY --from=files file /
RUN --mount=type=secret,id=token (echo $FLAVOUR; cat /ground /file; wc -c < /run/secrets/token; stat -f -c %b /dev/shm; ulimit -n; \
    grep -c db.test /etc/hosts; ls /sys/class/net) > /seen
FROM done AS never
RUN exit 1
"#;

/// What a service's `build:` says is what its image shows; what it is built from is built before.
#[test]
fn every_attribute_of_build_is_carried_out() {
    let world = World::with_file(EVERYTHING);
    world.file("web/Dockerfile.web", WEB);
    world.file("files/file", "file\n");
    let program = crate::support::program();
    let build = format!("TOKEN_OF_THE_TEST=secret {} compose build web", program.display());
    let told = world.outside(&["sh", "-c", &build]).succeeds();
    assert!(!told.stderr.contains("not carried out"), "{}", told.told());
    let seen = world.coracle("run --rm every-web cat /seen").succeeds();
    assert_eq!(seen.stdout, "salt\nground\nfile\n6\n256\n123\n1\nlo\n");
    let labels = world.coracle("inspect --format {{.Config.Labels}} every-web:second").succeeds();
    labels.says("org.example.kind:page");
}

/// A stage that two services have in common is built once, and both are built at the same time.
#[test]
fn what_services_share_is_built_once() {
    let stage = "FROM busybox AS shared\nRUN cat /proc/sys/kernel/random/uuid > /shared\n";
    let world = World::with_file(
        "name: pair\nservices:\n  one: { build: { context: ., target: one } }\n  two: { build: { context: ., target: two } }\n",
    );
    world.file("Dockerfile", &format!("{stage}FROM shared AS one\nRUN echo 1 > /own\nFROM shared AS two\nRUN echo 2 > /own\n"));
    world.run("build").succeeds();
    let inside = |image: &str| world.coracle(&format!("run --rm {image} cat /shared /own")).succeeds().stdout;
    let (one, two) = (inside("pair-one"), inside("pair-two"));
    assert_eq!(one.lines().next(), two.lines().next());
    assert_eq!((one.lines().nth(1), two.lines().nth(1)), (Some("1"), Some("2")));
}

/// What cannot be is refused by name, before anything is built.
#[test]
fn what_cannot_be_is_refused_by_name() {
    let world = World::with_file("name: no\nservices:\n  one: { build: { context: ., isolation: hyperv } }\n");
    world.file("Dockerfile", "FROM busybox\nCMD sleep\n");
    world.run("build").exits_with(1).complains("cannot build service `one`").complains("build.isolation: hyperv");
    world.file("compose.yaml", "name: no\nservices:\n  one: { build: { context: https://127.0.0.1:9/x.tar.gz } }\n");
    world.run("build").exits_with(1).complains("cannot fetch `https://127.0.0.1:9/x.tar.gz`");
    world.file(
        "compose.yaml",
        "name: no\nservices:\n  one: { build: { context: ., secrets: [{ source: s, mode: 0444 }] } }\nsecrets: { s: { file: Dockerfile } }\n",
    );
    world.run("build").succeeds().complains("owner and mode of `s` are not carried out");
    world.file("compose.yaml", "name: no\nservices:\n  one: { build: . }\n");
    world.run("build --check").exits_with(1).says("one:").says("JSONArgsRecommended");
}

/// Secrets and arguments used to come from the process' environment only, and not from `.env`.
#[test]
fn secrets_and_arguments_come_from_the_projects_environment() {
    let compose = "name: env\nservices:\n  one: { build: { context: ., args: [FIRST], secrets: [token] } }\nsecrets:\n  token: { environment: TOKEN }\n";
    let world = World::with_file(compose);
    world.file(".env", "TOKEN=tuna-sandwich-0815\nFIRST=1\nSECOND=2\n");
    world.file(
        "Dockerfile",
        "FROM busybox\nARG FIRST SECOND\nRUN --mount=type=secret,id=token wc -c </run/secrets/token >/seen; echo $FIRST $SECOND >>/seen\n",
    );
    world.run("build --build-arg SECOND").succeeds();
    assert_eq!(world.coracle("run --rm env-one cat /seen").succeeds().stdout, "18\n1 2\n");
    let found = world.outside(&["grep", "-rlF", "tuna-sandwich", world.root().to_str().unwrap()]);
    assert_eq!(found.stdout, "", "{}", found.told());
}

/// `--build` of up, create and run makes the image anew before it is used.
#[test]
fn what_is_used_is_built_before() {
    let world = World::with_file("name: anew\nservices:\n  web: { build: ., command: sleep 1000, stop_grace_period: 0s }\n");
    let dockerfile = |word: &str| world.file("Dockerfile", &format!("FROM busybox\nRUN echo {word} >/word\n"));
    dockerfile("one");
    world.run("up -d").succeeds();
    let word = || world.container("web").sh("cat /word").stdout.trim().to_owned();
    let first = world.container("web").id().to_owned();
    assert_eq!(word(), "one");
    dockerfile("two");
    world.run("up -d").succeeds();
    assert_eq!((world.container("web").id(), word().as_str()), (first.as_str(), "one"), "without the flag it is left alone");
    world.run("up -d --build").succeeds();
    assert_eq!(word(), "two");
    assert_ne!(world.container("web").id(), first.as_str());
    dockerfile("three");
    let told = world.run("run --rm --build web cat /word").succeeds();
    assert!(told.stdout.contains("three"), "{}", told.told());
    dockerfile("four");
    world.run("create --build").succeeds();
    world.run("up -d").succeeds();
    assert_eq!(word(), "four");
    dockerfile("five\nRUN exit 9");
    world.run("up -d --build").exits_with(1).complains("exit code: 9");
    assert_eq!(word(), "four", "what runs is left alone when the build fails");
}
