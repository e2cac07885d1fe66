"""A fleet is broken while it works; scripts/kill9 fleet plays as long as you like."""

from pathlib import Path

import pytest

from tests.netns.chaos import rounds
from tests.netns.lab import NoNamespaces


@pytest.mark.slow
def test_each_job_of_a_fleet_that_is_broken_runs_once(tmp_path: Path) -> None:
    try:
        assert rounds(tmp_path, 20, seed=9)[0] == []
    except (NoNamespaces, FileNotFoundError) as error:
        pytest.skip(f"no network namespaces here: {error}")
