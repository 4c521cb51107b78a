"""Commands timed, and the table of what was found."""

import http.client
import os
import shutil
import statistics
import subprocess
import sys
import time

import world

table = []
environment = dict(os.environ)
runs = 15


def say(text):
    print("    " + text, file=sys.stderr, flush=True)


def installed(program):
    return shutil.which(program) is not None


def command(words, directory="/", extra=None, **more):
    more = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **more}
    return subprocess.run(words, cwd=directory, env={**environment, **(extra or {})}, **more)


def fault(words, status, told):
    line = " ".join(told.decode(errors="replace").split())
    return RuntimeError(f"{' '.join(words[:6])}: exit {status}: {line[-300:]}")


def once(words, accept=(0,), **more):
    """Milliseconds; what the command says is left aside unless it fails."""
    begun = time.perf_counter()
    done = command(words, **more)
    took = (time.perf_counter() - begun) * 1000
    if done.returncode not in accept:
        raise fault(words, done.returncode, done.stderr)
    return took


def answer(words, **more):
    done = command(words, stdout=subprocess.PIPE, **more)
    if done.returncode != 0:
        raise fault(words, done.returncode, done.stderr)
    return done.stdout.decode()


def median(words, number=None, before=None, **more):
    """Of as many runs as were asked for, or as half a minute has; `before` is called with the number of the run, untimed."""
    times = []
    for turn in range(number or runs):
        if sum(times) > 30000:
            break
        if before:
            before(turn)
        times.append(once(words, **more))
    return statistics.median(times)


def used(words, directory="/", extra=None):
    """Wall time in ms, CPU time in s of the whole world, peak memory in MiB of the largest process of the command."""
    # What was written before is none of its business.
    os.sync()
    before, begun = world.cpu_seconds(), time.perf_counter()
    child = subprocess.Popen(words, cwd=directory, env={**environment, **(extra or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    told = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    took = (time.perf_counter() - begun) * 1000
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise fault(words, child.returncode, told)
    return took, world.cpu_seconds() - before, usage.ru_maxrss / 1024


def attempt(measure):
    """What fails is left out of the table and said."""
    try:
        return measure()
    except (RuntimeError, OSError, KeyError, ValueError, IndexError, subprocess.SubprocessError) as error:
        say(f"left out: {error}")
        return None


def load():
    with open("/proc/loadavg") as file:
        return float(file.read().split()[0])


def shown(value, unit):
    """Ratios are about hundredths."""
    return f"{value:.{2 if unit in ('x', '') else 1}f} {unit}".strip()


def row(name, limit=None, unit="ms", **found):
    """`limit` is in the row's unit, for ours."""
    found = {who: value for who, value in found.items() if value is not None}
    say(f"{name}: " + (", ".join(f"{who} {value:.1f}" for who, value in found.items()) or "nothing"))
    table.append((name, limit, unit, found, load()))


def page(port=18000, host="127.0.0.1", limit=30):
    """Waits until there is an answer."""
    end = time.perf_counter() + limit
    while time.perf_counter() < end:
        try:
            connection = http.client.HTTPConnection(host, port, timeout=5)
            connection.request("GET", "/")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.002)
    raise RuntimeError(f"no answer from {host}:{port}")


def print_table():
    """Ours first, then all the others with the ratio to ours; `load` is the machine's when the row was done."""
    others = []
    for _, _, _, found, _ in table:
        others += [name for name in found if name not in others and name != "coracle"]
    print("| measure | limit | coracle | " + "".join(name + " | " for name in others) + "load |")
    print("|---|---:|---:|" + "---:|" * len(others) + "---:|")
    for measure, limit, unit, found, busy in table:
        ours = found.get("coracle")
        missed = limit is not None and ours is not None and ours > limit
        cells = ["" if limit is None else f"{limit} {unit}", "" if ours is None else f"{'**' if missed else ''}{shown(ours, unit)}{'** missed' if missed else ''}"]
        for name in others:
            value = found.get(name)
            ratio = f" ({value / ours:.1f}x)" if value is not None and ours else ""
            cells.append("" if value is None else shown(value, unit) + ("" if unit == "x" else ratio))
        print(f"| {measure} | " + " | ".join(cells) + f" | {busy:.1f} |")


def print_machine():
    """What it was measured on."""
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), os.uname().machine)
    print(f"\n{os.cpu_count()} cores ({model}), Linux {os.uname().release}, {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') >> 30} GiB, load {load():.1f} at the end; {runs} runs each")
