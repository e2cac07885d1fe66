"""Preemptible work gives way to the machine's owner, at once, and goes on only when all is calm."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.policy.yield_settings import REASONS, YieldPolicies, YieldPolicy
from mesh.policy.yielding import (
    CALM_MS,
    CODES,
    COOL_BY_C,
    LOW_FREE_BYTES,
    MIN_FOREIGN_BYTES,
    Decision,
    DeviceFacts,
    MachineFacts,
    RunningAttempt,
    Yielding,
    foreign_need,
    step,
)

GIB = 1024**3
GPU = "dev-ab12-gpu0"
ALL = YieldPolicies(machine=YieldPolicy(when=REASONS))
STOPS = YieldPolicies(machine=YieldPolicy(when=REASONS, action="stop"))
AWAY = MachineFacts(desktop=True, present=False, idle_ms=3_600_000, on_mains=True)
THERE = replace(AWAY, present=True, idle_ms=40, text="X11: last input 40 ms ago")
COOL = DeviceFacts(temperature_c=60, foreign_need_bytes=0)


def job(name: str = "a", **changes: object) -> RunningAttempt:
    given = RunningAttempt(
        job_id=name, attempt=1, devices=(GPU,), preemptible=True, footprint_bytes=4 * GIB
    )
    return replace(given, **changes)  # type: ignore[arg-type]


def once(
    machine: MachineFacts,
    device: DeviceFacts = COOL,
    attempts: tuple[RunningAttempt, ...] = (job(),),
    policies: YieldPolicies = ALL,
) -> list[Decision]:
    return step(Yielding(), policies, machine, {GPU: device}, attempts, 0)[1]


def said(decisions: list[Decision]) -> list[tuple[str, str]]:
    return [(one.kind, one.code) for one in decisions]


HEADLESS = MachineFacts(desktop=False, present=False, on_mains=True)
CASES = [
    ("away", AWAY, COOL, ALL, []),
    ("a person", THERE, COOL, ALL, [("pause", "OwnerPresent")]),
    ("a person, and work is to stop", THERE, COOL, STOPS, [("stop", "OwnerPresent")]),
    ("idle for 4:59", replace(AWAY, idle_ms=299_999), COOL, ALL, [("pause", "OwnerPresent")]),
    ("idle for 5:00", replace(AWAY, idle_ms=300_000), COOL, ALL, []),
    ("locked", replace(AWAY, idle_ms=None), COOL, ALL, []),
    (
        "unlocked, idle unknown",
        replace(THERE, idle_ms=None),
        COOL,
        ALL,
        [("pause", "OwnerPresent")],
    ),
    (
        "nobody knows, a desktop",
        replace(AWAY, present=None, idle_ms=None),
        COOL,
        ALL,
        [("pause", "OwnerPresent")],
    ),
    ("nobody knows, no desktop", replace(HEADLESS, present=None), COOL, ALL, []),
    ("no desktop, no settings", replace(HEADLESS, on_mains=False), COOL, YieldPolicies(), []),
    (
        "no desktop, settings",
        replace(HEADLESS, on_mains=False),
        COOL,
        ALL,
        [("pause", "OnBattery")],
    ),
    ("a desktop, no settings", THERE, COOL, YieldPolicies(), [("pause", "OwnerPresent")]),
    ("on battery", replace(AWAY, on_mains=False), COOL, ALL, [("pause", "OnBattery")]),
    ("power unknown", replace(AWAY, on_mains=None), COOL, ALL, []),
    ("at 83 °C", AWAY, replace(COOL, temperature_c=83), ALL, [("pause", "ThermalLimit")]),
    ("at 82 °C", AWAY, replace(COOL, temperature_c=82), ALL, []),
    ("temperature unknown", AWAY, replace(COOL, temperature_c=None), ALL, []),
    ("memory", AWAY, replace(COOL, foreign_need_bytes=1), ALL, [("stop", "ForeignMemory")]),
    ("memory unknown", AWAY, replace(COOL, foreign_need_bytes=None), ALL, []),
    (
        "a person and memory",
        THERE,
        DeviceFacts(foreign_need_bytes=1),
        ALL,
        [("stop", "ForeignMemory")],
    ),
    (
        "heat alone counts",
        replace(THERE, on_mains=False),
        replace(COOL, temperature_c=90),
        YieldPolicies(machine=YieldPolicy(when=("heat",))),
        [("pause", "ThermalLimit")],
    ),
    (
        "this device has its own policy",
        THERE,
        COOL,
        YieldPolicies(machine=YieldPolicy(when=REASONS), devices={"gpu0": YieldPolicy(when=())}),
        [],
    ),
    (
        "another device has",
        THERE,
        COOL,
        YieldPolicies(machine=YieldPolicy(when=REASONS), devices={"pu0": YieldPolicy(when=())}),
        [("pause", "OwnerPresent")],
    ),
]


@pytest.mark.parametrize(
    ("machine", "device", "policies", "wanted"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_what_each_situation_asks_of_running_work(
    machine: MachineFacts,
    device: DeviceFacts,
    policies: YieldPolicies,
    wanted: list[tuple[str, str]],
) -> None:
    assert said(once(machine, device, policies=policies)) == wanted
    untouched = (job(preemptible=False), job("b", state="ending"))
    assert once(machine, device, untouched, policies) == []


@pytest.mark.parametrize(
    ("machine", "device", "text"),
    [
        (THERE, COOL, "somebody is at this machine (X11: last input 40 ms ago)"),
        (
            replace(AWAY, present=None, idle_ms=None, text="logind has not answered for 3 s"),
            COOL,
            "nobody knows whether somebody is at this machine (logind has not answered for 3 s)",
        ),
        (
            replace(AWAY, on_mains=False, battery_percent=41),
            COOL,
            "this machine runs on battery (41 %)",
        ),
        (AWAY, DeviceFacts(temperature_c=91), f"{GPU} is at 91 °C, its limit is 83 °C"),
        (AWAY, DeviceFacts(foreign_need_bytes=2 * GIB), f"other programs lack 2.0 GiB on {GPU}"),
    ],
)
def test_each_decision_says_why(machine: MachineFacts, device: DeviceFacts, text: str) -> None:
    assert [one.text for one in once(machine, device)] == [text]


def test_memory_is_freed_by_who_stands_still_then_by_who_began_last() -> None:
    attempts = (
        job("old", started_ms=1),
        job("new", started_ms=9),
        job("unknown", started_ms=5, footprint_bytes=0),
        job("still", state="paused", paused_for="OwnerPresent", footprint_bytes=GIB),
        job("leaving", state="ending", footprint_bytes=GIB),
    )

    def stopped(need: int) -> list[str]:
        found = once(AWAY, DeviceFacts(foreign_need_bytes=need), attempts)
        return [one.job_id for one in found if one.kind == "stop"]

    assert stopped(GIB) == []  # comes back already, with who is leaving
    assert stopped(2 * GIB) == ["still"]
    assert stopped(2 * GIB + 1) == ["still", "new"]
    assert stopped(11 * GIB) == ["still", "new", "old", "unknown"]


def test_others_lack_memory_where_they_hold_much_and_little_is_free() -> None:
    assert foreign_need(0, MIN_FOREIGN_BYTES - 1) == 0
    assert foreign_need(0, MIN_FOREIGN_BYTES) == LOW_FREE_BYTES
    assert foreign_need(LOW_FREE_BYTES, 9 * GIB) == 0


class Machine:
    """Does what is decided, at once; and notes when."""

    def __init__(self, *attempts: RunningAttempt, policies: YieldPolicies = ALL) -> None:
        self.attempts = {one.job_id: one for one in attempts}
        self.policies = policies
        self.state = Yielding()
        self.log: list[tuple[int, str, str]] = []

    def tick(self, now_ms: int, machine: MachineFacts, device: DeviceFacts = COOL) -> list[str]:
        self.state, decisions = step(
            self.state, self.policies, machine, {GPU: device}, [*self.attempts.values()], now_ms
        )
        for one in decisions:
            self.log.append((now_ms, one.kind, one.job_id))
            if one.kind == "stop":
                del self.attempts[one.job_id]
            else:
                state = "paused" if one.kind == "pause" else "running"
                code = one.code if one.kind == "pause" else ""
                self.attempts[one.job_id] = replace(
                    self.attempts[one.job_id], state=state, paused_for=code
                )
        return [one.kind for one in decisions]


def test_work_goes_on_once_the_person_has_been_gone_for_the_calm_time() -> None:
    machine = Machine(job())
    assert machine.tick(0, THERE) == ["pause"]
    assert machine.tick(1_000, AWAY) == []
    assert machine.tick(CALM_MS["person"] - 1, AWAY) == []
    assert machine.state.hold(GPU) is not None
    assert machine.tick(CALM_MS["person"], AWAY) == ["resume"]
    assert machine.state.hold(GPU) is None


def test_a_card_goes_on_only_well_below_its_limit() -> None:
    machine = Machine(job())
    assert machine.tick(0, AWAY, DeviceFacts(temperature_c=84)) == ["pause"]
    warm = DeviceFacts(temperature_c=83 - COOL_BY_C + 1)
    assert machine.tick(600_000, AWAY, warm) == []
    cool = DeviceFacts(temperature_c=83 - COOL_BY_C)
    assert machine.tick(601_000, AWAY, cool) == []
    assert machine.tick(600_000 + CALM_MS["heat"], AWAY, cool) == ["resume"]


def test_a_thermometer_that_falls_silent_neither_pauses_nor_lets_go_on() -> None:
    machine = Machine(job())
    silent = DeviceFacts()
    assert machine.tick(0, AWAY, silent) == []
    assert machine.tick(1_000, AWAY, DeviceFacts(temperature_c=84)) == ["pause"]
    assert machine.tick(900_000, AWAY, silent) == []
    assert machine.tick(901_000, AWAY) == []
    assert machine.tick(900_000 + CALM_MS["heat"], AWAY) == ["resume"]


def test_who_was_paused_before_the_daemon_began_waits_for_calm_and_goes_on() -> None:
    machine = Machine(job(state="paused", paused_for="OwnerPresent"))
    assert machine.tick(0, AWAY) == []
    assert machine.tick(CALM_MS["person"], AWAY) == ["resume"]


def test_a_resume_that_takes_a_while_is_asked_for_again_not_put_off() -> None:
    machine = Machine(job())
    assert machine.tick(0, THERE) == ["pause"]
    paused = machine.attempts["a"]
    assert machine.tick(CALM_MS["person"], AWAY) == ["resume"]
    machine.attempts["a"] = paused  # whoever runs it has not told of it yet
    assert machine.tick(CALM_MS["person"] + 1_000, AWAY) == ["resume"]


def test_a_pause_whose_reason_is_not_asked_for_any_more_ends() -> None:
    off = YieldPolicies(machine=YieldPolicy(when=()))
    machine = Machine(job(state="paused", paused_for="OwnerPresent"), policies=off)
    assert machine.tick(0, THERE) == ["resume"]


def test_a_persons_own_pause_is_not_ended() -> None:
    machine = Machine(job(state="paused", paused_for="Paused"))
    assert machine.tick(0, AWAY) == []


def test_after_a_stop_nothing_preemptible_starts_until_it_is_calm() -> None:
    machine = Machine(job(), policies=STOPS)
    assert machine.tick(0, THERE) == ["stop"]
    hold = machine.state.hold(GPU)
    assert hold is not None
    assert (hold.code, hold.text) == ("OwnerPresent", f"somebody is at this machine ({THERE.text})")
    machine.tick(CALM_MS["person"], AWAY)
    assert machine.state.hold(GPU) is None


def test_one_device_gives_way_and_the_other_works_on() -> None:
    other = "dev-ab12-gpu1"
    facts = {GPU: DeviceFacts(temperature_c=90), other: COOL}
    attempts = [job(), job("b", devices=(other,))]
    decisions = step(Yielding(), ALL, AWAY, facts, attempts, 0)[1]
    assert [one.job_id for one in decisions] == ["a"]


machines = st.builds(
    MachineFacts,
    desktop=st.booleans(),
    present=st.sampled_from([True, False, None]),
    idle_ms=st.sampled_from([None, 0, 299_999, 300_000]),
    on_mains=st.sampled_from([True, False, None]),
)
devices = st.builds(
    DeviceFacts,
    temperature_c=st.sampled_from([None, 20, 76, 83]),
    foreign_need_bytes=st.sampled_from([None, 0, 1, 6 * GIB]),
)
facts = st.tuples(machines, devices)
policies = st.builds(
    YieldPolicies,
    machine=st.builds(
        YieldPolicy,
        when=st.one_of(st.none(), st.lists(st.sampled_from(REASONS), unique=True).map(tuple)),
        action=st.sampled_from(["pause", "stop"]),
    ),
)
JOBS = (
    job("a"),
    job("b", started_ms=5),
    job("kept", preemptible=False),
    job("yours", state="paused", paused_for="Paused"),
)


@given(policies, st.lists(facts, max_size=40))
def test_work_that_is_not_preemptible_is_never_touched(
    policy: YieldPolicies, history: list[tuple[MachineFacts, DeviceFacts]]
) -> None:
    machine = Machine(*JOBS, policies=policy)
    for second, (now, device) in enumerate(history):
        machine.tick(second * 20_000, now, device)
    assert "kept" not in {name for _, _, name in machine.log}
    assert machine.attempts["kept"] == JOBS[2]


@given(policies, st.lists(st.tuples(facts, st.integers(1, 30_000)), max_size=60))
def test_no_attempt_goes_on_sooner_than_the_calm_time_after_its_pause(
    policy: YieldPolicies, history: list[tuple[tuple[MachineFacts, DeviceFacts], int]]
) -> None:
    machine = Machine(*JOBS, policies=policy)
    now_ms = 0
    for (now, device), wait_ms in history:
        machine.tick(now_ms, replace(now, desktop=True), device)
        now_ms += wait_ms
    for name in machine.attempts:
        mine = [(when, kind) for when, kind, who in machine.log if who == name]
        kinds = [kind for _, kind in mine]
        assert kinds == (["pause", "resume"] * len(kinds))[: len(kinds)]
        ends = zip(mine[::2], mine[1::2], strict=False)
        assert all(end - begin >= min(CALM_MS.values()) for (begin, _), (end, _) in ends)


@given(policies, st.lists(facts, max_size=10), facts)
def test_what_is_decided_once_is_not_decided_again(
    policy: YieldPolicies,
    history: list[tuple[MachineFacts, DeviceFacts]],
    last: tuple[MachineFacts, DeviceFacts],
) -> None:
    machine = Machine(*JOBS, policies=policy)
    for second, (now, device) in enumerate(history):
        machine.tick(second * 20_000, now, device)
    end_ms = len(history) * 20_000
    machine.tick(end_ms, *last)
    freed = replace(last[1], foreign_need_bytes=0 if last[1].foreign_need_bytes else None)
    assert machine.tick(end_ms, last[0], freed) == []


@given(st.lists(facts, max_size=10), machines)
def test_a_person_who_comes_back_finds_nothing_preemptible_running(
    history: list[tuple[MachineFacts, DeviceFacts]], last: MachineFacts
) -> None:
    machine = Machine(*JOBS)
    for second, (now, device) in enumerate(history):
        machine.tick(second * 20_000, now, device)
    machine.tick(len(history) * 20_000, replace(last, desktop=True, present=None, idle_ms=None))
    left = [one for one in machine.attempts.values() if one.preemptible]
    assert all(one.state == "paused" for one in left)
    hold = machine.state.hold(GPU)
    assert hold is not None
    assert hold.code in CODES.values()


@given(machines, devices)
def test_without_a_desktop_nothing_gives_way_unless_somebody_asked_for_it(
    machine: MachineFacts, device: DeviceFacts
) -> None:
    assert once(replace(machine, desktop=False), device, policies=YieldPolicies()) == []


def test_a_gang_gives_way_for_any_of_its_devices_and_goes_on_once_all_are_well() -> None:
    other = "gpu-1"
    hot, on_both = replace(COOL, temperature_c=99), job(devices=(GPU, other))
    _, said = step(Yielding(), ALL, AWAY, {GPU: COOL, other: hot}, [on_both], 0)
    assert [(one.kind, one.code) for one in said] == [("pause", CODES["heat"])]
    paused = replace(on_both, state="paused", paused_for=CODES["heat"])
    held, said = step(Yielding(), ALL, AWAY, {GPU: COOL, other: hot}, [paused], 0)
    assert said == []  # the first is well, the other is not
    _, said = step(held, ALL, AWAY, {GPU: COOL, other: COOL}, [paused], 3_600_000)
    assert [one.kind for one in said] == ["resume"]
