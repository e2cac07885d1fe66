"""Constants of the speed model as data/priors.json has them; scripts/fit writes that file.

EFFECTS are logarithms that add up to one constant (`constants.effect_names`). SPREADS are
logarithms of measured over predicted time at the 10th and 90th percentile, on devices left out of
the fit, or on models left out for devices in SEEN ("GROUP DEVICE").
"""

import json
from typing import Any

from mathcore.data import read_text

_TABLE: dict[str, Any] = json.loads(read_text("speed", "priors.json"))

EFFECTS: dict[str, float] = {name: float(value) for name, value in _TABLE["effects"].items()}
SPREADS: dict[str, tuple[float, float]] = {
    name: (float(low), float(high)) for name, (low, high) in _TABLE["spreads"].items()
}
SEEN: frozenset[str] = frozenset(_TABLE["seen"])
