"""Real sshds for a stand-in's machines: each has the host key and the login that its boot script
brings, as a container would have after running it; the script itself runs in test_boot_script."""

from __future__ import annotations

import asyncio
import base64
import random
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from providers.rental.contract import Reply
from tests.emulators import machines as life
from tests.emulators.base import Asked
from tests.emulators.machines import Machine
from tests.emulators.server import Server
from tests.support.sshd import Sshd

LOGIN = re.compile(r"^K='?(ssh-ed25519 [A-Za-z0-9+/=]+)", re.M)
HOST_KEY = re.compile(r"^echo ([A-Za-z0-9+/=]+) \| base64 -d > \S*fleet_host_key", re.M)
PACKED = re.compile(r"echo ([A-Za-z0-9+/=]{100,}) \| base64 -d > /tmp/fleet-boot.sh")
# A machine has what its image has: these llama.cpp (here our own wheel of it), others nothing.
WITH_LLAMACPP = ("ghcr.io/ggml-org/llama.cpp:full-cuda",)
QUICK = {"placed": (0, 1), "image": (0, 1), "container": (0, 1), "sshd": (0, 0), "engine": (0, 0)}


def script_of(one: Machine) -> str:
    """The boot script that a create brought, whatever its provider calls it."""
    for text in _texts(one.extra):
        packed = PACKED.search(text)
        script = base64.b64decode(packed[1]).decode() if packed else text
        if HOST_KEY.search(script):
            return script
    return ""


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


class Hosting:
    """An emulator behind a socket in a thread of its own, and an sshd for each of its machines."""

    def __init__(self, folder: Path, emulator: Any) -> None:
        self.folder, self.emulator = folder, emulator
        self.server = Server(emulator)
        self.sshds: dict[str, Sshd] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._handle = emulator.handle
        emulator.handle = self._handled
        emulator.machines.on_ended = self._ended

    def do(self, work: Any) -> Any:
        """What a coroutine of the server's comes to, or a call on its loop."""

        async def called() -> Any:
            return await work if asyncio.iscoroutine(work) else work()

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result(60)

    def _handled(self, now: int, asked: Asked, fault: str = "", by: str = "caller") -> Reply:
        reply: Reply = self._handle(now, asked, fault, by)
        for one in self.ours():
            if one.ended is None and "ssh" not in one.extra:
                self._begin(one)
        return reply

    def _begin(self, one: Machine) -> None:
        script = script_of(one)
        login, key = LOGIN.search(script), HOST_KEY.search(script)
        if login is None or key is None:
            return  # a person's own machine
        sshd = Sshd(self.folder / one.id)
        host = sshd.folder / "host"
        host.write_bytes(base64.b64decode(key[1]))
        made = subprocess.run(
            ["ssh-keygen", "-y", "-f", str(host)], check=True, capture_output=True, text=True
        )
        (sshd.folder / "host.pub").write_text(made.stdout)
        sshd.account("rented")
        mine = (sshd.folder / "key-rented.pub").read_text().strip()
        known = sshd.folder / "authorized_keys"
        known.write_text(known.read_text().replace(mine, login[1]))
        if one.extra.get("image") in WITH_LLAMACPP:
            (sshd.home("rented") / "venv").symlink_to(sys.prefix)
        sshd.start()
        self.sshds[one.id] = sshd
        one.extra["ssh"] = ("127.0.0.1", sshd.port)

    def _ended(self, one: Machine, now: int) -> None:
        sshd = self.sshds.pop(one.id, None)
        if sshd is not None:
            sshd.stop()
            self._end_all(sshd.folder)

    def _end_all(self, folder: Path) -> None:
        """What runs on a machine ends with it; its processes are those whose words name its
        folder, and their children."""
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if any(str(folder) in word for word in words):
                _kill(process)

    def where(self, one: Machine) -> tuple[str, int]:
        """Where a machine's sshd answers."""
        found: Any = one.extra.get("ssh", ("203.0.113.1", 22))
        return found

    def ours(self) -> list[Machine]:
        """The machines that carry a label of a fleet's."""
        return [one for one in self.emulator.machines.all.values() if one.label.startswith("fl-")]


def _kill(process: psutil.Process) -> None:
    """It and its children, by their ids."""
    with suppress(psutil.Error):
        for one in [*process.children(recursive=True), process]:
            with suppress(psutil.Error):
                one.kill()


@contextmanager
def hosted(folder: Path, make: Any) -> Iterator[Hosting]:
    """A stand-in with real sshds, whose machines boot within some seconds; closed at the end."""
    before, life.BOOT = life.BOOT, QUICK
    hosting = Hosting(folder, make(random.Random(7)))
    hosting._thread.start()
    try:
        hosting.do(hosting.server.__aenter__())
        yield hosting
        hosting.do(hosting.server.__aexit__())
    finally:
        life.BOOT = before
        for sshd in list(hosting.sshds.values()):
            sshd.stop()
            hosting._end_all(sshd.folder)
        hosting._loop.call_soon_threadsafe(hosting._loop.stop)
        hosting._thread.join(10)
        hosting._loop.close()
