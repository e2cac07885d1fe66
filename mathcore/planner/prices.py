"""What an unknown price counts as: so that saying nothing never makes a device look cheap.

An amount with an unknown part is a lower bound. It is shown as such, and ranked as if the part cost
what the dearest other device of the question costs an hour.
"""

from typing import final

from mathcore.device import DeviceSpec
from mathcore.price import RATE_PARTS, RatePart, hourly_nusd, unknown_parts
from mathcore.units import HOUR_MS


@final
class Price:
    """What is not known of a device's rate (of a set: of its members'), and what it counts as."""

    __slots__ = ("beside_nusd", "lacks")

    def __init__(self, lacks: tuple[RatePart, ...], beside_nusd: int) -> None:
        self.lacks = lacks
        self.beside_nusd = beside_nusd  # an hour, beside the known parts

    def ranked_nusd(self, known_nusd: float, ms: float) -> float:
        """What so many milliseconds count as, the unknown part included."""
        if self.beside_nusd == 0:
            return known_nusd
        return known_nusd + self.beside_nusd * ms / HOUR_MS


KNOWN = Price((), 0)


@final
class Prices:
    """The rates of one question's devices."""

    __slots__ = ("complete", "dearest")

    def __init__(self, devices: list[DeviceSpec]) -> None:
        self.complete = not any(unknown_parts(device.rate) for device in devices)
        # (hourly rate, device) of the fully known ones, the dearest first, where some are not.
        self.dearest: list[tuple[int, str]] = []
        if self.complete:
            return
        for device in devices:
            if not unknown_parts(device.rate):
                self.dearest.append((hourly_nusd(device.rate), device.device_id))
        self.dearest.sort(reverse=True)

    def of(self, members: list[DeviceSpec]) -> Price:
        """The price of one device, or of several together."""
        if self.complete:
            return KNOWN
        found: list[RatePart] = []
        unknown = 0
        for member in members:
            parts = unknown_parts(member.rate)
            unknown += 1 if parts else 0
            found += parts
        if unknown == 0:
            return KNOWN
        lacks = tuple([part for part in RATE_PARTS if part in found])
        return Price(lacks, unknown * self._other(members))

    def _other(self, members: list[DeviceSpec]) -> int:
        """The dearest known hourly rate among the other devices; 0 where none is known."""
        own = [member.device_id for member in members]
        for hourly, device_id in self.dearest:
            if device_id not in own:
                return hourly
        return 0
