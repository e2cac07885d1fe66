"""Finding the daemon of a state directory and talking to it. Standard library only: it is quick.

Knows no command. A daemon that is not there is a value (None); one that fails is a Stop.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import quote, urlsplit

from mesh.api.errors import RequestError
from mesh.cli.exits import UNREACHABLE, Stop

NO_DAEMON: Final = "no daemon is running"
START_IT: Final = "fleet up --detach"
# Which routes there are is no word for a person; why one is missing is.
NO_ROUTE: Final = "the daemon does not offer that: it listens to no peers, or is another version"
NO_ROUTE_HINT: Final = "fleet down, then with FLEET_LISTEN=127.0.0.1, fleet up --detach"
# Longer than any answer takes, including a verify of a large ledger.
ANSWER_TIMEOUT_S: Final = 120.0
# The largest upload takes minutes on a slow disk.
IMPORT_TIMEOUT_S: Final = 3600.0
# Streams send a comment every 15 s; twice that without a byte means the daemon is gone.
STREAM_TIMEOUT_S: Final = 40.0
# The file names the instant the daemon announced itself, which is after its process began.
CLOCK_SLACK_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """A living daemon: where it listens and what opens it."""

    pid: int
    url: str
    token: str

    def get(self, path: str) -> Any:
        """The JSON at `path`."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: Mapping[str, object] | None = None) -> Any:
        """The JSON answer to a JSON body."""
        return self._ask("POST", path, json.dumps(body or {}).encode())

    def post_file(self, path: str, file: BinaryIO) -> Any:
        """The JSON answer to a file, sent as it is read."""
        connection, response = self._open("POST", path, file, IMPORT_TIMEOUT_S)
        with closing(connection):
            return _json(response)

    def stream(self, path: str) -> Iterator[tuple[str, Any]]:
        """(kind, value) of each server-sent event until the server ends the stream."""
        connection, response = self._open("GET", path, None, STREAM_TIMEOUT_S)
        try:
            yield from _messages(response)
        except (OSError, HTTPException) as error:
            raise _gone(error) from error
        finally:
            connection.close()

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        connection, response = self._open(method, path, body, ANSWER_TIMEOUT_S)
        with closing(connection):
            return _json(response)

    def _open(
        self, method: str, path: str, body: bytes | BinaryIO | None, timeout_s: float
    ) -> tuple[HTTPConnection, HTTPResponse]:
        """A connection and its answer, or RequestError with the daemon's own words."""
        where = urlsplit(self.url)
        connection = HTTPConnection(where.hostname or "", where.port, timeout=timeout_s)
        try:
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
            # Who refuses a long body closes before it is sent; the answer is there all the same.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body, headers)
            response = connection.getresponse()
            if response.status < 400:
                return connection, response
            error = _refused(response)
        except (OSError, HTTPException) as cause:
            connection.close()
            raise _gone(cause) from cause
        connection.close()
        raise error


def _json(response: HTTPResponse) -> Any:
    try:
        return json.loads(response.read())
    except (OSError, HTTPException, ValueError) as error:
        raise _gone(error) from error


def _refused(response: HTTPResponse) -> RequestError:
    try:
        said = json.loads(response.read())
        if said["code"] == "NoRoute":
            return RequestError("NoRoute", NO_ROUTE, NO_ROUTE_HINT, response.status)
        return RequestError(said["code"], said["text"], said["hint"], response.status)
    except (ValueError, KeyError, TypeError):
        return RequestError("Http", f"the daemon answered {response.status}", "", response.status)


def _gone(error: Exception) -> Stop:
    text = f"the daemon does not answer: {error or type(error).__name__}"
    return Stop(UNREACHABLE, text, "fleet status, then fleet up --detach")


def _messages(response: HTTPResponse) -> Iterator[tuple[str, Any]]:
    kind = "message"
    for raw in response:
        name, _, value = raw.decode().rstrip("\n").partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, json.loads(value)
            kind = "message"


def find_daemon(home: Path) -> Daemon | None:
    """The living daemon that `home` names, or None."""
    try:
        said = json.loads((home / "daemon.json").read_text())
        pid, url, started_ms = int(said["pid"]), str(said["url"]), int(said["started_ms"])
        token = (home / "token").read_text().strip()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Daemon(pid=pid, url=url, token=token) if is_alive(pid, started_ms) else None


def is_alive(pid: int, started_ms: int) -> bool:
    """True if `pid` runs and began before `started_ms`: a number used anew began later."""
    if pid <= 0 or pid == os.getpid():
        return False
    import psutil

    try:
        process = psutil.Process(pid)
        began_s = float(process.create_time())
        return began_s <= started_ms / 1000 + CLOCK_SLACK_S and process.status() != "zombie"
    except psutil.Error:
        return False


def need_daemon(home: Path) -> Daemon:
    """The daemon, or the line that says how to start one."""
    daemon = find_daemon(home)
    if daemon is None:
        raise Stop(UNREACHABLE, NO_DAEMON, START_IT)
    return daemon


def job_url(job_id: str, rest: str = "") -> str:
    """The path of a job, whatever characters a person typed."""
    return f"/v1/jobs/{quote(job_id, safe='')}{rest}"
