"""Rotary positions: what part of a head they rotate, and the tables of their scaling."""

from mathcore.convert.build import Build
from mathcore.model.fields import Fields


def scaling(f: Fields) -> Fields | None:
    """The rope scaling under either name; None when the config has none."""
    for name in ("rope_scaling", "rope_parameters"):
        if f.has(name):
            return f.nested(name)
    return None


def kind(table: Fields) -> str:
    """ "llama3", "longrope", "yarn", …; "" when it does not say."""
    for name in ("rope_type", "type"):
        if table.has(name):
            return table.text(name)
    return ""


# Rope scaled by these reaches so many times what it was trained for. What llama3, longrope and
# mrope reach is in max_position_embeddings already, and so is Gemma 3's linear factor.
_FROM_ORIGINAL: tuple[str, ...] = ("yarn", "deepseek_yarn")
_FROM_TRAINED: tuple[str, ...] = ("linear", "dynamic")
MAX_FACTOR = 1024.0  # far above any published one


def scaled_context(f: Fields, trained: int) -> int:
    """Tokens the declared rope scaling reaches, as vLLM derives them; 0 where it adds none."""
    table = scaling(f)
    if table is None or trained < 1 or not table.has("factor"):
        return 0
    named, factor = kind(table).lower(), table.number("factor")
    if not 0.0 < factor <= MAX_FACTOR:
        raise table.fault("factor", f"must be above 0 and at most {MAX_FACTOR:g}")
    if named in _FROM_ORIGINAL:
        return int(table.integer_or("original_max_position_embeddings", trained) * factor)
    gemma = f.text("model_type").startswith("gemma3")
    return int(trained * factor) if named in _FROM_TRAINED and not gemma else 0


def add_llama3(b: Build, f: Fields) -> None:
    """Frequencies of half a head, for Llama 3.1's scaling only."""
    table = scaling(f)
    if table is not None and kind(table).lower() == "llama3":
        b.top("rope_freqs.weight", b.s.head_dim // 2)


def rotary_dim_of(
    f: Fields, head_dim: int, default: float, field: str = "partial_rotary_factor"
) -> int:
    """How many numbers of a head rope rotates. Newer configs say it in rope_parameters."""
    place = f
    if not f.has(field) and f.has("rope_parameters"):
        place = f.nested("rope_parameters")
    share = place.number(field) if place.has(field) else default
    if not 0.0 < share <= 1.0:
        raise place.fault(field, f"{share} is not a share")
    return int(head_dim * share)


def add_long(b: Build, f: Fields, rotary_dim: int) -> None:
    """Long and short factors, for longrope only."""
    table = scaling(f)
    if table is None or not table.has("long_factor"):
        return
    b.key("rope.scaling.type", "longrope")
    for name in ("long", "short"):
        b.top(f"rope_factors_{name}.weight", rotary_dim // 2)


def add_sections(b: Build, f: Fields) -> None:
    """How rope shares a head between time, height and width: no size depends on it."""
    half = b.s.head_dim // 2
    b.key("rope.dimension_sections", [half - 2 * (half // 3), half // 3, half // 3, 0])
    if f.has("vision_config"):
        found = f.nested("vision_config").values.get("deepstack_visual_indexes")
        if isinstance(found, list):
            b.key("n_deepstack_layers", len(found))
