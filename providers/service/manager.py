"""What a service is, whichever manager runs it, and what a manager can be asked."""

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

NAME: Final = "fleet-ledger"

# A daemon whose disk is full or whose port is taken is tried again so often, and never given up:
# often enough for a person who waits, too seldom to heat a laptop.
RESTART_S: Final = 10
# A daemon that was asked to end takes back nothing and ends its listeners; it has this long.
STOP_S: Final = 30
# Each link, each stream and each answer of a model holds a file or two open. Where nobody says
# more, systemd gives 1024 and macOS 256: a few hundred clients would have the daemon refuse the
# next one, and its ledger. Few enough for a program that goes through all of them at its start.
OPEN_FILES: Final = 65_536
# A manager that is asked answers in milliseconds; a bus that is wedged never does.
TOOL_S: Final = 20.0


class ServiceError(Exception):
    """A manager that is not there, or refused; `text` says what, `hint` what to do instead."""

    code: Final = "ProviderError"

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.text: Final = text
        self.hint: Final = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One program to keep running. `variables` are public: they stand in a file of the system.

    `final_codes` are exit codes after which a restart would end the same way.
    """

    title: str
    command: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]
    final_codes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for word in (*self.command, *(value for _, value in self.variables)):
            if not word.isprintable():
                text = f"a service cannot be told {word[:60]!r}: it holds control characters"
                raise ServiceError(text, "name the folder otherwise")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a manager says of the service. `pid` is 0 where nothing runs; `text` in its words."""

    installed: bool
    starts_at_login: bool = False
    pid: int = 0
    text: str = ""


class Manager(Protocol):
    """One manager, for the user that asks. All but `missing` raise ServiceError."""

    kind: str
    proven: bool  # whether its file was ever tried on a real system of its kind
    file: Path

    def missing(self) -> str:
        """Why it is not to be had here; "" where it answers."""

    def render(self, service: Service) -> str:
        """The text of the file that describes the service."""

    def load(self, *, fresh: bool, now: bool) -> None:
        """Have the file in place take effect. `fresh`: it changed. `now`: run it at once."""

    def unload(self) -> None:
        """Stop the service, and start it no more; its file goes after this."""

    def standing(self) -> Standing:
        """How it stands."""

    def advice(self) -> str:
        """What is left for a person to do so that the service lives on; "" for nothing."""


def install(manager: Manager, service: Service, *, now: bool) -> bool:
    """Write the file and have it take effect; whether the file is new or changed."""
    text = manager.render(service)
    fresh = _read(manager.file) != text
    if fresh:
        _write(manager.file, text)
    manager.load(fresh=fresh, now=now)
    return fresh


def uninstall(manager: Manager) -> bool:
    """Stop the service and remove its file; whether there was one."""
    if not manager.file.exists():
        return False
    manager.unload()
    try:
        manager.file.unlink(missing_ok=True)
    except OSError as error:
        raise _refused(manager.file, error) from error
    return True


def ask(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a manager's tool to its end; one that is missing or hangs has failed, too."""
    try:
        return subprocess.run(
            words, capture_output=True, text=True, errors="replace", timeout=TOOL_S, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "strerror", None) or "it does not answer"
        return subprocess.CompletedProcess(words, 127, "", f"{words[0]}: {reason}")


def tell(words: Sequence[str], hint: str) -> None:
    """Run a manager's tool; ServiceError with its own last line where it refuses."""
    done = ask(*words)
    if done.returncode:
        raise ServiceError(f"{' '.join(words[:4])} failed: {last_line(done)}", hint)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """What a tool said last."""
    said = (done.stderr or done.stdout).strip().splitlines()
    return said[-1].strip() if said else f"exit code {done.returncode}"


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _write(path: Path, text: str) -> None:
    """Whole or not at all: a manager may read it at any moment."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        with suppress(OSError):  # what is in the way of the file is in the way of this, too
            draft.unlink(missing_ok=True)


def _refused(path: Path, error: OSError) -> ServiceError:
    text = f"cannot write {path}: {error.strerror or error}"
    return ServiceError(text, "check that you own that folder and that the disk has room")
