"""A key of an account is replaced: what was rented with the old one is worked on with the new one,
is returned when a person says so, and costs once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mesh.api.errors import RequestError
from mesh.edge.clouds import working as working_module
from mesh.edge.clouds.adapters import Line
from mesh.edge.clouds.asking import Asking
from mesh.edge.clouds.former import FILE, MAX_KEPT, note, opened_by
from mesh.edge.clouds.keys import Key
from mesh.edge.clouds.renting.account import Account
from mesh.edge.clouds.working import Working
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.rentals import AccountKey
from mesh.state.rentals.terms import MIN_MS
from mesh.state.state import State
from tests.edge.clouds.attacked import CROOK, ME, Attacked

OLD, NEW = ("vastai", "old"), ("vastai", "new")
KEY = Key("a-key-of-nobody")


class Peer:
    """One that works on accounts by hand: each key lists `rows`, and its actor moves by steps."""

    def __init__(self, home: Path, state: State, now_ms: int, rows: list[Any]) -> None:
        self.home, self.state, self.now_ms, self.rows = home, state, now_ms, rows
        self.at: dict[AccountKey, Attacked] = {}
        self.working = Working(home, ME, lambda: state, self._make)
        self.ended: list[str] = []
        held: Any = SimpleNamespace(
            accounts=self.working.keyed,
            account=self.working.get,
            market=SimpleNamespace(offers=()),
            hosts=dict,
            renamed=lambda: None,
        )
        self.asking = Asking(held, ME, lambda: state, self._emit)

    def _make(self, name: AccountKey, line: Line) -> Account:
        made = Attacked(account=name[1], state=self.state, elsewhere=self._elsewhere(name))
        made.inner.now_ms, made.count = self.now_ms, 1000 * (1 + len(self.at))
        made.cloud.rows, made.cloud.ended = self.rows, self.ended
        self.at[name] = made
        return made.actor

    def _elsewhere(self, name: AccountKey) -> Any:
        return lambda: self.working.elsewhere(name)

    async def _emit(self, kind: str, payload: dict[str, object]) -> None:
        self.at[NEW].write(kind, ME, **payload)

    async def steps(self, count: int, pause_ms: int = 1_000) -> None:
        for _ in range(count):
            for name in self.working.every():
                self.at[name].inner.now_ms = self.now_ms
                await self.at[name].steps(1, pause_ms)
            self.now_ms += pause_ms
            self.rows[:] = [row for row in self.rows if row.instance_id not in self.ended]


@pytest.fixture(autouse=True)
def no_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    async def close() -> None:
        return None

    def open_line(provider: str, key: Key) -> Line:
        nothing: Any = None
        return Line(cloud=nothing, wire=nothing, close=close)

    async def forever(_: Account) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(working_module, "open_line", open_line)
    monkeypatch.setattr(Account, "run", forever)  # a test takes the steps itself


async def replaced(home: Path) -> tuple[Peer, Rental]:
    """A machine runs that was rented with the old key; the daemon was started anew with another."""
    before = Attacked(account="old")
    rental_id = await before.rented()
    one = before.actor.rental(rental_id)
    assert one is not None
    peer = Peer(home, before.state, before.inner.now_ms, before.cloud.rows)
    await peer.working.add(NEW, KEY)
    await peer.steps(10)
    return peer, one


def here(peer: Peer) -> dict[str, list[str]]:
    every = peer.state.rentals.accounts.items()
    return {name[1]: sorted(account.rentals) for name, account in every}


async def test_what_the_old_key_rented_goes_on_in_its_account_with_the_new_one(
    tmp_path: Path,
) -> None:
    peer, one = await replaced(tmp_path)
    await peer.working.take_over()
    assert set(peer.working.former) == {OLD}
    assert set(peer.working.keyed) == {NEW}, "what is asked for goes to the key of now"
    await peer.steps(200)
    assert (one.state, one.wanted, peer.ended) == ("running", True, [])
    assert here(peer) == {"old": [one.rental_id], "new": []}, "it is metered once"
    contacts = peer.at[OLD].actor.seen.probe
    assert one.rental_id in contacts, "it is looked into, so that its dead-man waits"
    peer.now_ms = one.made_ms + one.life_ms + 1
    await peer.steps(400)
    assert (one.state, one.over, peer.ended[:1]) == ("absent", "life_over", [one.instance_id])
    assert here(peer)["new"] == []
    await peer.working.end()


async def test_a_return_by_the_new_key_returns_what_the_old_one_rented(tmp_path: Path) -> None:
    peer, one = await replaced(tmp_path)
    await peer.working.take_over()
    assert await peer.asking.give_back("r1") == {"request_id": "r1", "rental_id": None}
    await peer.steps(300)
    assert (one.state, one.over, peer.ended[:1]) == ("absent", "cancelled", [one.instance_id])
    await peer.working.end()


async def test_once_it_is_gone_the_next_process_still_sees_it_gone(tmp_path: Path) -> None:
    peer, one = await replaced(tmp_path)
    await peer.working.take_over()
    await peer.asking.give_back("r1")
    await peer.steps(8)
    assert (peer.ended, one.state) == ([one.instance_id], "terminating")
    await peer.working.end()
    after = Peer(tmp_path, peer.state, peer.now_ms, peer.rows)
    await after.working.add(NEW, KEY)
    assert set(after.working.former) == {OLD}, "nothing lists it: it was noted"
    await after.steps(200)
    assert one.state == "absent"
    await after.working.end()
    last = Peer(tmp_path, peer.state, after.now_ms, peer.rows)
    await last.working.add(NEW, KEY)
    assert last.working.former == {}, "nothing is left to do there"
    await last.working.end()


async def test_a_key_that_is_back_does_its_own_work(tmp_path: Path) -> None:
    peer, _ = await replaced(tmp_path)
    await peer.working.take_over()
    await peer.working.add(OLD, KEY)
    assert (set(peer.working.keyed), peer.working.former) == ({OLD, NEW}, {})
    await peer.working.take_over()
    assert peer.working.former == {}
    await peer.working.end()


async def test_a_key_that_is_taken_no_more_is_helped_by_the_new_one(tmp_path: Path) -> None:
    """The daemon was not started anew since."""
    peer, _ = await replaced(tmp_path)
    await peer.working.add(OLD, KEY)
    for trouble, former in (("timeout", set()), ("auth", {OLD})):
        peer.at[OLD].actor.calls.trouble = trouble
        await peer.working.take_over()
        assert set(peer.working.former) == former
    assert set(peer.working.keyed) == {NEW}
    await peer.working.end()


async def test_where_no_key_lists_a_machine_a_return_says_so_and_ends_nothing(
    tmp_path: Path,
) -> None:
    """The new key is another account's."""
    peer, one = await replaced(tmp_path)
    peer.at[NEW].actor.calls.rows = {}
    await peer.working.take_over()
    assert peer.working.former == {}
    for name in ("r1", one.rental_id, one.instance_id):
        with pytest.raises(RequestError) as caught:
            await peer.asking.give_back(name)
        assert (caught.value.code, caught.value.status) == ("NoKey", 409)
        assert "this peer can't return it, and it may cost" in caught.value.text
        assert "fleet clouds login vastai with that key, or fleet return r1" in caught.value.hint
    request = peer.state.rentals.requests.views["r1"]
    assert (request.over, one.wanted, peer.ended) == ("", True, [])
    await peer.working.end()


async def test_another_members_word_keeps_no_request_from_ending(tmp_path: Path) -> None:
    peer, _ = await replaced(tmp_path)
    await peer.working.take_over()
    crook = Attacked(account="made up", state=peer.state)
    crook.count = 90_000
    for who in (CROOK, ME):
        crook.write("account_taken", CROOK, epoch=1 + (who == ME), peer=who)
    strange = {"rental_id": "x", "turn": 1, "at_ms": 1, "request_id": "r1", "instance_id": "9"}
    crook.write("orphan_found", CROOK, **strange)
    crook.write("rental_intended", CROOK, **(strange | {"rental_id": "y"}))
    assert await peer.asking.give_back("r1") == {"request_id": "r1", "rental_id": None}
    await peer.working.end()


async def test_what_another_peer_rented_is_ended_by_the_key_here_that_lists_it(
    tmp_path: Path,
) -> None:
    """Each has a key of its own; the other may be away."""
    peer, one = await replaced(tmp_path)
    ben = Attacked(account="bens", state=peer.state)
    ben.count = 90_000
    ben.write("account_taken", "B", epoch=1, peer="B")
    ben.write("rental_requested", "B", request_id="r2", life_ms=60 * MIN_MS, cap_nusd=10**9)
    label = one.label.replace("r1x1x1", "r2x1x1")
    named = {"rental_id": one.rental_id.replace("r1x1x1", "r2x1x1"), "at_ms": peer.now_ms}
    said = {"request_id": "r2", "label": label, "life_ms": 60 * MIN_MS, "quote_nusd": 10**9}
    ends = {"expires_ms": peer.now_ms + 65 * MIN_MS}
    ben.write("rental_intended", "B", turn=peer.now_ms, **named, **said, **ends)
    made = {"instance_id": "22", "why": "answered"}
    ben.write("create_answered", "B", turn=peer.now_ms + 1, **named, **made)
    assert await peer.asking.give_back("r2") == {"request_id": "r2", "rental_id": None}
    assert peer.ended == [], "it is not listed here: its own peer ends it"
    peer.rows.append(ben.row("22", label))
    await peer.steps(20, 20_000)
    with pytest.raises(RequestError):
        await peer.asking.give_back("22x")
    done = await peer.asking.give_back("22")
    assert (done["rental_id"], peer.ended) == (named["rental_id"], ["22"])
    assert here(peer)["new"] == []
    await peer.working.end()


# What is noted.


def test_what_is_noted_is_read_again_and_only_so_much_is_kept(tmp_path: Path) -> None:
    for n in range(MAX_KEPT + 1):
        note(tmp_path, ("runpod", f"old{n}"), "new")
    note(tmp_path, OLD, "new")
    note(tmp_path, ("vastai", "older"), "old")
    assert opened_by(tmp_path, NEW) == {OLD}
    assert opened_by(tmp_path, OLD) == {("vastai", "older")}
    found = opened_by(tmp_path, ("runpod", "new"))
    assert len(found) == MAX_KEPT - 2
    assert ("runpod", "old0") not in found


@pytest.mark.parametrize("text", ["", "[]", "3", '{"vastai old": 3}', '{"vastai": "new"}', "\xff"])
def test_a_damaged_note_says_nothing(tmp_path: Path, text: str) -> None:
    assert opened_by(tmp_path, NEW) == frozenset(), "there is none yet"
    (tmp_path / FILE).write_text(text)
    assert opened_by(tmp_path, NEW) == frozenset()
    note(tmp_path, OLD, "new")
    assert opened_by(tmp_path, NEW) == {OLD}


def test_a_full_disk_keeps_nobody_from_going_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mesh.edge.clouds.former.write_private", full)
    note(tmp_path, OLD, "new")
    assert opened_by(tmp_path, NEW) == frozenset()
