"""What a job wrote elsewhere comes home once; it is all here when no power cut can take it."""

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mesh.api.wire.claims import Part
from mesh.edge.disk import StoreError
from mesh.edge.dispatch import mirror as mirror_module
from mesh.edge.dispatch.mirror import DONE_FILE, LOG_FILE, OWNER_FILE, Mirror
from tests.state.job_story import ANA, BEN, event, told

TEXT = b"one\ntwo\n"


class Ben:
    """An owner whose answers are said by a test."""

    def __init__(self, answers: Callable[[str, int], Part]) -> None:
        self.answers, self.author = answers, ANA
        ended = {"actual_cost_nusd": 0, "actual_duration_ms": 1}
        self.state = told(
            [
                event("job_submitted", 1, job_id="j", kind="command"),
                event("job_dispatched", 2, device="b", job_id="j", attempt=1, owner=BEN),
                event("job_started", 3, BEN, "b", job_id="j", attempt=1, pid=1),
                event("job_completed", 4, BEN, "b", job_id="j", attempt=1, **ended),
            ]
        )

    def owner(self, author: str) -> "Ben":
        return self

    def reachable(self, author: str) -> bool:
        return True

    async def output(
        self, home: str, job_id: str, attempt: int, name: str, offset: int, wait_s: float
    ) -> Part:
        return self.answers(name, offset)


def log(name: str, offset: int) -> Part:
    """Three bytes at a time."""
    text = TEXT if name == LOG_FILE else b""
    data = text[offset : offset + 3]
    encoded = base64.b64encode(data).decode()
    return Part(data=encoded, size=len(text), over=offset + len(data) >= len(text))


async def test_copies_of_another_owner_s_attempt_of_that_number_are_not_added_to(
    tmp_path: Path,
) -> None:
    """Ana was put out and let in again: what she had sent to Cal before is known to nobody."""
    folder = tmp_path / "jobs" / "j" / "1"
    folder.mkdir(parents=True)
    (folder / LOG_FILE).write_bytes(b"zero\n")
    (folder / OWNER_FILE).write_text("c" * 64)
    (folder / DONE_FILE).touch()
    ben = Ben(log)
    assert not Mirror(tmp_path, ben, ben).is_here(ben.state.jobs["j"])  # type: ignore[arg-type]
    assert (await brought(tmp_path, ben) / LOG_FILE).read_bytes() == TEXT
    assert Mirror(tmp_path, ben, ben).is_here(ben.state.jobs["j"])  # type: ignore[arg-type]


async def brought(tmp_path: Path, ben: Any) -> Path:
    made = Mirror(tmp_path, ben, ben)
    made.follow(list(ben.state.jobs.values()))
    await asyncio.gather(*made._tasks.values())
    return tmp_path / "jobs" / "j" / "1"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_module, "PAUSE_S", 0.0)


async def test_all_is_flushed_before_it_is_said_to_be_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[str, bytes, bool]] = []
    really = mirror_module._flush

    def flush(path: Path) -> None:
        really(path)
        if path.exists():
            marked = (path.parent / DONE_FILE).exists()
            flushed.append((path.name, path.read_bytes(), marked))

    monkeypatch.setattr(mirror_module, "_flush", flush)
    folder = await brought(tmp_path, Ben(log))
    assert flushed == [(LOG_FILE, TEXT, False)]
    assert (folder / DONE_FILE).exists()


async def test_a_copy_goes_on_where_it_ended_once_the_disk_takes_it_and_the_owner_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubles = [StoreError("no space"), "no base64 !"]
    really = mirror_module._append

    def answers(name: str, offset: int) -> Part:
        said = log(name, offset)
        if name == LOG_FILE and offset == 3 and len(troubles) == 1:
            return Part(data=str(troubles.pop()), size=said.size, over=False)
        return said

    def append(path: Path, size: int, said: Part) -> bool:
        if size == 3 and len(troubles) == 2:
            raise troubles.pop(0)  # type: ignore[misc]
        return really(path, size, said)

    monkeypatch.setattr(mirror_module, "_append", append)
    folder = await brought(tmp_path, Ben(answers))
    assert (folder / LOG_FILE).read_bytes() == TEXT
    assert troubles == []
