"""A stage for each test, taken down after it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.edge.gateway.home import Home
from tests.edge.gateway.stage import Stage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def home(stage: Stage) -> Home:
    return Home(stage)
