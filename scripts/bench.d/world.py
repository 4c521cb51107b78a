"""A world for the measuring: namespaces, cgroups, a registry and a way out of its own, and nothing of it afterwards.

    outside                                    inside: PID 1 of the world
    ───────                                    ──────
    makes a directory and cgroups
    unshare ─────────────────────────────────▶ disk, mounts, loopback, registry
    slirp4netns into the world ◀── "ready" ─── (waits for tap0)
                                               measures, prints the table
    removes directory and cgroups ◀─── end ───

Daemons, links, firewall rules and mounts of all that are measured end with PID 1. Whatever is written goes to a file with
a fresh ext4, made for this: on one that has just lost many files it is up to ten times as dear to make one, and the next to
work on this machine would feel what we have removed.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time


# ---- outside ----

def hierarchies():
    """Of the mounted cgroups: mount point, our own place in it, type and controllers."""
    places = {}
    with open("/proc/self/cgroup") as file:
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            places[controllers] = path
    found = []
    with open("/proc/self/mounts") as file:
        for line in file:
            _, point, kind, options, *_ = line.split()
            if kind == "cgroup2":
                # Where processes are, nothing can be handed on to groups below; at the root it can.
                found.append((point, "/", kind, ""))
            elif kind == "cgroup":
                for controllers, path in places.items():
                    if controllers and set(controllers.split(",")) <= set(options.split(",")):
                        found.append((point, path, kind, controllers))
    return found


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def make_cgroups(name):
    made = []
    for point, path, kind, controllers in hierarchies():
        place = os.path.normpath(f"{point}/{path}/{name}")
        try:
            os.mkdir(place)
            if controllers == "cpuset":
                # A new cpuset is empty, and so would be all below it.
                for key in ("cpuset.cpus", "cpuset.mems"):
                    with open(os.path.join(os.path.dirname(place), key)) as file:
                        write(f"{place}/{key}", file.read())
                write(f"{place}/cgroup.clone_children", "1")
            made.append(place)
        except OSError as error:
            print(f"    no cgroup of its own in {point}: {error}", file=sys.stderr)
    return made


def remove_cgroups(places):
    for place in places:
        for directory, _, _ in os.walk(place, topdown=False):
            for _ in range(200):
                try:
                    os.rmdir(directory)
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    # Those who ended a moment ago are still on their way out.
                    time.sleep(0.02)
            else:
                print(f"    {directory} cannot be removed", file=sys.stderr)


def enter(places):
    for place in places:
        write(place + "/cgroup.procs", "0")


def way_out(holder, work):
    """Connects the world to what the host reaches; without it the rows that need a network are left out."""
    if not shutil.which("slirp4netns"):
        return None
    with open(work + "/slirp.log", "w") as log:
        return subprocess.Popen(["slirp4netns", "--configure", "--mtu=65520", "--netns-type=path", f"/proc/{holder}/ns/net", "tap0"],
                                stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def child_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return int(file.read().split()[0])


def open_world(program, arguments):
    """Runs `program PLACE arguments…` inside; returns its exit code."""
    work = tempfile.mkdtemp(prefix="coracle-bench.", dir="/var/tmp")
    places = make_cgroups(os.path.basename(work))
    holder = slirp = None
    try:
        holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "--ipc", "--uts", "--pid", "--cgroup", "--fork", "--mount-proc", "--kill-child", "--propagation", "private",
             sys.executable, "-B", program, work, *arguments],
            stdin=subprocess.PIPE, preexec_fn=lambda: enter(places))
        while not os.path.exists(work + "/ready") and holder.poll() is None:
            time.sleep(0.01)
        if holder.poll() is None:
            for place in places:
                os.makedirs(place + "/world", exist_ok=True)
                for pid in (holder.pid, child_of(holder.pid)):
                    write(place + "/world/cgroup.procs", str(pid))
            slirp = way_out(child_of(holder.pid), work)
        holder.stdin.close()
        return holder.wait()
    finally:
        # One who is impatient must not end the cleaning up.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        # The world's PID 1 goes with its parent, and everything with PID 1.
        for child in (holder, slirp):
            if child and child.poll() is None:
                child.kill()
                child.wait()
        remove_cgroups(places)
        shutil.rmtree(work, ignore_errors=True)


# ---- inside ----

def run(*words):
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)


DISK = "/run/bench"


def own_disk(place):
    """A fresh ext4 on DISK; on a host without loop devices a directory beside it."""
    os.mkdir(DISK)
    image = place + "/disk"
    with open(image, "wb") as file:
        file.truncate(32 << 30)
    try:
        run("mkfs.ext4", "-q", "-F", "-N", "3000000", image)
        # Else a thread of the kernel would go on making the file system while we measure.
        run("mount", "-o", "loop,noinit_itable", image, DISK)
    except (OSError, subprocess.CalledProcessError):
        print("    no disk of its own: files are made where others have been removed, which may be slow", file=sys.stderr)
        os.mkdir(place + "/files")
        run("mount", "--bind", place + "/files", DISK)


def own_mounts(place):
    """What is measured may write to /etc, /run and /var/lib: it finds there what the host has, and changes nothing."""
    resolver = os.path.realpath("/etc/resolv.conf")
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    own_disk(place)
    os.mkdir("/run/lock")
    for changed in ("/etc", "/var/lib"):
        layers = DISK + "/own" + changed
        os.makedirs(layers + "/upper")
        os.makedirs(layers + "/work")
        run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={changed},upperdir={layers}/upper,workdir={layers}/work", changed)
    os.makedirs(os.path.dirname(resolver), exist_ok=True)
    write(resolver, "nameserver 10.0.2.3\n")
    for point, _, kind, controllers in hierarchies():
        # Mounted anew, they begin at the group that this world was begun in. One file system twice on a place is refused.
        run("umount", point)
        run("mount", "-t", kind, *(["-o", controllers] if controllers else []), kind, point)


def settle(place):
    """Everything that a process inside can do for the world; returns when it can be measured in."""
    own_mounts(place)
    run("ip", "link", "set", "lo", "up")
    write(place + "/ready", "")
    # Closed when we are where we belong.
    sys.stdin.read()
    end = time.monotonic() + 5
    while time.monotonic() < end and subprocess.run(["ip", "link", "show", "tap0"], capture_output=True).returncode != 0:
        time.sleep(0.02)
    write("/proc/sys/net/ipv4/ip_forward", "1")


def serve(storage, port):
    """A registry on loopback; in cgroups of its own, as its work is nobody's we measure."""
    world = f"{DISK}/registry-{port}"
    write(world + ".yml", f'version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: "{storage}"}}\n  delete: {{enabled: true}}\n'
          f'http: {{addr: "127.0.0.1:{port}"}}\n')
    places = registry_cgroups()
    for place in places:
        os.makedirs(place, exist_ok=True)
    with open(world + ".log", "w") as log:
        subprocess.Popen(["docker-registry", "serve", world + ".yml"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
                         preexec_fn=lambda: enter(places))
    return f"127.0.0.1:{port}"


def serve_images(cache):
    """A registry with a copy of the base images."""
    storage = DISK + "/storage"
    shutil.copytree(cache + "/storage", storage, ignore=lambda place, names: [name for name in names if place.endswith("/repositories") and name != "library"])
    return serve(storage, 5000)


def registry_cgroups():
    return [point + "/registry" for point, _, kind, controllers in hierarchies() if kind == "cgroup2" or "cpuacct" in controllers]


def cpu_seconds():
    """Of all processes of the world but the registry, ended ones too: daemons have to be counted as commands are."""
    for point, _, kind, controllers in hierarchies():
        if kind == "cgroup" and "cpuacct" in controllers.split(","):
            used = [int(open(f"{place}/cpuacct.usage").read()) / 1e9 for place in (point, point + "/registry")]
            return used[0] - used[1]
    for point, _, kind, _ in hierarchies():
        if kind == "cgroup2":
            used = [int(re.search(r"usage_usec (\d+)", open(f"{place}/cpu.stat").read())[1]) / 1e6 for place in (point, point + "/registry")]
            return used[0] - used[1]
    raise OSError("no cgroup counts CPU time here")


def interrupted(*_):
    raise SystemExit(130)


signal.signal(signal.SIGTERM, interrupted)
