"""What the core must know about Vast.ai.

The least time between calls is what its API's description names for each endpoint; it holds for an
endpoint and a key, and an earlier call is answered 429.
"""

from __future__ import annotations

from typing import Final

from providers.rental.contract import LLAMACPP_IMAGE, Profile

NAME: Final = "vastai"
TITLE: Final = "Vast.ai"
BASE_URL: Final = "https://console.vast.ai"
URL_VARIABLE: Final = "FLEET_VAST_URL"
S: Final = 1000
MIN: Final = 60 * S

PROFILE: Final = Profile(
    name=NAME,
    title=TITLE,
    budgets_ms={
        "placed": 2 * MIN,
        "image": 10 * MIN,
        "container": 3 * MIN,
        "sshd": 2 * MIN,
        "engine": 5 * MIN,
    },
    spacing_ms={
        "offers": 6 * S,  # ten a minute
        "create": 4500,
        "list": S,
        "terminate": 3 * S,
        "charges": S,
        "balance": S,  # of these three it says nothing: as for other reads and changes
        "rises": S,
        "refuse": S,
    },
    account_wide=False,
    billed_step_ms=1,  # no least time is documented
    from_create=False,  # while it boots, its disk alone
    has_dead_man=True,
    has_charges=True,
    has_rises=True,
    has_spot=True,
    label_bytes=256,
    default_image=LLAMACPP_IMAGE,
)
