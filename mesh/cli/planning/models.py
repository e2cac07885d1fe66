"""`fleet models`: the models known by name, what each weighs and what its cache costs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from mesh.cli.output import clean, emit_json, json_option, say
from mesh.cli.planning.models_travel import pull, push, rm
from mesh.cli.table import Column, emit, emit_table, emit_text

if TYPE_CHECKING:
    from mathcore.catalogue.models import Row
    from mathcore.model.spec import ModelSpec

# The table's columns beside the publisher's own format; `show` lists every one.
QUANTS: Final = ("Q8_0", "Q4_K_M")
CACHE_TOKENS: Final = 1024
# What `show` prints of the types; -o json has every one the model can be stored as.
COMMON: Final = (
    "HF-BF16",
    "FP8",
    "AWQ",
    "NVFP4",
    "MLX-8bit",
    "MLX-4bit",
    "Q8_0",
    "Q6_K",
    "Q5_K_M",
    "Q4_K_M",
    "Q3_K_M",
    "Q2_K",
)
# Contexts people ask for; a model trained for less gets its own length last.
CONTEXTS: Final = (4096, 32_768, 131_072)
ELSE: Final = "a .gguf, a folder, a URL or ollama:NAME works too"


class Searchable(click.Group):
    """A group whose first word is a search unless it is one of its commands."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in self.commands:
            return super().resolve_command(ctx, args)
        return "search", find, args


@click.group(
    cls=Searchable,
    invoke_without_command=True,
    subcommand_metavar="[SEARCH...] | show MODEL | pull MODEL | push MODEL | rm MODEL",
)
@click.option("--where", is_flag=True, help="who in the fleet has which model; a MODEL: that one")
@json_option
@click.pass_context
def models(ctx: click.Context, *, where: bool, output: str) -> None:
    """The models known by name, with sizes; words narrow them down: fleet models qwen3 coder.

    With --where those that lie on the fleet's disks, by content.
    """
    ctx.obj = output
    if ctx.invoked_subcommand is None:
        _listed(ctx, "", output)


def _listed(ctx: click.Context, words: str, output: str) -> None:
    """The catalogue's rows, or with --where the fleet's."""
    if not _asks_where(ctx):
        emit_models(words, output)
        return
    from mesh.cli.planning.models_where import emit_where

    emit_where(words, output)


def _asks_where(ctx: click.Context | None) -> bool:
    """Whether --where stood before the words."""
    return ctx is not None and (bool(ctx.params.get("where")) or _asks_where(ctx.parent))


models.add_command(pull)
models.add_command(push)
models.add_command(rm)


@click.command("search")
@click.argument("words", nargs=-1)
@click.option("--where", is_flag=True, help="who in the fleet has it")
@json_option
@click.pass_context
def find(ctx: click.Context, *, words: tuple[str, ...], where: bool, output: str) -> None:
    """Models whose name, repository or aliases hold every word."""
    _listed(ctx, " ".join(words), _wanted(ctx, output))


def _wanted(ctx: click.Context, output: str) -> str:
    """-o may stand before or after the words."""
    return "json" if "json" in (output, ctx.obj) else "text"


def emit_models(words: str, output: str) -> None:
    """The rows that hold `words`, as a table or as JSON."""
    from mathcore.catalogue.models import search

    found = [model_row(row) for row in search(words)]
    if output == "json":
        emit_json(found)
        return
    readable = [row for row in found if "refused" not in row]
    emit(_columns(), readable, f"no model here holds {words!r}; {ELSE}")
    for row in found:
        if "refused" in row:
            emit_text(f"{clean(row['name'])} can't be planned: {clean(row['refused'])}", "  ")


def model_row(row: "Row") -> dict[str, Any]:
    """One catalogue row in numbers: bytes at f16 cache, bytes by file type."""
    from mathcore.catalogue.models import PUBLISHED, row_spec
    from mathcore.model.spec import SpecError
    from mathcore.quant.weights import weigh

    known: dict[str, Any] = {
        "name": row.name,
        "repository": row.repo,
        "aliases": list(row.aliases),
        "published_parameters": row.parameters,
        "published_by": PUBLISHED[row.published],
    }
    try:
        spec = row_spec(row)
    except SpecError as error:
        return {**known, "refused": f"{error.field}: {error.text}"}
    quants = [row.native, *QUANTS] if row.native else QUANTS
    sizes = {quant: weigh(spec, quant).total_bytes for quant in quants}
    return {**known, **_numbers(spec), "native": row.native, "weights_bytes": sizes}


def _numbers(spec: "ModelSpec") -> dict[str, Any]:
    from mathcore.model.cache_size import growth_bytes

    return {
        "architecture": spec.architecture,
        "parameters": spec.parameters,
        "active_parameters": spec.active_parameters,
        "layers": len(spec.layers),
        "context_length": spec.context_length,
        "cache_bytes_per_1k_tokens": growth_bytes(spec, CACHE_TOKENS),
    }


def _columns() -> tuple[Column[Mapping[str, Any]], ...]:
    from mathcore.units import show_bytes

    return (
        Column(title="MODEL", value=lambda row: row["name"], least=16),
        Column(title="PARAMS", value=lambda row: count(row["parameters"]), right=True),
        Column(title="ACTIVE", value=_active, right=True, rank=30),
        Column(title="CONTEXT", value=lambda row: tokens(row["context_length"]), right=True),
        Column(
            title="KV/1K",
            value=lambda row: show_bytes(row["cache_bytes_per_1k_tokens"]),
            right=True,
            rank=40,
        ),
        Column(title="NATIVE", value=_native, rank=50),
        *(Column(title=quant, value=_size(quant), right=True, rank=20) for quant in QUANTS[:-1]),
        Column(title=QUANTS[-1], value=_size(QUANTS[-1]), right=True),
        Column(title="ALSO CALLED", value=lambda row: " ".join(row["aliases"][:2]), rank=60),
    )


def _active(row: Mapping[str, Any]) -> str:
    """Parameters of a token's experts, where those are not all."""
    active: int = row["active_parameters"]
    return count(active) if active != row["parameters"] else ""


def _native(row: Mapping[str, Any]) -> str:
    """The size and format its publisher gives it out in."""
    from mathcore.units import show_bytes

    native = row["native"]
    if not native:
        return ""
    return f"{show_bytes(row['weights_bytes'][native])} {native}".removesuffix(" HF-BF16")


def _size(quant: str) -> Any:
    from mathcore.units import show_bytes

    return lambda row: show_bytes(row["weights_bytes"][quant])


def count(number: int) -> str:
    """ "8.03B", "135M": parameters with three digits, as model cards write them."""
    for scale, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M")):
        shown = number / scale
        if shown >= 0.9995:  # what three digits write as 1.00
            return f"{shown:.{2 if shown < 10 else 1 if shown < 100 else 0}f}{letter}"
    return str(number)


def tokens(number: int) -> str:
    """ "128k" for 131,072; the number itself where it is no multiple of 1,024."""
    whole = number >= 1024 and number % 1024 == 0
    return f"{number // 1024}k" if whole else str(number) if number else ""


@models.command("show")
@click.argument("model")
@json_option
@click.pass_context
def show(ctx: click.Context, model: str, output: str) -> None:
    """One MODEL in full: a name, a file, a folder, a URL or ollama:NAME."""
    from mesh.edge.planning import source_of

    found = details(source_of(model).spec)
    if _wanted(ctx, output) == "json":
        emit_json(found)
    else:
        _print(found)


def details(spec: "ModelSpec") -> dict[str, Any]:
    """Everything `show` says of a model, JSON-ready."""
    from mathcore.model.cache_size import cache_bytes

    limit = spec.context_length or CONTEXTS[-1]
    contexts = sorted({*(length for length in CONTEXTS if length < limit), limit})
    return {
        "name": spec.name,
        "source": spec.source,
        **_numbers(spec),
        "hidden": spec.hidden,
        "vocabulary": spec.vocab,
        "layer_kinds": _kinds(spec),
        "tied_embeddings": spec.tied,
        "draft_layers": spec.draft_layers,
        "cache_bytes": {str(length): cache_bytes(spec, length) for length in contexts},
        "weights_bytes": _weights(spec),
    }


def _weights(spec: "ModelSpec") -> dict[str, int]:
    """Bytes by type: a file's own, else every type the model can be stored as."""
    from mathcore.quant.weights import QUANTS as EVERY
    from mathcore.quant.weights import quant_fault, weigh

    if spec.quant:
        return {spec.quant: weigh(spec, spec.quant).total_bytes}
    held = [quant for quant in EVERY if not quant_fault(spec, quant)]
    return {quant: weigh(spec, quant).total_bytes for quant in held}


def _kinds(spec: "ModelSpec") -> dict[str, int]:
    """How many layers of each kind: {"sliding 1024": 50, "full": 10}."""
    kinds: dict[str, int] = {}
    for layer in spec.layers:
        window = f" {layer.window}" if layer.window else ""
        parts = [f"{layer.kind}{window}"] if layer.kind != "none" else []
        if layer.state is not None:
            parts.append(layer.state.kind)
        name = " + ".join(parts) or "feed-forward"
        kinds[name] = kinds.get(name, 0) + 1
    return kinds


def _print(found: Mapping[str, Any]) -> None:
    from mathcore.units import show_bytes

    kinds = ", ".join(f"{number} {kind}" for kind, number in found["layer_kinds"].items())
    active = found["active_parameters"]
    used = f", {count(active)} active per token" if active != found["parameters"] else ""
    facts: Sequence[tuple[str, object]] = (
        ("name", found["name"]),
        ("source", found["source"]),
        ("architecture", found["architecture"]),
        ("parameters", f"{count(found['parameters'])}{used}"),
        ("layers", f"{found['layers']}: {kinds}"),
        ("trained for", f"{found['context_length'] or '?'} tokens"),
        ("vocabulary", found["vocabulary"]),
    )
    for name, value in facts:
        emit_text(clean(value), " " * 14, f"{name:13} ")
    say()
    weights: Mapping[str, int] = found["weights_bytes"]
    shown = [quant for quant in COMMON if quant in weights] if len(weights) > 1 else list(weights)
    sizes = [[quant, show_bytes(weights[quant])] for quant in shown]
    emit_table(("WEIGHTS", "SIZE"), sizes, "")
    say()
    cached: Mapping[str, int] = found["cache_bytes"]
    caches = [[f"{length} tokens", show_bytes(size)] for length, size in cached.items()]
    emit_table(("CACHE AT F16", "SIZE"), caches, "")
