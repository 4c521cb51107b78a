"""The others, told to use this world's directories and registry; each is there only where it is installed."""

import os
import shutil
import subprocess
import time

import measure
import world

# podman and buildah look into /etc for these; the world's /etc is its own.
STORAGE = '[storage]\ndriver = "overlay"\ngraphroot = "{work}/podman"\nrunroot = "{work}/podman-run"\n'
REGISTRIES = '[[registry]]\nprefix = "docker.io/library"\nlocation = "{registry}/library"\ninsecure = true\n[[registry]]\nprefix = "{registry}"\nlocation = "{registry}"\ninsecure = true\n'
CONTAINERS = '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'


def settle(work, registry):
    """Lets podman and buildah find their storage and the registry."""
    os.makedirs("/etc/containers/registries.conf.d", exist_ok=True)
    for name in os.listdir("/etc/containers/registries.conf.d"):
        os.remove("/etc/containers/registries.conf.d/" + name)
    for name, text in (("storage", STORAGE), ("registries", REGISTRIES), ("containers", CONTAINERS)):
        world.write(f"/etc/containers/{name}.conf", text.format(work=work, registry=registry))
    for leftover in ("/etc/containers/libpod.conf",):
        if os.path.exists(leftover):
            os.remove(leftover)


class Docker:
    """A daemon with a data root of its own; `None` instead where there is none or it does not start."""

    def __init__(self, work, registry):
        self.root = work + "/docker"
        config = self.root + "/config"
        os.makedirs(config)
        # Plugins beside a daemon that was unpacked elsewhere.
        prefix = os.path.dirname(os.path.dirname(os.path.realpath(shutil.which("dockerd"))))
        world.write(config + "/config.json", f'{{"cliPluginsExtraDirs": ["{prefix}/libexec/docker/cli-plugins"]}}')
        measure.environment.update(DOCKER_CONFIG=config, DOCKER_HOST=f"unix://{self.root}/socket")
        words = ["dockerd", "--data-root", self.root + "/data", "--exec-root", self.root + "/exec", "--host", f"unix://{self.root}/socket", "--pidfile", self.root + "/pid",
                 "--storage-driver", "overlay2", "--registry-mirror", "http://" + registry, "--insecure-registry", "127.0.0.0/8"]
        with open(work + "/dockerd.log", "w") as log:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def answers(self):
        end = time.monotonic() + 20
        while time.monotonic() < end and self.process.poll() is None:
            if measure.command(["docker", "version"]).returncode == 0:
                return True
            time.sleep(0.1)
        return False

    def stop(self):
        self.process.terminate()
        self.process.wait()


def docker(work, registry):
    if not measure.installed("dockerd") or not measure.installed("docker"):
        return None
    daemon = Docker(work, registry)
    if daemon.answers():
        return daemon
    measure.say("docker is left out: dockerd does not start")
    with open(work + "/dockerd.log") as log:
        measure.say(log.read().strip()[-300:])
    return None


def has_plugin(name):
    return measure.command(["docker", name, "version"]).returncode == 0
