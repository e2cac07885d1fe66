"""What is on disk before what: keys, the intent, the word that it is called for, the call."""

from typing import Any

from providers.rental.contract import Order
from tests.edge.clouds.attacked import Attacked


async def test_keys_come_before_the_intent_and_the_call_after_its_word() -> None:
    peer = Attacked()
    order: list[str] = []
    actor: Any = peer.actor
    make, create, emit = actor._keys.make, peer.cloud.create, peer.actor._write._emit

    async def made(rental_id: str) -> object:
        order.append("keys")
        return await make(rental_id)

    async def created(what: Order) -> object:
        order.append("call")
        return await create(what)

    async def emitted(kind: str, payload: dict[str, object]) -> object:
        done = await emit(kind, payload)
        order.append(kind)
        return done

    actor._keys.make = made
    actor._write._emit = emitted
    double: Any = peer.cloud
    double.create = created
    await peer.rented()
    wanted = ["keys", "rental_intended", "create_called", "call", "create_answered"]
    assert [one for one in order if one in wanted] == wanted


async def test_an_intent_that_can_not_be_written_calls_nobody() -> None:
    peer = Attacked()
    peer.write("rental_requested", "A", request_id="r1", life_ms=3_600_000, cap_nusd=10**11)
    while "account_taken" not in peer.said or not peer.actor.seen.chosen:
        await peer.steps()
    peer.full = True
    for _ in range(5):
        try:
            await peer.steps()
        except OSError:
            continue
    assert peer.cloud.made == []
