"""A real OpenSSH server on loopback in a folder of its own, as this very user, without any
privilege.

Each account is a key with a forced command that plays a login shell: it gets a home of its own and
runs what the
client asked for as `SHELL -c COMMAND`, which is what sshd does with the shell of passwd.
"""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from providers.ssh.hosts import Hop, Host

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
START_LIMIT_S = 10.0


def need(*programs: str) -> None:
    """Fail where a program is missing: a test that is passed over proves nothing."""
    missing = [name for name in programs if shutil.which(name) is None]
    assert not missing, f"apt-get install openssh-server zsh fish busybox; missing: {missing}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Sshd:
    """One server; `account` makes a login with a shell of its own."""

    folder: Path
    port: int = field(default_factory=free_port)
    settings: dict[str, str] = field(default_factory=dict)
    address: str = "127.0.0.1"
    inside: tuple[str, ...] = ()  # what runs it elsewhere: in a network namespace
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        assert SSHD, "apt-get install openssh-server"
        self.folder.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # root's sshd wants this one folder
        self.make_key("host")
        (self.folder / "authorized_keys").touch()

    def make_key(self, name: str, kind: str = "ed25519", phrase: str = "") -> Path:
        path = self.folder / name
        if not path.exists():
            words = ["ssh-keygen", "-q", "-t", kind, "-N", phrase, "-C", "", "-f", str(path)]
            subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
        return path

    def new_host_key(self) -> None:
        """The machine was made anew."""
        for path in (self.folder / "host", self.folder / "host.pub"):
            path.unlink()
        self.make_key("host")

    @property
    def pin(self) -> str:
        return " ".join((self.folder / "host.pub").read_text().split()[:2])

    def start(self) -> None:
        base = {
            "Port": str(self.port),
            "ListenAddress": self.address,
            "HostKey": str(self.folder / "host"),
            "PidFile": "none",
            "AuthorizedKeysFile": str(self.folder / "authorized_keys"),
            "UsePAM": "no",
            "StrictModes": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            "MaxStartups": "100:30:200",
            "LogLevel": "VERBOSE",
            # Else this user's own shell reads its own rc files before it runs the forced command.
            "SetEnv": f"HOME={self.folder / 'empty'}",
        }
        lines = [f"{name} {value}" for name, value in {**base, **self.settings}.items()]
        (self.folder / "config").write_text("\n".join(lines) + "\n")
        with (self.folder / "log").open("ab") as log:
            said = log.tell()
            self.process = subprocess.Popen(
                [*self.inside, str(SSHD), "-D", "-e", "-f", str(self.folder / "config")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": "/usr/sbin:/usr/bin:/bin"},
                start_new_session=True,
            )
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            if b"Server listening" in (self.folder / "log").read_bytes()[said:]:
                return
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.01)
        raise AssertionError("sshd did not come up")

    def stop(self) -> None:
        """End the listener and every session of it, as a crash would."""
        if self.process is None:
            return
        for pid in self.sessions():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.process = None

    def sessions(self) -> list[int]:
        """The processes sshd forked for connections."""
        assert self.process is not None
        found, todo = [], [self.process.pid]
        while todo:
            parent = todo.pop()
            for child in _children(parent):
                if b"sshd" in _comm(child):
                    found.append(child)
                    todo.append(child)
        return found

    def cut(self) -> None:
        """Break every connection; the listener stays."""
        for pid in self.sessions():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def account(
        self,
        name: str,
        shell: str = "/bin/sh",
        *,
        sh: str = "",
        files: dict[str, str] | None = None,
        path: str = "",
    ) -> Host:
        """A login whose shell is `shell`, and whose `sh` is `sh`; `files` of its home."""
        home = self.folder / "homes" / name
        tools = self.folder / "tools" / name
        for folder in (home, tools):
            folder.mkdir(parents=True, exist_ok=True)
        for file, text in (files or {}).items():
            (home / file).parent.mkdir(parents=True, exist_ok=True)
            (home / file).write_text(text)
        if sh:
            (tools / "sh").unlink(missing_ok=True)
            (tools / "sh").symlink_to(sh)
        login = self.folder / f"login-{name}"
        login.write_text(
            "#!/bin/sh\nunset SHLVL XDG_STATE_HOME XDG_CONFIG_HOME ENV BASH_ENV ZDOTDIR\n"
            f"export HOME='{home}' SHELL='{shell}' PATH='{tools}:{path or '/usr/bin:/bin'}'\n"
            f'cd; exec {shell} -c "$SSH_ORIGINAL_COMMAND"\n'
        )
        login.chmod(0o755)
        key = self.make_key(f"key-{name}")
        line = f'command="{login}" {key.with_suffix(".pub").read_text().strip()}\n'
        known = (self.folder / "authorized_keys").read_text()
        if line not in known:
            (self.folder / "authorized_keys").write_text(known + line)
        return Host(name=name, hop=self.hop(key))

    def hop(self, key: Path) -> Hop:
        return Hop(
            host=self.address,
            port=self.port,
            user=getpass.getuser(),
            keys=(str(key),),
            pin=self.pin,
        )

    def home(self, name: str) -> Path:
        return self.folder / "homes" / name

    def tool(self, account: str, name: str, text: str) -> None:
        """A stand-in program that an account finds first."""
        path = self.folder / "tools" / account / name
        path.write_text(f"#!/bin/sh\n{text}")
        path.chmod(0o755)


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _comm(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_bytes()
    return b""
