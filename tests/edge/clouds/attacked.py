"""One account's actor over a cloud that answers what a test says, and a ledger in memory in which
other members may write what they like."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

from mesh.edge.clouds.renting.account import Account
from mesh.edge.clouds.renting.ports import MachineKeys
from mesh.edge.clouds.renting.wire import NotingWire
from mesh.ledger.event import Event
from mesh.policy.rentals.values import Shares
from mesh.state.state import State
from providers.rental.contract import (
    Accepted,
    Created,
    Ended,
    Made,
    Offer,
    Order,
    Page,
    Profile,
    Reply,
    Request,
    Row,
    SshAt,
    Unread,
)
from tests.policy.rentals.desk import offer, profile

T0 = 1_790_000_000_000
ME, CROOK = "A", "0"  # of two with one turn the higher key has an account


class Inner:
    """Every reply has the provider's date, and nothing else."""

    def __init__(self) -> None:
        self.now_ms = T0
        self.dates: list[int] = []  # what the next replies say, before they say `now_ms` again

    async def send(self, request: Request) -> Reply:
        said = self.dates.pop(0) if self.dates else self.now_ms
        return Reply(status=200, headers={"date": formatdate(said / 1000, usegmt=True)})


class Cloud:
    """Lists `rows`, takes every end, makes machines named by a count."""

    def __init__(self, wire: NotingWire, known: Profile) -> None:
        self.profile = known
        self.wire, self.rows = wire, list[Row]()
        self.ended: list[str] = []
        self.made: list[Order] = []

    async def page(self, after: str) -> Page | Unread:
        await self.wire.send(Request(op="list", method="GET", path="/"))
        return Page(rows=tuple(self.rows))

    async def terminate(self, instance_id: str) -> Ended:
        self.ended.append(instance_id)
        return Accepted()

    async def create(self, order: Order) -> Created:
        self.made.append(order)
        return Made(instance_id=str(len(self.made)))


class Others:
    """Who makes keys and chooses offers; every machine that is looked into works."""

    async def make(self, rental_id: str) -> MachineKeys:
        await asyncio.sleep(0)
        return MachineKeys(user_public_key="u", host_private_key="p", host_public_key="h")

    def forget(self, rental_ids: object) -> None:
        pass

    async def choose(self, request: object, tried: object) -> Offer:
        return offer()

    async def probe(self, rental: object, ssh: object, needs: object) -> str:
        return "engine"

    async def work(self, rental: object) -> str:
        return "begun"


class Attacked:
    """The peer "A", its actor, and what others write."""

    def __init__(
        self,
        shares: Shares | None = None,
        *,
        account: str = "main",
        state: State | None = None,
        spending: asyncio.Lock | None = None,
        elsewhere: Callable[[], frozenset[str]] = frozenset,
        known: Profile | None = None,
    ) -> None:
        self.inner, self.state = Inner(), state or State()
        self.account = account
        self.own_ms, self.count, self.full, self.may = 5_000, 0, False, True
        self.alarms: list[tuple[str, str]] = []
        self.said: list[str] = []
        wire = NotingWire(self.inner, lambda: self.own_ms, self.sleep)
        self.cloud = Cloud(wire, known or profile())
        double: Any = self.cloud
        others: Any = Others()
        self.actor = Account(
            account,
            double,
            wire,
            peer=ME,
            mesh="m1",
            state=lambda: self.state,
            emit=self._emit,
            offers=others,
            ladder=others,
            keys=others,
            alarm=lambda rental_id, why: self.alarms.append((rental_id, why)),
            shares=lambda: shares or Shares(),
            nonce=lambda: "n" * 8,
            own_ms=lambda: self.own_ms,
            may_act=lambda: self.may,
            spending=spending,
            elsewhere=elsewhere,
            sleep=self.sleep,
        )

    async def _emit(self, kind: str, payload: dict[str, object]) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        await asyncio.sleep(0)  # a disk takes its time
        self.said.append(kind)
        payload.pop("provider", None)
        payload.pop("account", None)
        self.write(kind, ME, **payload)

    def write(self, kind: str, author: str = CROOK, **payload: Any) -> None:
        """A member's event is folded in."""
        self.count += 1
        where = {} if kind == "request_ended" else {"provider": "vastai", "account": self.account}
        self.state.rentals.take(
            Event(
                id=f"e{self.count}", hash="", timestamp="", device_id="", event_type=kind,
                payload={**where, **payload}, author=author, seq=self.count, prev="",
                hlc=f"{T0:013d}-{self.count:05d}", sig="", v=1,
            )
        )  # fmt: skip

    async def sleep(self, seconds: float) -> None:
        self.pass_ms(int(seconds * 1000))

    def pass_ms(self, ms: int) -> None:
        """Time goes on, here and at the provider."""
        self.own_ms += ms
        self.inner.now_ms += ms

    async def steps(self, count: int = 1, pause_ms: int = 1_000) -> None:
        """The actor's next so many steps, each with the calls it began."""
        for _ in range(count):
            await self.actor._step()
            for task in list(self.actor._tasks):
                await task
            self.pass_ms(pause_ms)

    async def rented(self) -> str:
        """A machine that was asked for and made, as this peer wanted it; the rental's id."""
        asked = {"request_id": "r1", "life_ms": 3_600_000, "cap_nusd": 100 * 10**9}
        self.write("rental_requested", ME, **asked)
        for _ in range(40):
            await self.steps()
            if self.cloud.made:
                break
        (one,) = self.actor.view.rentals.values()
        self.cloud.rows = [self.row(one.instance_id, one.label)]
        await self.steps(20)
        return one.rental_id

    def row(self, instance_id: str, label: str, less: int = 0) -> Row:
        price = offer().hourly_nusd - less
        return Row(
            instance_id=instance_id,
            label=label,
            status="up",
            price_nusd=price,
            rate_nusd=price,
            ssh=SshAt(host="192.0.2.1", port=22, user="root"),
        )
