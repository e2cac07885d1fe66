"""Keys, services and usage: what members and owners of devices say, in whatever order it comes."""

import random

import pytest

from mathcore.units import DAY_MS, NUSD
from mesh.state.checkpoint import digest, pack, unpack
from mesh.state.fold import fold
from mesh.state.serving import keys as key_words
from mesh.state.serving.keys import MAX_KEYS, MAX_REVOKED
from mesh.state.serving.services import MAX_ENDED, MAX_SERVICES
from mesh.state.serving.usage import BEFORE, KEPT_DAYS, MAX_GROUPS, MAX_ROWS, OTHERS
from tests.state.job_story import ANA, BEN, T0, arriving, event, owned, told

TODAY = T0 // DAY_MS
HASH = "0" * 64


def key(at: int, name: str = "k1", author: str = ANA, **given: object):
    fields = {"key_id": name, "name": name, "hash": HASH}
    return event("key_added", at, author, **{**fields, **given})


def revoke(at: int, name: str = "k1", author: str = ANA):
    return event("key_revoked", at, author, key_id=name)


def row(cost: int = 0, **given: object) -> dict[str, object]:
    fields = {"key_id": "k1", "model": "m", "device_id": "d", "job_id": "j", "requests": 1}
    return {**fields, "cost_nusd": cost, **given}


def usage(at: int, *rows: dict[str, object], author: str = ANA, begun: int | None = None):
    began = T0 + at if begun is None else begun
    return event("usage_summarised", at, author, begun_ms=began, span_ms=60_000, rows=list(rows))


def service(at: int, name: str = "s1", author: str = ANA, **given: object):
    fields = {"service_id": name, "model": "m", "min_replicas": 0, "max_replicas": 2, "idle_ms": 9}
    return event("service_set", at, author, **{**fields, **given})


# Keys


def test_a_key_says_what_it_may_and_whose_it_is() -> None:
    given = {"models": ["a", "b"], "rate_per_min": 6, "budget_nusd": NUSD, "budget_per": "day"}
    one = told([key(1, **given)]).keys["k1"]
    assert (one.name, one.author, one.hash, one.models) == ("k1", ANA, HASH, ("a", "b"))
    assert (one.rate_per_min, one.budget_nusd, one.budget_per) == (6, NUSD, "day")
    assert (one.works, one.revoked_ms) == (True, 0)


def test_a_revoked_key_works_no_more_whatever_is_said_of_it_later() -> None:
    one = told([key(1), revoke(2), key(3)]).keys["k1"]
    assert (one.works, one.revoked_ms) == (False, T0 + 2)


def test_the_later_word_on_a_key_counts_and_an_unknown_period_is_all_time() -> None:
    state = told([key(1, budget_nusd=1, budget_per="day"), key(2, budget_per="week")])
    assert (state.keys["k1"].budget_nusd, state.keys["k1"].budget_per) == (0, "total")


@pytest.mark.parametrize(
    "given",
    [
        {"hash": "short"},
        {"hash": "é" * 64},
        {"name": ""},
        {"name": "x" * 65},
        {"key_id": ""},
        {"key_id": "x" * 41},
        {"models": [""]},
        {"models": ["m"] * 65},
    ],
)
def test_a_key_that_makes_no_sense_is_none(given: dict[str, object]) -> None:
    assert told([key(1, **given)]).keys == {}


def test_many_keys_are_bounded_and_a_revocation_outlives_its_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(key_words, "MAX_KEYS", 8)
    monkeypatch.setattr(key_words, "MAX_REVOKED", 16)
    old = [key(n, f"a{n}") for n in range(8)]
    gone = [revoke(100 + n, f"a{n}") for n in range(8)]
    new = [key(200 + n, f"b{n}") for n in range(7)]
    late = [revoke(300 + n, f"b{n}") for n in range(7)]
    state = told([*old, *gone, *new, *late])
    assert not any(one.works for one in state.keys.values())
    assert len(state.keys) == 8
    assert MAX_REVOKED == 2 * MAX_KEYS


# Usage


def test_usage_adds_up_by_day_key_model_and_device() -> None:
    rows = row(5, generated_tokens=7, energy_mj=2, energy_basis="measured"), row(6, key_id="k2")
    state = told([*owned("d"), usage(1, *rows), usage(2, row(1, errors=1, cut=1))])
    sums = state.usage
    assert [*sums] == [(TODAY, "k1", "m", "d"), (TODAY, "k2", "m", "d")]
    one = sums[TODAY, "k1", "m", "d"]
    assert (one.requests, one.errors, one.cut, one.cost_nusd) == (2, 1, 1, 6)
    assert (one.generated_tokens, one.energy_mj, one.estimated) == (7, 2, False)


def test_nobody_but_a_devices_owner_says_what_was_used_of_it() -> None:
    story = [*owned("d"), usage(1, row(5), author=BEN), usage(2, row(3, device_id="nobodys"))]
    state = told(story)
    assert state.usage == {}
    assert state.spent_nusd("k1", "total", T0) == 0


def test_what_a_key_spent_is_known_by_day_by_month_and_altogether() -> None:
    ends = [T0, T0 - DAY_MS, T0 - 20 * DAY_MS, T0 - 500 * DAY_MS]
    story = [usage(n, row(10**n), begun=at) for n, at in enumerate(ends)]
    state = told([*owned("d"), *story])
    spent = [state.spent_nusd("k1", per, T0) for per in ("day", "month", "total")]
    assert spent == [1, 11, 1111]  # T0 is a 15th: twenty days ago was another month
    assert state.spent_nusd("k1", "month", T0 - 20 * DAY_MS) == 100
    assert state.spent_nusd("k2", "total", T0) == 0


def test_no_usage_counts_for_a_day_that_has_not_come() -> None:
    state = told([*owned("d"), usage(1, row(5), begun=T0 + 9 * DAY_MS)])
    assert [day for day, *_ in state.usage] == [TODAY]


def test_days_of_long_ago_are_one_sum_and_rows_beyond_the_bound_are_not_read() -> None:
    old = [usage(n, row(1), begun=T0 - (KEPT_DAYS + n) * DAY_MS) for n in range(5)]
    state = told([*owned("d"), *old, usage(9, *[row(1)] * (MAX_ROWS + 5))])
    assert state.usage[BEFORE, "k1", "m", "d"].cost_nusd == 5
    assert state.usage[TODAY, "k1", "m", "d"].requests == MAX_ROWS


def test_more_names_than_a_day_has_room_for_are_one_sum_without_a_name() -> None:
    many = MAX_GROUPS + 70
    rows = [row(1, model=f"m{n:05}") for n in range(many)]
    random.Random(5).shuffle(rows)
    story = [usage(n, *rows[n : n + MAX_ROWS]) for n in range(0, many, MAX_ROWS)]
    sums = told([*owned("d"), *story]).usage
    assert len(sums) == MAX_GROUPS + 1
    assert sums[TODAY, *OTHERS].cost_nusd == 70
    assert sum(one.cost_nusd for one in sums.values()) == many


@pytest.mark.parametrize(
    "given",
    [{"key_id": "x" * 41}, {"model": "x" * 201}, {"device_id": ""}, {"device_id": "x" * 201}],
)
def test_a_row_with_names_nobody_writes_is_none(given: dict[str, object]) -> None:
    assert told([*owned("d"), usage(1, row(5, **given))]).usage == {}


# Services


def test_a_service_is_its_homes_until_it_ends_it() -> None:
    state = told([service(1), service(2, max_replicas=3)])
    one = state.services["s1"]
    assert (one.home, one.model, one.max_replicas, one.idle_ms) == (ANA, "m", 3, 9)
    ended = event("service_ended", 3, service_id="s1")
    assert told([service(1), ended]).services == {}
    assert "s1" in told([service(1), ended, service(4)]).services
    foreign = event("service_ended", 3, BEN, service_id="s1")
    assert "s1" in told([service(1), foreign]).services


@pytest.mark.parametrize(
    "given", [{"min_replicas": 3}, {"max_replicas": 257}, {"model": ""}, {"service_id": "s" * 41}]
)
def test_a_service_that_makes_no_sense_is_none(given: dict[str, object]) -> None:
    assert told([service(1, **given)]).services == {}


def test_many_services_are_bounded() -> None:
    many = [service(n, f"s{n:04}") for n in range(3 * MAX_SERVICES)]
    ends = [event("service_ended", 9000 + n, service_id=f"x{n}") for n in range(2 * MAX_ENDED)]
    state = told([*many, *ends])
    assert len(state.services) == MAX_SERVICES
    assert len(state.serving.services.words[ANA].ended) == MAX_ENDED


# Any order


def test_it_survives_a_snapshot() -> None:
    state = told([*owned("d"), key(1), revoke(2), usage(3, row(5)), service(4)])
    state.cursor = state.event_count
    again = unpack(pack(state))
    assert again is not None
    assert (again.keys, again.usage, again.services) == (state.keys, state.usage, state.services)
    assert again.spent_nusd("k1", "day", T0) == 5
    assert digest(again) == digest(state)


def random_story(rng: random.Random) -> list:
    """What two authors might say of a few keys, services and devices, each of which both claim."""
    story = [*owned("d", "e"), event("device_registered", 5, BEN, device="d")]
    for at in range(10, 120):
        author, name = rng.choice((ANA, BEN)), f"{rng.randrange(14)}"
        kind = rng.randrange(5)
        if kind == 0:
            story.append(key(at, name, author, rate_per_min=at))
        elif kind == 1:
            story.append(revoke(at, name, author))
        elif kind == 2:
            story.append(service(at, name, author, idle_ms=at))
        elif kind == 3:
            story.append(event("service_ended", at, author, service_id=name))
        else:
            rows = [
                row(rng.randrange(9), key_id=f"k{rng.randrange(6)}", device_id=rng.choice("de"))
                for _ in range(rng.randrange(4))
            ]
            begun = T0 - rng.randrange(2 * KEPT_DAYS) * DAY_MS
            story.append(usage(at, *rows, author=author, begun=begun))
    return story


@pytest.mark.parametrize("bounded", [False, True])
def test_any_order_of_arrival_says_the_same(bounded: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    if bounded:
        for where, bound, value in (
            ("keys", "MAX_KEYS", 4), ("keys", "MAX_REVOKED", 5), ("services", "MAX_SERVICES", 4),
            ("services", "MAX_ENDED", 5), ("usage", "MAX_GROUPS", 3), ("usage", "KEPT_DAYS", 20),
        ):  # fmt: skip
            monkeypatch.setattr(f"mesh.state.serving.{where}.{bound}", value)
    rng = random.Random(3)
    for _ in range(60):
        story = random_story(rng)
        expected = told(story)
        found = fold(arriving(rng, story))
        assert (found.keys, found.services, found.usage) == (
            expected.keys, expected.services, expected.usage,
        )  # fmt: skip
        assert digest(found) == digest(expected)
