"""The power goes during a first sync; scripts/kill9 plays as many rounds as you like."""

from pathlib import Path

import pytest

from tests.mesh.kill9 import rounds


@pytest.mark.slow
def test_a_first_sync_killed_at_random_points_leaves_the_state_of_its_ledger(
    tmp_path: Path,
) -> None:
    assert rounds(tmp_path, 3, seed=9) == []
