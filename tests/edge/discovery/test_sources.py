"""A source of where peers are that fails ends nothing: it is told once, and tried again."""

import asyncio
import errno
from pathlib import Path

import pytest

from mesh.edge.discovery import mdns, sources
from mesh.edge.discovery.mdns import Mdns
from mesh.edge.discovery.sightings import Sightings
from mesh.edge.discovery.sources import keep_up
from mesh.edge.discovery.tailnet import Tailnet
from mesh.edge.discovery.whereabouts import Whereabouts
from tests.edge.discovery.test_mdns import ME, until

MANY = OSError(errno.EMFILE, "Too many open files")


class Breaks:
    """A test double: a source that raises what it was given, time and again, then stays up."""

    state, fix = "starting", ""

    def __init__(self, *raised: Exception) -> None:
        self.left, self.runs = list(raised), 0

    async def run(self) -> None:
        self.runs += 1
        if self.left:
            raise self.left.pop(0)
        self.state = "up"
        await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "RETRY_S", 0.001)


async def test_what_a_source_raises_is_told_once_and_it_is_tried_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = Breaks(MANY, MANY, ValueError("no"), MANY)
    running = asyncio.create_task(keep_up("mdns", source))
    await until(lambda: source.state == "up", "its return")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert source.runs == 5
    said = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[2] for line in said] == ["OSError", "ValueError"]
    assert said[0].startswith("fleet: looking for peers by mdns failed, and is tried again: ")


@pytest.mark.parametrize("name", ["mdns", "tailnet"])
async def test_a_machine_out_of_open_files_looks_for_peers_again_once_it_has_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    book, asked = Sightings(tmp_path), list[int]()

    def fails(*_: object) -> None:
        asked.append(1)
        raise MANY

    where = Whereabouts(addresses=(), port=7433, pairing_port=7434)
    made: Mdns | Tailnet
    if name == "mdns":
        monkeypatch.setattr(mdns, "interfaces", fails)
        made = Mdns(ME, "studio", (), lambda: where, book, lambda _: None, lambda: 1)
    else:
        monkeypatch.setattr(Tailnet, "_ask", fails)
        made = Tailnet("", ("", ""), 7433, book, lambda _: None, lambda: 1)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(keep_up(name, made))
        await until(lambda: len(asked) > 2, "it to be tried again")
        assert "Too many open files" in made.state
        running.cancel()
