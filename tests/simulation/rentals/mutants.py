"""Deliberately broken rentals: each must be caught, or the simulation could not see it."""

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from mesh.edge.clouds.renting import account as account_module
from mesh.edge.clouds.renting import calls as calls_module
from mesh.edge.clouds.renting import wire as wire_module
from mesh.edge.clouds.renting.account import Account
from mesh.edge.clouds.renting.calls import Calls
from mesh.edge.clouds.renting.clock import AccountClock
from mesh.edge.clouds.renting.ordering import order_of
from mesh.edge.clouds.renting.reading import read_all
from mesh.edge.clouds.renting.writing import Writing
from mesh.policy.rentals import decide as decide_module
from mesh.policy.rentals import listing as listing_module
from mesh.policy.rentals import wanting as wanting_module
from mesh.policy.rentals.hearing import heard_create, heard_listing, heard_terminate
from mesh.policy.rentals.listing import Whole
from mesh.policy.rentals.timers import POLL_MS
from mesh.policy.rentals.values import Command, Say, Seen
from mesh.state.rentals.rental import Rental
from providers.rental.contract import (
    Accepted,
    Created,
    Ended,
    Offer,
    Order,
    Page,
    Row,
    Unclear,
    Unread,
)
from providers.rental.labels import is_ours, read_label
from tests.emulators.machines import Machines
from tests.simulation.rentals.world import World

Broken = contextlib.AbstractContextManager[object]
NO_ANSWER = frozenset({"timeout", "reset", "unreached", "5xx", "429"})


def together(*many: Broken) -> Broken:
    """Several patches as one."""
    stack = contextlib.ExitStack()
    for one in many:
        stack.enter_context(one)
    return stack


class Again:
    """A cloud that asks once more where an outcome is unclear."""

    def __init__(self, cloud: Any) -> None:
        self.cloud = cloud

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cloud, name)

    async def create(self, order: Order) -> Created:
        created: Created = await self.cloud.create(order)
        return await self.cloud.create(order) if isinstance(created, Unclear) else created


def blind_retry() -> Broken:
    """What is unclear is asked for again."""
    real = Calls.__init__

    def init(self: Calls, actor: Any, cloud: Any, *ports: Any) -> None:
        real(self, actor, Again(cloud), *ports)

    return patch.object(Calls, "__init__", init)


def library_sends_again() -> Broken:
    """The HTTP library repeats a mutation when the connection dies before the reply."""
    return patch.object(World, "resends", new=True)


def event_after_the_call() -> Broken:
    """The intent is written when the reply is there."""

    async def intend(self: Account, command: Command, says: Say) -> None:
        chosen = self.seen.chosen.pop(command.request_id)
        keys = await self._keys.make(says.rental_id)
        assert chosen.offer is not None
        fields: dict[str, Any] = dict(says.fields)
        one = Rental(says.rental_id, self.provider, self.account, request_id=command.request_id)
        one.label, one.expires_ms = fields["label"], fields["expires_ms"]
        request, image = self.request(command.request_id), self.profile.default_image
        order = order_of(one, request, chosen.offer, keys, self.clock.now(), image)
        self.sent("create")
        created = await self._cloud.create(order)
        await self._write.say(says)
        await self._write.say(Say("create_called", says.rental_id, {}))
        for say in heard_create(one, created):
            await self._write.say(say)

    return patch.object(Account, "_intend", intend)


def trusts_a_500() -> Broken:
    """A 5xx means that nothing was made."""

    def heard(one: Rental, created: Created) -> list[Say]:
        if not isinstance(created, Unclear) or created.code != "5xx":
            return heard_create(one, created)
        at = dict.fromkeys(("end_ms", "last_ms", "proved_ms"), one.called_ms)
        return [
            Say("create_refused", one.rental_id, {"why": "5xx"}),
            Say("absence_confirmed", one.rental_id, {"why": "never_placed", **at}),
        ]

    return patch.object(calls_module, "heard_create", heard)


def trusts_one_listing() -> Broken:
    """One listing without it proves absence."""
    return together(
        patch.object(listing_module, "proves", lambda *_: True),
        patch.object(listing_module, "blind", lambda *_: False),
    )


def first_page_only() -> Broken:
    """The first page is the listing."""

    async def read(ask: Callable[[str], Any]) -> Any:
        page = await ask("")
        return page if isinstance(page, Unread) else page.rows

    return patch.object(calls_module, "read_all", read)


def empty_is_a_listing() -> Broken:
    """An empty body, success:false or a 410 is a listing without rows."""

    async def read(ask: Callable[[str], Any]) -> Any:
        async def lenient(after: str) -> Page | Unread:
            page: Page | Unread = await ask(after)
            odd = isinstance(page, Unread) and page.why not in NO_ANSWER
            return Page(rows=()) if odd else page

        return await read_all(lenient)

    return patch.object(calls_module, "read_all", read)


def blind_spell() -> Broken:
    """Two listings with hours without any between them prove absence."""
    return patch.object(listing_module, "blind", lambda *_: False)


def delete_is_absence() -> Broken:
    """An end that was taken is an end."""

    def heard(one: Rental, seen: Seen, ended: Ended, now_ms: int) -> list[Say]:
        says = heard_terminate(one, seen, ended, now_ms)
        if not isinstance(ended, Accepted):
            return says
        at = dict.fromkeys(("end_ms", "last_ms", "proved_ms"), now_ms)
        return [Say("absence_confirmed", one.rental_id, {"why": one.over, **at})]

    return patch.object(calls_module, "heard_terminate", heard)


def asks_once_for_the_end() -> Broken:
    """A terminate is not repeated."""
    real = decide_module._return_step

    def step(one: Rental, seen: Seen, now_ms: int) -> Command:
        found = real(one, seen, now_ms)
        if found.op == "terminate" and one.rental_id in seen.again:
            return Command(op="wait", at_ms=now_ms + POLL_MS)
        return found

    return patch.object(decide_module, "_return_step", step)


def cap_after_spending() -> Broken:
    """Caps are not looked at before the intent."""
    return together(
        patch.object(wanting_module, "admit", lambda *_: ""),
        patch.object(account_module, "admit", lambda *_: ""),
    )


def label_of_a_process() -> Broken:
    """A label says something to the process alone that wrote it."""
    made: defaultdict[int, set[str]] = defaultdict(set)
    real = Account._create

    async def create(self: Account, rental_id: str) -> None:
        made[id(self.seen)].add(rental_id)
        await real(self, rental_id)

    def heard(account: Any, seen: Seen, whole: Whole, me: str, mesh: str, **more: Any) -> list[Say]:
        def blank(row: Row) -> Row:
            known = read_label(mesh, row.label)
            return row if known is None or known[0] in made[id(seen)] else replace(row, label="")

        rows = tuple(blank(row) for row in whole.rows)
        return heard_listing(account, seen, replace(whole, rows=rows), me, mesh, **more)

    return together(
        patch.object(Account, "_create", create),
        patch.object(calls_module, "heard_listing", heard),
    )


def creates_after_a_restart() -> Broken:
    """An intent of an older process, or of another peer, is carried on with a create."""
    real = Account._create

    def step(one: Rental, seen: Seen, now_ms: int) -> Command:
        return Command(op="create", at_ms=seen.limit("create"), rental_id=one.rental_id)

    async def create(self: Account, rental_id: str) -> None:
        one = self.rental(rental_id)
        assert one is not None
        if rental_id not in self.seen.fresh:
            self.seen.fresh[rental_id] = Offer(
                provider=one.provider,
                offer_id=one.offer_id,
                gpu=one.gpu,
                gpu_count=one.gpu_count,
                memory_bytes=one.memory_bytes,
                hourly_nusd=one.quote_nusd,
                region=one.region,
                disk_bytes=40 << 30,
            )
            self._made[rental_id] = await self._keys.make(rental_id)
        await real(self, rental_id)

    return together(
        patch.object(decide_module, "_intended_step", step),
        patch.object(Account, "_create", create),
    )


def no_dead_man() -> Broken:
    """Nothing inside a machine ends it."""
    return patch.object(Machines, "_dead_man", lambda *_: None)


def ignores_a_second_machine() -> Broken:
    """A second machine of one label is left alone."""

    def heard(*asked: Any, **more: Any) -> list[Say]:
        return [say for say in heard_listing(*asked, **more) if say.kind != "duplicate_found"]

    return patch.object(calls_module, "heard_listing", heard)


def own_clock() -> Broken:
    """Decides by this machine's clock, whatever the provider's says."""

    def hear(self: AccountClock, date: str, sent_own_ms: int) -> int:
        self.known = True
        return 0

    return patch.object(AccountClock, "hear", hear)


def shortest_wait() -> Broken:
    """A 429 is waited for as long as the shortest window says."""
    return patch.object(wire_module, "hold_ms", lambda reply, *_: 2000 * (reply.status == 429))


def kills_the_unknown() -> Broken:
    """Labels of ours whose intent is not here are ended at once."""

    def heard(*asked: Any, **more: Any) -> list[Say]:
        says = []
        for say in heard_listing(*asked, **more):
            says.append(say)
            if say.kind == "orphan_found":
                says.append(Say("return_decided", say.rental_id, {"why": "expired"}))
        return says

    return patch.object(calls_module, "heard_listing", heard)


def kills_what_is_not_ours() -> Broken:
    """Labels of any fleet are taken as this one's."""

    def read(_: Iterable[str], label: str) -> tuple[str, int] | None:
        return read_label(label.split("-")[1], label) if is_ours(label) else None

    return patch.object(listing_module, "read_any", read)


def turns_by_own_clock() -> Broken:
    """What happened first is judged by each machine's own clock."""

    def turn(self: Rental, now_ms: int) -> int:
        return max(0, OWN[0])

    OWN = [0]
    real = Writing.say

    async def say(self: Writing, said: Say) -> None:
        OWN[0] = self._actor.clock.own()
        await real(self, said)

    return together(patch.object(Rental, "turn", turn), patch.object(Writing, "say", say))


MUTANTS: dict[str, Callable[[], Broken]] = {
    one.__name__: one
    for one in (
        blind_retry,
        library_sends_again,
        event_after_the_call,
        trusts_a_500,
        trusts_one_listing,
        first_page_only,
        empty_is_a_listing,
        blind_spell,
        delete_is_absence,
        asks_once_for_the_end,
        cap_after_spending,
        label_of_a_process,
        creates_after_a_restart,
        no_dead_man,
        ignores_a_second_machine,
        own_clock,
        shortest_wait,
        kills_the_unknown,
        kills_what_is_not_ours,
        turns_by_own_clock,
    )
}


@contextlib.contextmanager
def broken(name: str) -> Iterator[None]:
    """Within it, the code is broken in one way; "" in none."""
    with MUTANTS[name]() if name else contextlib.nullcontext():
        yield
