"""What an engine's own log prints of a start, in its own words."""

from collections.abc import Mapping
from typing import Any

GIB = 1 << 30


def log_text(engine: str, log: Mapping[str, Any]) -> str:
    """The figures of a server engine; "" of one that prints none we know."""
    if engine == "sglang":
        return (
            f"mem_fraction_static={log['mem_fraction_static']:.3f}, "
            f"max_total_num_tokens={log['max_total_num_tokens']:.0f}"
        )
    if "kv_cache_tokens" not in log:
        return ""
    if engine == "tgi":  # flashinfer's blocks, its choice on cards of today, are of one token
        return f"KV-cache blocks: {log['kv_cache_tokens']:.0f}, size: 1"
    return (
        f"Available KV cache memory: {log['available_kv_cache_bytes'] / GIB:.2f} GiB, "
        f"GPU KV cache size: {log['kv_cache_tokens']:,.0f} tokens, "
        f"Maximum concurrency: {log['max_concurrency']:.2f}x"
    )
