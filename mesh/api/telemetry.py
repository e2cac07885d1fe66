"""What a peer says of its devices now: the messages of `GET /v1/telemetry`. Pure values.

Another peer's message is read with bounds on every part; one that breaks them is refused whole.
None is unknown. Ages are of the sender's steady clock, so no two clocks need agree.
"""

from __future__ import annotations

from typing import Annotated, Final, final

import msgspec
from msgspec import Meta

# More cards than any host has, and more than a person reads of; each about 300 bytes.
MAX_DEVICES: Final = 256
MAX_HOLDERS: Final = 16  # processes of others that are named, the largest
MAX_JOBS: Final = 64
MAX_TEXT: Final = 200
# A message at its bounds in every part, as JSON.
MAX_MESSAGE_BYTES: Final = 1 << 20

Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Amount = Annotated[int, Meta(ge=0, le=2**62)]


@final
class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """A process of nobody's job that holds memory: its program's name, never its arguments."""

    pid: Amount
    program: Text
    memory_bytes: Amount | None = None


@final
class JobNow(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that runs there. `energy_basis`: "measured", "estimated" or "unknown"."""

    job_id: Text
    attempt: Amount
    memory_bytes: Amount | None = None
    tokens_per_s_milli: Amount | None = None
    energy_millijoules: Amount | None = None
    energy_basis: Text = "unknown"


@final
class DeviceNow(msgspec.Struct, frozen=True, kw_only=True):
    """One device. `age_ms`: since its reading was taken; None where there never was one."""

    device_id: Text
    name: Text
    age_ms: Amount | None = None
    memory_bytes: Amount | None = None
    free_bytes: Amount | None = None
    utilisation_percent: Amount | None = None
    power_mw: Amount | None = None
    power_limit_mw: Amount | None = None
    temperature_c: int | None = None
    core_mhz: Amount | None = None
    memory_mhz: Amount | None = None
    slowed: Annotated[tuple[Text, ...], Meta(max_length=8)] | None = None
    foreign: Annotated[tuple[Holder, ...], Meta(max_length=MAX_HOLDERS)] | None = None
    jobs: Annotated[tuple[JobNow, ...], Meta(max_length=MAX_JOBS)] = ()
    health: Text = "ok"
    health_text: Text = ""
    health_age_ms: Amount = 0


@final
class PeerNow(msgspec.Struct, frozen=True, kw_only=True):
    """All devices of one peer. `at_ms` is a label: when its own clock says it was."""

    peer_id: Text
    at_ms: Amount
    devices: Annotated[tuple[DeviceNow, ...], Meta(max_length=MAX_DEVICES)] = ()


@final
class PeerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A peer as the fleet's picture shows it: its last message, and how old that is here.

    `state`: "live"; "silent" where it has not said anything for a while, or never (`age_ms` None).
    """

    peer_id: Text
    name: Text
    you: bool
    state: Text
    age_ms: int | None = None
    why: Text = ""
    devices: tuple[DeviceNow, ...] = ()


@final
class FleetNow(msgspec.Struct, frozen=True, kw_only=True):
    """The whole fleet's picture."""

    at_ms: int
    peers: tuple[PeerRow, ...]


def read_message(raw: bytes) -> PeerNow:
    """Another peer's message; ValueError where it is none, or breaks a bound."""
    if len(raw) > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {len(raw)} bytes")
    try:
        return msgspec.json.decode(raw, type=PeerNow)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"no telemetry: {error}") from error


def cut(text: str) -> str:
    """A text of ours within the bounds others hold it to."""
    return text[:MAX_TEXT]
