"""What older builds of llama.cpp reserved otherwise, so that logs of real cards can be checked.

A build is its number: 5863 is b5863; 0 is the newest known. The arithmetic is the planner's own,
and with these differences equal to the logs of CUDA and Metal to their two decimals
(docs/accuracy-device.md).
"""

from mathcore.engines.footprint import ContextShape
from mathcore.engines.llamacpp.graph_input import MicroBatch

# Builds that changed what is allocated. Between the last two no log was seen.
INDEXED_SINCE = 6073  # cells are written by an index (set_rows) from August 2025 on
CELLS_OF_256_SINCE = 6970  # before, cells came in 32s without flash attention
FEW_ROWS_SINCE = 8000  # before, room for the logits of a whole micro batch was kept


def has_since(build: int, number: int) -> bool:
    """Whether a build has what `number` brought."""
    return build == 0 or build >= number


def cell_pad(build: int, *, flash: bool) -> int:
    """What a build rounds cells up to."""
    return 256 if flash or has_since(build, CELLS_OF_256_SINCE) else 32


def as_built(batch: MicroBatch, shape: ContextShape) -> None:
    """Makes of the newest build's micro batch what `shape.build` reserved for on a card."""
    batch.indexed = has_since(shape.build, INDEXED_SINCE)
    if has_since(shape.build, FEW_ROWS_SINCE):
        return
    batch.tokens = min(shape.micro_batch, shape.context * shape.sequences)  # of a short context
    batch.rows = batch.tokens
    batch.mixed = False  # embeddings are put together in host memory
    batch.spare_table = False
    batch.cast_mask = True
