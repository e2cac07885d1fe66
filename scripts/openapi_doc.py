"""Writes docs/openapi.json as a daemon serves it: scripts/openapi-doc [--check]."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mesh.cli.client import Daemon, need_daemon

PAGE = Path(__file__).parent.parent / "docs" / "openapi.json"
# A fleet of one that nobody else finds, with every route there is.
SETTINGS = {"FLEET_LISTEN": "127.0.0.1", "FLEET_DISCOVERY": ""}


def page(served: Any) -> str:
    """The file of a document: for people, too, so that changes can be read."""
    return json.dumps(served, indent=1, ensure_ascii=False) + "\n"


class Started(NamedTuple):
    """A daemon that runs, and its home."""

    home: Path
    daemon: Daemon


@contextmanager
def daemon() -> Iterator[Started]:
    """A daemon in a home that is gone afterwards."""
    with tempfile.TemporaryDirectory() as home:
        fleet = [sys.executable, "-m", "mesh"]
        env = os.environ | SETTINGS | {"FLEET_HOME": home}
        subprocess.run([*fleet, "up", "--detach"], env=env, check=True, stdout=subprocess.DEVNULL)
        try:
            yield Started(Path(home), need_daemon(Path(home)))
        finally:
            subprocess.run([*fleet, "down"], env=env, check=True, stdout=subprocess.DEVNULL)


def main() -> int:
    """Write the file; with --check, say whether it is as it should be."""
    with daemon() as started:
        found = page(started.daemon.get("/v1/openapi.json"))
    if "--check" in sys.argv[1:]:
        return int(PAGE.read_text() != found)
    PAGE.write_text(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
