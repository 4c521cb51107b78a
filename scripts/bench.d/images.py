"""Images: pulled, pushed, listed."""

import world
from measure import attempt
from measure import command
from measure import installed
from measure import median
from measure import once
from measure import row
from measure import say
from measure import used

# Text that compresses like text, in files of the sizes that files have; each layer its own.
MAKE_FILES = """
import os, random, sys
layer = int(sys.argv[1])
dice = random.Random(layer)
words = ["".join(dice.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(dice.randint(2, 9))) for _ in range(3000)]
for number in range(2300):
    directory = f"/data/{layer}/{number % 40}"
    os.makedirs(directory, exist_ok=True)
    size = dice.choice([300, 900, 2000, 5000, 12000, 40000, 200000])
    with open(f"{directory}/{number}", "w") as file:
        file.write(" ".join(dice.choice(words) for _ in range(size // 6))[:size])
"""


def parts(measured):
    """Wall time, CPU time and memory of each, as three rows' values."""
    return [{who: value[part] for who, value in measured.items() if value is not None} for part in range(3)]


def podman(ground, name):
    """With a store of its own: deleting before each pull would make the file system slow for the next."""
    return ["podman", "--root", f"{ground.work}/podman-{name}", "--runroot", f"{ground.work}/podman-run-{name}"]


def cold_pull(ground):
    found = {}
    image = ground.registry + "/library/python:3.13-slim"
    extra = {}

    def fresh(turn):
        extra.update(ground.root(f"cold-{turn}"))

    found["coracle"] = attempt(lambda: median(ground.coracle("pull", "-q", "python:3.13-slim"), 5, before=fresh, extra=extra))
    if installed("podman"):
        found["podman"] = attempt(lambda: sum(once([*podman(ground, f"cold-{turn}"), "pull", "-q", image]) for turn in range(3)) / 3)
    if ground.docker:
        # Builds of other groups hold layers of this image.
        command(["docker", "builder", "prune", "-a", "-f"])

        def forget(_):
            command(["docker", "image", "prune", "-a", "-f"])

        found["docker"] = attempt(lambda: median(["docker", "pull", "-q", image], 5, before=forget))
    row("cold pull of python:3.13-slim", 800, **found)


def big_image(ground):
    """About 900 MB in 12 layers and 23,000 files: built once, pushed and pulled with each compression."""
    place = ground.directory("big")
    world.write(place + "/make.py", MAKE_FILES)
    steps = "".join(f"RUN python3 /make.py {number}\n" for number in range(1, 10))
    world.write(place + "/Dockerfile", "FROM python:3.13-slim\nCOPY make.py /make.py\n" + steps)
    image, dense = ground.registry + "/bench/big:gzip", ground.registry + "/bench/big:zstd"
    say("building the big image")
    once(ground.coracle("build", "-q", "--network", "none", "-t", image, "-t", dense, place))
    pushes, pulls = {}, {}
    pushes["coracle"] = attempt(lambda: used(ground.coracle("push", "-q", image)))
    pushes["coracle, zstd"] = attempt(lambda: used(ground.coracle("push", "-q", "--compression", "zstd", dense)))
    pulls["coracle"] = attempt(lambda: used(ground.coracle("pull", "-q", image), extra=ground.root("big-1")))
    pulls["coracle, zstd"] = attempt(lambda: used(ground.coracle("pull", "-q", dense), extra=ground.root("big-2")))
    # Each to a registry that has nothing of it: what is there already would not be sent.
    if installed("podman"):
        words = podman(ground, "big")
        pulls["podman"] = attempt(lambda: used([*words, "pull", "-q", image]))
        other = ground.empty_registry() + "/bench/big:1"
        once([*words, "tag", image, other])
        pushes["podman"] = attempt(lambda: used([*words, "push", "-q", "--tls-verify=false", "--compression-format=gzip", other]))
    if ground.docker:
        pulls["docker"] = attempt(lambda: used(["docker", "pull", "-q", image]))
        other = ground.empty_registry() + "/bench/big:1"
        once(["docker", "tag", image, other])
        pushes["docker"] = attempt(lambda: used(["docker", "push", "-q", other]))
    for what, limits, measured in (("push", (None, None, None), pushes), ("cold pull", (None, 5, 64), pulls)):
        wall, cpu, memory = parts(measured)
        row(f"{what} of the big image", limits[0], **wall)
        row(f"CPU time of that {what}", limits[1], "s", **cpu)
        # The daemon's is not the command's.
        memory.pop("docker", None)
        row(f"peak memory of that {what}", limits[2], "MiB", **memory)
    if pulls["coracle"]:
        better = min([pulls[who][0] for who in ("podman", "docker") if pulls.get(who)], default=None)
        if better:
            row("that pull over a quarter of the better peer's", 1, "x", coracle=pulls["coracle"][0] / (better / 4))


def many_images(ground):
    extra = ground.root("many-images")
    found = {}
    once(ground.coracle("pull", "-q", "busybox"), extra=extra)
    for number in range(200):
        once(ground.coracle("tag", "busybox", f"bench/many:{number}"), extra=extra)
    found["coracle"] = median(ground.coracle("images"), extra=extra)
    for name in ("docker", "podman"):
        if name == "docker" and not ground.docker or not installed(name):
            continue

        def listed(name=name):
            image = "docker.io/library/busybox"
            once([name, "pull", "-q", image])
            for number in range(200):
                once([name, "tag", image, f"bench/many:{number}"])
            return median([name, "images"])

        found[name] = attempt(listed)
        command([name, "rmi", *[f"bench/many:{number}" for number in range(200)]])
    row("images, with 200 of them", 10, **found)


def measure_all(ground):
    attempt(lambda: cold_pull(ground))
    attempt(lambda: big_image(ground))
    attempt(lambda: many_images(ground))
