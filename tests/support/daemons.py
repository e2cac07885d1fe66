"""A real daemon that tests ask over HTTP: one for all of a folder, in a home that is gone after."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import pytest

from mesh.cli.client import Daemon, need_daemon
from tests.end_to_end.conftest import Fleet


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    kind: str
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Asked:
    """A daemon, and whoever asks it by hand."""

    fleet: Fleet
    daemon: Daemon

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; `headers` take the place of the token."""
        where = urlsplit(self.daemon.url)
        connection = HTTPConnection(where.hostname or "", where.port, timeout=60)
        sent = {"Authorization": f"Bearer {self.daemon.token}"} if headers is None else headers
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, dict(sent))
            response: HTTPResponse = connection.getresponse()
            kind = response.headers.get("Content-Type", "")
            # A stream never ends: that it began is its answer.
            streams = kind.startswith("text/event-stream")
            return Answer(response.status, kind, b"" if streams else response.read())
        finally:
            connection.close()


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """A daemon that runs, and the way to ask it."""
    fleet = Fleet(tmp_path_factory.mktemp("asked") / "home")
    fleet.up()
    yield Asked(fleet, need_daemon(fleet.home))
    fleet.run("down")
