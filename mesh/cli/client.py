"""Finding the daemon of a state directory and talking to it. Standard library only: it is quick.

Knows no command. A daemon that is not there is a value (None); one that fails is a Stop.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import quote

from mesh.cli.exits import UNREACHABLE, Stop
from providers.process import alive

NO_DAEMON: Final = "no daemon is running"
START_IT: Final = "fleet up --detach"


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """A living daemon: where it listens and what opens it.

    `connection` is loaded when there is something to say: http.client costs a cold start a tenth.
    """

    pid: int
    url: str
    token: str

    def get(self, path: str) -> Any:
        """The JSON at `path`."""
        from mesh.cli.connection import ask

        return ask(self, "GET", path, None)

    def get_text(self, path: str) -> tuple[str, Mapping[str, str]]:
        """The text at `path`, and the headers it came with."""
        from mesh.cli.connection import ask_text

        return ask_text(self, path)

    def post(self, path: str, body: Mapping[str, object] | None = None) -> Any:
        """The JSON answer to a JSON body."""
        from mesh.cli.connection import ask

        return ask(self, "POST", path, _encoded(body or {}))

    def post_file(self, path: str, file: BinaryIO) -> Any:
        """The JSON answer to a file, sent as it is read."""
        from mesh.cli.connection import ask_with_file

        return ask_with_file(self, path, file)

    def stream(self, path: str) -> Iterator[tuple[str, Any]]:
        """(kind, value) of each server-sent event until the server ends the stream."""
        from mesh.cli.connection import stream

        return stream(self, path)


def _encoded(body: Mapping[str, object]) -> bytes:
    """JSON in UTF-8: escapes would double the size of a prompt that is not in English.

    A byte that was no character on the command line stays one, and the daemon refuses it.
    """
    return json.dumps(body, ensure_ascii=False).encode(errors="surrogatepass")


def find_daemon(home: Path) -> Daemon | None:
    """The living daemon that `home` names, or None."""
    try:
        said = json.loads((home / "daemon.json").read_text())
        pid, url, boot = int(said["pid"]), str(said["url"]), str(said["boot_id"])
        lives = alive(pid, int(said["start_ticks"]), boot)
        token = (home / "token").read_text().strip()
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None
    return Daemon(pid=pid, url=url, token=token) if lives else None


def refuse_starting(home: Path) -> None:
    """RequestError with how far it is where the daemon has not opened its ledger yet: to read that
    beside it would take as long. Costs a small file's reading where it has."""
    try:
        is_starting = b'"starting"' in (home / "daemon.json").read_bytes()
    except OSError:
        return
    daemon = find_daemon(home) if is_starting else None
    if daemon is not None:
        daemon.get("/v1/status")


def need_daemon(home: Path) -> Daemon:
    """The daemon, or the line that says how to start one."""
    daemon = find_daemon(home)
    if daemon is None:
        raise Stop(UNREACHABLE, NO_DAEMON, START_IT)
    return daemon


def quoted(text: str) -> str:
    """A part of a path, whatever bytes a person typed: what is no text the daemon refuses."""
    return quote(text, safe="", errors="surrogatepass")


def query_of(given: Mapping[str, object]) -> str:
    """What is asked, as a query."""
    from urllib.parse import urlencode

    return urlencode(given, errors="surrogatepass")


def job_url(job_id: str, rest: str = "") -> str:
    """The path of a job."""
    return f"/v1/jobs/{quoted(job_id)}{rest}"
