"""Files of commands between two peers: asked by hash, given to those they belong to alone."""

import base64
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mesh.api.bodies import Body
from mesh.api.errors import RequestError
from mesh.api.wire.workfiles import FilePart, LeftFiles
from mesh.edge.dispatch.files import JobFiles
from mesh.edge.jobs import workdir
from mesh.state.state import State
from providers.base import NoSpace
from providers.here import LocalAttempts
from tests.state.job_story import ANA, BEN, event, told

BOX = "ben-cpu"


def story() -> State:
    return told(
        [
            event("job_submitted", 1, author=ANA, job_id="j", kind="command", label="make"),
            event("job_dispatched", 2, author=ANA, device=BOX, job_id="j", attempt=1, owner=BEN),
            event("job_accepted", 3, author=BEN, device=BOX, job_id="j", attempt=1),
        ]
    )


class Signer:
    """A test double of a peer's ledger: the state of the moment."""

    def __init__(self, author: str, pair: "Pair") -> None:
        self.author, self.pair = author, pair

    @property
    def state(self) -> State:
        return self.pair.state


class Pair:
    """Ana's job on Ben's device; `spoil` changes what comes over the link."""

    def __init__(self, folder: Path) -> None:
        self.homes = {name: folder / name for name in ("ana", "ben")}
        for home in self.homes.values():
            (home / "jobs").mkdir(parents=True)
        self.state = story()
        self.spoil = lambda data: data
        self.asked: list[str] = []
        self.ana = JobFiles(self.homes["ana"], self._ledger(ANA), self._call, self._attempts)
        self.ben = JobFiles(self.homes["ben"], self._ledger(BEN), self._call, self._attempts)

    def _ledger(self, author: str) -> Any:
        return Signer(author, self)

    def _attempts(self, device_id: str) -> LocalAttempts:
        return LocalAttempts(self.homes["ben"] / "jobs")

    async def _call(
        self, key: bytes, method: str, path: str, body: Mapping[str, object] | None
    ) -> Any:
        self.asked.append(path)
        words = path.partition("?")[0].split("/")
        if words[-1] == "listing":
            return self.spoil(msgspec.to_builtins(await self.ben.list_left(ANA, words[3], 1)))
        query = dict(one.split("=") for one in path.partition("?")[2].split("&"))
        if key.hex() == ANA:
            part = await self.ana.given(BEN, words[3], words[5], int(query["offset"]))
        else:
            part = await self.ben.left(ANA, words[3], 1, query["path"], int(query["offset"]))
        return self.spoil(msgspec.to_builtins(part))


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def packed(pair: Pair, tmp_path: Path) -> Body:
    root = tmp_path / "source"
    root.mkdir()
    (root / "big.bin").write_bytes(bytes(3_000_000))
    (root / "empty").write_bytes(b"")
    (root / "same.bin").write_bytes(bytes(3_000_000))
    return Body(files=workdir.pack(pair.homes["ana"], "j", str(root)))


async def test_the_owner_fetches_each_content_once_and_lays_it_out(
    pair: Pair, tmp_path: Path
) -> None:
    body = packed(pair, tmp_path)
    await pair.ben.bring(pair.state.jobs["j"], body)
    assert len(pair.asked) == 4  # three parts of a MiB, and one of nothing
    files = workdir.given(pair.homes["ben"], "j", body)
    work = Path(await LocalAttempts(pair.homes["ben"] / "jobs").give("j", 1, files))
    assert (work / "same.bin").read_bytes() == bytes(3_000_000)
    assert (work / "empty").read_bytes() == b""
    await pair.ben.bring(pair.state.jobs["j"], body)
    assert len(pair.asked) == 4


def other_bytes(said: dict[str, Any]) -> dict[str, Any]:
    return said | {"data": base64.b64encode(b"x" * 100).decode()}


def endless(said: dict[str, Any]) -> dict[str, Any]:
    return said | {"data": base64.b64encode(bytes(1 << 20)).decode(), "size": 1 << 50}


def nothing(said: dict[str, Any]) -> dict[str, Any]:
    return said | {"data": ""}


def nonsense(said: dict[str, Any]) -> Any:
    return ["no", "part"]


@pytest.mark.parametrize("spoil", [other_bytes, endless, nothing, nonsense])
async def test_what_is_not_what_was_named_is_not_kept(
    spoil: Any, pair: Pair, tmp_path: Path
) -> None:
    body = packed(pair, tmp_path)
    pair.spoil = spoil
    with pytest.raises(RequestError) as caught:
        await pair.ben.bring(pair.state.jobs["j"], body)
    assert caught.value.code == "BadAnswer"
    left = [one for one in (pair.homes["ben"] / "jobs").rglob("*") if one.is_file()]
    assert sum(one.stat().st_size for one in left) <= 4 << 20
    assert not [one for one in left if not one.name.startswith(".") and one.stat().st_size]


async def test_files_go_to_the_devices_owner_and_back_to_the_jobs_home_alone(
    pair: Pair, tmp_path: Path
) -> None:
    body = packed(pair, tmp_path)
    with pytest.raises(RequestError, match="owner"):
        await pair.ana.given(ANA, "j", body.files[0].hash, 0)
    with pytest.raises(RequestError, match="home"):
        await pair.ben.left(BEN, "j", 1, "out", 0)
    with pytest.raises(RequestError, match="home"):
        await pair.ben.list_left(BEN, "j", 1)
    with pytest.raises(RequestError, match="home"):
        await pair.ben.list_left(ANA, "j-nobody", 1)
    with pytest.raises(RequestError, match="no such file"):
        await pair.ana.given(BEN, "j", "../" * 20 + "abcd", 0)
    work = pair.homes["ben"] / "jobs" / "j" / "1" / "work"
    work.mkdir(parents=True)
    (work / "out").write_text("done")
    part: FilePart = await pair.ana.get("j", "out", 0)
    assert base64.b64decode(part.data) == b"done"


def shown(listed: LeftFiles) -> tuple[list[tuple[str, int]], bool, bool]:
    return [(one.path, one.size_bytes) for one in listed.files], listed.more, listed.kept


async def test_files_are_listed_from_where_they_lie_also_at_the_jobs_home(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shown(await pair.ben.listed("j-nobody")) == ([], False, True)
    assert shown(await pair.ana.listed("j")) == ([], False, False), "the folder is gone"
    work = workdir.work_of(pair.homes["ben"], "j", 1)
    work.mkdir(parents=True)
    (work / "out.txt").write_text("made")
    whole = ([("out.txt", 4)], False, True)
    assert shown(await pair.ben.listed("j")) == shown(await pair.ana.listed("j")) == whole
    long = Path(*(c * 200 for c in "defghi"))
    (work / long.parent).mkdir(parents=True)
    (work / long).touch()
    assert shown(await pair.ana.listed("j")) == (whole[0], True, True), "nobody can ask for that"
    shutil.rmtree(work / ("d" * 200))
    (work / "second").touch()
    monkeypatch.setattr("mesh.edge.dispatch.files.MAX_LISTED", 1)
    assert shown(await pair.ana.listed("j")) == (whole[0], True, True)
    assert shown(await pair.ben.list_left(ANA, "j", 7)) == ([], False, False), "no such attempt"


@pytest.mark.parametrize(
    "said",
    [
        {"files": [{"path": "x" * 2000, "size_bytes": 1}], "more": False, "kept": True},
        {"files": [{"path": "x", "size_bytes": -1}], "more": False, "kept": True},
        {"files": [{"path": "x", "size_bytes": 1}] * 1001, "more": False, "kept": True},
        {"files": [], "more": False},
        [],
    ],
)
async def test_a_list_that_is_none_is_told_of(said: Any, pair: Pair) -> None:
    pair.spoil = lambda _: said
    with pytest.raises(RequestError) as caught:
        await pair.ana.listed("j")
    assert caught.value.code == "BadAnswer"


async def test_a_host_that_can_not_tell_is_said_and_not_taken_for_an_empty_one(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(*_: object) -> None:
        raise NoSpace("tower is full")

    monkeypatch.setattr(LocalAttempts, "left", silent)
    with pytest.raises(RequestError) as caught:
        await pair.ben.listed("j")
    assert (caught.value.code, caught.value.status) == ("NoSpace", 503)


async def test_files_of_a_job_that_only_the_ledger_remembers_are_read_from_it_once(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, reads = pair.state, []
    monkeypatch.setattr(
        "mesh.edge.dispatch.files.load_state", lambda *_, **__: reads.append(1) or whole
    )
    pair.state = State()
    pair.state.retired.add("j", "succeeded", ANA, (1, 0, 0), set())
    work = workdir.work_of(pair.homes["ben"], "j", 1)
    work.mkdir(parents=True)
    (work / "out.txt").write_text("made")
    for _ in range(3):
        assert shown(await pair.ben.listed("j")) == ([("out.txt", 4)], False, True)
        part = await pair.ben.get("j", "out.txt", 0)
        assert base64.b64decode(part.data) == b"made"
    assert len(reads) == 1
    assert shown(await pair.ben.listed("j-nobody")) == ([], False, True)
