"""How wide an error bar is: by how much predictions miss on devices and models left out of the fit.

`scripts/fit` makes one bar for each figure, class and kind of question, as wide as a device and a
model need that nobody measured. To have measured a device narrows nothing; its jobs do (`lesson`).
"""

from mathcore.speed.chip import Chip
from mathcore.speed.constants import group_of
from mathcore.speed.priors import SEEN, SPREADS
from mathcore.speed.terms import Run
from mathcore.speed.work import Work

# A judgement: an unknown device's bandwidth and class are themselves guesses.
UNKNOWN_WIDER = 1.6
NOBODY_KNOWS = (-1.0, 1.0)  # nothing of the kind was ever measured: a factor of three both ways


def is_seen(chip: Chip, run: Run) -> bool:
    """Whether public measurements of this very device are part of the fit."""
    return f"{group_of(run.engine)} {chip.name}" in SEEN


def place_of(chip: Chip, run: Run) -> str:
    """What shares a bar: a class of devices, with a server's engine."""
    local = group_of(run.engine) == "local"
    return chip.device_class if local else f"{chip.device_class} {run.engine}"


def kind_of(run: Run, work: Work, *, offloaded: bool) -> str:
    """ "spilled": part of the weights is in the host's memory; "reported": by someone who does not
    say all circumstances; "rough": of a model known by its size alone; else "known"."""
    if offloaded:
        return "spilled"
    if "reported" in run.flags:
        return "reported"
    return "rough" if work.basis == "size" else "known"


def fallbacks(kind: str) -> tuple[str, ...]:
    """The kinds whose bars may stand for one. What lies wholly on a card says nothing of what lies
    partly in the host's memory: there a bar nobody measured is `NOBODY_KNOWS`."""
    return (kind,) if kind in ("known", "spilled") else (kind, "known")


def spread_keys(what: str, place: str, kind: str) -> list[str]:
    """Where a bar is looked up, the particular before the general."""
    return [key for one in fallbacks(kind) for key in (f"{what} {place} {one}", f"{what} {one}")]


_FOUND: dict[tuple[object, ...], tuple[float, float]] = {}  # bars already looked up
FOUND_MOST = 4096  # flags and engines are few; this only bounds mistakes


def spread_of(
    what: str, chip: Chip, run: Run, work: Work, *, offloaded: bool
) -> tuple[float, float]:
    """Logarithms of measured over predicted time at the 10th and 90th percentile."""
    key: tuple[object, ...] = (
        what,
        chip.device_class,
        chip.known,
        work.basis == "size",
        offloaded,
        run.engine,
        run.flags,
    )
    found = _FOUND.get(key)
    if found is None:
        if len(_FOUND) >= FOUND_MOST:
            _FOUND.clear()
        found = _spread(what, place_of(chip, run), kind_of(run, work, offloaded=offloaded))
        wider = 1.0 if chip.known else UNKNOWN_WIDER
        found = (found[0] * wider, found[1] * wider)
        _FOUND[key] = found
    return found


def _spread(what: str, place: str, kind: str) -> tuple[float, float]:
    if what == "total" and f"total {place} {kind}" not in SPREADS:
        # Whole requests are prompts and steps: as unsure as the less sure of them.
        decode, prefill = _spread("decode", place, kind), _spread("prefill", place, kind)
        return (min(decode[0], prefill[0]), max(decode[1], prefill[1]))
    for key in spread_keys(what, place, kind):
        found = SPREADS.get(key)
        if found is not None:
            return found
    return NOBODY_KNOWS
