"""Projects: loaded, planned, brought up, listed, taken down."""

import os
import shutil
import statistics
import subprocess
import time

import measure
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

SERVICE = """  service-{number}:
    image: busybox
    command: ["sleep", "{number}"]
    environment:
      NUMBER: "{number}"
      LEVEL: ${{LEVEL:-info}}
    labels:
      - example.number={number}
    ports:
      - "{port}:80"
    volumes:
      - data-{volume}:/data
      - ./settings:/settings:ro
    networks: [net-{network}]
    depends_on: [{before}]
    restart: unless-stopped
    healthcheck:
      test: ["CMD", "true"]
      interval: 1m30s
    deploy:
      resources:
        limits: {{cpus: "0.5", memory: 64M}}
"""


def web_redis(ground):
    place = ground.work + "/web-redis"
    shutil.copytree(ground.repository + "/tests/projects/web-redis", place)
    with open(place + "/compose.yaml") as file:
        text = file.read()
    world.write(place + "/compose.yaml", text.replace('"8000:', '"18000:'))
    with open(place + "/Dockerfile") as file:
        text = file.read()
    # BuildKit would fetch that front end; the registry here has none.
    world.write(place + "/Dockerfile", text.replace("# syntax=docker/dockerfile:1\n", ""))
    return place


def many_services(ground, number=500):
    place = ground.directory("many-services")
    text = "name: many\nservices:\n"
    for service in range(number):
        before = f"service-{service - 1}" if service % 10 else ""
        text += SERVICE.format(number=service, port=20000 + service, volume=service % 50, network=service % 10, before=before)
    text += "volumes:\n" + "".join(f"  data-{volume}:\n" for volume in range(50)) + "networks:\n" + "".join(f"  net-{network}:\n" for network in range(10))
    world.write(place + "/compose.yaml", text)
    os.mkdir(place + "/settings")
    return place


def composers(ground):
    """Who has a `compose`, and the words before its subcommand."""
    found = {"coracle": ground.coracle("compose")}
    if ground.docker and peers.has_plugin("compose"):
        found["docker"] = ["docker", "compose"]
    return found


def each(found, measured):
    return {name: attempt(lambda words=words: measured(words)) for name, words in found.items()}


def loading(ground, small):
    everybody = composers(ground)
    row("config of two services", 5, **each(everybody, lambda words: median([*words, "config"], directory=small)))
    many = many_services(ground)
    row("config of 500 services", 100, **each(everybody, lambda words: median([*words, "config"], directory=many)))
    once(ground.coracle("pull", "-q", "busybox"))
    if ground.docker:
        command(["docker", "pull", "-q", "busybox"])

    def plan(words):
        if words[0] == "docker":
            return median([*words, "--dry-run", "up", "-d"], 2, directory=many)
        return median([*words, "plan"], directory=many, accept=(2,))

    row("plan of 500 services (docker: up --dry-run)", 50, **each(everybody, plan))


def hundred_containers(ground):
    place = ground.directory("hundred")
    world.write(place + "/compose.yaml", "name: hundred\nservices:\n  one:\n    image: busybox\n    command: sleep 100000\n    scale: 100\n")
    rows = {"up of 100 containers": {}, "compose ps of 100 containers": {}, "ps of 100 containers": {}, "no-op up of 100 containers": {}, "down of 100 containers": {}}
    for name, words in composers(ground).items():
        def try_one(name=name, words=words):
            rows["up of 100 containers"][name] = once([*words, "up", "-d"], directory=place)
            rows["compose ps of 100 containers"][name] = median([*words, "ps"], directory=place)
            rows["ps of 100 containers"][name] = median([*words[:-1], "ps"])
            rows["no-op up of 100 containers"][name] = median([*words, "up", "-d"], 3, directory=place)
            rows["down of 100 containers"][name] = once([*words, "down", "-t", "0"], directory=place)
        attempt(try_one)
        command([*words, "down", "-t", "0"], directory=place)
    if installed("podman"):
        def podman():
            for number in range(100):
                once(["podman", "run", "-d", "--cgroups=disabled", "--name", f"hundred-{number}", "docker.io/library/busybox", "sleep", "100000"])
            return median(["podman", "ps"], 5)
        rows["ps of 100 containers"]["podman"] = attempt(podman)
        command(["podman", "rm", "-f", "-a", "-t", "0"])
    limits = {"compose ps of 100 containers": 20, "ps of 100 containers": 20}
    for measured, found in rows.items():
        row(measured, limits.get(measured), **found)


def pss(binary):
    """Of all processes that run our binary, in MiB."""
    total, seen = 0, 0
    ours = os.stat(binary)
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            program = os.stat(f"/proc/{name}/exe")
            if (program.st_dev, program.st_ino) != (ours.st_dev, ours.st_ino):
                continue
            with open(f"/proc/{name}/smaps_rollup") as file:
                total += next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
            seen += 1
        except OSError:
            continue
    if seen < 2:
        raise RuntimeError(f"{seen} processes of ours, not a guardian and a supervisor")
    return total / 1024


def to_first_answer(words, place):
    times = []
    for _ in range(5):
        command([*words, "down"], directory=place)
        begun = time.perf_counter()
        once([*words, "up", "-d"], directory=place)
        measure.page()
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


def application_alone(words, place):
    """Flask's own start: a second one in the running container, with redis up."""
    times = []
    address = answer([*words, "exec", "-T", "web", "hostname", "-i"], directory=place).split()[0]
    for port in range(5101, 5104):
        begun = time.perf_counter()
        server = subprocess.Popen([*words, "exec", "-T", "web", "flask", "run", "--debug", "--port", str(port)], cwd=place, env=measure.environment,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        measure.page(port, address)
        times.append((time.perf_counter() - begun) * 1000)
        server.terminate()
        server.wait()
    return statistics.median(times)


def one_project(words, place, binary):
    """The life of web-redis with one of the composers, by name of the row."""
    found = {}
    found["first build of web (pip, apt: the network's speed)"] = once([*words, "build"], directory=place)
    found["no-op build"] = attempt(lambda: median([*words, "build"], directory=place))
    found["up to HTTP 200"] = attempt(lambda: to_first_answer(words, place))
    found["the application's own start"] = attempt(lambda: application_alone(words, place))
    if found["up to HTTP 200"] and found["the application's own start"]:
        found["up to HTTP 200 above the application's own start"] = found["up to HTTP 200"] - found["the application's own start"]
    found["no-op up"] = attempt(lambda: median([*words, "up", "-d"], directory=place))
    if words[0] == binary:
        found["PSS of supervisor and guardian"] = attempt(lambda: pss(binary))

    def up(_):
        once([*words, "up", "-d"], directory=place)
        measure.page()

    found["down"] = attempt(lambda: median([*words, "down"], 7, before=up, directory=place))
    return found


def life(ground, place):
    everybody = {}
    for name, words in composers(ground).items():
        everybody[name] = attempt(lambda words=words: one_project(words, place, ground.binary)) or {}
        command([*words, "down", "-v"], directory=place)
    limits = {"no-op build": 50, "up to HTTP 200 above the application's own start": 100, "no-op up": 20, "PSS of supervisor and guardian": 6, "down": 150}
    for measured in everybody["coracle"]:
        unit = "MiB" if measured.startswith("PSS") else "ms"
        row(measured, limits.get(measured), unit, **{name: found.get(measured) for name, found in everybody.items()})


def measure_all(ground):
    small = web_redis(ground)
    attempt(lambda: loading(ground, small))
    attempt(lambda: hundred_containers(ground))
    attempt(lambda: life(ground, small))
    if not any(name == "no-op up" for name, *_ in measure.table):
        say("the life of a project was not measured")
