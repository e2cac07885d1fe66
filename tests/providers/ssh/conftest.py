"""One real sshd for a test session, and the accounts that tests ask of it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from providers.ssh.hosts import Host
from providers.ssh.pool import Gates, Reach
from tests.support.sshd import Sshd


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A server for everybody; who breaks it asks for `own_sshd`."""
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_sshd(tmp_path: Path) -> Iterator[Sshd]:
    """A server that this test may break."""
    server = Sshd(tmp_path / "sshd")
    server.start()
    yield server
    server.stop()


class Reaches:
    """Connections a test opened; all closed at its end."""

    def __init__(self) -> None:
        self.gates = Gates()
        self.open: list[Reach] = []

    def to(self, host: Host) -> Reach:
        self.open.append(Reach(host, self.gates))
        return self.open[-1]


@pytest.fixture
async def reaches() -> AsyncIterator[Reaches]:
    opened = Reaches()
    yield opened
    for reach in opened.open:
        await reach.close()
