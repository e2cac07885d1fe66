"""What llama.cpp is told beyond a context: where layers and tensors lie, and how it computes.

Names are those of its command line, without dashes; what is not said is its own default, or for
places the best that is found.
"""

import re
from dataclasses import dataclass
from typing import final

from mathcore.engines.footprint import MICRO_BATCH, NOTHING, Beside, ContextShape
from mathcore.engines.llamacpp.offload import ALL_LAYERS, Placing
from mathcore.model.spec import ModelSpec, SpecError
from mathcore.quant.weights import ENCODERS

# --tensor-split takes decimals; shares are kept as whole thousandths.
SPLIT_PARTS = 1000
HOST = "CPU"  # the buffer type an override names for host memory
# "(a+)+" and "(a|a)*" may try every way to divide a name: no tensor's name needs a group repeated.
# Escaped characters and classes are passed over.
_REPEATS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|(\)?[+*{])")
# Of one pattern: a name of 40 characters is divided in 10,000 ways at most, so that all patterns
# are tried on the thousand tensors of a large model in a few seconds, whoever wrote them.
MAX_REPEATS = 3
MAX_OVERRIDES = 16  # llama.cpp's own guides need a handful
MAX_PATTERN = 512  # characters of one
MAX_SHARE = 1_000_000  # a proportion, or somebody's megabytes


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """Of one run; None and "" are not said."""

    gpu_layers: int | None = None  # -ngl; the output layer counts as one
    cpu_experts: int | None = None  # --n-cpu-moe: first layers whose experts stay in RAM
    split: tuple[int, ...] = ()  # --tensor-split, in thousandths
    on_host: tuple[str, ...] = ()  # --override-tensor PATTERN=CPU: the patterns
    micro_batch: int = 0  # --ubatch-size; 0 = not said
    v_type: str = ""  # --cache-type-v
    flash: bool = True  # --flash-attn
    unified: bool = False  # --kv-unified
    full_window: bool = False  # --swa-full
    backend: str = ""  # of its build: "vulkan" ...; "" = the card's own

    @property
    def places(self) -> bool:
        """Whether they say where something lies."""
        return (
            self.gpu_layers is not None
            or self.cpu_experts is not None
            or bool(self.split)
            or bool(self.on_host)
        )

    @property
    def uses_host(self) -> bool:
        """Whether something may have to lie in host memory."""
        return self.gpu_layers is not None or bool(self.cpu_experts) or bool(self.on_host)

    def shape(
        self,
        spec: ModelSpec,
        context: int,
        sequences: int,
        kv_type: str,
        beside: Beside = NOTHING,
    ) -> ContextShape:
        """The context they ask for; what reads a text in one pass has passes as long as texts."""
        passes = self.micro_batch or MICRO_BATCH
        if self.micro_batch == 0 and reads_at_once(spec):
            passes = max(passes, context)
        return ContextShape(
            context=context,
            sequences=sequences,
            kv_type=kv_type,
            micro_batch=passes,
            v_type=self.v_type,
            flash=self.flash,
            unified=self.unified,
            full_window=self.full_window,
            beside=beside,
        )

    def placing(self, layers: int, free_bytes: tuple[int, ...]) -> Placing:
        """Where `layers` layers go on cards with these free bytes; without a share, none."""
        split = self.split[: len(free_bytes)] if self.split else free_bytes
        if sum(split) <= 0:
            split = (1,) * len(free_bytes)
        wanted = self.gpu_layers
        on_gpu = ALL_LAYERS if wanted is None or wanted > layers else wanted
        moves = bool(self.cpu_experts) or bool(self.on_host)
        return Placing(gpu_layers=on_gpu, cpu_experts=layers if moves else 0, split=split)


DEFAULTS = Flags()


def reads_at_once(spec: ModelSpec) -> bool:
    """Whether a text must lie in one pass: encoders of embeddings and rerankers."""
    return spec.architecture in ENCODERS


def moved_names(spec: ModelSpec, flags: Flags) -> frozenset[str]:
    """Tensors that an override or --n-cpu-moe keeps in host memory, by their full names.

    SpecError "override_tensor" for a pattern that is none.
    """
    try:
        patterns = [re.compile(pattern) for pattern in flags.on_host]
    except (re.error, RecursionError, OverflowError) as error:
        raise SpecError("override_tensor", f"is no pattern: {error}") from error
    first = flags.cpu_experts or 0
    moved: set[str] = set()
    for tensor in spec.tensors:
        experts = tensor.experts > 1 or "exps." in tensor.name
        named = any([pattern.search(tensor.name) is not None for pattern in patterns])
        if named or (experts and 0 <= tensor.layer < first):
            moved.add(tensor.name)
    return frozenset(moved)


def parse_split(text: str) -> tuple[int, ...]:
    """ "2.7,1" in thousandths; ValueError for what is no list of shares."""
    shares = [float(part) for part in text.replace("/", ",").split(",")]
    if not shares or min(shares) < 0 or max(shares) <= 0 or max(shares) > MAX_SHARE:
        raise ValueError(f"{text!r} is no list of shares: say 3,1")
    return tuple([round(share * SPLIT_PARTS) for share in shares])


def parse_override(text: str) -> str:
    """The pattern of "PATTERN=CPU"; ValueError for another buffer, which no plan can place."""
    pattern, found, buffer = text.rpartition("=")
    if not found or not pattern or len(pattern) > MAX_PATTERN:
        raise ValueError(f"{text[:80]!r} is not PATTERN=CPU")
    if buffer.strip().upper() != HOST:
        raise ValueError(f"only PATTERN={HOST} can be planned, not {buffer[:40]!r}")
    repeats = [one for one in _REPEATS.findall(pattern) if one]
    if any([one.startswith(")") for one in repeats]):
        raise ValueError(f"{pattern[:80]!r}: a repeated group may take too long; say it with .*")
    if len(repeats) > MAX_REPEATS:
        raise ValueError(f"{pattern[:80]!r}: more than {MAX_REPEATS} repeats may take too long")
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern[:80]!r} is no pattern: {error}") from error
    return pattern
