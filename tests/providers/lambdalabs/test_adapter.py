"""The adapter against Lambda Cloud's stand-in."""

import random
from dataclasses import replace

import pytest

from providers.lambdalabs.cloud import LambdaCloud
from providers.lambdalabs.ssh_keys import name_of
from providers.rental.contract import (
    STEPS,
    Accepted,
    Ask,
    Balance,
    Cloud,
    Made,
    Page,
    Refused,
    Rise,
    Row,
    Unclear,
    Unread,
)
from tests.emulators.base import LIST_FAULTS, Asked, Emulator
from tests.emulators.lambdalabs import LambdaEmulator
from tests.emulators.machines import HOUR, MIN, S
from tests.emulators.wire import DirectWire
from tests.providers.lambdalabs.replies import KEY, LABEL, order


class Desk:
    """An adapter, its wire, its provider and their clock."""

    def __init__(self, **given: object) -> None:
        self.now = 1_764_400_000_000
        self.emulator = LambdaEmulator(random.Random(7), **given)  # type: ignore[arg-type]
        self.wire = DirectWire(self.emulator, lambda: self.now)
        self.cloud = LambdaCloud(self.wire)

    async def made(self) -> str:
        made = await self.cloud.create(order())
        assert isinstance(made, Made)
        return made.instance_id

    async def rows(self) -> dict[str, Row]:
        """All pages."""
        found: dict[str, Row] = {}
        after = ""
        while True:
            page = await self.cloud.page(after)
            assert isinstance(page, Page)
            found |= {row.instance_id: row for row in page.rows}
            if not (after := page.after):
                return found

    async def until(self, instance_id: str, status: str) -> Row:
        """The row when the machine first has the status, within the time that boots take."""
        for _ in range(200):
            row = (await self.rows())[instance_id]
            if row.status == status:
                return row
            self.now += S
        raise AssertionError(f"never {status}")


async def test_the_adapter_and_its_stand_in_are_what_the_contract_says() -> None:
    desk = Desk()
    cloud: Cloud = desk.cloud
    emulator: Emulator = desk.emulator
    assert cloud.profile == emulator.profile
    assert set(cloud.profile.budgets_ms) == set(STEPS)


async def test_offers_are_the_stock_and_what_is_left_out_is_reported() -> None:
    desk = Desk()
    assert await desk.cloud.offers(Ask()) == tuple(desk.emulator.stock())
    assert desk.cloud.left_out == {"no_gpu": 1, "memory": 1}
    assert desk.cloud.left_out_names == ("gpu_1x_mystery",)
    assert await desk.cloud.offers(Ask(spot=True)) == ()


async def test_a_rental_is_made_boots_and_ends_and_costs_its_rate_by_the_minute() -> None:
    desk = Desk()
    instance = await desk.made()
    assert (await desk.rows())[instance].status == "placing"
    row = await desk.until(instance, "up")
    assert (row.label, row.price_nusd) == (LABEL, 1_290_000_000)
    desk.now += 70 * S  # its second minute has begun, and no third
    assert row.ssh is not None
    assert row.ssh.user == "ubuntu"
    assert await desk.cloud.terminate(instance) == Accepted()
    assert (await desk.rows())[instance].status == "terminating"
    desk.now += 5 * S
    assert await desk.rows() == {}
    machine = desk.emulator.machines.all[instance]
    assert machine.ended is not None
    assert machine.meter(desk.now) == 1_290_000_000 * 120 * S
    assert desk.emulator.invoice(instance, desk.now) % 10_000_000 == 0


async def test_its_way_up_is_seen_step_by_step() -> None:
    desk = Desk()
    instance = await desk.made()
    seen = []
    for _ in range(120):
        status = (await desk.rows())[instance].status
        seen += [] if status in seen else [status]
        desk.now += S
    assert seen == ["placing", "image", "container", "up"]


async def test_our_key_is_registered_once_and_every_launch_names_it() -> None:
    desk = Desk()
    first, second = await desk.made(), await desk.made()
    assert desk.wire.sent["keys"] == 2  # looked for, and registered
    assert desk.wire.sent["create"] == 2
    names = [desk.emulator.machines.all[one].extra["keys"] for one in (first, second)]
    assert names == [[name_of(KEY)], [name_of(KEY)]]
    other = LambdaCloud(desk.wire)  # another process finds it there
    assert isinstance(await other.create(order()), Made)
    assert len(desk.emulator.ssh_keys) == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("lost_reply", "ssh-key/timeout"),
        ("reset", "ssh-key/reset"),
        ("error_before", "ssh-key/5xx"),
        ("error_after", "ssh-key/5xx"),
        ("limited", "ssh-key/429"),
    ],
)
@pytest.mark.parametrize("step", [0, 1])
async def test_a_failed_registration_has_made_nothing_and_can_be_repeated(
    fault: str, code: str, step: int
) -> None:
    desk = Desk()
    desk.wire.faults = [("keys", "")] * step + [("keys", fault)]
    found = await desk.cloud.create(order())
    assert isinstance(found, Refused)
    assert found.code == code
    assert desk.wire.sent["create"] == 0
    assert desk.emulator.machines.all == {}
    await desk.made()
    assert len(desk.emulator.ssh_keys) == 1


async def test_a_key_that_another_peer_registered_in_between_is_used() -> None:
    desk = Desk()
    plain = desk.emulator.handle

    def races(now: int, asked: Asked, fault: str = "", by: str = "caller") -> object:
        if asked.method == "POST" and asked.path.endswith("/ssh-keys"):
            plain(now, asked)
        return plain(now, asked, fault, by)

    desk.emulator.handle = races  # type: ignore[method-assign,assignment]
    await desk.made()
    assert desk.wire.sent["keys"] == 3


async def test_a_key_that_a_person_removed_is_registered_again() -> None:
    desk = Desk()
    await desk.made()
    desk.emulator.ssh_keys.clear()
    assert await desk.cloud.create(order()) == Refused(
        code="global/object-does-not-exist", text="SSH key Try again."
    )
    await desk.made()


async def test_a_wrong_key_of_the_account_is_refused_before_the_launch() -> None:
    desk = Desk()
    desk.emulator.key = "another"
    desk.wire.emulator = LambdaEmulator(random.Random(1), key="old")
    desk.wire.emulator.handle = desk.emulator.handle  # type: ignore[method-assign]
    found = await desk.cloud.create(order())
    assert isinstance(found, Refused)
    assert found.code == "ssh-key/auth"
    assert await desk.cloud.page("") == Unread(
        why="auth", text="API key was invalid, expired, or deleted. Try again."
    )


@pytest.mark.parametrize("fault", ["lost_reply", "reset", "error_after"])
async def test_an_unclear_launch_is_sent_once_and_found_by_its_label(fault: str) -> None:
    desk = Desk()
    desk.wire.faults = [("create", fault)]
    assert isinstance(await desk.cloud.create(order()), Unclear)
    assert desk.wire.sent["create"] == 1
    assert [row.label for row in (await desk.rows()).values()] == [LABEL]


async def test_a_launch_without_capacity_is_refused_and_makes_nothing() -> None:
    desk = Desk()
    desk.wire.faults = [("create", "no_capacity")]
    found = await desk.cloud.create(order())
    assert isinstance(found, Refused)
    assert found.code == "instance-operations/launch/insufficient-capacity"
    assert await desk.rows() == {}


async def test_a_machine_dearer_than_its_offer_shows_its_own_price() -> None:
    desk = Desk()
    desk.wire.faults = [("create", "price_higher")]
    instance = await desk.made()
    row = (await desk.rows())[instance]
    assert row.price_nusd > 1.05 * order().offer.hourly_nusd
    assert row.price_nusd == desk.emulator.machines.all[row.instance_id].price


async def test_an_end_is_refused_until_it_has_launched_and_then_taken() -> None:
    desk = Desk()
    instance = await desk.made()
    refused = await desk.cloud.terminate(instance)
    assert isinstance(refused, Refused)
    assert refused.code == "vm-has-not-launched"
    assert "vm-has-not-launched" in (await desk.rows())[instance].note
    await desk.until(instance, "image")
    assert await desk.cloud.terminate(instance) == Accepted()


async def test_an_end_that_was_ignored_is_seen_in_the_listing() -> None:
    desk = Desk()
    instance = await desk.made()
    await desk.until(instance, "up")
    desk.wire.faults = [("terminate", "ignored")]
    assert await desk.cloud.terminate(instance) == Accepted()
    desk.now += MIN
    assert (await desk.rows())[instance].status == "up"


async def test_what_ended_is_gone_when_it_is_ended_again() -> None:
    desk = Desk()
    instance = await desk.made()
    await desk.until(instance, "up")
    await desk.cloud.terminate(instance)
    desk.now += MIN
    assert await desk.cloud.terminate(instance) == Accepted(gone=True)


async def test_a_preempted_machine_is_seen_and_still_costs() -> None:
    desk = Desk()
    instance = await desk.made()
    await desk.until(instance, "up")
    desk.emulator.outbid(instance, desk.now)
    row = (await desk.rows())[instance]
    assert row.status == "preempted"
    assert row.rate_nusd == desk.emulator.machines.all[instance].rate(desk.now) > 0


async def test_all_pages_together_are_the_account_and_a_failed_one_is_no_end() -> None:
    desk = Desk(page_size=2)
    made = {await desk.made() for _ in range(5)}
    assert set(await desk.rows()) == made
    first = await desk.cloud.page("")
    assert isinstance(first, Page)
    assert len(first.rows) == 2
    desk.wire.faults = [("list", "page_fails")]
    assert await desk.cloud.page(first.after) == Unread(why="5xx")


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("empty", "malformed"),
        ("malformed", "malformed"),
        ("retired", "retired"),
        ("success_false", "global/internal-error"),
        ("page_fails", "5xx"),
        ("limited", "429"),
        ("lost_reply", "timeout"),
    ],
)
async def test_a_listing_that_failed_is_none(fault: str, why: str) -> None:
    desk = Desk()
    await desk.made()
    desk.wire.faults = [("list", fault)]
    found = await desk.cloud.page("")
    assert isinstance(found, Unread)
    assert found.why == why


async def test_a_hidden_machine_comes_back_and_a_late_listing_lacks_the_newest() -> None:
    desk = Desk()
    instance = await desk.made()
    desk.now += HOUR
    desk.wire.faults = [("list", "hides")]
    assert instance not in await desk.rows()
    desk.now += 2 * MIN
    assert instance in await desk.rows()
    late = await desk.made()
    seen = []
    for _ in range(20):
        desk.wire.faults = [("list", "lag")]
        seen.append(late in await desk.rows())
    assert not all(seen)
    assert set(LIST_FAULTS) >= {"lag", "hides"}


async def test_the_documented_limits_are_kept_by_the_stand_in() -> None:
    desk = Desk(limits=True)
    for sent in range(2):  # our key is looked for, then registered, a second apart
        assert isinstance(await desk.cloud.create(order()), Refused), sent
        desk.now += S
    assert await desk.cloud.page("") == Page(rows=())
    assert await desk.cloud.page("") == Unread(why="429")


async def test_two_launches_within_12_s_are_one_too_many() -> None:
    desk = Desk()
    await desk.made()
    desk.emulator.limits = True
    desk.now += S
    await desk.made()
    desk.now += 11 * S
    assert await desk.cloud.create(order()) == Unclear(code="429")
    desk.now += S
    await desk.made()


async def test_what_lambda_has_not_is_said_not_invented() -> None:
    desk = Desk()
    charges = await desk.cloud.charges("b1", 0, HOUR)
    assert isinstance(charges, Unread)
    assert charges.why == "unsupported"
    assert await desk.cloud.balance() == Balance(left_nusd=None)
    assert await desk.cloud.rises() == ()
    rise = Rise(request_id="1", instance_id="b1", new_hourly_nusd=1)
    assert isinstance(await desk.cloud.refuse(rise), Refused)
    assert sum(desk.wire.sent.values()) == 0


async def test_an_order_of_no_offer_of_theirs_launches_nothing() -> None:
    desk = Desk()
    odd = order(offer=replace(order().offer, offer_id="7319"))
    assert isinstance(await desk.cloud.create(odd), Refused)
    assert desk.wire.sent["create"] == 0


async def test_the_same_dice_give_the_same_life() -> None:
    lives = []
    for _ in range(2):
        desk = Desk()
        instance = await desk.made()
        await desk.until(instance, "up")
        await desk.cloud.terminate(instance)
        desk.now += MIN
        await desk.rows()
        lives.append(desk.emulator.machines.all[instance].line)
    assert lives[0] == lives[1]
