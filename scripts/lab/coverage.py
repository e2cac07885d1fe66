"""Which held-out rows lie in error bars made of other devices only."""

import statistics
from collections import defaultdict

from scripts.lab.fit_bars import bars_without_device, miss_of
from scripts.lab.held_out import Held


class Coverage:
    """The bar of each row that is judged by one, and whether the row lies in it."""

    def __init__(self, held: list[Held]) -> None:
        found = [(one, miss_of(one.case, one.what, one.device_out, one.model_out)) for one in held]
        some = [(one, miss) for one, miss in found if miss is not None]
        bars = bars_without_device([miss for _, miss in some])
        self.bars = {id(one): bar for (one, _), bar in zip(some, bars, strict=True)}

    def judged(self, one: Held) -> bool:
        """False for rows no bar is meant for (`fit_bars.miss_of`)."""
        return id(one) in self.bars

    def bar(self, one: Held) -> tuple[float, float]:
        """Logarithms of measured over predicted time at p10 and p90, as other devices have it."""
        return self.bars[id(one)]

    def _inside(self, one: Held, error: float) -> bool:
        low, high = self.bars[id(one)]
        return low <= error <= high

    def of_devices(self, own: list[Held]) -> str:
        """By rows, and as the mean over devices, each of which counts once."""
        devices: dict[str, list[bool]] = defaultdict(list)
        for one in own:
            if self.judged(one):
                devices[one.device].append(self._inside(one, one.device_out))
        rows = [hit for hits in devices.values() for hit in hits]
        means = [statistics.fmean(hits) for hits in devices.values()]
        return f"{share(rows)} | {f'{100 * statistics.fmean(means):.0f} %' if means else '–'}"

    def of_models(self, own: list[Held]) -> str:
        return share([self._inside(one, one.model_out) for one in own if self.judged(one)])


def share(within: list[bool]) -> str:
    return f"{100 * statistics.fmean(within):.0f} %" if within else "–"
