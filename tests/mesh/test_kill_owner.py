"""An owner dies while its jobs run; scripts/kill9 owner plays as many points as you like."""

from pathlib import Path

import pytest

from tests.mesh.kill_owner import play


@pytest.mark.slow
def test_jobs_of_an_owner_that_is_killed_run_once_and_are_paid_once(tmp_path: Path) -> None:
    assert play(tmp_path, 3, seed=9) == []
