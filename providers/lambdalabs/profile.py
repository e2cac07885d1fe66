"""What the core must know about Lambda Cloud."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from providers.rental.contract import Op, Profile, Step

NAME: Final = "lambdalabs"
# cloud.lambdalabs.com still answers and is deprecated.
BASE_URL: Final = "https://cloud.lambda.ai"
API: Final = "/api/v1"
MINUTE_MS: Final = 60_000
SECOND_MS: Final = 1_000
# The API documents 1 request a second for everything, and 5 launches a minute.
SPACING_MS: Final = SECOND_MS
LAUNCH_SPACING_MS: Final = 12 * SECOND_MS
MAX_NAME: Final = 64  # of an instance, characters
# A machine's image is not pulled but booted, and no reply shows how far that is.
BUDGETS_MS: Final[Mapping[Step, int]] = {
    "placed": 2 * MINUTE_MS,
    "image": 15 * MINUTE_MS,
    "container": 15 * MINUTE_MS,
    "sshd": 3 * MINUTE_MS,
    "engine": 5 * MINUTE_MS,
}
_SPACING: Final[Mapping[Op, int]] = {
    "offers": SPACING_MS,
    "keys": SPACING_MS,
    "create": LAUNCH_SPACING_MS,
    "list": SPACING_MS,
    "terminate": SPACING_MS,
    "charges": SPACING_MS,
    "balance": SPACING_MS,
    "rises": SPACING_MS,
    "refuse": SPACING_MS,
}

PROFILE: Final = Profile(
    name=NAME,
    title="Lambda Cloud",
    budgets_ms=BUDGETS_MS,
    spacing_ms=_SPACING,
    account_wide=True,
    # docs.lambda.ai/public-cloud/billing: by the minute, from when it passed its health checks.
    billed_step_ms=MINUTE_MS,
    from_create=False,
    has_dead_man=False,
    has_charges=False,
    has_rises=False,
    has_spot=False,
    label_bytes=MAX_NAME,
    default_image="",
)
