"""What is made for a machine before it is intended: money first, then keys; nothing of either stays
where nothing was intended."""

from pathlib import Path
from typing import Any

import pytest

from mesh.edge.budgets.paying import RentalBudgets
from mesh.edge.clouds import machines, service
from mesh.edge.clouds.machines import FOLDER, KeyFiles
from mesh.edge.disk import StoreError
from mesh.state.rentals.terms import HOUR_MS
from tests.edge.clouds.attacked import ME, Attacked
from tests.edge.clouds.test_budgeted import NO, Purse
from tests.edge.clouds.test_service import Desk


class Held(Purse):
    """A test double: notes what is let go, too."""

    def __init__(self, *, no: str = "") -> None:
        super().__init__(no=no)
        self.let = list[str]()

    async def let_go(self, rental_id: str) -> None:
        self.let.append(rental_id)


class Wanting(Attacked):
    """A machine is wanted; keys are files."""

    def __init__(self, home: Path, purse: Held) -> None:
        super().__init__()
        self.home, self.chosen, self.named = home, 0, 0
        vars(self.actor).update(_keys=KeyFiles(home), _budgets=purse, _nonce=self._nonce)
        offers: Any = self.actor.calls._offers
        self._choose = offers.choose
        offers.choose = self.choose
        self.write("rental_requested", ME, request_id="r1", life_ms=HOUR_MS, cap_nusd=10**12)

    def _nonce(self) -> str:
        self.named += 1
        return f"n{self.named:07d}"

    async def choose(self, *asked: object) -> object:
        self.chosen += 1
        return await self._choose(*asked)

    def folders(self) -> list[Path]:
        folder = self.home / FOLDER
        return list(folder.iterdir()) if folder.is_dir() else []

    async def an_hour(self) -> None:
        end_ms = self.inner.now_ms + HOUR_MS
        while self.inner.now_ms < end_ms:
            await self.steps()


async def test_while_there_is_no_money_no_key_is_made(tmp_path: Path) -> None:
    peer = Wanting(tmp_path, Held(no=NO))
    await peer.an_hour()
    assert not peer.folders()
    assert not peer.actor.view.rentals
    assert peer.chosen <= 62, "what was chosen is kept for a minute"


async def test_a_disk_that_takes_no_keys_is_told_once_and_tried_again_each_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device", str(path))

    purse = Held()
    peer = Wanting(tmp_path, purse)
    monkeypatch.setattr(machines, "write_private", full)
    await peer.an_hour()
    assert capfd.readouterr().err == (
        "fleet: cannot keep a machine's keys: No space left on device; "
        "free some disk space; nothing was lost and nothing half written\n"
    )
    assert not peer.folders()
    assert peer.chosen <= 62
    assert peer.actor.reasons == {"r1": "cannot keep a machine's keys: No space left on device"}
    assert purse.let == [rental_id for rental_id, _ in purse.asked], "its money is free again"
    monkeypatch.undo()
    await peer.steps(90)
    assert len(peer.cloud.made) == 1
    assert len(peer.folders()) == 1


async def test_an_intent_that_cannot_be_written_leaves_no_key_and_holds_no_money(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    purse = Held()
    peer = Wanting(tmp_path, purse)
    emit = peer.actor._write._emit

    async def full(kind: str, payload: dict[str, object]) -> object:
        if kind == "rental_intended":
            raise StoreError("the ledger is full", "make room")
        return await emit(kind, payload)

    vars(peer.actor._write)["_emit"] = full
    await peer.an_hour()
    assert capfd.readouterr().err == "fleet: the ledger is full; make room\n"
    assert not peer.folders()
    assert not peer.actor.seen.fresh
    assert purse.let == [rental_id for rental_id, _ in purse.asked]
    vars(peer.actor._write)["_emit"] = emit
    await peer.steps(90)
    assert len(peer.cloud.made) == 1


async def test_what_was_held_for_a_machine_that_is_not_intended_is_released() -> None:
    class Book:
        """A test double of a purse."""

        def __init__(self) -> None:
            self.released = list[tuple[str, str]]()

        async def hold(self, *_: object, **__: object) -> str:
            return "h-1"

        async def release(self, hold_id: str, why: str) -> None:
            self.released.append((hold_id, why))
            raise StoreError("the disk is full", "make room")

    book: Any = Book()
    request: Any = Wanting(Path("nowhere"), Held()).actor.request("r1")
    budgets = RentalBudgets(book, lambda no: no)
    assert await budgets.hold(request, "r1x1x1xa", 5) == ""
    await budgets.let_go("r1x1x1xa")
    await budgets.let_go("r1x1x1xa")
    assert book.released == [("h-1", "not_intended")]


async def test_machines_that_cannot_be_let_go_for_a_full_disk_are_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def step() -> None:
        raise StoreError("the disk is full", "make room")

    clouds = Desk(tmp_path).clouds
    monkeypatch.setattr(service, "RETRY_S", 0.0)
    monkeypatch.setattr(clouds.machines, "step", step)
    for _ in range(3):
        await clouds._tend()
    assert capfd.readouterr().err == "fleet: the disk is full; make room\n"
