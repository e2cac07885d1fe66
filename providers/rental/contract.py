"""What a cloud is asked, and what it may answer: values only, of no provider's own shape.

Every adapter is two parts: pure translation (`create_from(reply) -> Created`), tested on recorded
replies, and a thin class with the methods of `Cloud`, which sends each `Request` over a `Wire`.
No method raises for what a provider says or fails to say: that is a value. Money is nano-dollars,
rates nano-dollars an hour for the whole machine, memory bytes of one accelerator, time milliseconds
UTC of the provider's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, final

# What is asked: each has its own spacing and its own 429. "refuse": a request to pay more. "keys":
# our public key made known, where a provider wants that before a create.
Op = Literal[
    "offers", "keys", "create", "list", "terminate", "charges", "balance", "rises", "refuse"
]
# How a machine is on its way, up, or bad: what every provider's own words are read as.
Status = Literal[
    "placing", "image", "container", "up", "stopped", "exited", "preempted", "error", "terminating"
]
# What is reached one after the other; each has a budget of time after the one before.
Step = Literal["placed", "image", "container", "sshd", "engine"]
STEPS: Final[tuple[Step, ...]] = ("placed", "image", "container", "sshd", "engine")
# Machines that are paid for and of no use.
BAD: Final[frozenset[Status]] = frozenset({"stopped", "exited", "preempted", "error"})
DEFAULT_DISK_BYTES: Final = 40 << 30  # a model of 30 GB and its engine
# Of a machine nothing is booked yet: that comes late, and no record is no amount.
NOT_YET: Final = "not_yet"
# llama.cpp's own image with CUDA: llama-server in /app, and the Python that holds it there.
LLAMACPP_IMAGE: Final = "ghcr.io/ggml-org/llama.cpp:full-cuda"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request; `path` begins with "/". `headers` never hold the key: the wire adds it."""

    op: Op
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: object = None  # JSON; None sends none


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back: `status` 0 is no answer, and `broke` says why ("timeout", "reset",
    "unreached"). `body` is the JSON, or text that is none; header names are lower case."""

    status: int
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    broke: str = ""


class Wire(Protocol):
    """Who sends. Never twice: a mutation goes over a connection of its own, and nothing below
    repeats it."""

    async def send(self, request: Request) -> Reply:
        """One reply, whatever happens."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A machine that can be rented. 0, "" and None: the provider does not say."""

    provider: str
    offer_id: str  # what `create` takes
    gpu: str  # as the provider calls it: "RTX 4090"
    gpu_count: int
    memory_bytes: int  # of one accelerator, from the offer itself and never from its name
    hourly_nusd: int  # all in for the machine with `disk_bytes`, while it is up
    stopped_hourly_nusd: int = 0  # while it is not
    disk_bytes: int = 0  # counted in both
    # An hour of each GB more or less of it, up or not; None: it comes with the disk that it has.
    disk_hourly_nusd_per_gb: int | None = None
    egress_nusd_per_gb: int = 0
    ingress_nusd_per_gb: int = 0
    spot: bool = False  # may be taken back when somebody pays more
    region: str = ""
    vcpus: int = 0
    ram_bytes: int = 0
    network_bps: int = 0  # to it
    host_id: str = ""  # a physical machine, where it has a name: how well it boots is learned
    reliability_ppm: int | None = None  # as the provider measures it
    available: bool = True


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Which offers are wanted."""

    spot: bool = False
    memory_bytes: int = 0  # of one accelerator, at least
    gpu_count: int = 0  # exactly; 0 = any
    disk_bytes: int = DEFAULT_DISK_BYTES
    limit: int = 200


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be made. The host key is ours: so the machine is known when it first answers."""

    label: str  # labels.label_of; the provider shows it in every listing
    offer: Offer
    image: str
    disk_bytes: int
    life_ms: int  # the dead-man ends it so long after it began, by its own count
    lease_ms: int  # and so long after the last contact
    user_public_key: str  # "ssh-ed25519 AAAA…": who may log in
    host_private_key: str  # OpenSSH PEM of the machine's own key, made for this rental
    bid_hourly_nusd: int | None = None  # of a spot machine: what is paid at most


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SshAt:
    """Where a machine's sshd answers."""

    host: str
    port: int
    user: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One machine in a listing. `price_nusd` is the contract's hourly rate; a price of 0 or less is
    none. `rate_nusd` is what is charged now (a stopped machine's disk; 0 = nothing), None where the
    provider does not say."""

    instance_id: str
    label: str
    status: Status
    price_nusd: int
    rate_nusd: int | None
    ssh: SshAt | None = None
    note: str = ""  # what the provider says of it, for people


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a listing, whole and well-formed. `after`: what asks for the next, "" = the last
    one. `total`: how many machines there are in all, where the provider says so."""

    rows: tuple[Row, ...]
    after: str = ""
    total: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """No answer to a question: it proves nothing. `why`: "timeout", "reset", "unreached", "5xx",
    "429", "auth", "retired", "malformed", "quota", NOT_YET, or the provider's own code."""

    why: str
    text: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A machine was made; `code` is the error that came with it, "" where all is well."""

    instance_id: str
    code: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Nothing was made or ended, by a code that the provider documents."""

    code: str
    text: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Unclear:
    """It may have happened, or not: "timeout", "reset", "unreached", "5xx", "429", "odd_reply"."""

    code: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An end was asked for and taken; `gone`: there was no such machine any more."""

    gone: bool = False


Created = Made | Refused | Unclear
Ended = Accepted | Refused | Unclear


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Charges:
    """What a provider says that one machine cost in a time; rounded to `step_nusd` by them.
    `until_ms`: how far what is booked by now may reach; None = not said."""

    amount_nusd: int
    step_nusd: int
    from_ms: int
    to_ms: int
    until_ms: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What is left to spend; None where the provider does not say. `hourly_nusd`: spent now."""

    left_nusd: int | None
    hourly_nusd: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Rise:
    """A provider asks for a higher price of a running machine."""

    request_id: str
    instance_id: str
    new_hourly_nusd: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What the core must know about a provider."""

    name: str  # "vastai", "runpod", "lambdalabs"
    title: str  # "Vast.ai"
    budgets_ms: Mapping[Step, int]  # to reach each step after the one before
    spacing_ms: Mapping[Op, int]  # the least time between calls
    account_wide: bool  # a 429 stops every call of the account, not its endpoint alone
    from_create: bool  # billed in full from the create; else the disk alone until it is up
    billed_step_ms: int  # what is billed is a multiple of it, from the first that costs on
    has_dead_man: bool  # a machine can end itself, with a key that can do nothing else
    has_charges: bool
    has_rises: bool
    has_spot: bool
    label_bytes: int  # a label may be so long
    # What runs where nobody names an image; "" = machines with a system of their own, which take no
    # image and have no engine until somebody installs one.
    default_image: str


class Cloud(Protocol):
    """One account at one provider."""

    @property
    def profile(self) -> Profile:
        """What the core must know."""

    async def offers(self, ask: Ask) -> tuple[Offer, ...] | Unread:
        """What can be rented now."""

    async def create(self, order: Order) -> Created:
        """Ask once for one machine. What is unclear is looked for by its label, never repeated."""

    async def page(self, after: str) -> Page | Unread:
        """Part of the account's machines, ours and others'; "" asks for the first."""

    async def terminate(self, instance_id: str) -> Ended:
        """Ask for a machine's end; its absence in listings alone proves it."""

    async def charges(self, instance_id: str, from_ms: int, to_ms: int) -> Charges | Unread:
        """What it cost."""

    async def balance(self) -> Balance | Unread:
        """What is left."""

    async def rises(self) -> tuple[Rise, ...] | Unread:
        """Requests to pay more."""

    async def refuse(self, rise: Rise) -> Accepted | Refused | Unclear:
        """Say no to one."""
