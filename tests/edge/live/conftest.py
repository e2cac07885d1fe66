"""Two peers with a ledger of their own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.edge.lives import Peer


@pytest.fixture
async def ana(tmp_path: Path) -> AsyncIterator[Peer]:
    peer = Peer(tmp_path / "ana")
    yield peer
    await peer.close()


@pytest.fixture
async def ben(tmp_path: Path) -> AsyncIterator[Peer]:
    peer = Peer(tmp_path / "ben")
    yield peer
    await peer.close()
