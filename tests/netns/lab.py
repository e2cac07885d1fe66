"""Hosts in network namespaces on one bridge, and the faults that can be put on them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]


class NoNamespaces(Exception):
    """This kernel or user can't make network namespaces; one line says why."""


def sh(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise NoNamespaces(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()[:200]}")
    return done.stdout


class Host:
    """One namespace with an address on the bridge, and at most one daemon in it."""

    def __init__(self, lab: "Lab", number: int, home: Path) -> None:
        self.name, self.address = f"h{number}", f"10.77.0.{number}"
        self.namespace, self.port = f"{lab.prefix}h{number}", f"{lab.prefix}p{number}"
        self.bridge, self.home = lab.bridge, home
        self.env = os.environ | {
            "FLEET_HOME": str(home),
            "FLEET_NAME": self.name,
            "FLEET_DISCOVERY": "mdns",
            "FLEET_LISTEN": "",
            "NO_COLOR": "1",
            "PYTHONSAFEPATH": "1",
            "PYTHONPATH": str(ROOT),
        }

    def inside(self, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.namespace, *words]

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        command = self.inside(sys.executable, "-m", "mesh", *map(str, words))
        return subprocess.run(
            command, env=self.env, capture_output=True, text=True, timeout=120, check=False
        )

    def ok(self, *words: object) -> str:
        done = self.run(*words)
        assert done.returncode == 0, f"{self.name} {words}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *words: object) -> Any:
        return json.loads(self.ok(*words, "-o", "json"))

    def start(self) -> "subprocess.Popen[str]":
        command = self.inside(sys.executable, "-m", "mesh", "up", "--detach")
        return subprocess.Popen(
            command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def up(self) -> None:
        self.ok("up", "--detach")

    def stop(self, how: int = signal.SIGTERM) -> None:
        with suppress(OSError, ValueError, KeyError):
            pid = int(json.loads((self.home / "daemon.json").read_text())["pid"])
            os.kill(pid, how)
            wait_until(lambda: ended(pid), f"the end of {self.name}'s daemon")
            (self.home / "daemon.json").unlink(missing_ok=True)

    def has(self, *texts: str) -> Callable[[], bool]:
        from mesh.edge.store.ledger import Reader

        def look() -> bool:
            reader = Reader.open(self.home)
            try:
                return {e.payload.get("text") for _, e in reader.events()}.issuperset(texts)
            finally:
                reader.close()

        return look

    def states(self) -> dict[str, str]:
        return {row["name"]: row["state"] for row in self.json("peers")}

    def plug(self, *, up: bool) -> None:
        """The cable: pulled at the bridge's side, so the host itself sees no change."""
        sh("ip", "-n", self.bridge, "link", "set", self.port, "up" if up else "down")

    def lose(self, percent: int) -> None:
        """Drop that share of what arrives; 0 drops nothing."""
        sh(*self.inside("nft", "flush", "ruleset"))
        if percent:
            sh(*self.inside("nft", "add", "table", "inet", "lossy"))
            sh(
                *self.inside(
                    "nft", "add chain inet lossy in { type filter hook input priority 0 ; }"
                )
            )
            sh(
                *self.inside(
                    "nft", f"add rule inet lossy in iif eth0 numgen random mod 100 < {percent} drop"
                )
            )

    def limit(self, kbit_per_s: int) -> None:
        """Send no faster than this; 0 lifts the limit."""
        with suppress(NoNamespaces):
            sh("tc", "-n", self.namespace, "qdisc", "del", "dev", "eth0", "root")
        if kbit_per_s:
            sh(
                "tc",
                "-n",
                self.namespace,
                "qdisc",
                "add",
                "dev",
                "eth0",
                "root",
                "tbf",
                "rate",
                f"{kbit_per_s}kbit",
                "burst",
                "16kb",
                "latency",
                "400ms",
            )


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


class Lab:
    """A bridge and its hosts. Names carry this process's number, so labs don't meet."""

    def __init__(self, folder: Path, count: int) -> None:
        self.prefix = f"fl{os.getpid() % 100_000}"
        self.bridge = f"{self.prefix}br"
        self.hosts = [Host(self, n, folder / f"h{n}") for n in range(1, count + 1)]

    def build(self) -> None:
        sh("ip", "netns", "add", self.bridge)
        sh("ip", "-n", self.bridge, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        sh("ip", "-n", self.bridge, "link", "set", "br0", "up")
        for host in self.hosts:
            self._add(host)

    def _add(self, host: Host) -> None:
        inside = ("ip", "-n", host.namespace)
        sh("ip", "netns", "add", host.namespace)
        sh(
            *inside,
            "link",
            "add",
            "eth0",
            "type",
            "veth",
            "peer",
            "name",
            host.port,
            "netns",
            self.bridge,
        )
        sh("ip", "-n", self.bridge, "link", "set", host.port, "master", "br0", "up")
        sh(*inside, "addr", "add", f"{host.address}/24", "dev", "eth0")
        sh(*inside, "link", "set", "eth0", "up", "multicast", "on")
        sh(*inside, "link", "set", "lo", "up")
        sh(*inside, "route", "add", "224.0.0.0/4", "dev", "eth0")

    def close(self) -> None:
        for host in self.hosts:
            host.stop()
        for name in [*(host.namespace for host in self.hosts), self.bridge]:
            with suppress(NoNamespaces):
                sh("ip", "netns", "del", name)


@contextmanager
def lab(folder: Path, count: int) -> Iterator[Lab]:
    """A lab that is gone afterwards; NoNamespaces where the kernel refuses."""
    made = Lab(folder, count)
    try:
        made.build()
        yield made
    finally:
        made.close()


def pair(hosts: list[Host]) -> None:
    """Start a daemon on every host; the first one's fleet takes the others in."""
    for process in [host.start() for host in hosts]:
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, said
    code = hosts[0].json("invite", "--uses", len(hosts))["code"]
    for host in hosts[1:]:
        host.ok("join", code, "--name", host.name)
    for host in hosts:
        wait_until(
            lambda host=host: list(host.states().values()).count("online") == len(hosts),
            f"{host.name} linked with everyone",
        )
