"""docs/how-to/clouds.md as somebody types it: each of its commands, in its order, against a
stand-in of the cloud."""

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.edge.clouds.keys import PROVIDERS as KEYED
from providers.lambdalabs.profile import PROFILE as LAMBDALABS
from providers.runpod.profile import PROFILE as RUNPOD
from providers.vastai.profile import PROFILE as VAST
from tests.emulators.hosting import Hosting
from tests.mesh.conftest import ROOT, Machine, Maker, up_all
from tests.mesh.renting import all_ended, cloud, listed, offered
from tests.mesh.test_rented import ROOT_ONLY
from tests.support.pages import typed
from tests.support.tiny_gguf import write_tiny_gguf
from tests.support.waiting import wait_until

PAGE = (ROOT / "docs" / "how-to" / "clouds.md").read_text()


def commands() -> list[str]:
    """Those of the fenced blocks, without their comments."""
    return [one.text for one in typed("docs/how-to/clouds.md")]


def test_the_page_has_the_commands_that_there_are() -> None:
    found = {" ".join(line.split()[:2]) for line in commands()}
    assert found == {
        *("fleet clouds", "fleet check", "fleet offers", "fleet plan", "fleet rent", "fleet run"),
        *("fleet logs", "fleet rentals", "fleet return", "fleet orphans"),
    }
    assert all(one.page in PAGE and one.variable in PAGE for one in KEYED)


def test_the_page_says_of_each_cloud_what_its_profile_says() -> None:
    rows = {cells[1]: cells[2:5] for cells in map(cells_of, PAGE.splitlines()) if len(cells) == 6}
    assert rows[""] == [VAST.title, RUNPOD.title, LAMBDALABS.title]
    profiles = (VAST, RUNPOD, LAMBDALABS)
    for row, told in (
        ("ends itself (dead-man)", [one.has_dead_man for one in profiles]),
        ("tells what it charged", [one.has_charges for one in profiles]),
        ("spot", [one.has_spot for one in profiles]),
        ("asks for higher prices", [one.has_rises for one in profiles]),
    ):
        assert [not cell.strip("*").startswith("no") for cell in rows[row]] == told, row
    by_minute = ["by the minute" in cell for cell in rows["is billed"]]
    assert by_minute == [one.billed_step_ms == 60_000 for one in profiles]
    from_order = [cell.startswith("from the order on") for cell in rows["is billed"]]
    assert from_order == [one.from_create for one in profiles]


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")]


@pytest.fixture
def vast(tmp_path: Path) -> Iterator[Hosting]:
    with cloud(tmp_path, "vastai") as hosting:
        yield hosting


@pytest.fixture
def ana(machines: Maker, vast: Hosting, tmp_path: Path) -> Machine:
    """A peer that can reach the cloud and has no key of it yet; its keyring is a file."""
    one = machines("ana")
    for provider in KEYED:
        one.env.pop(provider.variable, None)
    one.env |= {
        "FLEET_VAST_URL": vast.server.url,
        "PYTHON_KEYRING_BACKEND": "tests.edge.clouds.rings.FileRing",
        "TEST_RING": str(tmp_path / "ring.json"),
    }
    up_all(machines, "ana")
    return one


class Typist:
    """Types one command after another; fills in what the page leaves open."""

    def __init__(self, ana: Machine, vast: Hosting, folder: Path) -> None:
        self.ana, self.vast, self.folder = ana, vast, folder

    def type(self, line: str) -> None:
        words = [self._filled(word) for word in shlex.split(line)[1:]]
        key = "login" in words
        done = subprocess.run(
            [sys.executable, "-m", "mesh", *words],
            env=self.ana.env,
            cwd=self.folder,
            input=self.vast.emulator.key if key else "y\n",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{line} -> {words}: {done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        if key:
            wait_until(lambda: listed(self.ana, "vastai"), "the account to be listed")
            wait_until(lambda: offered(self.ana, "vastai"), "offers")

    def _filled(self, word: str) -> str:
        if word == "JOB":
            rows = json.loads(self.ana.ok("ps", "-a", "-o", "json"))
            return str((rows["jobs"] if isinstance(rows, dict) else rows)[0]["job_id"])
        if word in ("HOST", "RENTAL"):
            rows = self.ana.get("/v1/rentals?ended=1")["rentals"]
            return str(rows[-1]["host" if word == "HOST" else "rental_id"])
        return word


@ROOT_ONLY
def test_every_command_of_the_page_runs_in_its_order(
    ana: Machine, vast: Hosting, tmp_path: Path
) -> None:
    shutil.copy(write_tiny_gguf(tmp_path / "tiny.gguf"), tmp_path / "model.gguf")
    typist = Typist(ana, vast, tmp_path)
    for line in commands():
        short = " --tokens 8 --context 256" if "model.gguf" in line else ""
        typist.type(line + short)
    wait_until(lambda: all_ended(vast), "every machine to be returned")
    assert len(vast.ours()) == 2
    assert vast.emulator.key not in (tmp_path / "ana" / "daemon.log").read_text()
