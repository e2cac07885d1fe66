"""Which block type llama.cpp's quantiser gives each tensor of a model, for every file type."""

from typing import final

from mathcore.model.spec import ModelSpec, SpecError, Tensor
from mathcore.quant.ggml import BLOCKS
from mathcore.quant.gguf_tables import (
    DOWN,
    DOWN_FALCON,
    FALLBACK,
    KEPT,
    KEPT_WHOLE,
    LOWEST,
    LOWEST_OUT,
    MIXES,
    OUT,
    OUT_OF_EIGHT,
    QK,
    ROLES,
    SEVENTY,
    Rule,
    V,
)


def part_of(tensor: Tensor) -> str:
    """Its name without "blk.7."; a tensor of no layer keeps its whole name."""
    name = tensor.name
    return name[name.find(".", 4) + 1 :] if name.startswith("blk.") else name


def role_of(part: str) -> str:
    """What a matrix is for, as far as the rules care.

    "output", "embedding", "v" (also fused with Q and K), "k", "q", "out", "wide" (gate or up),
    "down", "other"; "kept" is never quantised.
    """
    if not part.endswith("weight") or part in KEPT_WHOLE:
        return "kept"
    for piece in KEPT:
        if piece in part:
            return "kept"
    if part == "output.weight":
        return "output"
    if part in ("token_embd.weight", "per_layer_token_embd.weight"):
        return "embedding"
    for piece, role in ROLES:
        if piece in part:
            return role
    return "other"


def _more_bits(i: int, n: int) -> bool:
    """llama.cpp's use_more_bits."""
    return i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2


def _fitting(tensor: Tensor, chosen: str) -> str:
    """The type its rows can be stored as."""
    per_block = BLOCKS[chosen][0]
    if tensor.columns % per_block == 0:
        return chosen
    other = FALLBACK.get(chosen, "")
    if not other and per_block > 32:
        raise SpecError(tensor.name, f"rows of {tensor.columns} cannot be stored as {chosen}")
    if not other or tensor.columns % BLOCKS[other][0] != 0:
        return "F16"
    return other


@final
class Chooser:
    """Types of the tensors of one model under one file type; `spec` and `quant` stay."""

    def __init__(self, spec: ModelSpec, quant: str) -> None:
        self.quant = quant
        self.mix = MIXES[quant]
        self.arch = spec.architecture
        self.count = len(spec.layers)
        self.tied = spec.tied
        self.experts = 0
        for layer in spec.layers:
            self.experts = max(self.experts, layer.experts)
        first = spec.layers[0]
        self.sharing = first.heads // first.kv_heads if first.kv_heads > 0 else 0
        self.seventy = (self.arch, self.count - spec.draft_layers) in SEVENTY and not (
            self.arch == "llama" and (self.sharing == 1 or self.experts == 8)
        )
        self.v_places: dict[str, int] = {}
        self.down_places: dict[str, int] = {}
        self.wide_places: dict[str, int] = {}

    def placed(self, rule: Rule, i: int, n: int) -> str:
        """What `rule` says for the i-th of n."""
        early = rule.count if rule.count > 0 else (n // rule.share if rule.share > 0 else 0)
        if i < early:
            return rule.first
        if rule.shared and self.sharing >= 4:
            return rule.shared
        if rule.more and _more_bits(i, n):
            return rule.more
        return rule.rest if rule.rest else self.mix.base

    def output(self, tensor: Tensor) -> str:
        """Type of the output layer, or of an embedding that serves as one."""
        base = self.mix.base
        if self.quant == "MXFP4_MOE" or self.arch == "falcon":
            return "Q8_0"
        return "Q8_0" if tensor.columns % BLOCKS[base][0] != 0 else self.mix.output

    def v(self, tensor: Tensor) -> str:
        """Type of a value projection."""
        base = self.mix.base
        if self.quant in LOWEST:
            kept = self.sharing >= 4 or self.experts >= 4
            return "Q4_K" if kept else LOWEST[self.quant]
        chosen = base
        if self.quant in V:
            chosen = self.placed(
                V[self.quant], self.v_places.get(tensor.name, 0), len(self.v_places)
            )
        if self.seventy and chosen in ("Q3_K", "Q4_K"):
            chosen = "Q5_K"
        return "Q8_0" if self.experts == 8 else chosen

    def k(self) -> str:
        """Type of a key projection."""
        if self.experts == 8:
            return "Q4_K" if self.quant in LOWEST else "Q8_0"
        return QK.get(self.quant, self.mix.base)

    def out(self) -> str:
        """Type of attention's output projection."""
        base = self.mix.base
        if self.arch == "falcon" and self.quant not in LOWEST:
            return "Q4_K" if self.quant == "Q3_K_L" else base
        if self.experts == 8:
            up = self.quant in LOWEST or self.quant in OUT_OF_EIGHT
            return "Q5_K" if up else base
        if self.quant in LOWEST:
            return LOWEST_OUT.get(self.quant, base)
        return OUT.get(self.quant, base)

    def down(self, tensor: Tensor) -> str:
        """Type of a down projection, by where it stands."""
        place = self.down_places.get(tensor.name, 0)
        if self.quant in LOWEST:  # these count tensors, also where experts come in several
            return LOWEST[self.quant] if place < self.count // 8 else self.mix.base
        if self.experts > 1:
            place = tensor.layer
        if self.quant == "IQ3_M" and self.experts == 8 and _more_bits(place, self.count):
            return "Q4_K"
        rule = DOWN.get(self.quant)
        if self.arch == "falcon":
            rule = DOWN_FALCON.get(self.quant, rule)
        return self.mix.base if rule is None else self.placed(rule, place, self.count)

    def wide(self, tensor: Tensor) -> str:
        """Type of a gate or up projection."""
        if self.quant != "IQ3_XS":
            return self.mix.base
        i = tensor.layer if self.experts > 1 else self.wide_places.get(tensor.name, 0)
        middle = self.count // 8 <= i < 7 * self.count // 8
        return "IQ3_XXS" if middle else self.mix.base

    def quantised(self, tensor: Tensor, role: str) -> str:
        """The type the rules want, before the row's length is looked at."""
        if role == "output" or (role == "embedding" and self.tied):
            return self.output(tensor)
        if self.quant == "MXFP4_MOE":
            routed = self.arch != "bailingmoe3" or role in ("wide", "down")
            return "MXFP4" if tensor.dims > 2 and routed else "Q8_0"
        if role == "embedding":
            return self.mix.embedding if self.mix.embedding else self.mix.base
        if role == "v":
            return self.v(tensor)
        if role == "k":
            return self.k()
        if role == "q":
            return QK.get(self.quant, self.mix.base)
        if role == "out":
            return self.out()
        if role == "down":
            return self.down(tensor)
        return self.wide(tensor) if role == "wide" else self.mix.base


def _place(names: list[tuple[int, str]], places: dict[str, int]) -> None:
    """Numbers tensors in the order the quantiser meets them: by layer, then by name."""
    names.sort()
    for i in range(len(names)):
        places[names[i][1]] = i


def _count(chooser: Chooser, tensors: tuple[Tensor, ...], roles: list[str]) -> None:
    """Fills the places of tensors whose type depends on them."""
    v: list[tuple[int, str]] = []
    down: list[tuple[int, str]] = []
    up: list[tuple[int, str]] = []
    gate: list[tuple[int, str]] = []
    for i in range(len(tensors)):
        role = roles[i]
        if role not in ("v", "down", "wide"):
            continue
        tensor = tensors[i]
        key = (tensor.layer if tensor.name.startswith("blk.") else -1, tensor.name)
        if role == "v":
            v.append(key)
        elif role == "down":
            down.append(key)
        elif chooser.quant == "IQ3_XS":
            (up if "ffn_up" in tensor.name else gate).append(key)
    _place(v, chooser.v_places)
    _place(down, chooser.down_places)
    _place(up, chooser.wide_places)
    _place(gate, chooser.wide_places)


def _unquantised(tensor: Tensor, base: str) -> str:
    """The type of what is never quantised."""
    if tensor.dims < 2 or tensor.rows == 1:
        return "F32"
    if tensor.name.endswith("tid2eid.weight"):
        return "I32"  # a table from token to experts
    return base if base in ("F16", "BF16") else "F32"


def roles_of(tensors: tuple[Tensor, ...]) -> list[str]:
    """`role_of` every tensor; vectors are "kept"."""
    known: dict[str, str] = {}
    out: list[str] = []
    for tensor in tensors:
        if tensor.dims < 2 or tensor.rows == 1:
            out.append("kept")
            continue
        part = part_of(tensor)
        role = known.get(part)
        if role is None:
            role = role_of(part)
            known[part] = role
        out.append(role)
    return out


def block_types(spec: ModelSpec, quant: str, roles: list[str]) -> list[str]:
    """One block type per tensor of `spec` under file type `quant`; `roles` from `roles_of`.

    In files of 16 bits every matrix has 16, as the quantiser leaves a source of that type; the
    converter itself keeps routers, convolutions and position tables in F32 (0.04 % more for a
    Qwen3-30B-A3B, 0.5 % for a GPT-2). SpecError when llama.cpp cannot store a tensor so.
    """
    chooser = Chooser(spec, quant)
    base = chooser.mix.base
    plain = base in ("F32", "F16", "BF16")
    if not plain:
        _count(chooser, spec.tensors, roles)
    out: list[str] = []
    for i in range(len(roles)):
        tensor = spec.tensors[i]
        if roles[i] == "kept":
            out.append(_unquantised(tensor, base))
        elif plain:
            out.append(base)
        else:
            out.append(_fitting(tensor, chooser.quantised(tensor, roles[i])))
    return out
