"""A virtual machine as a cloud gives one, in namespaces: its own users, files, processes and
network, an sshd at port 22, and what its create brought run once as root, as cloud-init does.

Its address is one of loopback that nothing else has. What comes there at port 22 is passed into
its network, which has no other way in or out. It has this system's programs, and of its files
those of a system alone, to read: nothing of whoever runs the tests is there. A stand-in is
`systemctl`, which only starts sshd anew; pip knows no registry but a folder (/etc/pip.conf).
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.support.waiting import wait_until

USER = "ubuntu"
PORT = 22
# Those of 127.0.0.0/8 that nobody names by chance.
FIRST, LAST = (64, 0, 1), (127, 255, 254)
TRIES = 200
SYSTEM = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Folders of / that are a system's; all others are hidden.
SHOWN = frozenset("bin boot dev etc lib lib32 lib64 libx32 proc sbin sys usr var".split())
HERE = "/mnt"
# As systemd would: the listener ends, its sessions stay.
SYSTEMCTL = """#!/bin/sh
[ "$1" = restart ] && { [ "$2" = ssh ] || [ "$2" = sshd ]; } || exit 5
kill "$(cat /run/sshd.pid)" 2>/dev/null
while kill -0 "$(cat /run/sshd.pid)" 2>/dev/null; do sleep 0.05; done
exec /usr/sbin/sshd
"""
# Every folder that is not a system's is hidden before anything runs; /etc is a copy, so that its
# users are its own.
SETUP = f"""\
set -e
mount --make-rprivate /
mount --bind "$FOLDER" {HERE}
mount --bind "$PACKAGES" {HERE}/packages
cp -a /etc {HERE}/etc
mount --bind {HERE}/etc /etc
for folder in /usr /var; do
 mount --bind "$folder" "$folder"
 mount -o remount,bind,ro "$folder"
done
for folder in $HIDDEN /run /usr/local /var/log /var/mail /var/tmp; do
 [ ! -d "$folder" ] || mount -t tmpfs -o mode=755 none "$folder"
done
chmod 1777 /tmp /var/tmp
chmod 700 {HERE}
mkdir -p /usr/local/bin /run/sshd /run/systemd/system /opt/packages
mount --bind {HERE}/packages /opt/packages
cp {HERE}/systemctl /usr/local/bin/systemctl
hostname "$NAME"
ip link set lo up
printf '%s\\n' "$MACHINE" > /etc/machine-id
rm -f /etc/ssh/ssh_host_*
ssh-keygen -q -t ed25519 -N '' -C '' -f /etc/ssh/ssh_host_ed25519_key
userdel {USER} 2>/dev/null || true
useradd --create-home --shell /bin/bash {USER}
install -d -m 700 -o {USER} -g {USER} /home/{USER}/.ssh
install -m 600 -o {USER} -g {USER} {HERE}/login.pub /home/{USER}/.ssh/authorized_keys
printf '[global]\\nno-index = true\\nfind-links = /opt/packages\\n' > /etc/pip.conf
/usr/sbin/sshd
touch {HERE}/ready
(sleep "$CLOUD_INIT_S"; sh {HERE}/user-data > {HERE}/cloud-init.log 2>&1; touch {HERE}/booted) &
# As init does, bash collects what ends without a parent.
exec bash -c 'while :; do sleep 3600 & wait "$!"; done'
"""
# Runs inside of the machine's network and has the listener of outside: it passes one to the other.
RELAY = f"""\
import socket, sys, threading
outside = socket.socket(fileno=int(sys.argv[1]))
def copy(a, b):
    try:
        while data := a.recv(1 << 16):
            b.sendall(data)
    except OSError:
        pass
    for one in (a, b):
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
def serve(one):
    try:
        inside = socket.create_connection(("127.0.0.1", {PORT}), 5)
    except OSError:
        return one.close()
    back = threading.Thread(target=copy, args=(inside, one), daemon=True)
    back.start()
    copy(one, inside)
    back.join()
    one.close(); inside.close()
while True:
    threading.Thread(target=serve, args=(outside.accept()[0],), daemon=True).start()
"""


class NoMachines(Exception):
    """This user or kernel can't have them; one line says why."""


class VirtualMachine:
    """One, until `stop`. `login` is the public key that its provider lets in, `user_data` what it
    runs once, `packages` the folder of wheels that its pip finds."""

    def __init__(
        self,
        folder: Path,
        *,
        login: str,
        user_data: str,
        packages: Path,
        name: str = "machine",
        cloud_init_s: float = 0.5,
    ) -> None:
        self.folder, self.name = folder, name
        folder.mkdir(parents=True)
        (folder / "login.pub").write_text(f"{login}\n")
        (folder / "user-data").write_text(user_data)
        (folder / "systemctl").write_text(SYSTEMCTL)
        (folder / "systemctl").chmod(0o755)
        (folder / "packages").mkdir()
        self._packages, self._wait = packages, cloud_init_s
        self._holder: subprocess.Popen[bytes] | None = None
        self._relay: subprocess.Popen[bytes] | None = None
        self.pid = 0
        self.address = ""

    def start(self) -> None:
        """NoMachines where there can be none."""
        if os.getuid() != 0 or shutil.which("unshare") is None or shutil.which("ip") is None:
            raise NoMachines("needs root, unshare and ip (apt-get install iproute2)")
        hidden = [f"/{one.name}" for one in Path("/").iterdir() if _is_hidden(one)]
        env = {
            "PATH": SYSTEM,
            "FOLDER": str(self.folder),
            "PACKAGES": str(self._packages),
            "HIDDEN": " ".join(hidden),
            "NAME": self.name,
            "MACHINE": secrets.token_hex(16),
            "CLOUD_INIT_S": str(self._wait),
        }
        kinds = ("--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--mount-proc")
        with (self.folder / "log").open("wb") as log:
            self._holder = subprocess.Popen(
                ["unshare", *kinds, "--kill-child", "sh", "-c", SETUP],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        ready = self.folder / "ready"
        wait_until(lambda: ready.exists() or self._ended(), "the machine")
        if not ready.exists():
            said = (self.folder / "log").read_text(errors="replace").strip()
            self.stop()
            raise NoMachines(said[-300:])
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children")
        self.pid = int(children.read_text().split()[0])
        self._join()

    def _join(self) -> None:
        """Its address, and who passes on what comes there."""
        listener = _listener()
        self.address = listener.getsockname()[0]
        number = listener.fileno()
        inside = ("nsenter", "--net", "--target", str(self.pid))
        self._relay = subprocess.Popen(
            [*inside, sys.executable, "-c", RELAY, str(number)],
            pass_fds=(number,),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        listener.close()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Words inside, as root: what a person sees at its console."""
        inside = ("--mount", "--pid", "--net", "--uts", "--ipc")
        return subprocess.run(
            ["nsenter", *inside, "--target", str(self.pid), *words],
            env={"PATH": SYSTEM},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def booted(self) -> bool:
        """Whether all that its create brought has run."""
        return (self.folder / "booted").exists()

    def _ended(self) -> bool:
        return self._holder is None or self._holder.poll() is not None

    def stop(self) -> None:
        """Its first process ends, and with it all others there, its files and its address."""
        for process in (self._relay, self._holder):
            if process is not None:
                with suppress(OSError):
                    process.kill()
                process.wait()
        self._relay = self._holder = None


def _is_hidden(one: Path) -> bool:
    shown = one.name in SHOWN or str(one) == HERE
    return one.is_dir() and not one.is_symlink() and not shown


def _listener() -> socket.socket:
    """At port 22 of an address of loopback that nobody has."""
    for _ in range(TRIES):
        parts = [secrets.choice(range(a, b + 1)) for a, b in zip(FIRST, LAST, strict=True)]
        made = socket.socket()
        with suppress(OSError):
            made.bind((f"127.{'.'.join(map(str, parts))}", PORT))
            made.listen(64)
            return made
        made.close()
    raise NoMachines(f"port {PORT} is taken on every address of this machine")
