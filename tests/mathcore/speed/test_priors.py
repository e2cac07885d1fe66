"""The priors' file: what a fit writes is what the model reads, and every entry means something."""

import math
from pathlib import Path

from mathcore.hardware.facts import cpus, gpus
from mathcore.speed.constants import NAMES, PACE
from mathcore.speed.priors import EFFECTS, SEEN, SPREADS
from scripts.lab.fit import PRIORS, write_priors

ROOT = Path(__file__).parents[3]


def test_what_a_fit_writes_is_the_file_byte_for_byte(tmp_path: Path) -> None:
    write_priors(tmp_path / "priors.json", EFFECTS, SPREADS, set(SEEN))
    assert (tmp_path / "priors.json").read_bytes() == (ROOT / PRIORS).read_bytes()


def test_every_effect_belongs_to_a_constant_and_stays_in_its_range() -> None:
    for name, value in EFFECTS.items():
        assert name.split()[0] in (*NAMES, PACE), name
        assert math.isfinite(value), name
        assert abs(value) < 20, name


def test_every_bar_has_its_low_end_below_its_high_end() -> None:
    assert all(-3 <= low < 0 < high <= 3 for low, high in SPREADS.values())
    assert {name.split()[0] for name in SPREADS} == {"decode", "prefill", "total"}


def test_every_device_seen_by_the_fit_is_in_the_catalogue() -> None:
    known = {fact.name for fact in (*gpus(), *cpus())}
    assert {name.split(" ", 1)[1] for name in SEEN} <= known
