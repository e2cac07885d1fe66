"""Facts about who may use a device and when: its owner says them, and nobody else's word counts."""

from typing import Annotated, Final

from mesh.state.facts.fact import Fact, amount, said

SINCE: Final = "0.2.0"
# Why a device takes no new jobs. Words of this list only: what people type goes into no event.
DRAIN_REASONS: Final = ("maintenance", "upgrade", "hardware", "private", "other")

ReservationId = Annotated[str, said("Which reservation", since=SINCE)]


class DeviceDrained(Fact, frozen=True, kw_only=True):
    """The event's device takes no new jobs; those that run there go on."""

    reason_code: Annotated[
        str,
        said('"maintenance", "upgrade", "hardware", "private" or "other"; another is "other"',
             since=SINCE),
    ]  # fmt: skip


class DeviceResumed(Fact, frozen=True, kw_only=True):
    """The event's device takes jobs again."""


class DeviceReserved(Fact, frozen=True, kw_only=True):
    """From one instant until another, only one peer's jobs start on the event's device."""

    reservation_id: ReservationId
    by: Annotated[str, said("Key of the peer whose jobs may start", since=SINCE)]
    from_ms: Annotated[int, amount("Begins, UTC", "ms", since=SINCE)]
    until_ms: Annotated[int, amount("Ends, UTC", "ms", since=SINCE)]


class ReservationEnded(Fact, frozen=True, kw_only=True):
    """A reservation of the event's device is over before its time."""

    reservation_id: ReservationId
