"""Real sshds for a stand-in's machines.

Of a container: with the host key and the login that its boot script brings, as it would have after
running it (the script itself runs in test_boot_script). A virtual machine runs its own.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.metadata
import random
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from providers.rental.contract import Reply
from tests.emulators import machines as life
from tests.emulators.base import Asked
from tests.emulators.machines import Machine
from tests.emulators.server import Server
from tests.emulators.virtual import VirtualMachine
from tests.support.sshd import Sshd

LOGIN = re.compile(r"^K='?(ssh-ed25519 [A-Za-z0-9+/=]+)", re.M)
HOST_KEY = re.compile(r"^echo ([A-Za-z0-9+/=]+) \| base64 -d > \S*fleet_host_key", re.M)
PACKED = re.compile(r"echo ([A-Za-z0-9+/=]{100,}) \| base64 -d > /tmp/fleet-boot.sh")
# A machine has what its image has: these llama.cpp (here our own wheel of it), others nothing.
WITH_LLAMACPP = ("ghcr.io/ggml-org/llama.cpp:full-cuda",)
NOBODY = "127.63.255.254"  # where nothing listens: no test asks an address that is not its own
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


def wheel_of(name: str, folder: Path) -> Path:
    """The wheel that a package was installed from here, made again from its files."""
    of = importlib.metadata.distribution(name)
    tag = re.search(r"^Tag: (\S+)", of.read_text("WHEEL") or "", re.M)
    assert tag is not None
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"{name}-{of.version}-{tag[1]}.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for one in of.files or ():
            if one.suffix != ".pyc" and one.name not in ("INSTALLER", "REQUESTED"):
                archive.write(str(one.locate()), str(one))
    return made


class Hosting:
    """An emulator behind a socket in a thread of its own, and an sshd for each of its machines:
    those of Lambda Cloud are virtual, others containers. `spoil` changes what a machine boots
    with."""

    def __init__(self, folder: Path, emulator: Any) -> None:
        self.folder, self.emulator = folder, emulator
        self.server = Server(emulator)
        self.sshds: dict[str, Sshd] = {}
        self.virtual: dict[str, VirtualMachine] = {}
        self.packages = folder / "packages"
        self.spoil: Callable[[str], str] = lambda user_data: user_data
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
        is_virtual = self.emulator.profile.name == "lambdalabs"
        for one in self.emulator.machines.all.values() if is_virtual else ():
            if "ssh" not in one.extra:
                one.extra["ip"] = NOBODY
        for one in self.ours():
            boots = one.ended is None and "engine" in one.boots  # not one that hangs on its way
            if boots and "ssh" not in one.extra:
                (self._begin_virtual if is_virtual else self._begin)(one)
        return reply

    def _begin_virtual(self, one: Machine) -> None:
        """Its provider lets in the key that the create names; the rest is its user data's to do."""
        if "keys" not in one.extra:
            return  # none of ours, or put there by a test
        (name,) = one.extra["keys"]
        keys = self.emulator.ssh_keys.values()
        login = next(key["public_key"] for key in keys if key["name"] == name)
        self.packages.mkdir(parents=True, exist_ok=True)
        made = VirtualMachine(
            self.folder / one.id,
            login=login,
            user_data=self.spoil(str(one.extra["user_data"])),
            packages=self.packages,
            name=f"lambda-{one.id}",
        )
        made.start()
        self.virtual[one.id] = made
        one.extra["ip"] = made.address
        one.extra["ssh"] = (made.address, 22)

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
        if virtual := self.virtual.pop(one.id, None):
            virtual.stop()
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
        for virtual in list(hosting.virtual.values()):
            virtual.stop()
        for sshd in list(hosting.sshds.values()):
            sshd.stop()
            hosting._end_all(sshd.folder)
        hosting._loop.call_soon_threadsafe(hosting._loop.stop)
        hosting._thread.join(10)
        hosting._loop.close()
