"""A machine as a cloud would give it, in namespaces of its own: no network but loopback, empty
folders where a boot script writes, and stand-ins of the programs that it must not really run."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.netns.lab import NoNamespaces
from tests.support.waiting import wait_until

KINDS = ("mnt", "pid", "net")
SYSTEM = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Where the test's own folder stands inside; what is there is hidden in this namespace alone.
HERE = "/mnt"
NOT_THERE = 97
# Runs words only inside: outside it would end the sshd of whoever runs the tests.
GUARD = f"""\
for kind in {" ".join(KINDS)}; do
 [ "$(readlink /proc/self/ns/$kind)" != "$(cat "$OUTSIDE/$kind")" ] || exit {NOT_THERE}
done
exec "$@"
"""
SETUP = f"""\
set -e
mount --make-rprivate /
mount --bind "$FOLDER" {HERE}
OUTSIDE={HERE}/outside sh {HERE}/guard true
for folder in /root /etc/ssh /run /tmp; do mount -t tmpfs none $folder; done
cp {HERE}/provider/* /etc/ssh
chmod 600 /etc/ssh/ssh_host_*_key
ip link set lo up
touch {HERE}/ready
exec sleep infinity
"""
# A minute is a fifth of a second; one second stays one.
SLEEP = f"""#!/bin/sh
[ "$1" -lt 60 ] || set -- 0.2
exec {shutil.which("sleep")} "$@"
"""


def namespace(kind: str) -> str:
    """This process's own, as the kernel names it: "net:[4026531840]"."""
    return str(Path(f"/proc/self/ns/{kind}").readlink())


def tool(note: str, code: int) -> str:
    """A program that only writes down how it was called."""
    return f"#!/bin/sh\nprintf '%s\\n' \"$*\" >> {HERE}/{note}\nexit {code}\n"


class Machine:
    """`run` runs words inside. `called(name)`: each call of `curl` or `wget`, its words joined."""

    def __init__(self, folder: Path, *, curl_fails: bool = False) -> None:
        self.folder = folder
        (folder / "bin").mkdir(parents=True)
        (folder / "outside").mkdir()
        (folder / "provider").mkdir()
        for kind in KINDS:
            (folder / "outside" / kind).write_text(f"{namespace(kind)}\n")
        self.make_key("provider/ssh_host_ed25519_key")
        # As Debian brings it: no HostKey, so the usual ones; who has a password may log in.
        config = "PasswordAuthentication yes\nUsePAM no\nStrictModes no\n"
        (folder / "provider" / "sshd_config").write_text(config)
        (folder / "guard").write_text(GUARD)
        tools = {"sleep": SLEEP, "wget": tool("wget", 0)}
        tools["curl"] = tool("curl", 22 if curl_fails else 0)
        for name, text in tools.items():
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        self.holder: subprocess.Popen[bytes] | None = None
        self.pid = 0

    def make_key(self, name: str) -> Path:
        """A new ed25519 key pair."""
        path = self.folder / name
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
        return path

    def start(self) -> None:
        """NoNamespaces where the kernel or the user can't have them."""
        words = ["unshare", "--mount", "--pid", "--net", "--fork", "--mount-proc", "--kill-child"]
        self.holder = subprocess.Popen(
            [*words, "sh", "-c", SETUP],
            env={"PATH": SYSTEM, "FOLDER": str(self.folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        ready = self.folder / "ready"
        wait_until(lambda: ready.exists() or self._ended(), "the namespaces")
        if not ready.exists():
            assert self.holder.stderr is not None
            raise NoNamespaces(self.holder.stderr.read().decode(errors="replace").strip()[:200])
        children = Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children")
        self.pid = int(children.read_text().split()[0])

    def _ended(self) -> bool:
        return self.holder is None or self.holder.poll() is not None

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Words inside, once more only if it is inside."""
        return subprocess.run(
            self._inside(words),
            env=self._env(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @contextmanager
    def begun(self, *words: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
        """Words that run inside until the block ends."""
        child = subprocess.Popen(self._inside(words), env=self._env(env), stdin=subprocess.DEVNULL)
        try:
            yield child
        finally:
            child.kill()
            child.wait()

    def _inside(self, words: tuple[str, ...]) -> list[str]:
        inside = ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--net"]
        return [*inside, "sh", f"{HERE}/guard", *words]

    def _env(self, more: dict[str, str]) -> dict[str, str]:
        return {"PATH": f"{HERE}/bin:{SYSTEM}", "OUTSIDE": f"{HERE}/outside", **more}

    def called(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def stop(self) -> None:
        """The first process ends, and with it all others inside."""
        if self.holder is not None:
            self.holder.kill()
            self.holder.wait()
            assert self.holder.stderr is not None
            self.holder.stderr.close()


@contextmanager
def machine(folder: Path, *, curl_fails: bool = False) -> Iterator[Machine]:
    """One that is gone afterwards."""
    made = Machine(folder, curl_fails=curl_fails)
    try:
        made.start()
        yield made
    finally:
        made.stop()
