"""Measures Coracle beside the others. `scripts/bench` says how it is called."""

import os
import subprocess
import sys
import time

import builds
import compose
import images
import measure
import peers
import run
import world

GROUPS = {"run": run, "compose": compose, "images": images, "builds": builds}


def await_registry(address):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if subprocess.run(["curl", "-fsS", "--noproxy", "*", "-o", "/dev/null", f"http://{address}/v2/"], capture_output=True).returncode == 0:
            return address
        time.sleep(0.05)
    raise SystemExit("error: the registry does not answer")


class Ground:
    """What every group stands on."""

    def __init__(self, binary, repository, cache):
        self.work, self.binary, self.repository = world.DISK, binary, repository
        self.registry = await_registry(world.serve_images(cache))
        self.registries = 1
        self.docker = None

    def empty_registry(self):
        """What is pushed there has to be sent, whatever was pushed before."""
        self.registries += 1
        port = 5000 + self.registries
        return await_registry(world.serve(self.directory(f"storage-{port}"), port))

    def coracle(self, *words):
        return [self.binary, *words]

    def root(self, name):
        """A state directory that knows the registry; returns what makes a command use it."""
        place = f"{self.work}/{name}"
        os.makedirs(place)
        rule = '[[registry]]\nprefix = "docker.io/library"\nlocation = "{0}/library"\ninsecure = true\n[[registry]]\nprefix = "{0}"\nlocation = "{0}"\ninsecure = true\n'
        world.write(place + "/registries.conf", rule.format(self.registry))
        return {"CORACLE_ROOT": place}

    def directory(self, name):
        place = f"{self.work}/{name}"
        os.makedirs(place)
        return place


def inside(place, binary, repository, cache, runs, groups):
    world.settle(place)
    measure.runs = int(runs)
    ground = Ground(binary, repository, cache)
    measure.environment.update(ground.root("root"))
    measure.environment.update(HOME=ground.directory("home"), TMPDIR=ground.directory("tmp"))
    peers.settle(ground.work, ground.registry)
    ground.docker = peers.docker(ground.work, ground.registry)
    for name in groups:
        GROUPS[name].measure_all(ground)
    measure.row("static binary", 20, "MiB", coracle=os.stat(binary).st_size / 1048576)
    measure.print_table()
    measure.print_machine()
    if ground.docker:
        ground.docker.stop()


def outside(binary, repository, cache, words):
    runs = next((word for word in words if word.isdigit()), "15")
    groups = [word for word in words if not word.isdigit()] or list(GROUPS)
    unknown = [name for name in groups if name not in GROUPS]
    if unknown:
        raise SystemExit(f"error: there is no group {', '.join(unknown)}: there are {', '.join(GROUPS)}")
    raise SystemExit(world.open_world(os.path.abspath(__file__), ["--inside", binary, repository, cache, runs, *groups]))


def main(arguments):
    if len(arguments) > 1 and arguments[1] == "--inside":
        place, _, binary, repository, cache, runs, *groups = arguments
        inside(place, binary, repository, cache, runs, groups)
    else:
        binary, repository, cache, *words = arguments
        outside(binary, repository, cache, words)


main(sys.argv[1:])
