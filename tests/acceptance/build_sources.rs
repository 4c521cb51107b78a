//! `build` from elsewhere: files behind addresses, repositories, archives on standard input, named contexts.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use crate::support::World;

/// The registry speaks HTTP, so it can be asked for a file, too.
fn address(world: &World) -> String {
    let rule = fs::read_to_string(world.root().join("registries.conf")).unwrap();
    format!("http://{}", rule.split("location = \"").nth(1).unwrap().split('/').next().unwrap())
}

/// The files of a build without a base image, as they lie in the directory `out`.
fn built(world: &World, arguments: &str) -> PathBuf {
    world.coracle(&format!("build --progress plain -o out {arguments}")).succeeds();
    world.project().join("out")
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A file behind an address has the name its address ends in, and nobody else may read it.
#[test]
fn a_file_comes_from_an_address() {
    let world = World::new();
    let url = address(&world);
    world.file("Dockerfile", &format!("FROM scratch\nADD {url}/v2/ /from/\nADD --chmod=0755 {url}/v2/ /named\n"));
    let out = built(&world, ".");
    assert_eq!(fs::read_to_string(out.join("from/v2")).unwrap().trim(), "{}");
    assert_eq!((mode(&out.join("from/v2")), mode(&out.join("named"))), (0o600, 0o755));
    let sum = "0".repeat(64);
    world.file("Dockerfile", &format!("FROM scratch\nADD --checksum=sha256:{sum} {url}/v2/ /x\n"));
    world.coracle("build .").exits_with(1).complains("digest mismatch").complains("Dockerfile:2:");
    world.file("Dockerfile", &format!("FROM scratch\nADD {url}/no/such/file /x\n"));
    world.coracle("build .").exits_with(1).complains("invalid response status 404");
}

/// A commit, a branch and a directory of a repository; its own `.git` only if that is wanted.
#[test]
fn a_repository_is_a_source_and_a_context() {
    if !Path::new("/usr/bin/git").exists() && !Path::new("/usr/local/bin/git").exists() {
        return;
    }
    let world = World::new();
    world.file("served/repo/Dockerfile", "FROM scratch\nCOPY sub /\n");
    world.file("served/repo/sub/file", "one\n");
    let git = |words: &[&str]| {
        let identity = ["git", "-c", "user.name=x", "-c", "user.email=x@y", "-C", "served/repo"];
        world.outside(&[identity.as_slice(), words].concat()).succeeds()
    };
    git(&["init", "-q", "-b", "main"]);
    git(&["add", "-A"]);
    git(&["commit", "-qm", "one"]);
    git(&["tag", "v1"]);
    world.file("served/repo/sub/file", "two\n");
    git(&["commit", "-qam", "two"]);
    let served = world.project().join("served");
    let served = served.to_str().unwrap();
    let words = [
        "git",
        "daemon",
        "--detach",
        "--export-all",
        "--listen=127.0.0.1",
        "--pid-file=served/pid",
        &format!("--base-path={served}"),
        served,
    ];
    world.outside(&words).succeeds();
    assert_eq!(fs::read_to_string(built(&world, "git://127.0.0.1/repo").join("file")).unwrap(), "two\n");
    assert_eq!(fs::read_to_string(built(&world, "git://127.0.0.1/repo#v1").join("file")).unwrap(), "one\n");
    assert_eq!(fs::read_to_string(built(&world, "git://127.0.0.1/repo?ref=v1").join("file")).unwrap(), "one\n");
    let piped = format!(
        "printf 'FROM scratch\\nCOPY file /part\\n' | {} build -o out -f - git://127.0.0.1/repo#v1:sub",
        crate::support::program().display()
    );
    world.outside(&["sh", "-c", &piped]).succeeds();
    assert_eq!(fs::read_to_string(world.project().join("out/part")).unwrap(), "one\n");
    let adds = "FROM scratch\nADD git://127.0.0.1/repo#v1:sub /a\nADD --keep-git-dir=true git://127.0.0.1/repo?ref=main /b\n";
    world.file("Dockerfile", adds);
    let out = built(&world, ".");
    assert_eq!(fs::read_to_string(out.join("a/file")).unwrap(), "one\n");
    assert_eq!(fs::read_to_string(out.join("b/sub/file")).unwrap(), "two\n");
    assert!(out.join("b/.git/HEAD").is_file() && !out.join("a/.git").exists());
    world.file("Dockerfile", "FROM scratch\nADD git://127.0.0.1/repo#nope /a\n");
    world.coracle("build .").exits_with(1).complains("repository does not contain ref nope");
    world.outside(&["sh", "-c", "kill $(cat served/pid)"]).succeeds();
}

/// What was fetched is kept for the next time, is listed, and goes when that is wanted; a build after that fetches it again.
#[test]
fn what_was_fetched_is_listed_and_goes() {
    if !Path::new("/usr/bin/git").exists() && !Path::new("/usr/local/bin/git").exists() {
        return;
    }
    let world = World::new();
    world.file("served/repo/file", "one\n");
    let script = "cd served/repo && git init -q -b main && git add -A && git -c user.name=x -c user.email=x@y commit -qm one && \
        cd .. && git daemon --detach --export-all --listen=127.0.0.1 --pid-file=pid --base-path=$PWD $PWD";
    world.outside(&["sh", "-c", script]).succeeds();
    let url = address(&world);
    // Such a directory used to lead out of the checkout, and was moved into the store.
    world.file("Dockerfile", &format!("FROM scratch\nADD git://127.0.0.1/repo?ref=main&subdir=../.. /a\nADD {url}/v2/ /b\n"));
    let kinds = || {
        let listed = world.coracle_with(&["builder", "du", "--format", "{{.Type}} {{.Description}}"]).succeeds().stdout;
        let mut found: Vec<String> = listed.lines().filter(|line| line.starts_with("source.")).map(str::to_owned).collect();
        found.sort();
        found
    };
    let places = || -> Vec<usize> {
        let count = |name: &str| fs::read_dir(world.root().join("build").join(name)).map_or(0, |found| found.count());
        ["git", "checkouts"].map(count).to_vec()
    };
    for filter in ["source.git.checkout", "source.http", "source.git"] {
        let out = built(&world, "--no-cache .");
        assert_eq!(fs::read_to_string(out.join("a/file")).unwrap(), "one\n");
        let all = kinds();
        let starts: Vec<bool> = ["source.git git://", "source.git.checkout git://", "source.http http://"]
            .map(|start| all.iter().any(|line| line.starts_with(start)))
            .to_vec();
        assert_eq!((starts, places()), (vec![true; 3], vec![1, 1]), "{all:?}");
        world.coracle(&format!("builder prune -f --filter type={filter}")).succeeds();
        assert!(kinds().len() == 2 && kinds().iter().all(|line| !line.starts_with(&format!("{filter} "))), "{filter}: {:?}", kinds());
    }
    built(&world, "--no-cache .");
    world.coracle("builder prune -af").succeeds();
    assert_eq!((kinds(), places()), (vec![], vec![0, 0]));
    world.outside(&["sh", "-c", "kill $(cat served/pid)"]).succeeds();
}

/// A context may be an archive behind an address, or only a Dockerfile.
#[test]
fn a_context_is_behind_an_address() {
    let world = World::new();
    world.file("there/Dockerfile", "FROM scratch\nCOPY file /\n");
    world.file("there/file", "fetched\n");
    world.file("srv/Dockerfile", "FROM scratch\nCOPY <<E /here\nalone\nE\n");
    world.outside(&["tar", "-czf", "srv/context.tar.gz", "-C", "there", "."]).succeeds();
    let srv = world.project().join("srv");
    world
        .coracle(&format!("run -d --name web --network host -v {}:/srv:ro busybox httpd -f -p 127.0.0.1:8098 -h /srv", srv.display()))
        .succeeds();
    crate::support::eventually(crate::support::seconds(20), || world.fetch("127.0.0.1:8098", "/Dockerfile"));
    assert_eq!(fs::read_to_string(built(&world, "http://127.0.0.1:8098/context.tar.gz").join("file")).unwrap(), "fetched\n");
    assert_eq!(fs::read_to_string(built(&world, "http://127.0.0.1:8098/Dockerfile").join("here")).unwrap(), "alone\n");
    assert!(built(&world, "-f http://127.0.0.1:8098/Dockerfile there").join("here").is_file());
    world.coracle("build http://127.0.0.1:8098/none.tar").exits_with(1).complains("invalid response status 404");
}

/// What comes over standard input is a whole context, or only a Dockerfile.
#[test]
fn a_context_comes_over_standard_input() {
    let world = World::new();
    world.file("there/Dockerfile", "FROM scratch\nCOPY file /\n");
    world.file("there/file", "piped\n");
    let program = crate::support::program();
    let piped = |script: &str| world.outside(&["sh", "-c", &script.replace("CORACLE", program.to_str().unwrap())]);
    for how in ["-c", "-cz", "-cj", "-cJ"] {
        let made = piped(&format!("tar {how} -C there . >archive && rm -rf out && CORACLE build -o out - <archive"));
        // Not every machine has all programs that compress.
        if made.status.success() {
            assert_eq!(fs::read_to_string(world.project().join("out/file")).unwrap(), "piped\n", "{how}");
        } else {
            assert!(made.stderr.contains("tar"), "{}", made.told());
        }
    }
    piped("printf 'FROM scratch\\nCOPY <<E /here\\nhello\\nE\\n' | CORACLE build -o alone -").succeeds();
    assert_eq!(fs::read_to_string(world.project().join("alone/here")).unwrap(), "hello\n");
    piped("printf 'FROM scratch\\nCOPY file /\\n' | CORACLE build -f - -o other there").succeeds();
    assert!(world.project().join("other/file").is_file());
    piped(": | CORACLE build -").exits_with(1).complains("cannot read the build context from standard input");
}

/// Names for directories and images, which stand in for stages and bases.
#[test]
fn contexts_have_names() {
    let world = World::new();
    world.file("other/file", "other\n");
    world.file("Dockerfile", "FROM base AS one\nCOPY --from=files file /\nFROM scratch\nCOPY --from=one /file /etc/passwd /\n");
    let out = built(&world, "--build-context files=other --build-context base=docker-image://busybox .");
    assert_eq!(fs::read_to_string(out.join("file")).unwrap(), "other\n");
    assert!(fs::read_to_string(out.join("passwd")).unwrap().starts_with("root:"));
}

/// Each platform has an image of its own, in a directory of its own.
#[test]
fn several_platforms_are_built_at_once() {
    let world = World::new();
    world.file("Dockerfile", "FROM scratch\nARG TARGETARCH\nCOPY <<E /platform\n$TARGETARCH\nE\n");
    let out = built(&world, "--platform linux/amd64,linux/arm64 .");
    for architecture in ["amd64", "arm64"] {
        assert_eq!(fs::read_to_string(out.join(format!("linux_{architecture}/platform"))).unwrap().trim(), architecture);
    }
    world.file("Dockerfile", "FROM scratch\nRUN [\"/nothing\"]\n");
    world.coracle("build --platform linux/s390x .").exits_with(1).complains("cannot run a command of linux/s390x on this machine");
    world.coracle("build --platform linux/what/is/this .").exits_with(1).complains("cannot parse platform specifier");
}
