"""One lab of three hosts for all tests here; skipped, with the reason, where there can be none."""

from collections.abc import Iterator

import pytest

from tests.netns.lab import Lab, NoNamespaces, lab, pair


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Three hosts, three daemons, one fleet."""
    try:
        with lab(tmp_path_factory.mktemp("lab"), 3) as made:
            pair(made.hosts)
            yield made
    except (NoNamespaces, FileNotFoundError) as error:
        pytest.skip(f"no network namespaces here: {error}")
