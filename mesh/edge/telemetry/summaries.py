"""An hour of a device in a few numbers, and whether they are worth an event. Pure."""

from __future__ import annotations

from typing import Final, final

from mesh.state.facts.telemetry import TelemetrySummarised
from providers.telemetry.energy import Meter, Point
from providers.telemetry.health import OK
from providers.telemetry.machine import Device

# An event per device and hour at most: a machine of 8 cards that works day and night signs 70,000
# a year, some 25 MB.
SPAN_MS: Final = 3_600_000
# What counts as another state of affairs than the last one told.
LOAD_CHANGE: Final = 10  # percentage points of the mean or the peak
MEMORY_CHANGE_PERCENT: Final = 10  # of the device's memory
ENERGY_CHANGE_PERCENT: Final = 25  # of what the last span drew
LEAST_JOULES: Final = 36_000  # 10 W over an hour: less is no news
# States named of one hour; a card that flaps says so by then.
MAX_CHANGES: Final = 16


@final
class Tally:
    """What was read of one device since `begun`, on the steady clock."""

    def __init__(self, begun_ms: int, tdp_mw: int | None, health: str = OK) -> None:
        self.begun_ms: Final = begun_ms
        self._meter = Meter(begun_ms, tdp_mw)
        self._loads = self._load_sum = 0
        self._load_peak: int | None = None
        self._used: int | None = None
        self._readings = 0
        self._health = health
        self._changes: list[str] = []
        self.memory_bytes = 0

    def add(self, device: Device, at_ms: int) -> None:
        """One sample of it."""
        if device.health.state != self._health:
            self._health = device.health.state
            self._changes = [*self._changes, self._health][:MAX_CHANGES]
        reading = device.reading
        if reading is None or device.health.refused_by:
            return  # the last words of a card that is gone say nothing of now
        self._readings += 1
        self._meter.add(Point(at_ms, reading.power_mw, reading.utilisation_percent))
        self.memory_bytes = reading.memory_bytes or self.memory_bytes
        if (load := reading.utilisation_percent) is not None:
            self._loads, self._load_sum = self._loads + 1, self._load_sum + load
            self._load_peak = max(load, self._load_peak or 0)
        if (used := reading.used_bytes) is not None:
            self._used = max(used, self._used or 0)

    def is_over(self, now_ms: int) -> bool:
        """Whether its span has passed."""
        return now_ms - self.begun_ms >= SPAN_MS

    def fact(self, now_ms: int, label_ms: int) -> TelemetrySummarised:
        """What it comes to; `label_ms` is UTC now."""
        energy, basis = self._meter.finish(now_ms)
        span_ms = now_ms - self.begun_ms
        return TelemetrySummarised(
            begun_ms=max(0, label_ms - span_ms),
            span_ms=span_ms,
            readings=self._readings,
            health=self._health,
            health_changes=tuple(self._changes),
            utilisation_mean_percent=round(self._load_sum / self._loads) if self._loads else None,
            utilisation_peak_percent=self._load_peak,
            peak_memory_bytes=self._used,
            energy_joules=None if energy is None else energy // 1000,
            energy_basis="" if energy is None else basis,
        )


def is_notable(last: TelemetrySummarised | None, new: TelemetrySummarised, memory: int) -> bool:
    """Whether a summary tells what the last one did not; without one, whether it was in use."""
    if new.health_changes or new.health != (OK if last is None else last.health):
        return True
    old = last or TelemetrySummarised(begun_ms=0, span_ms=0, readings=0, health=OK)
    if _differs(old.utilisation_mean_percent, new.utilisation_mean_percent, LOAD_CHANGE):
        return True
    if _differs(old.utilisation_peak_percent, new.utilisation_peak_percent, LOAD_CHANGE):
        return True
    least = max(1, memory * MEMORY_CHANGE_PERCENT // 100)
    if _differs(old.peak_memory_bytes, new.peak_memory_bytes, least):
        return True
    drew = old.energy_joules or 0
    least = max(LEAST_JOULES, drew * ENERGY_CHANGE_PERCENT // 100)
    return last is not None and _differs(drew, new.energy_joules, least)


def _differs(old: int | None, new: int | None, least: int) -> bool:
    return new is not None and abs(new - (old or 0)) >= least
