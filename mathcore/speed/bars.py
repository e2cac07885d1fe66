"""How wide an error bar is: by how much predictions miss on devices left out of the fit."""

from mathcore.speed.chip import Chip
from mathcore.speed.constants import group_of
from mathcore.speed.priors import SEEN, SPREADS
from mathcore.speed.terms import Run
from mathcore.speed.work import Work


def is_seen(chip: Chip, run: Run) -> bool:
    """Whether public measurements of this very device are part of the fit."""
    return f"{group_of(run.engine)} {chip.name}" in SEEN


def spread_key(
    what: str, chip: Chip, run: Run, work: Work, *, offloaded: bool, seen: bool
) -> list[str]:
    """Where the error bar is looked up, the particular before the general.

    "seen": the device is part of the fit; "spilled": part of the weights is in the host's memory;
    "reported": by someone who does not say all circumstances; "rough": device or model not in a
    catalogue.
    """
    group = group_of(run.engine)
    kind = "known" if chip.known and work.basis != "size" else "rough"
    if "reported" in run.flags:
        kind = "reported"
    if offloaded:
        kind = "spilled"
    first = [f"{what} {group} {chip.device_class} {kind}"]
    if kind == "known" and seen:
        first.insert(0, f"{what} {group} {chip.device_class} seen")
    elif "many" in run.flags or "old" in run.flags:
        named = "many" if "many" in run.flags else "old"
        first.insert(0, f"{what} {group} {chip.device_class} {kind} {named}")
    return first + [f"{what} {group} {kind}", f"{what} {kind}"]


_FOUND: dict[tuple[object, ...], tuple[float, float]] = {}  # bars already looked up
FOUND_MOST = 4096  # flags and engines are few; this only bounds mistakes


def spread_of(
    what: str, chip: Chip, run: Run, work: Work, *, offloaded: bool
) -> tuple[float, float]:
    """Logarithms of measured over predicted time at the 10th and 90th percentile.

    A device outside the catalogue has no class known for sure: the widest bar of its kind.
    """
    key: tuple[object, ...] = (
        what,
        chip.name,
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
        found = _spread(what, chip, run, work, offloaded=offloaded)
        _FOUND[key] = found
    return found


def _spread(what: str, chip: Chip, run: Run, work: Work, *, offloaded: bool) -> tuple[float, float]:
    for key in spread_key(what, chip, run, work, offloaded=offloaded, seen=is_seen(chip, run)):
        found = SPREADS.get(key)
        if found is not None:
            wider = 1.0 if chip.known else UNKNOWN_WIDER
            return (found[0] * wider, found[1] * wider)
    return (-1.0, 1.0)  # nothing of the kind was ever measured: a factor of three both ways


# A judgement: an unknown device's bandwidth and class are themselves guesses.
UNKNOWN_WIDER = 1.6
