"""The model of a benchmark row as bytes and operations, however little the row says about it."""

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

from mathcore.catalogue.models import find_row
from mathcore.formats.config import flatten, spec_from_config
from mathcore.model.spec import ModelSpec, SpecError
from mathcore.quant.weights import QUANTS
from mathcore.speed.work import Work, scaled, work_of, work_of_size
from scripts.lab.catalogue_match import match_model

Card = dict[str, object]
BILLION = 1e9

# Bits per weight of formats no GGUF rule covers: payload plus scales, from each format's layout;
# GGUF types: the mean over llama.cpp's quantised releases.
_BITS: tuple[tuple[str, float], ...] = (
    (r"bf16|fp16|f16|16-?bit", 16.0),
    (r"f32|fp32", 32.0),
    (r"mxfp8", 8.25),
    (r"nvfp4", 4.5),
    (r"mxfp4", 4.25),
    (r"w8a16|w8a8|fp8|int8|8-?bit", 8.2),
    (r"fp4", 4.5),
    (r"awq|gptq|int4|w4a16|autoround|4-?bit", 4.4),
    (r"mixed4", 4.75),
    (r"6-?bit", 6.5),
    (r"5-?bit", 5.5),
    (r"3-?bit", 3.5),
    (r"2bit-ternary", 2.1),
    (r"2-?bit", 2.5),
    (r"iq1", 2.0),
    (r"iq2_xxs", 2.38),
    (r"iq2", 2.7),
    (r"iq3_xxs", 3.25),
    (r"iq3", 3.6),
    (r"iq4_nl", 4.68),
    (r"iq4", 4.46),
    (r"q2_k", 3.16),
    (r"q3_k_s", 3.64),
    (r"q3_k_l", 4.3),
    (r"q3", 4.0),
    (r"q4_0", 4.63),
    (r"q4_k_s", 4.67),
    (r"q4_k_xl", 4.75),
    (r"mq4", 4.5),
    (r"q4", 4.89),
    (r"q5_k_s", 5.57),
    (r"q5", 5.7),
    (r"q6", 6.56),
    (r"q8", 8.5),
)
_MLX = re.compile(r"mlx q(\d)(?: g(\d+))?")
_SIZED = re.compile(
    r"(?<![\w.])(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?:[-_. ]?a(\d+(?:\.\d+)?)([bm]))?(?![a-z])", re.I
)


def bits_of(quant: str, name: str) -> float:
    """Bits per weight that a quantisation's name, else the model's, means; Q4_K_M by default."""
    for text in (quant.lower().replace(" - ", "_"), name.lower()):
        mlx = _MLX.search(text)
        if mlx:
            return float(mlx.group(1)) + 32.0 / float(mlx.group(2) or 64)
        for pattern, bits in _BITS:
            if re.search(pattern, text):
                return bits
    return 4.89


# What formats are called outside llama.cpp, and the rules that weigh them.
_RULES: tuple[tuple[str, str], ...] = (
    (r"mlx q(\d) g32", "MLX-{0}bit-g32"),
    (r"mlx q(\d)", "MLX-{0}bit"),
    (r"mlx bf16", "MLX-16bit"),
    (r"mxfp4 moe", "MXFP4_MOE"),
    (r"nvfp4|^fp4$", "NVFP4"),
    (r"mxfp8", "MXFP8"),
    (r"mxfp4", "MXFP4_MOE"),
    (r"^fp8|fp8.?(block|dynamic|e4m3)?$", "FP8"),
    (r"awq", "AWQ"),
    (r"gptq|gptq4", "GPTQ-INT4"),
    (r"^int4|w4a16|autoround", "W4A16"),
    (r"^int8|w8a", "INT8"),
    (r"^(16-?bit|fp16|bf16|f16)$", "F16"),
)


def rule_quant(quant: str, name: str) -> str:
    """The type whose rules weigh the model, or ""."""
    text = quant.upper().replace(" - MEDIUM", "_M").strip()
    for source in (text, name.upper()):
        for known in sorted(QUANTS, key=len, reverse=True):
            if "_" in known and re.search(rf"(?<![A-Z0-9_]){known}(?![A-Z0-9_])", source):
                return known
    for pattern, rule in _RULES:
        found = re.search(pattern, quant.strip().lower())
        if found:
            return rule.format(*found.groups())
    return text if text in QUANTS else ""


def named_size(name: str) -> tuple[float, float]:
    """(parameters, active parameters) a name states, zeros where it does not."""
    best = (0.0, 0.0)
    for many, size, unit, active, active_unit in _SIZED.findall(name):
        scale = 1.0 if unit.lower() == "b" else 1e-3
        total = float(size) * scale * (float(many) if many else 1.0)
        part = float(active) * (1.0 if active_unit.lower() == "b" else 1e-3) if active else 0.0
        if many:
            part = float(size) * scale * 1.7  # two of n experts and what they share
        if part or total > best[0]:
            best = (total, part)
    return best


def _number(card: Card, *keys: str) -> int:
    for key in keys:
        value = card.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return 0


def _kinds(card: Card, layers: int) -> tuple[int, int, int]:
    """(full, windowed, linear) attention layers."""
    types = card.get("layer_types")
    if isinstance(types, list) and types:
        sliding = sum(1 for kind in types if "sliding" in str(kind) or "chunked" in str(kind))
        full = sum(1 for kind in types if str(kind) in ("full_attention", "attention"))
        return full, sliding, layers - full - sliding
    pattern = card.get("hybrid_override_pattern")
    if isinstance(pattern, str):
        return pattern.count("*"), 0, pattern.count("M")
    interval = _number(card, "full_attention_interval")
    if interval:
        return layers // interval, 0, layers - layers // interval
    step = _number(card, "sliding_window_pattern", "_sliding_window_pattern")
    if _number(card, "sliding_window") and step:
        return layers // step, layers - layers // step, 0
    return layers, 0, 0


def _attention(card: Card, hidden: int) -> tuple[int, int, int]:
    """(parameters, K/V numbers, query width) of one attention layer."""
    heads = _number(card, "num_attention_heads") or 1
    size = _number(card, "head_dim") or hidden // heads
    kv = _number(card, "num_key_value_heads") or heads
    rank = _number(card, "kv_lora_rank")
    if not rank:
        width = hidden * size * (2 * heads + 2 * kv)
        return width, 2 * kv * size, 2 * heads * size
    nope, rope = _number(card, "qk_nope_head_dim"), _number(card, "qk_rope_head_dim")
    value = _number(card, "v_head_dim") or nope
    q_rank = _number(card, "q_lora_rank")
    query = heads * (nope + rope)
    asked = hidden * q_rank + q_rank * query if q_rank else hidden * query
    width = asked + hidden * (rank + rope) + rank * heads * (nope + value) + heads * value * hidden
    return width, rank + rope, heads * (2 * rank + rope)


def _experts(card: Card, hidden: int, layers: int) -> tuple[int, int, int, int, int]:
    """(experts, used, sparse layers, parameters of one expert, of what all tokens share)."""
    experts = _number(card, "num_experts", "n_routed_experts", "num_local_experts")
    if experts <= 1:
        return 0, 0, 0, 0, 0
    used = _number(card, "num_experts_per_tok", "experts_per_token", "top_k_experts", "moe_topk")
    width = _number(card, "moe_intermediate_size", "expert_ffn_hidden_size", "intermediate_size")
    sparse = layers - _number(card, "first_k_dense_replace")
    pattern = card.get("hybrid_override_pattern")
    inner = _number(card, "moe_latent_size") or hidden
    matrices = 2 if isinstance(pattern, str) else 3
    if isinstance(pattern, str):
        sparse = pattern.count("E")
    shared = _number(card, "shared_expert_intermediate_size", "moe_shared_expert_intermediate_size")
    shared = shared or _number(card, "n_shared_experts") * width
    return experts, used or 1, sparse, matrices * inner * width, matrices * hidden * shared


def rough_work(card: Card) -> Work:
    """Work at 16 bits from the usual fields of a config no converter reads; SpecError if none."""
    card = flatten(card)
    layers, hidden = _number(card, "num_hidden_layers", "num_layers"), _number(card, "hidden_size")
    if not layers or not hidden:
        raise SpecError("num_hidden_layers", "is missing")
    full, sliding, linear = _kinds(card, layers)
    width, kv, pairs = _attention(card, hidden)
    experts, used, sparse, one, shared = _experts(card, hidden, layers)
    feed = 3 * hidden * _number(card, "intermediate_size", "ffn_hidden_size")
    if experts and card.get("model_type") in ("minimax_m2", "gpt_oss"):
        feed = 0
    patterned = "hybrid_override_pattern" in card
    dense_layers = 0 if patterned else (layers if card.get("enable_moe_block") else layers - sparse)
    inner = _number(card, "mamba_num_heads") * _number(card, "mamba_head_dim")
    inner = inner or _number(card, "linear_num_value_heads") * _number(
        card, "linear_value_head_dim"
    )
    state_size = _number(card, "ssm_state_size", "linear_key_head_dim") or 128
    mixing = 3 * hidden * inner if inner else 0
    head = _number(card, "vocab_size") * hidden
    always = (
        (full + sliding) * width + linear * mixing + dense_layers * feed + sparse * shared + head
    )
    routed = sparse * experts * one
    return Work(
        layers=layers,
        hidden=hidden,
        total_bytes=2 * (always + routed + head),
        dense_bytes=2 * always,
        active=always + sparse * used * one,
        expert_bytes=2 * routed,
        experts=experts,
        experts_used=used,
        sparse_layers=sparse,
        latent_layers=full if _number(card, "kv_lora_rank") else 0,
        kv_width=full * kv,
        window_width=sliding * kv,
        window=_number(card, "sliding_window"),
        state_bytes=8 * linear * inner * state_size,
        query_width=full * pairs,
        window_query_width=sliding * pairs,
        basis="config",
    )


def _squeezed(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", text.lower())


@cache
def config_files(configs: Path) -> dict[str, Path]:
    """Config files by their model's bare name."""
    out: dict[str, Path] = {}
    for path in sorted(configs.glob("*.json")):
        out.setdefault(_squeezed(path.stem.rpartition("__")[2]), path)
        out.setdefault(_squeezed(path.stem), path)
    return out


def _bare(name: str) -> str:
    return re.sub(r"(-\d{5}-of-\d{5})?\.gguf$", "", name.rpartition("/")[2])


def _exact_config(name: str, configs: Path) -> Path | None:
    """The config file of this very name."""
    files = config_files(configs)
    for text in (name.replace("/", "__"), _bare(name)):
        if _squeezed(text) in files:
            return files[_squeezed(text)]
    return None


def _near_config(name: str, configs: Path) -> Path | None:
    """The config whose whole name this one holds: fine-tunes and quantised copies."""
    wanted, stated = _squeezed(_bare(name)), named_size(name)[0]
    held = [
        key
        for key, path in config_files(configs).items()
        if len(key) >= 8 and key in wanted and named_size(path.stem)[0] in (0.0, stated)
    ]
    return config_files(configs)[max(held, key=len)] if held else None


def _read(card: Card, name: str) -> tuple[ModelSpec | None, Work | None]:
    try:
        return spec_from_config(card, name), None
    except SpecError:
        pass
    try:
        return None, rough_work(card)
    except SpecError:
        return None, None


@cache
def known_model(name: str, params_b: float, configs: Path) -> tuple[ModelSpec | None, Work | None]:
    """(spec, None) read exactly, (None, work at 16 bits) read roughly, or two Nones."""
    path = _exact_config(name, configs)
    if path is None:
        row = find_row(match_model(name, params_b) or name)
        if row is not None:
            return _read(row.config, name)
        path = _near_config(name, configs)
    return _read(json.loads(path.read_text()), name) if path is not None else (None, None)


def _at_bits(work: Work, bits: float) -> Work:
    """A 16-bit work at `bits`: servers keep attention of 4-bit models in 8 or 16 bits."""
    return scaled(work, work.total_bytes * bits / 16.0)


def _native_experts(work: Work, total: float) -> Work:
    """gpt-oss: its experts are 4.25 bits in every file; the rest of the file is the rest."""
    routed = work.expert_bytes * 4.25 / 16.0
    rest = max(total - routed, 0.05 * total) / max(work.total_bytes - work.expert_bytes, 1)
    return replace(
        work,
        total_bytes=int(total),
        dense_bytes=int(work.dense_bytes * rest),
        expert_bytes=int(routed),
    )


def _by_rule(spec: ModelSpec, rule: str) -> Work | None:
    """None where the format cannot hold the model's rows: then its bits per weight must do."""
    try:
        return work_of(spec, rule)
    except SpecError:
        return None


@cache
def resolve(
    name: str, params_b: float, active_b: float, quant: str, gib: float, configs: Path
) -> Work | None:
    """The work a row asks for; None when neither name, size nor parameters say anything."""
    total = gib * 2**30
    spec, rough = known_model(name, params_b, configs)
    bits = bits_of(quant, name)
    if spec is not None or rough is not None:
        rule = rule_quant(quant, name)
        whole = work_of(spec, "F16") if spec is not None else rough
        assert whole is not None
        if "gptoss" in _squeezed(name):
            least = whole.expert_bytes * 4.25 / 16
            return _native_experts(
                whole, total or least + (whole.total_bytes - whole.expert_bytes) * 0.53
            )
        exact = _by_rule(spec, rule) if spec is not None and rule else None
        if exact is not None:
            return scaled(exact, total) if total else exact
        return scaled(whole, total) if total else _at_bits(whole, bits)
    stated, active = named_size(name)
    parameters = (params_b or stated) * BILLION or total * 8 / bits
    if parameters <= 0:
        return None
    used = (active_b or active) * BILLION or parameters
    return work_of_size(parameters, min(used, parameters), total or parameters * bits / 8)
