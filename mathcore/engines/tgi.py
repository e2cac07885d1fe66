"""Text Generation Inference 3.3: its cache is what warm-up leaves of nine tenths of each card.

Follows flash_causal_lm.py (warmup) and models/globals.py (TGI_WIGGLE_ROOM). Bytes otherwise are
counted as vLLM's are: both run paged attention over the same weights.
"""

from dataclasses import replace

from mathcore.engines.options import EngineOptions

WIGGLE_PERMILLE = 900  # TGI_WIGGLE_ROOM of CUDA_MEMORY_FRACTION, which is 1
PREFILL_TOKENS = 4096  # --max-batch-prefill-tokens where no length is given


def tgi_options(options: EngineOptions) -> EngineOptions:
    """A question's options with TGI's own defaults in place of vLLM's."""
    return replace(
        options,
        memory_permille=options.memory_permille or WIGGLE_PERMILLE,
        max_num_batched_tokens=options.max_num_batched_tokens or PREFILL_TOKENS,
    )
