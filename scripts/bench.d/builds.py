"""Builds: cold, cached, nearly cached, wide."""

import os
import shutil
import time

import peers
import world
from measure import answer
from measure import attempt
from measure import command
from measure import installed
from measure import median
from measure import once
from measure import row
from measure import say
from measure import used

# tests/projects/web-redis without apt, and with its wheels beside it: no network in the way.
DOCKERFILE = """FROM python:3.13-slim
WORKDIR /code
ENV FLASK_APP=app.py
ENV FLASK_RUN_HOST=0.0.0.0
COPY wheels /wheels
COPY requirements.txt requirements.txt
RUN begun=$(date +%s%N); pip install --no-index --find-links /wheels -r requirements.txt && echo $((($(date +%s%N) - begun) / 1000)) >/took
EXPOSE 5000
COPY . .
CMD ["flask", "run", "--debug"]
"""


def builders(ground):
    """Who builds, and the words up to the tag."""
    found = {"coracle": ground.coracle("build", "-q")}
    if ground.docker and peers.has_plugin("buildx"):
        found["docker"] = ["docker", "buildx", "build", "-q", "--load"]
    if installed("buildah"):
        # As podman is told: some hosts' cgroups are too much for it.
        found["buildah"] = ["buildah", "build", "-q", "--layers", "--isolation", "oci"]
    return found


def each(ground, measured):
    return {name: attempt(lambda name=name, words=words: measured(name, words)) for name, words in builders(ground).items()}


def fetch_base(ground, image):
    """What a build begins with is there before it is measured."""
    once(ground.coracle("pull", "-q", image))
    if ground.docker:
        command(["docker", "pull", "-q", image])
    if installed("buildah"):
        command(["buildah", "pull", "-q", "docker.io/library/" + image])


def web(ground):
    """The project's directory, its wheels fetched."""
    place = ground.directory("web")
    for name in ("app.py", "requirements.txt", "greeting.txt"):
        shutil.copy(f"{ground.repository}/tests/projects/web-redis/{name}", place)
    os.mkdir(place + "/wheels")
    world.write(place + "/Dockerfile", DOCKERFILE)
    fetch_base(ground, "python:3.13-slim")
    say("fetching wheels")
    once(ground.coracle("run", "--rm", "-v", f"{place}:/code", "-w", "/code", "python:3.13-slim", "pip", "download", "-q", "-d", "wheels", "-r", "requirements.txt"))
    return place


def took_inside(ground, name):
    """Milliseconds that the RUN of the image just built has taken, by its own clock."""
    words = {"coracle": ground.coracle("run", "--rm", "--network", "none"), "docker": ["docker", "run", "--rm"]}.get(name)
    if words:
        return int(answer([*words, "web:1", "cat", "/took"])) / 1000
    container = answer(["buildah", "from", "web:1"]).strip()
    mounted = answer(["buildah", "mount", container]).strip()
    with open(mounted + "/took") as file:
        found = int(file.read()) / 1000
    command(["buildah", "rm", container])
    return found


def cold(ground, place):
    overhead, total = {}, {}

    def one(name, words):
        ratios, walls = [], []
        for _ in range(3):
            wall = once([*words, "--no-cache", "-t", "web:1", place])
            ratios.append(wall / took_inside(ground, name))
            walls.append(wall)
        overhead[name], total[name] = sorted(ratios)[1], sorted(walls)[1]

    each(ground, one)
    row("build of web, nothing cached", None, **total)
    row("that over its RUN by itself", 1.1, "x", **overhead)


def cached(ground, place):
    def one(name, words):
        once([*words, "-t", "web:1", place])
        return median([*words, "-t", "web:1", place])

    row("build of web, all cached", 20, **each(ground, one))

    def changed(name, words):
        def edit(turn):
            with open(place + "/app.py", "a") as file:
                file.write(f"# {name} {turn}\n")
        return median([*words, "-t", "web:1", place], before=edit)

    row("build of web, one file changed", 60, **each(ground, changed))


def wide_context(ground):
    place = ground.directory("wide")
    for directory in range(500):
        os.makedirs(f"{place}/files/{directory}")
        for number in range(100):
            world.write(f"{place}/files/{directory}/{number}.txt", f"{directory} {number}\n" * 20)
    world.write(place + "/Dockerfile", "FROM busybox\nCOPY files /files\n")
    fetch_base(ground, "busybox")
    first, again = {}, {}

    def one(name, words):
        first[name] = once([*words, "-t", "wide:1", place])
        again[name] = median([*words, "-t", "wide:1", place], 7)

    each(ground, one)
    row("build with a context of 50,000 files, the first", None, **first)
    row("the same again", 150, **again)


def stages(ground):
    """Independent stages of work that needs a core; how busy the cores were kept."""
    place = ground.directory("stages")
    work = "i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done"
    text = "".join(f"FROM busybox AS stage-{number}\nRUN {work}; echo {number} >/out\n" for number in range(64))
    text += "FROM busybox\n" + "".join(f"COPY --from=stage-{number} /out /out-{number}\n" for number in range(64))
    world.write(place + "/Dockerfile", text)
    fetch_base(ground, "busybox")
    begun = time.perf_counter()
    for _ in range(4):
        once(["busybox", "sh", "-c", work])
    alone = (time.perf_counter() - begun) * 1000 / 4 * 64 / os.cpu_count()
    walls, ratios, cores = {}, {}, {}

    def one(name, words):
        jobs = ["--jobs", "0"] if name == "buildah" else []
        wall, cpu, _ = used([*words, *jobs, "--no-cache", "-t", "stages:1", place])
        walls[name], ratios[name], cores[name] = wall, wall / alone, cpu / (wall / 1000)

    each(ground, one)
    row("build of 64 independent stages", None, **walls)
    row("that over their work on all cores", 1.15, "x", **ratios)
    row("cores busy meanwhile", None, "", **cores)


def measure_all(ground):
    def project():
        place = web(ground)
        cold(ground, place)
        cached(ground, place)

    attempt(project)
    attempt(lambda: stages(ground))
    attempt(lambda: wide_context(ground))
