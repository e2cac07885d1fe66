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
