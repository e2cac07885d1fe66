"""Why a job waits, in one sentence with the numbers."""

from collections.abc import Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Final

from mathcore.units import show_bytes
from mesh.policy.queue.account import Account
from mesh.policy.queue.backfill import NEVER, Holder, Promise
from mesh.policy.queue.values import Code, Reason, Reservation, Room, Waiting

# A reading this old says little of what is free. A driver may hang for 5 s, and readings are some
# seconds apart: an older one means that nobody reads any more.
STALE_MS: Final = 60_000
# What telemetry calls a device that must not be given work, and how a queue says so. A device that
# is only "degraded" is slow, which the plan knows; words of a newer version count as unreachable.
HEALTH: Final[dict[str, tuple[Code, str]]] = {
    "lost": ("Unreachable", "its driver does not list it any more"),
    "unresponsive": ("Unreachable", "its driver does not answer"),
    "driver_mismatch": ("DependencyMissing", "its driver and its library are of two versions"),
    "thermal": ("ThermalLimit", "it is too hot to be given work"),
    "power": ("PowerCap", "its power limit is reached"),
    "paused": ("Paused", "a person is using the machine"),
}
WORKS: Final = ("", "ok", "degraded")
SHOWN_ID = 8  # characters of a key that are shown where it has no name here


def closed(room: Room | None, now_ms: int) -> Reason | None:
    """Why a device takes nobody now; None where it is open."""
    if room is None:
        return Reason(code="Unreachable", text="Unreachable: its device is not there any more")
    if room.drained:
        return _reason("Drained", f"{room.device_id} takes no new jobs ({room.drained})")
    if room.health not in WORKS:
        code, text = HEALTH.get(room.health, ("Unreachable", f"its state is {room.health}"))
        return _reason(code, f"{room.device_id}: {text}")
    if room.free_bytes is None:
        return _reason("StaleView", f"free memory of {room.device_id} was never read")
    if now_ms - room.read_ms > STALE_MS:
        age = (now_ms - room.read_ms) // 1000
        return _reason("StaleView", f"free memory of {room.device_id} was last read {age} s ago")
    return None


def never_fits(job: Waiting, account: Account) -> Reason | None:
    """Why a job could not start even on the empty device; None where it could."""
    room, card = account.room, account.card(job.need)
    if job.need.cards > room.cards:
        return _reason("NoFit", f"needs {job.need.cards} cards, {room.device_id} has {room.cards}")
    if room.total_bytes and card > room.total_bytes:
        need, has = show_bytes(card), show_bytes(room.total_bytes)
        return _reason("NoFit", f"needs {need}, {room.device_id} has {has} in all")
    return None


def demoted(job: Waiting) -> Reason:
    """By its home's role, which was another when it was taken."""
    text = f"its home {job.by[:SHOWN_ID]} has not the role runner any more: fleet peers role"
    return _reason("NotTrusted", text)


def held_back(job: Waiting, found: Reservation) -> Reason:
    """By somebody's reservation."""
    who = found.by[:SHOWN_ID] or "its owner"
    when = f"from {_clock(found.from_ms)} to {_clock(found.until_ms)} UTC"
    length = "" if job.p80_ms else "; how long this job takes is not known"
    return _reason("Reserved", f"{job.device_id} is reserved for {who} {when}{length}")


def kept_for(first: Promise) -> Reason:
    """By the first in line."""
    when = "" if first.at_ms == NEVER else f", which starts by {_clock(first.at_ms)} UTC"
    text = f"{first.job.device_id} is kept for {first.job.job_id}{when}"
    return _reason("Busy", text)


def crowd(device_id: str, holders: Sequence[Holder]) -> str:
    """Who is on a device, and until when, for `no_room`."""
    here = [one for one in holders if device_id in {part.device_id for part in one.parts}]
    count = f"{here[0].key[0]} runs" if len(here) == 1 else f"{len(here)} jobs run"
    first = min((one.end_ms for one in here), default=NEVER)
    until = "" if first == NEVER else f", the next ends by about {_clock(first)} UTC"
    return f"{count} on {device_id}{until}"


def no_room(job: Waiting, account: Account, here: str) -> Reason:
    """By what is there now: our jobs, of whom `crowd` says who they are, or others' programs."""
    room, card = account.room, account.card(job.need)
    foreign = sum(one.bytes for one in room.foreign)
    if not account.jobs or card > (room.total_bytes or card) - foreign:
        return _short(job, account)
    if not account.may_join(job.need):
        return _reason("Busy", f"{here}; no other may run beside")
    if card <= account.free:
        return _short(job, account)
    lacks = f"needs {show_bytes(card)}, {show_bytes(max(0, account.free))} free"
    return _reason("Busy", f"{here}; {lacks}")


def scattered(job: Waiting) -> Reason:
    """By devices of which no job can have some here and some there."""
    names = " and ".join(part.device_id for part in job.parts)
    return _reason("NoFit", f"{names} are not of one host")


def no_ram(need: int, free: int | None) -> Reason:
    """By the host's RAM, which a gang's devices take together."""
    has = "free RAM was never read" if free is None else f"{show_bytes(max(0, free))} free"
    return _reason("Busy", f"needs {show_bytes(need)} of the host's RAM, {has}")


def of_gang(job: Waiting, device_id: str, reason: Reason) -> Reason:
    """The reason of one of its devices, with the device named."""
    if not job.others or device_id in reason.text:
        return reason
    return _reason(reason.code, reason.text.replace(f"{reason.code}: ", f"{device_id}: ", 1))


def _short(job: Waiting, account: Account) -> Reason:
    """Memory is short, and our jobs do not hold it."""
    room, card, ram = account.room, account.card(job.need), account.beside(job.need)
    free = account.ram.free
    if card <= account.free and ram and (free is None or ram > free):
        return no_ram(ram, free)
    left = f"needs {show_bytes(card)}, {show_bytes(max(0, account.free))} free"
    total = f" of {show_bytes(room.total_bytes)}" if room.total_bytes else ""
    if not room.foreign:
        return _reason(
            "ForeignMemory", f"programs that can't be named hold the rest{total}; {left}"
        )
    most = max(room.foreign, key=attrgetter("bytes"))
    others = f" and {len(room.foreign) - 1} others" if len(room.foreign) > 1 else ""
    held = show_bytes(sum(one.bytes for one in room.foreign))
    who = f"{most.program} (pid {most.pid}){others}"
    verb = "hold" if others else "holds"
    return _reason("ForeignMemory", f"{who} {verb} {held}{total}; {left}")


def _reason(code: Code, text: str) -> Reason:
    return Reason(code=code, text=f"{code}: {text}")


def _clock(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%H:%M")
