"""The owner's machine comes first: which preemptible attempts give way, and when they go on.

Pure: `step` is given what is known of the machine and of its devices, and says what to do. What is
not marked preemptible is never touched. Unknown is no reason by itself, but for one: where there is
a desktop, nobody knowing whether somebody is there counts as somebody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from mathcore.units import show_bytes
from mesh.policy.yield_settings import Reason, YieldPolicies, YieldPolicy

Kind = Literal["pause", "resume", "stop"]
ORDER: Final[tuple[Kind, ...]] = ("stop", "pause", "resume")

# Why an attempt stands still or a device takes no preemptible work, as events and answers say it.
CODES: Final[dict[Reason, str]] = {
    "memory": "ForeignMemory",
    "person": "OwnerPresent",
    "battery": "OnBattery",
    "heat": "ThermalLimit",
}
GONE: Final[dict[str, str]] = {
    "ForeignMemory": "others have the memory that they needed",
    "OwnerPresent": "nobody is at this machine any more",
    "OnBattery": "this machine is on mains again",
    "ThermalLimit": "it has cooled down",
}
# How long a reason must have been gone before work goes on. They end flapping: no attempt pauses
# twice within the shortest. A person who left has been without input for `idle` already; a plug is
# pushed in twice; a card warms up within seconds of going on; memory comes back in steps.
CALM_MS: Final[dict[Reason, int]] = {
    "person": 10_000,
    "battery": 30_000,
    "heat": 60_000,
    "memory": 60_000,
}
# A card that paused is let on when it is this much below its limit.
COOL_BY_C: Final = 8
# Other programs that hold less than this on a card are its desktop, not work that needs memory.
MIN_FOREIGN_BYTES: Final = 512 * 1024 * 1024
# With less than this free, the next allocation of another program is likely to fail.
LOW_FREE_BYTES: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFacts:
    """What holds for all devices of this machine. None is unknown.

    `desktop`: a session at the machine itself can be there. `idle_ms`: since the last input;
    where it is known, the policy's `idle` decides and `present` doesn't.
    """

    desktop: bool
    present: bool | None = None
    idle_ms: int | None = None
    on_mains: bool | None = None
    battery_percent: int | None = None
    text: str = ""  # what the source says of the person


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """What holds for one device. `foreign_need_bytes`: what others lack now, 0 = nothing."""

    temperature_c: int | None = None
    foreign_need_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningAttempt:
    """An attempt that has not ended, on one device or several of one host, all of which it gives
    up or keeps. `paused_for` is the code it was paused with, by whomever."""

    job_id: str
    attempt: int
    devices: tuple[str, ...]
    preemptible: bool
    footprint_bytes: int = 0  # on each device at least, by its plan; 0 = unknown
    state: Literal["running", "paused", "ending"] = "running"
    paused_for: str = ""
    started_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One thing to do, with its reason code and a sentence. A stopped attempt is queued again."""

    kind: Kind
    job_id: str
    attempt: int
    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why a device starts no preemptible work."""

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A reason of a device: when it last held, and the sentence that said so."""

    last_ms: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Yielding:
    """What `step` remembers. Reasons stay here until they have been gone for their calm time."""

    held: Mapping[tuple[str, Reason], Held] = field(default_factory=dict)
    seen: frozenset[str] = frozenset()

    def hold(self, device_id: str) -> Hold | None:
        """Why this device starts no preemptible work now; None = it may."""
        for reason, code in CODES.items():
            found = self.held.get((device_id, reason))
            if found is not None:
                return Hold(code=code, text=found.text)
        return None


def foreign_need(free_bytes: int, foreign_bytes: int) -> int:
    """What others lack on a device: bytes to free until the next allocation should not fail."""
    if foreign_bytes < MIN_FOREIGN_BYTES:
        return 0
    return max(0, LOW_FREE_BYTES - free_bytes)


def step(
    before: Yielding,
    policies: YieldPolicies,
    machine: MachineFacts,
    devices: Mapping[str, DeviceFacts],
    attempts: Sequence[RunningAttempt],
    now_ms: int,
) -> tuple[Yielding, list[Decision]]:
    """(what to remember, what to do), stops first. `now_ms` is of a clock that never goes back.

    `devices` may name more than the attempts do: those that work waits for.
    """
    held: dict[tuple[str, Reason], Held] = {}
    decisions: list[Decision] = []
    names = sorted({*devices, *(device for one in attempts for device in one.devices)})
    for name in names:
        policy, facts = policies.of(name), devices.get(name, DeviceFacts())
        here = [one for one in attempts if name in one.devices]
        for reason in policy.reasons(desktop=machine.desktop):
            earlier = before.held.get((name, reason)) or _unseen(before, name, reason, here, now_ms)
            now = _held(reason, policy, machine, facts, name, earlier, now_ms)
            if now is not None:
                held[name, reason] = now
        holding = {reason: held[name, reason] for reason in CODES if (name, reason) in held}
        decisions += _for_device(policy, facts, here, holding)
    return Yielding(held=held, seen=frozenset(names)), _agreed(decisions, attempts)


def _agreed(decisions: Sequence[Decision], attempts: Sequence[RunningAttempt]) -> list[Decision]:
    """One decision for each attempt, stops first: any of its devices stops or pauses it, and it
    goes on once none has a reason left."""
    said: dict[tuple[str, int], list[Decision]] = {}
    for one in sorted(decisions, key=lambda decision: ORDER.index(decision.kind)):
        said.setdefault((one.job_id, one.attempt), []).append(one)
    count = {(one.job_id, one.attempt): len(one.devices) for one in attempts}
    return [
        each[0] for key, each in said.items() if each[0].kind != "resume" or len(each) == count[key]
    ]


def _unseen(
    before: Yielding, name: str, reason: Reason, here: Sequence[RunningAttempt], now_ms: int
) -> Held | None:
    """Who was paused before this daemon began was so for a reason that held until now."""
    paused_for = {one.paused_for for one in here if one.state == "paused"}
    if name in before.seen or CODES[reason] not in paused_for:
        return None
    return Held(last_ms=now_ms, text="it was paused before this daemon began")


def _held(
    reason: Reason,
    policy: YieldPolicy,
    machine: MachineFacts,
    facts: DeviceFacts,
    name: str,
    earlier: Held | None,
    now_ms: int,
) -> Held | None:
    """The reason as it holds now or did shortly before; None once it has been gone for long."""
    text = _why(reason, policy, machine, facts, name, yielding=earlier is not None)
    if text is not None:
        return Held(last_ms=now_ms, text=text)
    if earlier is None:
        return None
    if _unknown(reason, machine, facts):
        return Held(last_ms=now_ms, text=earlier.text)
    return earlier if now_ms - earlier.last_ms < CALM_MS[reason] else None


def _why(
    reason: Reason,
    policy: YieldPolicy,
    machine: MachineFacts,
    facts: DeviceFacts,
    name: str,
    *,
    yielding: bool,
) -> str | None:
    """The sentence of a reason that holds now; None where it doesn't, or nobody knows."""
    if reason == "person":
        return _person(policy, machine)
    if reason == "battery":
        charge = machine.battery_percent
        level = "" if charge is None else f" ({charge} %)"
        return f"this machine runs on battery{level}" if machine.on_mains is False else None
    if reason == "heat":
        return _heat(policy, facts.temperature_c, name, yielding=yielding)
    need = facts.foreign_need_bytes
    return f"other programs lack {show_bytes(need)} on {name}" if need else None


def _person(policy: YieldPolicy, machine: MachineFacts) -> str | None:
    if machine.idle_ms is not None:
        there = machine.idle_ms < policy.idle_ms
    else:
        there = machine.desktop if machine.present is None else machine.present
    if not there:
        return None
    unknown = machine.idle_ms is None and machine.present is None
    text = "nobody knows whether somebody is" if unknown else "somebody is"
    return f"{text} at this machine" + (f" ({machine.text})" if machine.text else "")


def _heat(policy: YieldPolicy, celsius: int | None, name: str, *, yielding: bool) -> str | None:
    limit = policy.max_temp_c
    if celsius is None:
        return None
    if celsius >= limit:
        return f"{name} is at {celsius} °C, its limit is {limit} °C"
    if yielding and celsius > limit - COOL_BY_C:
        return f"{name} is at {celsius} °C and goes on at {limit - COOL_BY_C} °C"
    return None


def _unknown(reason: Reason, machine: MachineFacts, facts: DeviceFacts) -> bool:
    """Whether nobody can tell: a reason that held then goes on to hold."""
    known = {
        "person": True,
        "battery": machine.on_mains is not None,
        "heat": facts.temperature_c is not None,
        "memory": facts.foreign_need_bytes is not None,
    }
    return not known[reason]


def _for_device(
    policy: YieldPolicy,
    facts: DeviceFacts,
    attempts: Sequence[RunningAttempt],
    held: Mapping[Reason, Held],
) -> list[Decision]:
    mine = [one for one in attempts if one.preemptible and one.state != "ending"]
    freed: list[RunningAttempt] = []
    if "memory" in held and facts.foreign_need_bytes:
        ending = sum(one.footprint_bytes for one in attempts if one.state == "ending")
        freed = _who_frees(mine, facts.foreign_need_bytes - ending)
    out = [_decision("stop", one, CODES["memory"], held["memory"].text) for one in freed]
    mine = [one for one in mine if one not in freed]
    # Memory is not given back by standing still, so it is no reason to pause.
    still = [reason for reason in held if reason != "memory"]
    if not still:
        paused = [one for one in mine if one.state == "paused" and one.paused_for in GONE]
        return out + [_decision("resume", o, o.paused_for, GONE[o.paused_for]) for o in paused]
    code, text = CODES[still[0]], held[still[0]].text
    left = [one for one in mine if policy.action == "stop" or one.state == "running"]
    return out + [_decision(policy.action, one, code, text) for one in left]


def _who_frees(attempts: Sequence[RunningAttempt], need_bytes: int) -> list[RunningAttempt]:
    """Whom to stop so that as much is free: who stands still first, then who began last."""
    chosen: list[RunningAttempt] = []
    order = sorted(
        attempts,
        key=lambda one: (one.footprint_bytes == 0, one.state != "paused", -one.started_ms),
    )
    for one in order:
        if need_bytes <= 0:
            break
        chosen.append(one)
        need_bytes -= one.footprint_bytes
    return chosen


def _decision(kind: Kind, one: RunningAttempt, code: str, text: str) -> Decision:
    return Decision(kind=kind, job_id=one.job_id, attempt=one.attempt, code=code, text=text)
