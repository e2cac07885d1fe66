"""What the core must know about RunPod.

Its machines can end themselves with the key that each pod is given (RUNPOD_API_KEY), but only while
the container lives: a pod whose container died goes on costing, and nothing inside it can end it.
"""

from __future__ import annotations

from typing import Final

from providers.rental.contract import LLAMACPP_IMAGE, Profile

BASE_URL: Final = "https://api.runpod.io"  # of /v2 and of /graphql
MINUTE_MS: Final = 60_000
# The account's quota is 60 calls a minute and 3,000 an hour (RateLimit-Policy, as documented), for
# all calls together: at one a second no single kind of call can use up the minute.
SPACING_MS: Final = 1_000
# One look at the catalogue is up to eight calls (offers.COUNTS in two clouds).
OFFERS_SPACING_MS: Final = 8_000

PROFILE: Final = Profile(
    name="runpod",
    title="RunPod",
    budgets_ms={
        "placed": 2 * MINUTE_MS,
        "image": 10 * MINUTE_MS,
        "container": 3 * MINUTE_MS,
        "sshd": 2 * MINUTE_MS,
        "engine": 5 * MINUTE_MS,
    },
    spacing_ms={
        "offers": OFFERS_SPACING_MS,
        "create": SPACING_MS,
        "list": SPACING_MS,
        "terminate": SPACING_MS,
        "charges": SPACING_MS,
        "balance": SPACING_MS,
    },
    account_wide=True,
    billed_step_ms=1,  # "per second": a second less is within every look
    from_create=True,
    has_dead_man=True,
    has_charges=True,
    has_rises=False,
    has_spot=False,
    label_bytes=64,  # no limit is documented; ours are no longer (labels.MAX_LABEL)
    default_image=LLAMACPP_IMAGE,
)
