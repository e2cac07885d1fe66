"""How vLLM starts where nobody says otherwise, and over which cards it can split a model.

Follows engine/arg_utils.py (get_batch_defaults of the API server) and the checks of its layers.
"""

from dataclasses import dataclass
from typing import final

from mathcore.engines.options import EngineOptions, release
from mathcore.engines.vllm.cache import VllmShape
from mathcore.engines.vllm.memory import UTILISATION_PERMILLE
from mathcore.memo import Memo
from mathcore.model.spec import ModelSpec
from mathcore.units import GIB

LARGE_CARD_BYTES = 70 * GIB  # from here on vLLM takes larger batches, A100s left out
LARGE_TOKENS, LARGE_SEQUENCES = 8192, 1024
USUAL_TOKENS, USUAL_SEQUENCES = 2048, 256
# Releases that changed what a start leaves for the cache: its graphs are reckoned with since the
# first (spark-vllm-docker#396), which also took more of a card by default; since the second a
# sliding layer keeps room for two batches on their way (Apron's trace; ConfigIQ#112 fits one).
GRAPHS_SINCE = (0, 21, 0)
TWO_IN_FLIGHT_SINCE = (0, 29, 0)
OLD_UTILISATION_PERMILLE = 900
_FAULTS: Memo[str] = Memo(1024)  # of a hundred models over a few numbers of cards
MAX_CARDS = 64  # tensor times pipeline; larger worlds are nobody's single question


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A start's choices: the card's share, the batch, and over how many cards."""

    utilisation_permille: int
    batched_tokens: int
    max_num_seqs: int
    tensor_parallel: int = 1
    pipeline_parallel: int = 1


def since(options: EngineOptions, first: tuple[int, int, int]) -> bool:
    """Whether the release asked about has what `first` brought."""
    return not options.build or release(options.build) >= first


def start_of(
    options: EngineOptions, card_bytes: int, card_name: str, ranks: int = 1, stages: int = 1
) -> Start:
    """What vLLM chooses on such a card, but for what it is told."""
    large = card_bytes >= LARGE_CARD_BYTES and "a100" not in card_name.lower()
    tokens = options.max_num_batched_tokens or (LARGE_TOKENS if large else USUAL_TOKENS)
    sequences = options.max_num_seqs or (LARGE_SEQUENCES if large else USUAL_SEQUENCES)
    usual = UTILISATION_PERMILLE if since(options, GRAPHS_SINCE) else OLD_UTILISATION_PERMILLE
    return Start(
        utilisation_permille=options.memory_permille or usual,
        batched_tokens=tokens,
        max_num_seqs=min(sequences, tokens),
        tensor_parallel=ranks,
        pipeline_parallel=stages,
    )


def shape_of(
    start: Start, options: EngineOptions, context: int, sequences: int, kv_type: str
) -> VllmShape:
    """The cache question of `sequences` sequences of `context` tokens under such a start."""
    return VllmShape(
        context=context,
        sequences=sequences,
        kv_type=kv_type,
        tensor_parallel=start.tensor_parallel,
        batched_tokens=start.batched_tokens,
        max_num_seqs=max(start.max_num_seqs, sequences) if not options.max_num_seqs else 0,
        prefix_caching=options.prefix_caching is not False,
        state_bytes=options.state_bytes,
        graphs=not options.enforce_eager and since(options, GRAPHS_SINCE),
        in_flight=2 if since(options, TWO_IN_FLIGHT_SINCE) else 1,
    )


def rank_fault(spec: ModelSpec, ranks: int) -> str:
    """Why vLLM cannot split each layer over so many cards; "" when it can.

    Query heads and widths are shared out evenly; KV heads too, or each is copied to as many ranks.
    """
    if ranks == 1:
        return ""
    key = (id(spec), ranks)
    found = _FAULTS.get(key, spec)
    return _FAULTS.put(key, _rank_fault(spec, ranks), spec) if found is None else found


def _rank_fault(spec: ModelSpec, ranks: int) -> str:
    for layer in spec.layers:
        if layer.heads % ranks:
            return f"{layer.heads} heads do not divide by {ranks}"
        kv = layer.kv_heads
        if layer.kind != "latent" and kv > 0 and kv % ranks and ranks % kv:
            return f"{kv} KV heads neither divide by {ranks} nor into it"
        if layer.feed_forward % ranks or layer.expert_feed_forward % ranks:
            wide = layer.feed_forward if layer.feed_forward % ranks else layer.expert_feed_forward
            return f"a width of {wide} does not divide by {ranks}"
    return ""


def splits(spec: ModelSpec, options: EngineOptions, cards: int) -> list[tuple[int, int]]:
    """(tensor, pipeline) parallel sizes worth trying on up to `cards` like cards of one host.

    Named sizes alone where they are named. Of the others every tensor size that divides the model,
    and as many stages as the remaining cards make; fewest cards first.
    """
    most = min(cards, MAX_CARDS)
    layers = len(spec.layers) - spec.draft_layers
    out: list[tuple[int, int]] = []
    for used in range(1, most + 1):
        for ranks in range(used, 0, -1):
            if used % ranks or rank_fault(spec, ranks):
                continue
            stages = used // ranks
            if options.tensor_parallel not in (0, ranks) or stages > layers:
                continue
            if options.pipeline_parallel not in (0, stages):
                continue
            out.append((ranks, stages))
    return out


def even_layers(layers: int, stages: int) -> list[int]:
    """vLLM's own shares: what is left over goes to the stages before the last, from the back."""
    out = [layers // stages] * stages
    for i in range(2, layers % stages + 2):
        out[stages - i] += 1
    return out
