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

    __slots__ = ("complete", "dearest", "rent")

    def __init__(self, devices: list[DeviceSpec]) -> None:
        # Most devices of a large question are rented: those are always known, and never in a set.
        self.rent = 0  # the dearest
        owned: list[DeviceSpec] = []
        for device in devices:
            rent = device.rate.hourly_nusd
            if rent > self.rent:
                self.rent = rent
            elif rent <= 0:
                owned.append(device)
        known = [device for device in owned if not unknown_parts(device.rate)]
        self.complete = len(known) == len(owned)
        # (hourly rate, device) of the owned and fully known ones, the dearest first.
        self.dearest = [(hourly_nusd(device.rate), device.device_id) for device in known]
        self.dearest.sort(reverse=True)

    def of_one(self, device: DeviceSpec) -> Price:
        """The price of a device by itself."""
        return KNOWN if device.rate.hourly_nusd > 0 else self.of([device])

    def of(self, members: list[DeviceSpec]) -> Price:
        """The price of several devices together."""
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
                return max(hourly, self.rent)
        return self.rent
