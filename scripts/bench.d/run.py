"""One container, from nothing to its end."""

import json
import os
import shutil
import subprocess

from measure import answer
from measure import attempt
from measure import command
from measure import installed
from measure import median
from measure import once
from measure import row


def bundle(ground):
    """A directory that crun and runc run: busybox, true."""
    place = ground.directory("bundle")
    root = place + "/rootfs"
    for name in ("bin", "proc", "sys", "dev"):
        os.makedirs(f"{root}/{name}")
    shutil.copy(shutil.which("busybox"), root + "/bin/busybox")
    os.symlink("busybox", root + "/bin/true")
    subprocess.run(["crun" if installed("crun") else "runc", "spec"], cwd=place, check=True)
    with open(place + "/config.json") as file:
        config = json.load(file)
    config["process"].update(terminal=False, args=["true"])
    config["process"].pop("rlimits", None)
    with open(place + "/config.json", "w") as file:
        json.dump(config, file)
    return place


def run_true(ground):
    found = {}
    once(ground.coracle("run", "--rm", "busybox", "true"))
    found["coracle"] = attempt(lambda: median(ground.coracle("run", "--rm", "busybox", "true")))
    if installed("podman"):
        once(["podman", "pull", "-q", "docker.io/library/busybox"])
        plain = ["podman", "run", "--rm", "docker.io/library/busybox", "true"]
        # A host of both cgroup versions is too much for some of them: then without cgroups, which only makes it faster.
        bare = ["podman", "run", "--rm", "--cgroups=disabled", "docker.io/library/busybox", "true"]
        found["podman"] = attempt(lambda: median(plain, 8)) or attempt(lambda: median(bare, 8))
    if ground.docker:
        once(["docker", "pull", "-q", "busybox"])
        found["docker"] = attempt(lambda: median(["docker", "run", "--rm", "busybox", "true"]))
    row("run --rm busybox true", 25, **found)


def run_bare(ground):
    """What crun and runc do, which know no images, networks or logs."""
    found = {"coracle": attempt(lambda: median(ground.coracle("run", "--rm", "--network", "none", "busybox", "true")))}
    if installed("crun") or installed("runc"):
        place = attempt(lambda: bundle(ground))
        for name, words in (("crun", ["crun", "--cgroup-manager=disabled", "run"]), ("runc", ["runc", "run"])):
            if installed(name) and place:
                found[name] = attempt(lambda: median([*words, "bench"], directory=place))
    if ground.docker:
        found["docker"] = attempt(lambda: median(["docker", "run", "--rm", "--network", "none", "busybox", "true"]))
    row("run --rm --network none busybox true (crun, runc: a bundle)", None, **found)


def exec_true(ground):
    """Of a container that runs."""
    found = {}
    for name, words in (("coracle", ground.coracle()), ("docker", ["docker"] if ground.docker else None), ("podman", ["podman"] if installed("podman") else None)):
        if not words:
            continue
        image = "docker.io/library/busybox"
        started = attempt(lambda: answer([*words, "run", "-d", "--rm", image, "sleep", "1000"]).strip())
        if started:
            found[name] = attempt(lambda: median([*words, "exec", started, "true"]))
            command([*words, "rm", "-f", "-t", "0", started] if name == "podman" else [*words, "rm", "-f", started])
    row("exec true", None, **found)


def measure_all(ground):
    attempt(lambda: run_true(ground))
    attempt(lambda: run_bare(ground))
    attempt(lambda: exec_true(ground))
