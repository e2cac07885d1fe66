"""What a field of a request takes, and the one line said when a value will not do.

Every line names the field and the value, says what the field takes, and hints at one that works.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn, TypeVar

from mathcore.units import parse_count, show_count
from mesh.api.errors import RequestError

Read = TypeVar("Read")

MAX_SHOWN = 40  # characters of a wrong value that are repeated

# Ceilings no real request comes near; they keep byte arithmetic far below 2**62.
MAX_BATCH = 65_536
MAX_CONTEXT = 100 << 20
MAX_UBATCH = 65_536
# Fields that count something, which may be written "8k": (most, what is counted).
COUNTS: dict[str, tuple[int, str]] = {
    "batch": (MAX_BATCH, "sequences at once"),
    "context": (MAX_CONTEXT, "tokens of context"),
    "tokens": (MAX_CONTEXT, "tokens to generate"),
    "prompt_tokens": (MAX_CONTEXT, "tokens of prompt"),
    "parallel": (MAX_BATCH, "sequences at once"),
    "ubatch": (MAX_UBATCH, "tokens of a pass"),
}
NAME = "letters, digits, dots, dashes and underscores, a letter or digit first"
# What a field takes, and an example of it.
TAKES: dict[str, tuple[str, str]] = {
    "batch": (f"a whole number from 1 to {show_count(MAX_BATCH)}", "4"),
    "context": (f"a whole number from 1 to {show_count(MAX_CONTEXT)}", "8k"),
    "tokens": (f"a whole number from 1 to {show_count(MAX_CONTEXT)}", "256"),
    "prompt_tokens": (f"a whole number from 1 to {show_count(MAX_CONTEXT)}", "512"),
    "model": ("a model's name, file or URL", "llama3.1:8b"),
    "engine": ("the name of an engine", "llama.cpp"),
    "quant": ("a type of weights", "Q4_K_M"),
    "kv_type": ("a type of cache", "q8_0"),
    "max_latency": ("a time", "30s"),
    "max_latency_ms": ("a whole number of milliseconds", "30000"),
    "ttft": ("a time", "500ms"),
    "deadline": ("a time", "5m"),
    "min_tps": ("a number of tokens a second", "20"),
    "max_price": ("dollars an hour", "0.50"),
    "max_cost": ("dollars", "0.02"),
    "min_quality": ("a number from 0 to 1", "0.97"),
    "objective": ("cheapest, fastest or balanced", "balanced"),
    "on": ("a device's name", "rig"),
    "what_if": ("a list of at most 64 texts that name hardware", '["RTX 4090 x2"]'),
    "fleet": ("a list of at most 4096 devices", '[{"name": "rig", "gpu": "RTX 4090"}]'),
    "sets": ("true or false", "false"),
    "ways_out": ("true or false", "false"),
    "allow_beyond": ("true or false", "true"),
    "cloud": ("true or false", "true"),
    "ram": ("a size of memory", "128GB"),
    "rate": ("a price of an hour", "0.45/h"),
    "gpu_layers": ('a number of layers, or "all"', "20"),
    "n_cpu_moe": ("a number of layers", "20"),
    "cpu_moe": ("true or false", "true"),
    "tensor_split": ("a list of shares", "3,1"),
    "override_tensor": ("a list of PATTERN=CPU", '"ffn_.*_exps=CPU"'),
    "flash_attn": ("true or false", "false"),
    "ubatch": ("a whole number from 1 to 65536", "512"),
    "cache_type_k": ("a type of cache", "q8_0"),
    "cache_type_v": ("a type of cache", "q8_0"),
    "kv_unified": ("true or false", "true"),
    "swa_full": ("true or false", "true"),
    "backend": ("cuda, rocm, vulkan or metal", "vulkan"),
    "parallel": ("a whole number of sequences", "4"),
    "mmproj": ("a projector's file", "mmproj-F16.gguf"),
    "vision": ("true or false", "false"),
    "image_size": ("a whole number of pixels from 1 to 16384", "1024"),
    "draft": ("a model that drafts, or mtp", "qwen3-0.6b"),
    "draft_quant": ("a type of weights", "Q8_0"),
    "lora": ("a list of files or sizes of adapters", '["160MB"]'),
    "gpu_memory_utilization": ("a share of each card from 0.01 to 1", "0.9"),
    "mem_fraction_static": ("a share of each card from 0.01 to 1", "0.85"),
    "max_num_seqs": (f"a whole number from 1 to {show_count(MAX_CONTEXT)}", "64"),
    "max_num_batched_tokens": (f"a whole number from 1 to {show_count(MAX_CONTEXT)}", "8192"),
    "tensor_parallel": ("a whole number of cards from 1 to 64", "2"),
    "pipeline_parallel": ("a whole number of stages from 1 to 64", "3"),
    "prefix_caching": ("true or false", "false"),
    "mamba_ssm_cache_dtype": ("auto, float32, float16 or bfloat16", "float32"),
    "enforce_eager": ("true or false", "true"),
    "engine_build": ("a release of the engine", "0.28"),
    "command": ("a list of at most 256 words", '["python", "train.py"]'),
    "prompt": ("at most 1048576", '"Why is the sky blue?"'),
    "lines": ("requests as JSON, one to a line", "…"),
    "serve": ("true or false", "true"),
    "workdir": ("a folder, or a repository's address", "/home/me/work"),
    "priority": ("critical, high, normal, low, scavenger, or 0 to 100", "high"),
    "preemptible": ("true or false", "true"),
    "retries": ("a whole number from 0 to 8", "2"),
    "on_disconnect": ("hold, or replace: and a time", "replace:10m"),
    "reconcile": (
        "keep_original, keep_replacement, longest_running or best_score",
        "keep_original",
    ),
    "cwd": ("a folder", "/home/me/work"),
    "env": ("at most 256 names, each with its text", '{"API_KEY": "..."}'),
    "label": ("a text of at most 1024 characters", "nightly"),
    "key": ("the name or id of a key of this peer", "ci"),
    "name": (NAME, "rig"),
    "host": (NAME, "cellar"),
    "job_id": (NAME, "job-1"),
    "gpu": ("the name of hardware", '"RTX 4090 x2"'),
    "memory": ("a size of memory", "24GB"),
    "usable": ("a size of memory", "20GB"),
    "count": ("a whole number from 1 to 1024", "2"),
    "cores": ("a whole number from 1 to 4096", "16"),
    "network": ("the speed of a link", "10Gbit/s"),
    "disk": ("a size", "2TB"),
    "engines": ("names of engines", "llama.cpp,vllm"),
    "backends": ("names of engines", "llama.cpp,vllm"),
    "location": ("lan, tailnet or cloud", "lan"),
    "transport": ("agent, ssh or api", "ssh"),
    "price": ("dollars it cost", "1600"),
    "lifetime": ("a number of months from 1 to 1200", "36"),
    "watts": ("a whole number of watts from 1 to 100000", "450"),
}
NAMES = frozenset({"name", "host", "job_id"})


def refuse(text: str, hint: str = "") -> NoReturn:
    """Raise the error for input that is wrong."""
    raise RequestError("BadRequest", text, hint)


def read(field: str, parse: Callable[[str], Read], text: str) -> Read:
    """What `parse` makes of a field's text; RequestError says what it takes."""
    try:
        return parse(text)
    except ValueError as error:
        why, _, example = str(error).partition(": say ")
        refuse(f"{field}: {why}", f"say {example}" if example else _example(field))


def counts(given: Mapping[str, object]) -> dict[str, object]:
    """The fields with counts as integers, whether given so or as "8k"."""
    out = dict(given)
    for field, (most, what) in COUNTS.items():
        value = out.get(field)
        if isinstance(value, str):
            value = out[field] = read(field, parse_count, value)
        if isinstance(value, int) and value > most:
            refuse(f"{field}: {value} {what}: at most {show_count(most)}", _example(field))
    return out


def wrong_value(field: str, value: object) -> NoReturn:
    """Raise the error for a value a field does not take."""
    takes, _ = TAKES.get(field, ("", ""))
    if field in NAMES and isinstance(value, str):
        refuse(f"{field}: takes {takes}: {_shown(value)} is none", _example(field))
    if field == "prompt" and isinstance(value, str):  # nobody wants to read it again
        refuse(f"prompt: {len(value)} characters, {takes} travel with a job", "shorten it")
    if field == "env":  # what is in it may be a secret
        refuse(f"env: takes {takes}", _example(field))
    what = f"{_shown(value)} is not {takes}" if takes else f"{_shown(value)} will not do"
    refuse(f"{field}: {what}", _example(field))


def unknown_field(field: str, known: Iterable[str], page: str) -> NoReturn:
    """Raise the error for a field there is none of, with the name it may mean."""
    from difflib import get_close_matches

    near = get_close_matches(field, list(known), 1)
    refuse(f"{field[:MAX_SHOWN]}: no such field", f"{near[0]}" if near else page)


def missing_field(field: str) -> NoReturn:
    """Raise the error for a field that must be there."""
    refuse(f"{field}: missing", _example(field))


def unknown_name(field: str, value: str, known: Iterable[str]) -> NoReturn:
    """Raise the error for a name that is none of `known`, with the nearest of them."""
    from difflib import get_close_matches

    names = list(known)
    plain = {name.lower(): name for name in names}
    near = get_close_matches(value.lower(), list(plain), 3, 0.5)
    hint = ", ".join(plain[name] for name in near) if len(names) > 12 else ", ".join(names)
    refuse(f"{field}: unknown {_shown(value)}", f"one of {hint}" if hint else _example(field))


def _example(field: str) -> str:
    _, example = TAKES.get(field, ("", ""))
    return f"say for example {example}" if example else ""


def _shown(value: object) -> str:
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"
