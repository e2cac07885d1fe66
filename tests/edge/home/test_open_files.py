"""The daemon takes as many open files as this user may have, up to a number."""

import subprocess
import sys

import pytest

from mesh.edge.home.open_files import MAX_FILES

LOOK = """
import resource
from mesh.edge.home.open_files import raise_limit
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
raise_limit()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize(
    ("soft", "hard", "then"), [(128, 512, 512), (512, 512, 512), (128, 2 * MAX_FILES, MAX_FILES)]
)
def test_the_soft_limit_is_raised_to_the_hard_one_and_no_further_than_is_of_use(
    soft: int, hard: int, then: int
) -> None:
    words = [sys.executable, "-c", LOOK.format(soft=soft, hard=hard)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    if "not allowed to raise" in done.stderr or "exceeds" in done.stderr:
        pytest.skip("this user may not have so many")
    assert done.stdout.split() == [str(then), str(hard)], done.stderr
