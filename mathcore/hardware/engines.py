"""Which engines hardware could run, by its architecture: data/engines.csv, with the reason."""

from mathcore.data import read_rows
from mathcore.hardware.facts import GpuFacts, Kind

_READ: dict[str, dict[str, tuple[str, ...]]] = {}


def _by_architecture() -> dict[str, tuple[str, ...]]:
    if "all" not in _READ:
        found: dict[str, tuple[str, ...]] = {}
        for row in read_rows("hardware", "engines.csv"):
            for arch in row["architectures"].split():
                found[arch] = (*found.get(arch, ()), row["engine"])
        _READ["all"] = found
    return _READ["all"]


def engines_for(facts: GpuFacts | None, kind: Kind) -> tuple[str, ...]:
    """Engines a device could run, sorted; `kind` decides where no row tells the architecture."""
    known = _by_architecture()
    return tuple(sorted(known.get(kind if facts is None else facts.arch, ())))
