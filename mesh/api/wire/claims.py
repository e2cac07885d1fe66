"""What peers say to each other about one device and one attempt: asks, offers, claims, leases.

Pure. A home asks the owners of its best devices, claims one, and goes on asking the same owner
until it answers: an unanswered claim is unknown. Everything is safe to send twice.
"""

from __future__ import annotations

from typing import Annotated, Final, final

import msgspec

from mesh.api.bodies import SALT_BYTES, Body
from mesh.state.jobs import MAX_GANG

# How long an offer holds its place: a claim follows within a round trip; ten seconds are a slow
# link's. Nobody else waits longer than that for a home that died.
HOLD_S: Final = 10.0
# Events of the home's chain that travel with a claim: from the job's first one on they are a
# handful. Where they are more, sync has brought the old ones, and brings the new ones.
MAX_CLAIM_EVENTS: Final = 32
MAX_EVENTS_BYTES: Final = 1 << 19  # of them all; in hex twice as much
# A claim's body as JSON: what was typed (1 MiB, more where it is escaped) and those events.
MAX_CLAIM_BYTES: Final = 4 << 20
MAX_LEASES: Final = 4096  # in one answer: four devices' lines at their longest
MAX_WORDS: Final = 400  # of a sentence: every peer shows it on a line or two
JOB_ID: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
MAX_BYTES: Final = 1 << 60  # no device has more memory, and sums of such stay in 64 bits
MAX_MS: Final = 1 << 42  # a hundred years

JobId = Annotated[str, msgspec.Meta(pattern=JOB_ID)]
AttemptNumber = Annotated[int, msgspec.Meta(ge=1, le=64)]
DeviceId = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
OfferId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$")]
Bytes = Annotated[int, msgspec.Meta(ge=0, le=MAX_BYTES)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=MAX_MS)]
Hex = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{2})*$", max_length=1 << 17)]


@final
class Share(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A further device of a gang, and what is taken of each of its cards."""

    device_id: DeviceId
    memory_bytes: Bytes = 0


@final
class Ask(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """May this attempt run on that device? `memory_bytes` are of each card, by the home's plan.

    `p50_ms` to `p90_ms` are its predicted time there, 0 where nobody knows. `members`: devices of
    the same owner and host that it needs at the same time; they are left out where there are none,
    and an owner whose program does not know of them refuses the whole.
    """

    job_id: JobId
    attempt: AttemptNumber
    device_id: DeviceId
    kind: Annotated[str, msgspec.Meta(pattern="^(model|command)$")]
    memory_bytes: Bytes = 0
    ram_bytes: Bytes = 0
    p50_ms: Milliseconds = 0
    p90_ms: Milliseconds = 0
    priority: Annotated[int, msgspec.Meta(ge=0, le=100)] = 50
    deadline_in_ms: Milliseconds | None = None
    model: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    model_bytes: Bytes = 0
    model_hash: Annotated[str, msgspec.Meta(max_length=128)] = ""
    members: Annotated[tuple[Share, ...], msgspec.Meta(max_length=MAX_GANG - 1)] = ()

    @property
    def devices(self) -> tuple[str, ...]:
        """All it asks for."""
        return self.device_id, *(one.device_id for one in self.members)


@final
class Standing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why an attempt waits, and when it should start and end, in ms from now; None: nobody can say.

    Of a hundred it starts or ends within `p50` fifty times and within `p90` ninety times. `p_ppm`
    is the chance that it meets its deadline, in millionths; None without one.
    """

    code: Annotated[str, msgspec.Meta(max_length=40)] = ""
    text: Annotated[str, msgspec.Meta(max_length=MAX_WORDS)] = ""
    start_p50_ms: Milliseconds | None = None
    start_p90_ms: Milliseconds | None = None
    end_p50_ms: Milliseconds | None = None
    end_p90_ms: Milliseconds | None = None
    p_ppm: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | None = None


@final
class Offer(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Yes: the attempt would stand so if it came now, and it may be claimed while it is held.

    `members` repeats what was asked for: an offer without them is none for a gang.
    """

    offer_id: OfferId
    device_id: DeviceId
    standing: Standing = Standing()
    fetch_ms: Milliseconds = 0  # until the model is there
    ahead: Annotated[int, msgspec.Meta(ge=0)] = 0  # attempts before it on the device
    hold_ms: Milliseconds = int(HOLD_S * 1000)
    members: Annotated[tuple[DeviceId, ...], msgspec.Meta(max_length=MAX_GANG - 1)] = ()

    @property
    def devices(self) -> tuple[str, ...]:
        """All that is held."""
        return self.device_id, *self.members


@final
class Claim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take the attempt. `events` are the end of the home's chain, as (signature, body) in hex, from
    the job's submission on, its dispatch to this device among them. `body` is what was typed,
    `model` what the owner finds or fetches the model by."""

    offer_id: OfferId
    job_id: JobId
    attempt: AttemptNumber
    body: Body
    salt: Annotated[str, msgspec.Meta(pattern=f"^[0-9a-f]{{{2 * SALT_BYTES}}}$")]
    events: Annotated[list[tuple[Hex, Hex]], msgspec.Meta(max_length=MAX_CLAIM_EVENTS)] = []
    model: dict[str, object] | None = None


@final
class Lease(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The owner has it, for good. `fence` grows with each lease of this owner."""

    job_id: JobId
    attempt: AttemptNumber
    fence: Annotated[int, msgspec.Meta(ge=1)]
    status: Annotated[str, msgspec.Meta(max_length=20)]
    standing: Standing = Standing()


@final
class Leases(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The attempts of one home that wait at an owner."""

    leases: Annotated[list[Lease], msgspec.Meta(max_length=MAX_LEASES)] = []


# Of a file, in one answer: smaller pieces of a log cost more in questions than in bytes.
MAX_PART_BYTES: Final = 1 << 20


@final
class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Some of a job's file from an offset on, base64. `over`: the attempt has ended."""

    data: Annotated[str, msgspec.Meta(max_length=MAX_PART_BYTES * 4 // 3 + 4)]
    size: Bytes
    over: bool


# Answers that mean: this owner does not have the attempt and never will.
GONE: Final = frozenset({"HoldLapsed", "Cancelled", "NotTrusted", "NoFit", "Drained", "BadBody"})
