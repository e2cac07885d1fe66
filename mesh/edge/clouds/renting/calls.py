"""What an account's actor asks of the provider and of machines; each ends with what it proves being
written. A call that fails in a way that nobody foresaw is an answer that proves nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, final

from mesh.edge.clouds.renting.ordering import needs_of
from mesh.edge.clouds.renting.ports import Alarm, Found, Ladder, Offers
from mesh.edge.clouds.renting.reading import read_all
from mesh.policy.rentals.hearing import (
    heard_charges,
    heard_create,
    heard_listing,
    heard_probe,
    heard_setup,
    heard_terminate,
    heard_work,
)
from mesh.policy.rentals.listing import Whole
from mesh.policy.rentals.timers import AGAIN_MS, CALL_LIMIT_MS, PROBE_MS, RISES_EVERY_MS
from mesh.policy.rentals.values import SETUP_FAILED, Chosen, Say
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.terms import DAY_MS, S_MS
from providers.rental.contract import (
    Accepted,
    Cloud,
    Order,
    Page,
    Rise,
    Row,
    SshAt,
    Unread,
)
from providers.rental.labels import read_label

if TYPE_CHECKING:
    from mesh.edge.clouds.renting.account import Account

# What a person must mend: said at once.
LOUD: Final = frozenset({"auth", "retired"})
# Listings that failed in a row until a person is told: some eight minutes.
MANY_FAILS: Final = 16
# For all pages of one listing: a provider that drips one after the other keeps nobody blind for
# hours. Forty pages, a thousand machines, take a minute.
LISTING_S: Final = 600.0
# A label lives as long as its request: few live longer than a month.
STRANGE_MS: Final = 31 * DAY_MS


@final
class Calls:
    """Calls of one account's actor."""

    def __init__(
        self, actor: Account, cloud: Cloud, offers: Offers, ladder: Ladder, alarm: Alarm
    ) -> None:
        self._actor: Final = actor
        self._cloud: Final = cloud
        self._offers: Final = offers
        self._ladder: Final = ladder
        self._alarm: Final = alarm
        self.rows: dict[str, Row] = {}  # the last whole listing, by the provider's id
        self.trouble = ""  # why the last listing was none

    def ssh(self, one: Rental) -> SshAt | None:
        """Where a machine's sshd answers, as last listed."""
        row = self.rows.get(one.instance_id)
        return None if row is None else row.ssh

    async def create(self, rental_id: str, order: Order) -> None:
        """Ask for one machine, once."""
        created = await self._cloud.create(order)

        def prove() -> list[Say]:
            one = self._actor.rental(rental_id)
            return [] if one is None else heard_create(one, created)

        await self._actor.write(prove)

    async def terminate(self, rental_id: str) -> None:
        """Ask for a machine's end."""
        before = self._actor.rental(rental_id)
        if before is None or not before.instance_id:
            return
        if not self._is_ours(before):
            self._spare(before)
            return
        ended = await self._cloud.terminate(before.instance_id)

        def prove() -> list[Say]:
            one, now_ms = self._actor.rental(rental_id), self._actor.clock.now()
            return [] if one is None else heard_terminate(one, self._actor.seen, ended, now_ms)

        await self._actor.write(prove)

    def _is_ours(self, one: Rental) -> bool:
        """Whether its machine carries a label of ours, or the provider named it to this peer when
        it was made: what another member says of a machine ends none that is somebody's own."""
        here, row = self._actor.here, self.rows.get(one.instance_id)
        names = (here.mesh, *here.was)
        if row is not None and any(read_label(name, row.label) for name in names):
            return True
        return any(
            step.author == here.peer
            and step.kind == "create_answered"
            and step.payload.get("instance_id") == one.instance_id
            for step in one.steps
        )

    def _spare(self, one: Rental) -> None:
        """It is not asked for an end now; a person is told once that the ledger wants it."""
        seen, now_ms = self._actor.seen, self._actor.clock.now()
        if one.rental_id not in seen.again:
            self._alarm(one.rental_id, "not_ours")
        tries = seen.again.get(one.rental_id, (0, 0))[0]
        seen.again[one.rental_id] = (tries, now_ms + AGAIN_MS[-1])

    async def list(self) -> None:
        """Read all pages, in the turn that was taken for the first; what a whole listing proves is
        written."""
        seen, clock = self._actor.seen, self._actor.clock
        begun = clock.own()
        waits = False

        async def page(after: str) -> Page | Unread:
            nonlocal waits
            if waits:
                await self._actor.until_allowed("list")
            waits = True
            return await self._cloud.page(after)

        try:
            async with asyncio.timeout(LISTING_S):
                rows = await read_all(page)
        except TimeoutError:
            rows = Unread(why="timeout")
        if not isinstance(rows, Unread) and clock.in_doubt:
            rows = Unread(why="clock")  # when that was nobody knows: it proves nothing
        if isinstance(rows, Unread):
            self._failed(rows)
            return
        self.rows = {row.instance_id: row for row in rows}
        self.trouble = ""
        here = self._actor.here

        def prove() -> list[Say]:
            seen.next_list_ms = 0
            whole = Whole(rows=rows, begun_ms=clock.at(begun), ended_ms=clock.now())
            return heard_listing(
                self._actor.view,
                seen,
                whole,
                here.peer,
                here.mesh,
                *here.was,
                elsewhere=self._actor.elsewhere(),
            )

        await self._actor.write(prove)

    def _failed(self, unread: Unread) -> None:
        seen = self._actor.seen
        seen.fails += 1
        pause_ms = AGAIN_MS[min(seen.fails, len(AGAIN_MS)) - 1]
        seen.next_list_ms = self._actor.clock.now() + pause_ms
        is_new = unread.why in LOUD and self.trouble != unread.why
        if is_new or seen.fails == MANY_FAILS:
            self._alarm("", unread.why)
        self.trouble = unread.why

    async def probe(self, rental_id: str) -> None:
        """Look into a machine, and at what it was rented for."""
        seen, now_ms = self._actor.seen, self._actor.clock.now()
        one = self._actor.rental(rental_id)
        at = None if one is None else self.ssh(one)
        if one is None or at is None:
            seen.probe[rental_id] = now_ms + PROBE_MS
            return
        step: Found = ""
        work = "none"
        needs = needs_of(self._actor.request(one.request_id), self._cloud.profile.default_image)
        try:
            async with asyncio.timeout(CALL_LIMIT_MS / S_MS):
                step = await self._ladder.probe(one, at, needs)
                if step == "engine":
                    work = await self._ladder.work(one)
        except TimeoutError:
            pass  # no answer within the time is none

        def reached() -> list[Say]:
            now = self._actor.rental(rental_id)
            at_ms = self._actor.clock.now()
            if now is None:
                return []
            if step == SETUP_FAILED:
                return [*heard_probe(now, seen, "sshd", at_ms), *heard_setup(now)]
            return heard_probe(now, seen, step, at_ms)

        def worked() -> list[Say]:
            now = self._actor.rental(rental_id)
            return [] if now is None else heard_work(now, work)

        await self._actor.write(reached)
        await self._actor.write(worked)

    async def choose(self, request_id: str) -> None:
        """Have an offer chosen for a request."""
        seen, request = self._actor.seen, self._actor.request(request_id)
        if request is None:
            return
        chosen = await self._offers.choose(request, self._tried(request_id))
        now_ms = self._actor.clock.now()
        if isinstance(chosen, str):
            seen.chosen[request_id] = Chosen(offer=None, why=chosen, at_ms=now_ms)
        else:
            seen.chosen[request_id] = Chosen(offer=chosen, why="", at_ms=now_ms)

    def _tried(self, request_id: str) -> tuple[str, ...]:
        """Offers that failed for the request, the last first."""
        mine = [
            one
            for one in self._actor.view.rentals.values()
            if one.request_id == request_id and one.offer_id
        ]
        last = sorted(mine, key=lambda one: -one.made_ms)
        return tuple(dict.fromkeys(one.offer_id for one in last))

    async def rises(self) -> None:
        """Refuse to pay more for machines of ours; others are a person's."""
        seen = self._actor.seen
        seen.rises_ms = self._actor.clock.now() + RISES_EVERY_MS
        rises = await self._cloud.rises()
        if isinstance(rises, Unread):
            return
        by_id = {one.instance_id: one.rental_id for one in self._actor.view.open()}
        for rise in rises:
            if rise.instance_id in by_id:
                await self._refuse(rise, by_id[rise.instance_id])

    async def _refuse(self, rise: Rise, rental_id: str) -> None:
        await self._actor.until_allowed("refuse")
        done = await self._cloud.refuse(rise)
        if not isinstance(done, Accepted):
            return  # it is asked again
        fields = {"rise_id": rise.request_id, "new_hourly_nusd": rise.new_hourly_nusd}
        await self._actor.write(lambda: [Say("price_rise_refused", rental_id, fields)])

    async def charges(self, rental_id: str) -> None:
        """Ask what a machine cost."""
        before = self._actor.rental(rental_id)
        if before is None:
            return
        # Of what was found without its intent nobody knows since when it is there.
        from_ms = before.called_ms - (0 if before.author else STRANGE_MS)
        charges = await self._cloud.charges(before.instance_id, from_ms, before.since_ms)

        def prove() -> list[Say]:
            one, now_ms = self._actor.rental(rental_id), self._actor.clock.now()
            return [] if one is None else heard_charges(one, self._actor.seen, charges, now_ms)

        await self._actor.write(prove)
