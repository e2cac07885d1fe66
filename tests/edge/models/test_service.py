"""What the daemon is asked about models: is it here, bring it here, who has it, remove it."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from mesh.api.errors import RequestError
from mesh.config import Config
from mesh.edge.models import fetch as fetching
from mesh.edge.models import line, service
from mesh.edge.models.answers import only_content
from mesh.edge.models.around import ASK_S, Copy, Member, Silent
from mesh.edge.models.service import Models
from mesh.state.state import State
from providers.models.identity import ModelIdentity
from tests.edge.models.conftest import Peer, nobodys_models

RIG = Member(key=b"k" * 32, name="rig")


class FakeAround:
    """A test double of the fleet: one other member, at a public address, with one model."""

    def __init__(self, identity: ModelIdentity) -> None:
        self.identity = identity
        self.asked: list[tuple[str, object]] = []
        self.silent: list[Silent] = []
        self.address = "203.0.113.7"

    def member(self, key: bytes) -> Member:
        assert key == RIG.key
        return RIG

    def named(self, text: str) -> Member:
        assert text == RIG.name
        return RIG

    def places(self, key: bytes) -> list[tuple[tuple[str, int], None]]:
        return [((self.address, 7433), None)]

    async def copies(self, member: Member, query: str) -> list[Copy]:
        known = (self.identity.quick_hash, self.identity.name)
        if query.partition("=")[2] not in known:
            return []
        return [Copy(member=member, identity=self.identity, keeper="folder", transfer_ms=1.0)]

    async def who_has(self, query: str, within_s: float = ASK_S) -> tuple[list[Copy], list[Silent]]:
        return await self.copies(RIG, query), self.silent

    async def ask(self, member: Member, method: str, path: str, body: object) -> dict[str, object]:
        self.asked.append((path, body))
        return {"state": "waiting"}


@pytest.fixture
async def models(
    tmp_path: Path, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Models]:
    nobodys_models(tmp_path, monkeypatch)
    monkeypatch.setattr(fetching, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(line, "HASHING_PAUSE_S", 0.001)
    monkeypatch.setattr(service, "pinned", lambda places, key: peer.connect())
    (tmp_path / "home").mkdir()
    made = made_models(tmp_path, peer)
    yield made
    made.close()
    await asyncio.gather(*made._tasks.values(), return_exceptions=True)


def made_models(tmp_path: Path, peer: Peer, metered: str = "no") -> Models:
    config = Config(name="me", metered=metered, models=(str(tmp_path / "mine"),))
    made = Models(tmp_path / "home", config, None, State)
    made.around = FakeAround(peer.identity)  # type: ignore[assignment, misc]
    return made


async def test_one_model_is_fetched_once_for_all_who_want_it(models: Models, peer: Peer) -> None:
    seen: list[int] = []
    one, two, three = await asyncio.gather(
        models.ensure(peer.identity, RIG.key, lambda got, _: seen.append(got)),
        models.ensure(peer.identity, RIG.key),
        models.ensure(peer.identity),
    )
    assert one == two == three
    assert one.read_bytes() == peer.parts[0].path.read_bytes()
    assert peer.sent == peer.identity.size_bytes
    assert seen[-1] == peer.identity.size_bytes
    assert await models.ensure(peer.identity, RIG.key) == one
    assert await models.have(peer.identity.quick_hash) == one
    assert await models.have("theirs") == one
    assert (await models.identity_of(one)).quick_hash == peer.identity.quick_hash
    assert peer.sent == peer.identity.size_bytes


async def test_a_fetch_ends_with_the_last_who_waits_for_it(models: Models, peer: Peer) -> None:
    begun = asyncio.Event()
    waiting = [
        asyncio.create_task(models.ensure(peer.identity, RIG.key, lambda *_: begun.set()))
        for _ in range(2)
    ]
    peer.busy = 3
    await begun.wait()
    waiting[0].cancel()
    await asyncio.wait([waiting[0]])
    assert not models._fetches[peer.identity.quick_hash].stop.is_set()
    waiting[1].cancel()
    await asyncio.wait([waiting[1]])
    assert models._fetches[peer.identity.quick_hash].stop.is_set()
    again = await models.ensure(peer.identity, RIG.key)  # which waits for the files to be closed
    assert again.read_bytes() == peer.parts[0].path.read_bytes()


async def ended(models: Models, model_id: str) -> dict[str, object]:
    await asyncio.wait([models._tasks[model_id]])
    return models.fetch(model_id)


async def test_a_pull_says_what_comes_and_then_that_it_is_here(models: Models, peer: Peer) -> None:
    row = await models.pull("theirs", "", metered=False)
    assert row["from"] == "rig"
    done = await ended(models, peer.identity.quick_hash)
    assert (done["state"], done["got_bytes"]) == ("done", peer.identity.size_bytes)
    assert (await models.pull("theirs", "rig", metered=False))["state"] == "here"


async def test_a_pull_that_was_cut_is_taken_up_after_a_restart(
    models: Models, peer: Peer, tmp_path: Path
) -> None:
    peer.cuts, peer.busy_after_cut = [1_000_000], 1000
    await models.pull("theirs", "", metered=False)
    assert (await ended(models, peer.identity.quick_hash))["state"] == "failed"
    peer.busy = 0
    again = made_models(tmp_path, peer)
    await again._take_up()
    assert (await ended(again, peer.identity.quick_hash))["state"] == "done"
    assert again._unfinished() == []
    again.close()


async def test_what_can_never_come_is_not_tried_again(models: Models, peer: Peer) -> None:
    peer.lie_at = 70_000
    await models.pull("theirs", "", metered=False)
    row = await ended(models, peer.identity.quick_hash)
    assert (row["state"], row["code"]) == ("failed", "BadChunk")
    assert models._unfinished() == []


async def test_a_metered_line_is_spent_only_by_a_person(
    models: Models, peer: Peer, tmp_path: Path
) -> None:
    dear = made_models(tmp_path, peer, metered="yes")
    with pytest.raises(RequestError, match="metered"):
        await dear.pull("theirs", "", metered=False)
    with pytest.raises(RequestError, match="metered"):
        await dear.ensure(peer.identity, RIG.key)
    with pytest.raises(RequestError, match="metered"):
        await dear.accept(peer.identity.to_json(), RIG.key)
    assert peer.sent == 0
    await dear.pull("theirs", "", metered=True)
    assert (await ended(dear, peer.identity.quick_hash))["state"] == "done"
    dear.close()


async def test_the_system_is_asked_whether_the_line_is_metered(
    models: Models, peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(service, "is_metered", lambda: bool(asked.append(1)) or True)
    auto = made_models(tmp_path, peer, metered="auto")
    assert await auto.is_metered()
    assert await auto.is_metered()
    assert asked == [1]
    auto.around.address = "127.0.0.1"  # type: ignore[attr-defined]
    await auto._refuse_metered(RIG, metered=False)  # loopback costs nothing
    auto.close()


async def test_a_push_asks_the_other_peer_to_fetch(
    models: Models, peer: Peer, tmp_path: Path
) -> None:
    mine = tmp_path / "mine" / "own.gguf"
    mine.parent.mkdir()
    mine.write_bytes(b"GGUFmine")
    assert (await models.push("own", "rig"))["to"] == "rig"
    path, body = models.around.asked[0]  # type: ignore[attr-defined]
    assert path == "/v1/models/fetch"
    assert json.loads(json.dumps(body))["model"]["files"] == [{"name": "own.gguf", "size_bytes": 8}]
    with pytest.raises(RequestError, match="no model 'none' on this machine"):
        await models.push("none", "rig")


async def test_what_a_member_offers_is_fetched_from_itself(models: Models, peer: Peer) -> None:
    await models.accept(peer.identity.to_json(), RIG.key)
    assert (await ended(models, peer.identity.quick_hash))["state"] == "done"
    assert (await models.accept(peer.identity.to_json(), RIG.key))["state"] == "here"
    bad = {"name": "../../x", "size_bytes": 1}
    with pytest.raises(RequestError, match="no name for a model's file"):
        await models.accept({**peer.identity.to_json(), "files": [bad]}, RIG.key)


async def test_an_unknown_model_is_one_line_that_names_who_was_silent(
    models: Models, peer: Peer
) -> None:
    with pytest.raises(RequestError, match="no model 'x' anywhere"):
        await models.pull("x", "", metered=False)
    with pytest.raises(RequestError, match="no model 'x' at rig"):
        await models.pull("x", "rig", metered=False)
    models.around.silent = [Silent(member=RIG, text="")]  # type: ignore[attr-defined]
    with pytest.raises(RequestError, match="silent: rig"):
        await models.pull("x", "", metered=False)
    with pytest.raises(RequestError, match="no model 'theirs' at any peer"):
        await models.ensure(replace(peer.identity, quick_hash="0" * 32))


def test_what_one_peer_knows_of_a_content_is_demanded_of_all(peer: Peer) -> None:
    def held(root: str) -> Copy:
        identity = replace(peer.identity, root=root)
        return Copy(member=RIG, identity=identity, keeper="", transfer_ms=1.0)

    assert only_content([held(""), held("1" * 64)], "m").identity.root == "1" * 64
    assert only_content([held("")], "m").identity.root == ""
    with pytest.raises(RequestError, match="copies of 'm' at several peers differ"):
        only_content([held("1" * 64), held("2" * 64)], "m")


async def test_removing_takes_what_was_fetched_and_leaves_what_others_keep(
    models: Models, peer: Peer, tmp_path: Path
) -> None:
    mine = tmp_path / "mine" / "own.gguf"
    mine.parent.mkdir()
    mine.write_bytes(b"GGUFmine")
    path = await models.ensure(peer.identity, RIG.key)
    with pytest.raises(RequestError, match="own was not fetched by fleet"):
        await models.remove("own", only_look=False)
    assert (await models.remove("theirs", only_look=True))["path"] == str(path)
    assert path.exists()
    said = await models.remove("theirs", only_look=False)
    assert int(str(said["freed_bytes"])) >= peer.identity.size_bytes
    assert not path.parent.exists()
    link = tmp_path / "link.gguf"
    link.symlink_to(mine)
    await models.remove(str(link), only_look=False)
    assert (link.is_symlink(), mine.exists()) == (False, True)
    await models.remove(str(mine), only_look=False)
    assert not mine.exists()
    with pytest.raises(RequestError, match="no model 'theirs' on this machine"):
        await models.remove("theirs", only_look=False)


async def test_removing_what_still_comes_stops_it(models: Models, peer: Peer) -> None:
    peer.busy = 1000
    await models.pull("theirs", "", metered=False)
    await models.remove("theirs", only_look=False)
    assert models.fetch(peer.identity.quick_hash)["state"] in ("stopped", "failed")
    assert models._unfinished() == []
    assert not models.local.folder(peer.identity.quick_hash).exists()
